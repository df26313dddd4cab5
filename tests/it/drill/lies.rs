//! What is not as it was in the restored foundation: what each stage of a drill says of it, and that no
//! other level of verification can. `docs/proofs.md` has the table; `LIFEBOAT_WRITE_DOCS=1` writes it anew.

use serde_json::{Value, json};

use super::{Origin, Scratch, proofs, steps, tas};
use crate::faults::{LEVELS, Table};

const BEGIN: &str = "<!-- The table is what tests/it/drill/lies.rs saw; it compares. -->\n";

/// One thing that is not as it was.
struct Lie {
    what: &'static str,
    /// The stage that must find it, and no other.
    stage: &'static str,
    /// What its result must say.
    said: &'static str,
    plant: Value,
}

/// Planted together, looked for by one drill, mended together.
struct Lies {
    lies: Vec<Lie>,
    mend: Vec<Value>,
}

fn sql(query: &str) -> Value {
    json!({"do": "sql", "query": query})
}

fn service(control: &str, kind: &str, name: &str) -> Value {
    json!({"do": control, "kind": kind, "name": name})
}

fn all(cell: &str) -> Vec<Lies> {
    let lie = |what, stage, said, plant| Lie {
        what,
        stage,
        said,
        plant,
    };
    let mut quota = service("capi-change", "organization_quotas", "default");
    quota["row"] = json!({"apps": {"total_memory_in_mb": 1}});
    let credential = "/p-bosh/cf/uaa-jwt";
    vec![
        Lies {
            lies: vec![lie(
                "a row deleted before the restore's end",
                "check-row",
                "does not contain",
                sql("delete from apps where id = 7"),
            )],
            mend: vec![sql("insert into apps values (7, 'app-7', '{}')")],
        },
        Lies {
            lies: vec![lie(
                "an app that does not answer",
                "check-app",
                "status 404",
                json!({"do": "fault", "service": "router", "action": "status", "status": 404, "path": "/app"}),
            )],
            mend: vec![json!({"do": "clear-faults", "service": "router"})],
        },
        Lies {
            lies: vec![
                lie(
                    "an app missing",
                    "inventory",
                    "app: 1 missing",
                    service("capi-delete", "apps", "app-5"),
                ),
                lie(
                    "a route gone",
                    "inventory",
                    "route: 1 missing",
                    service("capi-delete", "routes", "app-4.apps.test.example.com"),
                ),
                lie(
                    "a quota changed",
                    "inventory",
                    "org quota: 1 changed",
                    quota,
                ),
                lie(
                    "a credential gone from CredHub",
                    "inventory",
                    "CredHub credential: 1 missing",
                    json!({"do": "credhub-names", "remove": [credential]}),
                ),
            ],
            // What the Cloud Controller has is in this table, restored.
            mend: vec![
                sql("delete from capi; insert into capi select * from capi_before"),
                json!({"do": "credhub-names", "add": [format!("{credential} 2026-01-02T00:00:00Z")]}),
            ],
        },
        Lies {
            lies: vec![lie(
                "an instance that does not run",
                "instances",
                "does not run",
                json!({"do": "power", "instance": cell, "on": false}),
            )],
            mend: vec![json!({"do": "power", "instance": cell, "on": true})],
        },
    ]
}

#[test]
fn what_is_not_as_it_was_is_found_by_a_drill_alone_and_mended_by_another_run() {
    let origin = Origin::new();
    let scratch = Scratch::new(&origin, &json!({}));
    scratch.passes(&["--keep"]);
    scratch
        .foundation
        .ask(sql("create table capi_before as table capi"));
    let lies = all(&cell(&origin, &scratch));
    let mut table = Table::new(&["What is wrong in the restored foundation"], &["drilled"]);
    let other_levels = other_levels(&origin);
    for together in &lies {
        for lie in &together.lies {
            scratch.foundation.ask(lie.plant.clone());
        }
        let said = found(&scratch, &together.lies);
        for (lie, said) in together.lies.iter().zip(said) {
            let mut row = vec![lie.what.to_owned()];
            row.extend(other_levels.iter().cloned());
            row.push(said);
            table.row(&row);
        }
        for mend in &together.mend {
            scratch.foundation.ask(mend.clone());
        }
    }
    let drilled = scratch.passes(&["--keep"]);
    assert_eq!(drilled["runs"], lies.len() + 2, "{drilled}");
    let results: Vec<_> = proofs(&origin, &origin.id)
        .iter()
        .map(|proof| proof["result"].as_str().unwrap().to_owned())
        .collect();
    let of = |wanted: &str| results.iter().filter(|result| *result == wanted).count();
    // To look again is no restore: that all is mended proves nothing of the backup.
    assert_eq!((of("failed"), of("passed")), (lies.len(), 1));
    // A check whose instance is not there says which.
    let nobody = json!([{"name": "row", "instance": "nothing/0", "command": "true"}]);
    let checks = json!({"drill": {"timeout": "1s", "checks": nobody}});
    let ended = scratch.run(&["--keep"], &checks).fails(3);
    let said = "has no VM of instance nothing/0; `bosh -d cf-";
    assert!(ended.log().contains(said), "{}", ended.log());
    table.compare(BEGIN);
}

/// Drills, and gives what the table says of each lie.
fn found(scratch: &Scratch<'_>, lies: &[Lie]) -> Vec<String> {
    // A check that cannot hold is repeated for all of its time.
    let fails = lies.iter().any(|lie| lie.stage.starts_with("check-"));
    let patience = json!({"drill": {"timeout": if fails { "5s" } else { "20s" }}});
    let ended = scratch.run(&["--keep", "--json"], &patience).fails(3);
    let drilled = ended.json();
    assert_eq!(drilled["result"], "failed");
    for (name, ok) in steps(&drilled) {
        let meant = lies.iter().any(|lie| lie.stage == name);
        assert!(ok != meant, "{name}: {drilled}");
    }
    // What a page or a command answers may be a secret, and a proof is plain text: names are in the log alone.
    for name in ["app-5", "app-7", "uaa-jwt"] {
        assert!(!ended.stdout.contains(name), "{name}: {drilled}");
    }
    assert!(!ended.log().contains("app-7"), "{}", ended.log());
    let named = lies.iter().any(|lie| lie.stage == "inventory");
    assert_eq!(
        named,
        ended.log().contains("app app-5: missing in B"),
        "{}",
        ended.log()
    );
    let all = drilled["steps"].as_array().unwrap();
    let look = |lie: &Lie| {
        let step = all.iter().find(|step| step["name"] == lie.stage).unwrap();
        let said = step["said"][0].as_str().unwrap();
        assert!(said.contains(lie.said), "{}: {said}", lie.what);
        let means = step["means"].as_str().unwrap();
        assert!(means.contains("foundation"), "{means}");
        format!("found by `{}`", lie.stage)
    };
    lies.iter().map(look).collect()
}

/// What the levels say that look at the backup, which is as it should be.
fn other_levels(origin: &Origin) -> Vec<String> {
    let say = |level: &str| {
        let mut verify = vec!["verify", "--level", level];
        if ["contents", "restorable"].contains(&level) {
            verify.push(&origin.id);
        }
        let ended = origin.scene.lifeboat(&verify, &json!({}));
        super::process::finish(super::process::start(ended, "")).ok();
        "not seen".to_owned()
    };
    LEVELS.into_iter().map(say).collect()
}

/// A Diego cell of the restored foundation.
fn cell(origin: &Origin, scratch: &Scratch<'_>) -> String {
    let group = format!("{}/diego_cell", tas(origin));
    let described = scratch.foundation.ask(json!({"do": "describe"}));
    let mut instances = described["instances"].as_object().unwrap().keys();
    instances
        .find(|key| key.starts_with(&group))
        .unwrap()
        .clone()
}
