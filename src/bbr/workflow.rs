//! The phases of one run on one target, and what has been done so far.
//!
//! The order and its successors are in the module's head. State is kept pessimistically: what may
//! have happened counts as happened, until the contrary was seen.

mod arming;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

pub(super) use self::scripts::{Call, stop_scripts};
pub use self::scripts::{JobTime, PhaseReport};
use super::armed::Armed;
use super::commands::{self, EXISTS, Marker, Whose};
use super::error::{Error, Errors, Phase, Trouble};
use super::schedule::Board;
use super::script::{Direction, Script};
use super::target::{Artifact, JobRef, Target};
use crate::clock;
use crate::monitor::Monitor;
use crate::remote::{Command, Output};
use crate::shutdown::{Shutdown, Stopped};

/// Who marks the instances.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Tells this run from every other: unguessable is not needed, unique is. Letters, digits,
    /// dashes.
    pub run: String,
    /// The foundation's name, for people.
    pub foundation: String,
    /// When the run started.
    pub started: SystemTime,
}

impl Mark {
    pub(super) fn text(&self, direction: Direction) -> String {
        serde_json::json!({
            "run": self.run,
            "foundation": self.foundation,
            "started": clock::rfc3339(self.started),
            "for": direction.to_string(),
        })
        .to_string()
    }
}

/// One backup or restore of one target. Its phases are called in the order of the module's head,
/// each once; [`Run::unlock`] and [`Run::finish`] also after a failure.
#[derive(Debug)]
pub struct Run {
    direction: Direction,
    target: Target,
    mark: Mark,
    locks: bool,
    state: Mutex<State>,
    /// What starts scripts on an instance, while it does.
    armed: Mutex<Channels>,
}

/// By instance.
type Channels = BTreeMap<usize, Arc<Armed>>;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Instances that may hold a marker of this run.
    pub(super) marked: BTreeSet<usize>,
    /// Whether a lock script may have been started.
    pub(super) locking: bool,
    /// Whether the artifact directories are made.
    pub(super) directories: bool,
    /// Lock, backup and restore scripts that were started and not seen to end.
    pub(super) unended: BTreeSet<(JobRef, Script)>,
    /// Jobs whose unlock script was seen to end well.
    pub(super) unlocked: BTreeSet<JobRef>,
    /// By instance: what gives back what was staged there and may be adopted, until a restore script may
    /// have been started.
    pub(super) adopted: BTreeMap<usize, Vec<Command>>,
}

impl Run {
    /// Begins a backup; touches nothing. With `unsafe_lock_free` no lock and no unlock script
    /// runs.
    pub fn new(target: Target, mark: Mark, unsafe_lock_free: bool) -> Self {
        Self {
            direction: Direction::Backup,
            target,
            mark,
            locks: !unsafe_lock_free,
            state: Mutex::default(),
            armed: Mutex::default(),
        }
    }

    /// Begins a restore; touches nothing.
    pub fn restoring(target: Target, mark: Mark) -> Self {
        Self {
            direction: Direction::Restore,
            target,
            mark,
            locks: true,
            state: Mutex::default(),
            armed: Mutex::default(),
        }
    }

    /// What is backed up or restored.
    pub fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn own_mark(&self) -> &Mark {
        &self.mark
    }

    /// The artifacts that a backup makes or a restore takes, grouped by instance, shared ones
    /// last.
    pub fn artifacts(&self) -> Vec<Artifact> {
        self.target.artifacts(self.direction)
    }

    /// Puts a marker on every instance that takes part, so that whoever finds the
    /// foundation after us knows that it may be locked. On failure those already written are
    /// taken back.
    ///
    /// # Errors
    /// When another run's marker is there, or one cannot be written.
    pub fn mark(&self, shutdown: &Shutdown) -> Result<(), Errors> {
        let settings = &self.target.settings;
        let command = commands::mark(settings, &self.mark.text(self.direction));
        let places = self.places(|instance| instance.takes_part(self.direction));
        let errors = self.on_each(&places, shutdown, |place| {
            self.state().marked.insert(place);
            let output = self.ask(Phase::Mark, place, "writing the marker", &command, shutdown)?;
            if output.exit.ok() {
                return Ok(());
            }
            self.state().marked.remove(&place);
            if output.exit.status != EXISTS {
                return Err(self.failed(Phase::Mark, place, "writing the marker", output));
            }
            let text = String::from_utf8_lossy(&output.stdout);
            let whose =
                super::check::marker_words(&text).unwrap_or_else(|| "another run".to_owned());
            let kind = super::check::marker_direction(&text).unwrap_or(self.direction);
            Err(Error::said(
                Phase::Mark,
                format!(
                    "{} is marked by {whose}: {}",
                    self.name(place),
                    super::check::advice(kind)
                ),
            ))
        });
        let Err(errors) = Errors::check(errors) else {
            return Ok(());
        };
        if errors.is_stopped() {
            return Err(errors);
        }
        let mut all = errors.into_list();
        if let Err(more) = self.finish(shutdown) {
            all.extend(more.into_list());
        }
        Errors::check(all)
    }

    /// Runs the lock scripts in their order; after a failure no further one is started.
    ///
    /// # Errors
    /// Of every script that failed; a signal. Then unlock.
    pub fn lock(&self, monitor: &dyn Monitor, shutdown: &Shutdown) -> Result<PhaseReport, Errors> {
        if !self.locks {
            monitor.info("lock scripts are skipped, as asked (unsafe_lock_free)");
            return Ok(PhaseReport::default());
        }
        let order = self
            .target
            .lock_order(self.direction)
            .map_err(|cycle| Error::said(Phase::Lock, cycle.to_string()))?;
        self.state().locking = true;
        let call = Call {
            phase: Phase::Lock,
            script: self.direction.lock(),
            environment: Vec::new(),
            shutdown,
        };
        self.phase(&call, order.lock_waits_for(), true, monitor)
    }

    /// Makes the artifact directories and runs all backup scripts side by side; one that
    /// fails does not stop the others.
    ///
    /// # Errors
    /// Of every script that failed; a signal. Then unlock with `false`.
    pub fn backup(
        &self,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<PhaseReport, Errors> {
        let start = Instant::now();
        if !self.state().directories {
            self.make_directories(Phase::Backup, shutdown)?;
        }
        let call = Call {
            phase: Phase::Backup,
            script: Script::Backup,
            environment: Vec::new(),
            shutdown,
        };
        let free = vec![Vec::new(); self.target.jobs().len()];
        let mut report = self.phase(&call, free, false, monitor)?;
        report.wall = start.elapsed();
        Ok(report)
    }

    /// Runs the unlock scripts of all jobs in reverse order, whether they were locked or not,
    /// and whatever fails; does nothing when no lock was attempted. Instances that are
    /// unlocked lose their marker.
    ///
    /// # Errors
    /// Of every script that failed; a signal, and then [`Run::abort`] goes on.
    pub fn unlock(
        &self,
        successful: bool,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<PhaseReport, Errors> {
        if !self.locks {
            monitor.info("unlock scripts are skipped, as asked (unsafe_lock_free)");
        }
        if !self.state().locking {
            return Ok(PhaseReport::default());
        }
        self.disarm(|place| self.unended_places().contains(&place));
        self.end_scripts(monitor, shutdown)?;
        let order = self
            .target
            .lock_order(self.direction)
            .map_err(|cycle| Error::said(Phase::Unlock, cycle.to_string()))?;
        let call = Call {
            phase: Phase::Unlock,
            script: self.direction.unlock(),
            environment: self.direction.unlock_environment(successful),
            shutdown,
        };
        let unlocked = self.phase(&call, order.unlock_waits_for(), false, monitor);
        self.disarm(|_| true);
        let command = commands::unmark(&self.target.settings, &self.mark.run);
        let places: Vec<usize> = {
            let locked = self.maybe_locked();
            let state = self.state();
            state
                .marked
                .iter()
                .copied()
                .filter(|place| !locked.contains(place))
                .collect()
        };
        let errors = self.on_each(&places, shutdown, |place| {
            let doing = "taking the marker away";
            let output = self.ask(Phase::Unlock, place, doing, &command, shutdown)?;
            match output.exit.ok() {
                true => Ok(()),
                false => Err(self.failed(Phase::Unlock, place, doing, output)),
            }
        });
        match (unlocked, Errors::from_list(errors)) {
            (Ok(report), None) => Ok(report),
            (Ok(_), Some(errors)) => Err(errors),
            (Err(errors), more) => {
                let mut all = errors.into_list();
                all.extend(more.into_iter().flat_map(Errors::into_list));
                Err(Errors::from_list(all).unwrap_or_else(|| stopped(Phase::Unlock).into()))
            }
        }
    }

    /// Removes one artifact from its instance, once it is drained.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_artifact(&self, artifact: &Artifact, shutdown: &Shutdown) -> Result<(), Errors> {
        let paths = commands::DrainPaths::new(&self.target.settings, &artifact.place.directory);
        let (place, doing) = (artifact.job.instance, "removing the drained artifact");
        let output = self.ask(Phase::Cleanup, place, doing, &paths.remove(), shutdown)?;
        match output.exit.ok() {
            true => Ok(()),
            false => Err(self.failed(Phase::Cleanup, place, doing, output).into()),
        }
    }

    /// Removes what this run put on the instances, on all of them whatever fails. An
    /// instance that may still be locked keeps its marker, so that cleanup finds it. What was staged and
    /// no restore script had is given back first.
    ///
    /// # Errors
    /// Of every instance where it failed.
    pub fn finish(&self, shutdown: &Shutdown) -> Result<(), Errors> {
        self.disarm(|_| true);
        let locked = self.maybe_locked();
        let places: Vec<usize> = self.state().marked.iter().copied().collect();
        let doing = "removing what this run left";
        let errors = self.on_each(&places, shutdown, |place| {
            self.give_back(place, shutdown);
            let keep = match locked.contains(&place) {
                true => Marker::Keep,
                false => Marker::Remove,
            };
            let whose = Whose::Run(&self.mark.run);
            let command = commands::remove(&self.target.settings, whose, keep);
            let output = self.ask(Phase::Cleanup, place, doing, &command, shutdown)?;
            if !output.exit.ok() {
                return Err(self.failed(Phase::Cleanup, place, doing, output));
            }
            if keep == Marker::Remove {
                self.state().marked.remove(&place);
            }
            Ok(())
        });
        Errors::check(errors)
    }

    /// One line for people: instances, artifacts, jobs.
    pub fn summary(&self) -> String {
        let artifacts = self.artifacts();
        let jobs: BTreeSet<_> = artifacts
            .iter()
            .map(|artifact| self.target.job(artifact.job).name.as_str())
            .collect();
        format!(
            "{} instances, {} artifacts, jobs {}",
            self.target.instances.len(),
            artifacts.len(),
            jobs.into_iter().collect::<Vec<_>>().join(", ")
        )
    }

    /// `group/id` of the instances on which a job may still be locked.
    pub fn locked_instances(&self) -> Vec<String> {
        self.maybe_locked()
            .into_iter()
            .map(|place| self.name(place))
            .collect()
    }

    pub(super) fn maybe_locked(&self) -> BTreeSet<usize> {
        let state = self.state();
        if !state.locking {
            return BTreeSet::new();
        }
        self.target
            .jobs()
            .into_iter()
            .filter(|job| {
                self.target.job(*job).has(self.direction.unlock()) && !state.unlocked.contains(job)
            })
            .map(|job| job.instance)
            .collect()
    }

    pub(super) fn places(&self, wanted: impl Fn(&super::instance::Instance) -> bool) -> Vec<usize> {
        (0..self.target.instances.len())
            .filter(|place| wanted(&self.target.instances[*place]))
            .collect()
    }

    /// Does something on several instances side by side; every one of them gets its turn,
    /// unless a signal comes.
    pub(super) fn on_each(
        &self,
        places: &[usize],
        shutdown: &Shutdown,
        work: impl Fn(usize) -> Result<(), Error> + Sync,
    ) -> Vec<Error> {
        let board = Board::free(places.to_vec(), 1);
        board
            .run(self.target.settings.limits.parallel, shutdown, |step| {
                work(places[step])
            })
            .into_iter()
            .filter_map(|result| match result {
                Some(result) => result.err(),
                None => Some(stopped(Phase::Cleanup)),
            })
            .collect()
    }

    pub(super) fn ask(
        &self,
        phase: Phase,
        place: usize,
        doing: &str,
        command: &Command,
        shutdown: &Shutdown,
    ) -> Result<Output, Error> {
        self.target.instances[place]
            .remote
            .run(command, shutdown)
            .map_err(|error| Error::remote(phase, doing, error))
    }

    pub(super) fn failed(&self, phase: Phase, place: usize, doing: &str, output: Output) -> Error {
        Error {
            phase,
            trouble: Trouble::Command {
                instance: self.name(place),
                doing: doing.to_owned(),
                status: output.exit.status,
                stderr: output.exit.stderr,
            },
        }
    }

    pub(super) fn name(&self, place: usize) -> String {
        self.target.instances[place].name()
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    pub(super) fn run_id(&self) -> &str {
        &self.mark.run
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn stopped(phase: Phase) -> Error {
    Error {
        phase,
        trouble: Stopped.into(),
    }
}
