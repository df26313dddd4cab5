//! Everything that `lifeboat report` says, at one moment: as plain types, which are its JSON.
//! `docs/reports.md` explains every field.
//!
//! Times are RFC 3339 in UTC, durations are whole seconds (`_s`) or milliseconds (`_ms`), sizes are
//! bytes. What is not known is absent. [`compose`](compose::compose) makes it from what was read.

mod calendar;
mod change;
pub mod compose;
mod downtime;
mod future;
mod standing;
pub mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use super::Problem;
use super::alerts::Alert;

pub use compose::{Gathered, Known, Recorded};
pub use future::{CertificateEnd, Certificates, Drop, Hold, NextDrop, Retention};

/// The format of the JSON.
pub const FORMAT: u64 = 1;

/// The state of a foundation's backups.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// [`FORMAT`].
    pub format: u64,
    /// Whose backups.
    pub foundation: String,
    /// When this was looked at.
    pub generated: String,
    /// Who looked.
    pub release: String,
    /// What was read.
    pub window: Window,
    /// Whether no threshold is crossed.
    pub good: bool,
    /// Each crossed threshold, the most pressing first.
    pub alerts: Vec<Alert>,
    /// What would be lost now, component by component.
    pub components: Vec<Component>,
    /// The last proof of each level, from the cheapest level to the dearest.
    pub proofs: Vec<Level>,
    /// Drills, newest first; the newest that measured a recovery time is among them, however old.
    pub drills: Vec<Drill>,
    /// Every day of the window, oldest first.
    pub days: Vec<Day>,
    /// Downtime of each component that has scripts.
    pub downtime: Vec<Downtime>,
    /// How much changes, and how often a backup is worth while.
    pub change: Option<Change>,
    /// The largest artifacts of the newest backups, largest first.
    pub artifacts: Vec<Artifact>,
    /// Store by store.
    pub stores: Vec<Store>,
    /// Backups that are listed and cannot be read or believed.
    pub unreadable: Vec<Problem>,
    /// What is not in the backups.
    pub coverage: Coverage,
    /// What a prune would do; absent without a retention in the configuration.
    pub retention: Option<Retention>,
    /// Backups that prune must leave alone.
    pub holds: Vec<Hold>,
    /// Certificates of the foundation; absent where no backup has recorded them.
    pub certificates: Option<Certificates>,
    /// The backups that were read, newest first.
    pub backups: Vec<Backup>,
}

/// What was read for an overview.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// How many days back.
    pub days: u64,
    /// The first of them, `2026-11-22`.
    pub since: String,
    /// Committed backups in all stores, of any age.
    pub listed: u64,
    /// Those that were read: the newest of the window.
    pub read: u64,
    /// Whether backups of the window were left out because they are too many.
    pub cut: bool,
}

/// A component, and the newest complete backup of it.
#[derive(Debug, Clone, Serialize)]
pub struct Component {
    /// `director`, `tas`, …
    pub name: String,
    /// The newest complete backup that has it.
    pub backup: Option<String>,
    /// When its content was as it is in that backup: what was changed later would be lost.
    pub as_of: Option<String>,
    /// How long ago that is.
    pub age_s: Option<u64>,
    /// How old it may be; absent where no limit is set.
    pub limit_s: Option<u64>,
    /// Whether it is older.
    pub late: bool,
    /// In how many stores that backup is.
    pub copies: u64,
    /// Plain bytes of its artifacts there.
    pub bytes: u64,
}

/// A level of verification, and when it was last passed.
#[derive(Debug, Clone, Serialize)]
pub struct Level {
    /// `listed`, `scrub`, `contents`, `restorable`, `drilled`.
    pub level: String,
    /// What passing it proves, in words.
    pub proves: String,
    /// The newest proof.
    pub last: Option<Proof>,
    /// The newest that was passed.
    pub passed: Option<Proof>,
    /// The newest that failed and that no later one of the same scope, or of all, made good, while
    /// its backup is there.
    pub failed: Option<Proof>,
    /// How old the newest that was passed may be; absent where no limit is set.
    pub limit_s: Option<u64>,
}

/// One proof.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// The backup it is about; of one over all, the newest.
    pub backup: String,
    /// Whether it is over all backups.
    pub over_all: bool,
    /// How much of it was looked at: `all`, `part 3/30`, `5 %`.
    pub scope: String,
    /// When it ended.
    pub finished: String,
    /// How long ago.
    pub age_s: u64,
    /// Whether nothing was wrong.
    pub passed: bool,
    /// What is wrong, the first few as sentences.
    pub findings: Vec<String>,
    /// How many in all.
    pub found: u64,
    /// Whether a trusted worker signed it.
    pub verified: bool,
}

/// One drill.
#[derive(Debug, Clone, Serialize)]
pub struct Drill {
    /// The backup that was restored.
    pub backup: String,
    /// When it ended.
    pub finished: String,
    /// Whether all of it went well.
    pub passed: bool,
    /// How long it took to have the foundation back; absent where it failed, or was not measured.
    pub rto_ms: Option<u64>,
    /// How old what came back was.
    pub rpo_ms: Option<u64>,
    /// In the order run.
    pub steps: Vec<Step>,
}

/// A step of a drill.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub ms: u64,
    /// Whether it went well.
    pub ok: bool,
    /// Why not, and what to do.
    pub said: Option<String>,
}

/// A day of the calendar, UTC.
#[derive(Debug, Clone, Serialize)]
pub struct Day {
    /// `2026-11-22`.
    pub date: String,
    /// Backups that were committed on it.
    pub backups: u64,
    /// In how many stores the one with the fewest copies is.
    pub copies: u64,
    /// Those that cannot be read or believed.
    pub unreadable: u64,
    /// Proofs that were passed.
    pub passed: u64,
    /// Proofs that were not.
    pub failed: u64,
    /// Drills among them.
    pub drills: u64,
}

/// The downtime of one component.
#[derive(Debug, Clone, Serialize)]
pub struct Downtime {
    /// Which.
    pub component: String,
    /// Of the newest backup.
    pub newest: Phases,
    /// The median of up to thirty backups before it, phase by phase; absent with fewer than five.
    pub usual: Option<Phases>,
    /// How many backups that is the median of.
    pub compared: u64,
    /// The newest downtime divided by the usual one.
    pub growth: Option<f64>,
    /// Backup by backup, oldest first, at most the newest 60.
    pub history: Vec<Phases>,
    /// What probes saw from outside in the newest backup.
    pub seen: Vec<Seen>,
}

/// What users lost while a component was locked, by one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its name.
    pub probe: String,
    /// How long it was down, all in all; at least so long when it had not come back.
    pub down_ms: u64,
    /// Whether it had come back when the component was done.
    pub back: bool,
    /// How often it asked, and how many answers were not right.
    pub asked: u64,
    /// See `asked`.
    pub failed: u64,
}

/// How long the phases of one backup took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Phases {
    /// Which; empty for a median.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backup: String,
    /// The API goes down.
    pub lock_ms: u64,
    /// The API is down.
    pub backup_ms: u64,
    /// The API comes back.
    pub unlock_ms: u64,
    /// The API is up; what was saved leaves the instances.
    pub drain_ms: u64,
    /// `lock`, `backup` and `unlock` together: in which the API is not available.
    pub down_ms: u64,
}

/// How much changes from backup to backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Over how many backups that continued another one.
    pub backups: u64,
    /// Over how many days.
    pub days: f64,
    /// Plain bytes of what is backed up now.
    pub bytes: u64,
    /// Plain bytes that change in a day.
    pub bytes_a_day: u64,
    /// The same in percent of all.
    pub percent_a_day: f64,
    /// The usual time between two backups.
    pub interval_s: u64,
    /// The longest time between two backups in which no more than one percent changes: one of 1, 2,
    /// 4, 6, 8, 12 and 24 hours.
    pub suggested_s: u64,
}

/// An artifact of the newest backup of its component.
#[derive(Debug, Clone, Serialize)]
pub struct Artifact {
    /// Its component.
    pub component: String,
    /// Its name.
    pub name: String,
    /// How many files.
    pub files: u64,
    /// Plain bytes.
    pub bytes: u64,
    /// In percent of all artifacts.
    pub percent: f64,
}

/// A store and what it holds.
#[derive(Debug, Clone, Serialize)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// Whether it answered.
    pub answered: bool,
    /// Why not.
    pub why: Option<String>,
    /// Committed backups in it.
    pub backups: u64,
    /// Committed backups in other stores and not in it.
    pub missing: u64,
    /// The newest in it.
    pub newest: Option<String>,
    /// What the newest look at its objects found.
    pub checked: Option<Checked>,
}

/// What a verification of level `listed` or `scrub` found in a store.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The level.
    pub level: String,
    /// How much was looked at.
    pub scope: String,
    /// When it ended.
    pub finished: String,
    /// Objects looked at.
    pub objects: u64,
    /// Objects that should be there and are not.
    pub missing: u64,
    /// Objects that are not what they should be.
    pub damaged: u64,
}

/// What is not in the backups.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Coverage {
    /// The backup that says so.
    pub backup: Option<String>,
    /// How many deployments of each class there are; docs/foundation-record.md explains the classes.
    pub classes: BTreeMap<String, u64>,
    /// Each deployment; only with a recovery identity, since the record is sealed.
    pub deployments: Vec<Covered>,
    /// What the newest backup of each component notes for whoever restores it.
    pub notes: Vec<Note>,
}

/// A deployment and whether it is backed up.
#[derive(Debug, Clone, Serialize)]
pub struct Covered {
    /// Its name.
    pub name: String,
    /// The type of its product.
    pub product: Option<String>,
    /// As in docs/foundation-record.md.
    pub class: String,
    /// Why.
    pub why: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
}

/// A sentence about a component.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// Which.
    pub component: String,
    /// What a restorer must know.
    pub text: String,
}

/// A backup that was read.
#[derive(Debug, Clone, Serialize)]
pub struct Backup {
    /// Which.
    pub id: String,
    /// When it was committed.
    pub finished: String,
    /// In the order taken; parts of `service-instances` are one.
    pub components: Vec<String>,
    /// Plain bytes of all artifacts.
    pub bytes: u64,
    /// Bytes that came from the instances.
    pub drained_bytes: u64,
    /// Plain bytes of chunks that no earlier backup of the chain had.
    pub changed_bytes: u64,
    /// Sealed bytes it added to each store.
    pub stored_bytes: u64,
    /// Whether it began a chain.
    pub full: bool,
    /// In which stores it is.
    pub copies: Vec<String>,
    /// The longest downtime of a component.
    pub down_ms: Option<u64>,
    /// Whether a trusted worker signed it.
    pub verified: bool,
    /// Its proofs, level by level: whether the newest was passed.
    pub proofs: BTreeMap<String, bool>,
    /// Whether prune must leave it alone.
    pub held: bool,
}

impl Overview {
    /// The newest drill that measured how long it takes to have the foundation back.
    pub fn measured(&self) -> Option<&Drill> {
        self.drills.iter().find(|drill| drill.rto_ms.is_some())
    }

    /// The same without what only a recovery identity opened: fit for a store, where all who can
    /// read the bucket see it.
    #[must_use]
    pub fn without_sealed(mut self) -> Self {
        self.coverage.deployments.clear();
        for end in self.certificates.iter_mut().flat_map(|all| &mut all.ends) {
            end.name = None;
        }
        self
    }
}
