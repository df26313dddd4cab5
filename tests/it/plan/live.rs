//! A restore that is aimed at the foundation itself by mistake.

use serde_json::json;

use super::{Origin, Target};

#[test]
fn no_step_changes_a_foundation_that_lives() {
    let origin = Origin::new();
    let mut target = Target::new(&origin, &json!({}));
    // The operator gives the address of the original.
    target.config["ops_manager"] = origin.itself();
    let live = &origin.scene.foundation;
    let state = || live.ask(json!({"do": "opsman-state"}));
    let before = state();
    let iaas = live.ask(json!({"do": "iaas"}));
    let rows = live.ask(json!({"do": "director-db"}))["rows"]["instances"].clone();
    let ended = target.step("ops-manager").ok();
    assert!(
        ended.stdout.contains("if it is the original"),
        "{}",
        ended.stdout
    );
    let answers = [
        "a director answers",
        "live foundation",
        "Nothing was changed",
    ];
    target.refuses("bosh-state", &json!({}), &answers);
    target.refuses(
        "apply-director",
        &json!({}),
        &["still names the original's director VM"],
    );
    target.refuses(
        "director",
        &json!({}),
        &["sees VMs that run", "nothing was restored"],
    );
    let stops = [
        "isolation guard: STOP",
        "answers (running)",
        "Nothing was resolved",
    ];
    target.refuses("references", &json!({}), &stops);
    for step in [
        "stemcells",
        "scale-down",
        "apply-tas",
        "scale-up",
        "recreate-instances",
    ] {
        target.refuses(
            step,
            &json!({}),
            &["does not say that it was restored from backup"],
        );
    }
    target.refuses("tas", &json!({}), &["3 instances of mysql", "exactly one"]);
    let plan = target.step("plan").ok().stdout;
    assert!(plan.contains("names VM"), "{plan}");
    let after = state();
    for key in [
        "installations",
        "bosh_state",
        "disasters",
        "violations",
        "products",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(live.ask(json!({"do": "iaas"}))["vms"], iaas["vms"]);
    assert_eq!(
        live.ask(json!({"do": "director-db"}))["rows"]["instances"],
        rows
    );
}

#[test]
fn in_place_repairs_the_foundation_itself() {
    let origin = Origin::new();
    let mut target = Target::new(&origin, &json!({}));
    target.config["ops_manager"] = origin.itself();
    target.config["in_place"] = true.into();
    let live = &origin.scene.foundation;
    let state = || live.ask(json!({"do": "opsman-state"}));
    let named = state()["bosh_state"]["current_vm_cid"].clone();
    target.refuses("bosh-state", &json!({}), &["keeps bosh-state.json"]);
    target.refuses("references", &json!({}), &["in_place", "cloud-check"]);
    let applied = target.does("apply-director");
    assert!(
        applied.stdout.contains("is deployed on its VM"),
        "{}",
        applied.stdout
    );
    let restored = target.step("director").ok();
    assert!(
        restored.log().contains("in_place: whether VMs"),
        "{}",
        restored.log()
    );
    // After a failed upgrade: TAS alone.
    let count = "select count(*) from apps";
    let apps = || live.ask(json!({"do": "sql", "query": count}))["text"].clone();
    let before = apps();
    live.ask(json!({"do": "sql", "query": "delete from apps"}));
    target.refuses("tas", &json!({}), &["3 instances of mysql"]);
    for step in ["scale-down", "apply-tas", "tas", "scale-up"] {
        target.does(step);
    }
    assert_eq!(apps(), before);
    let after = state();
    assert_eq!(after["disasters"], json!([]));
    assert_eq!(after["bosh_state"]["current_vm_cid"], named);
}
