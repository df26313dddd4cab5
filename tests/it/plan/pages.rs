//! What a plan says for whole and for partial backups.

use serde_json::{Value, json};

use super::Origin;

fn plan(origin: &Origin, id: &str, more: &Value) -> String {
    let arguments = ["restore", "plan", id];
    let command = origin.scene.lifeboat(&arguments, more);
    crate::support::process::finish(crate::support::process::start(command, ""))
        .ok()
        .stdout
}

#[test]
fn a_plan_names_what_a_backup_can_restore_and_what_it_needs() {
    let origin = Origin::new();
    // Without the means to open it: by the manifest alone, and it says so.
    let sealed = plan(&origin, &origin.id, &json!({"recovery_identity": null}));
    assert!(
        sealed.contains("recovery_identity is not given"),
        "{sealed}"
    );
    assert!(sealed.contains("MISSING  recovery_identity"), "{sealed}");
    // Nothing but the backup: Ops Manager would tell who may ask the others.
    let alone = json!({"ops_manager": null, "cloud_controller": null, "credhub": null});
    let whole = plan(&origin, "latest", &alone);
    for line in [
        "restores: the whole foundation",
        "ops_manager is not configured: nothing of the target was looked at",
        "Ops Manager: a VM from the image of version 3.0.24-build.1, not set up",
        "look     stemcell ubuntu-jammy 1.500",
        "certificates:",
    ] {
        assert!(whole.contains(line), "{line}\n{whole}");
    }
    let order: Vec<_> = whole
        .lines()
        .filter_map(|line| line.trim().strip_prefix("$ lifeboat restore "))
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    let expected = super::STEPS.iter().copied().chain(["service-instances"]);
    assert_eq!(order, expected.collect::<Vec<_>>());
    // Parts of a foundation.
    for (components, scope, first) in [
        (json!(["director"]), "the director alone", "director"),
        (json!(["tas"]), "TAS alone", "scale-down"),
    ] {
        let id = origin.scene.put(&json!({"backup": components})).ok().id();
        let text = plan(&origin, &id, &alone);
        assert!(text.contains(&format!("restores: {scope}")), "{text}");
        let command = format!("$ lifeboat restore {first} {id} --confirm-target prod-east");
        let one = text
            .lines()
            .find(|line| line.contains("$ lifeboat"))
            .unwrap();
        assert_eq!(one.trim(), command);
        assert!(!text.contains("import the installation"), "{text}");
    }
    let arguments = ["restore", "plan", &origin.id, "--json"];
    let command = origin.scene.lifeboat(&arguments, &json!({}));
    let document = crate::support::process::finish(crate::support::process::start(command, ""))
        .ok()
        .json();
    assert_eq!(document["scope"], "the whole foundation");
    assert_eq!(document["steps"][2]["state"], "done");
}
