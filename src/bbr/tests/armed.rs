use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::armed::Armed;
use super::super::commands::{self, Start};
use super::super::testing::{Fault, World};
use super::super::{Phase, Run, Script};
use super::{at, never};
use crate::monitor::Silent;
use crate::remote::{Output, Remote as _};
use crate::shutdown::Shutdown;

/// What a script finds around itself, but for what it is called with.
const SURROUNDINGS: &str = "exec </dev/null; grep -E '^Sig(Blk|Ign)' /proc/self/status >&2; umask >&2; \
    ulimit -a >&2; pwd >&2; ls /proc/self/fd >&2; ps -o ni=,sid=,pgid=,tty= -p $PPID | \
    awk -v leader=\"$PPID\" '{ print $1, $2 == leader, $3 == leader, $4 }' >&2; env | sort >&2; exit 9";

const PATIENCE: Duration = Duration::from_secs(20);

/// In a script: ends what listens for scripts to start.
const KILL: &str = "shell=$(ps -o ppid= -p $PPID); kill -9 $(ps -o ppid= -p $shell)";

/// As well as what would tell of this script's end.
const LOSE: &str = "shell=$(ps -o ppid= -p $PPID); kill -9 $(ps -o ppid= -p $shell) $shell";

fn ready(world: &World) -> Run {
    let run = world.run();
    run.mark(&never()).unwrap();
    run.arm(&world.monitor, &never()).unwrap();
    run
}

fn all(world: &World, run: &Run) {
    run.lock(&world.monitor, &never()).unwrap();
    run.backup(&world.monitor, &never()).unwrap();
    run.unlock(true, &world.monitor, &never()).unwrap();
    run.finish(&never()).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
}

fn lines(world: &World, begin: &str) -> usize {
    let journal = world.journal();
    journal
        .iter()
        .filter(|line| line.starts_with(begin))
        .count()
}

fn starts(world: &World, jobs: &[&str]) -> Vec<Start> {
    let script = Script::Backup;
    let start = |job: &&str| Start::new(&world.settings, "r", job, script);
    jobs.iter().map(start).collect()
}

fn open(world: &World, starts: &[Start]) -> Armed {
    let names: Vec<String> = starts.iter().map(|start| start.name.clone()).collect();
    let remote = world.host("g/u0").remote.clone();
    Armed::open(remote, &world.settings, &names, PATIENCE, &never()).unwrap()
}

/// As if there were no such channel.
fn asked(world: &World, start: &Start) -> Output {
    let command = commands::start(&world.settings, "start", start);
    world.remote("g/u0").run(&command, &never()).unwrap()
}

fn three(lock: &str, backup: &str, unlock: &str) -> World {
    World::with(&[
        ("j", "pre-backup-lock", lock),
        ("j", "backup", backup),
        ("j", "post-backup-unlock", unlock),
    ])
}

#[test]
fn nothing_but_one_channel_is_asked_for_from_the_lock_to_the_unlock() {
    let world = three("", "echo A >\"$ARTIFACT_DIRECTORY\"a", "");
    let run = ready(&world);
    assert_eq!(world.journal(), [""; 0]);
    let before = world.remote("g/u0").count("");
    run.lock(&Silent, &never()).unwrap();
    run.backup(&Silent, &never()).unwrap();
    assert_eq!(world.remote("g/u0").count(""), before);
    run.unlock(true, &Silent, &never()).unwrap();
    // The marker is taken away.
    assert_eq!(world.remote("g/u0").count(""), before + 1);
    assert!(world.store("g/u0", "bbr-backup/j/a").exists());
    assert_eq!(world.journal().len(), 6);
}

#[test]
fn a_script_says_as_much_over_either_channel() {
    let loud =
        "i=0; while [ $i -lt 9000 ]; do i=$((i + 1)); echo $i; echo error $i >&2; done; exit 7";
    for (body, mode, status) in [
        ("", 0o755, 0),
        ("echo fine", 0o755, 0),
        ("echo dear >&2; exit 3", 0o755, 3),
        ("printf 'a\\0\\377 b'; exit 1", 0o755, 1),
        ("kill -9 $$", 0o755, 137),
        (SURROUNDINGS, 0o755, 9),
        (loud, 0o755, 7),
        ("", 0o644, 126),
    ] {
        let world = World::with(&[("a", "backup", body), ("b", "backup", body)]);
        for job in ["a", "b"] {
            let path = world.dir("g/u0").join(format!("jobs/{job}/bin/bbr/backup"));
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        }
        let pair = starts(&world, &["a", "b"]);
        let over = open(&world, &pair);
        let armed = over.run(&pair[0], &[], &never()).unwrap().unwrap();
        let other = asked(&world, &pair[1]);
        assert_eq!(armed.exit.status, status, "{body}");
        assert_eq!(other.exit.status, status, "{body}");
        assert_eq!(armed.stdout, other.stdout, "{body}");
        let as_b = armed.exit.stderr.replace("/a/", "/b/");
        assert_eq!(as_b, other.exit.stderr, "{body}");
    }
}

#[test]
fn a_name_is_started_once_whoever_asks() {
    let world = World::with(&[
        ("a", "backup", "sleep 0.3; echo said; exit 5"),
        ("b", "backup", "exit 6"),
    ]);
    let pair = starts(&world, &["a", "b"]);
    let armed = open(&world, &pair);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| armed.run(&pair[0], &[], &never()).unwrap());
        world.await_journal("start g/u0 a backup");
        // Who asks elsewhere waits for the same end.
        let output = asked(&world, &pair[0]);
        assert_eq!((output.exit.status, &*output.stdout), (5, &b"said\n"[..]));
        assert_eq!(first.join().unwrap().unwrap().exit.status, 5);
    });
    assert_eq!(armed.lost(), None);
    assert_eq!(asked(&world, &pair[1]).exit.status, 6);
    assert!(armed.run(&pair[1], &[], &never()).unwrap().is_none());
    assert!(armed.lost().unwrap().contains("elsewhere"));
    assert!(armed.run(&pair[0], &[], &never()).unwrap().is_none());
    assert_eq!(asked(&world, &pair[0]).exit.status, 5);
    assert_eq!(lines(&world, "start"), 2);
}

#[test]
fn what_was_told_to_stop_starts_no_lock_and_every_unlock() {
    let world = three("", "", "");
    let run = ready(&world);
    std::fs::write(world.store("g/u0", "bbr-backup.lifeboat/stop"), "").unwrap();
    let text = run.lock(&Silent, &never()).unwrap_err().to_string();
    assert!(text.contains("ended by signal 15"), "{text}");
    run.unlock(false, &Silent, &never()).unwrap();
    assert_eq!(
        world.journal(),
        [
            "start g/u0 j post-backup-unlock",
            "end g/u0 j post-backup-unlock"
        ]
    );
}

#[test]
fn a_channel_lost_while_a_script_runs_loses_no_script() {
    for script in ["pre-backup-lock", "backup", "post-backup-unlock"] {
        let body = |name: &str| {
            let body = format!("{LOSE}; sleep 0.3");
            if name == script { body } else { String::new() }
        };
        let world = three(
            &body("pre-backup-lock"),
            &body("backup"),
            &body("post-backup-unlock"),
        );
        let run = ready(&world);
        all(&world, &run);
        assert_eq!(world.journal().len(), 6, "{script}");
        assert_eq!(world.remote("g/u0").count(&format!("{script} of job j")), 1);
        let text = world.monitor.text();
        assert!(
            text.contains("started over channels of their own from now on"),
            "{text}"
        );
    }
}

#[test]
fn a_channel_lost_between_two_scripts_loses_none() {
    // What listens is gone when the lock script's end is told.
    let world = three(&format!("({KILL}; true) && sleep 0"), "", "");
    let run = ready(&world);
    run.lock(&Silent, &never()).unwrap();
    all_after_lock(&world, &run);
    assert_eq!(world.journal().len(), 6);
}

fn all_after_lock(world: &World, run: &Run) {
    run.backup(&Silent, &never()).unwrap();
    run.unlock(true, &Silent, &never()).unwrap();
    run.finish(&never()).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn a_script_that_failed_over_a_lost_channel_has_failed() {
    let world = three("", &format!("{LOSE}; sleep 0.3; echo dear >&2; exit 4"), "");
    let run = ready(&world);
    run.lock(&Silent, &never()).unwrap();
    let text = run.backup(&Silent, &never()).unwrap_err().to_string();
    assert!(
        text.contains("backup of job j on g/u0 failed with exit code 4: dear"),
        "{text}"
    );
    run.unlock(false, &Silent, &never()).unwrap();
    assert_eq!(lines(&world, "start"), 3);
}

#[test]
fn a_script_whose_end_nobody_can_tell_has_failed() {
    let world = three("", &format!("sleep 30 & {LOSE}; sleep 30"), "");
    let run = ready(&world);
    run.lock(&Silent, &never()).unwrap();
    world
        .remote("g/u0")
        .fault("backup of job", Fault::Refused, 1);
    let text = run.backup(&Silent, &never()).unwrap_err().to_string();
    assert!(text.contains("the connection was refused"), "{text}");
    run.unlock(false, &Silent, &never()).unwrap();
    run.finish(&never()).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn an_instance_that_cannot_be_made_ready_is_locked_all_the_same() {
    for fault in [
        Fault::Refused,
        Fault::Lost,
        Fault::Says("ready"),
        Fault::Says("Welcome to this machine"),
        Fault::Says(""),
    ] {
        let world = three("", "", "");
        world.remote("g/u0").fault("wait for scripts", fault, 1);
        let run = ready(&world);
        all(&world, &run);
        assert_eq!(world.journal().len(), 6, "{fault:?}");
    }
}

#[test]
fn twelve_jobs_of_one_instance_share_a_channel() {
    let mut world = World::new();
    world.instance("g", 0);
    let jobs: Vec<String> = (0..12).map(|number| format!("job-{number}")).collect();
    for job in &jobs {
        world.script("g/u0", job, "pre-backup-lock", "echo $$");
        world.script("g/u0", job, "backup", "seq 3000 >&2; seq 3000; sleep 0.1");
        world.script("g/u0", job, "post-backup-unlock", "");
    }
    let run = ready(&world);
    all(&world, &run);
    assert_eq!(lines(&world, "start"), 36);
    let ended: BTreeSet<String> = world.journal().into_iter().collect();
    assert_eq!(ended.len(), 72);
    assert_eq!(world.remote("g/u0").count(" of job "), 0);
    assert_eq!(world.remote("g/u0").count("wait for scripts"), 1);
}

#[test]
fn what_runs_goes_on_when_the_channel_is_given_up_and_nothing_listens_any_more() {
    let world = World::with(&[("a", "backup", "sleep 0.5")]);
    let one = starts(&world, &["a"]);
    let armed = open(&world, &one);
    let signal = Shutdown::new();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| armed.run(&one[0], &[], &signal));
        world.await_journal("start g/u0 a backup");
        signal.raise();
        assert!(run.join().unwrap().is_err());
    });
    drop(armed);
    world.await_journal("end g/u0 a backup");
    let state = world.store("g/u0", "bbr-backup.lifeboat");
    let state = state.to_str().unwrap();
    for attempt in 0.. {
        if !processes().contains(state) {
            break;
        }
        assert!(attempt < 200, "something waits in {state}: {}", processes());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What all processes were called with; of those that ended and were not waited for, nothing.
fn processes() -> String {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|words| String::from_utf8_lossy(&words).into_owned())
        .collect()
}

#[test]
fn an_artifact_directory_that_is_there_is_found_before_the_lock() {
    let world = three("", "", "");
    let run = world.run();
    run.mark(&never()).unwrap();
    std::fs::create_dir(world.store("g/u0", "bbr-backup")).unwrap();
    let errors = run.arm(&Silent, &never()).unwrap_err();
    assert_eq!(errors.list()[0].phase, Phase::Backup);
    assert!(errors.to_string().contains("appeared on g/u0"), "{errors}");
    run.finish(&never()).unwrap();
    assert_eq!(world.leftovers("g/u0"), ["bbr-backup"]);
    assert_eq!(run.locked_instances(), [""; 0]);
}

#[test]
fn jobs_are_locked_in_order_over_ready_channels_too() {
    let mut world = World::new();
    world.manifest = super::manifest("g", &["a", "b"]);
    for (index, job) in ["a", "b"].into_iter().enumerate() {
        world.instance("g", index);
        let instance = format!("g/u{index}");
        world.script(&instance, job, "pre-backup-lock", "sleep 0.1");
        world.script(&instance, job, "post-backup-unlock", "sleep 0.1");
    }
    world.script("g/u0", "a", "metadata", &super::before(&["b"]));
    let run = ready(&world);
    run.lock(&Silent, &never()).unwrap();
    run.unlock(true, &Silent, &never()).unwrap();
    assert!(at(&world, "end g/u0 a pre-backup-lock") < at(&world, "start g/u1 b pre-backup-lock"));
    assert!(
        at(&world, "end g/u1 b post-backup-unlock") < at(&world, "start g/u0 a post-backup-unlock")
    );
}

#[test]
fn a_channel_serves_whoever_shares_it() {
    let world = World::with(&[("a", "backup", "sleep 0.2"), ("b", "backup", "echo b")]);
    let pair = starts(&world, &["a", "b"]);
    let armed = Arc::new(open(&world, &pair));
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let runs: Vec<_> = pair
            .iter()
            .map(|start| {
                let armed = Arc::clone(&armed);
                scope.spawn(move || armed.run(start, &[], &never()).unwrap().unwrap())
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(outputs[0].stdout, b"");
    assert_eq!(outputs[1].stdout, b"b\n");
}
