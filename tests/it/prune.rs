//! Retention, drop and sweep through both doors, over real directories and a real S3 server.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::stores::server::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server};
use crate::support::depot::Depot;
use crate::support::process::{self, Ended, resource};
use crate::support::scene::files;

const DAY: u64 = 86_400;

/// Backups of a deployment by one worker, and the ids in order.
fn history(depot: &Depot, nights: u8) -> Vec<String> {
    (0..nights)
        .map(|night| {
            let shared = vec![7; 3 << 20];
            let own = format!("night {night}");
            let files: [(&str, &[u8]); 2] = [("shared.bin", &shared), ("own.txt", own.as_bytes())];
            let put = depot.put("deployment/redis", &files).ok();
            let answer: Value = serde_json::from_str(&put.stdout).unwrap();
            answer["version"]["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// The command with the depot's own configuration and these keys more.
fn cli(depot: &Depot, arguments: &[&str], more: &Value) -> Ended {
    let mut whole = depot.source.clone();
    whole["worker_identity"] = json!(depot.worker_identity);
    for (key, value) in more.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let whole = whole.to_string();
    process::cli(arguments, &[("LIFEBOAT_CONFIG", whole.as_str())])
}

fn keep_last(count: u64) -> Value {
    json!({"retention": {"keep_last": count}})
}

fn pruned(depot: &Depot, more: &Value) -> Value {
    let run = cli(depot, &["prune", "--json"], more).ok();
    serde_json::from_str(&run.stdout).unwrap()
}

/// As if all of it had been written so many days earlier.
fn age(store: &Path, days: u64) {
    for path in files(store).into_keys() {
        let file = fs::File::options()
            .write(true)
            .open(store.join(path))
            .unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - Duration::from_secs(days * DAY))
            .unwrap();
    }
}

fn age_all(depot: &Depot, days: u64) {
    depot.in_both(|store| age(store, days));
}

fn below(depot: &Depot, store: &str, folder: &str) -> BTreeSet<PathBuf> {
    let all = files(&depot.path(store)).into_keys();
    all.filter(|path| path.starts_with(format!("prod-east/{folder}")))
        .collect()
}

/// It comes back as it was.
#[track_caller]
fn restores(depot: &Depot, id: &str, night: usize) {
    let (ended, into) = depot.get(id);
    ended.ok();
    let own = fs::read_to_string(into.join("deployment/redis/own.txt")).unwrap();
    assert_eq!(own, format!("night {night}"));
    let shared = fs::read(into.join("deployment/redis/shared.bin")).unwrap();
    assert_eq!(shared, vec![7; 3 << 20]);
}

#[test]
fn what_is_not_kept_is_dropped_and_swept_after_the_grace_and_the_rest_restores() {
    let depot = Depot::new();
    let ids = history(&depot, 4);
    for id in [&ids[0], &ids[3]] {
        let name = format!("prod-east/reports/{id}/20261122T010203Z-contents-passed-0a0b0c0d.json");
        depot.write(&format!("one/{name}"), b"{}\n");
        depot.write(&format!("two/{name}"), b"{}\n");
    }
    let before = files(&depot.path("one"));

    let run = cli(&depot, &["prune", "--dry-run"], &keep_last(2)).ok();
    assert!(
        run.stdout.contains(&format!(
            "drop {}  deployment/redis: keep_last: 3 are newer",
            ids[0]
        )),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains(&format!(
            "keep {}  deployment/redis: keep_last (1 of 2)",
            ids[3]
        )),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("2 backups stay, 2 would be dropped"),
        "{}",
        run.stdout
    );
    assert_eq!(
        files(&depot.path("one")),
        before,
        "a rehearsal changes nothing"
    );

    let first = pruned(&depot, &keep_last(2));
    assert_eq!(first["dropped"], json!([ids[0], ids[1]]));
    assert_eq!(
        first["freed"]["objects"], 0,
        "nothing goes before the grace"
    );
    let later = first["later"]["objects"].as_u64().unwrap();
    assert!(later > 0, "{first}");
    for store in ["one", "two"] {
        assert_eq!(below(&depot, store, "backups").len(), 2);
        assert_eq!(below(&depot, store, "dropped").len(), 2);
    }
    let refused = depot.get(&ids[0]).0.fails(1);
    let last = refused.last_line();
    assert!(
        last.contains("was pruned at 20") && last.contains("keep_last: 3 are newer"),
        "{last}"
    );
    let shown = cli(&depot, &["show", &ids[1]], &json!({})).fails(1);
    assert!(
        shown.last_line().contains("was pruned at 20"),
        "{}",
        shown.last_line()
    );

    // Six days later it is all there still, after eight it is gone.
    age_all(&depot, 6);
    assert_eq!(pruned(&depot, &keep_last(2))["freed"]["objects"], 0);
    assert_eq!(below(&depot, "one", "reports").len(), 2);
    age_all(&depot, 2);
    let data = depot.objects("data").len();
    let run = pruned(&depot, &keep_last(2));
    assert_eq!(run["freed"]["objects"].as_u64().unwrap(), later);
    // The proofs of what went go with it, those of what stays stay.
    assert_eq!(run["proofs"], 1);
    for store in ["one", "two"] {
        let left = below(&depot, store, "reports");
        let kept = |path: &PathBuf| path.starts_with(format!("prod-east/reports/{}", ids[3]));
        assert!(left.len() == 1 && left.iter().all(kept), "{left:?}");
    }
    assert_eq!(run["later"]["objects"], 0, "{run}");
    assert_eq!(depot.objects("data").len(), data - 2);
    for night in [2, 3] {
        restores(&depot, &ids[night], night);
    }
    // The manifests of what went are remembered for a while, then forgotten.
    assert_eq!(below(&depot, "one", "dropped").len(), 2);
    age_all(&depot, 91);
    assert_eq!(pruned(&depot, &keep_last(2))["forgotten"], 2);
    assert_eq!(below(&depot, "two", "dropped").len(), 0);
    restores(&depot, &ids[3], 3);
}

#[test]
fn a_chain_that_nothing_names_goes_without_any_identity_its_keys_last() {
    let mut depot = Depot::new();
    let old = history(&depot, 2);
    let chain = depot.manifest(&old[0])["chain"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // Other recipients begin another chain.
    let keys = lifeboat::operation::keygen::generate("other").unwrap();
    depot.source["recipients"] = json!([depot.recipient, keys.recovery_recipient]);
    let new = history(&depot, 1);
    let alone = json!({"retention": {"keep_last": 1}, "worker_identity": null});
    let run = pruned(&depot, &alone);
    assert_eq!(run["dropped"], json!(old));
    age_all(&depot, 9);
    let run = pruned(&depot, &alone);
    let chains = run["chains"].as_array().unwrap();
    let of = |id: &str| chains.iter().find(|found| found["id"] == id).unwrap();
    assert_eq!(of(&chain)["looked"], "unnamed");
    assert_eq!(below(&depot, "one", &format!("chains/{chain}")).len(), 0);
    let kept = depot.manifest(&new[0])["chain"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(of(&kept)["looked"], "no_key");
    restores(&depot, &new[0], 0);
}

#[test]
fn a_hold_in_any_store_keeps_a_backup_until_it_is_released() {
    let depot = Depot::new();
    let ids = history(&depot, 3);
    let run = cli(
        &depot,
        &["hold", &ids[0], "--why", "audit 2026"],
        &json!({}),
    )
    .ok();
    assert!(
        run.stdout.contains("is held (in one, two)"),
        "{}",
        run.stdout
    );
    fs::remove_file(
        depot
            .path("one")
            .join(format!("prod-east/holds/{}", ids[0])),
    )
    .unwrap();
    // One that cannot be read holds too.
    fs::create_dir_all(depot.path("one").join("prod-east/holds")).unwrap();
    fs::write(
        depot
            .path("one")
            .join(format!("prod-east/holds/{}", ids[1])),
        "?",
    )
    .unwrap();
    let run = pruned(&depot, &keep_last(1));
    assert_eq!(run["dropped"], json!([]));
    assert_eq!(
        run["backups"][0]["reasons"][0]
            .as_str()
            .unwrap()
            .split(" (since")
            .next(),
        Some("held: audit 2026")
    );
    assert_eq!(
        run["backups"][1]["reasons"][0],
        "held: the hold in store one cannot be read"
    );
    for id in &ids[..2] {
        cli(&depot, &["release", id], &json!({})).ok();
    }
    let again = cli(&depot, &["release", &ids[0]], &json!({})).ok();
    assert!(again.stdout.contains("was not held"), "{}", again.stdout);
    assert_eq!(pruned(&depot, &keep_last(1))["dropped"], json!(ids[..2]));
    let gone = cli(&depot, &["hold", &ids[0], "--why", "too late"], &json!({})).fails(1);
    assert!(
        gone.last_line().contains("was pruned"),
        "{}",
        gone.last_line()
    );
}

#[test]
fn a_hold_that_cannot_see_whether_a_drop_has_begun_says_so() {
    let depot = Depot::new();
    let id = history(&depot, 1).remove(0);
    let in_the_way = |store: &Path| store.join("prod-east/dropped");
    let hold = || cli(&depot, &["hold", &id, "--why", "audit"], &json!({}));
    depot.in_both(|store| fs::write(in_the_way(store), b"").unwrap());
    let failed = hold().fails(1);
    let last = failed.last_line();
    assert!(
        last.contains("is written (in one, two)") && last.contains("run the same command again"),
        "{last}"
    );
    // One store that answers is enough.
    fs::remove_file(in_the_way(&depot.path("two"))).unwrap();
    let held = hold().ok();
    assert!(
        held.stdout.contains("is held (in one, two)"),
        "{}",
        held.stdout
    );
    // What was begun is told although nobody can read it.
    let dropped = depot.path(&format!("two/prod-east/dropped/{id}.json"));
    fs::create_dir_all(dropped.parent().unwrap()).unwrap();
    fs::write(dropped, b"torn").unwrap();
    let warned = hold().ok();
    assert!(
        warned.log().contains("a prune has begun to drop"),
        "{}",
        warned.stderr
    );
}

/// Each way to be in doubt, and that nothing is deleted then.
#[test]
fn in_doubt_nothing_is_deleted_and_the_reason_is_said() {
    let depot = Depot::new();
    let ids = history(&depot, 3);
    pruned(&depot, &keep_last(2));
    age_all(&depot, 9);
    let manifest = depot.manifest(&ids[2]);
    let doubt = |what: &str, words: &str| {
        let (one, two) = (files(&depot.path("one")), files(&depot.path("two")));
        let run = cli(&depot, &["prune"], &keep_last(1)).fails(1);
        assert!(
            run.stderr.contains(words),
            "{what}: `{words}` is not in: {}",
            run.stderr
        );
        assert!(
            run.last_line().contains("nothing was deleted"),
            "{what}: {}",
            run.last_line()
        );
        let changed = |store: &str, was: &std::collections::BTreeMap<PathBuf, Vec<u8>>| {
            let mut is = files(&depot.path(store));
            let mut was = was.clone();
            let probe = Path::new("prod-east/probe");
            is.remove(probe);
            was.remove(probe);
            assert_eq!(
                is.keys().collect::<Vec<_>>(),
                was.keys().collect::<Vec<_>>(),
                "{what}"
            );
        };
        changed("one", &one);
        changed("two", &two);
        let dry = cli(&depot, &["prune", "--dry-run"], &keep_last(1));
        assert_ne!(dry.code, 0, "{what}: a rehearsal says it too");
    };
    let away = depot.path("away");
    fs::rename(depot.path("two"), &away).unwrap();
    let run = cli(&depot, &["prune"], &keep_last(1)).fails(1);
    assert!(
        run.stderr.contains("store two") && run.stderr.contains("nothing was deleted"),
        "{}",
        run.stderr
    );
    fs::rename(&away, depot.path("two")).unwrap();

    let forged = "20200101T000000Z-00000000";
    let put_away = |id: &str| {
        depot.in_both(|store| {
            fs::remove_file(store.join(format!("prod-east/backups/{id}.json"))).unwrap();
        });
    };
    let mut other = manifest.clone();
    other["id"] = json!(forged);
    depot.forge(&other, forged, None);
    doubt("unsigned", "it is not signed");
    other["format"] = json!(2);
    other["release"] = json!("lifeboat 9.1");
    depot.forge(&other, forged, Some(&depot.worker_identity));
    doubt("newer", "format 2");
    put_away(forged);
    let future = "20991231T000000Z-00000000";
    let mut other = manifest.clone();
    other["id"] = json!(future);
    depot.forge(&other, future, Some(&depot.worker_identity));
    doubt("future", "is later than this clock");
    put_away(future);
    depot.in_both(|store| {
        fs::write(store.join(format!("prod-east/backups/{forged}.json")), "{").unwrap();
    });
    doubt("torn", forged);
    put_away(forged);
    let dropped = format!("prod-east/dropped/{}.json", ids[0]);
    depot.in_both(|store| fs::write(store.join(&dropped), "{").unwrap());
    doubt("a dropped one within its grace", &ids[0]);
    depot.in_both(|store| fs::remove_file(store.join(&dropped)).unwrap());
    // Every doubt is gone: now it goes on.
    assert_eq!(pruned(&depot, &keep_last(1))["dropped"], json!([ids[1]]));
    restores(&depot, &ids[2], 2);
}

#[test]
fn a_damaged_index_leaves_its_chain_as_it_is() {
    let depot = Depot::new();
    let ids = history(&depot, 3);
    pruned(&depot, &keep_last(2));
    age_all(&depot, 9);
    let all = depot.objects("data").len();
    for object in depot.objects("index") {
        depot.in_both(|store| fs::write(store.join(&object), "damaged").unwrap());
    }
    let run = cli(&depot, &["prune", "--json"], &keep_last(2)).fails(3);
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(value["chains"][0]["looked"], "damaged");
    assert_eq!(depot.objects("data").len(), all, "of {ids:?}");
}

#[test]
fn a_put_prunes_behind_its_backup_or_alone_and_never_fails_a_backup() {
    let depot = Depot::new();
    let ids = history(&depot, 3);
    let mut params = json!({
        "prune": true, "retention": {"keep_last": 2}, "worker_identity": depot.worker_identity,
    });
    let request = json!({"source": depot.source, "params": params});
    let alone = resource("out", Some(depot.scratch.path()), Some("100"), &request).ok();
    let answer: Value = serde_json::from_str(&alone.stdout).unwrap();
    assert_eq!(
        answer["version"]["id"], *ids[2],
        "a prune's version is that of the newest backup"
    );
    assert_eq!(below(&depot, "one", "backups").len(), 2);

    params["backup"] = json!(["deployment/redis"]);
    params["from"] = json!("input-1");
    let request = json!({"source": depot.source, "params": params});
    let behind = resource("out", Some(depot.scratch.path()), Some("101"), &request).ok();
    assert!(
        behind.stderr.contains("2 backups stay, 1 dropped"),
        "{}",
        behind.stderr
    );
    assert_eq!(below(&depot, "two", "backups").len(), 2);

    // A manifest that nobody can judge is in the way of the prune alone.
    let forged = format!("prod-east/backups/{}.json", "20200101T000000Z-00000000");
    depot.in_both(|store| fs::write(store.join(&forged), "{").unwrap());
    let behind = resource("out", Some(depot.scratch.path()), Some("102"), &request).ok();
    assert!(
        behind.stderr.contains("the prune behind it failed"),
        "{}",
        behind.stderr
    );
    let answer: Value = serde_json::from_str(&behind.stdout).unwrap();
    assert!(answer["version"]["id"].as_str().unwrap() > ids[2].as_str());
}

/// The same against a real S3 server beside a directory.
#[test]
fn a_bucket_is_pruned_like_a_directory() {
    let server = Server::start();
    let mut depot = Depot::new();
    depot.source["stores"] = json!([
        {
            "name": "dc2", "bucket": "bucket", "prefix": "team/a", "use_path_style": true,
            "endpoint": format!("http://localhost:{}", server.port),
            "access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY,
        },
        {"name": "two", "path": depot.path("two")},
    ]);
    let ids = history(&depot, 3);
    let bucket = server.bucket().join("team/a");
    assert_eq!(pruned(&depot, &keep_last(1))["dropped"], json!(ids[..2]));
    for store in [&bucket, &depot.path("two")] {
        age(store, 9);
    }
    let run = pruned(&depot, &keep_last(1));
    assert!(run["freed"]["objects"].as_u64().unwrap() > 0, "{run}");
    assert_eq!(run["later"]["objects"], 0, "{run}");
    let chains = |store: &Path| -> BTreeSet<PathBuf> {
        let all = files(store).into_keys();
        all.filter(|path| path.starts_with("prod-east/chains"))
            .collect()
    };
    assert_eq!(chains(&bucket), chains(&depot.path("two")));
    restores(&depot, &ids[2], 2);
}

#[test]
fn a_policy_is_demanded_and_may_not_be_empty() {
    let depot = Depot::new();
    for (more, words) in [
        (json!({}), "retention: is missing or empty"),
        (json!({"retention": {}}), "retention: "),
        (
            json!({"retention": {"keep_last": 0, "keep_daily": 0}}),
            "retention: keeps nothing",
        ),
        (
            json!({"retention": {"keep_last": 1, "keep_minimum": 0}}),
            "retention.keep_minimum: must be at least 1",
        ),
        (
            json!({"retention": {"keep_within": "30"}}),
            "retention.keep_within: expected a time with its unit",
        ),
    ] {
        let run = cli(&depot, &["prune", "--dry-run"], &more).fails(1);
        assert!(
            run.last_line().contains(words),
            "{more}: {}",
            run.last_line()
        );
    }
}
