//! What a verification stores, who believes it, and where it is shown.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::replicate::noise;
use crate::support::depot::Depot;
use crate::support::process::{Ended, cli, resource};
use crate::support::scene::files;

const DUMP: &[u8] = include_bytes!("../../fixtures/dumps/postgres-15-custom.dump");

/// One backup of some files, small and large.
fn backed_up() -> (Depot, String) {
    let depot = Depot::new();
    let (big, other) = (noise(1, 9 << 20), noise(2, 3 << 20));
    let files: [(&str, &[u8]); 5] = [
        ("big", &big),
        ("other", &other),
        ("uaa.artifact", DUMP),
        ("small", b"x"),
        ("empty", b""),
    ];
    let id = depot.put("tas", &files).ok().id();
    (depot, id)
}

/// The command as the pipeline that verifies runs it.
fn verify(depot: &Depot, arguments: &[&str]) -> Ended {
    let mut document = depot.source.clone();
    document["worker_identity"] = depot.worker_identity.as_str().into();
    document["recovery_identity"] = depot.recovery_identity.as_str().into();
    let arguments: Vec<&str> = ["verify"].iter().chain(arguments).copied().collect();
    cli(&arguments, &[("LIFEBOAT_CONFIG", &document.to_string())])
}

/// Proofs in a store, by their names.
fn proofs(depot: &Depot, store: &str) -> Vec<PathBuf> {
    let all = files(&depot.path(store)).into_keys();
    all.filter(|path| path.starts_with("prod-east/reports"))
        .collect()
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

fn spoil_a_chunk(depot: &Depot) {
    let chunk = depot.objects("data").into_iter().next().unwrap();
    depot.in_both(|store| {
        let mut bytes = fs::read(store.join(&chunk)).unwrap();
        bytes[100] ^= 1;
        fs::write(store.join(&chunk), bytes).unwrap();
    });
}

#[test]
fn a_result_is_stored_in_every_store_and_shown_everywhere() {
    let (depot, id) = backed_up();
    verify(&depot, &["--level", "scrub"]).ok();
    let said = verify(&depot, &["--level", "contents", "latest"])
        .ok()
        .stdout;
    assert!(said.contains("the result is stored in one, two"), "{said}");
    let stored = proofs(&depot, "one");
    assert_eq!(stored.len(), 2, "{stored:?}");
    assert_eq!(stored, proofs(&depot, "two"));
    let contents = stored
        .iter()
        .find(|path| path.to_str().unwrap().contains("-contents-passed-"));
    let proof = read(&depot.path("one").join(contents.unwrap()));
    assert_eq!(
        (&proof["backup"], &proof["level"]),
        (&json!(id), &json!("contents"))
    );
    assert_eq!(proof["checked"]["files"], 5);
    assert_eq!(proof["checked"]["bytes"], (12 << 20) + DUMP.len() + 1);
    assert_eq!(proof["scope"], json!({}));

    let listed = depot.cli(&["list"]).ok().stdout;
    assert!(listed.contains("contents passed 20"), "{listed}");
    let shown = depot.cli(&["show", &id]).ok().stdout;
    for words in [
        "proof scrub",
        "proof contents",
        "passed at 20",
        "signed by SHA256:",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let shown = depot.cli(&["show", &id, "--json"]).ok().json();
    let levels: Vec<&Value> = shown["proofs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["level"])
        .collect();
    assert_eq!(levels, ["scrub", "contents"]);
    assert_eq!(shown["proofs"][1]["origin"]["verified"], true);

    let into = tempfile::tempdir().unwrap();
    let request = json!({"source": depot.source, "version": {"id": id}});
    let got = resource("in", Some(into.path()), None, &request).ok();
    assert!(got.stdout.contains(r#""proof_contents""#), "{}", got.stdout);
    let backup: Value =
        serde_json::from_slice(&fs::read(into.path().join("backup.json")).unwrap()).unwrap();
    assert_eq!(backup["proofs"], shown["proofs"]);
    // Who knows no signer is told so.
    let mut source = depot.source.clone();
    source.as_object_mut().unwrap().remove("trusted_workers");
    let shown = cli(&["show", &id], &[("LIFEBOAT_CONFIG", &source.to_string())])
        .ok()
        .stdout;
    assert!(shown.contains("origin not verified"), "{shown}");
}

#[test]
fn a_result_that_cannot_be_stored_is_said_once_and_found_all_the_same() {
    let (depot, _) = backed_up();
    let quiet = verify(&depot, &["--level", "contents", "--no-report"]).ok();
    assert!(!quiet.stderr.contains("stored"), "{}", quiet.stderr);
    // Nobody would believe it.
    let unsigned = depot.cli(&["verify"]).ok();
    assert_eq!(
        unsigned.stderr.matches("the result is not stored").count(),
        1,
        "{}",
        unsigned.stderr
    );
    assert!(proofs(&depot, "one").is_empty());
    // A file where the folder should be: writing is refused, whoever asks.
    let reports = |store: &str| depot.path(store).join("prod-east/reports");
    fs::write(reports("one"), b"").unwrap();
    let some = verify(&depot, &["--level", "contents"]).ok();
    assert!(
        some.stderr.contains("the result is stored in two alone"),
        "{}",
        some.stderr
    );
    fs::remove_dir_all(reports("two")).unwrap();
    fs::write(reports("two"), b"").unwrap();
    let none = verify(&depot, &["--level", "contents"]).ok();
    assert_eq!(
        none.stderr.matches("the result is stored nowhere").count(),
        1,
        "{}",
        none.stderr
    );
    assert!(
        none.stderr.contains("prod-east/reports/"),
        "{}",
        none.stderr
    );
    spoil_a_chunk(&depot);
    verify(&depot, &["--level", "contents"]).fails(3);
}

#[test]
fn parts_read_every_file_once_and_a_part_that_failed_stays_so() {
    let (depot, id) = backed_up();
    let (mut read, mut bytes, mut failed) = (0, 0, None);
    for part in 1..=4 {
        let part = format!("{part}/4");
        let done = verify(&depot, &["--level", "contents", "--part", &part, "--json"])
            .ok()
            .json();
        read += done["checked"]["files"].as_u64().unwrap();
        bytes += done["checked"]["bytes"].as_u64().unwrap();
        assert_eq!(done["scope"]["part"], part.as_str());
    }
    assert_eq!(read, 5);
    assert_eq!(bytes, ((12 << 20) + DUMP.len() + 1) as u64);
    // One chunk is in one part.
    spoil_a_chunk(&depot);
    for part in 1..=4 {
        let part = format!("{part}/4");
        let ended = verify(&depot, &["--level", "contents", "--part", &part]);
        if ended.code == 3 {
            assert_eq!(failed, None);
            failed = Some(part);
        }
    }
    let failed = failed.expect("a part that failed");
    let shown = depot.cli(&["show", &id]).ok().stdout;
    assert!(shown.contains("failed at 20"), "{shown}");
    assert!(shown.contains(&format!("(part {failed})")), "{shown}");
    let listed = depot.cli(&["list"]).ok().stdout;
    assert!(listed.contains("contents FAILED"), "{listed}");
    let today = verify(
        &depot,
        &["--level", "contents", "--part", "today/1", "--json"],
    )
    .fails(3)
    .json();
    assert_eq!(today["scope"], json!({}));
    let sample = verify(&depot, &["--level", "contents", "--percent", "1", "--json"]);
    assert!(sample.json()["checked"]["files"].as_u64().unwrap() < 5);
}

/// Names of files are sealed in a backup: whoever reads the bucket must not learn them from what is wrong.
#[test]
fn a_stored_result_names_no_file() {
    let depot = Depot::new();
    let name = "tenant-of-a-customer.sql";
    let cut = b"-- MySQL dump 10.13\nCREATE TABLE `x` (`id` int);\n";
    let folder = depot.path("bbr");
    fs::create_dir(&folder).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [(name, &cut[..]), ("customers.dump", DUMP)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        let path = format!("./{name}");
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    fs::write(folder.join("db-0-bbr.tar"), tar.into_inner().unwrap()).unwrap();
    let metadata =
        "instances:\n- name: db\n  index: \"0\"\n  artifacts:\n  - name: bbr\n    checksums:\n";
    let metadata = format!("{metadata}      ./customers.dump: {}\n", "00".repeat(32));
    fs::write(folder.join("metadata"), metadata).unwrap();
    depot.put_directory("tas", "bbr").ok();
    let ended = verify(&depot, &["--level", "restorable"]).fails(3);
    assert!(
        ended.stdout.contains(&format!("`./{name}` is cut short")),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("is corrupted"), "{}", ended.stdout);
    let stored = depot.path("two").join(&proofs(&depot, "two")[0]);
    let text = fs::read_to_string(stored).unwrap();
    assert!(text.contains("a file of it is cut short"), "{text}");
    assert!(text.contains("is corrupted"), "{text}");
    for secret in ["tenant-of", "customers"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_forged_result_is_passed_over_and_said() {
    let (depot, id) = backed_up();
    spoil_a_chunk(&depot);
    verify(&depot, &["--level", "contents"]).fails(3);
    let failed = proofs(&depot, "one").remove(0);
    let text = fs::read_to_string(depot.path("one").join(&failed)).unwrap();
    let forged = failed.to_str().unwrap().replace("-failed-", "-passed-");
    let later = forged.replacen(&format!("{id}/20"), &format!("{id}/21"), 1);
    for (name, text) in [
        (forged.clone(), text.replacen("failed", "passed", 1)),
        (later, text.clone()),
    ] {
        for store in ["one", "two"] {
            depot.write(&format!("{store}/{name}"), text.as_bytes());
        }
        let shown = depot.cli(&["show", &id]).ok().stdout;
        assert!(shown.contains("failed at 20"), "{shown}");
        assert!(!shown.contains("passed at"), "{shown}");
    }
    let shown = depot.cli(&["show", &id]).ok().stdout;
    assert!(shown.contains("proof refused"), "{shown}");
    assert!(shown.contains("renamed or moved"), "{shown}");
    let listed = depot.cli(&["list"]).ok().stdout;
    assert!(listed.contains("contents FAILED"), "{listed}");
}

#[test]
fn a_get_that_verifies_fails_when_something_is_wrong() {
    let (depot, id) = backed_up();
    let get = |params: Value| {
        let into = tempfile::tempdir_in(depot.scratch.path()).unwrap().keep();
        let mut source = depot.source.clone();
        source["worker_identity"] = depot.worker_identity.as_str().into();
        let mut params = params;
        params["recovery_identity"] = depot.recovery_identity.as_str().into();
        let request = json!({"source": source, "version": {"id": id}, "params": params});
        (resource("in", Some(&into), None, &request), into)
    };
    let (ended, into) = get(json!({"verify": "restorable"}));
    let ended = ended.ok();
    assert!(
        ended
            .stderr
            .contains("a pg_dump archive with data of 4 entries"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stdout.contains(r#""proof_restorable""#),
        "{}",
        ended.stdout
    );
    assert_eq!(files(&into).len(), 1, "nothing is downloaded");
    let (ended, into) = get(json!({"verify": "listed", "download": true}));
    ended.ok();
    assert_eq!(fs::read(into.join("tas/small")).unwrap(), b"x");
    spoil_a_chunk(&depot);
    let (ended, into) = get(json!({"verify": "contents"}));
    let ended = ended.fails(1);
    assert!(
        ended
            .last_line()
            .contains("verification of level contents failed"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("has another digest than its name states"),
        "{}",
        ended.stderr
    );
    assert_eq!(files(&into).len(), 0);
    let failed = proofs(&depot, "one");
    assert!(
        failed
            .iter()
            .any(|path| path.to_str().unwrap().contains("contents-failed")),
        "{failed:?}"
    );
}

#[test]
fn what_a_level_cannot_do_is_refused_with_the_key() {
    let (depot, id) = backed_up();
    for (arguments, words) in [
        (
            &["--level", "listed", "--part", "1/2"][..],
            "verify_part: stands beside level listed",
        ),
        (
            &["--level", "restorable", "--part", "1/2"],
            "verify_part: stands beside level restorable",
        ),
        (
            &["--level", "scrub", "--percent", "5"],
            "verify_percent: is for level contents alone",
        ),
        (
            &["--level", "contents", "--percent", "0"],
            "verify_percent: must be from 1 to 100",
        ),
        (
            &["--level", "contents", "--part", "5/4"],
            "--part: `5/4` is no part",
        ),
        (
            &["--level", "contents", "yesterday"],
            "id: is not a backup's id",
        ),
        (&[id.as_str()], "id: stands beside level scrub"),
    ] {
        let ended = verify(&depot, arguments).fails(1);
        assert!(
            ended.last_line().contains(words),
            "{words}: {}",
            ended.last_line()
        );
    }
    let ended = depot.cli(&["verify", "--level", "contents"]).fails(1);
    assert!(
        ended.last_line().contains("recovery_identity"),
        "{}",
        ended.last_line()
    );
}
