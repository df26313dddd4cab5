//! One job on one instance.

use std::collections::BTreeSet;

use super::metadata::{Constraint, Metadata};
use super::script::{Direction, Script};

/// A job that brings at least one script.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name: the directory below the jobs directory.
    pub name: String,
    /// Its release; empty when the deployment manifest does not name it, and for directors.
    pub release: String,
    /// The scripts it brings.
    pub scripts: BTreeSet<Script>,
    /// What its metadata script said.
    pub metadata: Metadata,
    /// Whether the bootstrap instance backs up for all.
    pub backup_one_restore_all: bool,
}

impl Job {
    /// Whether it brings a script.
    pub fn has(&self, script: Script) -> bool {
        self.scripts.contains(&script)
    }

    /// Jobs locked after this one.
    pub fn locked_before(&self, direction: Direction) -> &[Constraint] {
        match direction {
            Direction::Backup => &self.metadata.backup_before,
            Direction::Restore => &self.metadata.restore_before,
        }
    }

    /// The name of an artifact that is restored to every instance.
    pub fn shared_name(&self) -> String {
        format!("{}-{}-backup-one-restore-all", self.name, self.release)
    }
}
