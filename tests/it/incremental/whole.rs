//! A foundation's second backup: over SSH goes what changed.

use serde_json::{Value, json};

use crate::support::process::Ended;
use crate::support::scene::{Scene, files};

fn drained_bytes(scene: &Scene, put: &Ended) -> u64 {
    let id = put.id();
    let path = format!("prod-east/backups/{id}.json");
    let text = std::fs::read_to_string(scene.store("one").join(path)).unwrap();
    let manifest: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    manifest["drained_bytes"].as_u64().unwrap()
}

#[test]
fn a_second_backup_moves_what_changed() {
    let scene = Scene::with_stores(
        &json!({"fixture": "tas", "hosts": [],
                "tas": {"blobs": 1500, "unlock_seconds": 0.1, "service_instances": 0, "cells": 1}}),
        &["one"],
    );
    let backup = json!({"backup": ["deployment/cf"]});
    let first = scene.put(&backup).ok();
    scene
        .foundation
        .ask(json!({"do": "churn", "instance": "blobstore/blobstore-0",
               "path": "/var/vcap/store/shared", "share": 0.01}));
    let second = scene.put(&backup).ok();
    scene.foundation.assert_clean();
    let log = second.log();
    assert!(log.contains("files taken over from the base"), "{log}");
    assert!(!log.contains("all of it is drained"), "{log}");
    let (before, after) = (
        drained_bytes(&scene, &first),
        drained_bytes(&scene, &second),
    );
    assert!(after * 10 < before, "{after} of {before}\n{log}");
    // What was taken over is there: every file is checked against its digest.
    let got = files(&scene.download(&second.id()));
    assert!(
        got.keys()
            .any(|name| name.ends_with("blobstore-0-blobstore.tar"))
    );
}
