//! Runs that are stopped, killed, cut off, or overtaken: the next one completes what they left.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    COMPONENT, INSTANCE, LIST, STAGE, backup, restored, restored_beside_another, scene, sent,
    shell, stage, stage_command,
};
use crate::support::process::{finish, start};
use crate::support::scene::Scene;

/// A command of each part of a run.
const PARTS: [&str; 6] = [
    "mark.new",
    LIST,
    "gzip -dc .* perl",
    "lifeboat-stage.*tar --extract|lifeboat-stage.*--extract",
    "gzip -dc .* tar",
    "note.new",
];

fn fault(scene: &Scene, kind: &str, pattern: &str, more: Value) {
    let mut request = json!({"do": "command-fault", "instance": INSTANCE, "kind": kind,
        "pattern": pattern, "times": 1});
    crate::support::scene::merge(&mut request, &more);
    scene.foundation.ask(request);
}

#[test]
fn a_run_that_is_cut_off_anywhere_is_gone_on_with() {
    let scene = scene();
    let (id, left) = backup(&scene);
    for (kind, more) in [
        ("cut", json!({})),
        ("run_then_cut", json!({})),
        ("cut_after", json!({"seconds": 0.05})),
    ] {
        for part in PARTS {
            fault(&scene, kind, part, more.clone());
            let ended = stage(&scene, &[&id]);
            let hits = scene
                .foundation
                .ask(json!({"do": "command-fault-hits", "instance": INSTANCE}));
            assert!(
                hits["hits"]
                    .as_object()
                    .unwrap()
                    .values()
                    .any(|hits| hits.as_u64() >= Some(1)),
                "{part}: {hits}"
            );
            scene
                .foundation
                .ask(json!({"do": "clear-command-faults", "instance": INSTANCE}));
            if kind == "cut" {
                ended.fails(1);
            }
        }
        stage(&scene, &[&id]).ok();
        let log = restored(&scene, &id, &left);
        assert_eq!(sent(&log), Some(0), "{log}");
    }
}

#[test]
fn a_run_that_did_not_end_costs_a_restore_no_room() {
    let scene = scene();
    let (id, _) = backup(&scene);
    // Room for it once, not twice.
    shell(&scene, "mount -t tmpfs -o size=24m tmpfs /var/vcap/store");
    stage(&scene, &[&id]).ok();
    // While it lists, which is most of its time.
    fault(&scene, "cut", LIST, json!({}));
    stage(&scene, &[&id]).fails(1);
    scene
        .foundation
        .ask(json!({"do": "clear-command-faults", "instance": INSTANCE}));
    shell(
        &scene,
        &format!("grep -F '\"whole\":false' {STAGE}/of/j/note"),
    );
    let log = scene.restore(COMPONENT, &[&id]).ok().log();
    assert_eq!(sent(&log), Some(0), "{log}");
    shell(&scene, "umount /var/vcap/store");
}

#[test]
fn a_signal_ends_a_run_in_time_and_the_next_completes() {
    let scene = scene();
    let (id, left) = backup(&scene);
    for signal in ["TERM", "INT", "KILL"] {
        for part in PARTS {
            let asked = json!({"do": "commands", "instance": INSTANCE, "match": part});
            let before = scene.foundation.ask(asked)["commands"]
                .as_array()
                .unwrap()
                .len();
            fault(&scene, "stall", part, json!({}));
            let child = start(stage_command(&scene, &[&id]), "");
            scene.foundation.ask(
                json!({"do": "wait-command", "instance": INSTANCE, "match": part,
                "count": before + 1, "seconds": 60}),
            );
            let begun = Instant::now();
            let sent = std::process::Command::new("kill")
                .args([format!("-{signal}"), child.id().to_string()])
                .status();
            assert!(sent.unwrap().success());
            let ended = finish(child);
            assert!(begun.elapsed() < Duration::from_secs(10), "{signal} {part}");
            if signal != "KILL" {
                let ended = ended.fails(1);
                assert!(
                    ended.last_line().contains("stopped by a signal"),
                    "{}",
                    ended.stderr
                );
                scene.foundation.assert_clean();
            }
            scene
                .foundation
                .ask(json!({"do": "clear-command-faults", "instance": INSTANCE}));
        }
        shell(
            &scene,
            "for user in $(grep -o '^bosh_[^:]*' /etc/passwd); do userdel -f \"$user\"; done; true",
        );
        stage(&scene, &[&id]).ok();
        let log = restored(&scene, &id, &left);
        assert_eq!(sent(&log), Some(0), "{log}");
    }
}

/// A store that hangs keeps a run's tar waiting on the instance; whoever comes next does not wait for it.
#[test]
fn a_run_that_hangs_is_taken_over_by_a_run_and_by_a_restore() {
    for by_restore in [false, true] {
        let mut scene = scene();
        let s3 = scene.s3("s3");
        scene.source["stores"] = json!([s3]);
        let (id, left) = backup(&scene);
        scene
            .foundation
            .ask(json!({"do": "clear-requests", "service": "s3"}));
        scene
            .foundation
            .ask(json!({"do": "fault", "service": "s3", "action": "stall",
            "method": "GET", "path": "/data/", "skip": 2, "times": 4}));
        let first = start(stage_command(&scene, &[&id]), "");
        scene.foundation.ask(
            json!({"do": "wait-request", "service": "s3", "method": "GET",
            "path": "/data/", "count": 4, "seconds": 60}),
        );
        let tars = "pgrep -fc 'tar --extract.*lifeboat-stage' || true";
        let running = || shell(&scene, tars).trim().parse::<u64>().unwrap();
        let begun = Instant::now();
        while running() < 2 && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(100));
        }
        if by_restore {
            let log = restored_beside_another(&scene, &id, &left);
            assert!(sent(&log).is_some(), "{log}");
        } else {
            stage(&scene, &[&id]).ok();
        }
        let killed = std::process::Command::new("kill")
            .arg(first.id().to_string())
            .status();
        assert!(killed.unwrap().success());
        finish(first).fails(1);
        if !by_restore {
            let log = restored(&scene, &id, &left);
            assert_eq!(sent(&log), Some(0), "{log}");
        }
    }
}
