//! What a restore refuses before it asks a store or touches an instance.

use serde_json::{Value, json};

use crate::support::process;
use crate::support::request::{RECOVERY, put};

/// Arguments, changes of the configuration, the exit code and the sentence.
type Case = (&'static [&'static str], Value, i32, &'static str);

const ID: &str = "20261122T010203Z-7f3a09bc";

fn configuration(changes: &Value) -> String {
    let mut whole = put()["source"].clone();
    whole["recovery_identity"] = json!(RECOVERY);
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(whole.as_object_mut().unwrap().remove(key)),
            value => whole[key] = value.clone(),
        }
    }
    whole.to_string()
}

fn assert_all(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (arguments, changes, code, sentence) in cases {
        let configuration = configuration(changes);
        let run = process::cli(arguments, &[("LIFEBOAT_CONFIG", &configuration)]);
        let said = run.log();
        let last = run.last_line();
        let expected =
            last == format!("failed: {sentence}") || (*code == 2 && said.contains(sentence));
        if run.code != *code || !expected || !run.stdout.is_empty() {
            wrong.push(format!(
                "{arguments:?} {changes}: exit code {}\n  said     {last}\n  expected {sentence}",
                run.code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_restore_begins_by_accident() {
    let missing = "LIFEBOAT_CONFIG: confirm_target: is missing or empty; a restore overwrites what the target holds, so name the foundation once more";
    assert_all(&[
        (&["restore", "tas", ID], json!({}), 1, missing),
        (
            &["restore", "tas", ID],
            json!({"confirm_target": ""}),
            1,
            missing,
        ),
        (
            &["restore", "tas", ID],
            json!({"confirm_target": null}),
            1,
            missing,
        ),
        (
            &["restore", "tas", ID, "--confirm-target", ""],
            json!({}),
            1,
            "command line: confirm_target: is missing or empty; a restore overwrites what the target holds, so name the foundation once more",
        ),
        (
            &["restore", "tas", ID, "--confirm-target", "prod-west"],
            json!({}),
            1,
            "command line: confirm_target: is not the name that `foundation` has; nothing was touched",
        ),
        (
            &["restore", "ops-manager", ID],
            json!({"confirm_target": "PROD-EAST"}),
            1,
            "LIFEBOAT_CONFIG: confirm_target: is not the name that `foundation` has; nothing was touched",
        ),
        (
            &["restore", "tas", ID, "--confirm-target", "prod-east"],
            json!({"foundation": null}),
            1,
            "command line: confirm_target: is not the name that `foundation` has; nothing was touched",
        ),
    ]);
}

#[test]
fn what_is_restored_is_named_once() {
    let confirmed = |extra: Value| {
        let mut all = json!({"confirm_target": "prod-east"});
        for (key, value) in extra.as_object().unwrap() {
            all[key] = value.clone();
        }
        all
    };
    assert_all(&[
        (
            &["restore", "tas"],
            confirmed(json!({})),
            1,
            "LIFEBOAT_CONFIG: id: is missing or empty; name the backup (`latest`, or an id as `lifeboat list` shows it), or give `id_file` or `from`",
        ),
        (
            &["restore", "tas", "newest"],
            confirmed(json!({})),
            1,
            "command line: id: is not a backup's id (such as 20261122T010203Z-7f3a09bc) and not `latest`",
        ),
        (
            &["restore", "tas"],
            confirmed(json!({"id": "latest", "id_file": "x"})),
            1,
            "LIFEBOAT_CONFIG: id_file: stands beside `id`; give one",
        ),
        (
            &["restore", "service-instances", "--from", "x"],
            confirmed(json!({})),
            1,
            "command line: from: holds one artifact directory: it serves the steps director, tas and deployment/NAME",
        ),
        (
            &["restore", "plan", "--from", "x"],
            json!({}),
            1,
            "command line: from: holds one artifact directory: it serves the steps director, tas and deployment/NAME",
        ),
        (
            &["restore", "tas", ID],
            confirmed(json!({"recovery_identity": null})),
            1,
            "LIFEBOAT_CONFIG: recovery_identity: is missing or empty; without it nothing can be decrypted (a worker identity reads no contents)",
        ),
        (
            &["restore", "director", ID],
            confirmed(json!({"director": null})),
            1,
            "LIFEBOAT_CONFIG: director: is missing or empty; the component director needs its host, username and private_key",
        ),
        (
            &["restore", "deployment/redis", ID],
            confirmed(json!({"bosh": null})),
            1,
            "LIFEBOAT_CONFIG: bosh: is missing or empty; the component deployment/redis needs the Director's environment, client and client_secret",
        ),
        (
            &["restore", "tas", ID, "--from", "x"],
            json!({}),
            2,
            "cannot be used with",
        ),
        (
            &["restore", "bosh"],
            json!({}),
            2,
            "is not a step; steps are ops-manager, bosh-state, apply-director, director, references, stemcells, scale-down, apply-tas, tas, scale-up, recreate-instances, service-instances and deployment/NAME",
        ),
        (&["restore"], json!({}), 2, "<STEP>"),
        (
            &["restore-cleanup"],
            json!({}),
            1,
            "LIFEBOAT_CONFIG: backup: is missing or empty; name at least one of director, tas and deployment/NAME",
        ),
        (
            &["restore-cleanup", "redis"],
            json!({}),
            1,
            "command line: cleanup[0]: is not a component; components are ops-manager, director, tas, service-instances and deployment/NAME",
        ),
    ]);
}
