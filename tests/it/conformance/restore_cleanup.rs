//! Cleanup after a restore that could not do it itself (§6.8), and which cleanup mends what.

use serde_json::{Value, json};

use super::{Case, assert_before, says};
use crate::support::process;

const LEAVE: &str =
    "mkdir -p /var/vcap/store/bbr-backup/j && echo 1 > /var/vcap/store/bbr-backup/j/f";

// rows 161
#[test]
fn what_bbrs_restore_left_is_unlocked_and_removed() {
    let case = Case::s1();
    case.of_j("post-restore-unlock", json!("true"));
    case.of_j("post-backup-unlock", json!("true"));
    says(
        &case.restore_cleanup().ok().log(),
        &["nothing is left of a restore"],
    );
    assert_eq!(case.started(), [""; 0]);
    case.shell("g/u0", LEAVE);
    case.restore_cleanup().ok();
    assert_eq!(case.started(), ["g/u0 j post-restore-unlock"]);
    let told = case.environment("g/u0 j post-restore-unlock");
    assert!(told.is_empty(), "{told:?}");
    case.foundation.assert_clean();
}

// rows 159, 160
#[test]
fn restore_cleanup_goes_by_the_restore_list_and_cleans_whatever_fails() {
    let case = Case::s2();
    for (instance, job) in [("g1/u1", "j1"), ("g2/u2", "j2")] {
        case.script(instance, job, "post-restore-unlock", json!({"sleep": 0.1}));
        case.shell(instance, LEAVE);
    }
    let before = |job: &str| json!({"yaml": {"restore_should_be_locked_before": [{"job_name": job, "release": "r"}]}});
    case.script("g1/u1", "j1", "metadata", before("j2"));
    case.restore_cleanup().ok();
    assert_before(
        &case.lines(),
        "j2 post-restore-unlock",
        "j1 post-restore-unlock",
    );
    case.foundation.assert_clean();
    case.shell("g1/u1", LEAVE);
    case.shell("g2/u2", LEAVE);
    let refuse = json!({"status": 1, "stderr": "rm: no"});
    case.command_fault("g1/u1", "rm -rf", "status", refuse);
    let ended = case.restore_cleanup().fails(1);
    says(
        &ended.last_line(),
        &["g1/u1", "lifeboat restore-cleanup deployment/dep"],
    );
    assert!(case.has_artifacts("g1/u1") && !case.has_artifacts("g2/u2"));
    case.clear_command_faults("g1/u1");
    case.restore_cleanup().ok();
    case.foundation.assert_clean();
}

/// A program of ours killed while a script of S1's job runs.
fn kill_during(case: &Case, script: &str, command: std::process::Command) {
    let mut child = process::start(command, "");
    case.wait_for(script, "start");
    child.kill().unwrap();
    child.wait().unwrap();
    case.forget();
}

#[test]
fn each_cleanup_names_the_other_and_touches_nothing_of_it() {
    let case = Case::new(&json!({"fixture": "R1"}));
    for script in ["post-restore-unlock", "post-backup-unlock"] {
        case.of_j(script, json!("true"));
    }
    case.of_j("restore", json!({"sleep": 60}));
    kill_during(&case, "restore", case.restore_art_command());
    let leaks = case.foundation.leaks();

    let ended = case.lifeboat("cleanup").fails(1);
    says(
        &ended.last_line(),
        &[
            "g/u0 was left by a restore: run the restore-cleanup; nothing was touched",
            "To mend it: lifeboat restore-cleanup deployment/dep",
        ],
    );
    says(&ended.log(), &["g/u0: left behind by restore run "]);
    assert_eq!(case.started(), [""; 0]);
    assert_eq!(case.foundation.leaks(), leaks);
    // What stands in a backup's way is named with what mends it.
    case.of_j("backup", json!({"files": {"f": "F"}}));
    says(
        &case.backup_fails(),
        &["if no other restore is running, run the restore-cleanup of this component"],
    );
    says(
        &case.restore_art().fails(1).last_line(),
        &["if no other restore is running, run the restore-cleanup of this component"],
    );
    assert_eq!(case.foundation.leaks(), leaks);
    let ended = case.restore_cleanup().ok();
    says(
        &ended.stdout,
        &["ended restore--j--", "1 unlock scripts ran"],
    );
    assert_eq!(case.started(), ["g/u0 j post-restore-unlock"]);
    case.foundation.assert_clean();
    // A second run completes.
    case.of_j("restore", json!({"restore_to": "/var/vcap/store/j"}));
    case.restore_art().ok();
    case.foundation.assert_clean();

    case.of_j("backup", json!({"sleep": 60}));
    let request = case.put_request(&json!({"backup": ["deployment/dep"]}));
    let mut out = process::command("out", [case.scratch.path()]);
    out.stdin(std::process::Stdio::piped());
    let mut child = process::start(out, &request.to_string());
    case.wait_for("backup", "start");
    child.kill().unwrap();
    child.wait().unwrap();
    case.forget();
    let leaks = case.foundation.leaks();
    let ended = case.restore_cleanup().fails(1);
    says(
        &ended.last_line(),
        &[
            "g/u0 was left by a backup: run the cleanup; nothing was touched",
            "To mend it: lifeboat cleanup deployment/dep",
        ],
    );
    assert_eq!(case.started(), [""; 0]);
    assert_eq!(case.foundation.leaks(), leaks);
    case.cleanup().ok();
    assert_eq!(case.started(), ["g/u0 j post-backup-unlock"]);
    case.foundation.assert_clean();
    case.of_j("backup", Value::Null);
}
