//! Stores that are wrong from the start, break in the middle, or come back: by `min_copies` a
//! backup ends complete in the others, or fails with one sentence and an unlocked foundation.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::depot::Depot;
use crate::support::foundation::path_with_tools;
use crate::support::process::{Ended, finish, program, resource, start};
use crate::support::request::fixture;
use crate::support::scene::Scene;

const COMPONENT: &str = "deployment/dep";
/// `limits.store_timeout` of these tests.
const PATIENCE: &str = "2s";

/// Stores `s3` (behind TLS and a fault proxy) and `one`, a directory.
struct Faults {
    scene: Scene,
}

impl Faults {
    fn new(bytes: u64) -> Self {
        let backup = format!("head -c {bytes} /dev/urandom > \"$BBR_ARTIFACT_DIRECTORY\"dump");
        let mut scene = Scene::with_stores(
            &json!({"director": {}, "stores": [{"name": "s3", "tls": true}],
                "deployments": [{"name": "dep", "groups": [{"name": "g", "instances": [{"id": "u0"}],
                    "jobs": {"j": {"release": "r", "scripts": {
                        "pre-backup-lock": "true", "backup": backup, "post-backup-unlock": "true"}}}}]}]}),
            &["one"],
        );
        let s3 = scene.s3("s3");
        scene.source["stores"].as_array_mut().unwrap().insert(0, s3);
        scene.source["limits"] = json!({"store_timeout": PATIENCE});
        scene.source["min_copies"] = 1.into();
        Self { scene }
    }

    fn min_copies(&mut self, copies: u64) {
        self.scene.source["min_copies"] = copies.into();
    }

    fn fault(&self, fault: Value) {
        let mut request = json!({"do": "fault", "service": "s3"});
        crate::support::scene::merge(&mut request, &fault);
        self.scene.foundation.ask(request);
    }

    fn clear(&self) {
        self.ask(json!({"do": "clear-faults", "service": "s3"}));
        self.ask(json!({"do": "store", "store": "s3", "mode": "pass"}));
    }

    fn ask(&self, request: Value) {
        self.scene.foundation.ask(request);
    }

    fn back_up(&self) -> Ended {
        self.scene.put(&json!({"backup": [COMPONENT]}))
    }

    fn locks(&self) -> usize {
        let journal = self.scene.foundation.journal();
        journal
            .iter()
            .filter(|line| line.contains("pre-backup-lock start"))
            .count()
    }

    /// The foundation is as it was: clean, and unlocked as often as it was locked.
    fn assert_unlocked(&self) {
        self.scene.foundation.assert_clean();
        let journal = self.scene.foundation.journal();
        let unlocks = journal
            .iter()
            .filter(|line| line.contains("post-backup-unlock end"));
        assert_eq!(unlocks.count(), self.locks());
    }

    /// The ids of the manifests in each store.
    fn manifests(&self, store: &str) -> Vec<String> {
        let root = match store {
            "s3" => {
                let ready = &self.scene.foundation.ready["stores"]["s3"];
                PathBuf::from(ready["directory"].as_str().unwrap())
                    .join(ready["buckets"][0].as_str().unwrap())
            }
            other => self.scene.store(other),
        };
        let Ok(found) = std::fs::read_dir(root.join("prod-east/backups")) else {
            return Vec::new();
        };
        let mut ids: Vec<_> = found
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".json").map(str::to_owned)
            })
            .collect();
        ids.sort();
        ids
    }
}

/// How often the log speaks of a store that fails.
fn told(ended: &Ended) -> usize {
    let lines = ended.stderr.lines();
    lines
        .filter(|line| line.contains("store s3") || line.contains("s3 was given up"))
        .count()
}

/// A put with a store that is bad from the start: with both stores needed it fails before
/// anything is touched; else the backup is in the other one.
fn bad_from_the_start(faults: &mut Faults, sentence: &str) {
    let (locks, before) = (faults.locks(), faults.manifests("s3"));
    let cleared = json!({"do": "clear-requests", "service": "director"});
    faults.ask(cleared);
    faults.min_copies(2);
    let begun = Instant::now();
    let ended = faults.back_up();
    let took = begun.elapsed();
    assert_eq!(ended.code, 1, "{sentence}: {}", ended.stderr);
    assert!(took < Duration::from_secs(15), "{sentence}: took {took:?}");
    let last = ended.last_line();
    assert!(
        last.contains(sentence) && last.contains("s3"),
        "{sentence}: {}",
        ended.stderr
    );
    assert!(told(&ended) <= 3, "{sentence}: {}", ended.stderr);
    assert_eq!(
        faults.locks(),
        locks,
        "{sentence}: locked before the stores were known"
    );
    let asked = json!({"do": "requests", "service": "director"});
    let asked = faults.scene.foundation.ask(asked)["requests"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(asked, 0, "{sentence}: the Director was asked");
    faults.min_copies(1);
    let ended = faults.back_up().ok();
    assert!(told(&ended) <= 3, "{sentence}: {}", ended.stderr);
    let id = ended.id();
    assert!(faults.manifests("one").contains(&id));
    assert_eq!(
        faults.manifests("s3"),
        before,
        "{sentence}: a manifest in the bad store"
    );
    faults.assert_unlocked();
}

#[test]
fn a_store_that_is_bad_from_the_start_costs_no_downtime() {
    let mut faults = Faults::new(1000);
    let good = faults.scene.source["stores"][0].clone();
    for (key, value, sentence) in [
        (
            "secret_access_key",
            json!("wrong-secret-0123456789"),
            "secret_access_key",
        ),
        ("bucket", json!("nowhere"), "nowhere"),
        ("ca_cert", json!(fixture!("ca.pem")), "ca_cert"),
    ] {
        faults.scene.source["stores"][0][key] = value;
        bad_from_the_start(&mut faults, sentence);
        faults.scene.source["stores"][0] = good.clone();
    }
    for (fault, sentence) in [
        (json!({"action": "status", "status": 500}), "500"),
        (json!({"action": "stall", "path": "/probe"}), "2 s"),
        (json!({"action": "date", "seconds": 3600}), "clock"),
        (
            json!({"action": "garbage", "method": "GET", "path": "/probe"}),
            "other bytes",
        ),
    ] {
        faults.fault(fault);
        bad_from_the_start(&mut faults, sentence);
        faults.clear();
    }
    faults.ask(json!({"do": "store", "store": "s3", "mode": "refuse"}));
    bad_from_the_start(&mut faults, "connect");
    faults.clear();
    // The last one spoils the key file of a new chain, so the first backup of another foundation.
    faults.scene.source["foundation"] = "prod-west".into();
    faults.min_copies(2);
    faults.fault(json!({"action": "garbage", "method": "GET", "path": "recovery.age"}));
    let locks = faults.locks();
    let ended = faults.back_up();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.last_line().contains("other bytes"),
        "{}",
        ended.stderr
    );
    assert_eq!(faults.locks(), locks);
    faults.clear();
    faults.back_up().ok();
}

/// A store that breaks while artifacts stream into it.
fn breaks_in_the_middle(fault: &Value) {
    let mut faults = Faults::new(30_000_000);
    faults.fault(fault.clone());
    let ended = faults.back_up().ok();
    assert!(told(&ended) <= 4, "{fault}: {}", ended.stderr);
    assert!(
        ended.stderr.contains("store s3 is given up for this run"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("1 of 2 (one)"), "{}", ended.stderr);
    let id = ended.id();
    assert_eq!(faults.manifests("one"), std::slice::from_ref(&id));
    assert_eq!(faults.manifests("s3"), [""; 0]);
    faults.assert_unlocked();
    assert_eq!(faults.scene.check(), std::slice::from_ref(&id));
    faults.scene.download(&id);

    faults.min_copies(2);
    let ended = faults.back_up();
    assert_eq!(ended.code, 1, "{fault}: {}", ended.stderr);
    let last = ended.last_line();
    assert!(
        last.contains("the backup cannot be in 2 stores, as min_copies asks")
            && !last.contains("chains")
            && last.contains("every instance is unlocked"),
        "{}",
        ended.stderr
    );
    assert!(told(&ended) <= 6, "{fault}: {}", ended.stderr);
    assert_eq!(faults.scene.check(), [id]);
    faults.assert_unlocked();
}

#[test]
fn a_store_that_fails_for_ever_is_given_up_in_the_middle() {
    breaks_in_the_middle(
        &json!({"action": "status", "status": 500, "method": "PUT", "path": "/data/", "skip": 2}),
    );
}

#[test]
fn a_store_that_stalls_is_given_up_in_the_middle() {
    breaks_in_the_middle(&json!({"action": "stall", "method": "PUT", "path": "/data/", "skip": 2}));
}

#[test]
fn a_store_that_vanishes_is_given_up_in_the_middle() {
    breaks_in_the_middle(
        &json!({"action": "cut", "upload": true, "bytes": 100_000, "method": "PUT", "path": "/data/", "skip": 2}),
    );
}

#[test]
fn a_store_that_fails_for_a_while_is_waited_for() {
    let mut faults = Faults::new(10_000_000);
    faults.min_copies(2);
    faults.scene.source["limits"] = json!({"store_timeout": "30s"});
    faults.fault(
        json!({"action": "status", "status": 503, "method": "PUT", "path": "/data/", "times": 12}),
    );
    let ended = faults.back_up().ok();
    assert!(told(&ended) <= 4, "{}", ended.stderr);
    assert_eq!(faults.manifests("s3"), [ended.id()]);
    assert_eq!(faults.manifests("one"), [ended.id()]);
    faults.assert_unlocked();
}

#[test]
fn a_full_file_system_is_given_up_in_the_middle() {
    let mut faults = Faults::new(6_000_000);
    for (copies, code) in [(1, 0), (2, 1)] {
        faults.min_copies(copies);
        // The store's directory is a file system of its own, as large as some chunks.
        let script = r#"mount -t tmpfs -o size=3m none "$1" && exec "$0" "$2""#;
        let mut out = Command::new("unshare");
        out.args(["--map-root-user", "--mount", "sh", "-c", script])
            .arg(program("out"))
            .arg(faults.scene.store("one"))
            .arg(faults.scene.scratch.path())
            .env_clear()
            .env("PATH", path_with_tools())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let request = faults.scene.put_request(&json!({"backup": [COMPONENT]}));
        let ended = finish(start(out, &request.to_string()));
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("store one is given up"),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("full"), "{}", ended.stderr);
        let lines = ended.stderr.lines().filter(|line| line.contains("is full"));
        assert!(lines.count() <= 4, "{}", ended.stderr);
        assert_eq!(faults.manifests("s3").len(), 1);
        faults.assert_unlocked();
    }
}

/// One store misses a backup, comes back, and is in the next ones by the rules.
#[test]
fn a_store_that_comes_back_gets_manifests_again() {
    let faults = Faults::new(5000);
    let first = faults.back_up().ok().id();
    let refuse =
        |faults: &Faults| faults.ask(json!({"do": "store", "store": "s3", "mode": "refuse"}));
    refuse(&faults);
    let second = faults.back_up().ok();
    assert!(
        second.stderr.contains(&format!("from backup {first}")),
        "{}",
        second.stderr
    );
    // Either store alone serves readers, and soon.
    let begun = Instant::now();
    assert_eq!(faults.scene.check(), [first.clone(), second.id()]);
    faults.scene.download(&second.id());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    faults.clear();
    let away = faults.scene.scratch.path().join("away");
    std::fs::rename(faults.scene.store("one"), &away).unwrap();
    assert_eq!(faults.scene.check(), std::slice::from_ref(&first));
    faults.scene.download(&first);
    std::fs::rename(&away, faults.scene.store("one")).unwrap();

    // It is back. The newest backup that both have is the base, so both get the next one.
    let third = faults.back_up().ok();
    let base = format!("from backup {first}");
    assert!(third.stderr.contains(&base), "{}", third.stderr);
    assert_eq!(faults.manifests("s3"), [first, third.id()]);
}

#[test]
fn a_store_that_lacks_every_base_gets_a_new_chain_when_it_is_needed() {
    let mut faults = Faults::new(5000);
    faults.ask(json!({"do": "store", "store": "s3", "mode": "refuse"}));
    let first = faults.back_up().ok().id();
    faults.clear();
    // With one copy asked for, the chain goes on: objects, no manifest, and that is said.
    let second = faults.back_up().ok();
    let base = format!("from backup {first}");
    assert!(second.stderr.contains(&base), "{}", second.stderr);
    assert!(
        second.stderr.contains("lifeboat replicate"),
        "{}",
        second.stderr
    );
    assert_eq!(faults.manifests("s3"), [""; 0]);
    faults.min_copies(2);
    let third = faults.back_up().ok();
    assert!(
        third.stderr.contains("is in at least 2 of the stores"),
        "{}",
        third.stderr
    );
    assert_eq!(faults.manifests("s3"), [third.id()]);
    let fourth = faults.back_up().ok();
    let base = format!("from backup {}", third.id());
    assert!(fourth.stderr.contains(&base), "{}", fourth.stderr);
    assert_eq!(faults.manifests("one").len(), 4);
    for id in faults.scene.check() {
        faults.scene.download(&id);
    }
}

/// A store that hangs does not keep readers for long.
#[test]
fn readers_pass_over_a_store_that_hangs() {
    let faults = Faults::new(5000);
    let id = faults.back_up().ok().id();
    faults.fault(json!({"action": "stall"}));
    let begun = Instant::now();
    assert_eq!(faults.scene.check(), std::slice::from_ref(&id));
    faults.scene.get(&id, &json!({})).0.ok();
    faults.scene.download(&id);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

/// Whichever one is left, and whichever comes first in the configuration.
#[test]
fn any_one_store_serves_all_readers() {
    let mut depot = Depot::new();
    depot.add_store("three");
    let first = depot.put("director", &[("a", b"one")]).ok().id();
    let id = depot.put("director", &[("a", b"two")]).ok().id();
    for left in ["one", "two", "three"] {
        let away = |store: &str| depot.path(&format!("{store}.away"));
        let gone: Vec<_> = ["one", "two", "three"]
            .into_iter()
            .filter(|store| *store != left)
            .collect();
        for store in &gone {
            std::fs::rename(depot.path(store), away(store)).unwrap();
        }
        let request = json!({"source": depot.source});
        let check = resource("check", None, None, &request).ok().json();
        assert_eq!(
            check,
            json!([{"id": first}, {"id": id}]),
            "only {left} is left"
        );
        // Exit code 3: it lists all, and two stores are a problem.
        let list = depot.cli(&["list"]).fails(3).stdout;
        assert!(list.contains(&first) && list.contains(&id), "{list}");
        let show = depot.cli(&["show", "latest"]).stdout;
        assert!(show.starts_with(&format!("backup {id} of")), "{show}");
        let (get, into) = depot.get(&id);
        get.ok();
        assert_eq!(std::fs::read(into.join("director/a")).unwrap(), b"two");
        for store in &gone {
            std::fs::rename(away(store), depot.path(store)).unwrap();
        }
    }
}
