//! Getting ready for the first lock: whatever can be done before it is not done while the API is
//! down.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::scripts::Call;
use super::{Direction, Run};
use crate::bbr::armed::Armed;
use crate::bbr::commands::{self, EXISTS, Start};
use crate::bbr::error::{Error, Errors, Phase};
use crate::monitor::Monitor;
use crate::remote::{Command, Output};
use crate::shutdown::Shutdown;

/// How long an instance may take to get ready. Then its scripts are started as if this were not
/// there.
const PATIENCE: Duration = Duration::from_secs(20);

impl Run {
    /// To be called right before [`Run::lock`]: makes the artifact directories of a backup (those of
    /// a restore are made by the upload), and opens on each instance the channel over which
    /// scripts are started from then on. Where that fails they are started over
    /// channels of their own, which takes longer.
    ///
    /// # Errors
    /// When an artifact directory cannot be made, or is there; a signal. Nothing is locked yet.
    pub fn arm(&self, monitor: &dyn Monitor, shutdown: &Shutdown) -> Result<(), Errors> {
        if self.direction == Direction::Backup {
            self.make_directories(Phase::Backup, shutdown)?;
            self.state().directories = true;
        }
        let places = self.places(|instance| instance.takes_part(self.direction));
        let errors = self.on_each(&places, shutdown, |place| {
            let names = self.names(place);
            if names.is_empty() {
                return Ok(());
            }
            let remote = Arc::clone(&self.target.instances[place].remote);
            let settings = &self.target.settings;
            match Armed::open(remote, settings, &names, PATIENCE, shutdown) {
                Ok(armed) => {
                    self.lock_armed().insert(place, Arc::new(armed));
                }
                Err(why) => monitor.debug(&format!(
                    "{}: every script is started over a channel of its own ({why})",
                    self.name(place)
                )),
            }
            Ok(())
        });
        Errors::check(errors)
    }

    /// Makes the artifact directory on every instance that has a script that needs one.
    pub(in crate::bbr) fn make_directories(
        &self,
        phase: Phase,
        shutdown: &Shutdown,
    ) -> Result<(), Errors> {
        let work = self.direction.work();
        let places = self.places(|instance| instance.has(work));
        let doing = "making the artifact directory";
        let errors = self.on_each(&places, shutdown, |place| {
            let instance = &self.target.instances[place];
            let names: Vec<String> = instance
                .jobs
                .iter()
                .filter(|job| job.has(work))
                .map(|job| instance.place_at(self.direction, job).directory)
                .collect();
            let command = commands::directories(&self.target.settings, &names);
            let output = self.ask(phase, place, doing, &command, shutdown)?;
            match output.exit.status {
                0 => Ok(()),
                EXISTS => Err(Error::said(
                    phase,
                    format!(
                        "{} appeared on {} since the check: another run is at work there",
                        self.target.settings.paths.artifacts(),
                        self.name(place)
                    ),
                )),
                _ => Err(self.failed(phase, place, doing, output)),
            }
        });
        Errors::check(errors)
    }

    /// Under which names scripts may be started on an instance.
    fn names(&self, place: usize) -> Vec<String> {
        let (lock, work, unlock) = (
            self.direction.lock(),
            self.direction.work(),
            self.direction.unlock(),
        );
        let scripts: &[_] = match self.locks {
            true => &[lock, work, unlock],
            false => &[work],
        };
        let settings = &self.target.settings;
        let jobs = &self.target.instances[place].jobs;
        jobs.iter()
            .flat_map(|job| {
                scripts
                    .iter()
                    .filter(|script| job.has(**script))
                    .map(|script| Start::new(settings, &self.mark.run, &job.name, *script).name)
            })
            .collect()
    }

    /// Gives up the channels of some instances. What runs there goes on; nothing more is started over
    /// them. To be called before another channel is asked for: a server may grant one only.
    pub(in crate::bbr) fn disarm(&self, wanted: impl Fn(usize) -> bool) {
        self.lock_armed().retain(|place, _| !wanted(*place));
    }

    /// Runs one script if its instance is ready for it. `None`: it is not, or the channel
    /// was lost; whether the script was started is known on the instance by its name.
    pub(super) fn run_armed(
        &self,
        place: usize,
        start: &Start,
        command: &Command,
        call: &Call<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Option<Output>, Error> {
        let Some(armed) = self.lock_armed().get(&place).cloned() else {
            return Ok(None);
        };
        let output = armed.run(start, &command.environment, call.shutdown);
        let output = output.map_err(|stopped| Error {
            phase: call.phase,
            trouble: stopped.into(),
        })?;
        if let Some(why) = armed.lost() {
            monitor.debug(&format!(
                "{}: scripts are started over channels of their own from now on ({why})",
                self.name(place)
            ));
            self.disarm(|other| other == place);
        }
        Ok(output)
    }

    fn lock_armed(&self) -> std::sync::MutexGuard<'_, super::Channels> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
