//! Drills from their beginning to their end, and what they find.

use serde_json::json;

use super::{Origin, Scratch, proofs, steps, within};
use crate::support::process;

#[test]
fn a_drill_restores_proves_and_takes_down_and_the_next_one_does_again() {
    let origin = Origin::new();
    let before = origin.state();
    let scratch = Scratch::new(&origin, &json!({}));
    let drilled = scratch.passes(&[]);
    let expected = [
        "ops-manager",
        "bosh-state",
        "apply-director",
        "director",
        "references",
        "stemcells",
        "scale-down",
        "apply-tas",
        "tas",
        "scale-up",
        "recreate-instances",
        "service-instances",
        "deployments",
        "instances",
        "inventory",
        "check-app",
        "check-row",
    ];
    let names: Vec<_> = steps(&drilled).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, expected);
    assert!(drilled["rto_ms"].as_u64().unwrap() > 1000, "{drilled}");
    assert!(drilled["rpo_ms"].as_u64().unwrap() > 0, "{drilled}");
    assert!(
        drilled["scratch_is"]
            .as_str()
            .unwrap()
            .contains("is taken down: every deployment"),
        "{drilled}"
    );
    // Nothing is left but the VM of Ops Manager.
    let iaas = scratch.foundation.ask(json!({"do": "iaas"}));
    assert_eq!(iaas["vms"], json!({}), "{iaas}");
    let [proof] = &proofs(&origin, &origin.id)[..] else {
        panic!("one proof is expected");
    };
    assert_eq!(proof["level"], "drilled");
    assert_eq!(proof["result"], "passed");
    assert_eq!(proof["rto_ms"], drilled["rto_ms"]);
    assert_eq!(proof["steps"].as_array().unwrap().len(), expected.len());
    // The plan for the worst day goes by what the drill took.
    let arguments = ["restore", "plan", &origin.id];
    let plan = origin.scene.lifeboat(&arguments, &json!({}));
    let plan = process::finish(process::start(within(&origin.scene.foundation, plan), ""));
    let plan = plan.ok().stdout;
    for words in [
        ": a drill took ",
        "In all ",
        "; the newest drill that passed took ",
    ] {
        assert!(plan.contains(words), "{words}\n{plan}");
    }
    // It may be asked for again, and a drill needs a new VM.
    let again = scratch.clean().ok().stdout;
    assert!(again.contains("taken down already"), "{again}");
    scratch.refuses(&[], &json!({}), &["was taken down", "make its VM", "anew"]);
    scratch.renew();
    let newer = origin.backup();
    let kept = scratch.passes(&["--keep"]);
    assert_eq!(kept["backup"], newer.as_str());
    assert!(kept["interval_ms"].as_u64().is_some(), "{kept}");
    let instances =
        scratch.foundation.ask(json!({"do": "director-db"}))["rows"]["instances"].clone();
    assert!(!instances.as_array().unwrap().is_empty());
    // Kept as it is: it can be looked at again, and taken down.
    let ended = scratch.clean().ok();
    assert!(
        ended.stdout.contains("every deployment and the director"),
        "{}",
        ended.stdout
    );
    scratch.assert_careful();
    let mut after = origin.state();
    // The second backup ran scripts.
    after["journal"] = before["journal"].clone();
    assert_eq!(after, before);
}
