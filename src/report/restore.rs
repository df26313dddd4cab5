//! How a step of a restore ended, and what a restore will take: plain types.

pub mod shown;

use std::time::Duration;

/// How one step ended that did not fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepEnd {
    /// Its name.
    pub step: String,
    /// Whether there was nothing left to do.
    pub already: bool,
    /// What was done or found, as sentences.
    pub said: Vec<String>,
}

/// The restore of a foundation, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whose.
    pub foundation: String,
    /// From which backup.
    pub backup: String,
    /// When that was complete, RFC 3339.
    pub finished: String,
    /// Its components.
    pub components: Vec<String>,
    /// What it can restore: the whole foundation, or which parts.
    pub scope: String,
    /// What was seen of the target, and what could not be told, as sentences.
    pub target: Vec<String>,
    /// What must hold before anything is begun.
    pub conditions: Vec<Condition>,
    /// In order.
    pub steps: Vec<PlanStep>,
    /// What is left of them takes together, where anything can be told.
    pub total: Option<Expected>,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it does.
    pub holds: Holds,
    /// What it is about.
    pub what: String,
    /// What is needed, what was found, what to do.
    pub why: String,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Seen to hold.
    Yes,
    /// Seen not to hold.
    No,
    /// Somebody has to look.
    Look,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// What happens.
    pub title: String,
    /// Who does it.
    pub who: Who,
    /// How far it is on this target.
    pub state: Progress,
    /// Why, and what to know.
    pub notes: Vec<String>,
    /// How long it is expected to take.
    pub expected: Option<Expected>,
}

/// Who does a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Lifeboat, by this command.
    Automatic(String),
    /// A person, with other tools.
    Person,
    /// A person decides whether and how.
    Decision,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// To be done.
    Open,
    /// Done on this target already.
    Done,
    /// Nothing of this backup needs it.
    NotNeeded,
    /// The target does not tell.
    Unknown,
}

/// A duration, and what it was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// At least.
    pub least: Duration,
    /// At most, as a rule.
    pub most: Duration,
    /// Why that long.
    pub because: String,
}
