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
    let cleanup = "lifeboat drill-cleanup --confirm-target scratch-1";
    assert!(
        kept["scratch_is"].as_str().unwrap().contains(cleanup),
        "{kept}"
    );
    looks_again(&origin, &scratch, &newer);
    // It can be taken down.
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

/// A drill that was kept is looked at again: that restores nothing, so it proves nothing anew, and whoever
/// cannot be asked is what it finds.
fn looks_again(origin: &Origin, scratch: &Scratch<'_>, kept: &str) {
    const AUTHORITIES: &str = "/api/v0/certificate_authorities";
    let control = &scratch.foundation;
    let asked = || {
        let question =
            json!({"do": "requests", "service": "opsman", "method": "GET", "path": AUTHORITIES});
        control.ask(question)["requests"].as_array().unwrap().len()
    };
    let results = || {
        let mut results: Vec<_> = proofs(origin, kept)
            .iter()
            .map(|proof| proof["result"].as_str().unwrap().to_owned())
            .collect();
        results.sort();
        results
    };
    let before = asked();
    let ended = scratch.run(&["--keep", "--json"], &json!({})).ok();
    let each = asked() - before;
    let looked = ended.json();
    assert_eq!(looked["result"], "passed", "{looked}");
    let words = format!("nothing was restored anew: this drill of backup {kept} passed at ");
    assert!(looked["notes"].to_string().contains(&words), "{looked}");
    assert!(ended.log().contains(&words), "{}", ended.log());
    assert_eq!(results(), ["passed"]);
    scratch.refuses(
        &[origin.id.as_str()],
        &json!({}),
        &[
            "holds a drill of backup",
            "that passed at",
            "`lifeboat drill-cleanup --confirm-target scratch-1`",
        ],
    );
    // The last time that the certificates are asked for is before the checks, and for them alone.
    let fault = json!({"do": "fault", "service": "opsman", "action": "status", "status": 403,
        "path": AUTHORITIES, "skip": each - 1});
    control.ask(fault.clone());
    let ended = scratch
        .run(&["--keep", "--json"], &json!({"drill": {"checks": []}}))
        .ok();
    assert_eq!(ended.json()["result"], "passed", "{}", ended.json());
    control.ask(json!({"do": "clear-faults", "service": "opsman"}));
    control.ask(fault);
    let ended = scratch.run(&["--keep", "--json"], &json!({})).fails(3);
    let failed = ended.json();
    let bad: Vec<_> = steps(&failed).into_iter().filter(|(_, ok)| !ok).collect();
    assert_eq!(bad, [("checks".to_owned(), false)], "{failed}");
    let means = &failed["steps"].as_array().unwrap().last().unwrap()["means"];
    assert!(means.as_str().unwrap().contains("Ops Manager"), "{failed}");
    assert_eq!(failed["rto_ms"], json!(null), "{failed}");
    assert_eq!(results(), ["failed", "passed"]);
    control.ask(json!({"do": "clear-faults", "service": "opsman"}));
}
