//! One component taken live: reached, checked, locked, backed up, unlocked, drained, cleaned.
//! The order and its successors are bbr's (docs/design.md, *Failure policy*).

mod drain;
mod open;

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Error, Result};

use super::Context;
use crate::artifact::{EntrySink, Form};
use crate::bbr;
use crate::clock;
use crate::foundation::{Aim, Foundation, Reached};
use crate::monitor::Monitor;
use crate::parallel;
use crate::repo::format::{ArtifactRecord, ComponentRecord, PhaseRecord};
use crate::repo::id::ComponentName;
use crate::repo::run::Run;
use crate::repo::writer::ArtifactName;
use crate::report::ArtifactRun;

/// Artifacts drained side by side. Each holds up to a pack and a cutting buffer, 16 MiB
/// together, and one is enough to fill a link.
pub(super) const DRAINS: usize = 4;
/// The deployment manifest's name in bbr's layout.
const MANIFEST: &str = "manifest.yml";

/// What a component is made of, and who marks it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: ComponentName,
    pub(super) aim: Aim,
    pub(super) unsafe_lock_free: bool,
    pub(super) with_manifest: bool,
    /// Artifacts drained side by side.
    pub(super) drains: usize,
}

/// A component that was reached and passed its checks. Must be ended by [`Live::take`] or
/// [`Live::close`].
#[derive(Debug)]
pub(super) struct Live {
    plan: Plan,
    reached: Reached,
    run: bbr::Run,
    phases: Vec<PhaseRecord>,
    started: SystemTime,
}

/// What reaching a deployment came to that may bring no scripts.
#[derive(Debug)]
pub(super) enum Opened {
    /// It can be backed up.
    Live(Box<Live>),
    /// It brings none; it was left again.
    NoScripts,
}

/// How a component ended.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The component, when all of it is on its way to the stores.
    pub(super) record: Option<ComponentRecord>,
    /// What only this run knows of each artifact, by its name.
    pub(super) runs: Vec<(String, ArtifactRun)>,
    /// Bytes drained.
    pub(super) drained_bytes: u64,
    /// Artifacts that hold a marker in place of blobs.
    pub(super) skipped: Vec<String>,
    /// The first cause first.
    pub(super) errors: Vec<Error>,
    /// `group/id`.
    pub(super) may_be_locked: Vec<String>,
}

impl Live {
    /// One line for people: instances, jobs, artifacts.
    pub(super) fn summary(&self) -> String {
        self.run.summary()
    }

    /// The deployment that it is; `None` for the director.
    pub(super) fn deployment(&self) -> Option<&str> {
        match &self.plan.aim {
            Aim::Deployment(name) => Some(name),
            Aim::Director => None,
        }
    }

    /// The component's name.
    pub(super) fn name(&self) -> &ComponentName {
        &self.plan.name
    }

    /// Removes the SSH users; for a component that is not taken.
    pub(super) fn close(self) -> Vec<Error> {
        close(&self.reached)
    }

    /// Takes the component: lock, backup, unlock, drain, clean. Whatever happens, what was
    /// locked is unlocked, or said to be not.
    /// `unlocked` is called when the scripts have ended.
    pub(super) fn take(mut self, context: &Context, to: &Run, unlocked: &mut dyn FnMut()) -> Taken {
        let mut taken = Taken::default();
        let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
        let scripts_ran = match self.run.mark(shutdown) {
            Ok(()) => self.scripts(context, &mut taken),
            Err(errors) => {
                taken.errors.extend(listed(errors));
                false
            }
        };
        if scripts_ran && !shutdown.is_raised() {
            unlocked();
            let begin = Instant::now();
            match self.drain(context, to, &mut taken) {
                Ok(artifacts) => {
                    self.phases.push(phase("drain", begin.elapsed()));
                    taken.record = Some(self.record(context, artifacts));
                }
                Err(errors) => taken.errors.extend(errors),
            }
        }
        let begin = Instant::now();
        if !shutdown.is_raised()
            && let Err(errors) = self.run.finish(shutdown)
        {
            taken.errors.extend(listed(errors));
        }
        // A signal may have come while cleaning; what is clean by now stays as it is.
        if let Some(signal) = shutdown.since() {
            let aborted = self.run.abort(signal, monitor);
            taken.may_be_locked = aborted.maybe_locked;
            if aborted.out_of_order {
                monitor.warn(&format!(
                    "{}: the time left did not suffice to keep the lock order; the remaining unlock scripts were started at once",
                    self.plan.name
                ));
            }
            if !aborted.not_clean.is_empty() {
                monitor.warn(&format!(
                    "{}: not known to be clean: {}",
                    self.plan.name,
                    aborted.not_clean.join(", ")
                ));
            }
            taken
                .errors
                .extend(aborted.errors.into_iter().map(Error::from));
        } else {
            taken.may_be_locked = self.run.locked_instances();
        }
        taken.errors.extend(close(&self.reached));
        if let Some(record) = &mut taken.record {
            record.phases.push(phase("cleanup", begin.elapsed()));
            record.finished = clock::rfc3339(context.clock.now());
        }
        let name = self.plan.name.to_string();
        taken.errors = taken
            .errors
            .into_iter()
            .map(|error| error.context(name.clone()))
            .collect();
        taken
    }

    /// Lock, backup, unlock. Whether the artifacts are there.
    fn scripts(&mut self, context: &Context, taken: &mut Taken) -> bool {
        let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
        let name = self.plan.name.clone();
        if let Err(errors) = self.run.arm(monitor, shutdown) {
            taken.errors.extend(listed(errors));
            return false;
        }
        let begin = Instant::now();
        let mut good = true;
        monitor.info(&format!("{name}: lock"));
        let locked = self.run.lock(monitor, shutdown);
        good &= self.ended("lock", begin, locked, taken, monitor);
        if good {
            let begin = Instant::now();
            monitor.info(&format!("{name}: backup"));
            let backed_up = self.run.backup(monitor, shutdown);
            good &= self.ended("backup", begin, backed_up, taken, monitor);
        }
        if shutdown.is_raised() {
            return false;
        }
        let unlock = Instant::now();
        monitor.info(&format!("{name}: unlock"));
        let unlocked = self.run.unlock(good, monitor, shutdown);
        self.ended("unlock", unlock, unlocked, taken, monitor);
        if !self.plan.unsafe_lock_free {
            let locks = self.phases.iter().filter(|phase| phase.name != "check");
            let each: Vec<_> = locks
                .map(|phase| {
                    format!(
                        "{} {}",
                        phase.name,
                        clock::spoken(Duration::from_millis(phase.ms))
                    )
                })
                .collect();
            monitor.info(&format!(
                "{name}: API unavailable for {:.1} s ({})",
                begin.elapsed().as_secs_f64(),
                each.join(", ")
            ));
        }
        good
    }

    fn ended(
        &mut self,
        name: &str,
        begin: Instant,
        result: Result<bbr::PhaseReport, bbr::Errors>,
        taken: &mut Taken,
        monitor: &dyn Monitor,
    ) -> bool {
        self.phases.push(phase(name, begin.elapsed()));
        scripts_ended(
            self.plan.name.as_str(),
            name,
            result,
            &mut taken.errors,
            monitor,
        )
    }

    /// Drains all artifacts, some side by side, waits until the stores have them, and
    /// removes the instances' copies.
    fn drain(
        &self,
        context: &Context,
        to: &Run,
        taken: &mut Taken,
    ) -> Result<Vec<ArtifactRecord>, Vec<Error>> {
        let artifacts = self.run.artifacts();
        let drain = |artifact: &bbr::Artifact| {
            self.drain_one(context, to, artifact)
                .with_context(|| format!("drain of {}", artifact.place.file_name))
        };
        let outcomes = parallel::each(self.plan.drains, &artifacts, Result::is_err, drain);
        let (mut records, mut errors) = (Vec::new(), Vec::new());
        for result in parallel::in_order(outcomes) {
            match result {
                Ok(drained) => {
                    let record = drained.record;
                    if drained.skipped {
                        taken.skipped.push(record.name.clone());
                    }
                    taken.drained_bytes += drained.wire_bytes;
                    taken.runs.push((record.name.clone(), drained.run));
                    records.push(record);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty()
            && let Err(error) = self.manifest(to).map(|manifest| records.extend(manifest))
        {
            errors.push(error);
        }
        if errors.is_empty()
            && let Err(error) = to.flush()
        {
            errors.push(error.into());
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        for artifact in &artifacts {
            if let Err(errors) = self.run.remove_artifact(artifact, &context.shutdown) {
                taken.errors.extend(listed(errors));
            }
        }
        Ok(records)
    }

    fn manifest(&self, to: &Run) -> Result<Option<ArtifactRecord>> {
        let Some(text) = self
            .reached
            .manifest
            .as_ref()
            .filter(|_| self.plan.with_manifest)
        else {
            return Ok(None);
        };
        let mut writer = to.artifact(ArtifactName {
            component: self.plan.name.clone(),
            name: MANIFEST.into(),
            form: Form::File,
            bbr: None,
        })?;
        writer.file(&[], text.len() as u64, &mut text.as_bytes())?;
        writer.end(0)?;
        Ok(Some(writer.finish()?.0))
    }

    fn record(&self, context: &Context, artifacts: Vec<ArtifactRecord>) -> ComponentRecord {
        ComponentRecord {
            name: self.plan.name.clone(),
            started: clock::rfc3339(self.started),
            finished: clock::rfc3339(context.clock.now()),
            phases: self.phases.clone(),
            artifacts,
            notes: Vec::new(),
            downtime: Vec::new(),
            facts: None,
        }
    }
}

/// Finds what is on the hosts of a component.
pub(super) fn discover(
    context: &Context,
    foundation: &Foundation,
    aim: &Aim,
    reached: &Reached,
) -> Result<bbr::Target, bbr::Errors> {
    let kind = match &reached.manifest {
        None => bbr::Kind::Director,
        Some(manifest) => bbr::Kind::Deployment { manifest },
    };
    let name = match aim {
        Aim::Director => "the director",
        Aim::Deployment(name) => name,
    };
    bbr::discover(
        name,
        reached.hosts.clone(),
        kind,
        &foundation.bbr_settings(),
        &*context.monitor,
        &context.shutdown,
    )
}

/// Tells how the scripts of a phase ended; whether all ended well.
pub(super) fn scripts_ended(
    component: &str,
    phase: &str,
    result: Result<bbr::PhaseReport, bbr::Errors>,
    errors: &mut Vec<Error>,
    monitor: &dyn Monitor,
) -> bool {
    match result {
        Ok(report) => {
            let slowest = report.slowest().map_or_else(String::new, |job| {
                format!(
                    "; slowest {} on {}, {}",
                    job.job,
                    job.instance,
                    clock::spoken(job.time)
                )
            });
            monitor.info(&format!(
                "{component}: {phase} done, {} scripts in {}{slowest}",
                report.jobs.len(),
                clock::spoken(report.wall)
            ));
            true
        }
        Err(failed) => {
            for error in failed.list() {
                monitor.error(&format!("{component}: {}", error.full()));
            }
            errors.extend(listed(failed));
            false
        }
    }
}

/// Each of bbr's errors as one of ours.
pub(super) fn listed(errors: bbr::Errors) -> Vec<Error> {
    errors.into_list().into_iter().map(Error::from).collect()
}

/// Removes SSH users.
pub(super) fn close(reached: &Reached) -> Vec<Error> {
    reached.close().into_iter().map(Error::msg).collect()
}

/// How long a phase took, for a manifest.
pub(super) fn phase(name: &str, time: Duration) -> PhaseRecord {
    PhaseRecord {
        name: name.to_owned(),
        ms: clock::millis(time),
    }
}
