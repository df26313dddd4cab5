//! What a restore does that a backup does not: comparing what was saved with what is there, and the
//! restore scripts. The upload is in [`super::upload`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::check::{in_the_way, inspect_all};
use super::commands::{DRAIN_TOOLS, TOOLS};
use super::error::{Error, Errors, Phase};
use super::instance::PlaceKind;
use super::script::{Direction, Script};
use super::stage::Ahead;
use super::target::Artifact;
use super::workflow::{Call, PhaseReport, Run, stopped};
use crate::monitor::Monitor;
use crate::shutdown::Shutdown;

/// What was saved of a target, as far as the checks need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Group and index of every instance of which something was saved.
    pub instances: BTreeSet<(String, String)>,
    /// Every artifact.
    pub artifacts: BTreeMap<PlaceKind, Size>,
    /// Tars by name of which nothing is recorded, so that nobody can say whether they are whole.
    pub unrecorded: BTreeMap<String, Size>,
}

/// How large an artifact is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Regular files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

impl Run {
    /// Looks whether this restore can be done; changes nothing. Where room is short, what is staged and
    /// can be used needs none.
    ///
    /// # Errors
    /// All reasons why not, on all instances.
    pub fn check_restore(
        &self,
        saved: &Saved,
        ahead: Ahead<'_>,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<(), Errors> {
        let artifacts = self.artifacts();
        let mut errors: Vec<Error> = self
            .restore_problems(saved, &artifacts)
            .into_iter()
            .map(|text| Error::said(Phase::RestoreCheck, text))
            .collect();
        errors.extend(self.places_problems(saved, &artifacts, ahead, shutdown));
        Errors::check(errors)?;
        let wanted: BTreeSet<&PlaceKind> = artifacts
            .iter()
            .map(|artifact| &artifact.place.kind)
            .collect();
        for kind in saved.artifacts.keys() {
            if !wanted.contains(kind) {
                monitor.info(&format!(
                    "{} is in the backup, but no restore script asks for it; it is left out",
                    kind.file_name()
                ));
            }
        }
        Ok(())
    }

    /// What makes the restore impossible from what is known already.
    pub(super) fn restore_problems(&self, saved: &Saved, artifacts: &[Artifact]) -> Vec<String> {
        let target = self.target();
        let mut problems = Vec::new();
        for instance in &target.instances {
            let restorable = instance.has(Script::Restore);
            let jobs = instance.jobs.iter().filter(|_| restorable);
            for job in jobs.filter(|job| job.metadata.restore_name.is_some()) {
                problems.push(format!(
                    "metadata of job {} on {} has restore_name, which is discontinued: such a job cannot be \
                     restored; deploy a release without it",
                    job.name,
                    instance.name()
                ));
            }
        }
        if artifacts.is_empty() {
            problems.push(format!(
                "{} cannot be restored: no instance has a job with a restore script; check that it is the right \
                 one, and that its jobs have their backup enabled",
                target.name
            ));
        }
        let there: BTreeSet<(&str, &str)> = target
            .instances
            .iter()
            .map(|instance| (instance.group.as_str(), instance.index.as_str()))
            .collect();
        let lacking: Vec<String> = saved
            .instances
            .iter()
            .filter(|(group, index)| !there.contains(&(group.as_str(), index.as_str())))
            .map(|(group, index)| format!("{group} with index {index}"))
            .collect();
        if !lacking.is_empty() {
            problems.push(format!(
                "{} has no instance {}, of which the backup holds artifacts; scale it to what was backed up",
                target.name,
                lacking.join(", ")
            ));
        }
        for artifact in artifacts {
            if saved.artifacts.contains_key(&artifact.place.kind) {
                continue;
            }
            let job = &target.job(artifact.job).name;
            match saved.unrecorded.get(&artifact.place.file_name) {
                // Nothing is recorded, and nothing is in it.
                Some(Size { files: 0, .. }) => continue,
                Some(_) => {
                    problems.push(format!(
                        "{}, from which job {job} on {} restores, has no checksums in metadata, so nobody can say \
                         whether it is whole; take another backup",
                        artifact.place.file_name, artifact.instance
                    ));
                    continue;
                }
                None => {}
            }
            problems.push(format!(
                "job {job} on {} restores from {}, which is not in the backup; scale the target to what was backed \
                 up, or deploy the jobs that it had",
                artifact.instance, artifact.place.file_name
            ));
        }
        if let Err(cycle) = target.lock_order(Direction::Restore) {
            problems.push(cycle.to_string());
        }
        problems
    }

    /// What stands in the way on the instances.
    fn places_problems(
        &self,
        saved: &Saved,
        artifacts: &[Artifact],
        ahead: Ahead<'_>,
        shutdown: &Shutdown,
    ) -> Vec<Error> {
        let target = self.target();
        let phase = Phase::RestoreCheck;
        let inspections = inspect_all(target, phase, shutdown, |instance| {
            let mut tools = Vec::new();
            if instance.takes_part(Direction::Restore) {
                tools.extend(TOOLS);
            }
            if instance.has(Script::Restore) {
                tools.extend(DRAIN_TOOLS);
            }
            tools
        });
        let mut errors = Vec::new();
        let mut offenders = Vec::new();
        for (place, inspection) in inspections.into_iter().enumerate() {
            let name = target.instances[place].name();
            let found = match inspection {
                Ok(found) => found,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            if !found.missing.is_empty() {
                errors.push(Error::said(
                    phase,
                    format!(
                        "{name} lacks {}, which a restore needs there; install what is missing on the stemcell",
                        found.missing.join(", ")
                    ),
                ));
            }
            let own: Vec<&Artifact> = artifacts
                .iter()
                .filter(|artifact| artifact.job.instance == place)
                .collect();
            let sizes = own
                .iter()
                .filter_map(|artifact| saved.artifacts.get(&artifact.place.kind));
            let mut needed: u64 = sizes.map(|size| size.bytes).sum();
            let mut advice = "make room there".to_owned();
            if found.free.is_some_and(|free| free < needed) {
                let lies = self.lies_staged(&own, saved, ahead.of, shutdown);
                needed = needed.saturating_sub(lies.bytes);
                if lies.useless {
                    advice = format!(
                        "what is staged there cannot be used for them: remove it with `{}`, or make room",
                        ahead.remove
                    );
                }
            }
            if let Some(free) = found.free.filter(|free| *free < needed) {
                errors.push(Error::said(
                    phase,
                    format!(
                        "{name} has {} MiB free in {} for artifacts of {} MiB; {advice}",
                        free >> 20,
                        target.settings.paths.store,
                        needed.div_ceil(1 << 20)
                    ),
                ));
            }
            if found.artifacts || found.state {
                offenders.push((name, found));
            }
        }
        if !offenders.is_empty() {
            let text = in_the_way(target, Direction::Restore, &offenders);
            errors.push(Error::said(phase, text));
        }
        errors
    }

    /// Runs the restore scripts one after another, as bbr does: their authors have never seen them
    /// run side by side. One that fails does not stop the others of its instance; then no
    /// further instance is restored.
    ///
    /// # Errors
    /// Of every script that failed; a signal. Then unlock.
    pub fn restore(
        &self,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<PhaseReport, Errors> {
        let start = Instant::now();
        let target = self.target();
        let call = Call {
            phase: Phase::Restore,
            script: Script::Restore,
            environment: Vec::new(),
            shutdown,
        };
        let mut report = PhaseReport::default();
        let mut errors = Vec::new();
        let mut failed_on = None;
        for job in target.jobs() {
            if !target.job(job).has(Script::Restore) {
                continue;
            }
            if failed_on.is_some_and(|instance| instance != job.instance) {
                break;
            }
            if shutdown.is_raised() {
                errors.push(stopped(Phase::Restore));
                break;
            }
            // From now on what was staged is whatever the scripts make of it.
            self.state().adopted.clear();
            match self.script(&call, job, monitor) {
                Ok(time) => report.jobs.push(time),
                Err(error) => {
                    errors.push(error);
                    failed_on = Some(job.instance);
                }
            }
        }
        report.jobs.sort_by_key(|job| std::cmp::Reverse(job.time));
        report.wall = start.elapsed();
        Errors::check(errors)?;
        Ok(report)
    }
}
