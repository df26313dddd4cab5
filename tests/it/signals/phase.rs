//! Where in a run a signal comes: what holds the run up there, and how it shows that it is.

use serde_json::{Value, json};

use super::METADATA;
use crate::support::scene::merge;

/// A phase of a run, held up so that the signal comes in its midst.
#[derive(Debug)]
pub struct Phase {
    /// For people.
    pub name: &'static str,
    /// Requests to the foundation that hold the run up.
    pub(super) hold: Vec<Value>,
    /// Requests that return once the run is there.
    pub(super) until: Vec<Value>,
    /// Whether something is locked by then.
    pub locks: bool,
}

impl Phase {
    /// Nothing is held up yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            hold: Vec::new(),
            until: Vec::new(),
            locks: false,
        }
    }

    /// Asks the foundation for this before the run.
    pub fn ask(mut self, request: Value) -> Self {
        self.hold.push(request);
        self
    }

    /// Jobs are locked when the signal comes, or were.
    pub fn locks(mut self) -> Self {
        self.locks = true;
        self
    }

    /// A fault of a service.
    pub fn fault(self, service: &str, fault: Value) -> Self {
        self.ask(with(json!({"do": "fault", "service": service}), fault))
    }

    /// How a task of the Director goes.
    pub fn task(self, description: &str, plan: Value) -> Self {
        self.ask(with(json!({"do": "task-plan", "match": description}), plan))
    }

    /// Another script.
    pub fn script(self, instance: &str, job: &str, script: &str, value: Value) -> Self {
        self.ask(
            json!({"do": "set-script", "instance": instance, "job": job, "script": script, "value": value}),
        )
    }

    /// The first such command of an instance never ends.
    pub fn command_fault(self, instance: &str, pattern: &str) -> Self {
        self.ask(
            json!({"do": "command-fault", "instance": instance, "kind": "stall", "pattern": pattern, "times": 1}),
        )
    }

    /// Asks the foundation for this once the run is there.
    pub fn then(mut self, request: Value) -> Self {
        self.until.push(request);
        self
    }

    fn until(mut self, request: Value) -> Self {
        self.until.push(with(request, json!({"seconds": 60})));
        self
    }

    /// Until a service was asked this.
    pub fn until_request(self, service: &str, method: &str, path: &str) -> Self {
        self.until_request_with(service, method, path, 1)
    }

    /// Until a service was asked this so many times.
    pub fn until_request_with(self, service: &str, method: &str, path: &str, count: u32) -> Self {
        self.until(
            json!({"do": "wait-request", "service": service, "method": method, "path": path, "count": count}),
        )
    }

    /// Until a script has started or ended.
    pub fn until_script(self, job: &str, script: &str, event: &str) -> Self {
        self.until(
            json!({"do": "wait-journal", "match": {"job": job, "script": script, "event": event}}),
        )
    }

    /// Until an instance was sent such a command.
    pub fn until_command(self, instance: &str, pattern: &str) -> Self {
        self.until(json!({"do": "wait-command", "instance": instance, "match": pattern}))
    }
}

/// Phases that a backup and a restore share.
impl Phase {
    /// A task that the Director never starts.
    pub fn task_queued() -> Self {
        Self::new("a task of the Director is queued")
            .task("vm-stats", json!({"queued": 100_000}))
            .until_request("director", "GET", "^/tasks/")
    }

    /// SSH users that never come to be.
    pub fn ssh_users_set_up() -> Self {
        Self::new("SSH users are set up")
            .task("ssh: setup", json!({"processing": 100_000}))
            .until_request("director", "POST", "/ssh$")
    }

    /// A metadata script that takes its time.
    pub fn metadata_runs() -> Self {
        Self::new("a metadata script runs")
            .script(
                "api/a0",
                "api",
                "metadata",
                json!({"sleep": 60, "body": METADATA}),
            )
            .until_script("api", "metadata", "start")
    }

    /// An instance that never gets its marker.
    pub fn marked() -> Self {
        Self::new("instances are marked")
            .command_fault("api/a0", "cp .*owner.*marker")
            .until_command("api/a0", "cp .*owner.*marker")
    }

    /// The first of two lock scripts, of this name.
    pub fn first_lock(script: &str) -> Self {
        Self::new("the first lock")
            .script("api/a0", "api", script, json!({"sleep": 60}))
            .until_script("api", script, "start")
            .locks()
    }

    /// The second of two lock scripts, of this name.
    pub fn deaf_lock(script: &str) -> Self {
        let body = "trap '' TERM; while sleep 0.2; do :; done";
        Self::new("the second lock, which ignores SIGTERM")
            .script("db/d0", "cc", script, json!({"body": body}))
            .until_script("cc", script, "start")
            .locks()
    }

    /// An unlock script of this name that ends in time.
    pub fn unlock_runs(script: &str) -> Self {
        Self::new("an unlock script runs")
            .script("db/d0", "cc", script, json!({"sleep": 2}))
            .until_script("cc", script, "start")
            .locks()
    }

    /// An instance that is never clean.
    pub fn cleaned() -> Self {
        Self::new("instances are cleaned")
            .command_fault("api/a1", "lifeboat-remove")
            .until_command("api/a1", "lifeboat-remove")
            .locks()
    }

    /// SSH users that are never removed.
    pub fn ssh_users_removed() -> Self {
        Self::new("SSH users are removed")
            .task("ssh: cleanup", json!({"processing": 100_000}))
            .until_request_with("director", "POST", "/ssh$", 3)
            .locks()
    }
}

pub(super) fn with(mut value: Value, more: Value) -> Value {
    merge(&mut value, &more);
    value
}
