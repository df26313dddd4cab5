//! Commands that look and tell: a signal ends each of them in time, and what it had not finished is
//! nowhere. The same command then does what it should.

use serde_json::{Value, json};

use super::phase::Phase;
use super::run::{COMPONENT, IN_TIME, Signal, end, hold, side_by_side};
use super::spec;
use crate::support::process::{finish, start};
use crate::support::scene::Scene;

/// One store, of S3, with a backup.
fn scene() -> (Scene, String) {
    let mut scene = Scene::with_stores(&spec(), &[]);
    scene.source["stores"] = json!([scene.s3("s3")]);
    let id = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    (scene, id)
}

/// What a command does when the signal comes, and its arguments; `ID` stands for the backup.
fn phases() -> Vec<(Phase, &'static [&'static str])> {
    let stalled = |name, method: &str, path: &str| {
        Phase::new(name)
            .fault(
                "s3",
                json!({"action": "stall", "method": method, "path": path}),
            )
            .until_request("s3", method, path)
    };
    vec![
        (
            stalled("objects are listed", "GET", "list-type=2"),
            &["verify", "--level", "listed"],
        ),
        (
            stalled("chunks are read without a key", "GET", "/data/[0-9a-f]{2}/"),
            &["verify", "--level", "scrub"],
        ),
        (
            stalled("chunks are opened", "GET", "/data/[0-9a-f]{2}/"),
            &["verify", "--level", "contents", "ID"],
        ),
        (
            stalled("a proof is stored", "PUT", "/reports/"),
            &["verify", "--level", "restorable", "ID"],
        ),
        (
            stalled("backups are listed for a report", "GET", "list-type=2"),
            &["report"],
        ),
        (
            stalled("a report is stored", "PUT", "report"),
            &["report", "--to-store"],
        ),
        (
            stalled("a manifest is read for alerts", "GET", "/backups/[0-9]"),
            &["alerts", "--json"],
        ),
    ]
}

#[test]
fn a_signal_ends_whoever_looks_in_time_and_nothing_half_done_is_stored() {
    let all = phases();
    let arguments = |phase: &Phase| {
        let (_, arguments) = all.iter().find(|(one, _)| one.name == phase.name).unwrap();
        *arguments
    };
    side_by_side(
        phases().into_iter().map(|(phase, _)| phase).collect(),
        |phase| {
            let (scene, id) = scene();
            let arguments: Vec<&str> = arguments(&phase)
                .iter()
                .map(|part| if *part == "ID" { id.as_str() } else { *part })
                .collect();
            let mut longest = std::time::Duration::ZERO;
            for signal in [Signal::Term, Signal::Int] {
                let until = hold(&scene, &phase);
                let child = start(scene.lifeboat(&arguments, &json!({})), "");
                let (ended, took) = end(&scene, child, &until, signal);
                assert!(took < IN_TIME, "{signal:?} took {took:?}: {}", ended.stderr);
                assert_eq!(ended.code, 1, "{}", ended.stderr);
                assert_eq!(ended.stdout, "", "nothing is answered after a signal");
                assert!(
                    ended.last_line().contains("stopped by a signal"),
                    "{}",
                    ended.stderr
                );
                scene
                    .foundation
                    .ask(json!({"do": "clear-faults", "service": "s3"}));
                assert_eq!(proven(&scene, &id), json!([]), "{}", phase.name);
                longest = longest.max(took);
            }
            let whole = finish(start(scene.lifeboat(&arguments, &json!({})), ""));
            assert!([0, 3].contains(&whole.code), "{}", whole.stderr);
            longest
        },
    );
}

/// The proofs of a backup.
fn proven(scene: &Scene, id: &str) -> Value {
    let show = scene.lifeboat(&["show", id, "--json"], &json!({}));
    let shown = finish(start(show, "")).ok().json();
    shown["proofs"].clone()
}
