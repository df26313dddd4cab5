//! Restore (§6.7, §6.10): its phases, and what fails in them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Case, assert_before, never_says, says, signal};
use crate::support::process;

/// Which the restore scripts of R1's fixture copies to.
const DATA: &str = "/var/vcap/store/j/f";

fn r1() -> Case {
    let case = Case::new(&json!({"fixture": "R1"}));
    case.of_j("pre-restore-lock", json!("true"));
    case.of_j("post-restore-unlock", json!("true"));
    case
}

fn data(case: &Case) -> Value {
    case.foundation
        .try_ask(&json!({"do": "read-file", "instance": "g/u0", "path": DATA}))["text"]
        .clone()
}

fn restore_script(more: Value) -> Value {
    let mut script = json!({"restore_to": "/var/vcap/store/j"});
    crate::support::scene::merge(&mut script, &more);
    script
}

/// Two groups, backed up; each job restores to a directory of its own.
fn two() -> Case {
    let case = Case::s2();
    for number in [1, 2] {
        let (instance, job) = (format!("g{number}/u{number}"), format!("j{number}"));
        let place = format!("/var/vcap/store/{job}");
        case.script(&instance, &job, "restore", json!({"restore_to": place}));
        for script in ["pre-restore-lock", "post-restore-unlock"] {
            case.script(&instance, &job, script, json!("true"));
        }
    }
    case.backup().ok();
    case.forget();
    case
}

// rows 123, 126
#[test]
fn upload_lock_restore_unlock_in_this_order() {
    let case = r1();
    case.restore_art().ok();
    assert_eq!(data(&case), "F");
    assert_eq!(
        case.started(),
        [
            "g/u0 j pre-restore-lock",
            "g/u0 j restore",
            "g/u0 j post-restore-unlock"
        ]
    );
    let told = case.environment("g/u0 j restore");
    assert_eq!(told.len(), 2, "{told:?}");
    for name in ["BBR_ARTIFACT_DIRECTORY", "ARTIFACT_DIRECTORY"] {
        assert_eq!(told[name], "/var/vcap/store/bbr-backup/j/");
    }
    for script in ["pre-restore-lock", "post-restore-unlock"] {
        let told = case.environment(&format!("g/u0 j {script}"));
        assert!(told.is_empty(), "{told:?}");
    }
    case.foundation.assert_clean();
}

// rows 124, 127
#[test]
fn every_phase_ends_everywhere_before_the_next() {
    let case = two();
    for (instance, job) in [("g1/u1", "j1"), ("g2/u2", "j2")] {
        for script in ["pre-restore-lock", "restore", "post-restore-unlock"] {
            case.script(instance, job, script, json!({"sleep": 0.3}));
        }
    }
    case.restore_latest().ok();
    let lines = case.lines();
    assert_before(&lines, "pre-restore-lock", "restore");
    assert_before(&lines, "restore", "post-restore-unlock");
    // One at a time, as bbr does.
    assert_before(&lines, "j1 restore", "j2 restore");
    let locked = case.foundation.ask(
        json!({"do": "wait-journal", "match": {"script": "pre-restore-lock", "event": "start"}}),
    )["lines"][0]["us"]
        .as_u64()
        .unwrap();
    for instance in ["g1/u1", "g2/u2"] {
        let sent = case.foundation.ask(
            json!({"do": "commands", "instance": instance, "match": "sha256sum -z"}),
        )["commands"]
            .clone();
        let last = sent.as_array().unwrap().last().unwrap()["us"].clone();
        assert!(last.as_u64().unwrap() < locked, "{instance}: {sent}");
    }
    case.foundation.assert_clean();
}

// rows 125
#[test]
fn a_disabled_job_is_left_out() {
    let case = two();
    case.script(
        "g1/u1",
        "j1",
        "metadata",
        json!({"yaml": {"skip_bbr_scripts": true}}),
    );
    let ended = case.restore_latest().ok();
    assert_eq!(
        case.started(),
        [
            "g2/u2 j2 pre-restore-lock",
            "g2/u2 j2 restore",
            "g2/u2 j2 post-restore-unlock"
        ]
    );
    says(
        &ended.log(),
        &["g1-1-j1.tar is in the backup, but no restore script asks for it"]
            .map(|text| text.replace("g1-1", "g1-0"))
            .each_ref()
            .map(String::as_str),
    );
    case.foundation.assert_clean();
}

// rows 128
#[test]
fn a_failing_script_stops_no_job_of_its_instance_and_every_further_instance() {
    let case = two();
    case.foundation.ask(
        json!({"do": "set-job", "instance": "g1/u1", "job": "p", "value": {
        "release": "r", "scripts": {"backup": {"files": {"p": "P"}},
            "restore": {"stderr": "dear", "exit": 1}, "post-restore-unlock": "true"}}}),
    );
    case.backup().ok();
    case.forget();
    // By name: j1, p.
    case.script(
        "g1/u1",
        "j1",
        "restore",
        json!({"stderr": "dear", "exit": 1}),
    );
    let ended = case.restore_latest().fails(1);
    let started = case.started();
    for ran in ["g1/u1 j1 restore", "g1/u1 p restore"] {
        assert!(started.contains(&ran.to_owned()), "{started:?}");
    }
    assert!(
        !started.contains(&"g2/u2 j2 restore".to_owned()),
        "{started:?}"
    );
    for ran in [
        "g1/u1 j1 post-restore-unlock",
        "g1/u1 p post-restore-unlock",
        "g2/u2 j2 post-restore-unlock",
    ] {
        assert!(started.contains(&ran.to_owned()), "{started:?}");
    }
    says(
        &ended.last_line(),
        &[
            "restore of job j1 on g1/u1 failed with exit code 1: dear",
            "the data is neither as it was nor restored",
            "every instance is unlocked",
            "lifeboat restore-cleanup deployment/dep; then run this step again",
        ],
    );
    case.foundation.assert_clean();
}

// rows 129
#[test]
fn a_failing_lock_restores_nothing_and_unlocks() {
    let case = r1();
    case.of_j("pre-restore-lock", json!({"stderr": "busy", "exit": 1}));
    let ended = case.restore_art().fails(1);
    assert_eq!(
        case.started(),
        ["g/u0 j pre-restore-lock", "g/u0 j post-restore-unlock"]
    );
    says(
        &ended.last_line(),
        &[
            "pre-restore-lock of job j on g/u0 failed with exit code 1: busy",
            "no restore script ran, so the data is as it was; every instance is unlocked",
        ],
    );
    assert_eq!(data(&case), Value::Null);
    case.foundation.assert_clean();
}

// rows 130, 131, 132
#[test]
fn failures_of_restore_and_unlock_are_both_told() {
    let case = r1();
    case.of_j(
        "restore",
        restore_script(json!({"stderr": "dear", "exit": 1})),
    );
    let ended = case.restore_art().fails(1);
    says(&ended.last_line(), &["restore of job j on g/u0", "dear"]);
    assert_eq!(case.started().last().unwrap(), "g/u0 j post-restore-unlock");
    case.foundation.assert_clean();

    // The unlock fails too: a human is needed, and the marker stays.
    case.of_j("post-restore-unlock", json!({"stderr": "stuck", "exit": 1}));
    let ended = case.restore_art().fails(4);
    says(&ended.log(), &["2 things failed", "dear", "stuck"]);
    says(
        &ended.last_line(),
        &[
            "dear",
            "Jobs may still be locked on g/u0",
            "To mend it: lifeboat restore-cleanup deployment/dep",
        ],
    );
    assert!(!case.has_artifacts("g/u0"));
    case.of_j("post-restore-unlock", json!("true"));
    case.forget();
    case.restore_cleanup().ok();
    assert_eq!(case.started(), ["g/u0 j post-restore-unlock"]);
    case.foundation.assert_clean();

    // Only the unlock fails.
    case.of_j("restore", restore_script(json!({})));
    case.of_j("post-restore-unlock", json!({"stderr": "stuck", "exit": 1}));
    let ended = case.restore_art().fails(4);
    assert_eq!(data(&case), "F");
    says(
        &ended.last_line(),
        &[
            "stuck",
            "the data is restored, but the foundation is not clean",
        ],
    );
    assert!(!case.has_artifacts("g/u0"));
}

// rows 133
#[test]
fn users_that_cannot_be_removed_are_named() {
    let case = r1();
    case.refuse_ssh_cleanup(1);
    let ended = case.restore_art().fails(1);
    assert_eq!(data(&case), "F");
    says(&case.started().join("\n"), &["post-restore-unlock"]);
    says(
        &ended.last_line(),
        &[
            "SSH user",
            "may remain",
            "no users today",
            "the data is restored",
            "lifeboat restore-cleanup deployment/dep",
        ],
    );
    case.clear_director_faults();
    case.restore_cleanup().ok();
    case.foundation.assert_clean();
}

// rows 147, 148
#[test]
fn what_does_not_arrive_whole_locks_nothing_and_is_removed() {
    let case = r1();
    let tries = [
        ("exec cat >/dev/null", "1 files are missing"),
        ("echo tar: no space left >&2; exit 2", "tar: no space left"),
        (
            "/usr/bin/env -i /root/tar \"$@\"; echo x >>/var/vcap/store/bbr-backup/j/f",
            "./f differs",
        ),
    ];
    for (script, said) in tries {
        case.shell(
            "g/u0",
            &format!("cp /usr/bin/tar /root/tar; printf '#!/bin/sh\\n%s\\n' '{script}' >/root/fake; chmod 755 /root/fake; mount --bind /root/fake /usr/bin/tar"),
        );
        let ended = case.restore_art().fails(1);
        case.shell("g/u0", "umount /usr/bin/tar");
        says(
            &ended.last_line(),
            &[
                said,
                "g-0-j.tar",
                "g/u0",
                "no restore script ran, so the data is as it was; every instance is unlocked",
            ],
        );
        assert_eq!(case.started(), [""; 0]);
        case.foundation.assert_clean();
    }
    case.command_fault("g/u0", "tar.*--extract", "cut", json!({}));
    let ended = case.restore_art().fails(1);
    case.clear_command_faults("g/u0");
    says(&ended.last_line(), &["g/u0", "connection"]);
    assert_eq!(case.started(), [""; 0]);
    case.restore_cleanup().ok();
    case.restore_art().ok();
    assert_eq!(data(&case), "F");
    case.foundation.assert_clean();
}

// rows 149, 150
#[test]
fn what_cannot_be_restored_is_refused_before_anything_is_uploaded() {
    let case = r1();
    case.metadata_of_j("restore_name: other");
    let ended = case.restore_art().fails(1);
    says(
        &ended.last_line(),
        &[
            "pre-restore check: metadata of job j on g/u0 has restore_name, which is discontinued",
            "nothing was locked and nothing was uploaded",
        ],
    );
    case.of_j("metadata", Value::Null);
    case.of_j("restore", Value::Null);
    let ended = case.restore_art().fails(1);
    says(
        &ended.last_line(),
        &["no instance has a job with a restore script"],
    );
    assert_eq!(case.started(), [""; 0]);
    case.foundation.assert_clean();
}

// rows 102, 109
#[test]
fn the_restore_list_orders_the_locks() {
    let before =
        |list: &str, job: &str| json!({"yaml": {list: [{"job_name": job, "release": "r"}]}});
    let case = two();
    for (instance, job) in [("g1/u1", "j1"), ("g2/u2", "j2")] {
        for script in ["pre-restore-lock", "post-restore-unlock"] {
            case.script(instance, job, script, json!({"sleep": 0.1}));
        }
    }
    case.script(
        "g2/u2",
        "j2",
        "metadata",
        before("restore_should_be_locked_before", "j1"),
    );
    case.script(
        "g1/u1",
        "j1",
        "metadata",
        before("backup_should_be_locked_before", "j2"),
    );
    let ended = case.restore_latest().ok();
    says(&ended.log(), &["at restore, j2 is locked before r/j1"]);
    let lines = case.lines();
    assert_before(&lines, "j2 pre-restore-lock", "j1 pre-restore-lock");
    assert_before(&lines, "j1 post-restore-unlock", "j2 post-restore-unlock");
    case.forget();
    case.script(
        "g1/u1",
        "j1",
        "metadata",
        before("restore_should_be_locked_before", "j2"),
    );
    let ended = case.restore_latest().fails(1);
    says(&ended.last_line(), &["are to be locked before each other"]);
    assert_eq!(case.started(), [""; 0]);
    case.foundation.assert_clean();
}

// rows 195
#[test]
fn a_signal_during_a_restore_script_unlocks_cleans_and_says_so() {
    for name in ["INT", "TERM"] {
        let case = r1();
        case.of_j("restore", restore_script(json!({"sleep": 60})));
        let child = process::start(case.restore_art_command(), "");
        case.wait_for("restore", "start");
        let begin = Instant::now();
        signal(&child, name);
        let ended = process::finish(child).fails(1);
        assert!(begin.elapsed() < Duration::from_secs(10));
        says(
            &ended.last_line(),
            &[
                "stopped by a signal",
                "every instance is unlocked",
                "lifeboat restore-cleanup deployment/dep",
            ],
        );
        assert_eq!(case.started().last().unwrap(), "g/u0 j post-restore-unlock");
        assert_eq!(data(&case), Value::Null);
        case.foundation.assert_clean();
    }
}

// rows 20, 22
#[test]
fn an_unknown_deployment_and_a_missing_source_touch_nothing() {
    let case = Case::of(&json!({"fixture": "R1"}), "deployment/other");
    let ended = case.restore_art().fails(1);
    says(
        &ended.last_line(),
        &[
            "does not know deployment `other`",
            "nothing was locked and nothing was uploaded",
        ],
    );
    never_says(&ended.last_line(), &["cleanup"]);
    assert_eq!(case.requests("POST", "").len(), 0);
    case.clear_requests();
    let ended = case.scene.restore("deployment/dep", &[]).fails(1);
    says(&ended.last_line(), &["id: is missing or empty"]);
    assert_eq!(case.requests("", "").len(), 0);
}

fn x1() -> Case {
    let case = Case::director();
    for script in ["pre-restore-lock", "post-restore-unlock"] {
        case.script("bosh", "bosh", script, json!("true"));
    }
    case.backup().ok();
    case.forget();
    case
}

// rows 181, 184, 185, 186, 187, 188
#[test]
fn a_director_is_restored_like_a_deployment() {
    let case = x1();
    let restored = |case: &Case| {
        case.foundation.try_ask(
            &json!({"do": "read-file", "instance": "bosh", "path": "/var/vcap/store/bosh/a"}),
        )["text"]
            .clone()
    };
    case.restore_latest().ok();
    assert_eq!(
        case.started(),
        [
            "bosh/0 bosh pre-restore-lock",
            "bosh/0 bosh restore",
            "bosh/0 bosh post-restore-unlock"
        ]
    );
    assert_eq!(restored(&case), "A");
    case.foundation.assert_clean();

    case.shell("bosh", "mkdir /var/vcap/store/bbr-backup");
    case.forget();
    let ended = case.restore_latest().fails(1);
    says(&ended.last_line(), &["bbr-backup exists on bosh/0"]);
    assert!(case.has_artifacts("bosh"));
    assert_eq!(case.started(), [""; 0]);
    case.restore_cleanup().ok();
    assert_eq!(case.started(), ["bosh/0 bosh post-restore-unlock"]);
    case.foundation.assert_clean();

    case.shell("bosh", "rm -rf /var/vcap/store/bosh");
    case.forget();
    case.script("bosh", "bosh", "pre-restore-lock", json!({"exit": 1}));
    case.restore_latest().fails(1);
    assert_eq!(
        case.started(),
        [
            "bosh/0 bosh pre-restore-lock",
            "bosh/0 bosh post-restore-unlock"
        ]
    );
    assert_eq!(restored(&case), Value::Null);
    case.foundation.assert_clean();

    case.script("bosh", "bosh", "pre-restore-lock", json!("true"));
    case.script(
        "bosh",
        "bosh",
        "post-restore-unlock",
        json!({"stderr": "stuck", "exit": 1}),
    );
    let ended = case.restore_latest().fails(4);
    assert_eq!(restored(&case), "A");
    assert!(!case.has_artifacts("bosh"));
    says(
        &ended.last_line(),
        &["stuck", "may still be locked on bosh/0"],
    );

    case.script(
        "bosh",
        "bosh",
        "restore",
        json!({"stderr": "dear", "exit": 1}),
    );
    let ended = case.restore_latest().fails(1);
    says(
        &ended.last_line(),
        &[
            "bbr-backup.lifeboat exists on bosh/0",
            "run the restore-cleanup",
        ],
    );
    case.restore_cleanup().fails(4);
    let forced = ["restore-cleanup", "director", "--force"];
    let forced = case.scene.lifeboat(&forced, &json!({}));
    process::finish(process::start(forced, "")).fails(4);
    let ended = case.restore_latest().fails(4);
    says(&ended.log(), &["dear", "stuck"]);
}
