//! The director, its API and TAS by what Ops Manager knows of them.

use serde_json::json;

use super::{assert_careful, foundation, guid};

#[test]
fn the_director_and_tas_are_backed_up_from_ops_manager_alone() {
    let scene = foundation(&json!({}));
    let ended = scene.put(&json!({"backup": ["director", "tas"]})).ok();
    let into = scene.download(&ended.id());
    assert!(into.join("director/metadata").exists());
    assert!(into.join("tas/metadata").exists());
    let said = ended.log();
    assert!(said.contains("user bbr"), "{said}");
    assert!(said.contains("client bbr_client"), "{said}");
    assert_careful(&scene);
    // What is given wins: an address where nobody listens is not corrected.
    let ended = scene.put(&json!({"backup": ["director"], "director": {"host": "127.0.0.1:1"}}));
    assert_eq!(ended.code, 1);
    assert!(
        ended.last_line().contains("127.0.0.1:1"),
        "{}",
        ended.last_line()
    );
    // Nothing is locked twice.
    let twice = json!({"backup": ["tas", format!("deployment/{}", guid(&scene, "cf"))]});
    let ended = scene.put(&twice);
    assert!(
        ended.last_line().contains("would be locked twice"),
        "{}",
        ended.last_line()
    );
    assert_careful(&scene);
}

#[test]
fn old_shapes_and_a_rotation_of_cas_do_not_matter() {
    let scene = foundation(&json!({"opsman": {
        "version": "2.10.9-build.1", "info": "old", "rotation": true, "export": {"chunked": true},
    }}));
    scene.put(&json!({"backup": ["director"]})).ok();
    assert_careful(&scene);
}

#[test]
fn a_locked_ops_manager_is_unlocked_or_named() {
    let scene = foundation(&json!({"opsman": {"locked_as": "unlock"}}));
    scene
        .foundation
        .ask(json!({"do": "opsman-reboot", "refused_seconds": 1}));
    let ended =
        scene.put(&json!({"backup": ["director"], "ops_manager": {"decryption_passphrase": null}}));
    assert_eq!(ended.code, 1);
    let said = ended.last_line();
    assert!(
        said.contains("is locked: needs the decryption passphrase"),
        "{said}"
    );
    let wrong =
        json!({"backup": ["director"], "ops_manager": {"decryption_passphrase": "not that one"}});
    let said = scene.put(&wrong).last_line().to_owned();
    assert!(
        said.contains("does not accept the decryption passphrase"),
        "{said}"
    );
    assert!(!said.contains("not that one"), "{said}");
    scene.put(&json!({"backup": ["director"]})).ok();
    assert_careful(&scene);
}
