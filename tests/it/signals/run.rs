//! One run, one signal, and what must hold afterwards.

use std::io::Read;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::phase::{Phase, with};
use crate::support::process::Ended;
use crate::support::scene::Scene;

/// The component of every run here.
pub const COMPONENT: &str = "deployment/dep";
/// How many phases are played at once: they wait far more than they work.
const SIDE_BY_SIDE: usize = 5;
/// What Concourse leaves between SIGTERM and SIGKILL.
pub const IN_TIME: Duration = Duration::from_secs(10);

/// Which signal.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// Once a second, as guardian does.
    Term,
    /// Once.
    Int,
    /// No way to answer.
    Kill,
}

impl Signal {
    fn send(self, child: &Child) {
        let name = match self {
            Self::Term => "-TERM",
            Self::Int => "-INT",
            Self::Kill => "-KILL",
        };
        let sent = Command::new("kill")
            .args([name, &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success(), "{self:?}");
    }
}

/// Plays every phase, several at a time; all that fail are told of.
#[allow(
    clippy::print_stdout,
    reason = "how long each took, where somebody asks"
)]
pub fn side_by_side(phases: Vec<Phase>, play: impl Fn(Phase) -> Duration + Sync) {
    let waiting = Mutex::new(phases);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some(phase) = waiting.lock().unwrap().pop() else {
                        return;
                    };
                    let name = phase.name;
                    let played =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(phase)));
                    match played {
                        Ok(took) => println!("{name}: ended after {:.1} s", took.as_secs_f64()),
                        Err(panic) => failed
                            .lock()
                            .unwrap()
                            .push(format!("{name}: {}", text(&*panic))),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("?")
}

/// Starts a put, waits until it is in the phase, sends the signal; how it ended and how long
/// that took.
pub fn interrupt(scene: &Scene, phase: &Phase, signal: Signal) -> (Ended, Duration) {
    let until = hold(scene, phase);
    let child = scene.start_put(&json!({"backup": [COMPONENT]}));
    end(scene, child, &until, signal)
}

/// Holds the next run up; what to ask to learn that it is in the phase.
pub fn hold(scene: &Scene, phase: &Phase) -> Vec<Value> {
    for service in ["director", "s3"] {
        scene
            .foundation
            .ask(json!({"do": "clear-requests", "service": service}));
    }
    for request in &phase.hold {
        scene.foundation.ask(request.clone());
    }
    phase
        .until
        .iter()
        .map(|request| {
            // What earlier runs did is no sign of this one.
            let before = match request["do"].as_str().unwrap() {
                "wait-journal" => {
                    let wanted = &request["match"];
                    let is = |line: &&Value| {
                        ["job", "script", "event"]
                            .iter()
                            .all(|key| line[key] == wanted[key])
                    };
                    lines(scene).iter().filter(is).count()
                }
                "wait-command" => {
                    let asked = json!({"do": "commands", "instance": request["instance"],
                        "match": request["match"]});
                    let sent = &scene.foundation.ask(asked)["commands"];
                    sent.as_array().unwrap().len()
                }
                "wait-request" => 0,
                _ => return request.clone(),
            };
            let count = before as u64 + request["count"].as_u64().unwrap_or(1);
            with(request.clone(), json!({"count": count}))
        })
        .collect()
}

/// The same with a program that was started already.
pub fn end(scene: &Scene, mut child: Child, until: &[Value], signal: Signal) -> (Ended, Duration) {
    let (out, err) = (reading(child.stdout.take()), reading(child.stderr.take()));
    for request in until {
        let answer = scene.foundation.try_ask(request);
        if answer["ok"] != true {
            Signal::Kill.send(&child);
            drop(child.wait());
            panic!("{request}: {answer}\n{}", err.join().unwrap());
        }
    }
    let begun = Instant::now();
    let mut sent = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let again = matches!(signal, Signal::Term) && begun.elapsed().as_secs() >= sent;
        if sent == 0 || again {
            signal.send(&child);
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let took = begun.elapsed();
    let ended = Ended {
        code: status.code().unwrap_or(-1),
        stdout: out.join().unwrap(),
        stderr: err.join().unwrap(),
    };
    (ended, took)
}

fn reading(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    let mut stream = stream.unwrap();
    std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}

/// Each signal in a phase, one after the other on one foundation; how long SIGTERM took.
pub fn every_signal(scene: &Scene, phase: &Phase) -> Duration {
    aborted(scene, phase, Signal::Int);
    release(scene, phase);
    clean(scene);
    killed(scene, phase);
    release(scene, phase);
    clean(scene);
    let took = aborted(scene, phase, Signal::Term);
    release(scene, phase);
    mended(scene);
    took
}

/// SIGTERM or SIGINT in a phase: all that must hold then.
fn aborted(scene: &Scene, phase: &Phase, signal: Signal) -> Duration {
    let since = lines(scene).len();
    let (ended, took) = interrupt(scene, phase, signal);
    assert!(took < IN_TIME, "{signal:?} took {took:?}: {}", ended.stderr);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "nothing is answered after a signal");
    let last = ended.last_line();
    assert!(last.contains("stopped by a signal"), "{}", ended.stderr);
    let journal = journal(scene, since);
    if phase.locks {
        unlock_started_everywhere(&journal, &ended, "post-backup-unlock");
        in_unlock_order(&journal, &ended, "post-backup-unlock");
    } else {
        assert!(
            !journal.iter().any(|line| line.contains("lock")),
            "{}",
            ended.stderr
        );
    }
    let left = scene.foundation.leaks();
    if left != json!({}) {
        assert!(
            last.contains(&format!("lifeboat cleanup {COMPONENT}")),
            "{left} is left, and not said: {}",
            ended.stderr
        );
    }
    assert!(scene.check().is_empty());
    took
}

/// SIGKILL in a phase.
fn killed(scene: &Scene, phase: &Phase) {
    let since = lines(scene).len();
    let (ended, _) = interrupt(scene, phase, Signal::Kill);
    assert_eq!(ended.code, -1);
    assert!(scene.check().is_empty(), "{}", ended.stderr);
    unlock_scripts_end(scene, since, "post-backup-unlock");
}

/// What was started on an instance goes on without us.
pub fn unlock_scripts_end(scene: &Scene, since: usize, script: &str) {
    let begun = Instant::now();
    loop {
        let journal = journal(scene, since);
        let seen = |event: &str| events(&journal, script, event).len();
        if seen("start") == seen("end") {
            return;
        }
        assert!(
            begun.elapsed() < 3 * IN_TIME,
            "an unlock script did not end"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nothing is held up any more.
pub fn release(scene: &Scene, phase: &Phase) {
    for service in ["director", "s3"] {
        scene
            .foundation
            .ask(json!({"do": "clear-faults", "service": service}));
    }
    scene.foundation.ask(json!({"do": "clear-task-plans"}));
    for request in phase.hold.iter().chain(&phase.until) {
        let mut request = request.clone();
        match request["do"].as_str().unwrap() {
            "set-script" => {
                request["value"] = scene_script(&request);
                scene.foundation.ask(request);
            }
            "sshd" => {
                request["action"] = "resume".into();
                scene.foundation.ask(request);
            }
            "command-fault" => {
                scene
                    .foundation
                    .ask(json!({"do": "clear-command-faults", "instance": request["instance"]}));
            }
            _ => {}
        }
    }
}

/// Cleanup, after which nothing is left or locked.
pub fn clean(scene: &Scene) {
    let ended = scene.put(&json!({"cleanup": [COMPONENT]})).ok();
    assert_eq!(scene.foundation.leaks(), json!({}), "{}", ended.stderr);
    balanced(scene);
}

/// Cleanup mends what is left, a second one touches nothing, and a new backup is listed beside
/// those that were.
pub fn mended(scene: &Scene) {
    clean(scene);
    let journal = scene.foundation.journal();
    clean(scene);
    assert_eq!(changing(&journal), changing(&scene.foundation.journal()));
    let mut expected = scene.check();
    let put = scene.put(&json!({"backup": [COMPONENT]})).ok();
    expected.push(put.id());
    assert_eq!(scene.check(), expected);
    scene.foundation.assert_clean();
    balanced(scene);
}

/// What the script is when nothing is held up.
fn scene_script(request: &Value) -> Value {
    let script = request["script"].as_str().unwrap();
    let job = request["job"].as_str().unwrap();
    let spec = super::spec();
    let groups = spec["deployments"][0]["groups"].as_array().unwrap();
    let scripts = groups
        .iter()
        .find_map(|group| group["jobs"].get(job))
        .unwrap();
    scripts["scripts"][script].clone()
}

/// Metadata scripts may run at any time; they change nothing.
fn changing(journal: &[String]) -> Vec<&String> {
    journal
        .iter()
        .filter(|line| !line.contains(" metadata "))
        .collect()
}

pub fn lines(scene: &Scene) -> Vec<Value> {
    let answer = scene.foundation.ask(json!({"do": "journal"}));
    answer["lines"].as_array().unwrap().clone()
}

/// From this line on.
pub fn journal(scene: &Scene, since: usize) -> Vec<String> {
    scene.foundation.journal().split_off(since)
}

/// The instances whose script had this event, in order.
pub fn events(journal: &[String], script: &str, event: &str) -> Vec<String> {
    journal
        .iter()
        .filter(|line| line.ends_with(&format!(" {script} {event}")))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

pub fn unlock_started_everywhere(journal: &[String], ended: &Ended, script: &str) {
    let mut started = events(journal, script, "start");
    started.sort();
    started.dedup();
    let all = ["api/a0", "api/a1", "db/d0"];
    assert_eq!(started, all, "{}\n{}", ended.stderr, journal.join("\n"));
}

/// Unless the time did not suffice, which is said then.
pub fn in_unlock_order(journal: &[String], ended: &Ended, script: &str) {
    if ended.stderr.contains("not in order") {
        return;
    }
    let at = |wanted: &str| {
        let at = journal.iter().position(|line| line == wanted);
        at.unwrap_or(usize::MAX)
    };
    let first = at(&format!("db/d0 cc {script} end"));
    for instance in ["api/a0", "api/a1"] {
        let second = at(&format!("{instance} api {script} start"));
        assert!(first < second, "{}\n{}", ended.stderr, journal.join("\n"));
    }
}

/// Whatever was locked was unlocked after it, and that ended well.
fn balanced(scene: &Scene) {
    balanced_between(scene, "pre-backup-lock", "post-backup-unlock");
}

/// The same of these scripts.
pub fn balanced_between(scene: &Scene, lock_script: &str, unlock_script: &str) {
    let lines = lines(scene);
    for (at, lock) in lines.iter().enumerate() {
        if lock["script"] != lock_script || lock["event"] != "start" {
            continue;
        }
        let unlocked = lines[at..].iter().any(|line| {
            line["script"] == unlock_script
                && line["event"] == "end"
                && line["status"] == 0
                && line["instance"] == lock["instance"]
                && line["job"] == lock["job"]
        });
        assert!(
            unlocked,
            "{lock} was not unlocked:\n{}",
            journal(scene, 0).join("\n")
        );
    }
}
