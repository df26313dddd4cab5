//! The contract of BOSH Backup and Restore, natively: which scripts run where, in which order,
//! with what around them.
//!
//! A release author brings up to seven scripts per job, in `/var/vcap/jobs/JOB/bin/bbr`. A backup
//! runs all `pre-backup-lock` scripts in the order that the jobs' metadata asks for, then
//! all `backup` scripts side by side, each with a directory of its own to write to, then
//! all `post-backup-unlock` scripts in reverse order; and only then moves the
//! artifacts off the instances and removes them.
//!
//! ```text
//! discover -> Run::new -> check -> mark -> arm -> lock -> backup -> unlock -> drain… -> finish
//!                                    |       any failure -> unlock(false) -> finish
//!                                    a signal -> abort
//! discover -> Run::restoring -> check_restore -> mark -> upload… -> arm -> lock -> restore -> unlock -> finish
//! discover -> Run::restoring -> check_stage -> stage…, ahead of a restore
//! a run that was killed -> discover -> cleanup
//! ```
//!
//! Each phase is a call of its own, so that an operation can take several targets through one
//! phase together. This module speaks to instances through [`crate::remote`] only; it
//! knows nothing of how they are reached or where artifacts go. On an instance it owns three
//! directories: bbr's artifact directory, and beside it `bbr-backup.lifeboat` with the marker
//! of the run, the output of running scripts, and a drain's listings; and `lifeboat-stage`. Governed by the
//! sections *Drain* and *Failure policy* of `docs/design.md`.

mod abort;
mod armed;
pub mod artifact_metadata;
mod check;
mod cleanup;
mod commands;
mod discovery;
mod drain;
mod error;
mod instance;
mod job;
pub mod lock_order;
mod manifest;
mod metadata;
mod restore;
mod schedule;
mod script;
mod stage;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transfer;
mod upload;
mod workflow;
mod yaml;

use std::time::Duration;

pub use abort::Aborted;
pub use check::{Checked, Space};
pub use cleanup::{Cleaned, Leftovers, cleanup, left_over_users};
pub use discovery::{Kind, discover};
pub use drain::{Drained, How, Unrestorable};
pub use error::{Error, Errors, Phase, Trouble};
pub use instance::{ArtifactPlace, Host, Instance, PlaceKind};
pub use job::Job;
pub use manifest::{DeployedGroup, deployed_groups};
pub use metadata::{Constraint, Metadata};
pub use restore::{Saved, Size};
pub use script::{Direction, Script};
pub use stage::{Ahead, Of, Synced, Unstaged};
pub use target::{Artifact, JobRef, Target};
pub use upload::Uploaded;
pub use workflow::{JobTime, Mark, PhaseReport, Run};

/// Places on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Where jobs lie: `/var/vcap/jobs`.
    pub jobs: String,
    /// The persistent disk: `/var/vcap/store`.
    pub store: String,
    /// `/etc/passwd`.
    pub passwd: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            jobs: "/var/vcap/jobs".to_owned(),
            store: "/var/vcap/store".to_owned(),
            passwd: "/etc/passwd".to_owned(),
        }
    }
}

impl Paths {
    /// bbr's artifact directory.
    pub fn artifacts(&self) -> String {
        format!("{}/bbr-backup", self.store)
    }

    /// Our own directory beside it.
    pub fn state(&self) -> String {
        format!("{}/bbr-backup.lifeboat", self.store)
    }

    /// Where artifacts are staged ahead of a restore, beside both.
    pub fn stage(&self) -> String {
        format!("{}/lifeboat-stage", self.store)
    }

    /// A job's script.
    pub fn script(&self, job: &str, script: Script) -> String {
        format!("{}/{job}/bin/bbr/{script}", self.jobs)
    }
}

/// How much at once, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Instances visited, or scripts run, side by side.
    pub parallel: usize,
    /// Scripts side by side on one instance. An sshd serves 10 sessions per connection unless
    /// told otherwise.
    pub per_instance: usize,
    /// How long a short command (a listing, a metadata script) may say nothing.
    pub silence: Duration,
    /// How long one lock, backup or unlock script may run; `None`: as long as it likes.
    pub script: Option<Duration>,
    /// How long a script that is told to end may take before it is killed.
    pub grace: Duration,
    /// How long cleanup waits for an unlock script that an earlier run started.
    pub unlock_wait: Duration,
    /// After a signal: how long unlock keeps the lock order.
    pub orderly: Duration,
    /// After a signal: how long in all.
    pub abort: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: 10,
            per_instance: 6,
            silence: Duration::from_secs(300),
            script: None,
            grace: Duration::from_secs(1),
            unlock_wait: Duration::from_secs(60),
            orderly: Duration::from_secs(7),
            abort: Duration::from_millis(8600),
        }
    }
}

/// What discovery and every phase are told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Places on an instance.
    pub paths: Paths,
    /// How much at once, and how long.
    pub limits: Limits,
    /// Our own release: `BBR_VERSION` of metadata scripts.
    pub tool_version: String,
}

/// Whether a deployment manifest can be read at all, before anything is set up for it.
///
/// # Errors
/// Why not.
pub fn check_manifest(text: &str) -> Result<(), String> {
    manifest::DeploymentManifest::parse(text).map(drop)
}
