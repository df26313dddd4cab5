//! What is restored must be whole, and must fit (§6.7).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Case, says};
use crate::support::process::Ended;

const NOTHING: &str = "nothing was locked and nothing was uploaded";

fn r1() -> Case {
    Case::new(&json!({"fixture": "R1"}))
}

/// A copy of the fixture's artifact directory, changed by a shell script.
fn changed(case: &Case, script: &str) -> PathBuf {
    let into = tempfile::tempdir_in(case.scratch.path()).unwrap().keep();
    let art = case.foundation.ready["artifact"].as_str().unwrap();
    for entry in std::fs::read_dir(art).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), into.join(entry.file_name())).unwrap();
    }
    let done = Command::new("bash")
        .args(["-euc", script])
        .current_dir(&into)
        .status()
        .unwrap();
    assert!(done.success(), "{script}");
    into
}

fn from(case: &Case, directory: &Path) -> Ended {
    case.scene
        .restore("deployment/dep", &["--from", directory.to_str().unwrap()])
}

/// Refused before anything was asked of the Director.
#[track_caller]
fn refused(case: &Case, script: &str, said: &[&str]) {
    case.clear_requests();
    let ended = from(case, &changed(case, script)).fails(1);
    says(&ended.last_line(), said);
    assert_eq!(case.requests("", "").len(), 0, "{script}");
}

// rows 135, 136, 137, 139, 140
#[test]
fn an_artifact_directory_that_is_not_whole_asks_nothing() {
    let case = r1();
    let ended = from(&case, Path::new("/nowhere")).fails(1);
    says(&ended.last_line(), &["from: /nowhere is not a directory"]);
    let corrupted = "g-0-j.tar is corrupted";
    for (script, said) in [
        ("rm metadata", &["metadata cannot be read"][..]),
        ("echo '- {' > metadata", &["cannot be validated"]),
        ("echo 'instances: 5' > metadata", &["cannot be validated"]),
        (
            "sed -i \"s/[0-9a-f]\\{64\\}/$(printf x | sha256sum | cut -c1-64)/\" metadata",
            &[corrupted, "./f differs"],
        ),
        (
            "printf G > g; mkdir t; tar -C t -xf g-0-j.tar; cp g t/g; tar -C t -cf g-0-j.tar .; rm -r t g",
            &[corrupted, "./g should not be there"],
        ),
        (
            "mkdir t; tar -C t -cf g-0-j.tar .; rm -r t",
            &[corrupted, "1 files are missing"],
        ),
        (
            "rm g-0-j.tar",
            &["g-0-j.tar is recorded in metadata, but is not there"],
        ),
        (
            "echo no tar at all > g-0-j.tar",
            &["g-0-j.tar cannot be validated"],
        ),
        (
            "head -c 700 g-0-j.tar > x; mv x g-0-j.tar",
            &["g-0-j.tar cannot be validated"],
        ),
    ] {
        refused(&case, script, said);
    }
    case.foundation.assert_clean();
    from(&case, &changed(&case, "true")).ok();
}

const SUM: &str = "f67ab10ad4e4c53121b6a5fe4da9c10ddee905b978d3788d2723d7bfacbe28a9";

// rows 29, 138, 141
#[test]
fn shared_artifacts_are_compared_too() {
    let custom = |sums: &str| {
        format!(
            "printf 'custom_artifacts:\\n- name: mysql-restore-r-backup-one-restore-all\\n  checksums: {sums}\\n' >> metadata"
        )
    };
    let case = r1();
    refused(
        &case,
        &custom(&format!("{{./f: {SUM}}}")),
        &["mysql-restore-r-backup-one-restore-all.tar is recorded in metadata, but is not there"],
    );
    let with_tar = format!(
        "{}; cp g-0-j.tar mysql-restore-r-backup-one-restore-all.tar",
        custom(&format!("{{./f: {}}}", "0".repeat(64)))
    );
    refused(&case, &with_tar, &["is corrupted", "./f differs"]);
    // Nothing recorded and no tar is as good; and those jobs are ignored by name.
    case.foundation.ask(
        json!({"do": "set-job", "instance": "g/u0", "job": "mysql-restore",
        "value": {"release": "r", "scripts": {"metadata": {"yaml": {}}, "restore": "true"}}}),
    );
    from(&case, &changed(&case, &custom("{}"))).ok();
    assert_eq!(case.started(), ["g/u0 j restore"]);
    case.foundation.assert_clean();
}

// rows 134
#[test]
fn an_artifact_directory_in_the_way_is_named_and_left() {
    let case = r1();
    case.shell("g/u0", "mkdir /var/vcap/store/bbr-backup");
    let ended = case.restore_art().fails(1);
    says(
        &ended.last_line(),
        &["/var/vcap/store/bbr-backup exists on g/u0", NOTHING],
    );
    assert!(case.has_artifacts("g/u0"));
    assert_eq!(case.started(), [""; 0]);
}

// rows 142, 145
#[test]
fn what_does_not_fit_the_deployment_is_not_uploaded() {
    let case = r1();
    let more = "sed -i '1a - {name: g, index: \"7\"}' metadata";
    let ended = from(&case, &changed(&case, more)).fails(1);
    says(
        &ended.last_line(),
        &["dep has no instance g with index 7", NOTHING],
    );
    case.foundation
        .ask(json!({"do": "set-job", "instance": "g/u0", "job": "k",
        "value": {"release": "r", "scripts": {"restore": "true"}}}));
    let ended = case.restore_art().fails(1);
    says(
        &ended.last_line(),
        &[
            "job k on g/u0 restores from g-0-k.tar, which is not in the backup",
            NOTHING,
        ],
    );
    assert_eq!(case.started(), [""; 0]);
    let sent = case
        .foundation
        .ask(json!({"do": "commands", "instance": "g/u0", "match": "--extract|mkdir -m|mkdir .*artifacts"}))["commands"]
        .clone();
    assert_eq!(sent, json!([]), "nothing was made");
    case.foundation.assert_clean();
}

/// Two instances, of which the artifact knows the first.
fn extra(jobs_of_second: Value) -> Case {
    Case::new(
        &json!({"fixture": "R1", "deployments": [{"name": "dep", "groups": [
        {"name": "g", "instances": [{"id": "u0"}, {"id": "u1", "jobs": jobs_of_second}],
         "jobs": {"j": {"release": "r", "scripts": {"restore": {"restore_to": "/var/vcap/store/j"}}}}}]}]}),
    )
}

// rows 143, 144
#[test]
fn an_extra_instance_matters_when_it_restores() {
    let case = extra(json!({}));
    let ended = case.restore_art().fails(1);
    says(
        &ended.last_line(),
        &[
            "job j on g/u1 restores from g-1-j.tar, which is not in the backup",
            NOTHING,
        ],
    );
    assert_eq!(case.started(), [""; 0]);
    case.foundation.assert_clean();

    let case = extra(json!({"j": null}));
    case.restore_art().ok();
    assert_eq!(case.started(), ["g/u0 j restore"]);
    case.foundation.assert_clean();
}

// rows 146
#[test]
fn a_tar_of_which_nothing_is_recorded_is_refused_unless_it_is_empty() {
    let case = r1();
    case.foundation
        .ask(json!({"do": "set-job", "instance": "g/u0", "job": "k",
        "value": {"release": "r", "scripts": {"restore": "true"}}}));
    let ended = from(&case, &changed(&case, "cp g-0-j.tar g-0-k.tar")).fails(1);
    says(
        &ended.last_line(),
        &[
            "g-0-k.tar, from which job k on g/u0 restores, has no checksums in metadata",
            NOTHING,
        ],
    );
    let empty = "mkdir t; tar -C t -cf g-0-k.tar .; rmdir t";
    from(&case, &changed(&case, empty)).ok();
    assert_eq!(case.started(), ["g/u0 j restore", "g/u0 k restore"]);
    case.foundation.assert_clean();
}

// rows 151
#[test]
fn what_bbr_tolerates_in_metadata_is_tolerated() {
    let case = r1();
    let loose = "sed -i -e \"s/index: .*/index: 0/\" -e '/backup_activity/,$d' metadata; \
                 echo 'colour: [blue]' >> metadata; echo x > notes.txt; echo x > manifest.yml";
    let directory = changed(&case, loose);
    from(&case, &directory).ok();
    assert_eq!(case.started(), ["g/u0 j restore"]);
    case.foundation.assert_clean();
}

// rows 119
#[test]
fn a_shared_artifact_goes_to_every_instance_there_is() {
    let shared = json!({"bbr": {"backup_one_restore_all": true}});
    let group = |count: u32| {
        json!({"deployments": [{"name": "dep", "groups": [{"name": "g", "instances": count,
            "jobs": {"j": {"release": "r", "properties": shared, "scripts": {
                "backup": "[ \"$(cat /var/lib/foundation/bootstrap)\" = false ] || echo keys > \"$BBR_ARTIFACT_DIRECTORY\"f",
                "restore": {"restore_to": "/var/vcap/store/j"}}}}}]}]})
    };
    let two = Case::new(&group(2));
    two.backup().ok();
    let got = two.fetched();
    let three = Case::new(&group(3));
    from(&three, &got).ok();
    for instance in ["g/g-0", "g/g-1", "g/g-2"] {
        let file = three
            .foundation
            .ask(json!({"do": "read-file", "instance": instance, "path": "/var/vcap/store/j/f"}));
        assert_eq!(file["text"], "keys\n", "{instance}");
        let told = three.environment(&format!("{instance} j restore"));
        assert_eq!(
            told["BBR_ARTIFACT_DIRECTORY"],
            "/var/vcap/store/bbr-backup/j-r-backup-one-restore-all/"
        );
    }
    three.foundation.assert_clean();
}
