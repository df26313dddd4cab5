//! Object Lock on a real S3 server.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lifeboat::clock::{parse_rfc3339, rfc3339};
use lifeboat::monitor::Silent;
use lifeboat::store::copies::Copies;
use lifeboat::store::put_of_chain;
use lifeboat::store::s3::{S3Lock, S3LockMode};
use serde_json::{Value, json};

use super::server::{ACCESS_KEY_ID, LOCKED, SECRET_ACCESS_KEY};
use super::*;
use crate::support::depot::Depot;

const DAY: Duration = Duration::from_secs(86_400);

fn settings(server: &Server, bucket: &str, mode: S3LockMode, days: u32) -> S3Settings {
    let mut settings = server.settings();
    settings.bucket = bucket.to_owned();
    let time = DAY * days;
    settings.object_lock = Some(S3Lock { mode, time });
    settings
}

/// Mode and date of an object's newest version; `None` when it is not locked.
async fn lock_of(client: &aws_sdk_s3::Client, key: &str) -> Option<(String, SystemTime)> {
    let head = client.head_object().bucket(LOCKED).key(key).send().await;
    let head = head.unwrap();
    let until = head.object_lock_retain_until_date()?;
    let mode = head.object_lock_mode().unwrap().as_str().to_owned();
    Some((mode, SystemTime::try_from(*until).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_object_cannot_be_destroyed_before_its_time() {
    let server = Server::with_locks().await;
    let client = server.client();
    let now = parse_rfc3339(&rfc3339(SystemClock.now())).unwrap();
    for (mode, name) in [
        (S3LockMode::Governance, "governance"),
        (S3LockMode::Compliance, "compliance"),
    ] {
        let store = open(settings(&server, LOCKED, mode, 7)).await;
        let object = conformance::name(&format!("a/{name}"));
        let put = |text: &'static str, chain_end| {
            let (mode, bytes) = (WriteMode::Overwrite, Bytes::from_static(text.as_bytes()));
            put_of_chain(&*store, &object, bytes, mode, chain_end, now)
        };
        put("text", now + DAY).await.unwrap();
        let (mode, until) = lock_of(&client, object.as_str()).await.unwrap();
        assert_eq!((mode.to_lowercase().as_str(), until), (name, now + DAY * 8));
        // Neither a new version nor a delete marker destroys it, and nobody deletes the version.
        put("other", now + DAY).await.unwrap();
        store.delete(&object).await.unwrap();
        let versions = store.versions(&object).await.unwrap();
        assert_eq!(versions.len(), 2, "{versions:?}");
        for version in &versions {
            let request = client.delete_object().bucket(LOCKED).key(object.as_str());
            let refused = request.version_id(&version.id).send().await.unwrap_err();
            let status = refused.raw_response().unwrap().status().as_u16();
            assert_eq!(status, 403, "{refused:?}");
        }
        let texts = [0, 1].map(|at| store.get_version(&object, &versions[at], 10));
        let [one, two] = texts;
        let mut texts = [one.await.unwrap(), two.await.unwrap()];
        texts.sort();
        assert_eq!(texts, ["other", "text"]);
    }
    // Of a chain whose locks are over, and anything that is no part of one.
    let store = open(settings(&server, LOCKED, S3LockMode::Governance, 7)).await;
    for (name, ended) in [("over", true), ("free", false)] {
        let object = conformance::name(name);
        let (mode, bytes) = (WriteMode::CreateNew, Bytes::from_static(b"x"));
        if ended {
            let put = put_of_chain(&*store, &object, bytes, mode, now - DAY * 8, now);
            put.await.unwrap();
        } else {
            store.put(&object, bytes, mode).await.unwrap();
        }
        assert_eq!(lock_of(&client, name).await, None, "{name}");
    }
    // Nor is a date that is past by the server's clock a reason not to store.
    let object = conformance::name("past");
    for mode in [WriteMode::CreateNew, WriteMode::Overwrite] {
        let bytes = Bytes::from_static(b"x");
        let put = store.put_locked(&object, bytes, mode, now - DAY);
        put.await.unwrap();
    }
    assert_eq!(lock_of(&client, "past").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_object_lock_is_told_of_by_the_probe() {
    let server = Server::with_locks().await;
    for (bucket, good) in [(LOCKED, true), ("bucket", false)] {
        let store = open(settings(&server, bucket, S3LockMode::Governance, 1)).await;
        let copies = Copies::new(vec![store], 1, Arc::new(Silent)).unwrap();
        let probed = copies.probe("prod-east", Arc::new(SystemClock), "random");
        let result = probed.await.unwrap().remove(0).1;
        if good {
            result.unwrap();
            continue;
        }
        let error = result.unwrap_err();
        let wanted = "store dc2: prod-east/probe: bucket bucket has no Object Lock, which object_lock asks \
                      for; switch it on in the bucket, or take object_lock out of this store";
        assert!(error.to_string().starts_with(wanted), "{error}");
    }
    // The probe itself is locked for minutes only.
    let (_, until) = lock_of(&server.client(), "prod-east/probe").await.unwrap();
    assert!(until < SystemClock.now() + Duration::from_secs(3600));
}

/// Every key of the bucket.
async fn keys(client: &aws_sdk_s3::Client) -> Vec<String> {
    let listed = client
        .list_objects_v2()
        .bucket(LOCKED)
        .send()
        .await
        .unwrap();
    let keys = listed.contents().iter().filter_map(|object| object.key());
    keys.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_chain_is_locked_until_the_same_day_and_nothing_else_is() {
    let server = Server::with_locks().await;
    let mut depot = Depot::new();
    depot.source["stores"] = json!([{
        "name": "dc2", "bucket": LOCKED, "use_path_style": true,
        "endpoint": format!("http://localhost:{}", server.port),
        "access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY,
        "object_lock": {"mode": "governance", "days": 14},
    }]);
    depot.source["new_chain_every"] = json!("10d");
    let put = |content: &'static [u8]| depot.put("director", &[("a", content)]).ok().id();
    let (first, second) = tokio::task::block_in_place(|| (put(b"one"), put(b"two")));
    let client = server.client();
    let manifest = client.get_object().bucket(LOCKED);
    let manifest = manifest.key(format!("prod-east/backups/{second}.json"));
    let bytes = manifest
        .send()
        .await
        .unwrap()
        .body
        .collect()
        .await
        .unwrap()
        .to_vec();
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
    let manifest: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(manifest["base"], first.as_str());
    let started = manifest["chain"]["started"].as_str().unwrap();
    let wanted = parse_rfc3339(started).unwrap() + DAY * 24;
    let mut locked = 0;
    for key in keys(&client).await {
        let lock = lock_of(&client, &key).await;
        let free = ["recover.py", "RECOVERY.md", "prod-east/probe"].contains(&key.as_str());
        if free {
            let soon = SystemClock.now() + DAY;
            assert!(lock.is_none_or(|(_, until)| until < soon), "{key}");
        } else {
            assert_eq!(lock, Some(("GOVERNANCE".to_owned(), wanted)), "{key}");
            locked += 1;
        }
    }
    // Two manifests, two key files, and of each backup a root, a page and a chunk.
    assert_eq!(locked, 10);
    // An added recipient's file is locked as the others are.
    let (identity, recipient) = crate::recipients::key();
    drop(identity);
    depot.source["recovery_identity"] = json!(depot.recovery_identity);
    let document = depot.source.to_string();
    let added = tokio::task::block_in_place(|| {
        let arguments = ["recipients", "add", &recipient];
        crate::support::process::cli(&arguments, &[("LIFEBOAT_CONFIG", &document)])
    });
    added.ok();
    let chain = manifest["chain"]["id"].as_str().unwrap();
    let key = format!("prod-east/chains/{chain}/recovery-2.age");
    assert_eq!(
        lock_of(&client, &key).await.map(|(_, until)| until),
        Some(wanted)
    );
}
