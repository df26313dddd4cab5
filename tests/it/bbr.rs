//! The real bbr and ours in both directions, and a stranger's look at what `in` writes.
//!
//! The real bbr is the one that `BBR` names, else that of `ci/setup` in `target/tools/bin`, else that of
//! PATH. Where there is none, the tests that need it say so and pass.

mod ours;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::foundation::path_with_tools;
use crate::support::scene::{Scene, files};

/// The real bbr.
pub(crate) struct Bbr {
    program: PathBuf,
    work: PathBuf,
    arguments: Vec<String>,
}

#[allow(
    clippy::print_stdout,
    reason = "whoever reads the run must see what it did not show"
)]
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("BBR") {
        return Some(named.into());
    }
    let found = std::env::split_paths(&path_with_tools())
        .map(|directory| directory.join("bbr"))
        .find(|program| program.is_file());
    if found.is_none() {
        println!("skipped: no bbr");
    }
    found
}

impl Bbr {
    fn new(scene: &Scene, arguments: Vec<String>) -> Option<Self> {
        Some(Self {
            program: program()?,
            work: tempfile::tempdir_in(scene.scratch.path()).unwrap().keep(),
            arguments,
        })
    }

    pub(crate) fn deployment(scene: &Scene, name: &str) -> Option<Self> {
        let ready = &scene.foundation.ready;
        let (text, director) = (
            |value: &Value| value.as_str().unwrap().to_owned(),
            &ready["director"],
        );
        let mut arguments = vec!["deployment".to_owned()];
        for (flag, value) in [
            ("--target", text(&director["url"])),
            ("--username", text(&director["client"])),
            ("--password", text(&director["client_secret"])),
            ("--ca-cert", text(&ready["ca_file"])),
            ("--deployment", name.to_owned()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        Self::new(scene, arguments)
    }

    fn director(scene: &Scene) -> Option<Self> {
        let host = &scene.foundation.ready["hosts"]["bosh"];
        let mut arguments = vec!["director".to_owned()];
        for (flag, key) in [
            ("--host", "address"),
            ("--username", "username"),
            ("--private-key-path", "private_key_file"),
        ] {
            arguments.extend([flag.to_owned(), host[key].as_str().unwrap().to_owned()]);
        }
        Self::new(scene, arguments)
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) {
        let done = Command::new(&self.program)
            .args(&self.arguments)
            .args(arguments)
            .current_dir(&self.work)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "bbr {arguments:?}: {}\n{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Backs up; the directory it made.
    #[track_caller]
    pub(crate) fn backup(&self, more: &[&str]) -> PathBuf {
        self.run(&[&["backup"], more].concat());
        let made = std::fs::read_dir(&self.work)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.is_dir());
        made.expect("bbr made a directory")
    }

    #[track_caller]
    pub(crate) fn restore(&self, artifact: &Path) {
        self.run(&["restore", "--artifact-path", artifact.to_str().unwrap()]);
    }
}

/// Everything in a tree, names and contents.
fn digest(scene: &Scene, instance: &str, path: &str) -> Value {
    let answer = scene
        .foundation
        .ask(json!({"do": "digest", "instance": instance, "path": path}));
    assert!(answer["files"].as_u64().unwrap() > 0, "{answer}");
    answer
}

fn sql(scene: &Scene, query: &str) -> String {
    let answer = scene.foundation.ask(json!({"do": "sql", "query": query}));
    answer["text"].as_str().unwrap().to_owned()
}

/// What the independent script says of a directory.
#[track_caller]
fn verified(directory: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foundation/verify_artifact.py");
    let done = Command::new("python3")
        .arg(script)
        .arg(directory)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    serde_json::from_slice(&done.stdout).unwrap()
}

// rows 115, 123, 124, 152
#[test]
fn the_real_bbr_restores_a_deployment_from_what_in_wrote() {
    let scene = Scene::with_stores(
        &json!({"fixture": "tas", "hosts": [], "capi": {},
                "tas": {"blobs": 400, "unlock_seconds": 0.2, "service_instances": 0, "cells": 1}}),
        &["one"],
    );
    let Some(bbr) = Bbr::deployment(&scene, "cf") else {
        return;
    };
    let capi = &scene.foundation.ready["capi"];
    let cloud_controller = json!({"api": capi["url"], "ca_cert": scene.foundation.ready["ca_cert"],
        "client": capi["client"], "client_secret": capi["client_secret"]});
    let state = || {
        (
            digest(&scene, "blobstore/blobstore-0", "/var/vcap/store/shared"),
            sql(
                &scene,
                "select count(*), md5(string_agg(t::text, ',' order by id)) from apps t",
            ),
            sql(
                &scene,
                "select count(*), md5(string_agg(t::text, ',' order by t::text)) from blobs t",
            ),
        )
    };
    let before = state();
    let id = scene
        .put(
            &json!({"backup": ["tas"], "tas": {"deployment": "cf"}, "with_manifest": true,
                    "cloud_controller": cloud_controller}),
        )
        .ok()
        .id();
    scene.foundation.assert_clean();
    let artifact = scene.download(&id).join("tas");
    // Files that are not bbr's own lie beside its artifacts.
    assert_eq!(
        verified(&artifact)["others"],
        json!(["inventory.jsonl", "manifest.yml"])
    );
    let blobs = "/var/vcap/store/shared";
    scene.foundation.ask(
        json!({"do": "churn", "instance": "blobstore/blobstore-0", "path": blobs, "share": 0.2}),
    );
    sql(&scene, "delete from apps where id % 3 = 0");
    assert_ne!(state(), before);
    bbr.restore(&artifact);
    assert_eq!(state(), before);
    // The artifact of one went to all.
    for number in 0..2 {
        let keys = scene.foundation.ask(json!({
            "do": "read-file", "instance": format!("credhub/credhub-{number}"),
            "path": "/var/vcap/store/credhub-config/keys",
        }));
        assert_eq!(keys["text"], "encryption keys\n");
    }
}

// rows 152, 184
#[test]
fn the_real_bbr_restores_a_director_from_what_in_wrote() {
    let scene = Scene::with_stores(
        &json!({"fixture": "tas", "postgres": null, "deployments": [], "director": null}),
        &["one"],
    );
    let Some(bbr) = Bbr::director(&scene) else {
        return;
    };
    let before = digest(&scene, "bosh", "/var/vcap/store");
    let id = scene.put(&json!({"backup": ["director"]})).ok().id();
    scene.foundation.assert_clean();
    let artifact = scene.download(&id).join("director");
    verified(&artifact);
    scene
        .foundation
        .ask(json!({"do": "run", "instance": "bosh", "script": "rm -rf /var/vcap/store/*/*"}));
    bbr.restore(&artifact);
    assert_eq!(digest(&scene, "bosh", "/var/vcap/store"), before);
}

// rows 152
#[test]
fn what_the_real_bbr_made_comes_back_byte_for_byte_and_restores() {
    let scene = Scene::with_stores(
        &json!({"fixture": "S1", "deployments": [{"name": "dep", "groups": [{
            "name": "g", "instances": [{"id": "u0", "files": {"/var/vcap/store/data": {
                "tree": {"files": 50, "big": 1, "big_bytes": 300_000}}}}],
            "jobs": {"j": {"release": "r", "scripts": {
                "backup": "cp -a /var/vcap/store/data/. \"$BBR_ARTIFACT_DIRECTORY\"",
                "restore": {"restore_to": "/var/vcap/store/data"}}}},
        }]}]}),
        &["one"],
    );
    let Some(bbr) = Bbr::deployment(&scene, "dep") else {
        return;
    };
    let before = digest(&scene, "g/u0", "/var/vcap/store/data");
    let made = bbr.backup(&["--with-manifest"]);
    // bbr does not wait for the removal of its users.
    let input = scene.scratch.path().join("artifact");
    std::fs::rename(&made, &input).unwrap();
    let round = |input: &str| {
        let id = scene
            .put(&json!({"from": input, "backup": ["deployment/dep"]}))
            .ok()
            .id();
        let got = scene.download(&id).join("deployment/dep");
        assert_eq!(files(&got), files(&scene.scratch.path().join(input)));
        got
    };
    let got = round("artifact");
    scene
        .foundation
        .ask(json!({"do": "run", "instance": "g/u0", "script": "rm -rf /var/vcap/store/data"}));
    bbr.restore(&got);
    assert_eq!(digest(&scene, "g/u0", "/var/vcap/store/data"), before);

    // What a task added, and what no tar reader reads, comes back too.
    let whole = std::fs::read(input.join("g-0-j.tar")).unwrap();
    for (name, bytes) in [
        ("notes.txt", b"by hand\n".as_slice()),
        ("g-1-j.tar", b"no tar at all"),
        ("g-2-j.tar", &whole[..whole.len() / 2 + 77]),
        ("g-3-j.tar", b""),
        ("dep_20261122T010203Z.log", b"[bbr] done"),
    ] {
        std::fs::write(input.join(name), bytes).unwrap();
    }
    round("artifact");
    std::fs::create_dir(input.join("deeper")).unwrap();
    std::fs::write(input.join("deeper/file with space"), b"x").unwrap();
    // What is not flat comes back as a tree, named after its artifact.
    let id = scene
        .put(&json!({"from": "artifact", "backup": ["deployment/dep"]}))
        .ok()
        .id();
    let got = scene.download(&id).join("deployment/dep/directory");
    assert_eq!(files(&got), files(&input));
}

// rows 153
#[test]
fn a_stranger_finds_our_directory_as_the_contract_wants_it() {
    let shared = json!({"bbr": {"backup_one_restore_all": true}});
    let scene = Scene::with_stores(
        &json!({"deployments": [{"name": "dep", "groups": [
            {"name": "g-1", "instances": [
                {"files": {"/var/vcap/store/data": {"tree": {"files": 30, "big": 0, "wild": true}}}}, {}],
             "jobs": {
                "j": {"release": "r", "scripts": {"backup":
                    "cp -a /var/vcap/store/data/. \"$BBR_ARTIFACT_DIRECTORY\" || true\n\
                     cd \"$BBR_ARTIFACT_DIRECTORY\"; ln -s nowhere link; echo 1 > one; ln one two"}},
                "s": {"release": "r", "properties": shared, "scripts": {"backup":
                    "[ \"$(cat /var/lib/foundation/bootstrap)\" = false ] || echo 1 > \"$BBR_ARTIFACT_DIRECTORY\"f"}}}},
        ]}]}),
        &["one"],
    );
    let id = scene.put(&json!({"backup": ["deployment/dep"]})).ok().id();
    let found = verified(&scene.download(&id).join("deployment/dep"));
    let tars: Vec<&String> = found["tars"].as_object().unwrap().keys().collect();
    assert_eq!(
        tars,
        [
            "g-1-0-j.tar",
            "g-1-1-j.tar",
            "g-1-1-s.tar",
            "s-r-backup-one-restore-all.tar"
        ]
    );
    assert_eq!(found["tars"]["g-1-1-s.tar"], 0);
    assert!(
        found["tars"]["g-1-0-j.tar"].as_u64().unwrap() > 50,
        "{found}"
    );
    assert_eq!(found["others"], json!([]));
}
