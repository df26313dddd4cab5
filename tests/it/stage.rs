//! `lifeboat stage`, and the restore that finds what it left, over real SSH with real tools: what a
//! restore script finds is what the backup script left, whatever was staged, and what crosses the
//! wire is what differs.

mod edges;
mod failover;
mod histories;
mod interrupted;

use std::process::Command;

use serde_json::{Value, json};

use crate::support::process::{Ended, finish, start};
use crate::support::scene::Scene;

const COMPONENT: &str = "deployment/dep";
const INSTANCE: &str = "g/u0";
const DATA: &str = "/var/vcap/store/data";
const STAGE: &str = "/var/vcap/store/lifeboat-stage";

/// The listing of the staged tree, as the instance is sent it.
const LIST: &str = "[ ']list'? +'?/var/vcap/store/lifeboat-stage";

/// All that can be known of the tree in the working directory, in order.
const LOOK: &str = r"{ find . -type f -printf 'f %m %U %G %Ts %s %p\n' -o -printf '%y %m %U %G %Ts %l %p\n'
  find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z | tr '\0' '\n'; } | sort";

/// One job whose backup script copies data, and whose scripts note what they see.
fn spec() -> Value {
    json!({"director": {}, "stores": ["s3"], "deployments": [{"name": "dep", "groups": [{
        "name": "g", "instances": [{"id": "u0", "files": {DATA: {
            "tree": {"files": 300, "big": 3, "big_bytes": 5_000_000, "wild": true}}}}],
        "jobs": {"j": {"release": "r", "scripts": {
            "pre-backup-lock": "true", "post-backup-unlock": "true",
            "backup": {"body": format!("cp -a {DATA}/. \"$BBR_ARTIFACT_DIRECTORY\"
                cd \"$BBR_ARTIFACT_DIRECTORY\" && {LOOK} >/var/vcap/store/seen.backup")},
            "pre-restore-lock": "true", "post-restore-unlock": "true",
            "restore": {"body": format!("cd \"$BBR_ARTIFACT_DIRECTORY\" && {LOOK} >/var/vcap/store/seen.restore")}}}}}]}]})
}

/// A scene with one directory store.
fn scene() -> Scene {
    Scene::with_stores(&spec(), &["one"])
}

/// Runs a script on the instance; its output.
fn shell(scene: &Scene, script: &str) -> String {
    let answer = scene
        .foundation
        .ask(json!({"do": "run", "instance": INSTANCE, "script": script}));
    assert_eq!(answer["status"], 0, "{script}: {answer}");
    answer["stdout"].as_str().unwrap().to_owned()
}

fn seen(scene: &Scene, by: &str) -> String {
    shell(scene, &format!("cat /var/vcap/store/seen.{by}"))
}

/// A backup, and what its script left.
fn backup(scene: &Scene) -> (String, String) {
    let id = scene.put(&json!({"backup": [COMPONENT]})).ok().id();
    (id, seen(scene, "backup"))
}

fn stage_command(scene: &Scene, more: &[&str]) -> Command {
    let arguments = [&["stage", COMPONENT], more].concat();
    let confirmed = json!({"confirm_target": scene.source["foundation"]});
    scene.lifeboat(&arguments, &confirmed)
}

fn stage(scene: &Scene, more: &[&str]) -> Ended {
    finish(start(stage_command(scene, more), ""))
}

/// Restores a backup; what its script must find.
#[track_caller]
fn restored(scene: &Scene, id: &str, left: &str) -> String {
    shell(scene, "rm -f /var/vcap/store/seen.restore");
    let log = restored_beside_another(scene, id, left);
    scene.foundation.assert_clean();
    log
}

/// The same while another run holds its SSH users.
#[track_caller]
fn restored_beside_another(scene: &Scene, id: &str, left: &str) -> String {
    let log = scene.restore(COMPONENT, &[id]).ok().log();
    let found = seen(scene, "restore");
    // tar sets the time of a directory before it is done with it where `a-b` stands between `a` and `a/b`.
    match sent(&log) {
        Some(_) => same(&found, left, &log),
        None => same(&without_times(&found), &without_times(left), &log),
    }
    log
}

/// Directories without the times they have.
fn without_times(look: &str) -> String {
    let line = |line: &str| match line.strip_prefix("d ") {
        Some(rest) => {
            let words: Vec<&str> = rest.splitn(5, ' ').collect();
            format!("d {} {} {} {}\n", words[0], words[1], words[2], words[4])
        }
        None => format!("{line}\n"),
    };
    let mut lines: Vec<String> = look.lines().map(line).collect();
    lines.sort();
    lines.concat()
}

/// Two looks are the same; else the first lines that differ are shown.
#[track_caller]
fn same(found: &str, left: &str, log: &str) {
    let differs: Vec<_> = found
        .lines()
        .filter(|line| !left.lines().any(|other| other == *line))
        .chain(
            left.lines()
                .filter(|line| !found.lines().any(|other| other == *line)),
        )
        .take(10)
        .collect();
    assert!(found == left, "{differs:#?}\n{log}");
}

/// How many files were sent, as a log says; `None`: nothing was staged that could be used.
fn sent(log: &str) -> Option<u64> {
    let after = log.split("those that were not staged: ").nth(1)?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    Some(digits.parse().unwrap())
}
