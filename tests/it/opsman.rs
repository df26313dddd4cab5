//! Ops Manager: nothing but its address and credentials is given, everything else is found out.

mod discovery;
mod foundation;
mod guards;
mod secrets;

use serde_json::{Value, json};

use crate::support::scene::Scene;

/// A whole foundation behind an Ops Manager, small, with these changes of its spec. The scene
/// knows Ops Manager alone.
pub fn foundation(changes: &Value) -> Scene {
    let mut spec = json!({
        "fixture": "ops",
        "tas": {"mysql": 1, "services": 2, "windows": false, "blobs": 20, "rows": 20, "big_bytes": 100_000},
    });
    crate::support::scene::merge(&mut spec, changes);
    let mut scene = Scene::new(&spec);
    let ready = &scene.foundation.ready;
    let ops_manager = json!({
        "url": ready["opsman"]["url"],
        "username": ready["opsman"]["username"],
        "password": ready["opsman"]["password"],
        "decryption_passphrase": ready["opsman"]["decryption_passphrase"],
        "ca_cert": ready["ca_cert"],
    });
    // Loopback has no names: where a real foundation has api.SYSTEM_DOMAIN and port 8844, these say.
    let cloud_controller = json!({"api": ready["capi"]["url"], "ca_cert": ready["ca_cert"]});
    let credhub = json!({"url": ready["credhub"]["url"], "ca_cert": ready["ca_cert"]});
    let params = scene.params.as_object_mut().unwrap();
    params.remove("director");
    params.remove("bosh");
    params.insert("ops_manager".into(), ops_manager);
    params.insert("cloud_controller".into(), cloud_controller);
    params.insert("credhub".into(), credhub);
    scene
}

/// No call that a careful client never makes; above all, never two at a time.
pub fn assert_careful(scene: &Scene) {
    let said = scene.foundation.ask(json!({"do": "opsman-violations"}));
    assert_eq!(said["violations"], json!([]), "{said}");
}

/// The GUID of a product, which is its deployment's name.
pub fn guid(scene: &Scene, kind: &str) -> String {
    let guid = &scene.foundation.ready["opsman"]["products"][kind];
    guid.as_str().unwrap().to_owned()
}
