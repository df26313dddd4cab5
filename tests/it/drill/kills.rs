//! A drill that is killed or aborted at each of its steps, and goes on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Origin, Scratch};
use crate::support::process;

/// A drill that runs, and what it has said so far.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(scratch: &Scratch<'_>, arguments: &[&str]) -> Self {
        let mut child = process::start(scratch.command(arguments, &json!({})), "");
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (child.stderr.take().unwrap(), Arc::clone(&said));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = into.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self {
            child,
            said,
            reader: Some(reader),
        }
    }

    /// Waits until the drill is at a step and `busy` with it, and ends it by a signal.
    fn ends_at(mut self, step: &str, signal: &str, busy: impl Fn() -> bool) {
        let line = format!("drill: {step}");
        let at_it = |said: &str| said.lines().any(|one| one.trim_end().ends_with(&line));
        let began = Instant::now();
        while !(at_it(&self.said.lock().unwrap()) && busy()) {
            let waited = began.elapsed() < Duration::from_secs(120);
            assert!(waited, "{step}: {}", self.said.lock().unwrap());
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "{step} ended too early: {status}: {}",
                    self.said.lock().unwrap()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // The child is the program itself: what brought it into the network was replaced by it.
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let said = self.said.lock().unwrap();
        assert!(!status.success(), "{step} succeeded: {said}");
        if signal == "TERM" {
            assert!(said.contains("stopped by a signal"), "{step}: {said}");
        }
    }
}

#[test]
fn a_drill_that_is_killed_at_each_step_goes_on_and_touches_nothing_of_the_original() {
    let origin = Origin::new();
    let before = origin.state();
    let spec = json!({"opsman": {"import_seconds": 1, "install_seconds": 0.5}});
    let scratch = Scratch::new(&origin, &spec);
    let control = &scratch.foundation;
    let requested = |service: &str, method: &str, path: &str| {
        let question =
            json!({"do": "requests", "service": service, "method": method, "path": path});
        let answer = control.try_ask(&question);
        answer["requests"].as_array().map_or(0, Vec::len)
    };
    let applying = || {
        let runs = control.ask(json!({"do": "opsman-state"}))["installations"].clone();
        let runs = runs.as_array().unwrap().clone();
        runs.iter().any(|run| run["status"] == "running")
    };
    let restores = |job: &str| {
        control
            .journal()
            .iter()
            .any(|line| line.ends_with(&format!(" {job} restore start")))
    };
    let at_once: &dyn Fn() -> bool = &|| true;
    let importing = || requested("opsman", "POST", "/api/v0/installation_asset_collection") > 0;
    let resolving = || requested("director", "PUT", "/deployments/.*/problems") > 0;
    let (director, tas, redis) = (
        || restores("director"),
        || restores("blobstore"),
        || restores("redis"),
    );
    let plan: [(&str, &str, &dyn Fn() -> bool); 14] = [
        ("ops-manager", "KILL", &importing),
        ("bosh-state", "KILL", at_once),
        ("apply-director", "TERM", &applying),
        ("director", "KILL", &director),
        ("references", "KILL", &resolving),
        ("stemcells", "TERM", at_once),
        ("scale-down", "KILL", at_once),
        ("apply-tas", "KILL", &applying),
        ("tas", "TERM", &tas),
        ("scale-up", "KILL", &applying),
        ("recreate-instances", "KILL", at_once),
        ("service-instances", "KILL", &redis),
        ("instances", "KILL", at_once),
        ("check-row", "TERM", at_once),
    ];
    for (step, signal, busy) in plan {
        Running::start(&scratch, &[]).ends_at(step, signal, busy);
        assert_eq!(origin.state(), before, "{step}");
        if signal == "TERM" && !step.starts_with("check-") {
            // What was spent on the step until then is noted.
            let noted = scratch.note()["steps"][step].clone();
            assert!(noted["timed"].as_u64().unwrap() > 0, "{step}: {noted}");
        }
    }
    let drilled = scratch.passes(&[]);
    // How long the killed runs took nobody knows.
    assert_eq!(drilled["rto_ms"], json!(null), "{drilled}");
    for step in drilled["steps"].as_array().unwrap() {
        if ["apply-director", "tas"].contains(&step["name"].as_str().unwrap()) {
            let said = step["said"].to_string();
            assert!(said.contains("its time is the sum of "), "{step}");
        }
    }
    assert!(
        drilled["runs"].as_u64().unwrap() >= plan.len() as u64,
        "{drilled}"
    );
    scratch.assert_careful();
    assert_eq!(origin.state(), before);
    // One that is killed while it is taken down is taken down by whoever comes next.
    scratch.renew();
    scratch.passes(&["--keep"]);
    let taking = process::start(scratch.command(&["drill-cleanup"], &json!({})), "");
    let began = Instant::now();
    while !applying() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(
        Command::new("kill")
            .args(["-KILL", &taking.id().to_string()])
            .status(),
    );
    drop(process::finish(taking));
    let ended = scratch.clean().ok();
    assert!(ended.stdout.contains("is taken down"), "{}", ended.stdout);
    assert_eq!(control.ask(json!({"do": "iaas"}))["vms"], json!({}));
    assert_eq!(origin.state(), before);
}
