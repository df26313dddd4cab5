//! Running one kind of script on all jobs that bring it, and ending what still runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Run, stopped};
use crate::bbr::commands::{self, Start, Stop};
use crate::bbr::error::{Error, Errors, Phase, Trouble};
use crate::bbr::schedule::Board;
use crate::bbr::script::Script;
use crate::bbr::target::{JobRef, Target};
use crate::clock;
use crate::monitor::Monitor;
use crate::remote::{self, Command, Output};
use crate::shutdown::Shutdown;

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

/// What one script needs to be run.
pub(in crate::bbr) struct Call<'a> {
    pub(in crate::bbr) phase: Phase,
    pub(in crate::bbr) script: Script,
    pub(in crate::bbr) environment: Vec<(String, String)>,
    pub(in crate::bbr) shutdown: &'a Shutdown,
}

/// How often an unlock script is asked after when the connection breaks; it runs on meanwhile.
const UNLOCK_ATTEMPTS: u32 = 3;

impl Run {
    pub(in crate::bbr) fn unended_places(&self) -> Vec<usize> {
        let state = self.state();
        let places: BTreeSet<usize> = state.unended.iter().map(|(job, _)| job.instance).collect();
        places.into_iter().collect()
    }

    /// Ends lock, backup and restore scripts whose end was not seen, before anything is unlocked.
    pub(super) fn end_scripts(
        &self,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<(), Errors> {
        let places = self.unended_places();
        let errors = self.on_each(&places, shutdown, |place| {
            let ended = stop_scripts(&self.target, place, Stop::Work, Phase::Unlock, shutdown)?;
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
    pub(super) fn phase(
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
    pub(in crate::bbr) fn script(
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
        if call.script == self.direction().work() {
            let directory = instance.place_at(self.direction(), found).directory;
            let value = format!("{}/{directory}/", settings.paths.artifacts());
            command = command
                .with("BBR_ARTIFACT_DIRECTORY", &value)
                .with("ARTIFACT_DIRECTORY", &value);
        }
        let unlocks = call.script == self.direction().unlock();
        if !unlocks {
            self.state().unended.insert((job, call.script));
        }
        monitor.info(&format!("{}: {label} starts", instance.name()));
        let begin = Instant::now();
        let output = self.run_in_time(call, job, &label, &start, &command, monitor)?;
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

    /// Runs one script, over the channel that is there for it if it is, and waits for it as long as
    /// `limits.script_timeout` allows. One that runs longer counts as one whose end was not seen.
    fn run_in_time(
        &self,
        call: &Call<'_>,
        job: JobRef,
        label: &str,
        start: &Start,
        command: &Command,
        monitor: &dyn Monitor,
    ) -> Result<Output, Error> {
        let limit = self.target.settings.limits.script;
        let in_time = limit.map_or_else(
            || call.shutdown.clone(),
            |limit| call.shutdown.limited(limit),
        );
        let limited = Call {
            shutdown: &in_time,
            environment: Vec::new(),
            ..*call
        };
        let output = match self.run_armed(job.instance, start, command, &limited, monitor) {
            Ok(None) => self.run_asking(&limited, job, label, command, monitor),
            Ok(Some(output)) => Ok(output),
            Err(error) => Err(error),
        };
        match (output, limit) {
            (Err(error), Some(limit)) if error.is_stopped() && !call.shutdown.is_raised() => {
                Err(Error {
                    phase: call.phase,
                    trouble: Trouble::TooLong {
                        script: call.script,
                        job: self.target.job(job).name.clone(),
                        instance: self.name(job.instance),
                        limit,
                    },
                })
            }
            (output, _) => output,
        }
    }

    /// Runs one script over a channel of its own, or waits for it where it was started before.
    fn run_asking(
        &self,
        call: &Call<'_>,
        job: JobRef,
        label: &str,
        command: &Command,
        monitor: &dyn Monitor,
    ) -> Result<Output, Error> {
        let remote = &self.target.instance(job).remote;
        let unlocks = call.script == self.direction().unlock();
        let mut attempt = 1;
        loop {
            match remote.run(command, call.shutdown) {
                Ok(output) => return Ok(output),
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
                Err(error) => return Err(Error::remote(call.phase, label, error)),
            }
        }
    }
}

/// Ends scripts of ours on one instance; returns the names of those that had to be ended.
pub(in crate::bbr) fn stop_scripts(
    target: &Target,
    place: usize,
    which: Stop,
    phase: Phase,
    shutdown: &Shutdown,
) -> Result<Vec<String>, Error> {
    let doing = "ending scripts that still run";
    let instance = &target.instances[place];
    let output = instance
        .remote
        .run(&commands::stop(&target.settings, which), shutdown)
        .map_err(|error| Error::remote(phase, doing, error))?;
    let names = String::from_utf8_lossy(&output.stdout);
    let names: Vec<String> = names.lines().map(str::to_owned).collect();
    if output.exit.ok() {
        return Ok(names);
    }
    Err(Error::said(
        phase,
        format!(
            "{}: {} would not end, even when killed; look at its processes there (a hanging disk?)",
            instance.name(),
            names.join(", ")
        ),
    ))
}
