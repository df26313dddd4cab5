//! Steps that are killed midway, and run again.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Origin, Target, tas};
use crate::support::process;

/// Starts a step, waits until `busy`, ends it by a signal, and lets it end.
fn killed(target: &Target<'_>, step: &str, signal: &str, busy: impl Fn() -> bool) {
    let mut child = process::start(target.command(step, &json!({})), "");
    let began = Instant::now();
    while !busy() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{step} never got there"
        );
        if let Ok(Some(status)) = child.try_wait() {
            panic!("{step} ended too early: {status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &pid])
        .status();
    assert!(sent.unwrap().success());
    let ended = process::finish(child);
    assert_ne!(ended.code, 0, "{step} succeeded");
}

fn running(target: &Target<'_>) -> bool {
    let runs = target.state()["installations"].clone();
    runs.as_array()
        .unwrap()
        .iter()
        .any(|run| run["status"] == "running")
}

fn requested(target: &Target<'_>, service: &str, method: &str, path: &str) -> usize {
    let question = json!({"do": "requests", "service": service, "method": method, "path": path});
    let answer = target.foundation.ask(question);
    answer["requests"].as_array().unwrap().len()
}

#[test]
fn a_killed_import_or_apply_is_taken_up_by_the_next_run() {
    let origin = Origin::new();
    let spec = json!({"opsman": {"import_seconds": 3, "install_seconds": 3}});
    let target = Target::new(&origin, &spec);
    let collection = "/api/v0/installation_asset_collection";
    killed(&target, "ops-manager", "KILL", || {
        requested(&target, "opsman", "POST", collection) > 0
    });
    // It works on; the next run waits for it.
    target.did("ops-manager");
    target.does("bosh-state");
    for signal in ["KILL", "TERM"] {
        killed(&target, "apply-director", signal, || running(&target));
        if signal == "KILL" {
            let ended = target.does("apply-director");
            assert!(
                ended.stdout.contains("was under way; it succeeded"),
                "{}",
                ended.stdout
            );
            break;
        }
    }
    assert_eq!(target.state()["installations"].as_array().unwrap().len(), 1);
    target.did("apply-director");
    for step in ["director", "references", "stemcells", "scale-down"] {
        target.does(step);
    }
    killed(&target, "apply-tas", "TERM", || running(&target));
    target.does("apply-tas");
    target.did("apply-tas");
    let applied = target.state()["installations"].clone();
    assert_eq!(applied.as_array().unwrap().len(), 2, "{applied}");
    let state = target.state();
    assert_eq!(state["disasters"], json!([]));
    // Nobody can know that an import of a killed run is still worked on, but by being refused.
    for violation in state["violations"].as_array().unwrap() {
        assert_eq!(violation["path"], collection, "{violation}");
    }
}

#[test]
fn killed_references_are_cleared_by_the_next_run() {
    let origin = Origin::new();
    let target = Target::new(&origin, &json!({}));
    target.until("references");
    let problems = format!("/deployments/{}/problems", tas(&origin));
    let hold = json!({"do": "task-plan", "match": "apply resolutions|resolv", "processing": 30, "times": 1});
    target.foundation.ask(hold);
    killed(&target, "references", "KILL", || {
        requested(&target, "director", "PUT", "/deployments/.*/problems") > 0
    });
    target.foundation.ask(json!({"do": "clear-task-plans"}));
    let rows = || -> Vec<Value> {
        let answer = target
            .foundation
            .ask(json!({"do": "director-db", "table": "instances"}));
        answer["rows"].as_array().unwrap().clone()
    };
    target.does("references");
    assert!(requested(&target, "director", "PUT", &problems) > 0);
    assert!(
        rows().iter().all(|row| row["vm_cid"].is_null()),
        "{:?}",
        rows()
    );
    target.did("references");
    target.does("stemcells");
}

#[test]
fn a_failed_apply_may_be_run_again() {
    let origin = Origin::new();
    let target = Target::new(&origin, &json!({}));
    target.until("apply-director");
    target
        .foundation
        .ask(json!({"do": "opsman-fail", "at": "director", "message": "quota exceeded"}));
    let ended = target.step("apply-director").fails(1);
    assert!(ended.log().contains("quota exceeded"), "{}", ended.log());
    target.does("apply-director");
    target.did("apply-director");
    target.assert_careful();
}
