//! The inventory of a backup: taken before the lock, sealed, read back, compared with what was restored.

use serde_json::json;

use super::{PLANTED, read};
use crate::opsman::{assert_careful, foundation};
use crate::support::process;
use crate::support::scene::Scene;

/// TAS and its Cloud Controller, without an Ops Manager.
fn tas(capi: &serde_json::Value) -> Scene {
    let mut scene = Scene::new(&json!({
        "fixture": "tas",
        "tas": {"blobs": 20, "big_blobs": 1, "big_bytes": 100_000, "rows": 20, "cells": 1, "unlock_seconds": 0},
        "capi": capi,
    }));
    let ready = &scene.foundation.ready;
    scene.params["tas"] = json!({"deployment": "cf"});
    scene.params["cloud_controller"] = json!({
        "api": ready["capi"]["url"], "ca_cert": ready["ca_cert"],
        "client": ready["capi"]["client"], "client_secret": ready["capi"]["client_secret"],
    });
    scene
}

fn inventory(scene: &Scene, arguments: &[&str]) -> process::Ended {
    let command = scene.lifeboat(&[&["inventory"], arguments].concat(), &json!({}));
    process::finish(process::start(command, ""))
}

#[test]
fn what_was_lost_since_is_told_and_a_restore_makes_the_difference_vanish() {
    let scene = tas(&json!({}));
    let ended = scene.put(&json!({"backup": ["tas"]})).ok();
    let id = ended.id();
    assert!(ended.log().contains("inventory: "), "{}", ended.log());
    // Taken while the API was up: not one request met a locked Cloud Controller.
    let requests = scene
        .foundation
        .ask(json!({"do": "requests", "service": "capi"}));
    let requests = requests["requests"].as_array().unwrap();
    assert!(requests.len() > 20 && requests.iter().all(|one| one["status"] == 200));
    inventory(&scene, &["diff", &id, "now"]).ok();
    for (kind, name) in [
        ("apps", "app-1"),
        ("routes", "app-4.apps.test.example.com"),
        ("organizations", "org-2"),
    ] {
        scene
            .foundation
            .ask(json!({"do": "capi-delete", "kind": kind, "name": name}));
    }
    let lost = inventory(&scene, &["diff", "latest", "now"]).fails(3);
    assert!(
        lost.stdout.contains("app app-1: missing in B"),
        "{}",
        lost.stdout
    );
    scene.restore("tas", &["latest"]).ok();
    let back = inventory(&scene, &["diff", "latest", "now"]).ok();
    assert!(back.stdout.contains("no difference"), "{}", back.stdout);
    // A second backup, and what two backups differ by.
    scene
        .foundation
        .ask(json!({"do": "capi-delete", "kind": "apps", "name": "app-5"}));
    let second = scene.put(&json!({"backup": ["tas"]})).ok().id();
    let since = inventory(&scene, &["diff", &id, &second]).fails(3);
    assert!(
        since.stdout.contains("app app-5: missing in B"),
        "{}",
        since.stdout
    );
    // It is a file beside the artifacts, sealed like them.
    let (_, things) = read(&scene.download(&id).join("tas/inventory.jsonl"));
    assert!(things.len() > 100);
    let shown = inventory(&scene, &["show", &id]).ok();
    assert!(shown.stdout.contains("app: 12"), "{}", shown.stdout);
}

#[test]
fn a_backup_without_its_inventory_is_a_backup_all_the_same() {
    let scene = tas(&json!({}));
    scene.foundation.ask(
        json!({"do": "fault", "service": "cf-uaa", "action": "status", "status": 401,
        "path": "token", "body": format!("{} is no secret of ours", PLANTED)}),
    );
    let ended = scene.put(&json!({"backup": ["tas"]})).ok();
    let log = ended.log();
    let warned = |line: &&str| line.contains("warn") && line.contains("inventory: without");
    assert_eq!(log.lines().filter(warned).count(), 1, "{log}");
    assert!(!log.contains("auditor-client-secret"));
    let shown = process::finish(process::start(
        scene.lifeboat(&["show", "latest"], &json!({})),
        "",
    ))
    .ok();
    assert!(
        shown.stdout.contains("inventory: without"),
        "{}",
        shown.stdout
    );
    // Nobody to ask: one line, no warning.
    let quiet = scene
        .put(&json!({"backup": ["tas"], "cloud_controller": null}))
        .ok();
    assert_eq!(
        quiet.log().matches("inventory: none is taken").count(),
        1,
        "{}",
        quiet.log()
    );
    // Switched off: none.
    let off = scene
        .put(&json!({"backup": ["tas"], "inventory": false}))
        .ok();
    assert!(!off.log().contains("inventory"), "{}", off.log());
    let none = inventory(&scene, &["show", "latest"]).fails(1);
    assert!(
        none.last_line().contains("holds no inventory"),
        "{}",
        none.last_line()
    );
}

#[test]
fn ops_manager_knows_whom_to_ask_for_everything() {
    let mut scene = foundation(&json!({}));
    scene.params["debug"] = true.into();
    let ended = scene
        .put(&json!({"backup": ["ops-manager", "director", "tas"]}))
        .ok();
    let id = ended.id();
    assert_careful(&scene);
    let (head, things) = read(&scene.download(&id).join("tas/inventory.jsonl"));
    let sources: Vec<_> = head["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        sources,
        [
            "ops-manager",
            "director",
            "director-uaa",
            "credhub",
            "cloud-controller",
            "uaa"
        ],
        "{head}"
    );
    assert_eq!(head["without"], json!([]));
    for kind in [
        "product",
        "deployment",
        "instance",
        "release",
        "stemcell",
        "config",
        "credhub-name",
        "director-uaa-client",
        "director-uaa-user",
        "uaa-client",
        "uaa-user",
        "app",
    ] {
        assert!(things.iter().any(|thing| thing["kind"] == kind), "{kind}");
    }
    for secret in [
        "cf-admin-password",
        "cf-admin-client-secret",
        "uaa-admin-password",
        "ops=manager=secret=",
    ] {
        assert!(!ended.log().contains(secret), "{secret}");
    }
    inventory(&scene, &["diff", "latest", "now"]).ok();
    scene.foundation.ask(
        json!({"do": "credhub-names", "remove": ["/p-bosh/cf/uaa-jwt"],
        "add": ["/p-bosh/cf/new 2026-02-01T00:00:00Z"]}),
    );
    let differs = inventory(&scene, &["diff", "latest", "now"]).fails(3);
    for words in [
        "CredHub credential /p-bosh/cf/uaa-jwt: missing in B",
        "CredHub credential /p-bosh/cf/new: only in B",
    ] {
        assert!(differs.stdout.contains(words), "{}", differs.stdout);
    }
}
