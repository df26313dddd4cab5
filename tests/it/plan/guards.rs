//! Every refusal in which a step stops, and that nothing default or empty passes it.

use serde_json::json;

use super::{Origin, Target, stemcell, tas};
use crate::support::process;

#[test]
fn an_import_is_refused_unless_everything_fits() {
    let origin = Origin::new();
    let target = Target::new(&origin, &json!({"opsman": {"version": "3.0.25-build.7"}}));
    let step = "ops-manager";
    let other = [
        "is version 3.0.25-build.7",
        "of 3.0.24-build.1",
        "nothing was imported",
    ];
    target.refuses(step, &json!({}), &other);
    for wrong in ["", "true", "3.0.24-build.1", "3.0.25"] {
        target.refuses(step, &json!({"accept_ops_manager_version": wrong}), &other);
    }
    let without = json!({"ops_manager": {"decryption_passphrase": null}});
    target.refuses(
        step,
        &without,
        &["ops_manager.decryption_passphrase is missing"],
    );
    let sealed = json!({"recovery_identity": null});
    target.refuses(step, &sealed, &["recovery_identity"]);
    // Who vouches for the backup is said, and a backup.json of elsewhere is no choice.
    let nobody = target.step_with(
        step,
        &json!({"trusted_workers": null, "ops_manager": {"decryption_passphrase": null}}),
    );
    assert!(nobody.fails(1).log().contains("origin not verified"));
    let elsewhere = target.mirror.join("backup.json");
    std::fs::write(
        &elsewhere,
        json!({"id": origin.id, "foundation": "prod-west"}).to_string(),
    )
    .unwrap();
    let mut config = target.config.clone();
    config["id_file"] = json!(elsewhere);
    let ended = process::finish(process::start(
        origin.scene.lifeboat(&["restore", step], &config),
        "",
    ));
    let line = ended.fails(1).last_line();
    assert!(
        line.contains("names a backup of another foundation"),
        "{line}"
    );
    std::fs::remove_file(elsewhere).unwrap();
    assert_eq!(target.state()["state"], "fresh");
    // The other version, accepted, but the passphrase of another foundation.
    let wrong = json!({
        "accept_ops_manager_version": "3.0.25-build.7",
        "ops_manager": {"decryption_passphrase": "of-the-staging-foundation"},
    });
    let words = [
        "was not imported",
        "another decryption passphrase",
        "make a new one",
    ];
    target.refuses(step, &wrong, &words);
    target.assert_careful();
}

#[test]
fn an_ops_manager_that_is_set_up_is_refused() {
    let origin = Origin::new();
    let target = Target::new(
        &origin,
        &json!({"hosts": [{"name": "bosh", "login": "bbr", "jobs": {}}], "opsman": {
            "state": "ready",
            "users": [{"username": "admin", "password": "ops-manager-password"}],
            "passphrase": origin.itself()["decryption_passphrase"],
        }}),
    );
    let lacks = [
        "is set up already",
        "is not this backup's: it lacks",
        "nothing was imported",
    ];
    target.refuses("ops-manager", &json!({}), &lacks);
    let stranger = json!({"ops_manager": {"password": "unknown there"}});
    target.refuses(
        "ops-manager",
        &stranger,
        &["is set up already", "nothing was imported"],
    );
    let plan = target.step("plan").ok().stdout;
    assert!(
        plan.contains("MISSING  target: its Ops Manager is set up"),
        "{plan}"
    );
    target.assert_careful();
}

#[test]
fn steps_out_of_order_are_refused_and_say_what_comes_first() {
    let origin = Origin::new();
    let target = Target::new(&origin, &json!({}));
    let fresh = ["not set up"];
    for step in [
        "bosh-state",
        "apply-director",
        "references",
        "stemcells",
        "scale-down",
    ] {
        target.refuses(step, &json!({}), &fresh);
    }
    target.does("ops-manager");
    let named = [
        "bosh-state.json still names",
        "Nothing was applied",
        "restore bosh-state",
    ];
    target.refuses("apply-director", &json!({}), &named);
    for flag in ["", "false"] {
        target.refuses("apply-director", &json!({"in_place": flag}), &[]);
    }
    assert_eq!(target.state()["installations"].as_array().unwrap().len(), 0);
    let keyless = json!({"ops_manager": {"ssh_private_key": null, "ssh_host_key": null,
        "ssh_port": null, "ssh_username": null}});
    target.refuses(
        "bosh-state",
        &keyless,
        &["ops_manager.ssh_private_key is missing"],
    );
    let stranger = &origin.scene.foundation.ready["opsman"]["ssh"]["host_public_key"];
    target.refuses(
        "bosh-state",
        &json!({"ops_manager": {"ssh_host_key": stranger}}),
        &["host key"],
    );
    target.refuses(
        "bosh-state",
        &json!({"in_place": true}),
        &["keeps bosh-state.json"],
    );
    target.does("bosh-state");
    target.does("apply-director");
    target.refuses(
        "references",
        &json!({}),
        &["knows no deployment", "restore director"],
    );
    target.does("director");
    let unmarked = ["does not say that it was restored", "restore references"];
    for step in [
        "stemcells",
        "scale-down",
        "apply-tas",
        "scale-up",
        "recreate-instances",
    ] {
        target.refuses(step, &json!({}), &unmarked);
    }
    target.refuses("references", &json!({"in_place": true}), &["in_place"]);
    target.does("references");
    target.refuses(
        "apply-tas",
        &json!({}),
        &["staged with 3 instances", "restore scale-down"],
    );
    target.does("scale-down");
    let present = |there: bool| {
        target
            .foundation
            .ask(json!({"do": "opsman-set", "stemcell_present": there}));
    };
    present(false);
    let lacks = ["has no stemcell for", "nothing was applied"];
    target.refuses("apply-tas", &json!({}), &lacks);
    present(true);
    target.refuses(
        "stemcells",
        &json!({"stemcells": null}),
        &["stemcells is missing", "ubuntu-jammy 1.500"],
    );
    std::fs::remove_dir_all(&target.mirror).unwrap();
    target.refuses("stemcells", &json!({}), &["cannot be read"]);
    std::fs::create_dir(&target.mirror).unwrap();
    stemcell(&target.mirror, "bosh-test-ubuntu-jammy-go_agent", "1.499");
    let lacks = [
        "holds no tarball of ubuntu-jammy 1.500",
        "nothing was uploaded",
    ];
    target.refuses("stemcells", &json!({}), &lacks);
    target.assert_careful();
}

#[test]
fn the_isolation_guard_stops_where_the_original_is_seen() {
    let origin = Origin::new();
    let live = &origin.scene.foundation;
    let control = live.ready["control"].clone();
    let target = Target::new(&origin, &json!({"iaas": {"shared": control}}));
    target.until("references");
    let before = target.foundation.ask(json!({"do": "director-db"}))["rows"]["instances"].clone();
    let unchanged = || {
        let now = target.foundation.ask(json!({"do": "director-db"}))["rows"]["instances"].clone();
        assert_eq!(now, before);
    };
    let stop = ["isolation guard: STOP", "Nothing was resolved"];
    // One IaaS account for both.
    let line = target.refuses("references", &json!({}), &stop);
    assert!(line.contains("unresponsive_agent"), "{line}");
    unchanged();
    // The original's agents answer: the scan alone would find nothing wrong.
    target
        .foundation
        .ask(json!({"do": "iaas-share", "socket": control, "agents": true}));
    let line = target.refuses("references", &json!({}), &stop);
    assert!(line.contains("answers (running)"), "{line}");
    target.refuses("director", &json!({}), &["sees VMs that run"]);
    unchanged();
    // The IaaS cannot tell.
    target
        .foundation
        .ask(json!({"do": "iaas-share", "cannot_tell": true}));
    target.refuses("references", &json!({}), &stop);
    unchanged();
    let paused = target.foundation.ask(json!({"do": "director-db"}))["rows"].clone();
    assert_eq!(paused["resurrection_paused"], true);
    for step in ["stemcells", "apply-tas", "recreate-instances"] {
        target.refuses(step, &json!({}), &["does not say that it was restored"]);
    }
    assert_eq!(live.ask(json!({"do": "iaas"}))["destroyed"], json!([]));
    assert!(!tas(&origin).is_empty());
}
