//! Reading: versions that are gone, objects that are damaged, identities that do not fit.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::table::Table;
use crate::support::process::{Ended, resource};

fn table_with_backup() -> (Table, String) {
    let spec = json!({"fixture": "S1"});
    let mut table = Table::new(&spec);
    let id = table
        .scene
        .put(&json!({"backup": ["deployment/dep"]}))
        .ok()
        .id();
    table.expect_listed([id.clone()]);
    (table, id)
}

fn backups(table: &Table) -> PathBuf {
    table.scene.store("nas").join("prod-east/backups")
}

fn objects(table: &Table, kind: &str) -> Vec<PathBuf> {
    let chains = table.scene.store("nas").join("prod-east/chains");
    crate::support::scene::files(&chains)
        .into_keys()
        .filter(|name| name.components().any(|part| part.as_os_str() == kind))
        .map(|name| chains.join(name))
        .collect()
}

fn download(table: &Table, id: &str) -> Ended {
    table.scene.get(id, &json!({"download": true})).0
}

#[test]
fn a_version_that_is_not_there() {
    let (mut table, id) = table_with_backup();
    let (ended, _) = table.scene.get("20200101T000000Z-00000000", &json!({}));
    table.refused(
        "a version that never was",
        &ended,
        "there is no backup … of prod-east in any store; `lifeboat list` shows those there are",
    );
    let ended = download(&table, "20200101T000000Z-00000000");
    table.refused(
        "a download of a version that never was",
        &ended,
        "there is no backup … of prod-east in any store; `lifeboat list` shows those there are",
    );
    table.scene.source["foundation"] = json!("prod-west");
    let (ended, _) = table.scene.get(&id, &json!({}));
    table.refused(
        "another foundation's",
        &ended,
        "there is no backup … of prod-west in any store; `lifeboat list` shows those there are",
    );
    table.scene.source["foundation"] = json!("prod-east");
    let dropped = backups(&table).with_file_name("dropped");
    fs::create_dir(&dropped).unwrap();
    fs::rename(
        backups(&table).join(format!("{id}.json")),
        dropped.join(format!("{id}.json")),
    )
    .unwrap();
    let (ended, _) = table.scene.get(&id, &json!({}));
    table.refused(
        "a pruned version",
        &ended,
        "backup … of prod-east was pruned: it is no longer in any store; choose another version",
    );
    table.end(4);
}

#[test]
fn a_selection_or_place_that_does_not_fit() {
    let (mut table, id) = table_with_backup();
    for (what, params, sentence) in [
        (
            "another component",
            json!({"components": ["director"]}),
            "components: backup … holds no director; it holds deployment/dep",
        ),
        (
            "no such artifact",
            json!({"artifacts": ["x-*"]}),
            "artifacts: nothing in backup … has such a name; `lifeboat show …` lists what it holds",
        ),
    ] {
        let mut params = params;
        params["download"] = json!(true);
        let (ended, _) = table.scene.get(&id, &params);
        table.refused(what, &ended, sentence);
    }
    let into = table.scene.download(&id);
    let request = |table: &Table| {
        json!({"source": table.scene.source, "version": {"id": id},
        "params": {"download": true, "recovery_identity": table.scene.recovery_identity}})
    };
    let ended = resource("in", Some(&into), None, &request(&table));
    table.refused(
        "a directory that has it already",
        &ended,
        "… is there already; give an empty directory",
    );
    let ended = resource(
        "in",
        Some(Path::new("/no/such/directory")),
        None,
        &request(&table),
    );
    table.refused(
        "a directory that is not there",
        &ended,
        "/no/such/directory is not a directory; Concourse makes it before it starts `in`",
    );
    let file = table.scene.scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let ended = resource("in", Some(&file), None, &request(&table));
    table.refused(
        "a file",
        &ended,
        "… is not a directory; Concourse makes it before it starts `in`",
    );
    let ended = resource("in", Some(Path::new("/proc")), None, &request(&table));
    table.refused(
        "a directory that cannot be written",
        &ended,
        "/proc/deployment cannot be made: No such file or directory (os error 2)",
    );
    let other = lifeboat::operation::keygen::generate("other").unwrap();
    let right = std::mem::replace(
        &mut table.scene.recovery_identity,
        other.recovery_identity.expose().to_owned(),
    );
    let ended = download(&table, &id);
    table.refused("another recovery identity", &ended, "the recovery identity does not open chain … of backup …: recovery.age is not sealed to this identity; use the identity of one of its recipients");
    table.scene.recovery_identity = right;
    table.scene.source["trusted_workers"] = json!([other.worker_public]);
    let (ended, _) = table.scene.get(&id, &json!({}));
    table.refused("another signer", &ended, "backup … is refused: none of trusted_workers signed it; it was forged or changed, or the public key of the worker that took it is missing there");
    table.clean("readers");
    table.end(8);
}

#[test]
fn objects_that_are_damaged() {
    let (mut table, id) = table_with_backup();
    let damage = |path: &Path, how: &str| {
        let bytes = fs::read(path).unwrap();
        match how {
            "truncated" => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
            "empty" => fs::write(path, "").unwrap(),
            "removed" => fs::remove_file(path).unwrap(),
            _ => fs::write(path, [&bytes[..], b"x"].concat()).unwrap(),
        }
        bytes
    };
    for (kind, bad, gone) in [
        (
            "data",
            "g-0-j.tar of deployment/dep: prod-east/chains/… cannot be read from any store (nas: was damaged or replaced: it has another digest than its name states); choose another version, or copy the object back from where it is whole",
            "g-0-j.tar of deployment/dep: prod-east/chains/… cannot be read from any store (nas: is not there); choose another version, or copy the object back from where it is whole",
        ),
        (
            "index",
            "g-0-j.tar of deployment/dep: prod-east/chains/… cannot be read from any store (nas: was damaged or replaced: it has another digest than its name states); choose another version, or copy the object back from where it is whole",
            "g-0-j.tar of deployment/dep: prod-east/chains/… cannot be read from any store (nas: is not there); choose another version, or copy the object back from where it is whole",
        ),
    ] {
        for how in ["truncated", "empty", "longer", "removed"] {
            let sentence = if how == "removed" { gone } else { bad };
            let saved: Vec<_> = objects(&table, kind)
                .into_iter()
                .map(|path| (damage(&path, how), path))
                .collect();
            assert!(!saved.is_empty());
            let ended = download(&table, &id);
            table.refused(&format!("{kind} {how}"), &ended, sentence);
            for (bytes, path) in saved {
                fs::write(path, bytes).unwrap();
            }
        }
    }
    download(&table, &id).ok();
    let manifest = backups(&table).join(format!("{id}.json"));
    let whole = fs::read_to_string(&manifest).unwrap();
    for (what, text, sentence) in [
        (
            "garbage",
            "garbage".to_owned(),
            "backup … cannot be used, choose another version: prod-east/backups/….json has no complete first line",
        ),
        (
            "empty",
            String::new(),
            "backup … cannot be used, choose another version: prod-east/backups/….json has no complete first line",
        ),
        (
            "cut off",
            whole[..whole.len() / 3].to_owned(),
            "backup … cannot be used, choose another version: prod-east/backups/….json has no complete first line",
        ),
        (
            "unsigned",
            whole.lines().next().unwrap().to_owned() + "\n",
            "backup … is refused: it is not signed; whoever can write the bucket may have made it. Unset trusted_workers to read it all the same",
        ),
        (
            "changed",
            whole.replacen("prod-east", "prod-easy", 1),
            "backup … is refused: none of trusted_workers signed it; it was forged or changed, or the public key of the worker that took it is missing there",
        ),
    ] {
        fs::write(&manifest, text).unwrap();
        let (ended, _) = table.scene.get(&id, &json!({}));
        table.refused(&format!("a manifest that is {what}"), &ended, sentence);
        // Listed all the same, and no obstacle for the next backup.
        assert_eq!(table.scene.check(), std::slice::from_ref(&id));
    }
    let mut newer: Value = serde_json::from_str(whole.lines().next().unwrap()).unwrap();
    newer["format"] = json!(7);
    fs::write(&manifest, format!("{newer}\n")).unwrap();
    let trusted = table
        .scene
        .source
        .as_object_mut()
        .unwrap()
        .remove("trusted_workers")
        .unwrap();
    let (ended, _) = table.scene.get(&id, &json!({}));
    table.refused(
        "a manifest of a newer format",
        &ended,
        "prod-east/backups/….json has format 7 and this release reads format 1; use … or a later release",
    );
    table.scene.source["trusted_workers"] = trusted;
    let next = table
        .scene
        .put(&json!({"backup": ["deployment/dep"]}))
        .ok()
        .id();
    assert_eq!(table.scene.check(), [id, next]);
    table.end(14);
}

#[test]
fn stores_that_cannot_be_read() {
    let spec = json!({"fixture": "S1", "stores": ["s3", {"name": "tls", "tls": true}]});
    let mut table = Table::new(&spec);
    let check = |table: &Table, store: Value| {
        let mut source = table.scene.source.clone();
        source["stores"] = json!([store]);
        resource("check", None, None, &json!({"source": source}))
    };
    let mut bucket = table.scene.s3("s3");
    bucket["bucket"] = json!("no-such-bucket");
    let mut secret = table.scene.s3("s3");
    secret["secret_access_key"] = json!("wrong-secret-0815");
    let mut ca = table.scene.s3("tls");
    ca["ca_cert"] = json!(crate::support::request::fixture!("ca.pem"));
    for (what, store, sentence) in [
        (
            "no such bucket",
            bucket,
            "prod-east/backups/ cannot be listed in any store (s3: bucket no-such-bucket does not exist on …; create it, or correct bucket, endpoint and region)",
        ),
        (
            "a wrong secret",
            secret,
            "prod-east/backups/ cannot be listed in any store (s3: … refuses the signature; check secret_access_key and region, and this worker's clock)",
        ),
        (
            "another CA",
            ca,
            "prod-east/backups/ cannot be listed in any store (tls: the certificate of … is not signed by ca_cert; give the CA that signed it)",
        ),
        (
            "no directory",
            json!({"name": "mnt", "path": "/no/such/directory"}),
            "prod-east/backups/ cannot be listed in any store (mnt: /no/such/directory does not exist; is it mounted? (it is never created))",
        ),
    ] {
        let ended = check(&table, store);
        table.refused(what, &ended, sentence);
    }
    table.end(4);
}
