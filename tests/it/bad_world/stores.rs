//! Stores that cannot be written to, at a put: found before anything is locked.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::table::Table;
use crate::support::process::{self, Ended};
use crate::support::request::fixture;
use crate::support::scene::merge;

fn spec() -> Value {
    let user = |name: &str, role: &str| json!({"access_key_id": name, "secret_access_key": format!("{name}-secret-4711"), "role": role});
    json!({"fixture": "S1", "stores": [
        {"name": "s3", "users": [user("reader", "reader"), user("nobody", "none")]},
        {"name": "tls", "tls": true},
    ]})
}

#[test]
fn a_bucket_that_cannot_be_used() {
    let mut table = Table::new(&spec());
    let cases = [
        (
            "s3",
            json!({"bucket": "no-such-bucket"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (bucket no-such-bucket does not exist on …; create it, or correct bucket, endpoint and region)",
        ),
        (
            "s3",
            json!({"secret_access_key": "wrong-secret-0815"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (… refuses the signature; check secret_access_key and region, and this worker's clock)",
        ),
        (
            "s3",
            json!({"access_key_id": "AKIAUNKNOWN"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (… does not know this access_key_id; check it, and the endpoint)",
        ),
        (
            "s3",
            json!({"region": "eu-central-9"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (bucket lifeboat is in region us-east-1; set region: us-east-1)",
        ),
        (
            "s3",
            json!({"access_key_id": "reader", "secret_access_key": "reader-secret-4711"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (access denied; these credentials need s3:PutObject on bucket lifeboat (Access Denied))",
        ),
        (
            "s3",
            json!({"access_key_id": "nobody", "secret_access_key": "nobody-secret-4711"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (access denied; these credentials need s3:PutObject on bucket lifeboat (Access Denied))",
        ),
        (
            "tls",
            json!({"ca_cert": fixture!("ca.pem")}),
            "the backup cannot be in 1 store, as min_copies asks: tls was given up (the certificate of … is not signed by ca_cert; give the CA that signed it)",
        ),
    ];
    for (store, change, sentence) in cases {
        let mut config = table.scene.s3(store);
        merge(&mut config, &change);
        table.put(
            &format!("{store} {:.60}", change.to_string()),
            &json!({"stores": [config]}),
            sentence,
        );
    }
    for (kind, sentence) in [
        (
            "expired",
            "the backup cannot be in 1 store, as min_copies asks: tls was given up (the certificate of … is not valid now; check it and this worker's clock)",
        ),
        (
            "wrong-host",
            "the backup cannot be in 1 store, as min_copies asks: tls was given up (the certificate of … is for another host name; use the name in endpoint that it was issued for)",
        ),
        (
            "foreign",
            "the backup cannot be in 1 store, as min_copies asks: tls was given up (the certificate of … is not signed by ca_cert; give the CA that signed it)",
        ),
    ] {
        table
            .scene
            .foundation
            .ask(json!({"do": "certificate", "service": "tls", "kind": kind}));
        table.put(kind, &json!({"stores": [table.scene.s3("tls")]}), sentence);
    }
    table.untouched();
    table.end(10);
}

#[test]
fn a_bucket_that_misbehaves() {
    let mut table = Table::new(&spec());
    let store = table.scene.s3("s3");
    let faults = [
        (
            "a clock that is behind",
            json!({"action": "date", "seconds": -600}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (the store's clock is … behind ours; at most 5 min 00 s are allowed; set the clocks of this worker and of the store (NTP))",
        ),
        (
            "a clock that is ahead",
            json!({"action": "date", "seconds": 600}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (the store's clock is … ahead of ours; at most 5 min 00 s are allowed; set the clocks of this worker and of the store (NTP))",
        ),
        (
            "no room",
            json!({"action": "status", "method": "PUT", "status": 507, "code": "InsufficientStorage"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (the store is full (507 InsufficientStorage: a fault was asked for); make room or raise its quota)",
        ),
        (
            "a quota",
            json!({"action": "status", "method": "PUT", "status": 403, "code": "QuotaExceeded"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (the store is full (403 QuotaExceeded: a fault was asked for); make room or raise its quota)",
        ),
        (
            "our clock",
            json!({"action": "status", "method": "PUT", "status": 403, "code": "RequestTimeTooSkewed"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (the clocks of this worker and of … differ too much; set them (NTP))",
        ),
        (
            "another server",
            json!({"action": "status", "method": "PUT", "status": 405, "body": "<html>"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (… refused it: 405 without an S3 error; is a proxy or load balancer in between?)",
        ),
        (
            "another bucket's region",
            json!({"action": "status", "status": 301, "code": "PermanentRedirect"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (bucket lifeboat is not in region us-east-1 or not at …; correct region or endpoint (a fault was asked for))",
        ),
    ];
    for (what, fault, sentence) in faults {
        let mut request = json!({"do": "fault", "service": "s3"});
        merge(&mut request, &fault);
        table.scene.foundation.ask(request);
        table.put(what, &json!({"stores": [store]}), sentence);
        table
            .scene
            .foundation
            .ask(json!({"do": "clear-faults", "service": "s3"}));
    }
    table.untouched();
    // Nothing is lost in the store beside it, but the copies asked for cannot be made.
    let mut wrong = store;
    wrong["bucket"] = json!("no-such-bucket");
    let nas = table.scene.source["stores"][0].clone();
    table.put("one of two stores", &json!({"stores": [nas, wrong]}), "the backup cannot be in 2 stores, as min_copies asks: s3 was given up (bucket no-such-bucket does not exist on …; create it, or correct bucket, endpoint and region)");
    table.untouched();
    table.end(8);
}

#[test]
fn a_bucket_that_does_not_answer() {
    let mut table = Table::new(&spec());
    for (change, sentence) in [
        (
            json!({"endpoint": "http://127.0.0.1:1"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (… refuses connections; check endpoint, and that the store runs (tried … times in … s))",
        ),
        (
            json!({"endpoint": "http://no-such-host.invalid"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (the host of http://no-such-host.invalid is not found; check endpoint and DNS (tried … times in … s))",
        ),
    ] {
        let mut config = table.scene.s3("s3");
        merge(&mut config, &change);
        table.put(&change.to_string(), &json!({"stores": [config]}), sentence);
    }
    table.untouched();
    table.end(2);
}

#[test]
fn a_bucket_that_fails_again_and_again() {
    let mut table = Table::new(&spec());
    let store = table.scene.s3("s3");
    for (what, fault, sentence) in [
        (
            "errors",
            json!({"action": "status", "status": 503, "code": "SlowDown"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (… answered 503 SlowDown: a fault was asked for (tried … times in … s))",
        ),
        (
            "hangs up",
            json!({"action": "close"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (… broke off the connection; look at its health and log (tried … times in … s))",
        ),
        (
            "stalls",
            json!({"action": "stall"}),
            "the backup cannot be in 1 store, as min_copies asks: s3 was given up (… has been silent for … s (tried … in … s))",
        ),
    ] {
        let mut request = json!({"do": "fault", "service": "s3"});
        merge(&mut request, &fault);
        table.scene.foundation.ask(request);
        let ended = table
            .scene
            .put(&json!({"backup": ["deployment/dep"], "stores": [store]}));
        table
            .scene
            .foundation
            .ask(json!({"do": "clear-faults", "service": "s3"}));
        table.refused(what, &ended, sentence);
        table.clean(what);
    }
    table.untouched();
    table.end(3);
}

/// `out` where a script of mounts ran first.
fn put_with_mounts(table: &Table, mounts: &str, at: &Path, more: &Value) -> Ended {
    let mut params = json!({"backup": ["deployment/dep"]});
    merge(&mut params, more);
    let mut command = Command::new("unshare");
    command
        .args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &format!("set -e; {mounts}; exec \"$@\""),
        ])
        .arg(at)
        .arg(process::program("out"))
        .arg(table.scene.scratch.path())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let request = table.scene.put_request(&params);
    process::finish(process::start(command, &request.to_string()))
}

#[test]
fn a_directory_that_cannot_be_used() {
    let mut table = Table::new(&spec());
    let place = tempfile::tempdir().unwrap();
    let directory = |path: &Path| json!({"stores": [{"name": "mnt", "path": path}]});
    table.put("a directory that is not there", &directory(&place.path().join("missing")), "the backup cannot be in 1 store, as min_copies asks: mnt was given up (… does not exist; is it mounted? (it is never created))");
    let file = place.path().join("file");
    std::fs::write(&file, "x").unwrap();
    table.put("a file", &directory(&file), "the backup cannot be in 1 store, as min_copies asks: mnt was given up (… is not a directory; give the path of one)");
    for (what, mounts, sentence) in [
        (
            "a read-only directory",
            "mount -t tmpfs -o ro none \"$0\"",
            "the backup cannot be in 1 store, as min_copies asks: mnt was given up (… is mounted read-only; mount it for writing)",
        ),
        (
            "a directory without room",
            "mount -t tmpfs -o size=4k,nr_inodes=2 none \"$0\"",
            "the backup cannot be in 1 store, as min_copies asks: mnt was given up (the store is full (… has no space left); make room)",
        ),
    ] {
        let mount = place.path().join("mount");
        std::fs::create_dir_all(&mount).unwrap();
        let ended = put_with_mounts(&table, mounts, &mount, &directory(&mount));
        table.refused(what, &ended, sentence);
        table.clean(what);
    }
    table.untouched();
    // Room for the probe and the keys, not for the backup: noticed after the unlock.
    table.scene.foundation.ask(
        json!({"do": "set-script", "instance": "g/u0", "job": "j", "script": "backup",
        "value": {"body": "head -c 3000000 /dev/urandom > $BBR_ARTIFACT_DIRECTORY/a"}}),
    );
    let mount = place.path().join("mount");
    let ended = put_with_mounts(
        &table,
        "mount -t tmpfs -o size=1m none \"$0\"",
        &mount,
        &directory(&mount),
    );
    table.refused("a directory that fills up", &ended, "deployment/dep: …the backup cannot be in 1 store, as min_copies asks: mnt was given up (the store is full (… has no space left); make room). State: no backup was committed; every instance is unlocked. To mend it: if anything was left behind, lifeboat cleanup deployment/dep");
    table.clean("a directory that fills up");
    table.end(5);
}
