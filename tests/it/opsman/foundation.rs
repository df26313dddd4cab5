//! A whole foundation in one put: the export, the record, the director, TAS, service instances.

use std::fs;

use serde_json::{Value, json};

use super::{assert_careful, foundation, guid};
use crate::support::process;
use crate::support::scene::Scene;

const ALL: [&str; 4] = ["ops-manager", "director", "tas", "service-instances"];

fn read(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Lines of the table by deployment.
fn classes(record: &Value) -> Vec<(String, String)> {
    let lines = record["coverage"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .map(|line| (text(&line["name"]), text(&line["class"])))
        .collect()
}

/// The manifest says without a key when certificates end and how many deployments are covered; names
/// are told only to whoever can open the record.
fn reported(scene: &Scene, record: &Value) {
    let of = |more: &Value| -> Value {
        let command = scene.lifeboat(&["report", "--json", "-"], more);
        process::finish(process::start(command, "")).ok().json()
    };
    let without = of(&json!({"recovery_identity": null}));
    let with = of(&json!({}));
    for seen in [&without, &with] {
        assert_eq!(
            seen["certificates"]["first_end"], record["certificates"]["first_end"],
            "{seen:#}"
        );
        let lines = record["coverage"].as_array().unwrap();
        let all: u64 = seen["coverage"]["classes"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_u64)
            .sum();
        assert_eq!(all, lines.len() as u64);
    }
    assert_eq!(without["coverage"]["deployments"], json!([]));
    assert_eq!(without["certificates"]["ends"][0]["name"], Value::Null);
    let names = with["coverage"]["deployments"].as_array().unwrap();
    assert_eq!(names.len(), record["coverage"].as_array().unwrap().len());
    assert!(with["certificates"]["ends"][0]["name"].is_string());
}

#[test]
fn the_whole_foundation_is_saved_with_everything_that_its_restore_must_know() {
    let scene = foundation(&json!({
        "tas": {"mysql": 2, "windows": true},
        "opsman": {"export": {"chunked": true, "bytes": 3_000_000}},
    }));
    let ended = scene.put(&json!({"backup": ALL})).ok();
    let id = ended.id();
    let into = scene.download(&id);
    assert_careful(&scene);

    // The export, as it came.
    let zip = into.join("ops-manager/installation.zip");
    let listed = std::process::Command::new("python3")
        .args(["-m", "zipfile", "-t"])
        .arg(&zip)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");

    // The record, readable on its own.
    let record = read(&into.join("ops-manager/foundation-record.json"));
    let cf = guid(&scene, "cf");
    assert_eq!(record["format"], 1);
    assert_eq!(record["foundation"], "prod-east");
    assert_eq!(record["ops_manager"]["version"], "3.0.24-build.1");
    assert_eq!(record["domains"]["system"], "sys.test.example.com");
    assert_eq!(record["storage"]["tas_blobstore"], "internal");
    let products = record["products"].as_array().unwrap();
    let tas = products
        .iter()
        .find(|one| one["guid"] == cf.as_str())
        .unwrap();
    assert_eq!(tas["version"], "6.0.5");
    assert_eq!(tas["stemcells"][0]["os"], "ubuntu-jammy");
    let mysql = tas["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["name"] == "mysql");
    assert_eq!(mysql.unwrap()["instances"], 2);
    let redis = products
        .iter()
        .find(|one| one["type"] == "p-redis")
        .unwrap();
    assert!(
        redis["errands"]
            .as_array()
            .unwrap()
            .contains(&json!("recreate-all-service-instances"))
    );
    assert_eq!(redis["backups"]["on"], false);
    let names: Vec<_> = record["deployments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert!(names.contains(&&json!(cf)), "{names:?}");
    assert!(record["networks"][0]["subnets"][0]["cidr"].is_string());
    assert!(record["certificates"]["first_end"].is_string());
    reported(&scene, &record);
    assert!(record["director"]["vm_cid"].is_string());
    assert_eq!(record["apply_changes"][0]["status"], "succeeded");
    assert_eq!(record["changed_meanwhile"], json!([]));
    let whole = record.to_string();
    for secret in [
        "planted-secret",
        "cc-db-encryption-key",
        "cf-admin-password",
        "bbr=secret==",
    ] {
        assert!(!whole.contains(secret), "{secret}");
    }

    // The table names everything, covered or not.
    let classes = classes(&record);
    let class = |name: &str| {
        classes
            .iter()
            .find(|(of, _)| of == name)
            .unwrap()
            .1
            .as_str()
    };
    assert_eq!(class("director"), "covered-bbr");
    assert_eq!(class(&cf), "covered-bbr");
    assert_eq!(class(&guid(&scene, "p-healthwatch2")), "uncovered");
    assert_eq!(class(&guid(&scene, "p-redis")), "stateless");
    assert_eq!(class(&guid(&scene, "pas-windows")), "skipped-windows");
    assert_eq!(
        class("service-instance_99999999-1111-4222-8333-444444444444"),
        "covered-tile"
    );
    let log = ended.log();
    assert!(
        log.contains("coverage: service-instance_99999999-1111-4222-8333-444444444444"),
        "{log}"
    );

    // What support asks for.
    let glass = read(&into.join("ops-manager/break-glass.json"));
    let key = &glass["products"][&cf][".cloud_controller.db_encryption_credentials"];
    assert_eq!(key["value"]["password"], "cc-db-encryption-key");
    assert!(!log.contains("cc-db-encryption-key"));

    // Service instances: those with scripts are there, the others are listed.
    let list = read(&into.join("service-instances/instances.json"));
    let instances = list["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 3, "{list}");
    for instance in instances {
        let deployment = instance["deployment"].as_str().unwrap();
        let saved = into.join("service-instances").join(deployment);
        assert_eq!(
            saved.join("metadata").exists(),
            instance["saved"] == true,
            "{instance}"
        );
        assert_eq!(
            instance["why"] == "",
            instance["saved"] == true,
            "{instance}"
        );
    }
    assert_eq!(
        scene.foundation.ask(json!({"do": "leaks"}))["leaks"],
        json!({})
    );

    // Selecting the component means all that belongs to it.
    let (ended, only) = scene.get(
        &id,
        &json!({"download": true, "components": ["service-instances"]}),
    );
    ended.ok();
    let folders: Vec<_> = fs::read_dir(only.join("service-instances"))
        .unwrap()
        .collect();
    assert_eq!(folders.len(), 3, "two instances and the list: {folders:?}");
    assert!(!only.join("tas").exists());

    // A second run continues, and a build that asks again gets what it has.
    let ended = scene.put(&json!({"backup": ALL})).ok();
    let metadata = ended.json()["metadata"].to_string();
    assert!(metadata.contains(&id), "{metadata}");
}

#[test]
fn cleanup_and_check_know_the_new_components() {
    let scene = foundation(&json!({}));
    let ended = scene.put(&json!({"cleanup": ALL})).ok();
    assert!(ended.log().contains("nothing"), "{}", ended.log());
    assert_careful(&scene);
    // A run that was killed in the middle of an instance's backup.
    let name = scene.foundation.ready["instances"]
        .as_object()
        .unwrap()
        .keys()
        .find(|key| key.starts_with("service-instance_") && !key.contains("99999999"))
        .unwrap()
        .clone();
    scene.foundation.ask(json!({"do": "run", "instance": name,
        "script": "mkdir -p /var/vcap/store/bbr-backup/redis"}));
    let failed = scene.put(&json!({"backup": ["service-instances"]}));
    assert_eq!(failed.code, 1);
    assert!(
        failed
            .last_line()
            .contains("lifeboat cleanup service-instances")
            || failed.log().contains("cleanup"),
        "{}",
        failed.last_line()
    );
    let ended = scene
        .put(&json!({"cleanup": ["service-instances"], "force": true}))
        .ok();
    drop(ended);
    assert_eq!(
        scene.foundation.ask(json!({"do": "leaks"}))["leaks"],
        json!({})
    );
    scene.put(&json!({"backup": ["service-instances"]})).ok();
}

#[test]
fn an_export_that_is_not_whole_is_never_kept() {
    let scene = foundation(&json!({}));
    let export = |given: Value| {
        scene
            .foundation
            .ask(json!({"do": "opsman-set", "export": given}));
        scene.put(&json!({"backup": ["ops-manager"]}))
    };
    // The server gives up and says that all is well.
    let cut = export(json!({"truncate": 50_000}));
    assert_eq!(cut.code, 1);
    assert!(
        cut.last_line().contains("not a whole zip"),
        "{}",
        cut.last_line()
    );
    assert!(
        cut.log().matches("asking for the export again").count() == 2,
        "{}",
        cut.log()
    );
    let refused = export(json!({"status": 422}));
    assert!(
        refused.last_line().contains("in its present state (422)"),
        "{}",
        refused.last_line()
    );
    let denied = scene.put(&json!({"backup": ["ops-manager"],
        "ops_manager": {"username": "viewer", "password": "viewer-password"}}));
    assert!(
        denied.last_line().contains("opsman.full_control"),
        "{}",
        denied.last_line()
    );
    assert_eq!(scene.check(), Vec::<String>::new());
    // A connection that ends is asked again.
    scene
        .foundation
        .ask(json!({"do": "opsman-set", "export": {}}));
    scene.foundation.ask(
        json!({"do": "fault", "service": "opsman", "action": "cut", "bytes": 20_000,
        "method": "GET", "path": "installation_asset_collection", "times": 1}),
    );
    let ended = scene.put(&json!({"backup": ["ops-manager"]})).ok();
    assert!(
        ended.log().contains("asking for the export again"),
        "{}",
        ended.log()
    );
    assert_careful(&scene);
}

#[test]
fn a_long_run_outlives_its_token() {
    let scene = foundation(&json!({"opsman": {"token_uses": 3}}));
    scene
        .put(&json!({"backup": ["ops-manager", "director"]}))
        .ok();
    assert_careful(&scene);
}

#[test]
fn a_client_serves_as_well_as_a_user() {
    let scene = foundation(&json!({"opsman": {"identity_provider": "saml"}}));
    let refused = scene.put(&json!({"backup": ["ops-manager"]}));
    assert!(
        refused
            .last_line()
            .contains("with SAML only a client can log in"),
        "{}",
        refused.last_line()
    );
    let ready = &scene.foundation.ready["opsman"];
    let by_client = json!({"backup": ["ops-manager"], "ops_manager": {
        "username": null, "password": null,
        "client_id": ready["client_id"], "client_secret": ready["client_secret"],
    }});
    scene.put(&by_client).ok();
    assert_careful(&scene);
}
