//! A Cloud Controller that pages, limits, forgets tokens, breaks off and changes while it is read.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Cloud, read};
use crate::support::process;

/// Three pages of apps.
fn many() -> Value {
    json!({"orgs": 20, "spaces": 60, "apps": 2_500, "users": 700, "droplets": 1})
}

fn with(mut capi: Value, more: &Value) -> Value {
    crate::support::scene::merge(&mut capi, more);
    capi
}

#[test]
fn limits_expired_tokens_outages_and_cut_pages_cost_time_and_nothing_else() {
    let calm = Cloud::new(&many());
    let (_, undisturbed) = read(&calm.take("calm.jsonl"));
    let cloud = Cloud::new(&with(
        many(),
        &json!({"token_uses": 7, "rate_limit": {"limit": 20, "seconds": 2, "from": "refusal"}}),
    ));
    for fault in [
        json!({"action": "status", "status": 503, "path": "/v3/apps.*page=2", "times": 7}),
        json!({"action": "cut", "bytes": 5_000, "path": "/v3/routes.*page=2", "times": 2}),
        json!({"action": "close", "path": "/v3/roles", "times": 1}),
        json!({"action": "status", "status": 502, "path": "/Users", "times": 1}),
    ] {
        let mut request = json!({"do": "fault", "service": "capi"});
        crate::support::scene::merge(&mut request, &fault);
        if fault["path"] == "/Users" {
            request["service"] = "cf-uaa".into();
        }
        cloud.ask(request);
    }
    let (head, things) = read(&cloud.take("troubled.jsonl"));
    assert_eq!(head["without"], json!([]));
    assert!(things == undisturbed, "the inventories differ");
    let asked = cloud.ask(json!({"do": "capi"}));
    // Once told to wait nobody asks again: each of the four was told at most once in a window.
    assert!(asked["most_refused"].as_u64().unwrap() <= 4, "{asked}");
    let refused = cloud.ask(json!({"do": "requests", "service": "capi"}));
    let statuses = refused["requests"].as_array().unwrap().iter();
    let count = |status: u64| {
        statuses
            .clone()
            .filter(|one| one["status"] == status)
            .count()
    };
    assert!(
        count(429) > 0 && count(401) > 0,
        "{} {}",
        count(429),
        count(401)
    );
}

#[test]
fn nothing_is_lost_when_others_delete_while_pages_are_read() {
    let cloud = Cloud::new(&many());
    cloud.ask(json!({"do": "fault", "service": "capi", "action": "delay", "seconds": 3, "path": "/v3/apps.*page=2", "times": 1}));
    let path = cloud.scratch.path().join("a.jsonl");
    let taking = process::start(
        cloud.command(&["take", "--out", path.to_str().unwrap()], &json!({})),
        "",
    );
    cloud.ask(json!({"do": "wait-request", "service": "capi", "path": "/v3/apps.*page=2"}));
    for app in 0..5 {
        cloud.ask(json!({"do": "capi-delete", "kind": "apps", "name": format!("app-{app}")}));
    }
    process::finish(taking).ok();
    let (_, things) = read(&path);
    let apps: Vec<_> = things
        .iter()
        .filter(|thing| thing["kind"] == "app")
        .collect();
    for app in 5..2_500 {
        let name = format!("/app-{app}");
        assert!(
            apps.iter()
                .any(|one| one["key"].as_str().unwrap().ends_with(&name)),
            "{name} was lost"
        );
    }
}

#[test]
fn what_is_forbidden_is_said_and_the_rest_is_kept() {
    let cloud = Cloud::new(&json!({"forbidden": ["isolation_segments", "policies", "uaa_users"]}));
    let path = cloud.scratch.path().join("a.jsonl");
    let file = path.to_str().unwrap();
    let taken = cloud.run(&["take", "--out", file]).fails(3);
    assert!(taken.log().contains("isolation-segment"), "{}", taken.log());
    let (head, things) = read(&path);
    let without: Vec<_> = head["without"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["kinds"])
        .collect();
    assert_eq!(
        without,
        [
            &json!(["isolation-segment"]),
            &json!(["network-policy"]),
            &json!(["uaa-user"])
        ]
    );
    assert_eq!(head["counts"]["app"], 12);
    assert!(things.iter().all(|thing| thing["kind"] != "uaa-user"));
    // What the first had and nobody can tell now is no equality.
    cloud.ask(json!({"do": "capi-set", "forbidden": []}));
    cloud.run(&["diff", file, "now"]).ok();
    let whole = cloud.take("whole.jsonl");
    cloud.ask(json!({"do": "capi-set", "forbidden": ["isolation_segments"]}));
    let unknown = cloud
        .run(&["diff", whole.to_str().unwrap(), "now"])
        .fails(3);
    assert!(
        unknown
            .stdout
            .contains("not compared: isolation segment: the second inventory is without"),
        "{}",
        unknown.stdout
    );
    cloud
        .run(&[
            "diff",
            whole.to_str().unwrap(),
            "now",
            "--ignore",
            "isolation-segment",
        ])
        .ok();
}

#[test]
fn an_api_that_breaks_down_midway_is_told_and_not_waited_for_list_by_list() {
    let cloud = Cloud::new(&json!({"rate_limit": {"limit": 8, "seconds": 3600}}));
    let limits = json!({"limits": {"inventory_timeout": "2s"}});
    let path = cloud.scratch.path().join("a.jsonl");
    let command = cloud.command(&["take", "--out", path.to_str().unwrap()], &limits);
    let began = std::time::Instant::now();
    let taken = process::finish(process::start(command, "")).fails(3);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(taken.log().contains("inventory_timeout"), "{}", taken.log());
    let (head, _) = read(&path);
    assert!(head["without"].as_array().unwrap().len() > 3);
}

#[test]
fn an_old_api_and_a_user_serve_as_well_and_wrong_credentials_are_said() {
    let cloud = Cloud::new(&json!({"old": true}));
    let ready = cloud.foundation.ready["capi"].clone();
    let user = json!({"cloud_controller": {
        "client": null, "client_secret": null, "username": ready["username"], "password": ready["password"]}});
    let path = cloud.scratch.path().join("old.jsonl");
    let command = cloud.command(&["take", "--out", path.to_str().unwrap()], &user);
    process::finish(process::start(command, "")).ok();
    let (_, things) = read(&path);
    let app = things.iter().find(|thing| thing["kind"] == "app").unwrap();
    assert!(app["fields"]["droplet"].is_string() && app["fields"]["package"].is_string());
    let wrong = json!({"cloud_controller": {"client_secret": "no-such-secret"}});
    let refused = process::finish(process::start(cloud.command(&["take"], &wrong), "")).fails(3);
    assert!(
        refused.log().contains("no token for `lifeboat_auditor`"),
        "{}",
        refused.log()
    );
    assert!(!refused.log().contains("no-such-secret"));
    let nobody = process::finish(process::start(
        cloud.command(&["take"], &json!({"cloud_controller": null})),
        "",
    ))
    .fails(1);
    assert!(
        nobody.last_line().contains("nobody to ask"),
        "{}",
        nobody.last_line()
    );
}

#[test]
fn a_signal_ends_it_in_time_and_leaves_no_file() {
    let cloud = Cloud::new(&many());
    let path = cloud.scratch.path().join("a.jsonl");
    for (service, at) in [("capi", "/v3/apps.*page=2"), ("cf-uaa", "/oauth/token")] {
        cloud.ask(json!({"do": "clear-requests", "service": service}));
        cloud.ask(json!({"do": "fault", "service": service, "action": "stall", "path": at}));
        let taking = process::start(
            cloud.command(&["take", "--out", path.to_str().unwrap()], &json!({})),
            "",
        );
        cloud.ask(json!({"do": "wait-request", "service": service, "path": at}));
        let pid = taking.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status();
        assert!(sent.unwrap().success());
        let began = std::time::Instant::now();
        let ended = process::finish(taking).fails(1);
        assert!(began.elapsed() < Duration::from_secs(10), "{at}");
        assert!(
            ended.last_line().contains("stopped by a signal"),
            "{}",
            ended.log()
        );
        assert!(!path.exists(), "{at}");
        cloud.ask(json!({"do": "clear-faults", "service": service}));
    }
    cloud.run(&["take", "--out", path.to_str().unwrap()]).ok();
}
