//! Which scripts and instances are found (§6.2).

use serde_json::{Value, json};

use super::{Case, Line, assert_before, names, never_says, says};

const BACKUP: &str = "echo data > \"$BBR_ARTIFACT_DIRECTORY\"f";

fn group(name: &str, instances: Value, jobs: Value) -> Value {
    json!({"name": name, "instances": instances, "jobs": jobs})
}

// rows 24, 25, 26
#[test]
fn what_is_not_a_bbr_script_does_not_count() {
    let case = Case::s1();
    let jobs = [
        json!({"release": "r", "files": {"bin/ctl": "#!/bin/sh\n"}}),
        json!({"release": "r", "scripts": {
            "foo": "true", "sub/backup": "true", "../sub/bbr/backup": "true", "../backup": "true",
        }}),
        json!({"release": "r", "files": {"bin/real": {"text": "#!/bin/sh\n", "mode": "0755"}},
               "scripts": {"backup": {"symlink": "../real"}}}),
    ];
    for job in jobs {
        case.foundation
            .ask(json!({"do": "set-job", "instance": "g/u0", "job": "j", "value": job}));
        let ended = case.backup().fails(1);
        says(
            &ended.last_line(),
            &["dep cannot be backed up", "nothing was locked"],
        );
        never_says(&ended.last_line(), &["To mend it"]);
        assert_eq!(case.lines(), []);
    }
    case.assert_nothing_happened();
}

// rows 27, 28, 30, 34, 40
#[test]
fn jobs_of_every_kind_on_one_instance_are_told_apart() {
    let case = Case::groups(json!([group(
        "g",
        json!([{"id": "u0"}]),
        json!({
            "j": {"release": "r", "scripts": {
                "metadata": {"stdout": "{backup_name: old, restore_name: older}",
                             "body": "echo -n \"$BBR_VERSION\" > /tmp/version"},
                "backup": BACKUP}},
            "x": {"addon": true, "scripts": {"backup": BACKUP}},
            "e": {"release": "r", "scripts": {"metadata": {"raw": ""}, "backup": BACKUP}},
            "mysql-backup": {"release": "r", "scripts": {
                "metadata": {"stdout": "backup_name: mysql"}, "backup": BACKUP}},
        })
    )]));
    let log = case.backup().ok().log();
    assert_eq!(
        names(&case.fetched()),
        ["g-0-e.tar", "g-0-j.tar", "g-0-x.tar", "metadata"]
    );
    let metadata = std::fs::read_to_string(case.fetched().join("metadata")).unwrap();
    never_says(&metadata, &["custom_artifacts"]);
    says(
        &log,
        &[
            "job x of group g is not in the deployment manifest",
            "metadata of job j has backup_name",
            "job mysql-backup are ignored",
        ],
    );
    never_says(&log, &["metadata of job mysql-backup"]);
    let ran: Vec<Line> = case.lines();
    assert!(!ran.iter().any(|line| line.what.contains("mysql-backup")));
    assert_eq!(
        case.shell("g/u0", "cat /tmp/version"),
        env!("CARGO_PKG_VERSION")
    );
    case.foundation.assert_clean();
}

// rows 31, 32, 33, 35, 39
#[test]
fn metadata_that_cannot_be_used_ends_the_run() {
    let case = Case::s1();
    case.metadata_of_j("just words");
    let ended = case.backup().fails(1);
    says(&ended.last_line(), &["metadata of job j on g/u0"]);
    never_says(&ended.last_line(), &["To mend it"]);
    assert_eq!(case.started(), [""; 0]);
    case.assert_nothing_happened();

    case.of_j("metadata", json!({"stderr": "boom", "exit": 3}));
    let log = case.backup_fails();
    let line = log.lines().last().unwrap();
    says(line, &["metadata", "g/u0", "exit code 3", "boom"]);
    assert_eq!(line.matches("boom").count(), 1, "{line}");

    for list in [
        "backup_should_be_locked_before",
        "restore_should_be_locked_before",
    ] {
        for entry in [
            "[{job_name: k}]",
            "[{release: r}]",
            "[{job_name: '', release: r}]",
            "{job_name: k, release: r}",
        ] {
            case.metadata_of_j(&format!("{list}: {entry}"));
            let found = case.precheck_finds();
            says(
                &found,
                &[
                    "metadata of job j on g/u0",
                    "mend the job's metadata script",
                ],
            );
        }
    }
    case.metadata_of_j("skip_bbr_scripts: \"true\"");
    says(
        &case.precheck_finds(),
        &["metadata of job j on g/u0", "true or false without quotes"],
    );
    case.metadata_of_j("backup_should_be_locked_before: [{job_name: k}]");
    case.cleanup().fails(1);
    case.assert_nothing_happened();
}

// rows 36, 37, 38
#[test]
fn disabled_jobs_are_dropped_whatever_the_word_for_true() {
    let case = Case::s2();
    case.script(
        "g2/u2",
        "j2",
        "metadata",
        json!({"stdout": "skip_bbr_scripts: yes"}),
    );
    case.backup().ok();
    assert_eq!(names(&case.fetched()), ["g1-0-j1.tar", "metadata"]);
    assert_eq!(case.started(), ["g1/u1 j1 backup"]);
    case.script(
        "g1/u1",
        "j1",
        "metadata",
        json!({"stdout": "skip_bbr_scripts: true"}),
    );
    let ended = case.backup_with(&json!({"debug": true})).fails(1);
    says(&ended.last_line(), &["dep cannot be backed up"]);
    says(
        &ended.log(),
        &[
            "g1/u1: left out by skip_bbr_scripts: j1",
            "g2/u2: left out by skip_bbr_scripts: j2",
        ],
    );
    case.foundation.assert_clean();
}

// rows 41, 42, 43, 50, 51
#[test]
fn every_host_of_every_group_is_visited() {
    let backup = json!({"j": {"release": "r", "scripts": {"backup": BACKUP}}});
    let case = Case::groups(json!([
        group("a", json!(2), json!({"n": {"release": "r"}})),
        group(
            "g",
            json!([{"jobs": {"j": null}}, {"host_key": "rsa"}, {"windows": true}, {"host_key": "ecdsa"}]),
            backup
        ),
    ]));
    let log = case.backup().ok().log();
    assert_eq!(
        names(&case.fetched()),
        ["g-1-j.tar", "g-3-j.tar", "metadata"]
    );
    says(&log, &["g/g-2 runs Windows"]);
    let commands = case
        .foundation
        .ask(json!({"do": "commands", "instance": "g/g-2"}))["commands"]
        .to_string();
    // Its greeting has said enough: nothing is run there.
    assert_eq!(commands, "[]");
    case.forced_cleanup().ok();
    // Ports other than 22 come from the Director's answers throughout these tests.
    case.foundation.assert_clean();
}

// rows 44, 45, 47
#[test]
fn answers_of_the_director_that_do_not_fit_end_the_run() {
    let case = Case::s1();
    let set = |change: Value| {
        let mut request = json!({"do": "set-vm", "instance": "g/u0"});
        crate::support::scene::merge(&mut request, &change);
        case.foundation.ask(request);
    };
    set(json!({"vm_without": ["index"]}));
    says(&case.precheck_finds(), &["g/u0", "no index"]);
    case.foundation.assert_clean();
    set(json!({"vm_without": [], "ssh": {"id": "somebody"}}));
    says(&case.precheck_finds(), &["g/somebody", "list of VMs"]);
    case.foundation.assert_clean();
    set(json!({"ssh": {"id": "u0", "status": "failed"}}));
    says(&case.precheck_finds(), &["g/u0", "`failed`"]);
    case.foundation.assert_clean();
    set(json!({"ssh": {"id": "u0", "host_public_key": "ssh-rsa nonsense"}}));
    says(&case.precheck_finds(), &["g/u0", "host key"]);
    case.foundation.assert_clean();
    let cleanups = case
        .requests("POST", "/ssh")
        .iter()
        .filter(|request| request["body"].to_string().contains("cleanup"))
        .count();
    assert!(cleanups >= 4, "{cleanups}");
    assert_eq!(case.lines(), []);
}

// rows 46, 48, 49, 56
#[test]
fn a_group_that_cannot_be_reached_leaves_no_user_on_the_others() {
    let case = Case::s2();
    case.foundation.ask(json!({
        "do": "task-plan", "match": "ssh: setup.*g2", "outcome": "error", "code": 1,
        "message": "agent is away", "times": 1
    }));
    says(&case.precheck_finds(), &["agent is away"]);
    case.foundation.assert_clean();

    case.foundation
        .ask(json!({"do": "sshd", "instance": "g2/u2", "action": "stop"}));
    says(&case.precheck_finds(), &["g2/u2"]);
    case.foundation.assert_clean();
    case.foundation
        .ask(json!({"do": "sshd", "instance": "g2/u2", "action": "start"}));

    let key = case.foundation.ready["instances"]["dep/g1/u1"]["host_public_key"].clone();
    case.foundation
        .ask(json!({"do": "set-vm", "instance": "g2/u2", "ssh": {"host_public_key": key}}));
    says(&case.precheck_finds(), &["g2/u2", "host key"]);
    let commands = &case
        .foundation
        .ask(json!({"do": "commands", "instance": "g2/u2"}))["commands"];
    assert_eq!(*commands, json!([]));
    case.foundation.assert_clean();

    let odd = Case::groups(json!([
        group(
            "g",
            json!(1),
            json!({"j": {"release": "r", "scripts": {"backup": BACKUP}}})
        ),
        group("h", json!([{"vm": {"job_name": "a/b/c"}}]), json!({})),
    ]));
    says(&odd.precheck_finds(), &["a/b/c"]);
    odd.foundation.assert_clean();
}

// rows 52
#[test]
fn an_old_manifest_names_releases_too() {
    let before = |job: &str| json!({"yaml": {"backup_should_be_locked_before": [{"job_name": job, "release": "r"}]}});
    let job = |release: &str| json!({"release": release, "scripts": {"pre-backup-lock": {"sleep": 0.2}, "backup": BACKUP}});
    let mut first = job("q");
    first["scripts"]["metadata"] = before("j");
    let case = Case::new(
        &json!({"deployments": [{"name": "dep", "manifest_version": 1, "groups": [
            group("g", json!(1), json!({"j": job("r"), "k": first})),
        ]}]}),
    );
    case.backup().ok();
    assert_before(&case.lines(), "k pre-backup-lock", "j pre-backup-lock");
}

// rows 53
#[test]
fn a_manifest_that_is_not_yaml_ends_the_run_before_any_user_is_made() {
    let case = Case::s1();
    case.foundation
        .ask(json!({"do": "set-manifest", "deployment": "dep", "text": "a: [b\n"}));
    says(&case.precheck_finds(), &["manifest", "dep", "not YAML"]);
    assert_eq!(case.requests("POST", "/ssh"), [Value::Null; 0]);
}

// rows 54
#[test]
fn a_constraint_means_one_release() {
    let locked = |release: &str| {
        json!({"release": release, "scripts": {
            "pre-backup-lock": {"sleep": 0.4}, "backup": BACKUP}})
    };
    let case = Case::groups(json!([
        group("a", json!(1), json!({"t": locked("r1")})),
        group("b", json!(1), json!({"t": locked("r2")})),
        group(
            "c",
            json!(1),
            json!({"k": {"release": "r1", "scripts": {
            "metadata": {"yaml": {"backup_should_be_locked_before": [{"job_name": "t", "release": "r1"}]}},
            "pre-backup-lock": {"sleep": 0.4}}}})
        ),
    ]));
    case.backup().ok();
    let lines = case.lines();
    assert_before(&lines, "k pre-backup-lock", "a/a-0 t pre-backup-lock");
    let place = |what: &str, event: &str| {
        lines
            .iter()
            .position(|line| line.what == what && line.event == event)
    };
    assert!(
        place("b/b-0 t pre-backup-lock", "start") < place("c/c-0 k pre-backup-lock", "end"),
        "the other release is free: {lines:?}"
    );
}

// rows 55
#[test]
fn ssh_users_are_named_and_asked_for_as_bbr_does() {
    let case = Case::s1();
    case.precheck().ok();
    let bodies: Vec<Value> = case
        .requests("POST", "/ssh")
        .iter()
        .map(|request| match &request["body"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            other => other.clone(),
        })
        .collect();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    let user = bodies[0]["params"]["user"].as_str().unwrap();
    let digits = user.strip_prefix("bosh_").unwrap();
    assert!(digits.len() == 15 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(bodies[0]["command"], "setup");
    assert_eq!(bodies[0]["deployment_name"], "dep");
    assert_eq!(
        bodies[0]["target"],
        json!({"job": "g", "ids": [], "indexes": []})
    );
    assert!(
        bodies[0]["params"]["public_key"]
            .as_str()
            .unwrap()
            .ends_with('\n')
    );
    // Group-wide, where bbr goes from instance to instance and forgets some.
    assert_eq!(bodies[1]["command"], "cleanup");
    assert_eq!(bodies[1]["target"]["job"], "g");
    assert_eq!(bodies[1]["params"]["user_regex"], format!("^{user}"));
    case.foundation.assert_clean();
}
