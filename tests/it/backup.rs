//! The main job, whole: `out`, `check`, `in` as processes against the scratch foundation.

use serde_json::json;

use crate::support::scene::{Scene, files};

#[test]
fn a_deployment_is_backed_up_listed_and_fetched() {
    let scene = Scene::new(&json!({"fixture": "S1"}));
    let put = scene
        .put(&json!({"backup": ["deployment/dep"], "with_manifest": true}))
        .ok();
    scene.foundation.assert_clean();
    assert_eq!(scene.check(), [put.id()]);
    let got = files(&scene.download(&put.id()));
    let names: Vec<_> = got.keys().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "backup.json",
            "deployment/dep/g-0-j.tar",
            "deployment/dep/manifest.yml",
            "deployment/dep/metadata"
        ]
    );
}

#[test]
fn a_put_is_idempotent_within_a_build() {
    let scene = Scene::new(&json!({"fixture": "S1"}));
    let request = scene.put_request(&json!({"backup": ["deployment/dep"]}));
    let put = || {
        crate::support::process::resource("out", Some(scene.scratch.path()), Some("1"), &request)
            .ok()
            .id()
    };
    let (first, journal) = (put(), scene.foundation.journal());
    assert_eq!(put(), first);
    assert_eq!(scene.foundation.journal(), journal, "no script ran again");
    assert_eq!(scene.check(), [first]);
}
