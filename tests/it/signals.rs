//! SIGTERM, SIGINT and SIGKILL at every phase of a put: it ends in the ten seconds that
//! Concourse leaves, lists nothing, and the cleanup mends whatever is left.

mod looking;
mod phase;
mod restore;
mod run;

use serde_json::{Value, json};

use crate::support::process::{command, start};
use crate::support::scene::{Scene, merge};
use phase::Phase;
use run::{
    COMPONENT, IN_TIME, Signal, end, every_signal, hold, interrupt, mended, release, side_by_side,
};

/// `pre-backup-lock` runs on both `api` first, then on `cc`; unlock the other way round.
pub fn spec() -> Value {
    let scripts = |more: Value| {
        let mut scripts = json!({"pre-backup-lock": "true", "post-backup-unlock": "true",
            "pre-restore-lock": "true", "post-restore-unlock": "true"});
        merge(&mut scripts, &more);
        scripts
    };
    json!({"director": {}, "stores": ["s3"], "deployments": [{"name": "dep", "groups": [
        {"name": "db", "instances": [{"id": "d0"}], "jobs": {"cc": {"release": "r", "scripts": scripts(json!({
            "backup": "head -c 3000000 /dev/urandom > \"$BBR_ARTIFACT_DIRECTORY\"dump",
            "restore": {"restore_to": "/var/vcap/store/cc"},
        }))}}},
        {"name": "api", "instances": [{"id": "a0"}, {"id": "a1"}], "jobs": {"api": {"release": "r",
            "scripts": scripts(json!({"metadata": METADATA}))}}},
    ]}]})
}

const METADATA: &str = "before='[{\"job_name\": \"cc\", \"release\": \"r\"}]'; \
     echo \"{\\\"backup_should_be_locked_before\\\": $before, \\\"restore_should_be_locked_before\\\": $before}\"";

/// A store of the file system and one of S3, both needed.
fn scene() -> Scene {
    scene_of(&spec())
}

fn scene_of(spec: &Value) -> Scene {
    let mut scene = Scene::with_stores(spec, &["one"]);
    let s3 = scene.s3("s3");
    scene.source["stores"].as_array_mut().unwrap().push(s3);
    scene
}

/// A put lists recent backups twice: in search of what its build took, and for an id at the commit.
const LISTING: &str = "start-after=[^&]*backups";

/// Every phase in which a signal can come: how it is held up, and how it is seen.
fn phases() -> Vec<Phase> {
    vec![
        Phase::new("stores are probed")
            .fault(
                "s3",
                json!({"action": "stall", "method": "PUT", "path": "/probe"}),
            )
            .until_request("s3", "PUT", "/probe"),
        Phase::task_queued(),
        Phase::ssh_users_set_up(),
        Phase::new("connecting")
            .ask(json!({"do": "sshd", "instance": "db/d0", "action": "pause"}))
            .until_request("director", "GET", "^/tasks/.*type=result"),
        Phase::metadata_runs(),
        Phase::marked(),
        Phase::first_lock("pre-backup-lock"),
        Phase::deaf_lock("pre-backup-lock"),
        Phase::new("a backup script runs")
            .script("db/d0", "cc", "backup", json!({"sleep": 60}))
            .until_script("cc", "backup", "start")
            .locks(),
        Phase::unlock_runs("post-backup-unlock"),
        Phase::new("a stream waits for a store")
            .fault(
                "s3",
                json!({"action": "stall", "method": "PUT", "path": "/data/"}),
            )
            .until_request("s3", "PUT", "/data/")
            .locks(),
        Phase::cleaned(),
        Phase::ssh_users_removed(),
        Phase::new("just before the commit")
            .fault(
                "s3",
                json!({"action": "stall", "method": "GET", "path": LISTING, "skip": 1}),
            )
            .until_request_with("s3", "GET", LISTING, 2)
            .locks(),
    ]
}

#[test]
fn a_signal_at_any_phase_ends_in_time_and_cleanup_mends_the_rest() {
    side_by_side(phases(), |phase| every_signal(&scene(), &phase));
}

/// Phases in which ten seconds do not suffice, or somebody else hangs too.
#[test]
fn what_hangs_is_left_to_cleanup_in_time_and_named() {
    side_by_side(
        vec![
            Phase::new("an unlock script takes too long")
                .script("db/d0", "cc", "post-backup-unlock", json!({"sleep": 13}))
                .script("db/d0", "cc", "backup", json!({"sleep": 60}))
                .until_script("cc", "backup", "start"),
            Phase::new("an instance hangs")
                .script("db/d0", "cc", "backup", json!({"sleep": 60}))
                .until_script("cc", "backup", "start")
                .then(json!({"do": "sshd", "instance": "api/a1", "action": "pause"})),
            Phase::new("the Director hangs")
                .script("db/d0", "cc", "backup", json!({"sleep": 60}))
                .until_script("cc", "backup", "start")
                .then(json!({"do": "fault", "service": "director", "action": "stall"})),
        ],
        |phase| {
            let scene = scene();
            let until = hold(&scene, &phase);
            let mut config = scene.put_request(&json!({}));
            let params = config["params"].clone();
            merge(&mut config["source"], &params);
            let file = scene.scratch.path().join("config.json");
            std::fs::write(&file, config["source"].to_string()).unwrap();
            let arguments = ["--config", file.to_str().unwrap(), "backup", COMPONENT];
            let child = start(command("lifeboat", arguments), "");
            let (ended, took) = end(&scene, child, &until, Signal::Term);
            assert!(took < IN_TIME, "took {took:?}: {}", ended.stderr);
            let journal = scene.foundation.journal().join("\n");
            let locked = match phase.name {
                "an unlock script takes too long" => {
                    assert!(ended.stderr.contains("started at once"), "{}", ended.stderr);
                    for instance in ["api/a0 api", "api/a1 api", "db/d0 cc"] {
                        let start = format!("{instance} post-backup-unlock start");
                        assert!(journal.contains(&start), "{}\n{journal}", ended.stderr);
                    }
                    Some("db/d0")
                }
                "an instance hangs" => {
                    for instance in ["api/a0 api", "db/d0 cc"] {
                        let end = format!("{instance} post-backup-unlock end");
                        assert!(journal.contains(&end), "{}\n{journal}", ended.stderr);
                    }
                    Some("api/a1")
                }
                _ => None,
            };
            let last = ended.last_line();
            assert!(
                last.ends_with(&format!("lifeboat cleanup {COMPONENT}")),
                "{}",
                ended.stderr
            );
            match locked {
                Some(instance) => {
                    assert_eq!(ended.code, 4, "{}", ended.stderr);
                    let named = format!("may still be locked on {instance}.");
                    assert!(last.contains(&named), "{}", ended.stderr);
                }
                None => {
                    assert_eq!(ended.code, 1, "{}", ended.stderr);
                    assert!(
                        last.contains("every instance is unlocked"),
                        "{}",
                        ended.stderr
                    );
                    assert!(ended.stderr.contains("may remain"), "{}", ended.stderr);
                }
            }
            assert!(scene.check().is_empty());
            release(&scene, &phase);
            mended(&scene);
            took
        },
    );
}

/// Once the first manifest is written there is a backup; a signal does not undo it.
#[test]
fn a_signal_after_the_first_manifest_does_not_undo_the_backup() {
    let manifest = json!({"action": "delay", "seconds": 1, "method": "PUT", "path": "/backups/"});
    let slow = Phase::new("the second manifest is slow")
        .fault("s3", manifest.clone())
        .until_request("s3", "PUT", "/backups/");
    let stall = Phase::new("the second manifest hangs")
        .fault(
            "s3",
            json!({"action": "stall", "method": "PUT", "path": "/backups/"}),
        )
        .until_request("s3", "PUT", "/backups/");
    side_by_side(vec![slow, stall], |phase| {
        let scene = scene();
        let (ended, took) = interrupt(&scene, &phase, Signal::Term);
        assert!(took < IN_TIME, "took {took:?}: {}", ended.stderr);
        scene.foundation.assert_clean();
        let listed = scene.check();
        assert_eq!(listed.len(), 1, "{}", ended.stderr);
        if phase.name.contains("slow") {
            assert_eq!(ended.ok().id(), listed[0]);
        } else {
            assert_eq!(ended.code, 1, "{}", ended.stderr);
            let last = ended.last_line();
            assert!(
                last.contains(&listed[0]) && last.contains("only in one"),
                "{last}"
            );
        }
        release(&scene, &phase);
        scene.download(&listed[0]);
        mended(&scene);
        took
    });
}

/// SIGKILL there: what is listed is complete.
#[test]
fn sigkill_between_two_manifests_leaves_a_whole_backup_listed() {
    let phase = Phase::new("the second manifest hangs")
        .fault(
            "s3",
            json!({"action": "stall", "method": "PUT", "path": "/backups/"}),
        )
        .until_request("s3", "PUT", "/backups/");
    let scene = scene();
    interrupt(&scene, &phase, Signal::Kill);
    let listed = scene.check();
    assert_eq!(listed.len(), 1);
    release(&scene, &phase);
    scene.download(&listed[0]);
    mended(&scene);
}

/// A cleanup is stopped as well as a backup; the next one does what is left.
#[test]
fn a_cleanup_that_is_stopped_ends_in_time_and_the_next_one_goes_on() {
    let scene = scene();
    let locked = Phase::new("locked")
        .script("db/d0", "cc", "backup", json!({"sleep": 60}))
        .until_script("cc", "backup", "start");
    interrupt(&scene, &locked, Signal::Kill);
    release(&scene, &locked);
    let unlocking = Phase::new("cleanup unlocks")
        .script("db/d0", "cc", "post-backup-unlock", json!({"sleep": 15}))
        .until_script("cc", "post-backup-unlock", "start");
    let until = hold(&scene, &unlocking);
    let child = scene.start_put(&json!({"cleanup": [COMPONENT]}));
    let (ended, took) = end(&scene, child, &until, Signal::Term);
    assert!(took < IN_TIME, "took {took:?}: {}", ended.stderr);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let last = ended.last_line();
    assert!(last.contains("may still be locked on"), "{}", ended.stderr);
    assert!(
        last.contains(&format!("lifeboat cleanup {COMPONENT}")),
        "{}",
        ended.stderr
    );
    release(&scene, &unlocking);
    mended(&scene);
}

/// While one component's unlock scripts take all the time, those that wait are let go.
#[test]
fn components_that_wait_for_their_turn_are_left_clean() {
    let mut spec = spec();
    let mut second = spec["deployments"][0].clone();
    second["name"] = "dep2".into();
    spec["deployments"].as_array_mut().unwrap().push(second);
    let scene = scene_of(&spec);
    let phase = Phase::new("the first component is backed up")
        .script(
            "dep/db/d0",
            "cc",
            "post-backup-unlock",
            json!({"sleep": 13}),
        )
        .script("dep/db/d0", "cc", "backup", json!({"sleep": 60}))
        .until_script("cc", "backup", "start");
    let until = hold(&scene, &phase);
    let both = json!([COMPONENT, "deployment/dep2"]);
    let child = scene.start_put(&json!({"backup": both}));
    let (ended, took) = end(&scene, child, &until, Signal::Term);
    assert!(took < IN_TIME, "took {took:?}: {}", ended.stderr);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let last = ended.last_line();
    assert!(
        last.ends_with(&format!("lifeboat cleanup {COMPONENT}")),
        "{last}"
    );
    let left = scene.foundation.leaks();
    let left: Vec<_> = left.as_object().unwrap().keys().collect();
    assert!(
        left.iter().all(|instance| instance.starts_with("dep/")),
        "{left:?}"
    );
    release(&scene, &phase);
    scene.put(&json!({"cleanup": both})).ok();
    scene.foundation.assert_clean();
    assert_eq!(scene.check(), [""; 0]);
    let put = scene.put(&json!({"backup": both})).ok();
    assert_eq!(scene.check(), [put.id()]);
}
