//! SIGTERM, SIGINT and SIGKILL at every phase of a put: it ends in the ten seconds that
//! Concourse leaves, lists nothing, and the cleanup mends whatever is left.

mod run;

use serde_json::{Value, json};

use crate::support::scene::Scene;
use run::{Phase, Signal, aborted, killed, side_by_side};

/// `pre-backup-lock` runs on both `api` first, then on `cc`; unlock the other way round.
fn spec() -> Value {
    let scripts = |more: Value| {
        let mut scripts = json!({"pre-backup-lock": "true", "post-backup-unlock": "true"});
        crate::support::scene::merge(&mut scripts, &more);
        scripts
    };
    json!({"director": {}, "stores": ["s3"], "deployments": [{"name": "dep", "groups": [
        {"name": "db", "instances": [{"id": "d0"}], "jobs": {"cc": {"release": "r", "scripts": scripts(json!({
            "backup": "head -c 3000000 /dev/urandom > \"$BBR_ARTIFACT_DIRECTORY\"dump",
        }))}}},
        {"name": "api", "instances": [{"id": "a0"}, {"id": "a1"}], "jobs": {"api": {"release": "r",
            "scripts": scripts(json!({"metadata": METADATA}))}}},
    ]}]})
}

const METADATA: &str =
    "echo '{\"backup_should_be_locked_before\": [{\"job_name\": \"cc\", \"release\": \"r\"}]}'";

/// A store of the file system and one of S3, both needed.
fn scene() -> Scene {
    let mut scene = Scene::with_stores(&spec(), &["one"]);
    let s3 = scene.s3("s3");
    scene.source["stores"].as_array_mut().unwrap().push(s3);
    scene
}

/// Every phase in which a signal can come: how it is held up, and how it is seen.
fn phases() -> Vec<Phase> {
    vec![
        Phase::new("stores are probed")
            .fault(
                "s3",
                json!({"action": "stall", "method": "PUT", "path": "/probe"}),
            )
            .until_request("s3", "PUT", "/probe"),
        Phase::new("a task of the Director is queued")
            .task("vm-stats", json!({"queued": 100_000}))
            .until_request("director", "GET", "^/tasks/"),
        Phase::new("SSH users are set up")
            .task("ssh: setup", json!({"processing": 100_000}))
            .until_request("director", "POST", "/ssh$"),
        Phase::new("connecting")
            .ask(json!({"do": "sshd", "instance": "db/d0", "action": "pause"}))
            .until_request("director", "GET", "^/tasks/.*type=result"),
        Phase::new("a metadata script runs")
            .script(
                "api/a0",
                "api",
                "metadata",
                json!({"sleep": 60, "body": METADATA}),
            )
            .until_script("api", "metadata", "start"),
        Phase::new("instances are marked")
            .command_fault("api/a0", "cp .*owner.*marker")
            .until_command("api/a0", "cp .*owner.*marker"),
        Phase::new("the first lock")
            .script("api/a0", "api", "pre-backup-lock", json!({"sleep": 60}))
            .until_script("api", "pre-backup-lock", "start")
            .locks(),
        Phase::new("the second lock, which ignores SIGTERM")
            .script(
                "db/d0",
                "cc",
                "pre-backup-lock",
                json!({"body": "trap '' TERM; while sleep 0.2; do :; done"}),
            )
            .until_script("cc", "pre-backup-lock", "start")
            .locks(),
        Phase::new("a backup script runs")
            .script("db/d0", "cc", "backup", json!({"sleep": 60}))
            .until_script("cc", "backup", "start")
            .locks(),
        Phase::new("an unlock script runs")
            .script("db/d0", "cc", "post-backup-unlock", json!({"sleep": 2}))
            .until_script("cc", "post-backup-unlock", "start")
            .locks(),
        Phase::new("a stream waits for a store")
            .fault(
                "s3",
                json!({"action": "stall", "method": "PUT", "path": "/data/"}),
            )
            .until_request("s3", "PUT", "/data/")
            .locks(),
        Phase::new("instances are cleaned")
            .command_fault("api/a1", "lifeboat-remove")
            .until_command("api/a1", "lifeboat-remove")
            .locks(),
        Phase::new("SSH users are removed")
            .task("ssh: cleanup", json!({"processing": 100_000}))
            .until_request_with("director", "POST", "/ssh$", 3)
            .locks(),
        Phase::new("just before the commit")
            .fault(
                "s3",
                json!({"action": "stall", "method": "GET", "path": "start-after=", "skip": 1}),
            )
            .until_request_with("s3", "GET", "start-after=", 2)
            .locks(),
    ]
}

#[test]
fn sigterm_ends_a_put_in_time_and_cleanup_mends_the_rest() {
    side_by_side(phases(), |phase| aborted(scene(), phase, Signal::Term));
}

#[test]
fn sigint_ends_a_put_in_time_and_cleanup_mends_the_rest() {
    side_by_side(phases(), |phase| aborted(scene(), phase, Signal::Int));
}

#[test]
fn sigkill_leaves_nothing_listed_and_cleanup_mends_the_rest() {
    side_by_side(phases(), |phase| killed(scene(), phase));
}
