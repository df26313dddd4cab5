//! Artifacts that one instance makes for all of its group (§6.6).

use serde_json::{Value, json};

use super::{Case, names, says, tar_file, tar_names};

const FIRST_ONLY: &str = "[ \"$(cat /var/lib/foundation/bootstrap)\" = true ] || exit 0\n\
                          echo keys > \"$BBR_ARTIFACT_DIRECTORY\"f";

fn group(name: &str, property: Value) -> Value {
    json!({"name": name, "instances": 2, "jobs": {"j": {
        "release": "r", "properties": {"bbr": {"backup_one_restore_all": property}},
        "scripts": {"backup": FIRST_ONLY},
    }}})
}

// rows 113, 114, 118
#[test]
fn the_bootstrap_instance_writes_for_all() {
    let case = Case::groups(json!([group("g", json!(true))]));
    case.backup().ok();
    assert_eq!(case.started().len(), 2);
    let directory = |instance: &str| {
        case.environment(&format!("g/{instance} j backup"))["BBR_ARTIFACT_DIRECTORY"].clone()
    };
    assert_eq!(
        directory("g-0"),
        "/var/vcap/store/bbr-backup/j-r-backup-one-restore-all/"
    );
    assert_eq!(directory("g-1"), "/var/vcap/store/bbr-backup/j/");
    let got = case.fetched();
    let shared = "j-r-backup-one-restore-all.tar";
    assert_eq!(names(&got), ["g-1-j.tar", shared, "metadata"]);
    assert_eq!(tar_names(&got.join("g-1-j.tar")), ["./"]);
    assert_eq!(tar_file(&got.join(shared), "./f"), "keys\n");
    let metadata = std::fs::read_to_string(got.join("metadata")).unwrap();
    let custom =
        "custom_artifacts:\n- name: \"j-r-backup-one-restore-all\"\n  checksums:\n    \"./f\": ";
    says(
        &metadata,
        &[
            "instances:\n- name: \"g\"\n  index: \"1\"\n  artifacts:\n  - name: \"j\"\n    checksums: {}\n",
            custom,
        ],
    );
    case.foundation.assert_clean();

    // bbr compares addresses and would miss the bootstrap instance here.
    case.foundation
        .ask(json!({"do": "set-vm", "instance": "g/g-0", "vm": {"ips": ["10.9.9.9"]}}));
    case.backup().ok();
    assert_eq!(names(&case.fetched()), ["g-1-j.tar", shared, "metadata"]);
    // With none at all the artifact would be missing: that is said before anything is locked.
    case.foundation
        .ask(json!({"do": "set-vm", "instance": "g/g-0", "vm": {"bootstrap": false}}));
    says(
        &case.precheck_finds(),
        &["no instance of group g is its bootstrap instance"],
    );
}

// rows 116
#[test]
fn an_old_manifest_has_the_property_at_the_group() {
    let mut group = group("g", json!(null));
    group["properties"] = json!({"bbr": {"backup_one_restore_all": true}});
    group["jobs"]["j"]["properties"] = json!({});
    let case = Case::new(&json!({"deployments": [
        {"name": "dep", "manifest_version": 1, "groups": [group]}
    ]}));
    case.backup().ok();
    assert_eq!(
        names(&case.fetched()),
        ["g-1-j.tar", "j-r-backup-one-restore-all.tar", "metadata"]
    );
}

// rows 117, 120, 121, 122
#[test]
fn only_a_true_property_makes_an_artifact_shared() {
    let mut absent = group("a", json!(null));
    absent["jobs"]["j"]["properties"] = json!({});
    let mut addon = group("c", json!(null));
    addon["jobs"]["j"]["addon"] = json!(true);
    let case = Case::groups(json!([absent, group("b", json!(false)), addon]));
    case.backup().ok();
    assert_eq!(
        names(&case.fetched()),
        [
            "a-0-j.tar",
            "a-1-j.tar",
            "b-0-j.tar",
            "b-1-j.tar",
            "c-0-j.tar",
            "c-1-j.tar",
            "metadata"
        ]
    );
    let manifest = |value: &str, second: &str| {
        let text = format!(
            "instance_groups:\n\
             - {{name: a, jobs: [{{name: j, release: r, properties: {{bbr: {{backup_one_restore_all: {value}}}}}}}]}}\n\
             - {{name: b, jobs: [{{name: j, release: r, properties: {{bbr: {{backup_one_restore_all: {second}}}}}}}]}}\n"
        );
        case.foundation
            .ask(json!({"do": "set-manifest", "deployment": "dep", "text": text}));
    };
    manifest("yes", "no");
    case.backup().ok();
    assert!(names(&case.fetched()).contains(&"j-r-backup-one-restore-all.tar".to_owned()));
    manifest("\"true\"", "no");
    case.forget();
    says(
        &case.precheck_finds(),
        &[
            "backup_one_restore_all of job j in group a",
            "without quotes",
        ],
    );
    manifest("true", "true");
    says(
        &case.backup_fails(),
        &["the instance groups a and b would all write the artifact j-r-backup-one-restore-all"],
    );
    assert_eq!(case.lines(), []);
    case.foundation.assert_clean();
}
