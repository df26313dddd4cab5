//! `lifeboat restore` beyond the contract: which backup, from which store, into what.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::process::{Ended, finish, start};
use crate::support::scene::{Scene, files};

const COMPONENT: &str = "deployment/dep";
const DATA: &str = "/var/vcap/store/data";

/// One job with several chunks of data; locks, so that a test sees whether it came to that.
fn spec() -> Value {
    json!({"director": {}, "stores": ["s3"], "deployments": [{"name": "dep", "groups": [{
        "name": "g", "instances": [{"id": "u0", "files": {DATA: {
            "tree": {"files": 40, "big": 2, "big_bytes": 9_000_000, "wild": true}}}}],
        "jobs": {"j": {"release": "r", "scripts": {
            "backup": format!("cp -a {DATA}/. \"$BBR_ARTIFACT_DIRECTORY\""),
            "pre-restore-lock": "true", "post-restore-unlock": "true",
            "restore": {"restore_to": DATA}}}}}]}]})
}

fn digest(scene: &Scene) -> Value {
    scene
        .foundation
        .ask(json!({"do": "digest", "instance": "g/u0", "path": DATA}))
}

fn spoil(scene: &Scene) {
    scene.foundation.ask(
        json!({"do": "run", "instance": "g/u0", "script": format!("rm -rf {DATA}; mkdir {DATA}")}),
    );
}

/// The data objects of a directory store.
fn chunks(scene: &Scene, store: &str) -> Vec<PathBuf> {
    let root = scene.store(store);
    let mut found: Vec<PathBuf> = files(&root)
        .into_keys()
        .filter(|name| name.to_str().unwrap().contains("/data/"))
        .map(|name| root.join(name))
        .collect();
    found.sort();
    assert!(found.len() > 3, "{found:?}");
    found
}

fn flip(object: &PathBuf) {
    let mut bytes = std::fs::read(object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(object, bytes).unwrap();
}

/// How many lines of the log hold this.
fn times(ended: &Ended, text: &str) -> usize {
    ended
        .log()
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

#[test]
fn damaged_and_lost_objects_of_the_first_store_come_from_the_next_which_is_said_once() {
    let scene = Scene::new(&spec());
    let before = digest(&scene);
    let id = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    let chunks = chunks(&scene, "one");
    flip(&chunks[0]);
    flip(&chunks[1]);
    std::fs::remove_file(&chunks[2]).unwrap();
    spoil(&scene);
    let ended = scene.restore(COMPONENT, &[&id]).ok();
    assert_eq!(digest(&scene), before);
    assert_eq!(
        times(&ended, "is read from store two"),
        1,
        "{}",
        ended.log()
    );
    scene.foundation.assert_clean();
}

#[test]
fn what_no_store_has_whole_locks_nothing() {
    let scene = Scene::new(&spec());
    let id = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    for store in ["one", "two"] {
        flip(&chunks(&scene, store)[0]);
    }
    spoil(&scene);
    let before = digest(&scene);
    let ended = scene.restore(COMPONENT, &[&id]).fails(1);
    let last = ended.last_line();
    for part in [
        "g-0-j.tar",
        "cannot be read from any store",
        "was damaged or replaced",
        "no restore script ran, so the data is as it was; every instance is unlocked",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    assert_eq!(digest(&scene), before);
    let journal = scene.foundation.journal().join("\n");
    assert!(!journal.contains("restore"), "{journal}");
    scene.foundation.assert_clean();
}

#[test]
fn a_store_lost_midway_or_from_the_beginning_is_stood_in_for() {
    let mut scene = Scene::with_stores(&spec(), &["one"]);
    let s3 = scene.s3("s3");
    scene.source["stores"].as_array_mut().unwrap().insert(0, s3);
    let before = digest(&scene);
    let id = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    spoil(&scene);
    scene
        .foundation
        .ask(json!({"do": "fault", "service": "s3", "action": "close",
        "method": "GET", "path": "/data/", "skip": 2}));
    let ended = scene.restore(COMPONENT, &[&id]).ok();
    assert_eq!(digest(&scene), before);
    assert_eq!(
        times(&ended, "is read from store one"),
        1,
        "{}",
        ended.log()
    );
    assert_eq!(
        times(&ended, "store s3 does not answer"),
        1,
        "{}",
        ended.log()
    );
    scene.foundation.assert_clean();

    spoil(&scene);
    scene
        .foundation
        .ask(json!({"do": "store", "store": "s3", "mode": "refuse"}));
    scene.restore(COMPONENT, &[&id]).ok();
    assert_eq!(digest(&scene), before);
    scene.foundation.assert_clean();
}

#[test]
fn the_backup_is_chosen_as_asked_and_refused_as_by_a_get() {
    let mut scene = Scene::with_stores(&spec(), &["one"]);
    let before = digest(&scene);
    let first = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    spoil(&scene);
    scene.put(&json!({"backup": [COMPONENT]})).ok();

    // The file that a get wrote names the backup.
    let (ended, got) = scene.get(&first, &json!({}));
    ended.ok();
    let by_file = |file: &str| {
        let more = json!({"confirm_target": "prod-east", "id_file": file});
        finish(start(scene.lifeboat(&["restore", COMPONENT], &more), ""))
    };
    let file = got.join("backup.json");
    let ended = by_file(file.to_str().unwrap()).ok();
    assert_eq!(
        ended.stdout,
        format!("restored {COMPONENT} from backup {first}\n")
    );
    assert_eq!(digest(&scene), before);
    for (text, said) in [
        ("{}", "is not a backup.json as a get writes it"),
        (
            "{\"id\": \"20261122T010203Z-7f3a09bc\", \"foundation\": \"prod-west\"}",
            "names a backup of another foundation",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let last = by_file(file.to_str().unwrap()).fails(1).last_line();
        assert!(last.contains(said), "{last}");
    }
    let last = by_file("/nowhere").fails(1).last_line();
    assert!(
        last.contains("give the backup.json that a get wrote"),
        "{last}"
    );

    // What it does not hold, or never was.
    let last = scene
        .restore("deployment/other", &[&first])
        .fails(1)
        .last_line();
    assert!(
        last.contains("holds no deployment/other to restore; it holds deployment/dep"),
        "{last}"
    );
    let last = scene
        .restore(COMPONENT, &["20261122T010203Z-7f3a09bc"])
        .fails(1)
        .last_line();
    assert!(last.contains("there is no backup"), "{last}");

    // Signed by nobody who is trusted here: in the words of a get.
    let stranger = lifeboat::operation::keygen::generate("stranger").unwrap();
    scene.source["trusted_workers"] = json!([stranger.worker_public]);
    scene
        .params
        .as_object_mut()
        .unwrap()
        .remove("worker_identity");
    let refused = scene.get(&first, &json!({"download": true})).0.fails(1);
    let ended = scene.restore(COMPONENT, &[&first]).fails(1);
    assert_eq!(ended.last_line(), refused.last_line());
    // And by nobody at all that is known: said, and gone on.
    scene
        .source
        .as_object_mut()
        .unwrap()
        .remove("trusted_workers");
    let ended = scene.restore(COMPONENT, &[&first]).ok();
    assert_eq!(times(&ended, "origin not verified"), 1, "{}", ended.log());

    // Another recovery identity opens nothing.
    scene.recovery_identity = stranger.recovery_identity.expose().to_owned();
    let last = scene.restore(COMPONENT, &[&first]).fails(1).last_line();
    assert!(last.contains("recovery identity does not open"), "{last}");
    scene.foundation.assert_clean();
}

#[test]
fn without_room_on_the_instance_nothing_is_uploaded() {
    let scene = Scene::with_stores(&spec(), &["one"]);
    let id = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    scene.foundation.ask(json!({"do": "run", "instance": "g/u0",
        "script": "mount -t tmpfs -o size=5m tmpfs /var/vcap/store"}));
    let ended = scene.restore(COMPONENT, &[&id]).fails(1);
    let last = ended.last_line();
    assert!(
        last.contains("g/u0 has 5 MiB free in /var/vcap/store for artifacts of ")
            && last.contains("make room there"),
        "{last}"
    );
    let journal = scene.foundation.journal().join("\n");
    assert!(!journal.contains("restore"), "{journal}");
    scene.foundation.assert_clean();
}

#[test]
fn a_directory_that_is_not_bbrs_is_not_restored() {
    let scene = Scene::with_stores(&spec(), &["one"]);
    let input = scene.scratch.path().join("made");
    std::fs::create_dir(&input).unwrap();
    std::fs::write(input.join("notes.txt"), "x").unwrap();
    let id = scene
        .put(&json!({"from": "made", "backup": [COMPONENT]}))
        .ok()
        .id();
    let last = scene.restore(COMPONENT, &[&id]).fails(1).last_line();
    assert!(
        last.contains("was stored from a directory that is not bbr's"),
        "{last}"
    );
    // What no longer is what its metadata says is refused when it comes from the stores, too.
    let sums = "0".repeat(64);
    std::fs::write(
        input.join("metadata"),
        format!("instances:\n- {{name: g, index: \"0\", artifacts: [{{name: j, checksums: {{./a: {sums}}}}}]}}\n"),
    )
    .unwrap();
    let tar = std::process::Command::new("tar")
        .args([
            "-C",
            input.to_str().unwrap(),
            "-cf",
            "g-0-j.tar",
            "./notes.txt",
        ])
        .current_dir(&input)
        .status()
        .unwrap();
    assert!(tar.success());
    let id = scene
        .put(&json!({"from": "made", "backup": [COMPONENT]}))
        .ok()
        .id();
    let last = scene.restore(COMPONENT, &[&id]).fails(1).last_line();
    assert!(
        last.contains("g-0-j.tar is corrupted: it is not what metadata records of it (./notes.txt should not be there, 1 files are missing)"),
        "{last}"
    );
    scene.foundation.assert_clean();
}
