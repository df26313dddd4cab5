//! Downtime seen from outside, while a real run locks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::opsman::foundation;
use crate::support::scene::Scene;

/// A foundation with a router, whose Cloud Controller and CredHub do not answer while locked, and a
/// backup script of TAS that takes a while.
fn scene() -> Scene {
    let scene = foundation(&json!({"router": true, "tas": {"mysql": 1, "services": 0}}));
    let slow = json!({"sleep": 4, "body": "cp -al /var/vcap/store/shared \"$BBR_ARTIFACT_DIRECTORY\"shared"});
    scene.foundation.ask(json!({"do": "set-script", "instance": "blobstore/blobstore-0", "job": "blobstore", "script": "backup", "value": slow}));
    scene
}

fn probes(scene: &Scene, more: &[Value]) -> Value {
    let router = scene.foundation.ready["router"]["url"].as_str().unwrap();
    let page = |name: &str, path: &str| json!({"name": name, "url": format!("{router}{path}")});
    let mut all = vec![
        page("api", "/api/v3/info"),
        page("uaa", "/uaa/healthz"),
        page("credhub", "/credhub/health"),
        page("app", "/app"),
    ];
    all.extend_from_slice(more);
    json!({"backup": ["tas"], "probes": all})
}

#[test]
fn what_users_lose_is_measured_and_told() {
    let scene = scene();
    let router = scene.foundation.ready["router"]["url"].as_str().unwrap();
    let strangers = [
        // Broken before the lock already; not there; somebody else's certificate.
        json!({"name": "gone", "url": format!("{router}/nothing/here")}),
        json!({"name": "silent", "url": "https://127.0.0.1:9/"}),
        json!({"name": "other", "url": format!("{router}/app"), "contains": "hunter2"}),
    ];
    let put = scene.put(&probes(&scene, &strangers)).ok();
    let (log, id) = (put.log(), put.id());
    let shown = show(&scene, &id);
    let component = &shown["components"][0];
    let seen = component["downtime"].as_array().unwrap();
    let names: Vec<_> = seen
        .iter()
        .map(|one| one["probe"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["api", "uaa", "credhub", "app"], "{shown}");
    let unavailable = component["api_unavailable_ms"].as_u64().unwrap();
    for one in seen {
        let (asked, failed) = (
            one["asked"].as_u64().unwrap(),
            one["failed"].as_u64().unwrap(),
        );
        let ms = one["ms"].as_u64().unwrap();
        match one["probe"].as_str().unwrap() {
            "api" | "credhub" => {
                assert!(failed >= 3 && asked > failed, "{one}");
                // Seen to the second, from the first failed question to the next good one.
                assert!(
                    ms >= 3000 && ms <= unavailable + 2500,
                    "{one}, {unavailable} ms"
                );
                assert!(
                    one["first"].as_str().unwrap() < one["last"].as_str().unwrap(),
                    "{one}"
                );
            }
            _ => assert_eq!((failed, ms), (0, 0), "{one}"),
        }
        assert_eq!(one["still"], false);
    }
    for name in ["gone", "silent", "other"] {
        let line = format!("probe {name}: not right before the lock");
        assert!(log.contains(&line), "{line}\n{log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
    assert!(
        log.contains("tas: seen from outside: api was down for"),
        "{log}"
    );
    assert!(
        log.contains("tas: seen from outside: app answered all of"),
        "{log}"
    );
    let pairs = put.json()["metadata"].clone();
    let pair = pairs
        .as_array()
        .unwrap()
        .iter()
        .find(|pair| pair["name"] == "downtime_seen");
    let value = pair.unwrap()["value"].as_str().unwrap();
    assert!(
        value.starts_with("tas: api ") && value.contains("app 0 of "),
        "{value}"
    );
}

fn show(scene: &Scene, id: &str) -> Value {
    let command = scene.lifeboat(&["show", id, "--json"], &json!({}));
    let ended = crate::support::process::finish(crate::support::process::start(command, ""));
    ended.ok().json()
}

#[test]
fn those_that_ops_manager_leads_to_need_not_be_named() {
    let scene = scene();
    let router = scene.foundation.ready["router"]["url"].as_str().unwrap();
    let app = json!([{"name": "app", "url": format!("{router}/app")}]);
    let put = scene.put(&json!({"backup": ["tas"], "probes": app})).ok();
    let shown = show(&scene, &put.id());
    let seen = shown["components"][0]["downtime"].clone();
    let told = |at: usize| {
        (
            seen[at]["probe"].as_str().unwrap(),
            seen[at]["failed"].as_u64().unwrap(),
        )
    };
    // The Cloud Controller is gone while TAS is locked; apps and the director's CredHub are not.
    assert_eq!((told(0), told(2)), (("app", 0), ("credhub", 0)), "{seen}");
    assert!(told(1).0 == "api" && told(1).1 >= 3, "{seen}");
    let put = scene
        .put(&json!({"backup": ["director"], "probes": []}))
        .ok();
    let shown = show(&scene, &put.id());
    assert!(shown["components"][0]["downtime"].is_null(), "{shown}");
    // A page that nobody named, and that does not answer, is no reason to warn.
    let elsewhere = json!({"backup": ["director"], "credhub": {"url": "https://127.0.0.1:9"}});
    let log = scene.put(&elsewhere).ok().log();
    let line = log
        .lines()
        .find(|line| line.contains("probe credhub: not right before the lock"));
    assert!(line.is_some_and(|line| !line.contains("warn")), "{log}");
}

#[test]
fn pages_that_hang_neither_delay_nor_fail_a_backup() {
    let scene = scene();
    let control = &scene.foundation;
    // They answer before the lock, and hang for good once it has begun.
    let asked = probes(&scene, &[]);
    let child = scene.start_put(&asked);
    control.ask(json!({"do": "wait-journal", "match": {"script": "pre-backup-lock", "event": "start"}, "seconds": 60}));
    control.ask(json!({"do": "fault", "service": "router", "action": "stall", "path": "/"}));
    let began = Instant::now();
    let put = crate::support::process::finish(child).ok();
    let took = began.elapsed();
    let log = put.log();
    assert!(
        log.contains("it had not come back when this was written"),
        "{log}"
    );
    assert!(took < Duration::from_secs(60), "{took:?}");
    let pairs = put.json()["metadata"].to_string();
    assert!(pairs.contains("at least "), "{pairs}");
    scene.foundation.assert_clean();
}

#[test]
fn a_probe_that_is_not_one_is_refused_by_name() {
    let scene = Scene::new(&json!({}));
    let ops_manager = json!({"url": "h", "username": "u", "password": "p"});
    for (probe, said) in [
        (
            json!({"url": "https://h/"}),
            "probes[0].name: is missing or empty",
        ),
        (json!({"name": "a"}), "probes[0].url: is missing or empty"),
        (
            json!({"name": "A b", "url": "https://h/"}),
            "probes[0].name: must be 1 to 40",
        ),
        (
            json!({"name": "a", "url": "http://h/"}),
            "probes[0].url: must begin with https://",
        ),
        (
            json!({"name": "a", "url": "https://u:hunter2@h/"}),
            "probes[0].url: holds a user name",
        ),
        (
            json!({"name": "a", "url": "https://h/", "status": 7}),
            "probes[0].status: must be an HTTP status",
        ),
        (
            json!({"name": "a", "url": "https://h/", "body": "x"}),
            "probes[0].body: is not a key",
        ),
    ] {
        let ended = scene
            .put(&json!({"backup": ["director"], "probes": [probe], "ops_manager": ops_manager}))
            .fails(1);
        let line = ended.last_line();
        assert!(line.contains(said), "{said}: {line}");
        assert!(!ended.log().contains("hunter2"));
    }
}
