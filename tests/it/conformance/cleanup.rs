//! Cleanup after a run that could not do it itself (§6.8, §5 row 12).

use serde_json::{Value, json};

use super::{Case, assert_before, never_says, says, signal};
use crate::support::process;

const LEAVE: &str =
    "mkdir -p /var/vcap/store/bbr-backup/j && echo 1 > /var/vcap/store/bbr-backup/j/f";

// rows 154, 155, 158
#[test]
fn what_bbr_left_is_unlocked_and_removed() {
    let case = Case::s1();
    case.of_j("post-backup-unlock", json!("true"));
    // Nothing is left: nothing is touched, unless forced.
    let log = case.cleanup().ok().log();
    says(&log, &["nothing"]);
    assert_eq!(case.started(), [""; 0]);
    case.foundation.assert_clean();
    case.forced_cleanup().ok();
    assert_eq!(case.started(), ["g/u0 j post-backup-unlock"]);
    case.foundation.assert_clean();

    case.forget();
    case.shell("g/u0", LEAVE);
    let log = case.cleanup().ok().log();
    says(&log, &["g/u0"]);
    assert_eq!(case.told_unlock("g/u0 j post-backup-unlock"), "false");
    case.foundation.assert_clean();

    // An instance with nothing to back up is cleaned as well.
    case.of_j("backup", Value::Null);
    case.shell("g/u0", LEAVE);
    case.cleanup().ok();
    case.foundation.assert_clean();
}

// rows 156, 157, 159
#[test]
fn a_failure_of_cleanup_stops_nothing_else() {
    let case = Case::s2();
    for (instance, job) in [("g1/u1", "j1"), ("g2/u2", "j2")] {
        case.script(instance, job, "post-backup-unlock", json!("true"));
        case.shell(instance, LEAVE);
    }
    case.script(
        "g1/u1",
        "j1",
        "post-backup-unlock",
        json!({"stderr": "stuck", "exit": 1}),
    );
    let ended = case.lifeboat("cleanup").fails(4);
    says(
        &ended.last_line(),
        &[
            "stuck",
            "may still be locked on g1/u1",
            "lifeboat cleanup deployment/dep",
        ],
    );
    assert!(!case.has_artifacts("g1/u1") && !case.has_artifacts("g2/u2"));

    case.script("g1/u1", "j1", "post-backup-unlock", json!("true"));
    for instance in ["g1/u1", "g2/u2"] {
        case.shell(instance, LEAVE);
    }
    case.command_fault(
        "g1/u1",
        "rm -rf",
        "status",
        json!({"status": 1, "stderr": "rm: no"}),
    );
    let ended = case.cleanup().fails(1);
    says(&ended.last_line(), &["g1/u1", "rm: no"]);
    assert!(case.has_artifacts("g1/u1") && !case.has_artifacts("g2/u2"));
    case.clear_command_faults("g1/u1");
    case.refuse_ssh_cleanup(2);
    let ended = case.cleanup().fails(1);
    says(&ended.last_line(), &["SSH user", "no users today"]);
    case.clear_director_faults();
    case.cleanup().ok();
    case.foundation.assert_clean();
}

// rows 112, 160
#[test]
fn cleanup_unlocks_in_reverse_and_removes_whatever_the_order_says() {
    let before = |job: &str| json!({"yaml": {"backup_should_be_locked_before": [{"job_name": job, "release": "r"}]}});
    let case = Case::s2();
    for (instance, job) in [("g1/u1", "j1"), ("g2/u2", "j2")] {
        case.script(instance, job, "post-backup-unlock", json!({"sleep": 0.1}));
        case.shell(instance, LEAVE);
    }
    case.script("g1/u1", "j1", "metadata", before("j2"));
    case.cleanup().ok();
    assert_before(
        &case.lines(),
        "j2 post-backup-unlock",
        "j1 post-backup-unlock",
    );
    case.foundation.assert_clean();

    case.forget();
    case.script("g2/u2", "j2", "metadata", before("j1"));
    for instance in ["g1/u1", "g2/u2"] {
        case.shell(instance, LEAVE);
    }
    // bbr ends with 8 here; ours says that a human is needed, and where.
    let ended = case.lifeboat("cleanup").fails(4);
    says(
        &ended.last_line(),
        &[
            "to be locked before each other",
            "may still be locked on g1/u1, g2/u2",
            "cleaned g1/u1, g2/u2",
        ],
    );
    assert_eq!(case.started(), [""; 0]);
    assert!(!case.has_artifacts("g1/u1") && !case.has_artifacts("g2/u2"));
}

// rows 162, 196
#[test]
fn cleanup_mends_what_a_killed_run_left() {
    let case = Case::groups(json!([
        {"name": "a", "instances": 2, "jobs": {"n": {"release": "r"}}},
        {"name": "g", "instances": [{"id": "u0"}], "jobs": {"j": {"release": "r", "scripts": {
            "pre-backup-lock": "true", "backup": {"sleep": 60}, "post-backup-unlock": "true"}}}},
    ]));
    let mut killed = case.start_backup();
    case.wait_for("backup", "start");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let leaks = case.foundation.leaks();
    // bbr forgets its user on hosts behind the first without scripts; ours is on all of them.
    for host in ["dep/a/a-0", "dep/a/a-1", "dep/g/u0"] {
        assert_eq!(leaks[host]["users"].as_array().unwrap().len(), 1, "{leaks}");
    }
    says(
        &case.backup_fails(),
        &["bbr-backup exists on g/u0", "left or in use by run"],
    );
    case.forget();
    let ended = case.cleanup().ok();
    says(&ended.log(), &["g/u0"]);
    assert_eq!(case.started(), ["g/u0 j post-backup-unlock"]);
    case.assert_nothing_happened();
    let again = case.cleanup().ok();
    never_says(&again.log(), &["unlock scripts ran"]);
    case.script("g/u0", "j", "backup", json!({"files": {"f": "F"}}));
    case.backup().ok();
    case.foundation.assert_clean();

    // A signal: the run cleans up itself.
    case.script("g/u0", "j", "backup", json!({"sleep": 60}));
    case.forget();
    let child = case.start_backup();
    while !case.started().contains(&"g/u0 j backup".to_owned()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    signal(&child, "INT");
    let ended = process::finish(child).fails(1);
    says(&ended.last_line(), &["every instance is unlocked"]);
    case.foundation.assert_clean();
}
