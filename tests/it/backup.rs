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

/// What the first component of a failed put had finished is a base: unlisted, and not sent again.
#[test]
fn what_a_failed_put_finished_is_not_sent_again() {
    let backup = |body: &str| json!({"body": body});
    let group = |name: &str, id: &str, body: &str| {
        json!({"name": name, "instances": [{"id": id}],
            "jobs": {"j": {"release": "r", "scripts": {"backup": backup(body)}}}})
    };
    let dump = "head -c 3000000 /dev/zero | openssl enc -aes-128-ctr -nosalt -K 00 -iv 00 2>/dev/null \
                > \"$BBR_ARTIFACT_DIRECTORY/dump\"";
    let scene = Scene::new(&json!({"director": {}, "deployments": [
        {"name": "first", "groups": [group("a", "a0", dump)]},
        {"name": "second", "groups": [group("b", "b0", "echo no; exit 1")]},
    ]}));
    let both = json!({"backup": ["deployment/first", "deployment/second"]});
    let failed = scene.put(&both);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    let last = failed.last_line();
    assert!(
        last.contains("no backup was committed") && last.contains("b/b0"),
        "{last}"
    );
    scene.foundation.assert_clean();
    assert_eq!(scene.check(), [""; 0]);
    let left = files(&scene.store("one"));
    let left: Vec<_> = left
        .keys()
        .filter(|name| name.to_str().unwrap().contains("/dropped/"))
        .collect();
    assert_eq!(left.len(), 1, "{left:?}\n{}", failed.stderr);
    let fixed = backup("echo yes > \"$BBR_ARTIFACT_DIRECTORY/dump\"");
    scene
        .foundation
        .ask(json!({"do": "set-script", "instance": "b/b0", "job": "j",
        "script": "backup", "value": fixed}));
    let put = scene.put(&both).ok();
    assert_eq!(scene.check(), [put.id()]);
    let id = left[0].file_stem().unwrap().to_str().unwrap();
    let continued = format!("from what a failed run left, {id}");
    assert!(put.stderr.contains(&continued), "{}", put.stderr);
    let taken = "drained a-0-j.tar from a/a0: 1 files, 2.8 MiB (0 B changed)";
    assert!(put.stderr.contains(taken), "{}", put.stderr);
    let got = files(&scene.download(&put.id()));
    let tar = got
        .iter()
        .find(|(name, _)| name.ends_with("deployment/first/a-0-j.tar"));
    assert!(tar.unwrap().1.len() > 3_000_000);
}
