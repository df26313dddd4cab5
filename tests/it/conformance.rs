//! The scenarios of the BBR contract, by the numbers of `docs/conformance.md`: the real programs
//! against the scratch foundation.

mod backup;
mod cleanup;
mod director;
mod discovery;
mod drain;
mod http;
mod lock_order;
mod precheck;
mod restore;
mod restore_artifact;
mod restore_cleanup;
mod shared;
mod signals;
mod table;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::support::process::{self, Ended};
use crate::support::scene::Scene;

/// A deployment `dep` (or the director), and what was asked of it so far.
pub(crate) struct Case {
    scene: Scene,
    component: String,
    since: AtomicU64,
}

impl Deref for Case {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// `group/id job script`.
    pub(crate) what: String,
    pub(crate) event: String,
    pub(crate) text: String,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Case {
    /// A foundation by its spec, with one store, and its deployment `dep`.
    pub(crate) fn new(spec: &Value) -> Self {
        Self::of(spec, "deployment/dep")
    }

    pub(crate) fn of(spec: &Value, component: &str) -> Self {
        Self {
            scene: Scene::with_stores(spec, &["one"]),
            component: component.to_owned(),
            since: AtomicU64::new(0),
        }
    }

    /// The deployment `dep` with these groups.
    pub(crate) fn groups(groups: Value) -> Self {
        Self::new(&json!({"deployments": [{"name": "dep", "groups": groups}]}))
    }

    pub(crate) fn s1() -> Self {
        Self::new(&json!({"fixture": "S1"}))
    }

    pub(crate) fn s2() -> Self {
        Self::new(&json!({"fixture": "S2"}))
    }

    pub(crate) fn director() -> Self {
        Self::of(&json!({"fixture": "X1"}), "director")
    }

    pub(crate) fn params_mut(&mut self) -> &mut Value {
        &mut self.scene.params
    }

    /// Replaces a script; null removes it.
    pub(crate) fn script(&self, instance: &str, job: &str, script: &str, value: Value) {
        self.foundation.ask(json!({
            "do": "set-script", "instance": instance, "job": job, "script": script, "value": value
        }));
    }

    /// Replaces a script of S1's only job.
    pub(crate) fn of_j(&self, script: &str, value: Value) {
        self.script("g/u0", "j", script, value);
    }

    /// Replaces a metadata script by one that prints this.
    pub(crate) fn metadata_of_j(&self, text: &str) {
        self.of_j("metadata", json!({"stdout": text}));
    }

    /// A shell script as root on an instance.
    pub(crate) fn shell(&self, instance: &str, script: &str) -> String {
        let answer = self
            .foundation
            .ask(json!({"do": "run", "instance": instance, "script": script}));
        assert_eq!(answer["status"], 0, "{script}: {answer}");
        answer["stdout"].as_str().unwrap().to_owned()
    }

    /// A fault of the remote commands that match.
    pub(crate) fn command_fault(&self, instance: &str, pattern: &str, kind: &str, more: Value) {
        let mut request =
            json!({"do": "command-fault", "instance": instance, "pattern": pattern, "kind": kind});
        crate::support::scene::merge(&mut request, &more);
        self.foundation.ask(request);
    }

    pub(crate) fn clear_command_faults(&self, instance: &str) {
        self.foundation
            .ask(json!({"do": "clear-command-faults", "instance": instance}));
    }

    /// A fault of the Director's answers.
    pub(crate) fn director_fault(&self, more: Value) {
        let mut request = json!({"do": "fault", "service": "director"});
        crate::support::scene::merge(&mut request, &more);
        self.foundation.ask(request);
    }

    /// The Director sets users up in so many groups, and then refuses to remove them.
    pub(crate) fn refuse_ssh_cleanup(&self, groups: u32) {
        self.director_fault(json!({
            "action": "status", "status": 500, "body": "no users today", "method": "POST",
            "path": "/ssh", "skip": groups
        }));
    }

    pub(crate) fn clear_director_faults(&self) {
        self.foundation
            .ask(json!({"do": "clear-faults", "service": "director"}));
    }

    /// What was asked of the Director.
    pub(crate) fn requests(&self, method: &str, path: &str) -> Vec<Value> {
        self.foundation.ask(
            json!({"do": "requests", "service": "director", "method": method, "path": path}),
        )["requests"]
            .as_array()
            .unwrap()
            .clone()
    }

    pub(crate) fn clear_requests(&self) {
        self.foundation
            .ask(json!({"do": "clear-requests", "service": "director"}));
    }

    /// bbr's artifact directory is there.
    pub(crate) fn has_artifacts(&self, instance: &str) -> bool {
        self.foundation
            .ask(json!({"do": "artifacts", "instance": instance}))["exists"]
            == true
    }

    /// Everything from now on is new to [`Case::lines`].
    pub(crate) fn forget(&self) {
        let answer = self.foundation.ask(json!({"do": "journal"}));
        self.since
            .store(answer["next"].as_u64().unwrap(), Ordering::Relaxed);
    }

    /// The journal since [`Case::forget`].
    pub(crate) fn lines(&self) -> Vec<Line> {
        let since = self.since.load(Ordering::Relaxed);
        let answer = self
            .foundation
            .ask(json!({"do": "journal", "since": since}));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lines = answer["lines"].as_array().unwrap();
        lines
            .iter()
            .map(|line| Line {
                what: format!(
                    "{} {} {}",
                    text(&line["instance"]),
                    text(&line["job"]),
                    text(&line["script"])
                ),
                event: text(&line["event"]),
                text: text(&line["text"]),
                environment: line["env"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| (key.clone(), text(value)))
                    .collect(),
            })
            .collect()
    }

    /// The scripts that started, in order, without metadata.
    pub(crate) fn started(&self) -> Vec<String> {
        self.lines()
            .into_iter()
            .filter(|line| line.event == "start" && !line.what.ends_with(" metadata"))
            .map(|line| line.what)
            .collect()
    }

    /// The environment of a script that ran once.
    #[track_caller]
    pub(crate) fn environment(&self, what: &str) -> BTreeMap<String, String> {
        let mut lines = self.lines();
        lines.retain(|line| line.event == "start" && line.what == what);
        assert_eq!(lines.len(), 1, "{what}: {lines:?}");
        let mut environment = lines.remove(0).environment;
        environment.remove("SUDO_USER");
        environment
    }

    /// What the unlock script of S1's job was told.
    #[track_caller]
    pub(crate) fn told_unlock(&self, what: &str) -> String {
        let environment = self.environment(what);
        assert_eq!(environment.len(), 1, "{environment:?}");
        environment["BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL"].clone()
    }

    /// `out` with `backup`.
    pub(crate) fn backup(&self) -> Ended {
        self.backup_with(&json!({}))
    }

    pub(crate) fn backup_with(&self, more: &Value) -> Ended {
        let mut params = json!({"backup": [self.component]});
        crate::support::scene::merge(&mut params, more);
        self.put(&params)
    }

    /// A backup that must fail: exit code 1, nothing listed. Returns its log.
    #[track_caller]
    pub(crate) fn backup_fails(&self) -> String {
        self.backup_fails_with(&json!({}))
    }

    #[track_caller]
    pub(crate) fn backup_fails_with(&self, more: &Value) -> String {
        let ended = self.backup_with(more).fails(1);
        assert_eq!(ended.stdout, "", "no version");
        assert!(
            ended.last_line().starts_with("failed: "),
            "{}",
            ended.last_line()
        );
        ended.log()
    }

    /// `out` with `cleanup`.
    pub(crate) fn cleanup(&self) -> Ended {
        self.put(&json!({"cleanup": [self.component]}))
    }

    /// As bbr's own, whether anything is left or not.
    pub(crate) fn forced_cleanup(&self) -> Ended {
        self.put(&json!({"cleanup": [self.component], "force": true}))
    }

    /// `lifeboat restore` of the newest backup.
    pub(crate) fn restore_latest(&self) -> Ended {
        self.scene.restore(&self.component, &["latest"])
    }

    /// `lifeboat restore` of the artifact directory of the fixture R1.
    pub(crate) fn restore_art(&self) -> Ended {
        process::finish(process::start(self.restore_art_command(), ""))
    }

    pub(crate) fn restore_art_command(&self) -> Command {
        let art = self.foundation.ready["artifact"].as_str().unwrap();
        self.scene
            .restore_command(&self.component, &["--from", art])
    }

    /// `lifeboat restore-cleanup`.
    pub(crate) fn restore_cleanup(&self) -> Ended {
        let arguments = ["restore-cleanup", self.component.as_str()];
        process::finish(process::start(
            self.scene.lifeboat(&arguments, &json!({})),
            "",
        ))
    }

    /// The command line with the same configuration.
    pub(crate) fn lifeboat(&self, command: &str) -> Ended {
        process::finish(process::start(self.lifeboat_command(command), ""))
    }

    pub(crate) fn lifeboat_command(&self, command: &str) -> Command {
        let mut config = self.source.clone();
        crate::support::scene::merge(&mut config, &self.params);
        let file = self.scratch.path().join("lifeboat.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let file = file.to_str().unwrap();
        process::command("lifeboat", ["--config", file, command, &self.component])
    }

    /// `lifeboat pre-backup-check`.
    pub(crate) fn precheck(&self) -> Ended {
        self.lifeboat("pre-backup-check")
    }

    /// A check that must find problems; returns them.
    #[track_caller]
    pub(crate) fn precheck_finds(&self) -> String {
        let ended = self.precheck().fails(3);
        assert!(
            ended.stdout.contains("cannot be backed up: "),
            "{}",
            ended.stdout
        );
        ended.stdout
    }

    /// `out` with `backup`, under way.
    pub(crate) fn start_backup(&self) -> Child {
        let request = self.put_request(&json!({"backup": [self.component]}));
        let command = process::command("out", [self.scratch.path()]);
        process::start(command, &request.to_string())
    }

    /// Waits until a script of S1's job has started.
    pub(crate) fn wait_for(&self, script: &str, event: &str) {
        self.foundation.ask(json!({
            "do": "wait-journal", "match": {"script": script, "event": event}, "seconds": 60
        }));
    }

    /// Nothing on the instances, nothing listed.
    #[track_caller]
    pub(crate) fn assert_nothing_happened(&self) {
        self.foundation.assert_clean();
        assert_eq!(self.check(), [""; 0], "a backup is listed");
    }

    /// What `in` writes for the component of the only backup.
    #[track_caller]
    pub(crate) fn fetched(&self) -> PathBuf {
        let ids = self.check();
        assert!(!ids.is_empty(), "no backup is listed");
        self.download(ids.last().unwrap()).join(&self.component)
    }
}

/// A signal to a program of ours.
pub(crate) fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The names in a tar, as the real `tar` shows them.
pub(crate) fn tar_names(tar: &Path) -> Vec<String> {
    let output = Command::new("tar").arg("-tf").arg(tar).output().unwrap();
    assert!(output.status.success(), "{}", tar.display());
    let mut names: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// One file of a tar.
pub(crate) fn tar_file(tar: &Path, name: &str) -> String {
    let output = Command::new("tar")
        .args(["-xOf".as_ref(), tar.as_os_str(), name.as_ref()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", tar.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Whether all `first` end before any of `then` starts.
#[track_caller]
pub(crate) fn assert_before(lines: &[Line], first: &str, then: &str) {
    let place = |what: &str, event: &str| -> Vec<usize> {
        let matches = |line: &Line| {
            let named = line.what == what || line.what.ends_with(&format!(" {what}"));
            named && line.event == event
        };
        let found: Vec<_> = (0..lines.len()).filter(|at| matches(&lines[*at])).collect();
        assert!(!found.is_empty(), "no {event} of {what}: {lines:?}");
        found
    };
    let end = place(first, "end").into_iter().max();
    let start = place(then, "start").into_iter().min();
    assert!(end < start, "{first} before {then}: {lines:?}");
}

/// Text holds all of these.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Text holds none of these.
#[track_caller]
pub(crate) fn never_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(!text.contains(part), "{part:?} is in:\n{text}");
    }
}
