//! One instance, and where its artifacts go.

use std::sync::Arc;

use super::job::Job;
use super::script::{Direction, Script};
use crate::remote::Remote;

/// A machine to look at: what the director says of it, and how it is reached.
#[derive(Debug, Clone)]
pub struct Host {
    /// Instance group; `bosh` for a director.
    pub group: String,
    /// Id; `0` for a director.
    pub id: String,
    /// Numeric index, as text; `None` when the director does not know it.
    pub index: Option<String>,
    /// Whether it is the bootstrap instance of its group.
    pub bootstrap: bool,
    /// How commands run on it.
    pub remote: Arc<dyn Remote>,
}

impl Host {
    /// `group/id`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.group, self.id)
    }
}

/// A host that discovery has seen. It may have no jobs.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Instance group.
    pub group: String,
    /// Id.
    pub id: String,
    /// Numeric index, as text: the part of file names.
    pub index: String,
    /// Whether it is the bootstrap instance of its group.
    pub bootstrap: bool,
    /// How commands run on it.
    pub remote: Arc<dyn Remote>,
    /// Its jobs by name.
    pub jobs: Vec<Job>,
}

impl Instance {
    /// `group/id`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.group, self.id)
    }

    /// Whether a job brings this script.
    pub fn has(&self, script: Script) -> bool {
        self.jobs.iter().any(|job| job.has(script))
    }

    /// Whether a run in this direction does anything on it.
    pub fn takes_part(&self, direction: Direction) -> bool {
        [direction.lock(), direction.work(), direction.unlock()]
            .into_iter()
            .any(|script| self.has(script))
    }

    /// Where a job's artifact lies at backup, and what it is called.
    pub fn place(&self, job: &Job) -> ArtifactPlace {
        if job.backup_one_restore_all && self.bootstrap {
            let name = job.shared_name();
            ArtifactPlace {
                file_name: format!("{name}.tar"),
                directory: name.clone(),
                kind: PlaceKind::Custom { name },
            }
        } else {
            self.default_place(job)
        }
    }

    /// Where a job's artifact lies at restore: one that is shared goes to every instance.
    pub fn restore_place(&self, job: &Job) -> ArtifactPlace {
        if job.backup_one_restore_all {
            let name = job.shared_name();
            ArtifactPlace {
                file_name: format!("{name}.tar"),
                directory: name.clone(),
                kind: PlaceKind::Custom { name },
            }
        } else {
            self.default_place(job)
        }
    }

    /// Where a job's artifact lies in a run of this direction.
    pub(super) fn place_at(&self, direction: Direction, job: &Job) -> ArtifactPlace {
        match direction {
            Direction::Backup => self.place(job),
            Direction::Restore => self.restore_place(job),
        }
    }

    fn default_place(&self, job: &Job) -> ArtifactPlace {
        ArtifactPlace {
            file_name: format!("{}-{}-{}.tar", self.group, self.index, job.name),
            directory: job.name.clone(),
            kind: PlaceKind::Instance {
                group: self.group.clone(),
                index: self.index.clone(),
                job: job.name.clone(),
            },
        }
    }
}

/// The names of one artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArtifactPlace {
    /// In a directory of bbr's.
    pub file_name: String,
    /// Below the artifact directory on the instance.
    pub directory: String,
    /// Under which section of bbr's metadata file it is recorded.
    pub kind: PlaceKind,
}

/// The section of bbr's metadata file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceKind {
    /// `instances`.
    Instance {
        /// Instance group.
        group: String,
        /// Numeric index, as text.
        index: String,
        /// Job name.
        job: String,
    },
    /// `custom_artifacts`.
    Custom {
        /// `JOB-RELEASE-backup-one-restore-all`.
        name: String,
    },
}

impl PlaceKind {
    /// How the artifact is called in bbr's layout.
    pub fn file_name(&self) -> String {
        match self {
            Self::Instance { group, index, job } => format!("{group}-{index}-{job}.tar"),
            Self::Custom { name } => format!("{name}.tar"),
        }
    }
}
