//! What discovery found: the instances of one deployment, or the director itself.

use super::Settings;
use super::instance::{ArtifactPlace, Instance};
use super::job::Job;
use super::lock_order::{Cycle, LockOrder, Lockable};
use super::script::Direction;

/// A deployment, or the director.
#[derive(Debug)]
pub struct Target {
    /// Deployment name, or the director's.
    pub name: String,
    /// By group, index and id. Hosts without scripts are among them, Windows hosts are not.
    pub instances: Vec<Instance>,
    /// As given to the discovery.
    pub settings: Settings,
}

/// A job by its places in [`Target::instances`] and [`Instance::jobs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobRef {
    /// Place of the instance.
    pub instance: usize,
    /// Place of the job on it.
    pub job: usize,
}

/// One artifact to drain or to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Whose.
    pub job: JobRef,
    /// `group/id`, for people.
    pub instance: String,
    /// Its names.
    pub place: ArtifactPlace,
}

impl Target {
    /// Every job of every instance, in order.
    pub fn jobs(&self) -> Vec<JobRef> {
        self.instances
            .iter()
            .enumerate()
            .flat_map(|(instance, found)| {
                (0..found.jobs.len()).map(move |job| JobRef { instance, job })
            })
            .collect()
    }

    /// The instance of a job.
    pub fn instance(&self, job: JobRef) -> &Instance {
        &self.instances[job.instance]
    }

    /// The job itself.
    pub fn job(&self, job: JobRef) -> &Job {
        &self.instances[job.instance].jobs[job.job]
    }

    /// The order of [`Target::jobs`].
    ///
    /// # Errors
    /// When the constraints go in a circle.
    pub fn lock_order(&self, direction: Direction) -> Result<LockOrder, Cycle> {
        let jobs = self.jobs();
        let names: Vec<String> = self.instances.iter().map(Instance::name).collect();
        let lockables: Vec<Lockable<'_>> = jobs
            .iter()
            .map(|job| {
                let found = self.job(*job);
                Lockable {
                    job: &found.name,
                    release: &found.release,
                    instance: &names[job.instance],
                    before: found.locked_before(direction),
                }
            })
            .collect();
        LockOrder::new(&lockables)
    }

    /// The artifacts that a backup makes or a restore takes, grouped by instance, those of bbr's
    /// `custom_artifacts` last.
    pub fn artifacts(&self, direction: Direction) -> Vec<Artifact> {
        let mut artifacts: Vec<Artifact> = self
            .jobs()
            .into_iter()
            .filter(|job| self.job(*job).has(direction.work()))
            .map(|job| Artifact {
                job,
                instance: self.instance(job).name(),
                place: self.instance(job).place_at(direction, self.job(job)),
            })
            .collect();
        artifacts.sort_by_key(|artifact| {
            matches!(
                artifact.place.kind,
                super::instance::PlaceKind::Custom { .. }
            )
        });
        artifacts
    }
}
