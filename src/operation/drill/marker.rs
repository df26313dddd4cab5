//! What a drill notes on the scratch foundation's Ops Manager VM: that this VM is one, and how far
//! the drill is.
//!
//! A scratch foundation has the original's addresses, credentials and, once restored, even its
//! director's UUID. What it has for itself is the VM of its Ops Manager. The note is written onto a
//! VM that nobody has set up, and from then on a drill works on a VM that carries it and on no
//! other: no foundation that lives can have it. It also says what is done, so that whatever ended a
//! drill the next one goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::operation::vm_file;
use crate::remote::{Command, Remote};
use crate::shutdown::Shutdown;

/// Outside everything that belongs to Ops Manager: an import leaves it alone.
const DIRECTORY: &str = "/var/lib/lifeboat";
const NAME: &str = "drill.json";

/// The note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Marker {
    /// The scratch foundation's name.
    pub(super) scratch: String,
    /// Whose backup.
    pub(super) foundation: String,
    pub(super) backup: String,
    /// When the drill began, RFC 3339.
    pub(super) begun: String,
    /// How often it was run; more than once after a failure or an abort.
    pub(super) runs: u32,
    /// The SSH host key of the director that this drill deployed, as this VM sees it.
    pub(super) director_host_key: Option<String>,
    /// By name.
    pub(super) steps: BTreeMap<String, Noted>,
    /// When it passed and its proof was stored, RFC 3339: from then on a run restores nothing, it looks.
    pub(super) passed: Option<String>,
    /// Whether everything was deleted again.
    pub(super) torn_down: bool,
}

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Noted {
    pub(super) done: bool,
    /// How long runs worked on it, all of them together, milliseconds.
    pub(super) ms: u64,
    /// How often it was begun.
    pub(super) begun: u32,
    /// How many of those `ms` has the time of: a run that was killed told none.
    pub(super) timed: u32,
}

impl Marker {
    /// Whether a step was begun, done or not.
    pub(super) fn begun(&self, step: &str) -> bool {
        self.steps.contains_key(step)
    }

    /// How long a step took that is done.
    pub(super) fn done(&self, step: &str) -> Option<Duration> {
        let noted = self.steps.get(step).filter(|noted| noted.done)?;
        Some(Duration::from_millis(noted.ms))
    }

    /// A run begins a step. Says whether one did before.
    pub(super) fn begin(&mut self, step: &str) -> bool {
        let before = self.begun(step);
        let noted = self.steps.entry(step.to_owned()).or_default();
        // A note of a release that did not count says of none how long it was.
        noted.begun = noted.begun.max(u32::from(before)) + 1;
        before
    }

    /// The run that began a step worked on it so long, and then it was done, failed or cut off.
    pub(super) fn end(&mut self, step: &str, took: Duration, done: bool) {
        let noted = self.steps.entry(step.to_owned()).or_default();
        noted.done = done;
        noted.ms = noted.ms.saturating_add(clock::millis(took));
        noted.timed += 1;
    }

    /// How long all runs worked on a step.
    pub(super) fn spent(&self, step: &str) -> Duration {
        let noted = self.steps.get(step);
        Duration::from_millis(noted.map_or(0, |noted| noted.ms))
    }

    /// Whether a run that was killed in a step told no time, once no run works on it.
    pub(super) fn at_least(&self, step: &str) -> bool {
        let noted = self.steps.get(step);
        noted.is_some_and(|noted| noted.begun > noted.timed)
    }

    /// What a step's time leaves out, as a sentence; nothing where one run did it.
    pub(super) fn left_out(&self, step: &str) -> Option<String> {
        let noted = self.steps.get(step).filter(|noted| noted.begun > 1)?;
        let killed = match self.at_least(step) {
            true => ", nor the time of a run that was killed",
            false => "",
        };
        Some(format!(
            "its time is the sum of {} runs; what the foundation did between them is not in it{killed}",
            noted.begun
        ))
    }

    /// What whoever runs a drill again that has passed must know; nothing before it has.
    pub(super) fn only_looks(&self) -> Option<String> {
        let at = self.passed.as_ref()?;
        Some(format!(
            "nothing was restored anew: this drill of backup {} passed at {at}, and running it again only looks; to restore, take it down (`{}`), make the Ops Manager VM anew, then drill",
            self.backup,
            self.cleanup()
        ))
    }

    /// Why no other backup can be drilled here.
    pub(super) fn holds(&self) -> String {
        let Self {
            scratch, backup, ..
        } = self;
        let anew = format!(
            "take it down (`{}`) and make the Ops Manager VM anew",
            self.cleanup()
        );
        match &self.passed {
            Some(at) => {
                format!("{scratch} holds a drill of backup {backup} that passed at {at}; {anew}")
            }
            None => format!(
                "{scratch} holds an unfinished drill of backup {backup}; run `lifeboat drill {backup} --confirm-target {scratch}` to finish it, or {anew}"
            ),
        }
    }

    /// The command that takes it down, as the operator would type it.
    pub(super) fn cleanup(&self) -> String {
        format!("lifeboat drill-cleanup --confirm-target {}", self.scratch)
    }

    /// What the VM carries; `None` where no drill was ever begun.
    pub(super) fn read(remote: &dyn Remote, shutdown: &Shutdown) -> Result<Option<Self>> {
        let path = format!("{DIRECTORY}/{NAME}");
        let text = vm_file::read(remote, "reading the drill's note", &path, shutdown)?;
        text.map(|text| serde_json::from_slice(&text))
            .transpose()
            .map_err(|_may_quote_it| {
                anyhow!("{path} on the Ops Manager VM is no note of a drill; nothing was touched: make the VM anew from its image")
            })
    }

    /// Writes it; whatever happens meanwhile, the whole old one or the whole new one is there.
    pub(super) fn write(&self, remote: &dyn Remote, shutdown: &Shutdown) -> Result<()> {
        let text = serde_json::to_string(self).context("the drill's note cannot be written")?;
        let script = r#"umask 077 && mkdir -p -- "$1" && printf %s "$3" > "$1/$2.new" && mv -- "$1/$2.new" "$1/$2" && sync "$1/$2""#;
        let command = Command::as_root(
            "noting how far the drill is",
            ["sh", "-c", script, "sh", DIRECTORY, NAME, &text],
        );
        let output = remote
            .run(&command, shutdown)
            .context("the Ops Manager VM")?;
        ensure!(
            output.exit.ok(),
            "{DIRECTORY}/{NAME} on the Ops Manager VM cannot be written (status {}): {}; nothing goes on without it",
            output.exit.status,
            output.exit.stderr
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_each_run_spent_on_a_step_is_added_up() {
        let mut marker = Marker::default();
        assert!(!marker.begin("apply-tas"));
        // Cut off by a signal.
        marker.end("apply-tas", secs(7200), false);
        assert_eq!(marker.done("apply-tas"), None);
        assert!(marker.begin("apply-tas"));
        marker.end("apply-tas", secs(600), true);
        assert_eq!(marker.done("apply-tas"), Some(secs(7800)));
        assert_eq!(marker.spent("apply-tas"), secs(7800));
        assert_eq!(
            marker.left_out("apply-tas").unwrap(),
            "its time is the sum of 2 runs; what the foundation did between them is not in it"
        );
        // Killed, then done.
        marker.begin("tas");
        marker.begin("tas");
        marker.end("tas", secs(60), true);
        let said = marker.left_out("tas").unwrap();
        assert!(
            said.ends_with("nor the time of a run that was killed"),
            "{said}"
        );
        assert!(marker.at_least("tas") && !marker.at_least("apply-tas"));
        marker.begin("scale-up");
        marker.end("scale-up", secs(1), true);
        assert_eq!(marker.left_out("scale-up"), None);
    }

    #[test]
    fn a_note_of_an_earlier_release_is_read() {
        let text = r#"{"scratch": "scratch-1", "foundation": "prod-east", "backup": "B",
            "begun": "2026-11-22T01:02:03Z", "runs": 1, "director_host_key": null,
            "steps": {"director": {"done": true, "ms": 60000}, "apply-tas": {"done": false, "ms": 0}},
            "torn_down": false}"#;
        let mut marker: Marker = serde_json::from_str(text).unwrap();
        assert_eq!(marker.done("director"), Some(secs(60)));
        assert_eq!((marker.left_out("director"), &marker.passed), (None, &None));
        assert!(marker.begin("apply-tas"));
        marker.end("apply-tas", secs(600), true);
        let said = marker.left_out("apply-tas").unwrap();
        assert!(said.contains("2 runs") && said.contains("killed"), "{said}");
    }

    #[test]
    fn a_drill_that_passed_is_not_called_unfinished_and_commands_are_whole() {
        let mut marker = Marker {
            scratch: "scratch-1".to_owned(),
            backup: "B".to_owned(),
            ..Marker::default()
        };
        assert_eq!(marker.only_looks(), None);
        let holds = marker.holds();
        for words in [
            "holds an unfinished drill of backup B",
            "`lifeboat drill B --confirm-target scratch-1`",
            "`lifeboat drill-cleanup --confirm-target scratch-1`",
        ] {
            assert!(holds.contains(words), "{words}: {holds}");
        }
        marker.passed = Some("2026-11-22T01:02:03Z".to_owned());
        let holds = marker.holds();
        assert!(!holds.contains("unfinished"), "{holds}");
        for said in [holds, marker.only_looks().unwrap()] {
            for words in [
                "passed at 2026-11-22T01:02:03Z",
                "`lifeboat drill-cleanup --confirm-target scratch-1`",
            ] {
                assert!(said.contains(words), "{words}: {said}");
            }
        }
    }
}
