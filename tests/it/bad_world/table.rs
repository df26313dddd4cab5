//! The table: runs a case, compares the sentence, and keeps what is wrong until the end.

use serde_json::{Value, json};

use crate::support::process::Ended;
use crate::support::scene::{Scene, merge};

/// A scene and what went wrong in it.
pub(super) struct Table {
    pub(super) scene: Scene,
    listed: Vec<String>,
    secrets: Vec<String>,
    cases: usize,
    wrong: Vec<String>,
}

impl Table {
    pub(super) fn new(spec: &Value) -> Self {
        let mut spec = spec.clone();
        if spec["director"].is_null() && spec["fixture"] == "S1" {
            spec["director"] = json!({"username": "ops", "password": "director-secret-4711"});
        }
        Self::of(Scene::with_stores(&spec, &["nas"]))
    }

    pub(super) fn of(scene: Scene) -> Self {
        let mut secrets = vec![scene.recovery_identity.clone()];
        let params = &scene.params;
        for pointer in [
            "/worker_identity",
            "/director/private_key",
            "/bosh/client_secret",
        ] {
            let text = params.pointer(pointer).and_then(Value::as_str);
            secrets.extend(text.and_then(telling).map(str::to_owned));
        }
        if let Some(stores) = scene.foundation.ready["stores"].as_object() {
            for store in stores.values() {
                secrets.extend(store["secret_access_key"].as_str().map(str::to_owned));
            }
        }
        Self {
            scene,
            listed: Vec::new(),
            secrets,
            cases: 0,
            wrong: Vec::new(),
        }
    }

    /// These backups may be listed: they are there on purpose.
    pub(super) fn expect_listed(&mut self, ids: impl IntoIterator<Item = String>) {
        self.listed.extend(ids);
        self.listed.sort();
    }

    /// A put of `deployment/dep` with these params on top must fail with this sentence, in
    /// which `…` stands for any text.
    #[track_caller]
    pub(super) fn put(&mut self, what: &str, more: &Value, sentence: &str) {
        let mut params = json!({"backup": ["deployment/dep"]});
        merge(&mut params, more);
        let ended = self.scene.put(&params);
        self.refused(what, &ended, sentence);
        self.clean(what);
    }

    /// Checks how a program ended.
    #[track_caller]
    pub(super) fn refused(&mut self, what: &str, ended: &Ended, sentence: &str) {
        self.cases += 1;
        let last = ended.last_line();
        let expected = format!("failed: {sentence}");
        if !fits(&last, &expected) {
            self.wrong(what, &format!("said     {last}\n  expected {expected}"));
        }
        if ended.code != 1 || !ended.stdout.is_empty() {
            let text = format!("exit code {}, printed {:?}", ended.code, ended.stdout);
            self.wrong(what, &text);
        }
        let sentences = ended.stderr.matches("failed: ").count();
        if sentences != 1 {
            self.wrong(
                what,
                &format!("{sentences} last sentences: {}", ended.stderr),
            );
        }
        for odd in ["panicked", "RUST_BACKTRACE", "Error {", "Some(", "Kind::"] {
            if ended.stderr.contains(odd) {
                self.wrong(what, &format!("shows {odd}: {}", ended.stderr));
            }
        }
        let shown = self
            .secrets
            .iter()
            .any(|secret| ended.stderr.contains(secret));
        if shown {
            self.wrong(what, "shows a secret");
        }
    }

    /// Nothing is listed that was not before, nothing is left on the instances.
    pub(super) fn clean(&mut self, what: &str) {
        let leaks = self.scene.foundation.leaks();
        if leaks != json!({}) {
            self.wrong(what, &format!("left on instances: {leaks}"));
        }
        let mut listed = self.scene.check();
        listed.sort();
        if listed != self.listed {
            self.wrong(what, &format!("lists {listed:?}"));
        }
    }

    /// No script ran.
    pub(super) fn untouched(&mut self) {
        let journal = self.scene.foundation.journal();
        if !journal.is_empty() {
            self.wrong("all of them", &format!("scripts ran: {journal:?}"));
        }
    }

    fn wrong(&mut self, what: &str, problem: &str) {
        self.wrong.push(format!("{what}\n  {problem}"));
    }

    /// Reports all cases that differ: a table is read as a whole.
    #[track_caller]
    pub(super) fn end(mut self, cases: usize) {
        let wrong = std::mem::take(&mut self.wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(self.cases, cases, "cases were skipped");
    }
}

/// The first line of a secret that is not the same in all of its kind.
fn telling(secret: &str) -> Option<&str> {
    secret
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .nth(1)
        .or_else(|| secret.lines().next())
}

/// Whether a text is the pattern, in which `…` stands for any text.
fn fits(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}
