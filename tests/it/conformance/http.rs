//! The Director's API, as the programs use it (§6.1).

use serde_json::{Value, json};

use super::{Case, never_says, says};
use crate::support::process::cli;

// rows 11, 12
#[test]
fn basic_authentication_is_sent_everywhere_but_to_info() {
    let case = Case::s1();
    case.precheck().ok();
    for request in case.requests(".*", "") {
        let info = request["path"] == "/info";
        assert_eq!(
            request["authorization"],
            if info { "" } else { "Basic" },
            "{request}"
        );
        assert_eq!(request["authorized"] == true, !info, "{request}");
    }
    case.clear_requests();
    case.director_fault(
        json!({"action": "status", "status": 500, "path": "^/info", "body": "ill"}),
    );
    says(
        &case.precheck_finds(),
        &["unreachable or unhealthy", "500", "ill"],
    );
    let asked = case.requests(".*", "");
    assert!(
        asked.iter().all(|request| request["path"] == "/info"),
        "{asked:?}"
    );
}

// rows 13, 14, 15
#[test]
fn tokens_of_uaa_are_used_and_renewed() {
    let case = Case::new(&json!({"fixture": "S1", "director": {"auth": "uaa"}}));
    case.director_fault(json!({
        "action": "status", "status": 401, "path": "/vms", "method": "GET", "times": 1
    }));
    case.precheck().ok();
    let tokens = case
        .foundation
        .ask(json!({"do": "requests", "service": "uaa"}));
    let tokens = tokens["requests"].as_array().unwrap();
    assert_eq!(
        tokens.len(),
        2,
        "one, and one after the refusal: {tokens:?}"
    );
    for request in tokens {
        assert_eq!(request["method"], "POST");
        assert!(request["path"].as_str().unwrap().ends_with("/oauth/token"));
        assert_eq!(request["body"], "grant_type=client_credentials");
    }
    assert_eq!(case.requests("GET", "/vms").len(), 2);
    case.foundation.assert_clean();
    let nowhere = Case::new(&json!({"fixture": "S1", "director": {"auth": "uaa", "uaa_url": ""}}));
    says(
        &nowhere.precheck_finds(),
        &["UAA", "(no URL)", "no valid URL"],
    );
}

// rows 16, 17, 18
#[test]
fn redirects_busy_answers_and_slow_tasks_are_lived_through() {
    let case = Case::s1();
    case.director_fault(json!({
        "action": "redirect", "path": "/vms", "to": "https://director.invalid:1", "times": 1
    }));
    case.director_fault(json!({
        "action": "status", "status": 503, "method": "GET", "path": "^/deployments/dep$", "times": 2
    }));
    case.foundation.ask(json!({
        "do": "task-plan", "match": "vm-stats", "queued": 1, "processing": 2, "times": 1
    }));
    case.precheck().ok();
    assert_eq!(case.requests("GET", "^/deployments/dep$").len(), 3);
    let looks = case.requests("GET", "^/tasks/101$");
    assert!(looks.len() >= 4, "{looks:?}");
    case.clear_requests();
    case.director_fault(json!({
        "action": "status", "status": 404, "method": "GET", "path": "^/deployments/dep$", "body": "gone"
    }));
    says(
        &case.precheck_finds(),
        &["does not know deployment `dep`", "gone"],
    );
    assert_eq!(case.requests("GET", "^/deployments/dep$").len(), 1);
    case.foundation.assert_clean();
}

// rows 19
#[test]
fn a_task_that_ends_badly_is_named_with_its_reason() {
    let case = Case::s1();
    for outcome in ["error", "cancelled", "timeout"] {
        case.foundation.ask(json!({
            "do": "task-plan", "match": "vm-stats", "outcome": outcome, "message": "too tired", "times": 1
        }));
        let found = case.precheck_finds();
        says(&found, &["task", outcome]);
        assert_eq!(
            found.contains("too tired"),
            outcome != "cancelled",
            "{found}"
        );
    }
    assert_eq!(case.requests("POST", "/ssh"), [Value::Null; 0]);
}

// rows 20, 21
#[test]
fn an_unknown_deployment_touches_nothing() {
    let case = Case::of(&json!({"fixture": "S1"}), "deployment/nope");
    let endings = [case.backup().fails(1), case.cleanup().fails(1)];
    for ended in endings {
        says(
            &ended.last_line(),
            &["does not know deployment `nope`", "70000"],
        );
    }
    never_says(&case.backup().last_line(), &["To mend it"]);
    says(&case.precheck_finds(), &["does not know deployment `nope`"]);
    assert_eq!(
        case.requests("GET", "^/deployments/nope$"),
        [Value::Null; 0]
    );
    assert_eq!(case.requests("POST", ".*"), [Value::Null; 0]);
    case.assert_nothing_happened();
    case.director_fault(
        json!({"action": "status", "status": 500, "path": "/vms", "body": "broken"}),
    );
    says(&case.precheck_finds(), &["500", "broken"]);
}

// rows 23
#[test]
fn debug_shows_requests_without_secrets() {
    let case = Case::new(&json!({"fixture": "S1", "director": {"password": "sesame-sesame"}}));
    let log = case.backup_with(&json!({"debug": true})).ok().log();
    says(&log, &["GET", "/deployments/dep"]);
    never_says(&log, &["sesame-sesame", "c2VzYW1l"]);
}

// rows 4, 6
#[test]
fn the_environment_can_hold_every_key() {
    let case = Case::s1();
    let ready = &case.foundation.ready;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let director = &ready["director"];
    let ended = cli(
        &["pre-backup-check", "deployment/dep"],
        &[
            ("LIFEBOAT_FOUNDATION", "prod-east"),
            ("LIFEBOAT_BOSH_ENVIRONMENT", &text(&director["url"])),
            ("LIFEBOAT_BOSH_CLIENT", &text(&director["client"])),
            (
                "LIFEBOAT_BOSH_CLIENT_SECRET",
                &text(&director["client_secret"]),
            ),
            ("LIFEBOAT_BOSH_CA_CERT", &text(&ready["ca_cert"])),
        ],
    );
    says(&ended.ok().stdout, &["deployment/dep can be backed up"]);
}

// rows 1, 7, 8, 9, 10
#[test]
fn what_cannot_be_an_address_or_a_certificate_asks_nothing() {
    let mut case = Case::s1();
    let good = case.params_mut()["bosh"].clone();
    for (key, value) in [
        ("environment", json!("https://:25555")),
        ("environment", json!("")),
        ("ca_cert", json!("/no/such/file")),
        ("ca_cert", json!("-----BEGIN")),
        ("client", Value::Null),
        ("client_secret", Value::Null),
    ] {
        let bosh = &mut case.params_mut()["bosh"];
        bosh[key] = value.clone();
        if value.is_null() {
            bosh.as_object_mut().unwrap().remove(key);
        }
        let ended = case.precheck().fails(1);
        says(&ended.last_line(), &[&format!("bosh.{key}: ")]);
        case.params_mut()["bosh"] = good.clone();
    }
    assert_eq!(case.requests(".*", ""), [Value::Null; 0]);
    // Without a certificate the system's are used, to which this Director's is a stranger.
    case.params_mut()["bosh"]
        .as_object_mut()
        .unwrap()
        .remove("ca_cert");
    says(&case.precheck_finds(), &["certificate"]);
    assert_eq!(case.requests("GET", "").len(), 0);
}
