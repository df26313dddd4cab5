//! A standby: a foundation of the same shape under an Ops Manager that was set up for itself, so that its products
//! have GUIDs of their own.

use serde_json::{Value, json};

use super::{Origin, ops_manager};
use crate::opsman::foundation;
use crate::support::process::{self, Ended};
use crate::support::scene::Scene;

fn standby(version: &str) -> Scene {
    foundation(&json!({"tas": {
        "mysql": 3, "services": 1, "guid": "cf-0123456789abcdef0123", "version": version, "rows": 5}}))
}

/// A step of a restore of the origin's backup into another foundation, in place.
fn step(origin: &Origin, standby: &Scene, step: &str) -> Ended {
    let config = json!({
        "ops_manager": ops_manager(standby, &standby.foundation),
        "cloud_controller": null, "credhub": null, "worker_identity": null,
        "confirm_target": origin.scene.source["foundation"],
        "in_place": true,
    });
    let command = origin
        .scene
        .lifeboat(&["restore", step, &origin.id], &config);
    process::finish(process::start(command, ""))
}

fn apps(scene: &Scene) -> Value {
    let all = "select count(*), md5(string_agg(t::text, ',' order by id)) from apps t";
    scene.foundation.ask(json!({"do": "sql", "query": all}))["text"].clone()
}

#[test]
fn a_standby_with_an_ops_manager_of_its_own_is_restored_into_as_it_stands() {
    let origin = Origin::new();
    let standby = standby("6.0.5");
    assert_ne!(apps(&standby), apps(&origin.scene));
    let plan = step(&origin, &standby, "plan").ok().stdout;
    assert!(
        plan.contains("its TAS is of the recorded release"),
        "{plan}"
    );
    assert!(!plan.contains("set up with something else"), "{plan}");
    for name in ["scale-down", "apply-tas", "tas", "scale-up"] {
        step(&origin, &standby, name).ok();
    }
    assert_eq!(apps(&standby), apps(&origin.scene));
    let again = step(&origin, &standby, "scale-up").ok().stdout;
    assert!(again.contains("has its 3 instances"), "{again}");
}

#[test]
fn a_standby_at_another_release_is_told() {
    let origin = Origin::new();
    let plan = step(&origin, &standby("6.0.4"), "plan").ok().stdout;
    let told = "MISSING  TAS: its TAS is 6.0.4 where 6.0.5 is recorded";
    assert!(plan.contains(told), "{plan}");
}
