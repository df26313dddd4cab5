//! How a drill went: plain types, the table for people, JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{millis, spoken};

/// A drill that came to an end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drilled {
    /// Whose backup was restored.
    pub foundation: String,
    /// Which.
    pub backup: String,
    /// Where.
    pub scratch: String,
    /// In order: the steps of the restore, then the stages of the verification.
    pub steps: Vec<DrillStep>,
    /// How long all of them took, without what people do between them: the recovery time of one that
    /// passed, see [`Drilled::recovered`].
    pub rto: Duration,
    /// How old the restored data was when the drill began.
    pub rpo: Duration,
    /// How long before this backup the one before it was taken.
    pub interval: Option<Duration>,
    /// How often the drill was begun; more than once after a failure or an abort.
    pub runs: u32,
    /// What is not covered, and other things to know, as sentences.
    pub notes: Vec<String>,
    /// What became of the scratch foundation, as a sentence.
    pub scratch_is: String,
}

/// One step of the restore or stage of the verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrillStep {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// Whether it took longer than that: a run of it was killed, and told no time.
    pub at_least: bool,
    /// Whether all was well.
    pub ok: bool,
    /// What was found, as sentences; what was wrong where it is not well.
    pub said: Vec<String>,
    /// What the stored result says in place of that, where it may quote what is sealed.
    pub stored: Option<String>,
    /// What that would mean in the real disaster, and what to do; where it is not well.
    pub means: Option<&'static str>,
}

impl Drilled {
    /// Whether every step and stage was well.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// The recovery time; `None` of one that failed, for how soon it does says nothing, and where a
    /// run was killed, whose time nobody knows.
    pub fn recovered(&self) -> Option<Duration> {
        let timed = self.steps.iter().all(|step| !step.at_least);
        (timed && self.passed()).then_some(self.rto)
    }
}

/// The table at the end of a log.
pub fn text(drilled: &Drilled) -> String {
    let result = if drilled.passed() { "passed" } else { "FAILED" };
    let mut text = format!(
        "drill of backup {} of {} in {}: {result}\n\n",
        drilled.backup, drilled.foundation, drilled.scratch
    );
    let width = drilled
        .steps
        .iter()
        .map(|step| step.name.chars().count())
        .max()
        .unwrap_or_default();
    for step in &drilled.steps {
        let mark = if step.ok { "ok    " } else { "FAILED" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {mark}  {:width$}  {:>9}",
            step.name,
            seconds(step.took)
        );
        if !step.ok {
            for said in &step.said {
                let _ = writeln!(text, "          {said}");
            }
            if let Some(means) = step.means {
                let _ = writeln!(text, "          what this means: {means}");
            }
        }
    }
    let _ = match drilled.recovered() {
        Some(rto) => writeln!(
            text,
            "\nRTO  {}: all steps and stages, without making the Ops Manager VM and without the time between them",
            spoken(rto)
        ),
        None => writeln!(
            text,
            "\nRTO  not measured, since {}; its steps and stages took {}",
            if drilled.passed() {
                "a run was killed, whose time is not known"
            } else {
                "the drill failed"
            },
            spoken(drilled.rto)
        ),
    };
    let _ = writeln!(
        text,
        "RPO  {}: the age of the restored data when the drill began{}",
        spoken(drilled.rpo),
        match drilled.interval {
            Some(interval) => format!(
                "; {} lay between this backup and the one before it",
                spoken(interval)
            ),
            None => String::new(),
        }
    );
    for note in &drilled.notes {
        let _ = writeln!(text, "note {note}");
    }
    let _ = writeln!(text, "{}", drilled.scratch_is);
    text
}

fn seconds(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// The same for programs; times in milliseconds.
pub fn json(drilled: &Drilled) -> Value {
    json!({
        "foundation": drilled.foundation,
        "backup": drilled.backup,
        "scratch": drilled.scratch,
        "result": if drilled.passed() { "passed" } else { "failed" },
        "steps": drilled.steps.iter().map(|step| json!({
            "name": step.name,
            "ms": millis(step.took),
            "at_least": step.at_least,
            "ok": step.ok,
            "said": step.said,
            "means": step.means,
        })).collect::<Vec<_>>(),
        "rto_ms": drilled.recovered().map(millis),
        "rpo_ms": millis(drilled.rpo),
        "interval_ms": drilled.interval.map(millis),
        "runs": drilled.runs,
        "notes": drilled.notes,
        "scratch_is": drilled.scratch_is,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_which_step_failed_and_what_that_means() {
        let step = |name: &str, ok: bool| DrillStep {
            name: name.to_owned(),
            took: Duration::from_millis(1250),
            at_least: false,
            ok,
            said: vec!["quota exceeded".to_owned()],
            stored: None,
            means: (!ok).then_some("no foundation"),
        };
        let mut drilled = Drilled {
            foundation: "prod-east".to_owned(),
            backup: "B".to_owned(),
            scratch: "scratch-1".to_owned(),
            steps: vec![step("ops-manager", true), step("apply-director", false)],
            rto: Duration::from_secs(90),
            rpo: Duration::from_secs(7200),
            interval: Some(Duration::from_secs(86_400)),
            scratch_is: "scratch-1 is left as it is".to_owned(),
            ..Drilled::default()
        };
        let shown = text(&drilled);
        let expected = "drill of backup B of prod-east in scratch-1: FAILED\n\n\
             \x20 ok      ops-manager         1.2 s\n\
             \x20 FAILED  apply-director      1.2 s\n\
             \x20         quota exceeded\n\
             \x20         what this means: no foundation\n";
        assert!(shown.starts_with(expected), "{shown}");
        assert!(
            shown.contains("RTO  not measured, since the drill failed"),
            "{shown}"
        );
        assert_eq!(json(&drilled)["result"], "failed");
        assert_eq!(json(&drilled)["rto_ms"], Value::Null);
        drilled.steps.pop();
        assert!(text(&drilled).contains("passed"));
        assert!(text(&drilled).contains("RTO  1 min 30 s: all steps"));
        assert_eq!(json(&drilled)["rto_ms"], 90_000);
        drilled.steps[0].at_least = true;
        assert!(text(&drilled).contains("RTO  not measured, since a run was killed"));
        assert_eq!(json(&drilled)["rto_ms"], Value::Null);
    }
}
