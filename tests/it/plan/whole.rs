//! A foundation is lost and comes back in another one.

use serde_json::{Value, json};

use super::{Origin, STEPS, Target, tas};
use crate::support::foundation::Foundation;

/// What a restore must bring back, as far as it can be read in one go.
fn data(foundation: &Foundation, saved: &[String]) -> Value {
    let rows = |table: &str| {
        let query = format!("select md5(string_agg(t::text, ',' order by id)) from {table} t");
        foundation.ask(json!({"do": "sql", "query": query}))["text"].clone()
    };
    let digest = |instance: &str, path: &str| {
        let mut found = foundation.ask(json!({"do": "digest", "instance": instance, "path": path}));
        found.as_object_mut().unwrap().remove("ok");
        found
    };
    let instances: Vec<_> = saved
        .iter()
        .map(|name| digest(&format!("{name}/redis/redis-0"), "/var/vcap/store/redis"))
        .collect();
    json!({
        "apps": rows("apps"),
        "blobs": rows("blobs"),
        "blobstore": digest("blobstore/blobstore-0", "/var/vcap/store/shared"),
        "instances": instances,
    })
}

/// The director's database without what runs and the machines' own, and its blobs.
fn director(foundation: &Foundation) -> Value {
    let rows = foundation.ask(json!({"do": "director-db"}))["rows"].clone();
    let mut kept = json!({});
    for key in ["uuid", "deployments", "releases"] {
        kept[key] = rows[key].clone();
    }
    let blobs = json!({"do": "digest", "instance": "bosh", "path": "/var/vcap/store/blobstore"});
    kept["blobs"] = foundation.ask(blobs)["contents"].clone();
    kept
}

#[test]
fn a_lost_foundation_comes_back_in_an_empty_one_and_every_step_may_run_twice() {
    let origin = Origin::new();
    let target = Target::new(&origin, &json!({}));
    let before = data(&origin.scene.foundation, &origin.saved);
    let known = director(&origin.scene.foundation);
    let plan = target.step("plan").ok().stdout;
    assert!(plan.contains("restores: the whole foundation"), "{plan}");
    assert!(
        plan.contains("is not set up: ready for the import"),
        "{plan}"
    );
    for step in STEPS {
        target.does(step);
        match step {
            "director" => assert_eq!(director(&target.foundation), known),
            "tas" => {}
            // What is done already is left alone.
            _ => drop(target.did(step)),
        }
    }
    // Apps and blobs were restored while there was one MySQL; now there are three again.
    target.does("service-instances");
    assert_eq!(data(&target.foundation, &origin.saved), before);
    let vms = target
        .foundation
        .ask(json!({"do": "director-db", "table": "instances"}));
    let mysql = vms["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["deployment"] == tas(&origin).as_str() && row["job"] == "mysql");
    assert_eq!(mysql.count(), 3);
    let paused = target.foundation.ask(json!({"do": "director-db"}))["rows"].clone();
    assert_eq!(paused["resurrection_paused"], false);
    target.assert_careful();
    let plan = target.step("plan").ok().stdout;
    for title in [
        "import the installation",
        "clear stale references",
        "Apply Changes for TAS",
    ] {
        let line = plan.lines().find(|line| line.contains(title)).unwrap();
        assert!(line.ends_with("[done already]"), "{line}");
    }
    // The origin was not touched.
    assert_eq!(data(&origin.scene.foundation, &origin.saved), before);
    assert_eq!(director(&origin.scene.foundation), known);
}
