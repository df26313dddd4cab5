//! Drills from their beginning to their end, and what they find.

use serde_json::{Value, json};

use super::{Origin, Scratch, tas};

fn steps(drilled: &Value) -> Vec<(String, bool)> {
    let steps = drilled["steps"].as_array().unwrap();
    let one = |step: &Value| {
        (
            step["name"].as_str().unwrap().to_owned(),
            step["ok"].as_bool().unwrap(),
        )
    };
    steps.iter().map(one).collect()
}

fn proofs(origin: &Origin, id: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let place = origin.scene.store("one").join("prod-east/reports").join(id);
    for entry in std::fs::read_dir(place).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(name.contains("-drilled-"), "{name}");
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let mut lines = text.lines();
        found.push(serde_json::from_str(lines.next().unwrap()).unwrap());
        assert!(lines.next().unwrap().contains("SSH SIGNATURE"), "{text}");
    }
    found
}

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

#[test]
fn what_is_not_as_it_was_is_found_and_said_and_mended_by_another_run() {
    let origin = Origin::new();
    let scratch = Scratch::new(&origin, &json!({}));
    scratch.passes(&["--keep"]);
    let control = &scratch.foundation;
    let deployment = tas(&origin);
    // Each planted fault, the stage that finds it, and a word of what it says.
    let faults = [
        (
            json!({"do": "sql", "query": "delete from apps where id = 7"}),
            json!({"do": "sql", "query": "insert into apps values (7, 'app-7', '{}')"}),
            "check-row",
            "does not contain",
        ),
        (
            json!({"do": "fault", "service": "router", "action": "status", "status": 404, "path": "/app"}),
            json!({"do": "clear-faults", "service": "router"}),
            "check-app",
            "status 404",
        ),
    ];
    for (plant, mend, stage, word) in faults {
        control.ask(plant);
        let ended = scratch
            .run(&["--keep", "--json"], &json!({"drill": {"timeout": "1s"}}))
            .fails(3);
        let drilled = ended.json();
        assert_eq!(drilled["result"], "failed");
        for (name, ok) in steps(&drilled) {
            assert_eq!(ok, name != stage, "{name}: {drilled}");
        }
        let failed = drilled["steps"].as_array().unwrap();
        let failed = failed.iter().find(|step| step["name"] == stage).unwrap();
        assert!(
            failed["said"][0].as_str().unwrap().contains(word),
            "{failed}"
        );
        assert!(
            failed["means"].as_str().unwrap().contains("foundation"),
            "{failed}"
        );
        control.ask(mend);
    }
    what_is_gone_or_changed_is_told_by_kind(&scratch);
    let group = format!("{deployment}/diego_cell");
    let key = control.ask(json!({"do": "describe"}))["instances"]
        .as_object()
        .unwrap()
        .keys()
        .find(|key| key.starts_with(&group))
        .unwrap()
        .clone();
    control.ask(json!({"do": "power", "instance": key, "on": false}));
    let ended = scratch.run(&["--keep"], &json!({})).fails(3);
    assert!(
        ended.stdout.contains("FAILED  instances"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("does not run"), "{}", ended.stdout);
    control.ask(json!({"do": "power", "instance": key, "on": true}));
    let drilled = scratch.passes(&["--keep"]);
    assert!(drilled["runs"].as_u64().unwrap() > 3, "{drilled}");
    let results: Vec<_> = proofs(&origin, &origin.id)
        .iter()
        .map(|proof| proof["result"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        results.iter().filter(|result| *result == "failed").count(),
        4
    );
    assert_eq!(
        results.iter().filter(|result| *result == "passed").count(),
        2
    );
    // What a page or a command answers is never shown: it may be a secret.
    assert!(!ended.log().contains("app-7"), "{}", ended.log());
}

/// An app, a route and a quota: the log names them, the proof, which anybody with the bucket reads, does not.
fn what_is_gone_or_changed_is_told_by_kind(scratch: &Scratch<'_>) {
    let control = &scratch.foundation;
    // What the Cloud Controller has is in this table, restored.
    let sql = |query: &str| control.ask(json!({"do": "sql", "query": query}));
    sql("create table capi_before as table capi");
    for (kind, name) in [("apps", "app-5"), ("routes", "app-4.apps.test.example.com")] {
        control.ask(json!({"do": "capi-delete", "kind": kind, "name": name}));
    }
    control.ask(
        json!({"do": "capi-change", "kind": "organization_quotas", "name": "default",
        "row": {"apps": {"total_memory_in_mb": 1}}}),
    );
    let ended = scratch.run(&["--keep", "--json"], &json!({})).fails(3);
    let drilled = ended.json();
    let failed: Vec<_> = steps(&drilled)
        .into_iter()
        .filter(|(_, ok)| !ok)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(failed, ["inventory"], "{drilled}");
    let said = drilled["steps"].to_string();
    for part in ["app: 1 missing", "route: 1 missing", "org quota: 1 changed"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("app-5"), "{said}");
    assert!(
        ended.log().contains("app app-5: missing in B"),
        "{}",
        ended.log()
    );
    sql("delete from capi; insert into capi select * from capi_before; drop table capi_before");
}
