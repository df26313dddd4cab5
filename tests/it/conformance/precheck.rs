//! The pre-backup check (§6.3).

use serde_json::json;

use super::{Case, never_says, says};

// rows 57, 59
#[test]
fn a_check_runs_nothing_but_metadata() {
    let case = Case::s1();
    for script in ["pre-backup-lock", "post-backup-unlock"] {
        case.of_j(script, json!("true"));
    }
    case.of_j("metadata", json!({"stdout": "{}"}));
    let ended = case.precheck().ok();
    says(&ended.stdout, &["deployment/dep can be backed up"]);
    assert_eq!(case.started(), [""; 0]);
    case.assert_nothing_happened();

    let before = |job: &str| {
        json!({"release": "r", "scripts": {"backup": "true", "metadata": {"yaml": {
            "backup_should_be_locked_before": [{"job_name": job, "release": "r"}]}}}})
    };
    let circle = Case::groups(json!([{"name": "g", "jobs": {"j": before("k"), "k": before("j")}}]));
    says(
        &circle.precheck_finds(),
        &["to be locked before each other", "j", "k"],
    );
    assert_eq!(circle.started(), [""; 0]);
    circle.assert_nothing_happened();
}

// rows 58
#[test]
fn a_check_finds_an_artifact_directory_and_leaves_it() {
    let case = Case::s1();
    case.shell("g/u0", "mkdir /var/vcap/store/bbr-backup");
    says(
        &case.precheck_finds(),
        &[
            "deployment/dep cannot be backed up",
            "/var/vcap/store/bbr-backup exists on g/u0",
            "run the cleanup",
        ],
    );
    assert!(case.has_artifacts("g/u0"));
    assert_eq!(
        case.foundation.leaks()["dep/g/u0"]["users"]
            .as_array()
            .map_or(0, Vec::len),
        0
    );
}

// rows 60
#[test]
fn a_check_of_nothing_to_back_up_says_so() {
    let case = Case::s1();
    case.of_j("backup", json!(null));
    let found = case.precheck_finds();
    says(
        &found,
        &[
            "dep cannot be backed up",
            "no instance has a job with a backup script",
        ],
    );
    never_says(&found, &["src/", "backtrace"]);
    case.assert_nothing_happened();
}

// rows 61
#[test]
fn a_check_says_which_ssh_user_may_remain() {
    let case = Case::s1();
    case.refuse_ssh_cleanup(1);
    let found = case.precheck_finds();
    says(&found, &["SSH user bosh_", "may remain", "no users today"]);
    case.clear_director_faults();
    case.shell("g/u0", "mkdir /var/vcap/store/bbr-backup");
    case.refuse_ssh_cleanup(1);
    let found = case.precheck_finds();
    says(&found, &["bbr-backup exists on g/u0", "SSH user bosh_"]);
    case.clear_director_faults();
    case.cleanup().ok();
    case.assert_nothing_happened();
}
