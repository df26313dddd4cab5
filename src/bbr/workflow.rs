//! The phases of one backup of one target, and what has been done so far.
//!
//! The order and its successors are in the module's head. State is kept pessimistically: what may
//! have happened counts as happened, until the contrary was seen.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::commands::{self, EXISTS, Marker, Start, Stop, Whose};
use super::error::{Error, Errors, Phase, Trouble};
use super::schedule::Board;
use super::script::{Direction, Script};
use super::target::{Artifact, JobRef, Target};
use crate::clock;
use crate::monitor::Monitor;
use crate::remote::{self, Command, Output};
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
    pub(super) fn text(&self, phase: &str) -> String {
        serde_json::json!({
            "run": self.run,
            "foundation": self.foundation,
            "started": clock::rfc3339(self.started),
            "phase": phase,
        })
        .to_string()
    }
}

/// How long a phase took.
#[derive(Debug, Clone, Default)]
pub struct PhaseReport {
    /// From its start to the end of its last script.
    pub wall: Duration,
    /// Each script that ran, slowest first.
    pub jobs: Vec<JobTime>,
}

/// How long one script took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTime {
    /// `group/id`.
    pub instance: String,
    /// Job name.
    pub job: String,
    /// As seen from here.
    pub time: Duration,
}

impl PhaseReport {
    /// The job that took longest.
    pub fn slowest(&self) -> Option<&JobTime> {
        self.jobs.first()
    }
}

/// One backup of one target. Its phases are called in the order of the module's head, each
/// once; [`Run::unlock`] and [`Run::finish`] also after a failure.
#[derive(Debug)]
pub struct Run {
    target: Target,
    mark: Mark,
    locks: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Instances that may hold a marker of this run.
    pub(super) marked: BTreeSet<usize>,
    /// Whether a lock script may have been started.
    pub(super) locking: bool,
    /// Lock and backup scripts that were started and not seen to end.
    pub(super) unended: BTreeSet<(JobRef, Script)>,
    /// Jobs whose unlock script was seen to end well.
    pub(super) unlocked: BTreeSet<JobRef>,
}

/// What one script needs to be run.
pub(super) struct Call<'a> {
    pub(super) phase: Phase,
    pub(super) script: Script,
    pub(super) environment: Vec<(String, String)>,
    pub(super) shutdown: &'a Shutdown,
}

/// How often an unlock script is asked after when the connection breaks; it runs on meanwhile.
const UNLOCK_ATTEMPTS: u32 = 3;

impl Run {
    /// Begins a backup; touches nothing. With `unsafe_lock_free` no lock and no unlock script
    /// runs.
    pub fn new(target: Target, mark: Mark, unsafe_lock_free: bool) -> Self {
        Self {
            target,
            mark,
            locks: !unsafe_lock_free,
            state: Mutex::default(),
        }
    }

    /// What is backed up.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The artifacts that the backup makes, grouped by instance, shared ones last.
    pub fn artifacts(&self) -> Vec<Artifact> {
        self.target.artifacts()
    }

    /// Puts a marker on every instance that takes part, so that whoever finds the
    /// foundation after us knows that it may be locked. On failure those already written are
    /// taken back.
    ///
    /// # Errors
    /// When another run's marker is there, or one cannot be written.
    pub fn mark(&self, shutdown: &Shutdown) -> Result<(), Errors> {
        let settings = &self.target.settings;
        let command = commands::mark(settings, &self.mark.text("lock"));
        let places = self.places(|instance| instance.takes_part(Direction::Backup));
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
            let whose = super::check::marker_words(&String::from_utf8_lossy(&output.stdout))
                .unwrap_or_else(|| "another run".to_owned());
            Err(Error::said(
                Phase::Mark,
                format!(
                    "{} is marked by {whose}: {}",
                    self.name(place),
                    super::check::ADVICE
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
            .lock_order(Direction::Backup)
            .map_err(|cycle| Error::said(Phase::Lock, cycle.to_string()))?;
        self.state().locking = true;
        let call = Call {
            phase: Phase::Lock,
            script: Script::PreBackupLock,
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
        let places = self.places(|instance| instance.has(Script::Backup));
        let doing = "making the artifact directory";
        let errors = self.on_each(&places, shutdown, |place| {
            let instance = &self.target.instances[place];
            let names: Vec<String> = instance
                .jobs
                .iter()
                .filter(|job| job.has(Script::Backup))
                .map(|job| instance.place(job).directory)
                .collect();
            let command = commands::directories(&self.target.settings, &names);
            let output = self.ask(Phase::Backup, place, doing, &command, shutdown)?;
            match output.exit.status {
                0 => Ok(()),
                EXISTS => Err(Error::said(
                    Phase::Backup,
                    format!(
                        "{} appeared on {} since the check: another backup is running there",
                        self.target.settings.paths.artifacts(),
                        self.name(place)
                    ),
                )),
                _ => Err(self.failed(Phase::Backup, place, doing, output)),
            }
        });
        Errors::check(errors)?;
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
        self.end_scripts(monitor, shutdown)?;
        let order = self
            .target
            .lock_order(Direction::Backup)
            .map_err(|cycle| Error::said(Phase::Unlock, cycle.to_string()))?;
        let call = Call {
            phase: Phase::Unlock,
            script: Script::PostBackupUnlock,
            environment: Direction::Backup.unlock_environment(successful),
            shutdown,
        };
        let unlocked = self.phase(&call, order.unlock_waits_for(), false, monitor);
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
    /// instance that may still be locked keeps its marker, so that cleanup finds it.
    ///
    /// # Errors
    /// Of every instance where it failed.
    pub fn finish(&self, shutdown: &Shutdown) -> Result<(), Errors> {
        let locked = self.maybe_locked();
        let places: Vec<usize> = self.state().marked.iter().copied().collect();
        let doing = "removing what the backup left";
        let errors = self.on_each(&places, shutdown, |place| {
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
                self.target.job(*job).has(Script::PostBackupUnlock) && !state.unlocked.contains(job)
            })
            .map(|job| job.instance)
            .collect()
    }

    pub(super) fn unended_places(&self) -> Vec<usize> {
        let state = self.state();
        let places: BTreeSet<usize> = state.unended.iter().map(|(job, _)| job.instance).collect();
        places.into_iter().collect()
    }

    /// Ends lock and backup scripts whose end was not seen, before anything is unlocked.
    fn end_scripts(&self, monitor: &dyn Monitor, shutdown: &Shutdown) -> Result<(), Errors> {
        let places = self.unended_places();
        let errors = self.on_each(&places, shutdown, |place| {
            let ended = stop_scripts(&self.target, place, Stop::Work, shutdown)
                .map_err(|error| Error::remote(Phase::Unlock, "ending scripts", error))?;
            for name in ended {
                monitor.warn(&format!(
                    "{}: ended {name}, which still ran",
                    self.name(place)
                ));
            }
            self.state()
                .unended
                .retain(|(job, _)| job.instance != place);
            Ok(())
        });
        let (stopped, failed): (Vec<_>, Vec<_>) = errors.into_iter().partition(Error::is_stopped);
        for error in failed {
            monitor.warn(&error.full());
        }
        Errors::check(stopped)
    }

    /// Runs one kind of script on all jobs that have it.
    fn phase(
        &self,
        call: &Call<'_>,
        waits_for: Vec<Vec<usize>>,
        first_failure_stops: bool,
        monitor: &dyn Monitor,
    ) -> Result<PhaseReport, Errors> {
        let start = Instant::now();
        let jobs = self.target.jobs();
        let limits = &self.target.settings.limits;
        let hosts = jobs.iter().map(|job| job.instance).collect();
        let board = Board::new(hosts, waits_for, limits.per_instance);
        let results = board.run(limits.parallel, call.shutdown, |step| {
            let job = jobs[step];
            if !self.target.job(job).has(call.script) {
                return Ok(None);
            }
            let result = self.script(call, job, monitor);
            if result.is_err() && first_failure_stops {
                board.close();
            }
            result.map(Some)
        });
        let mut report = PhaseReport::default();
        let mut errors = Vec::new();
        for result in results {
            match result {
                Some(Ok(time)) => report.jobs.extend(time),
                Some(Err(error)) => errors.push(error),
                None if call.shutdown.is_raised() => errors.push(stopped(call.phase)),
                None => {}
            }
        }
        report.jobs.sort_by_key(|job| std::cmp::Reverse(job.time));
        report.wall = start.elapsed();
        Errors::check(errors)?;
        Ok(report)
    }

    /// Runs one script to its end.
    pub(super) fn script(
        &self,
        call: &Call<'_>,
        job: JobRef,
        monitor: &dyn Monitor,
    ) -> Result<JobTime, Error> {
        let (instance, found) = (self.target.instance(job), self.target.job(job));
        let settings = &self.target.settings;
        let label = format!("{} of job {}", call.script, found.name);
        let start = Start::new(settings, &self.mark.run, &found.name, call.script);
        let mut command = commands::start(settings, &label, &start);
        command.environment.clone_from(&call.environment);
        if call.script == Script::Backup {
            let directory = instance.place(found).directory;
            let value = format!("{}/{directory}/", settings.paths.artifacts());
            command = command
                .with("BBR_ARTIFACT_DIRECTORY", &value)
                .with("ARTIFACT_DIRECTORY", &value);
        }
        let unlocks = call.script == Script::PostBackupUnlock;
        if !unlocks {
            self.state().unended.insert((job, call.script));
        }
        monitor.info(&format!("{}: {label} starts", instance.name()));
        let begin = Instant::now();
        let mut attempt = 1;
        let output = loop {
            match instance.remote.run(&command, call.shutdown) {
                Ok(output) => break output,
                Err(remote::Error::Stopped(stopped)) => {
                    return Err(Error {
                        phase: call.phase,
                        trouble: stopped.into(),
                    });
                }
                Err(error) if unlocks && attempt < UNLOCK_ATTEMPTS => {
                    monitor.warn(&format!("{error}; {label} is asked after again"));
                    attempt += 1;
                    call.shutdown
                        .sleep(Duration::from_secs(1))
                        .map_err(|stopped| Error {
                            phase: call.phase,
                            trouble: stopped.into(),
                        })?;
                }
                Err(error) => return Err(Error::remote(call.phase, &label, error)),
            }
        };
        let time = begin.elapsed();
        self.state().unended.remove(&(job, call.script));
        let printed = String::from_utf8_lossy(&output.stdout);
        if !printed.trim().is_empty() {
            monitor.debug(&format!(
                "{}: {label} printed: {}",
                instance.name(),
                printed.trim()
            ));
        }
        if !output.exit.ok() {
            return Err(Error {
                phase: call.phase,
                trouble: Trouble::Script {
                    script: call.script,
                    job: found.name.clone(),
                    instance: instance.name(),
                    status: output.exit.status,
                    stderr: output.exit.stderr,
                },
            });
        }
        if unlocks {
            self.state().unlocked.insert(job);
        }
        monitor.info(&format!(
            "{}: {label} ended after {}",
            instance.name(),
            clock::spoken(time)
        ));
        Ok(JobTime {
            instance: instance.name(),
            job: found.name.clone(),
            time,
        })
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

    fn ask(
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

    fn failed(&self, phase: Phase, place: usize, doing: &str, output: Output) -> Error {
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

    pub(super) fn run_id(&self) -> &str {
        &self.mark.run
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends scripts of ours on one instance; returns the names of those that ran.
pub(super) fn stop_scripts(
    target: &Target,
    place: usize,
    which: Stop,
    shutdown: &Shutdown,
) -> Result<Vec<String>, remote::Error> {
    let command = commands::stop(&target.settings, which);
    let output = target.instances[place].remote.run(&command, shutdown)?;
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.lines().map(str::to_owned).collect())
}

pub(super) fn stopped(phase: Phase) -> Error {
    Error {
        phase,
        trouble: Stopped.into(),
    }
}
