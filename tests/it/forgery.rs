//! Damage and forgery: docs/format.md, its last table, row by row. What a stranger with the
//! bucket makes is refused by both readers and never built upon; what time and disks do is
//! mended from the next store or refused with the object's name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::depot::{Depot, age_opens, chain_file, filter};
use crate::support::process::{cli, program, resource};
use crate::support::scene::files;

/// One class of `tests/recover/test_recover.py` through recover.py and through `in`.
fn both_readers(class: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let done = Command::new("python3")
        .args([
            "-B",
            "-m",
            "unittest",
            "discover",
            "-s",
            "tests/recover",
            "-k",
            class,
        ])
        .env("LIFEBOAT_IN", program("in"))
        .current_dir(root)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    assert!(!told.contains("Ran 0 tests"), "{told}");
}

#[test]
fn both_readers_read_what_an_independent_writer_makes() {
    both_readers("GoodRepositories");
}

#[test]
fn both_readers_refuse_damaged_objects() {
    both_readers("Damage");
}

#[test]
fn both_readers_refuse_forged_manifests() {
    both_readers("Forgery");
}

#[test]
fn both_readers_refuse_forged_indexes() {
    both_readers("ForgedIndex");
}

const CONTENT: &[(&str, &[u8])] = &[("a", b"the first file"), ("b", b"the second file")];

/// A depot with one backup of `director`.
fn with_a_backup() -> (Depot, String) {
    let depot = Depot::new();
    let id = depot.put("director", CONTENT).ok().id();
    (depot, id)
}

/// The chain of a backup.
fn chain(depot: &Depot, id: &str) -> String {
    depot.manifest(id)["chain"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[track_caller]
fn reads(depot: &Depot, id: &str) {
    let (ended, into) = depot.get(id);
    ended.ok();
    for (name, content) in CONTENT {
        let read = fs::read(into.join("director").join(name)).unwrap();
        assert_eq!(read, *content, "{name}");
    }
}

/// Runs a piece of Python with the reference writer at hand.
fn reference_writer(code: &str, arguments: &[&Path]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recover");
    let done = Command::new("python3")
        .args([
            "-B",
            "-c",
            &format!("import sys, json\nimport reference_writer as w\n{code}"),
        ])
        .args(arguments)
        .env("PYTHONPATH", folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_replaced_worker_age_begins_a_new_chain_and_is_never_encrypted_to() {
    let (depot, first) = with_a_backup();
    let old = chain(&depot, &first);
    // The attacker seals keys of his own to the worker's public key, which is no secret.
    let public = depot.write("worker.pub", depot.worker_public.as_bytes());
    let worker_age = depot.path("forged-worker.age");
    let his = reference_writer(
        "data, recipient = w.age_identity()
index, _ = w.age_identity()
value = {'format': 1, 'foundation': 'prod-east', 'chain': sys.argv[3], 'started': '2026-11-22T01:00:07Z',
         'data_recipient': recipient, 'index_identity': index, 'seed': '00' * 16,
         'recipients': [sys.argv[4]]}
public = ' '.join(open(sys.argv[1]).read().split()[:2])
open(sys.argv[2], 'wb').write(w.age(w.compact(value), public))
print(data)",
        &[&public, &worker_age, Path::new(&old), Path::new(&depot.recipient)],
    );
    let his = depot.write("his-key", his.as_bytes());
    depot.in_both(|store| {
        fs::copy(&worker_age, store.join(chain_file(&old, "worker.age"))).unwrap();
    });
    let before = depot.objects("data");
    let put = depot.put("director", CONTENT).ok();
    let manifest = depot.manifest(&put.id());
    assert_eq!(manifest.get("base"), None);
    let why = manifest["full_because"].as_str().unwrap();
    assert!(
        why.contains("worker.age in store one is not the one that the base's manifest names"),
        "{why}"
    );
    assert!(put.stderr.contains(why), "{}", put.stderr);
    let new = chain(&depot, &put.id());
    assert_ne!(new, old);
    let written: Vec<_> = depot.objects("data").difference(&before).cloned().collect();
    assert!(!written.is_empty());
    for object in written {
        assert!(
            object.starts_with(chain_file(&new, "data")),
            "{}",
            object.display()
        );
        let error = age_opens(&his, &depot.path("one").join(&object)).unwrap_err();
        assert!(error.contains("no identity matched"), "{error}");
    }
    // Readers have no use for worker.age.
    reads(&depot, &first);
    reads(&depot, &put.id());
}

#[test]
fn a_replaced_recovery_age_begins_a_new_chain_and_misleads_no_reader() {
    let (depot, first) = with_a_backup();
    let old = chain(&depot, &first);
    let forged = depot.path("forged");
    reference_writer(
        "w.Chain(sys.argv[1], 'prod-east', [sys.argv[2]], chain_id=sys.argv[3])",
        &[&forged, Path::new(&depot.recipient), Path::new(&old)],
    );
    let keys = depot.opened_keys(&old);
    depot.in_both(|store| {
        fs::copy(
            forged.join(chain_file(&old, "recovery.age")),
            store.join(chain_file(&old, "recovery.age")),
        )
        .unwrap();
    });
    // Lifeboat has the keys from the signed manifest.
    reads(&depot, &first);
    let right = depot.path("right-keys.txt");
    fs::rename(keys, &right).unwrap();
    let wrong = depot.opened_keys(&old);
    depot.recover_refuses(&first, "director", &wrong, "recovery.age was replaced");
    let recovered = depot.recover(&first, "director", &right, &depot.path("recovered"));
    assert!(recovered.status.success(), "{recovered:?}");
    let put = depot.put("director", CONTENT).ok();
    let why = depot.manifest(&put.id())["full_because"].clone();
    assert!(
        why.as_str()
            .unwrap()
            .contains("recovery.age in store one is not the one"),
        "{why}"
    );
    assert_ne!(chain(&depot, &put.id()), old);

    // In a manifest too, where nobody's signature is asked for.
    let text = fs::read_to_string(forged.join(chain_file(&old, "recovery.age"))).unwrap();
    let mut manifest = depot.manifest(&first);
    manifest["recovery_age"] = text.into();
    depot.forge(&manifest, &first, None);
    depot.refused(&first, "it is not signed");
    let mut source = depot.source.clone();
    source.as_object_mut().unwrap().remove("trusted_workers");
    depot.refused_from(&source, &first, "the manifest states; it was replaced");
}

#[test]
fn a_strangers_newer_backup_is_no_base_and_is_not_read() {
    let (depot, first) = with_a_backup();
    let forged = "20361122T010203Z-00000001";
    for store in ["one", "two"] {
        reference_writer(
            "folder, store, recipient, id = sys.argv[1:]
key = folder + '/stranger'
import os
if not os.path.exists(key):
    w.worker_identity(folder, 'stranger')
chain = w.Chain(store, 'prod-east', [recipient], key)
record = w.write_file(chain, 'director', 'a', b'evil')
w.commit(chain, w.manifest(chain, {'director': [record]}, id,
    build={'atc': 'https://ci.example.com', 'id': '2'}), key)",
            &[
                depot.scratch.path(),
                &depot.path(store),
                Path::new(&depot.recipient),
                Path::new(forged),
            ],
        );
    }
    depot.refused(forged, "none of trusted_workers signed it");
    // `check` reads names alone and may list it; `list` says what it is.
    let listed = resource("check", None, None, &json!({"source": depot.source})).ok();
    assert!(listed.stdout.contains(&first));
    let config = depot.write("config.json", json_text(&depot.source).as_bytes());
    let listed = cli(&["--config", config.to_str().unwrap(), "list"], &[]);
    let all = format!("{}{}", listed.stdout, listed.stderr);
    assert!(all.contains("none of trusted_workers signed it"), "{all}");
    // The next backup, build 2, takes neither its chain nor its word for the build.
    let put = depot.put("director", &[("a", b"third")]).ok();
    let manifest = depot.manifest(&put.id());
    assert_eq!(manifest["base"], *first);
    assert_eq!(chain(&depot, &put.id()), chain(&depot, &first));
    assert!(put.id().as_str() > forged, "{}", put.id());
}

fn json_text(value: &Value) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn a_manifest_counts_under_its_own_name_only() {
    let (depot, id) = with_a_backup();
    let keys = depot.opened_keys(&chain(&depot, &id));
    let later = "20361122T010203Z-00000001";
    depot.in_both(|store| {
        let backups = store.join("prod-east/backups");
        fs::copy(
            backups.join(format!("{id}.json")),
            backups.join(format!("{later}.json")),
        )
        .unwrap();
    });
    depot.refused(later, "it was renamed or replayed");
    depot.recover_refuses(later, "director", &keys, "under another name");
    let mut unsigned = depot.source.clone();
    unsigned.as_object_mut().unwrap().remove("trusted_workers");
    depot.refused_from(&unsigned, later, "it was renamed or replayed");
    // A foundation copied over another's name.
    depot.in_both(|store| copy_tree(&store.join("prod-east"), &store.join("prod-west")));
    let mut west = depot.source.clone();
    west["foundation"] = "prod-west".into();
    depot.refused_from(&west, &id, "it was renamed or replayed");
    reads(&depot, &id);
}

fn copy_tree(from: &Path, to: &Path) {
    for (name, content) in files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn only_what_a_trusted_worker_signed_is_read() {
    let (depot, id) = with_a_backup();
    let manifest = depot.manifest(&id);
    let keys = depot.opened_keys(&chain(&depot, &id));
    // Whoever signed it is no longer trusted.
    let other = lifeboat::operation::keygen::generate("other").unwrap();
    let mut source = depot.source.clone();
    source["trusted_workers"] = json!([other.worker_public]);
    depot.refused_from(&source, &id, "none of trusted_workers signed it");
    // Several may be.
    source["trusted_workers"] = json!([other.worker_public, depot.worker_public]);
    depot.get_from(&source, &id).0.ok();
    // Signed by a stranger, not at all, or changed after signing.
    depot.forge(&manifest, &id, Some(other.worker_identity.expose()));
    depot.refused(&id, "none of trusted_workers signed it");
    depot.recover_refuses(&id, "director", &keys, "not signed by a trusted worker");
    depot.forge(&manifest, &id, None);
    depot.refused(&id, "it is not signed");
    depot.recover_refuses(&id, "director", &keys, "is not signed");
    depot.forge(&manifest, &id, Some(&depot.worker_identity));
    reads(&depot, &id);
    depot.in_both(|store| {
        let path = store.join(format!("prod-east/backups/{id}.json"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(
            &path,
            text.replacen("\"drained_bytes\":", "\"drained_bytes\":1", 1),
        )
        .unwrap();
    });
    depot.refused(&id, "none of trusted_workers signed it");
    depot.recover_refuses(&id, "director", &keys, "not signed by a trusted worker");
}

/// What a stolen worker key could sign: a good signature does not mend what lies below it.
#[test]
fn a_good_signature_over_mixed_parts_is_refused() {
    let depot = Depot::new();
    let contents: &[(&str, &[u8])] = &[
        ("director/a", b"content of a"),
        ("director/b", b"content of b"),
        ("tas/a", b"another a"),
        ("tas/b", b"another b"),
    ];
    let first = depot.put_all(&["director", "tas"], contents).ok().id();
    let manifest = depot.manifest(&first);
    let keys = depot.opened_keys(&chain(&depot, &first));
    let roots = |manifest: &Value, component: usize| {
        let artifacts = &manifest["components"][component]["artifacts"];
        (artifacts[0]["root"].clone(), artifacts[1]["root"].clone())
    };
    let (a, b) = roots(&manifest, 0);
    let refuse_root = |root: &Value| {
        let mut changed = manifest.clone();
        changed["components"][0]["artifacts"][0]["root"] = root.clone();
        depot.forge(&changed, &first, Some(&depot.worker_identity));
        depot.refused(&first, "it was swapped");
        depot.recover_refuses(&first, "director", &keys, "is that of another artifact");
    };
    // The root of another artifact, and of another component.
    refuse_root(&b);
    refuse_root(&roots(&manifest, 1).0);
    // Keys of one chain and content of another.
    let mut changed = manifest.clone();
    changed["chain"]["keys"] = "0".repeat(64).into();
    depot.forge(&changed, &first, Some(&depot.worker_identity));
    depot.refused(&first, "it was replaced");
    depot.recover_refuses(&first, "director", &keys, "recovery.age was replaced");
    // A backup that is none.
    let mut changed = manifest.clone();
    changed["outcome"] = "partial".into();
    depot.forge(&changed, &first, Some(&depot.worker_identity));
    depot.refused(&first, "it is not complete");
    depot.recover_refuses(&first, "director", &keys, "has the outcome");
    // A newer release's.
    let mut changed = manifest.clone();
    changed["format"] = 2.into();
    changed["release"] = "lifeboat 9.1".into();
    depot.forge(&changed, &first, Some(&depot.worker_identity));
    depot.refused(
        &first,
        "has format 2 and this release reads format 1; use lifeboat 9.1",
    );
    depot.recover_refuses(&first, "director", &keys, "lifeboat 9.1");
    depot.forge(&manifest, &first, Some(&depot.worker_identity));
    depot.get(&first).0.ok();
    assert_ne!(a, b);
}

/// Each kind of object of one backup, relative to a store.
fn kinds(depot: &Depot, id: &str) -> Vec<(&'static str, PathBuf)> {
    let manifest = depot.manifest(id);
    let chain = chain(depot, id);
    let root = manifest["components"][0]["artifacts"][0]["root"]
        .as_str()
        .unwrap();
    let root = chain_file(&chain, &format!("index/{}/{root}", &root[..2]));
    let keys = depot.opened_keys(&chain);
    let plain = filter(
        "zstd",
        &["-d", "-c"],
        &age_opens(&keys, &depot.path("one").join(&root)).unwrap(),
    );
    let second = plain.split(|byte| *byte == b'\n').nth(1).unwrap();
    let page: Value = serde_json::from_slice(second).unwrap();
    let page = page["page"].as_str().unwrap();
    let page = chain_file(&chain, &format!("index/{}/{page}", &page[..2]));
    let table = filter(
        "zstd",
        &["-d", "-c"],
        &age_opens(&keys, &depot.path("one").join(&page)).unwrap(),
    );
    let table: Value =
        serde_json::from_slice(table.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let chunk = table["chunks"][0][0].as_str().unwrap();
    vec![
        ("manifest", format!("prod-east/backups/{id}.json").into()),
        ("root", root),
        ("page", page),
        (
            "chunk",
            chain_file(&chain, &format!("data/{}/{chunk}", &chunk[..2])),
        ),
    ]
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
}

#[test]
fn damage_in_one_store_is_mended_from_the_other_and_in_both_is_named() {
    let (depot, id) = with_a_backup();
    let keys = depot.opened_keys(&chain(&depot, &id));
    let damages: [fn(&Path); 4] = [
        |path| fs::remove_file(path).unwrap(),
        truncate,
        |path| fs::write(path, b"").unwrap(),
        flip,
    ];
    for (kind, object) in kinds(&depot, &id) {
        let good = fs::read(depot.path("one").join(&object)).unwrap();
        for make in damages {
            make(&depot.path("one").join(&object));
            reads(&depot, &id);
            make(&depot.path("two").join(&object));
            let words = if kind == "manifest" {
                id.as_str()
            } else {
                object.to_str().unwrap()
            };
            depot.refused(&id, words);
            let name = object.file_name().unwrap().to_str().unwrap();
            depot.recover_refuses(&id, "director", &keys, name);
            depot.in_both(|store| fs::write(store.join(&object), &good).unwrap());
        }
    }
    reads(&depot, &id);
}

#[test]
fn objects_under_each_others_names_are_refused() {
    let depot = Depot::new();
    let id = depot.put("director", CONTENT).ok().id();
    let other = depot
        .put("director", &[("a", b"something else"), ("b", b"x")])
        .ok()
        .id();
    let keys = depot.opened_keys(&chain(&depot, &id));
    for ((kind, ours), (_, theirs)) in kinds(&depot, &id).into_iter().zip(kinds(&depot, &other)) {
        let good = fs::read(depot.path("one").join(&ours)).unwrap();
        depot.in_both(|store| {
            fs::copy(store.join(&theirs), store.join(&ours)).unwrap();
        });
        let words = if kind == "manifest" {
            "renamed or replayed"
        } else {
            "has another digest than its name"
        };
        depot.refused(&id, words);
        let name = ours.file_name().unwrap().to_str().unwrap();
        depot.recover_refuses(&id, "director", &keys, name);
        depot.in_both(|store| fs::write(store.join(&ours), &good).unwrap());
    }
    reads(&depot, &id);
}

#[test]
fn lost_key_files_are_found_in_the_manifest_and_among_later_additions() {
    let (depot, id) = with_a_backup();
    let name = chain_file(&chain(&depot, &id), "recovery.age");
    let text = fs::read(depot.path("one").join(&name)).unwrap();
    depot.in_both(|store| fs::remove_file(store.join(&name)).unwrap());
    reads(&depot, &id);
    // Somebody who was added later opens `recovery-2.age`, also where recovery.age is lost.
    let added = lifeboat::operation::keygen::generate("added").unwrap();
    let identity = depot.write("recovery-key", depot.recovery_identity.as_bytes());
    let sealed = depot.write("recovery.age", &text);
    let opened = age_opens(&identity, &sealed).unwrap();
    let again = filter("age", &["-a", "-r", &added.recovery_recipient], &opened);
    let second = chain_file(&chain(&depot, &id), "recovery-2.age");
    fs::write(depot.path("one").join(&second), b"damaged").unwrap();
    fs::write(depot.path("two").join(&second), again).unwrap();
    let mut depot = depot;
    depot.recovery_identity = added.recovery_identity.expose().to_owned();
    reads(&depot, &id);
    // One that was never added.
    let stranger = lifeboat::operation::keygen::generate("stranger").unwrap();
    depot.recovery_identity = stranger.recovery_identity.expose().to_owned();
    depot.refused(&id, "the recovery identity does not open chain");
}
