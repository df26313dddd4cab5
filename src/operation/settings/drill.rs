//! What a drill is told.

use std::time::Duration;

use super::{Choices, Origin};

/// A drill: a restore rehearsed in a scratch foundation. That the scratch foundation is meant has
/// been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    /// The scratch foundation's name; never that of the foundation.
    pub scratch: String,
    /// Which backup.
    pub origin: Origin,
    /// What the operator decided about the restore; never in place.
    pub choices: Choices,
    /// What becomes of the scratch foundation.
    pub end: End,
    /// What is asked of the restored foundation.
    pub checks: Vec<Check>,
    /// How long a check is repeated until it holds.
    pub patience: Duration,
}

/// What becomes of the scratch foundation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything is deleted after a drill that passed.
    TearDown,
    /// It is left as it is.
    Keep,
    /// No drill: everything that an earlier one left is deleted.
    OnlyTearDown,
}

/// Something that the restored foundation must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// For people: `app`, `row`, `blob`, `credhub-secret`.
    pub name: String,
    /// What is asked.
    pub question: Question,
    /// What the answer must contain; nothing: any answer will do.
    pub contains: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A GET.
    Url(Page),
    /// A command, run as root by bash on one instance. It must end with status 0.
    Command {
        /// `None`: that of TAS.
        deployment: Option<String>,
        /// `group`, `group/index` or `group/id`.
        instance: String,
        /// One line for bash.
        command: String,
    },
}

/// An HTTPS page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `https://…`.
    pub url: String,
    /// The status that it must have.
    pub status: u16,
    /// PEM certificates that are believed; `None`: those that Ops Manager knows, else the
    /// system's.
    pub ca_cert: Option<String>,
}
