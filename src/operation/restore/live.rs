//! One component restored: reached, checked, uploaded, locked, restored, unlocked, cleaned.

mod upload;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Error;

use super::named;
use super::source::Source;
use crate::bbr;
use crate::clock;
use crate::foundation::{Aim, Foundation, Reached};
use crate::operation::Context;
use crate::operation::live::{close, discover, listed, scripts_ended};
use crate::parallel;
use crate::report::{Phase, RestoredComponent, units};
use crate::shutdown::{LOOK, Shutdown};

/// Artifacts uploaded side by side. Each holds the chunks that are fetched and opened ahead.
const UPLOADS: usize = 4;

/// Places for uploads, shared by all components of a restore: what they hold bounds its memory.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Slots {
    /// Waits for a place; `None` after a signal.
    fn take(&self, shutdown: &Shutdown) -> Option<Slot<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= UPLOADS {
            if shutdown.is_raised() {
                return None;
            }
            taken = self
                .freed
                .wait_timeout(taken, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *taken += 1;
        Some(Slot(self))
    }
}

/// A place that is taken until it is dropped.
struct Slot<'a>(&'a Slots);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

/// A component that was reached and passed its checks. Must be ended by [`Live::restore`].
#[derive(Debug)]
pub(super) struct Live {
    name: String,
    /// The command that removes what is staged of it.
    unstage: String,
    reached: Reached,
    run: bbr::Run,
    report: RestoredComponent,
}

/// How a restore ended.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) report: RestoredComponent,
    /// Whether no restore script was started.
    pub(super) uploaded_only: bool,
    /// The first cause first.
    pub(super) errors: Vec<Error>,
    /// `group/id`.
    pub(super) may_be_locked: Vec<String>,
}

impl Live {
    /// Reaches a component and compares it with what was saved; changes nothing but SSH users,
    /// which are removed again on failure. `unstage`: the command that removes what is staged of it.
    pub(super) fn open(
        context: &Context,
        foundation: &Foundation,
        aim: &Aim,
        name: &str,
        unstage: String,
        source: &dyn Source,
        mark: &bbr::Mark,
    ) -> Result<Self, Vec<Error>> {
        let begin = Instant::now();
        let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
        monitor.info(&format!("{name}: reaching its instances"));
        let reached = foundation
            .reach(aim, shutdown)
            .map_err(|error| named(name, [error.into()]))?;
        let checked = discover(context, foundation, aim, &reached).and_then(|target| {
            let run = bbr::Run::restoring(target, mark.clone());
            let ahead = bbr::Ahead {
                of: source.comparable(),
                remove: &unstage,
            };
            run.check_restore(source.saved(), ahead, monitor, shutdown)?;
            Ok(run)
        });
        match checked {
            Ok(run) => Ok(Self {
                name: name.to_owned(),
                unstage,
                reached,
                run,
                report: RestoredComponent {
                    name: name.to_owned(),
                    phases: vec![phase("check", begin)],
                    artifacts: Vec::new(),
                    complete: false,
                },
            }),
            Err(errors) => {
                let mut errors = named(name, listed(errors));
                errors.extend(named(name, close(&reached)));
                Err(errors)
            }
        }
    }

    /// One line for people: instances, artifacts, jobs.
    pub(super) fn summary(&self) -> String {
        self.run.summary()
    }

    /// Restores the component. Whatever happens, what was locked is unlocked, or said to be
    /// not.
    pub(super) fn restore(
        mut self,
        context: &Context,
        source: &dyn Source,
        slots: &Slots,
    ) -> Restored {
        let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
        let mut errors = Vec::new();
        let mut scripts_ran = false;
        match self.run.mark(shutdown) {
            Ok(()) => {
                if self.uploads(context, source, slots, &mut errors) && !shutdown.is_raised() {
                    scripts_ran = self.scripts(context, &mut errors);
                }
            }
            Err(failed) => errors.extend(listed(failed)),
        }
        let begin = Instant::now();
        if !shutdown.is_raised()
            && let Err(failed) = self.run.finish(shutdown)
        {
            errors.extend(listed(failed));
        }
        let may_be_locked;
        // A signal may have come while cleaning; what is clean by now stays as it is.
        if let Some(signal) = shutdown.since() {
            let aborted = self.run.abort(signal, monitor);
            may_be_locked = aborted.maybe_locked;
            if aborted.out_of_order {
                monitor.warn(&format!(
                    "{}: the time left did not suffice to keep the lock order; the remaining unlock scripts were started at once",
                    self.name
                ));
            }
            if !aborted.not_clean.is_empty() {
                monitor.warn(&format!(
                    "{}: not known to be clean: {}",
                    self.name,
                    aborted.not_clean.join(", ")
                ));
            }
            errors.extend(aborted.errors.into_iter().map(Error::from));
            if errors.is_empty() && !self.report.complete {
                errors.push(crate::shutdown::Stopped.into());
            }
        } else {
            may_be_locked = self.run.locked_instances();
        }
        errors.extend(close(&self.reached));
        self.report.phases.push(phase("cleanup", begin));
        Restored {
            errors: named(&self.name, errors),
            report: self.report,
            uploaded_only: !scripts_ran,
            may_be_locked,
        }
    }

    /// Uploads all artifacts, some side by side. Whether all are there.
    fn uploads(
        &mut self,
        context: &Context,
        source: &dyn Source,
        slots: &Slots,
        errors: &mut Vec<Error>,
    ) -> bool {
        let begin = Instant::now();
        context.monitor.info(&format!("{}: upload", self.name));
        if let Err(failed) = self.run.prepare(&context.shutdown) {
            self.report.phases.push(phase("upload", begin));
            errors.extend(listed(failed));
            return false;
        }
        let artifacts = self.run.artifacts();
        let failed = AtomicBool::new(false);
        let upload = |artifact| {
            let _slot = slots.take(&context.shutdown)?;
            if failed.load(Ordering::Relaxed) {
                return None;
            }
            let result = self.upload(context, source, artifact);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            Some(result)
        };
        let outcomes = parallel::each(UPLOADS, &artifacts, Option::is_none, upload);
        let results: Vec<_> = parallel::in_order(outcomes).into_iter().flatten().collect();
        let mut good = results.len() == artifacts.len() && results.iter().all(Result::is_ok);
        for (artifact, result) in artifacts.iter().zip(results) {
            // What was staged stays staged until all of it is there.
            let placed = result.and_then(|uploaded| match uploaded.staged && good {
                true => self.adopt(context, source, artifact, uploaded.report),
                false => Ok(uploaded.report),
            });
            match placed {
                Ok(uploaded) => self.report.artifacts.push(uploaded),
                Err(error) => {
                    good = false;
                    errors.push(error);
                }
            }
        }
        self.report.phases.push(phase("upload", begin));
        let good = good && errors.is_empty();
        if good {
            let bytes = self.report.artifacts.iter().map(|one| one.bytes).sum();
            context.monitor.info(&format!(
                "{}: upload done, {} artifacts of {} in {}",
                self.name,
                artifacts.len(),
                units::bytes(bytes),
                clock::spoken(begin.elapsed())
            ));
        }
        good
    }

    /// Lock, restore, unlock. Whether a restore script may have run.
    fn scripts(&mut self, context: &Context, errors: &mut Vec<Error>) -> bool {
        let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
        if let Err(failed) = self.run.arm(monitor, shutdown) {
            errors.extend(listed(failed));
            return false;
        }
        let begin = Instant::now();
        monitor.info(&format!("{}: lock", self.name));
        let locked = self.run.lock(monitor, shutdown);
        let mut restoring = false;
        let mut good = self.ended(context, "lock", begin, locked, errors);
        if good {
            let begin = Instant::now();
            monitor.info(&format!("{}: restore", self.name));
            restoring = true;
            let restored = self.run.restore(monitor, shutdown);
            good = self.ended(context, "restore", begin, restored, errors);
            self.report.complete = good;
        }
        if shutdown.is_raised() {
            return restoring;
        }
        let unlock = Instant::now();
        monitor.info(&format!("{}: unlock", self.name));
        let unlocked = self.run.unlock(good, monitor, shutdown);
        self.ended(context, "unlock", unlock, unlocked, errors);
        restoring
    }

    fn ended(
        &mut self,
        context: &Context,
        name: &str,
        begin: Instant,
        result: Result<bbr::PhaseReport, bbr::Errors>,
        errors: &mut Vec<Error>,
    ) -> bool {
        self.report.phases.push(phase(name, begin));
        scripts_ended(&self.name, name, result, errors, &*context.monitor)
    }
}

fn phase(name: &str, begin: Instant) -> Phase {
    let took: Duration = begin.elapsed();
    Phase {
        name: name.to_owned(),
        took,
    }
}
