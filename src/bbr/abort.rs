//! What is done after a signal, in the few seconds that are left: end what runs, unlock, clean.
//!
//! Unlock scripts run in sessions of their own on the instances. So it is enough to have
//! started them; waiting is for keeping the lock order and for knowing how they ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::commands::{self, Marker, Start, Stop, Whose};
use super::error::{Error, Phase};
use super::schedule::Board;
use super::script::Direction;
use super::target::JobRef;
use super::workflow::{Call, Run, stop_scripts};
use crate::monitor::Monitor;
use crate::shutdown::{LOOK, Shutdown};

/// How long the instances get to be told to end their scripts, beyond the scripts' grace.
const TELL: Duration = Duration::from_millis(1500);

/// What is kept of the time for cleaning, which needs only be started.
const CLEAN: Duration = Duration::from_millis(1200);

/// Threads of an abort: everything at once, within reason.
const WIDTH: usize = 128;

/// How an abort went.
#[derive(Debug, Default)]
pub struct Aborted {
    /// `group/id` of the instances on which a job may still be locked. They keep their marker.
    pub maybe_locked: Vec<String>,
    /// Those of which the removal was not seen to end; it may still go on there.
    pub not_clean: Vec<String>,
    /// Whether the time did not suffice to keep the lock order.
    pub out_of_order: bool,
    /// What failed.
    pub errors: Vec<Error>,
}

impl Aborted {
    /// Whether nothing is left for cleanup to do.
    pub fn is_clean(&self) -> bool {
        self.maybe_locked.is_empty() && self.not_clean.is_empty()
    }
}

impl Run {
    /// Ends the run after a signal that came at `since`, whatever phase it was in; to be called
    /// when the phase's call has returned. Lock order is kept for
    /// [`Limits::orderly`](super::Limits::orderly); then what remains is started at once. Returns
    /// within [`Limits::abort`](super::Limits::abort) after `since`.
    pub fn abort(&self, since: Instant, monitor: &dyn Monitor) -> Aborted {
        let abort = Abort {
            run: self,
            monitor,
            hurry: since + self.target().settings.limits.orderly,
            end: since + self.target().settings.limits.abort,
            cut: Shutdown::new(),
            last: Shutdown::new(),
            late: Shutdown::new(),
            done: Shutdown::new(),
            errors: Mutex::default(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| abort.watch());
            let result = abort.go();
            abort.done.raise();
            result
        })
    }
}

struct Abort<'a> {
    run: &'a Run,
    monitor: &'a dyn Monitor,
    hurry: Instant,
    end: Instant,
    /// Raised at `end`: every wait is given up.
    cut: Shutdown,
    /// Raised [`CLEAN`] before `end`: unlock scripts are not waited for any longer.
    last: Shutdown,
    /// Raised at `hurry`: nothing more is started in order.
    late: Shutdown,
    done: Shutdown,
    errors: Mutex<Vec<Error>>,
}

impl Abort<'_> {
    fn watch(&self) {
        let flags = [
            (self.hurry, &self.late),
            (self.end - CLEAN, &self.last),
            (self.end, &self.cut),
        ];
        for (at, flag) in flags {
            let left = at.saturating_duration_since(Instant::now());
            if self.done.sleep(left).is_err() {
                return;
            }
            flag.raise();
        }
    }

    fn direction(&self) -> Direction {
        self.run.direction()
    }

    fn go(&self) -> Aborted {
        let mut aborted = Aborted::default();
        self.run.disarm(|_| true);
        self.end_scripts();
        if !self.run.maybe_locked().is_empty() {
            self.monitor.warn("stopped by a signal: unlocking all jobs");
            aborted.out_of_order = self.unlock();
        }
        let locked = self.run.maybe_locked();
        self.clean(&locked);
        let left: Vec<usize> = self.run.state().marked.iter().copied().collect();
        let names = |places: &mut dyn Iterator<Item = usize>| {
            places.map(|place| self.run.name(place)).collect()
        };
        aborted.maybe_locked = names(&mut locked.iter().copied());
        aborted.not_clean = names(&mut left.into_iter().filter(|place| !locked.contains(place)));
        aborted.errors =
            std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner));
        for (names, what) in [
            (&aborted.maybe_locked, "may still be locked"),
            (&aborted.not_clean, "may still hold files of this run"),
        ] {
            if !names.is_empty() {
                self.monitor.error(&format!(
                    "{what}: {}; run the {}",
                    names.join(", "),
                    self.direction().cleanup()
                ));
            }
        }
        aborted
    }

    /// Ends lock, backup and restore scripts, everywhere at once, and waits no longer than it should
    /// take.
    fn end_scripts(&self) {
        let places = self.run.unended_places();
        let target = self.run.target();
        let limit = Shutdown::new();
        let over = Shutdown::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let until = (Instant::now() + target.settings.limits.grace + TELL).min(self.hurry);
                let left = until.saturating_duration_since(Instant::now());
                if over.sleep(left).is_ok() {
                    limit.raise();
                }
            });
            let board = Board::free(places.clone(), 1);
            board.run(WIDTH, &Shutdown::never(), |step| {
                let place = places[step];
                match stop_scripts(target, place, Stop::Work, Phase::Unlock, &limit) {
                    Ok(names) => {
                        for name in names {
                            let instance = self.run.name(place);
                            self.monitor.warn(&format!("{instance}: ended {name}"));
                        }
                        let mut state = self.run.state();
                        state.unended.retain(|(job, _)| job.instance != place);
                    }
                    Err(error) => self.keep(error),
                }
            });
            over.raise();
        });
    }

    /// Unlocks in order while there is time, then all the rest; whether that was needed.
    fn unlock(&self) -> bool {
        let target = self.run.target();
        let jobs = target.jobs();
        let waits_for = match target.lock_order(self.direction()) {
            Ok(order) => order.unlock_waits_for(),
            Err(_) => vec![Vec::new(); jobs.len()],
        };
        let call = Call {
            phase: Phase::Unlock,
            script: self.direction().unlock(),
            environment: self.direction().unlock_environment(false),
            shutdown: &self.last,
        };
        let wanted = |job: &JobRef| {
            target.job(*job).has(call.script) && !self.run.state().unlocked.contains(job)
        };
        let hosts = jobs.iter().map(|job| job.instance).collect();
        let board = Board::new(hosts, waits_for, target.settings.limits.per_instance);
        let finished = Shutdown::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                board.run(WIDTH, &Shutdown::never(), |step| {
                    if wanted(&jobs[step])
                        && let Err(error) = self.run.script(&call, jobs[step], self.monitor)
                    {
                        self.keep(error);
                    }
                });
                finished.raise();
            });
            while !finished.is_raised() && self.late.sleep(LOOK / 4).is_ok() {}
            let mut rest: BTreeMap<usize, Vec<JobRef>> = BTreeMap::new();
            for step in board.close() {
                if wanted(&jobs[step]) {
                    rest.entry(jobs[step].instance)
                        .or_default()
                        .push(jobs[step]);
                }
            }
            let hurried = !rest.is_empty();
            if hurried {
                self.monitor.warn(&format!(
                    "time runs out: the unlock scripts of {} jobs are started at once, not in order",
                    rest.values().map(Vec::len).sum::<usize>()
                ));
                for (place, jobs) in rest {
                    scope.spawn(move || self.start_all(place, &jobs));
                }
            }
            hurried
        })
    }

    /// Starts the unlock scripts of one instance, and notes those that are seen to end well.
    fn start_all(&self, place: usize, jobs: &[JobRef]) {
        let target = self.run.target();
        let starts: Vec<Start> = jobs
            .iter()
            .map(|job| {
                let name = &target.job(*job).name;
                let script = self.direction().unlock();
                Start::new(&target.settings, self.run.run_id(), name, script)
            })
            .collect();
        let mut command = commands::start_all(&target.settings, &starts);
        command.environment = self.direction().unlock_environment(false);
        match target.instances[place].remote.run(&command, &self.last) {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let ended: BTreeSet<&str> = text
                    .lines()
                    .filter_map(|line| line.strip_suffix(" 0"))
                    .collect();
                for (job, start) in jobs.iter().zip(&starts) {
                    if ended.contains(start.name.as_str()) {
                        self.run.state().unlocked.insert(*job);
                    } else {
                        self.keep(Error::said(
                            Phase::Unlock,
                            format!(
                                "{} of job {} on {} did not end well",
                                start.script,
                                target.job(*job).name,
                                self.run.name(place)
                            ),
                        ));
                    }
                }
            }
            Err(error) => self.keep(Error::remote(Phase::Unlock, "unlocking", error)),
        }
    }

    /// Removes our directories where nothing is locked; elsewhere the artifacts only. The
    /// removal goes on when we are gone. Before the first lock script there is time to give back what
    /// was staged; later unlocking needs it.
    fn clean(&self, locked: &BTreeSet<usize>) {
        let early = !self.run.state().locking;
        let places: Vec<usize> = self.run.state().marked.iter().copied().collect();
        let settings = &self.run.target().settings;
        let board = Board::free(places.clone(), 1);
        board.run(WIDTH, &self.cut, |step| {
            let place = places[step];
            if early {
                self.run.give_back(place, &self.last);
            }
            let marker = match locked.contains(&place) {
                true => Marker::Keep,
                false => Marker::Remove,
            };
            let command = commands::remove(settings, Whose::Run(self.run.run_id()), marker);
            let instance = &self.run.target().instances[place];
            match instance.remote.run(&command, &self.cut) {
                Ok(output) if output.exit.ok() => {
                    if marker == Marker::Remove {
                        self.run.state().marked.remove(&place);
                    }
                }
                Ok(output) => self.keep(Error::said(
                    Phase::Cleanup,
                    format!("{}: {}", instance.name(), output.exit.stderr),
                )),
                Err(error) => self.keep(Error::remote(Phase::Cleanup, "cleaning", error)),
            }
        });
    }

    /// Keeps an error; that the time was over is said by what is not clean.
    fn keep(&self, error: Error) {
        if !error.is_stopped() {
            self.monitor.error(&error.full());
            self.errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(error);
        }
    }
}
