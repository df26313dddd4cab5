//! Restored by ours: what ours saved, and what the real bbr saved, from the stores and from a
//! directory.

use serde_json::{Value, json};

use super::{Bbr, digest, sql};
use crate::support::scene::{Scene, files};

const BLOBS: &str = "/var/vcap/store/shared";

fn tas() -> Scene {
    Scene::with_stores(
        &json!({"fixture": "tas", "hosts": [],
                "tas": {"blobs": 400, "unlock_seconds": 0.2, "service_instances": 0, "cells": 1}}),
        &["one"],
    )
}

/// Every file, row and blob of it.
fn state(scene: &Scene) -> Value {
    json!([
        digest(scene, "blobstore/blobstore-0", BLOBS),
        sql(
            scene,
            "select count(*), md5(string_agg(t::text, ',' order by id)) from apps t",
        ),
        sql(
            scene,
            "select count(*), md5(string_agg(t::text, ',' order by t::text)) from blobs t",
        ),
    ])
}

fn spoil(scene: &Scene) {
    scene.foundation.ask(
        json!({"do": "churn", "instance": "blobstore/blobstore-0", "path": BLOBS, "share": 0.2}),
    );
    sql(scene, "delete from apps where id % 3 = 0");
    for number in 0..2 {
        scene.foundation.ask(json!({
            "do": "run", "instance": format!("credhub/credhub-{number}"),
            "script": "rm -f /var/vcap/store/credhub-config/keys"}));
    }
}

/// The artifact of one went to all.
fn assert_shared(scene: &Scene) {
    for number in 0..2 {
        let keys = scene.foundation.ask(json!({
            "do": "read-file", "instance": format!("credhub/credhub-{number}"),
            "path": "/var/vcap/store/credhub-config/keys",
        }));
        assert_eq!(keys["text"], "encryption keys\n");
    }
}

// rows 115, 123, 124
#[test]
fn a_deployment_comes_back_straight_from_the_stores() {
    let scene = tas();
    let before = state(&scene);
    let id = scene
        .put(&json!({"backup": ["deployment/cf"], "with_manifest": true}))
        .ok()
        .id();
    spoil(&scene);
    assert_ne!(state(&scene), before);
    let ended = scene.restore("deployment/cf", &[&id]).ok();
    assert_eq!(
        ended.stdout,
        format!("restored deployment/cf from backup {id}\n")
    );
    assert_eq!(state(&scene), before);
    assert_shared(&scene);
    scene.foundation.assert_clean();
    // Each phase, each artifact and the slowest script are in the log.
    let log = ended.log();
    for part in [
        "deployment/cf: can be restored: ",
        "deployment/cf: uploaded blobstore-0-blobstore.tar to blobstore/blobstore-0: ",
        "deployment/cf: upload done, ",
        "deployment/cf: lock done, ",
        "deployment/cf: restore done, ",
        "; slowest ",
        "deployment/cf: unlock done, ",
        "restored deployment/cf from backup ",
        "phases of deployment/cf  check ",
    ] {
        assert!(log.contains(part), "{part:?} is not in:\n{log}");
    }
    // A second run finds nothing in the way and does the same again.
    spoil(&scene);
    scene.restore("deployment/cf", &["latest"]).ok();
    assert_eq!(state(&scene), before);
    scene.foundation.assert_clean();
}

// rows 151, 152
#[test]
fn what_the_real_bbr_saved_of_a_deployment_comes_back() {
    let scene = tas();
    let Some(bbr) = Bbr::deployment(&scene, "cf") else {
        return;
    };
    let before = state(&scene);
    let made = bbr.backup(&["--with-manifest"]);
    // bbr does not wait for the removal of its users.
    spoil(&scene);
    let from = made.to_str().unwrap();
    let ended = scene.restore("deployment/cf", &["--from", from]).ok();
    assert_eq!(
        ended.stdout,
        format!("restored deployment/cf from directory {from}\n")
    );
    assert_eq!(state(&scene), before);
    assert_shared(&scene);

    // Stored as it is, and restored from the stores.
    let input = scene.scratch.path().join("artifact");
    std::fs::rename(&made, &input).unwrap();
    let id = scene
        .put(&json!({"from": "artifact", "backup": ["deployment/cf"]}))
        .ok()
        .id();
    spoil(&scene);
    scene.restore("deployment/cf", &[&id]).ok();
    assert_eq!(state(&scene), before);
    assert_shared(&scene);
    let got = scene.download(&id).join("deployment/cf");
    assert_eq!(files(&got), files(&input));
}

// rows 152, 184
#[test]
fn a_director_comes_back_from_either() {
    let scene = Scene::with_stores(
        &json!({"fixture": "tas", "postgres": null, "deployments": [], "director": null}),
        &["one"],
    );
    let before = digest(&scene, "bosh", "/var/vcap/store");
    let spoil = || {
        scene
            .foundation
            .ask(json!({"do": "run", "instance": "bosh", "script": "rm -rf /var/vcap/store/*/*"}));
    };
    let id = scene.put(&json!({"backup": ["director"]})).ok().id();
    spoil();
    scene.restore("director", &[&id]).ok();
    assert_eq!(digest(&scene, "bosh", "/var/vcap/store"), before);
    scene.foundation.assert_clean();
    // What a get wrote is a directory of bbr's too.
    let got = scene.download(&id).join("director");
    spoil();
    scene
        .restore("director", &["--from", got.to_str().unwrap()])
        .ok();
    assert_eq!(digest(&scene, "bosh", "/var/vcap/store"), before);

    let Some(bbr) = Bbr::director(&scene) else {
        return;
    };
    let made = bbr.backup(&[]);
    spoil();
    scene
        .restore("director", &["--from", made.to_str().unwrap()])
        .ok();
    assert_eq!(digest(&scene, "bosh", "/var/vcap/store"), before);
    scene.foundation.assert_clean();
}
