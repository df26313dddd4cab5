//! What Ops Manager is given and what it gives appears in no line, whatever goes wrong.

use serde_json::{Value, json};

use super::{assert_careful, foundation};
use crate::support::process::Ended;

#[test]
fn no_credential_of_ops_manager_is_ever_shown() {
    let mut scene = foundation(&json!({}));
    scene.params["debug"] = true.into();
    let ready = scene.foundation.ready.clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let director = ready["hosts"]["bosh"]["private_key_file"].as_str().unwrap();
    let key = std::fs::read_to_string(director).unwrap();
    let line = key.lines().nth(1).unwrap().to_owned();
    let needles = [
        text(&ready["opsman"]["password"]),
        text(&ready["opsman"]["decryption_passphrase"]),
        text(&ready["opsman"]["client_secret"]),
        text(&ready["director"]["client_secret"]),
        "cc-db-encryption-key".to_owned(),
        "cf-admin-password".to_owned(),
        "credhub-encryption-key".to_owned(),
        line,
    ];
    let quiet = |what: &str, ended: &Ended| {
        for needle in &needles {
            let json = serde_json::to_string(needle).unwrap();
            for shape in [needle.as_str(), json.trim_matches('"')] {
                for said in [&ended.stdout, &ended.stderr] {
                    assert!(!said.contains(shape), "{what}: {shape}\n{said}");
                }
            }
        }
    };
    let all = json!({"backup": ["ops-manager", "director", "service-instances"]});
    let ended = scene.put(&all).ok();
    quiet("a whole backup", &ended);
    assert_careful(&scene);

    // Answers that repeat what was sent, or hold what was got before.
    let echoed = needles.join(" ");
    for (path, method, status) in [
        ("/uaa/oauth/token", "POST", 401),
        ("/api/v0/unlock", "PUT", 500),
        ("installation_asset_collection", "GET", 422),
        ("certificate_authorities", "GET", 500),
        ("credentials/", "GET", 403),
    ] {
        scene.foundation.ask(
            json!({"do": "fault", "service": "opsman", "action": "status",
            "method": method, "path": path, "status": status, "body": echoed}),
        );
        let ended = scene.put(&json!({"backup": ["ops-manager", "director"],
            "bosh": {"client_secret": needles[3], "client": "bbr_client"},
            "director": {"private_key": key},
            "ops_manager": {"username": null, "password": null,
                "client_id": ready["opsman"]["client_id"], "client_secret": needles[2]}}));
        // What nobody was told yet cannot be known to be a secret.
        let told = &needles[..4];
        for needle in told.iter().filter(|needle| **needle != needles[0]) {
            assert!(
                !ended.stderr.contains(needle.as_str()),
                "{path}: {needle}\n{}",
                ended.stderr
            );
        }
        scene
            .foundation
            .ask(json!({"do": "clear-faults", "service": "opsman"}));
    }
}
