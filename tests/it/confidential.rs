//! What the bucket and everything on a worker reveal: names and digests, and no content. Tried
//! with the `age` program and with our own code.

use std::path::PathBuf;

use lifeboat::repo::seal::{Identity, Opener};
use lifeboat::secret::Secret;
use serde_json::Value;

use crate::support::depot::{Depot, age_opens, chain_file, filter};

const SECRET: &[u8] = b"the credhub master key is hunter2";

fn lines(plain: &[u8]) -> Vec<Value> {
    let plain = filter("zstd", &["-d", "-c"], plain);
    plain
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn bucket_and_worker_together_read_names_and_no_content() {
    let depot = Depot::new();
    let large: Vec<u8> = (0..3_000_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let id = depot
        .put("director", &[("credhub.json", SECRET), ("blob", &large)])
        .ok()
        .id();
    depot
        .put(
            "director",
            &[("credhub.json", b"a second night"), ("blob", &large)],
        )
        .ok();
    let chain = depot.manifest(&id)["chain"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let store = depot.path("one");

    // Everything a thief of the worker has: its key, and what worker.age opens to.
    let worker = depot.write("worker-key", depot.worker_identity.as_bytes());
    let opened = age_opens(&worker, &store.join(chain_file(&chain, "worker.age"))).unwrap();
    let opened: Value = serde_json::from_slice(&opened).unwrap();
    let keys: Vec<&str> = opened
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "chain",
            "data_recipient",
            "format",
            "foundation",
            "index_identity",
            "recipients",
            "seed",
            "started"
        ]
    );
    let index = opened["index_identity"].as_str().unwrap();
    assert_eq!(
        opened.to_string().matches("AGE-SECRET-KEY-").count(),
        1,
        "the index identity alone"
    );
    let index_key = depot.write("index-key", index.as_bytes());
    // Any text of his that can be taken for an age identity, made of the seed included.
    let both = format!("{index}\n# {}\n", opened["seed"]);
    let both = depot.write("all-keys", both.as_bytes());

    // The index opens: names, sizes, digests.
    let mut names = Vec::new();
    let mut digests = Vec::new();
    for object in depot.objects("index") {
        for line in lines(&age_opens(&index_key, &store.join(object)).unwrap()) {
            names.extend(line["artifact"].as_str().map(str::to_owned));
            digests.extend(line["sha256"].as_str().map(str::to_owned));
        }
    }
    assert!(names.contains(&"credhub.json".to_owned()), "{names:?}");
    let digest = lifeboat::artifact::Digest::of(SECRET).to_string();
    assert!(
        digests.contains(&digest),
        "a guess at a whole file can be confirmed"
    );

    // No chunk does, nor recovery.age.
    let chunks: Vec<PathBuf> = depot.objects("data").into_iter().collect();
    assert!(chunks.len() >= 3, "{}", chunks.len());
    let mut sealed: Vec<PathBuf> = chunks.iter().map(|chunk| store.join(chunk)).collect();
    sealed.push(store.join(chain_file(&chain, "recovery.age")));
    let worker_identity = Identity::parse(&Secret::new(depot.worker_identity.as_str())).unwrap();
    let index_opener = Opener::parse(index).unwrap();
    for path in &sealed {
        for identity in [&worker, &index_key, &both] {
            let error = age_opens(identity, path).unwrap_err();
            assert!(
                error.contains("no identity matched any of the recipients"),
                "{error}"
            );
        }
        let bytes = std::fs::read(path).unwrap();
        let error = worker_identity.decrypt(&bytes, 1 << 30).unwrap_err();
        assert!(error.contains("is not sealed to this identity"), "{error}");
        index_opener.open(&bytes, 1 << 30).unwrap_err();
        assert!(!contains(&bytes, &SECRET[..16]));
    }
    // `in` says so too, with the worker's key as recovery identity.
    let mut thief = depot;
    let recovery = std::mem::replace(&mut thief.recovery_identity, thief.worker_identity.clone());
    thief.refused(&id, "the recovery identity does not open chain");
    thief.recovery_identity = index.to_owned();
    thief.refused(&id, "the recovery identity does not open chain");
    thief.recovery_identity = recovery;

    // With the recovery key every one opens.
    let keys = thief.opened_keys(&chain);
    let mut found = false;
    for chunk in &chunks {
        let plain = filter(
            "zstd",
            &["-d", "-c"],
            &age_opens(&keys, &store.join(chunk)).unwrap(),
        );
        found |= contains(&plain, SECRET);
    }
    assert!(found);
    thief.get(&id).0.ok();
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn nothing_plain_in_a_store_holds_content_or_keys() {
    let depot = Depot::new();
    depot.put("director", &[("credhub.json", SECRET)]).ok();
    for (name, bytes) in crate::support::scene::files(&depot.path("one")) {
        for part in [SECRET, b"AGE-SECRET-KEY-1Q", b"hunter2"] {
            // recover.py and RECOVERY.md name the kind of key, never one.
            assert!(!contains(&bytes, part), "{}", name.display());
        }
    }
}
