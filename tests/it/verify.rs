//! What is wrong in the stores is found without keys, and mended where anything good is left. The
//! table of all damage is `damage.rs`.

mod proofs;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::replicate::noise;
use crate::stores::server::Server;
use crate::support::depot::{Depot, chain_file};
use crate::support::scene::files;

fn backed_up() -> (Depot, String) {
    let depot = Depot::new();
    let id = depot
        .put("tas", &[("big", &noise(1, 24 << 20)), ("small", b"x")])
        .ok()
        .id();
    (depot, id)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Objects that store `one` was asked for, and what was bad anywhere.
fn scrub(depot: &Depot, part: Option<&str>) -> (u64, usize) {
    let mut arguments = vec!["verify", "--level", "scrub", "--json"];
    arguments.extend(part.map(|part| ["--part", part]).into_iter().flatten());
    let ended = depot.cli(&arguments);
    let found = ended.json();
    let bad = found["bad"].as_array().unwrap().len();
    assert_eq!(ended.code, if bad == 0 { 0 } else { 3 }, "{}", ended.stdout);
    (number(&found["stores"][0]["objects"]), bad)
}

#[test]
fn a_week_of_parts_reads_every_sealed_object_once() {
    let (depot, _) = backed_up();
    let sealed = depot.objects("data").len() + depot.objects("index").len();
    assert!(sealed > 8, "{sealed}");
    let (whole, _) = scrub(&depot, None);
    let small = whole - sealed as u64;
    // Two key files, a manifest, the instructions and the script.
    assert_eq!(small, 5);
    let damaged = depot
        .path("two")
        .join(depot.objects("data").first().unwrap());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[100] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let week: Vec<(u64, usize)> = (1..=7)
        .map(|day| scrub(&depot, Some(&format!("{day}/7"))))
        .collect();
    let read: u64 = week.iter().map(|(objects, _)| objects - small).sum();
    assert_eq!(read, sealed as u64);
    let bad: usize = week.iter().map(|(_, bad)| bad).sum();
    assert_eq!(bad, 1, "{week:?}");
    for part in ["0/7", "8/7", "x", "3"] {
        let refused = depot.cli(&["verify", "--part", part]);
        assert!(
            refused.code != 0 && refused.last_line().contains("3/7"),
            "{refused:?}"
        );
    }
}

#[test]
fn a_store_that_is_down_is_said_and_the_others_are_looked_at() {
    let (mut depot, _) = backed_up();
    depot.source["limits"] = json!({"store_timeout": "1s"});
    fs::rename(depot.path("two"), depot.path("away")).unwrap();
    for command in [&["verify"] as &[&str], &["repair", "--read"]] {
        let ended = depot.cli(command).fails(3);
        assert!(
            ended.stdout.contains("store two was left out: "),
            "{}",
            ended.stdout
        );
        assert!(
            !ended.stdout.contains("nothing is wrong"),
            "{}",
            ended.stdout
        );
    }
    fs::rename(depot.path("one"), depot.path("away too")).unwrap();
    let ended = depot.cli(&["verify"]).fails(1);
    assert!(
        ended.last_line().contains("no store answers"),
        "{}",
        ended.stderr
    );
}

/// Repair without reading finds what is missing, and does nothing the second time.
#[test]
fn what_a_store_lost_is_found_by_listing_alone() {
    let (depot, id) = backed_up();
    let two = depot.path("two");
    let mut lost: Vec<PathBuf> = depot.objects("data").into_iter().skip(3).collect();
    lost.extend(depot.objects("index"));
    lost.push(chain_file(&chain(&depot, &id), "recovery.age"));
    lost.push("recover.py".into());
    let before = files(&two);
    for object in &lost {
        fs::remove_file(two.join(object)).unwrap();
        // They have lain in the other store for a while: nobody waits for them any more.
        age(&depot.path("one").join(object));
    }
    let listed = depot
        .cli(&["verify", "--level", "listed", "--json"])
        .fails(3)
        .json();
    assert_eq!(
        listed["bad"].as_array().unwrap().len(),
        lost.len(),
        "{listed}"
    );
    let done = depot.cli(&["repair", "--json"]).ok().json();
    assert_eq!(number(&done["mended_objects"]), lost.len() as u64, "{done}");
    assert_eq!(files(&two), before);
    let again = depot.cli(&["repair", "--json"]).ok().json();
    assert_eq!(number(&again["mended_objects"]), 0, "{again}");
}

fn chain(depot: &Depot, id: &str) -> String {
    let manifest = depot.manifest(id);
    manifest["chain"]["id"].as_str().unwrap().to_owned()
}

/// Makes a file two hours old.
pub(crate) fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let now = fs::metadata(path).unwrap().modified().unwrap();
    let earlier = now - std::time::Duration::from_secs(7200);
    file.set_modified(earlier).unwrap();
}

/// One bucket alone, which keeps versions: what was written over or deleted comes back.
#[test]
fn earlier_versions_in_a_bucket_are_a_copy_too() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::with_versions());
    let mut depot = Depot::new();
    depot.source["stores"] = json!([server.source()]);
    let id = depot
        .put("tas", &[("big", &noise(1, 3 << 20)), ("small", b"x")])
        .ok()
        .id();
    let held = files(&server.bucket());
    let first = |part: &str| {
        let mut found = held.keys().filter(|path| path.iter().any(|p| p == part));
        found.next().unwrap().to_str().unwrap().to_owned()
    };
    let manifest = server.bucket().join(format!("prod-east/backups/{id}.json"));
    let manifest = fs::read_to_string(manifest).unwrap();
    let manifest: Value = serde_json::from_str(manifest.lines().next().unwrap()).unwrap();
    let chain = manifest["chain"]["id"].as_str().unwrap();
    let root = manifest["components"][0]["artifacts"][0]["root"]
        .as_str()
        .unwrap();
    let root = format!("prod-east/chains/{chain}/index/{}/{root}", &root[..2]);
    let worker = format!("prod-east/chains/{chain}/worker.age");
    runtime.block_on(async {
        server.spoil(&first("data"), Some(b"garbage")).await;
        server.spoil(&root, None).await;
        server.spoil(&worker, None).await;
    });
    depot.cli(&["verify"]).fails(3);
    let done = depot.cli(&["repair", "--read", "--json"]).ok().json();
    let mended = done["mended"].as_array().unwrap();
    assert_eq!(mended.len(), 3, "{done}");
    for one in mended {
        assert_eq!(one["from"], "an earlier version in store s3", "{one}");
    }
    depot.cli(&["verify"]).ok();
    let (ended, into) = depot.get(&id);
    ended.ok();
    assert_eq!(fs::read(into.join("tas/big")).unwrap(), noise(1, 3 << 20));
}
