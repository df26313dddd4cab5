//! The end of a drill: its figures, its proof, and what becomes of the scratch foundation.

use std::time::{Duration, SystemTime};

use anyhow::{Error, Result, bail};

use super::super::settings::End;
use super::super::stores::Stores;
use super::tear_down::tear_down;
use super::{Ended, Run, proof};
use crate::clock;
use crate::report::drill::Drilled;

impl Run<'_> {
    /// The figures, and what becomes of the scratch foundation.
    pub(super) fn end(mut self, failure: Option<Error>) -> Result<Ended> {
        let begun =
            clock::parse_rfc3339(&self.marker.begun).unwrap_or_else(|| self.context.clock.now());
        let rpo = clock::parse_rfc3339(&self.manifest().started)
            .and_then(|taken| begun.duration_since(taken).ok())
            .unwrap_or_default();
        let mut drilled = Drilled {
            foundation: self.marker.foundation.clone(),
            backup: self.marker.backup.clone(),
            scratch: self.marker.scratch.clone(),
            rto: self.steps.iter().map(|step| step.took).sum(),
            rpo,
            interval: self.interval(),
            runs: self.marker.runs,
            steps: std::mem::take(&mut self.steps),
            notes: std::mem::take(&mut self.notes),
            scratch_is: String::new(),
        };
        drilled.notes.extend(self.marker.only_looks());
        let stored = self.store(&drilled)?;
        drilled.notes.push(stored);
        drilled.scratch_is = self.leave(&drilled)?;
        Ok(Ended { drilled, failure })
    }

    /// Stores the result, and says where. A look at a drill that has passed is no restore: that it
    /// finds nothing wrong makes no backup newer, so only what is wrong is stored.
    fn store(&mut self, drilled: &Drilled) -> Result<String> {
        if self.marker.passed.is_some() && drilled.passed() {
            return Ok("nothing is wrong, and no new proof is stored for a look".to_owned());
        }
        let nowhere = "the result of this drill is stored nowhere, so no list will show it";
        let names = match proof::write(self.context, self.ground, drilled, &self.marker.begun) {
            Ok(names) => names,
            Err(error) => {
                self.context.shutdown.check()?;
                return Ok(format!("{nowhere}: {error:#}"));
            }
        };
        if names.is_empty() {
            return Ok(format!("{nowhere}; the log says why"));
        }
        // Not before the proof is there: a run that only looks would never store it.
        if drilled.passed() {
            self.note_passed()?;
        }
        Ok(format!(
            "the proof is stored beside backup {} in {}",
            drilled.backup,
            names.join(", ")
        ))
    }

    /// From now on a run of this drill only looks.
    fn note_passed(&mut self) -> Result<()> {
        self.marker.passed = Some(clock::rfc3339(self.context.clock.now()));
        if let Err(error) = self.note() {
            self.context.shutdown.check()?;
            self.context.monitor.warn(&format!(
                "that this drill passed is not noted, so another run would count as a drill: {error:#}"
            ));
        }
        Ok(())
    }

    /// What becomes of the scratch foundation, as a sentence.
    fn leave(&self, drilled: &Drilled) -> Result<String> {
        let scratch = &self.asked.scratch;
        let cleanup = self.marker.cleanup();
        if !drilled.passed() {
            let next = match self.marker.passed {
                Some(_) => "looks again",
                None => "goes on with the step that failed",
            };
            return Ok(format!(
                "{scratch} is left as it is: the same command {next}; `{cleanup}` deletes everything in it"
            ));
        }
        if self.asked.end == End::Keep {
            return Ok(format!(
                "{scratch} is kept as it is; `{cleanup}` deletes everything in it"
            ));
        }
        match tear_down(self.context, &self.settings, self.asked) {
            Ok(said) => Ok(said),
            Err(error) => {
                self.context.shutdown.check()?;
                bail!(
                    "the drill passed, but {scratch} was not taken down: {error:#}. To mend it: {cleanup}"
                )
            }
        }
    }

    /// From the backup before this one to this one, by their ids.
    fn interval(&self) -> Option<Duration> {
        let time = |id: &str| -> Option<SystemTime> { clock::parse_compact(id.get(..16)?) };
        let stores = Stores::open(self.context, self.ground.settings).ok()?;
        let listing = stores.catalogue().list(None).ok()?;
        let own = self.ground.backup_id();
        let before = listing
            .backups
            .iter()
            .take_while(|listed| listed.id.as_str() < own)
            .last()?;
        time(own)?.duration_since(time(before.id.as_str())?).ok()
    }
}
