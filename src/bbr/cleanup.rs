//! Finds what a run that was killed left behind, and undoes it.
//!
//! Which unlock scripts run: a run of ours marks every instance that takes part before its first
//! lock, and takes a marker away only after the unlock. So when all that is found is ours,
//! the instances without marker and artifacts are not locked, and only the others are unlocked. An
//! artifact directory without our own directory beside it is bbr's, which marks nothing: then every
//! instance may be locked, and all are unlocked, as bbr's cleanup does.

use std::collections::BTreeSet;

use super::check::{Inspection, inspect_all, marker_direction, marker_words};
use super::commands::{self, Marker, Start, Stop, Whose};
use super::discovery::is_windows;
use super::error::{Error, Errors, Phase, Trouble};
use super::schedule::Board;
use super::script::Direction;
use super::target::{JobRef, Target};
use super::workflow::{stop_scripts, stopped};
use crate::monitor::Monitor;
use crate::remote::{self, Remote};
use crate::shutdown::Shutdown;

/// Which instances cleanup acts on, beyond those where it finds something.
#[derive(Debug, Clone, Default)]
pub struct Leftovers {
    /// Every instance, found or not: what bbr's cleanup does.
    pub force: bool,
    /// `group/id` of instances on which the caller found something.
    pub instances: BTreeSet<String>,
}

/// What cleanup did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// `group/id` of the instances on which something was left, or asked for.
    pub instances: Vec<String>,
    /// How many unlock scripts ran well.
    pub unlocked: usize,
    /// Scripts of an earlier run that were ended.
    pub ended: Vec<String>,
    /// `group/id` of the instances that were to be unlocked and are not known to be.
    pub may_be_locked: Vec<String>,
    /// `group/id` of instances left by a run of the other direction, which is for its own
    /// cleanup to mend: nothing was touched.
    pub of_the_other: Vec<String>,
}

/// Unlocks and cleans a target after a run that could not do it itself. Acts only where
/// something is left, unless forced; so a second call does nothing. `run` names this cleanup;
/// it must be new.
///
/// Gives what was done, and all that failed, on all instances: a failed unlock does not stop the
/// removal, nor does a lock order that goes in a circle. An instance whose unlock failed keeps its marker, so that the
/// next backup does not start before somebody looked; a forced cleanup removes that too.
pub fn cleanup(
    target: &Target,
    direction: Direction,
    run: &str,
    leftovers: &Leftovers,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> (Cleaned, Option<Errors>) {
    let mut cleanup = Cleanup {
        target,
        direction,
        run,
        monitor,
        shutdown,
        errors: Vec::new(),
        cleaned: Cleaned::default(),
    };
    cleanup.go(leftovers);
    (cleanup.cleaned, Errors::from_list(cleanup.errors))
}

/// The SSH users of ours that an earlier run left on an instance. Their names all begin
/// alike, and are those of no other tool. None is looked for on Windows.
///
/// # Errors
/// When the list of users cannot be read.
pub fn left_over_users(
    remote: &dyn Remote,
    settings: &super::Settings,
    shutdown: &Shutdown,
) -> Result<Vec<String>, remote::Error> {
    if is_windows(remote, settings, shutdown)? {
        return Ok(Vec::new());
    }
    let paths = &settings.paths;
    let command = remote::Command::as_root("look for users left over", ["cat", &paths.passwd]);
    let output = remote.run(&command, shutdown)?;
    if !output.exit.ok() {
        return Err(remote::Error::Connect {
            remote: remote.name().to_owned(),
            message: format!("{} cannot be read: {}", paths.passwd, output.exit.stderr),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split(':').next())
        .filter(|name| is_our_user(name))
        .map(str::to_owned)
        .collect())
}

fn is_our_user(name: &str) -> bool {
    name.strip_prefix("bosh_1feb0a7").is_some_and(|rest| {
        rest.len() == 8
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

struct Cleanup<'a> {
    target: &'a Target,
    direction: Direction,
    run: &'a str,
    monitor: &'a dyn Monitor,
    shutdown: &'a Shutdown,
    errors: Vec<Error>,
    cleaned: Cleaned,
}

/// What is to be done on the instances, by their places.
#[derive(Debug, Default)]
struct Plan {
    unlock: BTreeSet<usize>,
    remove: BTreeSet<usize>,
    /// Those with a directory of ours: scripts may still run there.
    running: BTreeSet<usize>,
    forced: bool,
}

impl Cleanup<'_> {
    fn go(&mut self, leftovers: &Leftovers) {
        let plan = self.plan(leftovers);
        if !self.cleaned.of_the_other.is_empty() {
            return;
        }
        if plan.remove.is_empty() {
            if self.errors.is_empty() {
                self.monitor.info(&format!(
                    "{}: nothing is left of a {}; nothing was touched",
                    self.target.name, self.direction
                ));
            }
            return;
        }
        self.cleaned.instances = plan.remove.iter().map(|place| self.name(*place)).collect();
        // Scripts that lock or write must end before anything is unlocked; an unlock script that
        // still runs is given time, and then run anew.
        self.end_scripts(&plan.running, Stop::Work);
        self.end_scripts(&plan.running, Stop::Unlock);
        let failed = self.unlock(&plan.unlock);
        let unlocks = |place: &&usize| {
            let instance = &self.target.instances[**place];
            instance
                .jobs
                .iter()
                .any(|job| job.has(self.direction.unlock()))
        };
        let locked = failed.iter().filter(unlocks);
        self.cleaned.may_be_locked = locked.map(|place| self.name(*place)).collect();
        self.remove(&plan, &failed);
    }

    fn plan(&mut self, leftovers: &Leftovers) -> Plan {
        let mut plan = Plan {
            forced: leftovers.force,
            ..Plan::default()
        };
        let mut foreign = leftovers.force;
        let results = inspect_all(self.target, Phase::Cleanup, self.shutdown, |_| Vec::new());
        let mut unseen = Vec::new();
        for (place, result) in results.into_iter().enumerate() {
            let named = leftovers.force || leftovers.instances.contains(&self.name(place));
            let found = match result {
                Ok(found) => found,
                Err(error) => {
                    self.errors.push(error);
                    unseen.push(place);
                    Inspection::default()
                }
            };
            if found.artifacts || found.state {
                self.tell(place, &found);
            }
            let kind = marker_direction(&found.text).unwrap_or(self.direction);
            if kind != self.direction && !leftovers.force {
                let name = self.name(place);
                self.errors.push(Error::said(
                    Phase::Cleanup,
                    format!(
                        "{name} was left by a {kind}: run the {}; nothing was touched",
                        kind.cleanup()
                    ),
                ));
                self.cleaned.of_the_other.push(name);
            }
            foreign |= found.artifacts && !found.state;
            if found.artifacts || found.marker || named {
                plan.unlock.insert(place);
            }
            if found.artifacts || found.state || named {
                plan.remove.insert(place);
            }
            if found.state {
                plan.running.insert(place);
            }
        }
        // What could not be looked at is treated like the rest of a target that has leftovers.
        if !plan.remove.is_empty() {
            plan.unlock.extend(&unseen);
            plan.remove.extend(&unseen);
        }
        if foreign {
            plan.unlock.extend(0..self.target.instances.len());
        }
        plan
    }

    fn tell(&self, place: usize, found: &Inspection) {
        let whose = match (marker_words(&found.text), found.state) {
            (Some(words), _) => format!(" by {words}"),
            (None, true) => String::new(),
            (None, false) => ", probably by bbr".to_owned(),
        };
        self.monitor
            .warn(&format!("{}: left behind{whose}", self.name(place)));
    }

    fn end_scripts(&mut self, places: &BTreeSet<usize>, which: Stop) {
        let places: Vec<usize> = places.iter().copied().collect();
        let results = self.on_each(&places, |place| {
            stop_scripts(self.target, place, which, Phase::Cleanup, self.shutdown)
        });
        for (place, result) in places.into_iter().zip(results) {
            match result {
                Ok(names) => {
                    for name in names {
                        let text = format!("{} on {}", name, self.name(place));
                        self.monitor.warn(&format!("ended {text}, which still ran"));
                        self.cleaned.ended.push(text);
                    }
                }
                Err(error) => self.errors.push(error),
            }
        }
    }

    /// Runs the unlock scripts; returns the instances where one failed.
    fn unlock(&mut self, places: &BTreeSet<usize>) -> BTreeSet<usize> {
        let jobs = self.target.jobs();
        let order = match self.target.lock_order(self.direction) {
            Ok(order) => order,
            Err(cycle) => {
                self.errors
                    .push(Error::said(Phase::Unlock, cycle.to_string()));
                return places.clone();
            }
        };
        let limits = &self.target.settings.limits;
        let hosts = jobs.iter().map(|job| job.instance).collect();
        let board = Board::new(hosts, order.unlock_waits_for(), limits.per_instance);
        let script = self.direction.unlock();
        let wanted =
            |job: &JobRef| places.contains(&job.instance) && self.target.job(*job).has(script);
        let results = board.run(limits.parallel, self.shutdown, |step| {
            if wanted(&jobs[step]) {
                self.unlock_one(jobs[step]).map(|()| true)
            } else {
                Ok(false)
            }
        });
        let mut failed = BTreeSet::new();
        for (job, result) in jobs.iter().zip(results) {
            match result {
                Some(Ok(ran)) => self.cleaned.unlocked += usize::from(ran),
                Some(Err(error)) => {
                    failed.insert(job.instance);
                    self.errors.push(error);
                }
                None if wanted(job) => {
                    failed.insert(job.instance);
                    self.errors.push(stopped(Phase::Unlock));
                }
                None => {}
            }
        }
        failed
    }

    fn unlock_one(&self, job: JobRef) -> Result<(), Error> {
        let (instance, found) = (self.target.instance(job), self.target.job(job));
        let script = self.direction.unlock();
        let label = format!("{script} of job {}", found.name);
        let start = Start::new(&self.target.settings, self.run, &found.name, script);
        let mut command = commands::start(&self.target.settings, &label, &start);
        command.environment = self.direction.unlock_environment(false);
        self.monitor
            .info(&format!("{}: {label} starts", instance.name()));
        let output = instance
            .remote
            .run(&command, self.shutdown)
            .map_err(|error| Error::remote(Phase::Unlock, &label, error))?;
        if output.exit.ok() {
            return Ok(());
        }
        Err(Error {
            phase: Phase::Unlock,
            trouble: Trouble::Script {
                script,
                job: found.name.clone(),
                instance: instance.name(),
                status: output.exit.status,
                stderr: output.exit.stderr,
            },
        })
    }

    fn remove(&mut self, plan: &Plan, failed: &BTreeSet<usize>) {
        // Running an unlock script leaves its output where it ran.
        let places: Vec<usize> = plan.remove.union(&plan.unlock).copied().collect();
        let results = self.on_each(&places, |place| {
            let marker =
                match failed.contains(&place) && plan.running.contains(&place) && !plan.forced {
                    true => Marker::Keep,
                    false => Marker::Remove,
                };
            let instance = &self.target.instances[place];
            let command = commands::remove(&self.target.settings, Whose::Anybody, marker);
            let doing = "removing what was left";
            let output = instance
                .remote
                .run(&command, self.shutdown)
                .map_err(|error| Error::remote(Phase::Cleanup, doing, error))?;
            if output.exit.ok() {
                return Ok(());
            }
            Err(Error {
                phase: Phase::Cleanup,
                trouble: Trouble::Command {
                    instance: instance.name(),
                    doing: doing.to_owned(),
                    status: output.exit.status,
                    stderr: output.exit.stderr,
                },
            })
        });
        self.errors
            .extend(results.into_iter().filter_map(Result::err));
    }

    fn on_each<T: Send>(
        &self,
        places: &[usize],
        work: impl Fn(usize) -> Result<T, Error> + Sync,
    ) -> Vec<Result<T, Error>> {
        let board = Board::free(places.to_vec(), 1);
        board
            .run(
                self.target.settings.limits.parallel,
                self.shutdown,
                |step| work(places[step]),
            )
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(stopped(Phase::Cleanup))))
            .collect()
    }

    fn name(&self, place: usize) -> String {
        self.target.instances[place].name()
    }
}

#[cfg(test)]
mod tests {
    use super::is_our_user;

    #[test]
    fn only_our_own_users_are_ours() {
        assert!(is_our_user("bosh_1feb0a7deadbe01"));
        for name in [
            "bosh_1feb0a7deadbe0",
            "bosh_1feb0a7deadbe012",
            "bosh_1feb0a7DEADBE01",
            "bosh_1234567deadbe01",
            "vcap",
        ] {
            assert!(!is_our_user(name), "{name}");
        }
    }
}
