//! Every store brought to the full set, without keys, by the shipped program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::stores::server::Server;
use crate::support::depot::Depot;
use crate::support::process::{Ended, resource};
use crate::support::scene::files;

/// Incompressible, so that it takes several chunks, and the same each time.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state & 0xff) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Two backups of one chain in stores `one` and `two`.
fn two_backups() -> (Depot, Vec<String>) {
    let depot = Depot::new();
    let ids = (1..=2)
        .map(|night| {
            let big = noise(night, 3 << 20);
            depot
                .put("tas", &[("big", &big), ("small", b"x")])
                .ok()
                .id()
        })
        .collect();
    (depot, ids)
}

/// What a store holds, but for what only one store ever has.
fn held(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut held = files(store);
    held.retain(|path, _| !path.ends_with("probe"));
    held
}

fn data_object(store: &Path) -> PathBuf {
    let is_data = |path: &PathBuf| path.iter().any(|part| part == "data");
    let mut found = held(store).into_keys().filter(is_data);
    store.join(found.next().unwrap())
}

/// `check` and `in` with this store alone.
#[track_caller]
fn serves_alone(depot: &Depot, source: &Value, ids: &[String]) {
    let listed = resource(
        "check",
        None,
        None,
        &json!({"source": source, "version": null}),
    );
    let listed: Value = serde_json::from_str(&listed.ok().stdout).unwrap();
    let wanted: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
    assert_eq!(listed, json!(wanted));
    for id in ids {
        let (ended, into) = depot.get_from(source, id);
        ended.ok();
        assert_eq!(fs::read(into.join("tas/small")).unwrap(), b"x");
    }
}

#[track_caller]
fn problems(ended: Ended, words: &[&str]) -> Ended {
    assert_eq!(ended.code, 3, "{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(ended.stdout.contains(word), "`{word}`: {}", ended.stdout);
    }
    ended
}

#[test]
fn a_new_store_gets_everything_and_serves_alone() {
    let (mut depot, ids) = two_backups();
    let three = depot.add_store("three");
    depot.write(&format!("one/prod-east/holds/{}", ids[0]), b"");
    depot.write(
        &format!("two/prod-east/reports/{}/drill.json", ids[1]),
        b"{}\n",
    );
    let first = depot.cli(&["replicate"]).ok();
    assert!(
        first.stdout.contains("every store has all 2 backups"),
        "{}",
        first.stdout
    );
    assert_eq!(held(&three), held(&depot.path("one")));
    assert_eq!(held(&three), held(&depot.path("two")));
    serves_alone(&depot, &depot.source_of("three"), &ids);
    // The chain goes on in all three.
    let third = depot.put("tas", &[("small", b"x")]).ok();
    assert!(
        third.stderr.contains("continuing chain"),
        "{}",
        third.stderr
    );
    // When nothing is wrong nothing is copied.
    let before: Vec<_> = ["one", "two", "three"]
        .map(|store| times(&depot.path(store)))
        .into();
    let again = depot.cli(&["replicate", "--json"]).ok();
    let done: Value = serde_json::from_str(&again.stdout).unwrap();
    for store in done["stores"].as_array().unwrap() {
        assert_eq!(
            (&store["objects"], &store["backups"]),
            (&json!(0), &json!(0))
        );
    }
    let after: Vec<_> = ["one", "two", "three"]
        .map(|store| times(&depot.path(store)))
        .into();
    assert_eq!(before, after);
}

fn times(store: &Path) -> BTreeMap<PathBuf, std::time::SystemTime> {
    let modified = |path: &PathBuf| fs::metadata(store.join(path)).unwrap().modified().unwrap();
    held(store)
        .into_keys()
        .map(|path| (path.clone(), modified(&path)))
        .collect()
}

#[test]
fn a_store_that_was_away_catches_up() {
    let (mut depot, mut ids) = two_backups();
    depot.source["min_copies"] = 1.into();
    depot.source["limits"] = json!({"store_timeout": "1s"});
    let (away, two) = (depot.path("away"), depot.path("two"));
    fs::rename(&two, &away).unwrap();
    ids.push(
        depot
            .put("tas", &[("big", &noise(3, 1 << 20)), ("small", b"x")])
            .ok()
            .id(),
    );
    // While it is down the others are brought up, and it is said.
    let three = depot.add_store("three");
    let told = problems(
        depot.cli(&["replicate"]),
        &["store two is not complete", "is it mounted?"],
    );
    assert!(
        !told.stdout.contains("store three is not"),
        "{}",
        told.stdout
    );
    assert_eq!(held(&three), held(&depot.path("one")));
    fs::rename(&away, &two).unwrap();
    depot.cli(&["replicate"]).ok();
    assert_eq!(held(&two), held(&depot.path("one")));
    serves_alone(&depot, &depot.source_of("two"), &ids);
}

#[test]
fn a_store_without_all_of_a_chain_gets_no_manifest_of_it() {
    let (mut depot, ids) = two_backups();
    let three = depot.add_store("three");
    // The only good bytes of one chunk are gone from both stores.
    let damaged = data_object(&depot.path("one"));
    let good = fs::read(&damaged).unwrap();
    let name = damaged.strip_prefix(depot.path("one")).unwrap().to_owned();
    depot.in_both(|store| fs::write(store.join(&name), b"garbage").unwrap());
    let last = name.file_name().unwrap().to_str().unwrap();
    problems(
        depot.cli(&["replicate"]),
        &["store three is not complete", last, "lifeboat repair"],
    );
    assert!(!three.join("prod-east/backups").exists());
    assert!(!three.join(&name).exists(), "damage was spread");
    assert!(held(&three).len() > 10);
    // One good copy is enough for the new store; the damaged one is still named.
    fs::write(depot.path("two").join(&name), good).unwrap();
    let told = problems(
        depot.cli(&["replicate"]),
        &["store one is not complete", last],
    );
    assert_eq!(
        told.stdout.matches("is not complete").count(),
        1,
        "{}",
        told.stdout
    );
    assert_eq!(held(&three), held(&depot.path("two")));
    serves_alone(&depot, &depot.source_of("three"), &ids);
}

#[test]
fn what_one_store_dropped_comes_back_nowhere() {
    let (mut depot, ids) = two_backups();
    let manifest = |store: &str| depot.manifest_path(store, &ids[0]);
    let dropped = depot.path(&format!("one/prod-east/dropped/{}.json", ids[0]));
    fs::create_dir_all(dropped.parent().unwrap()).unwrap();
    fs::rename(manifest("one"), &dropped).unwrap();
    let three = depot.add_store("three");
    depot.cli(&["replicate"]).ok();
    for store in ["one", "two", "three"] {
        let carried = depot.path(&format!("{store}/prod-east/dropped/{}.json", ids[0]));
        assert!(carried.exists(), "{store}");
    }
    assert!(!depot.manifest_path("one", &ids[0]).exists());
    assert!(!depot.manifest_path("three", &ids[0]).exists());
    // Deleting is prune's.
    assert!(depot.manifest_path("two", &ids[0]).exists());
    serves_alone(&depot, &depot.source_of("three"), &ids[1..]);
    assert!(three.exists());
}

#[test]
fn a_manifest_that_nobody_signed_is_copied_nowhere() {
    let (mut depot, ids) = two_backups();
    let mut forged = depot.manifest(&ids[1]);
    let id = "20361122T010203Z-00000000";
    forged["id"] = id.into();
    depot.forge(&forged, id, None);
    let three = depot.add_store("three");
    problems(
        depot.cli(&["replicate"]),
        &[id, "copied nowhere", "not signed"],
    );
    let listed = fs::read_dir(three.join("prod-east/backups"))
        .unwrap()
        .count();
    assert_eq!(listed, 2);
}

#[test]
fn objects_that_no_backup_names_are_left_where_they_are() {
    let (mut depot, _) = two_backups();
    let three = depot.add_store("three");
    // Another run's, not committed yet; or what prune has yet to sweep.
    let chunk = data_object(&depot.path("one"));
    let name = chunk.file_name().unwrap().to_str().unwrap();
    let stray = format!(
        "prod-east/chains/00000000000000aa/data/{}/{name}",
        &name[..2]
    );
    depot.write(&format!("one/{stray}"), &fs::read(&chunk).unwrap());
    depot.cli(&["replicate"]).ok();
    assert!(!three.join(&stray).exists());
    assert!(!depot.path("two").join(&stray).exists());
}

#[test]
fn a_bucket_of_a_real_server_is_filled_and_serves_alone() {
    let server = Server::start();
    let (mut depot, ids) = two_backups();
    let mut bucket = server.source();
    bucket["prefix"] = "team/a".into();
    let stores = depot.source["stores"].as_array_mut().unwrap();
    stores.push(bucket);
    depot.cli(&["replicate"]).ok();
    assert_eq!(
        held(&server.bucket().join("team/a")),
        held(&depot.path("one"))
    );
    serves_alone(&depot, &depot.source_of("s3"), &ids);
    // And back again: a directory that was lost is filled from the bucket.
    for store in ["one", "two"] {
        fs::remove_dir_all(depot.path(store)).unwrap();
        fs::create_dir(depot.path(store)).unwrap();
    }
    depot.cli(&["replicate"]).ok();
    serves_alone(&depot, &depot.source_of("two"), &ids);
}
