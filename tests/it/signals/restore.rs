//! SIGTERM, SIGINT and SIGKILL at every phase of a restore: it ends in time and unlocked, or says
//! what mends it; and a second run completes.

use std::time::Duration;

use serde_json::json;

use super::phase::Phase;
use super::run::{
    COMPONENT, IN_TIME, Signal, balanced_between, end, hold, in_unlock_order, journal, lines,
    release, side_by_side, unlock_scripts_end, unlock_started_everywhere,
};
use super::spec;
use crate::support::process::{Ended, finish, start};
use crate::support::scene::Scene;

const LOCK: &str = "pre-restore-lock";
const UNLOCK: &str = "post-restore-unlock";
const DATA: &str = "/var/vcap/store/cc";

/// Backed up into S3, which is read first, and a directory; the data is gone since.
fn scene() -> (Scene, String) {
    let mut scene = Scene::with_stores(&spec(), &["one"]);
    let s3 = scene.s3("s3");
    scene.source["stores"].as_array_mut().unwrap().insert(0, s3);
    let id = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    (scene, id)
}

fn phases() -> Vec<Phase> {
    vec![
        Phase::new("the backup is looked for")
            .fault(
                "s3",
                json!({"action": "stall", "method": "GET", "path": "/backups/"}),
            )
            .until_request("s3", "GET", "/backups/"),
        Phase::task_queued(),
        Phase::ssh_users_set_up(),
        Phase::metadata_runs(),
        Phase::marked(),
        Phase::new("an artifact is read from a store that hangs")
            .fault(
                "s3",
                json!({"action": "stall", "method": "GET", "path": "/data/"}),
            )
            .until_request("s3", "GET", "/data/"),
        Phase::new("an artifact is unpacked")
            .command_fault("db/d0", "tar.*--extract")
            .until_command("db/d0", "tar.*--extract"),
        Phase::new("an artifact is compared")
            .command_fault("db/d0", "sha256sum -z")
            .until_command("db/d0", "sha256sum -z"),
        Phase::first_lock(LOCK),
        Phase::deaf_lock(LOCK),
        Phase::new("a restore script runs")
            .script("db/d0", "cc", "restore", json!({"sleep": 60}))
            .until_script("cc", "restore", "start")
            .locks(),
        Phase::unlock_runs(UNLOCK),
        Phase::cleaned(),
        Phase::ssh_users_removed(),
    ]
}

#[test]
fn a_signal_at_any_phase_of_a_restore_ends_in_time_and_a_second_run_completes() {
    side_by_side(phases(), |phase| {
        let (scene, id) = scene();
        let took = stopped(&scene, &id, &phase, Signal::Term);
        again(&scene, &id, &phase);
        stopped(&scene, &id, &phase, Signal::Int);
        again(&scene, &id, &phase);
        killed(&scene, &id, &phase);
        again(&scene, &id, &phase);
        took
    });
}

fn spoil(scene: &Scene) {
    scene
        .foundation
        .ask(json!({"do": "run", "instance": "db/d0", "script": format!("rm -rf {DATA}")}));
}

fn interrupt(scene: &Scene, id: &str, phase: &Phase, signal: Signal) -> (Ended, Duration) {
    spoil(scene);
    let until = hold(scene, phase);
    let child = start(scene.restore_command(COMPONENT, &[id]), "");
    end(scene, child, &until, signal)
}

/// SIGTERM or SIGINT in a phase: all that must hold then.
fn stopped(scene: &Scene, id: &str, phase: &Phase, signal: Signal) -> Duration {
    let since = lines(scene).len();
    let (ended, took) = interrupt(scene, id, phase, signal);
    assert!(took < IN_TIME, "{signal:?} took {took:?}: {}", ended.stderr);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "nothing is answered after a signal");
    let last = ended.last_line();
    let journal = journal(scene, since);
    if phase.locks {
        unlock_started_everywhere(&journal, &ended, UNLOCK);
        in_unlock_order(&journal, &ended, UNLOCK);
        assert!(last.contains("every instance is unlocked"), "{last}");
    } else {
        assert!(last.contains("stopped by a signal"), "{}", ended.stderr);
        let locks = journal.iter().any(|line| line.contains("lock"));
        assert!(!locks, "{}", ended.stderr);
    }
    let left = scene.foundation.leaks();
    if left != json!({}) {
        assert!(
            last.contains(&format!("lifeboat restore-cleanup {COMPONENT}")),
            "{left} is left, and not said: {}",
            ended.stderr
        );
    }
    took
}

fn killed(scene: &Scene, id: &str, phase: &Phase) {
    let since = lines(scene).len();
    let (ended, _) = interrupt(scene, id, phase, Signal::Kill);
    assert_eq!(ended.code, -1);
    unlock_scripts_end(scene, since, UNLOCK);
}

fn cleanup(scene: &Scene) -> Ended {
    let command = scene.lifeboat(&["restore-cleanup", COMPONENT], &json!({}));
    finish(start(command, ""))
}

/// Nothing holds the next run up: cleanup, and it completes.
fn again(scene: &Scene, id: &str, phase: &Phase) {
    release(scene, phase);
    let ended = cleanup(scene).ok();
    assert_eq!(scene.foundation.leaks(), json!({}), "{}", ended.stderr);
    balanced_between(scene, LOCK, UNLOCK);
    spoil(scene);
    scene.restore(COMPONENT, &[id]).ok();
    restored(scene);
}

#[track_caller]
fn restored(scene: &Scene) {
    let file = scene
        .foundation
        .ask(json!({"do": "digest", "instance": "db/d0", "path": DATA}));
    assert_eq!(file["files"], 1, "{file}");
    scene.foundation.assert_clean();
    balanced_between(scene, LOCK, UNLOCK);
}

/// Ten seconds do not suffice, or an instance hangs: exit code 4, and the command that mends it.
#[test]
fn what_hangs_in_a_restore_is_left_to_restore_cleanup_in_time_and_named() {
    side_by_side(
        vec![
            Phase::new("an unlock script takes too long")
                .script("db/d0", "cc", UNLOCK, json!({"sleep": 13}))
                .script("db/d0", "cc", "restore", json!({"sleep": 60}))
                .until_script("cc", "restore", "start"),
            Phase::new("an instance hangs")
                .script("db/d0", "cc", "restore", json!({"sleep": 60}))
                .until_script("cc", "restore", "start")
                .then(json!({"do": "sshd", "instance": "api/a1", "action": "pause"})),
        ],
        |phase| {
            let (scene, id) = scene();
            let (ended, took) = interrupt(&scene, &id, &phase, Signal::Term);
            assert!(took < IN_TIME, "took {took:?}: {}", ended.stderr);
            assert_eq!(ended.code, 4, "{}", ended.stderr);
            let instance = match phase.name {
                "an instance hangs" => "api/a1",
                _ => "db/d0",
            };
            let last = ended.last_line();
            for part in [
                format!("may still be locked on {instance}."),
                format!("To mend it: lifeboat restore-cleanup {COMPONENT}"),
                "the data is neither as it was nor restored".to_owned(),
            ] {
                assert!(last.contains(&part), "{part}: {}", ended.stderr);
            }
            again(&scene, &id, &phase);
            took
        },
    );
}

/// An instance that is lost midway: everything else is unlocked, and the command is named.
#[test]
fn an_instance_lost_midway_is_named_and_a_second_run_completes() {
    side_by_side(
        vec![
            Phase::new("lost during the upload")
                .command_fault("db/d0", "tar.*--extract")
                .until_command("db/d0", "tar.*--extract")
                .then(json!({"do": "power", "instance": "db/d0", "on": false})),
            Phase::new("lost during the restore script")
                .script("db/d0", "cc", "restore", json!({"sleep": 60}))
                .until_script("cc", "restore", "start")
                .then(json!({"do": "power", "instance": "db/d0", "on": false})),
        ],
        |phase| {
            let (scene, id) = scene();
            spoil(&scene);
            let until = hold(&scene, &phase);
            let child = start(scene.restore_command(COMPONENT, &[&id]), "");
            for request in &until {
                scene.foundation.ask(request.clone());
            }
            let begun = std::time::Instant::now();
            let ended = finish(child);
            let last = ended.last_line();
            assert!(last.contains("db/d0"), "{}", ended.stderr);
            let mend = format!("lifeboat restore-cleanup {COMPONENT}");
            assert!(last.contains(&mend), "{}", ended.stderr);
            if phase.name.contains("script") {
                assert_eq!(ended.code, 4, "{}", ended.stderr);
                assert!(last.contains("may still be locked on db/d0."), "{last}");
            } else {
                assert_eq!(ended.code, 1, "{}", ended.stderr);
            }
            scene
                .foundation
                .ask(json!({"do": "power", "instance": "db/d0", "on": true}));
            again(&scene, &id, &phase);
            begun.elapsed()
        },
    );
}
