//! The director itself, over plain SSH (§6.10).

use serde_json::{Value, json};

use super::{Case, assert_before, names, never_says, says, tar_names};

// rows 177, 178, 179, 189
#[test]
fn a_director_is_checked_and_backed_up_without_its_api() {
    let case = Case::director();
    says(&case.precheck().ok().stdout, &["director can be backed up"]);
    case.script(
        "bosh",
        "bosh",
        "metadata",
        json!({"yaml": {"restore_should_be_locked_before": [{"job_name": "uaa", "release": "r"}]}}),
    );
    case.precheck().ok();
    case.backup().ok();
    let got = case.fetched();
    assert_eq!(names(&got), ["bosh-0-bosh.tar", "metadata"]);
    assert_eq!(
        tar_names(&got.join("bosh-0-bosh.tar")),
        ["./", "./a", "./b"]
    );
    let metadata = std::fs::read_to_string(got.join("metadata")).unwrap();
    says(
        &metadata,
        &["instances:\n- name: \"bosh\"\n  index: \"0\"\n"],
    );
    case.foundation.assert_clean();

    case.shell("bosh", "mkdir /var/vcap/store/bbr-backup");
    says(
        &case.precheck_finds(),
        &["bbr-backup exists on bosh/0", "run the cleanup"],
    );
    assert!(case.has_artifacts("bosh"));
    case.cleanup().ok();
    case.script("bosh", "bosh", "backup", Value::Null);
    says(
        &case.precheck_finds(),
        &["no instance has a job with a backup script"],
    );
    case.foundation.assert_clean();
}

// rows 180, 181, 188
#[test]
fn a_directors_failures_are_those_of_a_deployment() {
    let case = Case::director();
    case.script("bosh", "bosh", "pre-backup-lock", json!("true"));
    case.script("bosh", "bosh", "post-backup-unlock", json!("true"));
    case.script(
        "bosh",
        "bosh",
        "backup",
        json!({"stderr": "baz", "exit": 1}),
    );
    says(
        case.backup_fails().lines().last().unwrap(),
        &["bosh/0", "baz", "every instance is unlocked"],
    );
    assert_eq!(case.told_unlock("bosh/0 bosh post-backup-unlock"), "false");
    case.assert_nothing_happened();
    case.shell("bosh", "mkdir /var/vcap/store/bbr-backup");
    case.forget();
    says(
        case.backup_fails().lines().last().unwrap(),
        &["bbr-backup exists on bosh/0"],
    );
    assert_eq!(case.started(), [""; 0]);
    assert!(case.has_artifacts("bosh"));
    case.cleanup().ok();
    case.foundation.assert_clean();
}

// rows 111
#[test]
fn jobs_of_a_director_are_ordered_by_name_whatever_their_release() {
    let job = |before: Value| {
        json!({"scripts": {
            "metadata": {"yaml": {"backup_should_be_locked_before": before}},
            "pre-backup-lock": {"sleep": 0.1}, "backup": "true", "post-backup-unlock": {"sleep": 0.1}}})
    };
    let case = Case::of(
        &json!({"hosts": [{"name": "bosh", "login": "bob", "jobs": {
            "bosh": job(json!([{"job_name": "postgres", "release": "any text"}])), "postgres": job(json!([]))}}]}),
        "director",
    );
    case.backup().ok();
    let lines = case.lines();
    assert_before(&lines, "bosh pre-backup-lock", "postgres pre-backup-lock");
    assert_before(
        &lines,
        "postgres post-backup-unlock",
        "bosh post-backup-unlock",
    );
}

// rows 182, 183
#[test]
fn a_host_or_key_that_is_none_is_said_without_advice() {
    let mut case = Case::director();
    case.params_mut()["director"]["host"] = json!("nowhere.invalid:22");
    let found = case.precheck_finds();
    says(&found, &["nowhere.invalid"]);
    never_says(&found, &["cleanup"]);
    case.params_mut()["director"]["private_key"] = json!("no key");
    let ended = case.precheck().fails(1);
    says(&ended.last_line(), &["director.private_key"]);
}

// rows 190
#[test]
fn a_jumpbox_carries_everything() {
    let mut case = Case::of(&json!({"fixture": "X1", "jumpbox": true}), "director");
    let jumpbox = case.foundation.ready["jumpbox"].clone();
    let key = std::fs::read_to_string(jumpbox["private_key_file"].as_str().unwrap()).unwrap();
    case.params_mut()["bosh"] = json!({
        "all_proxy": format!(
            "ssh+socks5://{}@{}",
            jumpbox["username"].as_str().unwrap(),
            jumpbox["address"].as_str().unwrap()
        ),
        "all_proxy_private_key": key,
        "all_proxy_host_key": jumpbox["host_public_key"],
    });
    case.precheck().ok();
    let log = case
        .foundation
        .ask(json!({"do": "sshd-log", "instance": "jumpbox"}));
    says(log["text"].as_str().unwrap(), &["Accepted publickey for"]);
}

// rows 191
#[test]
fn another_host_key_is_refused() {
    let mut case = Case::director();
    case.precheck().ok();
    case.foundation
        .ask(json!({"do": "rotate-host-key", "instance": "bosh"}));
    says(&case.precheck_finds(), &["host key"]);
    says(
        case.backup_fails().lines().last().unwrap(),
        &["host key", "nothing was locked"],
    );
    case.assert_nothing_happened();
    // Without a pinned key: a warning that names the fingerprint to pin.
    case.params_mut()["director"]["host_key"] = Value::Null;
    let director = case.params_mut()["director"].as_object_mut().unwrap();
    director.remove("host_key");
    let ended = case.precheck().ok();
    says(&ended.log(), &["SHA256:"]);
}
