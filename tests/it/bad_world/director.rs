//! The Director and its UAA.

use serde_json::{Value, json};

use super::table::Table;
use crate::support::request::fixture;

fn bosh(key: &str, value: impl Into<Value>) -> Value {
    json!({"bosh": {key: value.into()}})
}

#[test]
fn a_director_that_cannot_be_spoken_to() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    let ssh = table.scene.foundation.ready["instances"]["dep/g/u0"]["port"].clone();
    let cases = [
        (
            "a name without an address",
            bosh("environment", "no-such-host.invalid"),
            "deployment/dep: the BOSH Director at no-such-host.invalid:25555 is unreachable or unhealthy: https://no-such-host.invalid:25555/info cannot be reached: the host name has no address; check it, and the DNS. State: nothing was locked and nothing was stored",
        ),
        (
            "a port at which nobody listens",
            bosh("environment", "127.0.0.1:1"),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the connection was refused; check host and port, and that the server runs. State: nothing was locked and nothing was stored",
        ),
        (
            "a port that speaks no TLS",
            bosh("environment", format!("127.0.0.1:{ssh}")),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: what answers there does not speak TLS; check the port. State: nothing was locked and nothing was stored",
        ),
        (
            "another CA",
            bosh("ca_cert", fixture!("ca.pem")),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: its certificate was not issued by the given CA; give the CA that issued it as ca_cert. State: nothing was locked and nothing was stored",
        ),
        (
            "a wrong password",
            bosh("client_secret", "wrong-secret-0815"),
            "deployment/dep: the BOSH Director at … refused the VMs of `dep` with status 401: Not authorized: '/deployments/dep/vms'; check the client, its secret and its authorities. State: nothing was locked and nothing was stored",
        ),
        (
            "an unknown user",
            bosh("client", "nobody"),
            "deployment/dep: the BOSH Director at … refused the VMs of `dep` with status 401: Not authorized: '/deployments/dep/vms'; check the client, its secret and its authorities. State: nothing was locked and nothing was stored",
        ),
        (
            "an unknown deployment",
            json!({"backup": ["deployment/cf-9"]}),
            "deployment/cf-9: the BOSH Director at … does not know deployment `cf-9`: {\"code\": 70000, \"description\": \"Deployment 'cf-9' doesn't exist\"}; compare with `bosh deployments`. State: nothing was locked and nothing was stored",
        ),
        (
            "one of two deployments unknown",
            json!({"backup": ["deployment/dep", "deployment/cf-9"]}),
            "deployment/cf-9: the BOSH Director at … does not know deployment `cf-9`: {\"code\": 70000, \"description\": \"Deployment 'cf-9' doesn't exist\"}; compare with `bosh deployments`. State: nothing was locked and nothing was stored",
        ),
        (
            "an unknown TAS deployment",
            json!({"backup": ["tas"], "tas": {"deployment": "cf-9"}}),
            "tas: the BOSH Director at … does not know deployment `cf-9`: {\"code\": 70000, \"description\": \"Deployment 'cf-9' doesn't exist\"}; compare with `bosh deployments`. State: nothing was locked and nothing was stored",
        ),
    ];
    for (what, params, sentence) in cases {
        table.put(what, &params, sentence);
    }
    for (kind, sentence) in [
        (
            "wrong-host",
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: its certificate is for another name; use the name or address that the certificate was issued for. State: nothing was locked and nothing was stored",
        ),
        (
            "foreign",
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: its certificate was not issued by the given CA; give the CA that issued it as ca_cert. State: nothing was locked and nothing was stored",
        ),
        (
            "expired",
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: its certificate is not valid at this time; renew it, or set this machine's clock. State: nothing was locked and nothing was stored",
        ),
    ] {
        let request = json!({"do": "certificate", "service": "director", "kind": kind});
        table.scene.foundation.ask(request);
        table.put(kind, &json!({}), sentence);
    }
    table.end(12);
}

#[test]
fn a_director_that_gives_odd_answers() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    let faults = [
        (
            "/info",
            json!({"action": "garbage", "body": "<html>a proxy's login page</html>"}),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: /info answered something else than a Director (<html>a proxy's login page</html>); check that its address leads to the Director itself. State: nothing was locked and nothing was stored",
        ),
        (
            "/info",
            json!({"action": "status", "status": 404, "body": "nothing here"}),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: /info answered 404: nothing here; check its address and health. State: nothing was locked and nothing was stored",
        ),
        (
            "/deployments/dep$",
            json!({"action": "garbage", "body": "{"}),
            "deployment/dep: the BOSH Director at … answered the manifest of `dep` with something unreadable (not JSON at line 1, column 1): (not shown, since manifests hold secrets); check that the Director itself answers there, and its health. State: nothing was locked and nothing was stored",
        ),
        (
            "/deployments/dep$",
            json!({"action": "status", "status": 403, "body": "no authority"}),
            "deployment/dep: the BOSH Director at … refused the manifest of `dep` with status 403: no authority; check the client, its secret and its authorities. State: nothing was locked and nothing was stored",
        ),
        (
            "/vms|/instances",
            json!({"action": "garbage", "body": "[1"}),
            "deployment/dep: the BOSH Director at … answered the VMs of `dep` with something unreadable (not JSON at line 1, column 2): [1; check that the Director itself answers there, and its health. State: nothing was locked and nothing was stored",
        ),
        (
            "/tasks/",
            json!({"action": "status", "status": 404, "body": "no such task"}),
            "deployment/dep: …/tasks/… answered the VMs of `dep` with status 404: no such task; look at the Director's health and log. State: nothing was locked and nothing was stored",
        ),
    ];
    for (path, fault, sentence) in faults {
        let mut request = json!({"do": "fault", "service": "director", "path": path});
        crate::support::scene::merge(&mut request, &fault);
        table.scene.foundation.ask(request);
        table.put(&format!("{path} {fault}"), &json!({}), sentence);
        table
            .scene
            .foundation
            .ask(json!({"do": "clear-faults", "service": "director"}));
    }
    let plans = [
        (
            "retrieve vm-stats",
            "error",
            "deployment/dep: task … of the BOSH Director (the VMs of `dep`) ended as error: Timed out sending 'ssh' to instance; see `bosh task … --debug`. State: nothing was locked and nothing was stored",
        ),
        (
            "ssh: setup.*",
            "error",
            "deployment/dep: task … of the BOSH Director (SSH access to `g` of `dep`) ended as error: Timed out sending 'ssh' to instance; see `bosh task … --debug`. State: nothing was locked and nothing was stored",
        ),
        (
            "ssh: setup.*",
            "cancelled",
            "deployment/dep: task … of the BOSH Director (SSH access to `g` of `dep`) ended as cancelled: Task … cancelled; see `bosh task … --debug`. State: nothing was locked and nothing was stored",
        ),
    ];
    for (task, outcome, sentence) in plans {
        table
            .scene
            .foundation
            .ask(json!({"do": "task-plan", "match": task, "outcome": outcome,
            "code": 450_002, "message": "Timed out sending 'ssh' to instance"}));
        table.put(&format!("{task} ends as {outcome}"), &json!({}), sentence);
        table
            .scene
            .foundation
            .ask(json!({"do": "clear-task-plans"}));
    }
    table
        .scene
        .foundation
        .ask(json!({"do": "set-manifest", "deployment": "dep", "text": "{"}));
    table.put("a manifest that is no YAML", &json!({}), "deployment/dep: the manifest of deployment dep cannot be used: the deployment manifest is not YAML (unclosed bracket '{' at line 1, column 1). State: nothing was locked and nothing was stored");
    table.end(10);
}

#[test]
fn a_uaa_that_gives_no_token() {
    let spec = json!({"fixture": "S1", "director": {"auth": "uaa", "client": "ops", "secret": "uaa-secret-4711"}});
    let mut table = Table::new(&spec);
    table.put("a wrong client secret", &bosh("client_secret", "wrong-secret-0815"), "deployment/dep: no token for client `ops` from UAA at …: status 401: {\"error\": \"unauthorized\", \"error_description\": \"Bad credentials\"}; check the client and its secret. State: nothing was locked and nothing was stored");
    table.put("an unknown client", &bosh("client", "nobody"), "deployment/dep: no token for client `nobody` from UAA at …: status 401: {\"error\": \"unauthorized\", \"error_description\": \"Bad credentials\"}; check the client and its secret. State: nothing was locked and nothing was stored");
    let faults = [
        (
            json!({"action": "garbage", "body": "<html>"}),
            "deployment/dep: no token for client `ops` from UAA at …: the answer holds no token; check that UAA itself answers there, not a proxy or load balancer. State: nothing was locked and nothing was stored",
        ),
        (
            json!({"action": "status", "status": 404, "body": "nothing here"}),
            "deployment/dep: no token for client `ops` from UAA at …: status 404: nothing here; check that UAA runs at that address, and its log. State: nothing was locked and nothing was stored",
        ),
    ];
    for (fault, sentence) in faults {
        let mut request = json!({"do": "fault", "service": "uaa"});
        crate::support::scene::merge(&mut request, &fault);
        table.scene.foundation.ask(request);
        table.put(&format!("{fault}"), &json!({}), sentence);
        table
            .scene
            .foundation
            .ask(json!({"do": "clear-faults", "service": "uaa"}));
    }
    for (kind, sentence) in [
        (
            "foreign",
            "deployment/dep: no token for client `ops` from UAA at …: …/oauth/token cannot be reached: its certificate was not issued by the given CA; give the CA that issued it as ca_cert. State: nothing was locked and nothing was stored",
        ),
        (
            "expired",
            "deployment/dep: no token for client `ops` from UAA at …: …/oauth/token cannot be reached: its certificate is not valid at this time; renew it, or set this machine's clock. State: nothing was locked and nothing was stored",
        ),
    ] {
        let request = json!({"do": "certificate", "service": "uaa", "kind": kind});
        table.scene.foundation.ask(request);
        table.put(kind, &json!({}), sentence);
    }
    table.end(6);
}
