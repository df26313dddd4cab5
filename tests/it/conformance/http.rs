//! The Director's API, as the programs use it (§6.1).

use serde_json::{Value, json};

use super::{Case, never_says, says};

// rows 11, 12
#[test]
fn basic_authentication_is_sent_everywhere_but_to_info() {
    let case = Case::s1();
    case.precheck().ok();
    for request in case.requests(".*", "") {
        let info = request["path"] == "/info";
        assert_eq!(request["authorization"].is_null(), info, "{request}");
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
        says(&case.precheck_finds(), &["task", outcome, "too tired"]);
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
