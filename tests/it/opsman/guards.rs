//! Each guard stops the run, or marks the backup, and says so by its name.

use serde_json::{Value, json};

use super::{assert_careful, foundation, guid};
use crate::support::scene::Scene;

/// What a put that must not come to a backup said last.
#[track_caller]
fn stopped(scene: &Scene, more: &Value) -> String {
    let before = scene.check().len();
    let ended = scene.put(more);
    assert_eq!(ended.code, 1, "{}", ended.log());
    assert_eq!(scene.check().len(), before);
    // Nothing was locked.
    let locks = scene.foundation.ask(json!({"do": "journal", "since": 0}));
    assert!(!locks.to_string().contains("pre-backup-lock"), "{locks}");
    ended.last_line()
}

/// The notes that `show` and `backup.json` give of a component.
fn notes(scene: &Scene, id: &str, component: &str) -> Vec<String> {
    let (ended, into) = scene.get(id, &json!({}));
    ended.ok();
    let text = std::fs::read(into.join("backup.json")).unwrap();
    let backup: Value = serde_json::from_slice(&text).unwrap();
    let components = backup["components"].as_array().unwrap();
    let found = components
        .iter()
        .find(|one| one["name"] == component)
        .unwrap();
    let notes = found["notes"].as_array().cloned().unwrap_or_default();
    notes
        .iter()
        .map(|note| note.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn no_backup_begins_while_apply_changes_runs() {
    let scene = foundation(&json!({}));
    scene
        .foundation
        .ask(json!({"do": "opsman-apply", "user": "alice", "hold": true}));
    for limit in ["0s", "1s"] {
        let said = stopped(
            &scene,
            &json!({"backup": ["director"], "limits": {"idle_timeout": limit}}),
        );
        assert!(
            said.contains("guard apply-changes: Apply Changes"),
            "{said}"
        );
        assert!(said.contains("begun by alice"), "{said}");
    }
    // Waits for its end where the limit allows.
    let child = scene.start_put(&json!({"backup": ["director"]}));
    std::thread::sleep(std::time::Duration::from_secs(2));
    scene.foundation.ask(json!({"do": "opsman-finish"}));
    let ended = crate::support::process::finish(child).ok();
    assert!(
        ended
            .log()
            .contains("guard apply-changes: ok: none runs any more"),
        "{}",
        ended.log()
    );
    assert_careful(&scene);
}

#[test]
fn an_apply_changes_that_starts_meanwhile_marks_the_backup() {
    let scene = foundation(&json!({}));
    scene.foundation.ask(
        json!({"do": "command-fault", "instance": "bosh", "kind": "delay", "seconds": 4,
        "pattern": "echo ready", "times": 1}),
    );
    let child = scene.start_put(&json!({"backup": ["director"]}));
    scene
        .foundation
        .ask(json!({"do": "wait-journal", "count": 1, "seconds": 60,
        "match": {"script": "backup", "event": "start"}}));
    scene
        .foundation
        .ask(json!({"do": "opsman-apply", "user": "alice", "seconds": 0}));
    let ended = crate::support::process::finish(child).ok();
    let log = ended.log();
    assert!(
        log.contains("guard fence: warning: the foundation changed during the backup"),
        "{log}"
    );
    let notes = notes(&scene, &ended.id(), "director");
    assert!(
        notes
            .iter()
            .any(|note| note.contains("changed during this backup: Apply Changes")),
        "{notes:?}"
    );
}

/// Has the director run an errand until it is released.
fn run_errand(scene: &Scene, deployment: &str) {
    scene
        .foundation
        .ask(json!({"do": "task-plan", "match": "run errand.*", "hold": "errand"}));
    let director = &scene.foundation.ready["director"];
    let text = |key: &str| director[key].as_str().unwrap();
    let script = "
import base64, json, ssl, sys, urllib.request as http
url, uaa, client, secret, deployment = sys.argv[1:]
context = ssl._create_unverified_context()
def ask(url, body, header):
    return http.urlopen(http.Request(url, body, header), context=context).read()
basic = base64.b64encode(f'{client}:{secret}'.encode()).decode()
token = json.loads(ask(uaa + '/oauth/token', b'grant_type=client_credentials', {'Authorization': 'Basic ' + basic}))
class Stay(http.HTTPRedirectHandler):
    def redirect_request(self, *_): return None
opener = http.build_opener(http.HTTPSHandler(context=context), Stay)
try:
    opener.open(http.Request(f'{url}/deployments/{deployment}/errands/smoke/runs', b'{}', {
        'Authorization': 'Bearer ' + token['access_token'], 'Content-Type': 'application/json'}))
except http.HTTPError as error:
    assert error.code == 302, (error.code, error.read())
";
    let done = std::process::Command::new("python3")
        .args([
            "-c",
            script,
            text("url"),
            text("uaa"),
            text("client"),
            text("client_secret"),
            deployment,
        ])
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn the_director_must_be_idle() {
    let scene = foundation(&json!({}));
    let (cf, redis) = (guid(&scene, "cf"), guid(&scene, "p-redis"));
    run_errand(&scene, &redis);
    let busy = |component: &str| json!({"backup": [component], "limits": {"idle_timeout": "1s"}});
    let said = stopped(&scene, &busy("director"));
    assert!(
        said.contains("guard director-idle: the Director is still at work"),
        "{said}"
    );
    assert!(
        said.contains(&format!("on {redis}) is processing")),
        "{said}"
    );
    // What it does elsewhere does not matter to a deployment.
    scene.put(&busy("tas")).ok();
    run_errand(&scene, &cf);
    let ended = scene.put(&busy("tas"));
    assert_eq!(ended.code, 1);
    let said = ended.last_line();
    assert!(said.contains(&format!("on {cf}) is processing")), "{said}");
    // Waits where the limit allows.
    let child = scene.start_put(&json!({"backup": ["director"]}));
    std::thread::sleep(std::time::Duration::from_secs(2));
    scene
        .foundation
        .ask(json!({"do": "release-tasks", "hold": "errand"}));
    let ended = crate::support::process::finish(child).ok();
    assert!(
        ended.log().contains("guard director-idle: ok"),
        "{}",
        ended.log()
    );
}

#[test]
fn a_director_that_does_not_tell_its_tasks_locks_nothing() {
    let scene = foundation(&json!({}));
    scene.foundation.ask(
        json!({"do": "fault", "service": "director", "action": "status", "status": 403,
        "body": "no", "path": "/tasks([?]|$)"}),
    );
    let said = scene.put(&json!({"backup": ["tas"]})).fails(1).last_line();
    assert!(
        said.contains("refused the tasks under way with status 403"),
        "{said}"
    );
    assert!(
        said.contains("State: nothing was locked and nothing was stored"),
        "{said}"
    );
    scene.foundation.assert_clean();
}

#[test]
fn a_task_that_starts_meanwhile_marks_the_backup() {
    // Time enough to begin a task before the last unlock, on a busy machine too.
    let scene = foundation(&json!({"tas": {"unlock_seconds": 6}}));
    let cf = guid(&scene, "cf");
    let child = scene.start_put(&json!({"backup": ["tas"]}));
    scene
        .foundation
        .ask(json!({"do": "wait-journal", "count": 1, "seconds": 60,
        "match": {"script": "pre-backup-lock", "event": "start"}}));
    run_errand(&scene, &cf);
    let ended = crate::support::process::finish(child).ok();
    let notes = notes(&scene, &ended.id(), "tas");
    assert!(
        notes.iter().any(|note| note.contains("began (run errand")),
        "{notes:?} {}",
        ended.log()
    );
    assert!(
        ended.log().contains("the backup is kept and marked"),
        "{}",
        ended.log()
    );
}

#[test]
fn tas_needs_its_backup_restore_vm() {
    let scene = foundation(&json!({}));
    let cf = guid(&scene, "cf");
    let key = format!("{cf}/backup_restore/backup_restore-0");
    scene
        .foundation
        .ask(json!({"do": "set-vm", "instance": key, "unresponsive_agent": true}));
    let said = stopped(&scene, &json!({"backup": ["tas"]}));
    assert!(
        said.contains("guard backup-restore-vm: backup_restore/backup_restore-0"),
        "{said}"
    );
    assert!(said.contains("does not run"), "{said}");
}

#[test]
fn the_passphrase_is_proved_or_missed() {
    let scene = foundation(&json!({}));
    let with = |passphrase: Value| json!({"backup": ["ops-manager"], "ops_manager": {"decryption_passphrase": passphrase}});
    let said = stopped(&scene, &with(json!("something else")));
    assert!(said.contains("guard decryption-passphrase"), "{said}");
    let said = stopped(&scene, &with(json!("")));
    assert!(
        said.contains("decryption_passphrase: is missing or empty"),
        "{said}"
    );
    let ended = scene.put(&with(Value::Null)).ok();
    let log = ended.log();
    assert!(
        log.contains("guard decryption-passphrase: warning"),
        "{log}"
    );
    assert!(log.contains("cannot be imported, ever"), "{log}");
    let found = notes(&scene, &ended.id(), "ops-manager");
    assert!(found[0].contains("passphrase was not proved"), "{found:?}");
    let ended = scene.put(&json!({"backup": ["ops-manager"]})).ok();
    assert!(
        ended.log().contains("guard decryption-passphrase: ok"),
        "{}",
        ended.log()
    );
    assert_eq!(
        notes(&scene, &ended.id(), "ops-manager"),
        Vec::<String>::new()
    );
    assert_careful(&scene);
}

#[test]
fn blobs_that_stay_in_a_bucket_are_said_in_log_manifest_and_show() {
    let scene = foundation(&json!({}));
    let selector =
        |value: &str| json!({"type": "selector", "value": value, "selected_option": value});
    for (kind, versioned, expected) in [
        ("external", true, "versioned S3 bucket"),
        ("external", false, "backup bucket"),
        ("external_azure", false, "Azure container"),
    ] {
        scene
            .foundation
            .ask(json!({"do": "opsman-product", "type": "cf", "properties": {
                ".properties.system_blobstore": selector(kind),
                ".properties.system_blobstore.external.versioning": {"type": "boolean", "value": versioned},
                ".properties.system_database": selector("external"),
            }}));
        let ended = scene.put(&json!({"backup": ["tas"]})).ok();
        let log = ended.log();
        assert!(
            log.contains("guard blobstore: warning: the blobs of TAS are not in this backup"),
            "{log}"
        );
        assert!(log.contains(expected), "{log}");
        assert!(log.contains("metadata-only"), "{log}");
        let notes = notes(&scene, &ended.id(), "tas");
        assert!(
            notes.iter().any(|note| note.contains(expected)),
            "{notes:?}"
        );
        assert!(
            notes
                .iter()
                .any(|note| note.contains("database of TAS is outside")),
            "{notes:?}"
        );
    }
    assert_careful(&scene);
}

#[test]
fn a_directors_blobstore_that_was_skipped_is_noticed() {
    let scene = foundation(&json!({}));
    let host = scene.foundation.ready["hosts"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap()
        .clone();
    scene.foundation.ask(
        json!({"do": "set-job", "instance": host, "job": "blobstore", "value": {
            "scripts": {"backup": {"files": {"backup-skipped": "blobstore backups are off"}}},
        }}),
    );
    let ended = scene.put(&json!({"backup": ["director"]})).ok();
    let log = ended.log();
    assert!(log.contains("guard backup-skipped: warning"), "{log}");
    let notes = notes(&scene, &ended.id(), "director");
    assert!(
        notes
            .iter()
            .any(|note| note.contains("releases are not in this backup")),
        "{notes:?}"
    );
}

#[test]
fn pending_changes_are_a_warning() {
    let scene = foundation(&json!({}));
    scene
        .foundation
        .ask(json!({"do": "opsman-product", "type": "p-redis", "changed": ["properties"]}));
    let ended = scene.put(&json!({"backup": ["ops-manager"]})).ok();
    assert!(
        ended.log().contains("guard pending-changes: warning"),
        "{}",
        ended.log()
    );
}
