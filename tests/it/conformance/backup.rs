//! A backup, its successes and every failure edge (§6.4).

use serde_json::{Value, json};

use super::{Case, Line, assert_before, names, says, tar_file, tar_names};

const BACKUP: &str = "echo data > \"$BBR_ARTIFACT_DIRECTORY\"f";

/// Of instances `u1` and `u2`.
fn both(case: &Case, script: &str, value: &Value) {
    case.script("g1/u1", "j1", script, value.clone());
    case.script("g2/u2", "j2", script, value.clone());
}

// rows 62, 69, 83, 88, 90
#[test]
fn a_backup_of_one_instance_is_bbrs_directory() {
    let case = Case::s1();
    case.of_j("pre-backup-lock", json!("true"));
    case.of_j("post-backup-unlock", json!("true"));
    case.foundation.ask(json!({
        "do": "set-job", "instance": "g/u0", "job": "empty",
        "value": {"release": "r", "scripts": {"backup": "true"}}
    }));
    case.backup().ok();
    case.foundation.assert_clean();
    assert_eq!(case.told_unlock("g/u0 j post-backup-unlock"), "true");
    let got = case.fetched();
    assert_eq!(names(&got), ["g-0-empty.tar", "g-0-j.tar", "metadata"]);
    assert_eq!(tar_names(&got.join("g-0-j.tar")), ["./", "./a", "./b"]);
    assert_eq!(tar_file(&got.join("g-0-j.tar"), "./a"), "A");
    assert_eq!(tar_names(&got.join("g-0-empty.tar")), ["./"]);
    let metadata = std::fs::read_to_string(got.join("metadata")).unwrap();
    let lines: Vec<_> = metadata.lines().collect();
    let a = "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd";
    let b = "df7e70e5021544f4834bbee64a9e3789febc4be81470df629cad6ddb03320a5c";
    assert_eq!(
        lines[..lines.len() - 2],
        [
            "instances:",
            "- name: \"g\"",
            "  index: \"0\"",
            "  artifacts:",
            "  - name: \"empty\"",
            "    checksums: {}",
            "  - name: \"j\"",
            "    checksums:",
            &format!("      \"./a\": \"{a}\""),
            &format!("      \"./b\": \"{b}\""),
            "backup_activity:",
        ]
    );
    for (line, key) in lines[lines.len() - 2..]
        .iter()
        .zip(["start_time", "finish_time"])
    {
        let time = line.strip_prefix(&format!("  {key}: ")).unwrap();
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000/00/00 00:00:00 UTC");
    }
    // Two backups within one second are two backups.
    case.backup().ok();
    assert_eq!(case.check().len(), 2);
}

// rows 63, 64, 65, 66, 68
#[test]
fn phases_are_barriers_across_instances() {
    let case = Case::s2();
    both(&case, "pre-backup-lock", &json!({"sleep": 0.2}));
    both(&case, "post-backup-unlock", &json!({"sleep": 0.1}));
    case.script("g2/u2", "j2", "backup", json!({"sleep": 0.3}));
    case.script(
        "g1/u1",
        "j1",
        "backup",
        json!({"body": "test -d \"$BBR_ARTIFACT_DIRECTORY\"; echo 1 > \"$BBR_ARTIFACT_DIRECTORY\"f"}),
    );
    case.foundation.ask(json!({
        "do": "set-job", "instance": "g1/u1", "job": "k",
        "value": {"release": "r", "scripts": {"backup": {"sleep": 0.1}}}
    }));
    case.backup().ok();
    let lines = case.lines();
    assert_before(&lines, "pre-backup-lock", "backup");
    assert_before(&lines, "backup", "post-backup-unlock");
    let environment = case.environment("g1/u1 j1 backup");
    let directory = "/var/vcap/store/bbr-backup/j1/";
    assert_eq!(environment["BBR_ARTIFACT_DIRECTORY"], directory);
    assert_eq!(environment["ARTIFACT_DIRECTORY"], directory);
    assert_eq!(environment.len(), 2, "{environment:?}");
    assert!(case.environment("g1/u1 j1 pre-backup-lock").is_empty());
    let got = case.fetched();
    assert_eq!(
        names(&got),
        ["g1-0-j1.tar", "g1-0-k.tar", "g2-0-j2.tar", "metadata"]
    );
    let metadata = std::fs::read_to_string(got.join("metadata")).unwrap();
    assert_eq!(metadata.matches("- name: \"g1\"").count(), 1, "{metadata}");
    case.foundation.assert_clean();

    // An instance with nothing to back up is locked and unlocked all the same.
    case.script("g2/u2", "j2", "backup", Value::Null);
    case.forget();
    case.backup().ok();
    let ran = case.started();
    for script in ["pre-backup-lock", "post-backup-unlock"] {
        assert!(ran.contains(&format!("g2/u2 j2 {script}")), "{ran:?}");
    }
    assert_eq!(
        names(&case.fetched()),
        ["g1-0-j1.tar", "g1-0-k.tar", "metadata"]
    );
    case.foundation.assert_clean();
}

// rows 67
#[test]
fn scripts_side_by_side_are_limited() {
    let jobs: serde_json::Map<String, Value> = (0..12)
        .map(|number| {
            let job = json!({"release": "r", "scripts": {"backup": {"sleep": 0.3}}});
            (format!("j{number}"), job)
        })
        .collect();
    let case = Case::groups(json!([{"name": "g", "jobs": jobs}]));
    let most = |lines: &[Line]| {
        let (mut now, mut most) = (0_i32, 0);
        for line in lines {
            now += if line.event == "start" { 1 } else { -1 };
            most = most.max(now);
        }
        most
    };
    case.backup().ok();
    let at_once = most(&case.lines());
    assert!((2..=10).contains(&at_once), "{at_once}");
    case.forget();
    case.backup_with(&json!({"limits": {"parallel": 2}})).ok();
    assert_eq!(most(&case.lines()), 2);
}

// rows 70, 71, 98
#[test]
fn a_failed_backup_script_unlocks_with_false_and_commits_nothing() {
    let case = Case::s1();
    case.of_j("pre-backup-lock", json!("true"));
    case.of_j("post-backup-unlock", json!("true"));
    case.of_j("backup", json!({"stderr": "baz", "exit": 1}));
    case.foundation.ask(json!({
        "do": "set-job", "instance": "g/u0", "job": "k",
        "value": {"release": "r", "scripts": {"backup": {"sleep": 0.5}}}
    }));
    let log = case.backup_fails();
    let last = log.lines().last().unwrap();
    says(
        last,
        &[
            "backup of job j on g/u0",
            "exit code 1",
            "baz",
            "no backup was committed",
            "every instance is unlocked",
        ],
    );
    assert_eq!(case.told_unlock("g/u0 j post-backup-unlock"), "false");
    let lines = case.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.what == "g/u0 k backup" && line.event == "end")
    );
    assert_before(&lines, "k backup", "post-backup-unlock");
    case.assert_nothing_happened();

    case.of_j("backup", json!({"body": "kill -9 $$"}));
    says(
        &case.backup_fails(),
        &["backup of job j on g/u0", "signal 9", "137"],
    );
    case.assert_nothing_happened();
}

// rows 72, 73, 74
#[test]
fn a_failed_lock_stops_further_levels_and_unlocks_everything_in_reverse() {
    let case = Case::s2();
    both(&case, "post-backup-unlock", &json!({"sleep": 0.1}));
    case.script(
        "g1/u1",
        "j1",
        "pre-backup-lock",
        json!({"stderr": "no lock", "exit": 1}),
    );
    case.script("g2/u2", "j2", "pre-backup-lock", json!("true"));
    case.script(
        "g1/u1",
        "j1",
        "metadata",
        json!({"yaml": {"backup_should_be_locked_before": [{"job_name": "j2", "release": "r"}]}}),
    );
    let log = case.backup_fails();
    let last = log.lines().last().unwrap();
    says(
        last,
        &[
            "pre-backup-lock of job j1 on g1/u1",
            "no lock",
            "every instance is unlocked",
        ],
    );
    assert_eq!(
        case.started(),
        [
            "g1/u1 j1 pre-backup-lock",
            "g2/u2 j2 post-backup-unlock",
            "g1/u1 j1 post-backup-unlock"
        ]
    );
    assert_eq!(case.told_unlock("g2/u2 j2 post-backup-unlock"), "false");
    case.assert_nothing_happened();

    case.script(
        "g1/u1",
        "j1",
        "post-backup-unlock",
        json!({"stderr": "no unlock", "exit": 1}),
    );
    let log = case.backup_fails();
    says(
        &log,
        &[
            "1. deployment/dep: lock: ",
            "no lock",
            "2. deployment/dep: unlock: ",
            "no unlock",
        ],
    );
    says(
        log.lines().last().unwrap(),
        &[
            "Jobs may still be locked on g1/u1",
            "lifeboat cleanup deployment/dep",
        ],
    );
    assert_eq!(case.check(), [""; 0]);
    assert!(!case.has_artifacts("g1/u1"));
    case.script("g1/u1", "j1", "post-backup-unlock", json!("true"));
    case.cleanup().ok();
    case.foundation.assert_clean();
    case.script("g1/u1", "j1", "pre-backup-lock", json!("true"));
    case.backup().ok();
}

// rows 75, 76
#[test]
fn a_failed_unlock_after_a_good_backup_keeps_the_backup() {
    let case = Case::s1();
    case.of_j("post-backup-unlock", json!({"stderr": "stuck", "exit": 1}));
    case.of_j("pre-backup-lock", json!("true"));
    let ended = case.lifeboat("backup").fails(4);
    says(
        &ended.last_line(),
        &[
            "stuck",
            "is committed and complete",
            "Jobs may still be locked on g/u0",
            "lifeboat cleanup deployment/dep",
        ],
    );
    assert_eq!(case.check().len(), 1);
    assert_eq!(names(&case.fetched()), ["g-0-j.tar", "metadata"]);
    assert!(!case.has_artifacts("g/u0"));
    // Nobody may lock a job that is still locked.
    says(&case.backup_fails(), &["g/u0", "run the cleanup"]);
    case.of_j("post-backup-unlock", json!("true"));
    case.cleanup().ok();
    case.foundation.assert_clean();

    case.of_j("post-backup-unlock", json!({"stderr": "stuck", "exit": 1}));
    case.of_j("backup", json!({"stderr": "baz", "exit": 1}));
    let ended = case.lifeboat("backup").fails(4);
    says(
        &ended.last_line(),
        &[
            "baz",
            "no backup was committed",
            "Jobs may still be locked on g/u0",
        ],
    );
    says(&ended.log(), &["2. deployment/dep: unlock: ", "stuck"]);
    assert_eq!(case.check().len(), 1);
}

// rows 77, 78, 79
#[test]
fn a_director_that_removes_no_users_is_said_beside_every_other_error() {
    let case = Case::s1();
    case.refuse_ssh_cleanup(1);
    let log = case.backup_fails();
    says(
        log.lines().last().unwrap(),
        &[
            "SSH user bosh_",
            "no users today",
            "is committed and complete",
            "lifeboat cleanup deployment/dep",
        ],
    );
    assert_eq!(case.check().len(), 1);
    assert_eq!(names(&case.fetched()), ["g-0-j.tar", "metadata"]);
    case.clear_director_faults();
    case.cleanup().ok();
    case.foundation.assert_clean();

    case.of_j("backup", json!({"stderr": "baz", "exit": 1}));
    case.refuse_ssh_cleanup(1);
    says(
        &case.backup_fails(),
        &[
            "1. deployment/dep: backup: ",
            "baz",
            "2. deployment/dep: SSH user",
        ],
    );
    case.clear_director_faults();
    case.cleanup().ok();

    case.of_j("backup", json!(BACKUP));
    case.of_j("pre-backup-lock", json!("true"));
    case.of_j("post-backup-unlock", json!({"stderr": "stuck", "exit": 1}));
    case.command_fault(
        "g/u0",
        "tar --create|tar.*--create",
        "status",
        json!({"status": 2, "stderr": "tar: no"}),
    );
    case.refuse_ssh_cleanup(1);
    let log = case.backup_fails();
    says(
        &log,
        &[
            "1. deployment/dep: unlock: ",
            "2. deployment/dep: drain",
            "tar: no",
            "3. deployment/dep: SSH user",
        ],
    );
    assert_eq!(case.check().len(), 1);
    case.clear_director_faults();
    case.clear_command_faults("g/u0");
    case.of_j("post-backup-unlock", json!("true"));
    case.cleanup().ok();
    case.foundation.assert_clean();
}

// rows 93, 94, 95
#[test]
fn without_locks_nothing_is_locked_or_unlocked() {
    let case = Case::s1();
    case.of_j("pre-backup-lock", json!("true"));
    case.of_j("post-backup-unlock", json!("true"));
    let free = json!({"unsafe_lock_free": true});
    let log = case.backup_with(&free).ok().log();
    says(
        &log,
        &["lock scripts are skipped", "unlock scripts are skipped"],
    );
    assert_eq!(case.started(), ["g/u0 j backup"]);
    case.foundation.assert_clean();
    case.forget();
    case.of_j("backup", json!({"exit": 1}));
    case.backup_fails_with(&free);
    assert_eq!(case.started(), ["g/u0 j backup"]);
    case.foundation.assert_clean();
    case.forget();
    case.metadata_of_j("backup_should_be_locked_before: [{job_name: j, release: r}]");
    says(
        &case.backup_fails_with(&free),
        &["to be locked before each other"],
    );
    assert_eq!(case.started(), [""; 0]);
    case.foundation.assert_clean();
}

// rows 96
#[test]
fn a_silent_script_keeps_its_connection() {
    let case = Case::s1();
    case.foundation.ask(json!({
        "do": "sshd-config", "instance": "g/u0", "extra": "ClientAliveInterval 1\nClientAliveCountMax 1\n"
    }));
    case.of_j("backup", json!({"sleep": 5, "files": {"f": "F"}}));
    case.backup().ok();
    case.foundation.assert_clean();
}

/// What the program has that starts scripts.
const ARMED: &str = "echo ready";

/// Kills the server's processes of all connections to the instance this runs on.
const CUT: &str = r#"ps -e -o pid= -o args= | awk '/sshd:/ && !/listener/ && !/awk/ { print $1 }' | xargs -r kill -KILL"#;

#[test]
fn a_connection_that_ends_while_a_script_runs_is_made_anew_and_nothing_is_started_twice() {
    let case = Case::s1();
    for script in ["pre-backup-lock", "backup", "post-backup-unlock"] {
        for other in ["pre-backup-lock", "backup", "post-backup-unlock"] {
            let cut = if other == script { CUT } else { "true" };
            case.of_j(other, json!(format!("{cut}; sleep 1; echo said")));
        }
        case.forget();
        case.backup().ok();
        assert_eq!(
            case.started(),
            [
                "g/u0 j pre-backup-lock",
                "g/u0 j backup",
                "g/u0 j post-backup-unlock"
            ]
        );
        case.foundation.assert_clean();
    }
}

#[test]
fn a_server_that_grants_one_session_is_enough() {
    let case = Case::s1();
    case.foundation.ask(json!({
        "do": "sshd-config", "instance": "g/u0", "extra": "MaxSessions 1\n"
    }));
    case.of_j("pre-backup-lock", json!("true"));
    case.of_j("post-backup-unlock", json!("true"));
    case.backup().ok();
    case.foundation.assert_clean();
    case.of_j("backup", json!("exit 3"));
    says(&case.backup_fails(), &["exit code 3"]);
    case.foundation.assert_clean();
}

// rows 97, 99
#[test]
fn a_connection_that_ends_without_a_status_is_a_failure() {
    let case = Case::s1();
    case.of_j("pre-backup-lock", json!("true"));
    case.of_j("post-backup-unlock", json!("true"));
    for (kind, pattern) in [
        ("run_then_cut", "bin/bbr/backup"),
        ("cut", "bin/bbr/backup"),
        ("cut", "bin/bbr/pre-backup-lock"),
    ] {
        case.forget();
        // Nor can the channel be opened over which they are started else.
        case.command_fault("g/u0", ARMED, "cut", json!({}));
        case.command_fault("g/u0", pattern, kind, json!({"times": 1}));
        let log = case.backup_fails();
        let last = log.lines().last().unwrap();
        says(last, &["g/u0", "connection", "every instance is unlocked"]);
        assert_eq!(case.told_unlock("g/u0 j post-backup-unlock"), "false");
        case.clear_command_faults("g/u0");
        case.assert_nothing_happened();
    }
    // What is looked for and not seen is not absent.
    for pattern in ["bin/bbr", "bbr-backup.lifeboat"] {
        case.command_fault("g/u0", pattern, "cut", json!({}));
        case.backup_fails();
        case.clear_command_faults("g/u0");
        case.assert_nothing_happened();
    }
}
