//! Taking the parts, one after the other, and closing the backup.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Error, Result};

use super::{Part, close_all};
use crate::foundation::Foundation;
use crate::http::Wait;
use crate::operation::Context;
use crate::operation::coverage::{self, Inputs};
use crate::operation::guards::Guards;
use crate::operation::inventory::Kept;
use crate::operation::live::Taken;
use crate::operation::ops_manager::{self, Exported};
use crate::operation::probes::Probing;
use crate::operation::record;
use crate::operation::service_instances::{self, Instances};
use crate::operation::settings::Settings;
use crate::repo::format::ComponentRecord;
use crate::repo::run::Run;
use crate::report::ArtifactRun;
use crate::shutdown::{LOOK, Shutdown};

/// What was taken so far.
pub(in crate::operation) struct Taking<'a> {
    context: &'a Context,
    settings: &'a Settings,
    to: &'a Run,
    /// A place is kept for the export.
    records: Vec<Option<ComponentRecord>>,
    exported: Option<Exported>,
    saved: Saved,
    drained_bytes: u64,
    runs: Vec<(String, String, ArtifactRun)>,
    /// Taken before the lock of the component whose artifact it becomes.
    pub(in crate::operation) inventory: Option<Kept>,
    pub(in crate::operation) errors: Vec<Error>,
    pub(in crate::operation) may_be_locked: Vec<String>,
}

/// What the table of coverage is told.
#[derive(Debug, Default)]
struct Saved {
    director: bool,
    deployments: Vec<String>,
    scripts: BTreeMap<String, Result<bool, String>>,
    metadata_only: Vec<String>,
}

/// What a run came to.
#[derive(Debug)]
pub(in crate::operation) struct Ended {
    pub(in crate::operation) records: Vec<ComponentRecord>,
    pub(in crate::operation) drained_bytes: u64,
    pub(in crate::operation) runs: Vec<(String, String, ArtifactRun)>,
    pub(in crate::operation) errors: Vec<Error>,
    pub(in crate::operation) may_be_locked: Vec<String>,
}

impl<'a> Taking<'a> {
    pub(in crate::operation) fn new(
        context: &'a Context,
        settings: &'a Settings,
        to: &'a Run,
    ) -> Self {
        Self {
            context,
            settings,
            to,
            records: Vec::new(),
            exported: None,
            saved: Saved::default(),
            drained_bytes: 0,
            runs: Vec::new(),
            inventory: None,
            errors: Vec::new(),
            may_be_locked: Vec::new(),
        }
    }

    /// Takes one component; whether it was taken. Those that wait need not wait for its unlock
    /// scripts after a signal: the time is short.
    pub(in crate::operation) fn take(
        &mut self,
        part: Part,
        waiting: &mut Vec<Part>,
        guards: &mut Guards<'_>,
    ) -> bool {
        let context = self.context;
        let done = Shutdown::new();
        let (taken, closed) = std::thread::scope(|scope| {
            let closer = scope.spawn(|| {
                while !done.is_raised() && context.shutdown.sleep(LOOK).is_ok() {}
                if context.shutdown.is_raised() {
                    close_all(waiting.drain(..))
                } else {
                    Vec::new()
                }
            });
            let taken = self.take_now(part, guards);
            done.raise();
            match closer.join() {
                Ok(errors) => (taken, errors),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        self.errors.extend(closed);
        taken
    }

    fn take_now(&mut self, part: Part, guards: &mut Guards<'_>) -> bool {
        match part {
            Part::OpsManager => self.take_export(guards),
            Part::One(live) => {
                let name = live.name().to_string();
                let deployment = live.deployment().map(str::to_owned);
                let probing = Probing::start(self.context, self.settings);
                let mut taken = live.take(self.context, self.to, &mut || {
                    if let Some(probing) = &probing {
                        probing.unlocked();
                    }
                    guards.after_unlock(&name);
                });
                let seen = probing.map(|probing| probing.end(self.context, &name));
                if let (Some(record), Some(seen)) = (&mut taken.record, seen) {
                    record.downtime = seen;
                }
                let good = self.keep(taken, guards);
                match deployment {
                    Some(deployment) => self.saved.deployments.push(deployment),
                    None => self.saved.director = true,
                }
                good
            }
            Part::Instances(instances) => self.take_instances(instances, guards),
        }
    }

    fn take_export(&mut self, guards: &mut Guards<'_>) -> bool {
        match ops_manager::export(self.context, self.settings, guards, self.to) {
            Ok(exported) => {
                guards.after_unlock(ops_manager::NAME);
                self.exported = Some(exported);
                self.records.push(None);
                true
            }
            Err(error) => {
                self.errors.push(error.context(ops_manager::NAME));
                false
            }
        }
    }

    fn take_instances(&mut self, instances: Instances, guards: &mut Guards<'_>) -> bool {
        for listed in instances.listed() {
            match listed.saved {
                true => self.saved.deployments.push(listed.deployment.clone()),
                false => drop(
                    self.saved
                        .scripts
                        .insert(listed.deployment.clone(), Ok(false)),
                ),
            }
        }
        let (own, taken) = {
            let shared = Mutex::new(&mut *guards);
            instances.take(self.context, self.to, &shared)
        };
        let good = own.is_some();
        if let Some(record) = own {
            self.records.push(Some(record));
        }
        for one in taken {
            self.keep(one, guards);
        }
        good
    }

    /// Keeps what one director or deployment came to; whether all of it is there.
    fn keep(&mut self, taken: Taken, guards: &mut Guards<'_>) -> bool {
        self.errors.extend(taken.errors);
        self.may_be_locked.extend(taken.may_be_locked);
        self.drained_bytes += taken.drained_bytes;
        let Some(mut record) = taken.record else {
            return false;
        };
        let name = record.name.to_string();
        for artifact in &taken.skipped {
            guards.skipped(&name, artifact);
        }
        record.notes.extend(guards.notes(&name));
        let runs = taken.runs.into_iter();
        self.runs
            .extend(runs.map(|(artifact, run)| (name.clone(), artifact, run)));
        self.records.push(Some(record));
        true
    }

    /// Closes the backup: the table of coverage, and with it the foundation record.
    ///
    /// # Errors
    /// When the record cannot be stored.
    pub(in crate::operation) fn end(
        mut self,
        foundation: &Foundation,
        guards: &mut Guards<'_>,
    ) -> Result<Ended, Box<Self>> {
        let table = match self.table(foundation, guards) {
            Ok(table) => table,
            Err(error) => {
                self.context.monitor.warn(&format!(
                    "coverage: what is not in this backup cannot be told: {error:#}"
                ));
                Vec::new()
            }
        };
        coverage::tell(self.context, &table);
        if let Some(exported) = self.exported.take() {
            match exported.finish(self.context, guards, &table, self.to) {
                Ok((record, runs)) => {
                    let own = runs.into_iter();
                    self.runs.extend(
                        own.map(|(artifact, run)| (ops_manager::NAME.to_owned(), artifact, run)),
                    );
                    self.drained_bytes += record.artifacts.iter().map(|one| one.bytes).sum::<u64>();
                    if let Some(place) = self.records.iter_mut().find(|place| place.is_none()) {
                        *place = Some(record);
                    }
                }
                Err(error) => {
                    self.errors.push(error.context(ops_manager::NAME));
                    return Err(Box::new(self));
                }
            }
        }
        let mut records: Vec<_> = self.records.into_iter().flatten().collect();
        let inventory = self.inventory.and_then(|kept| kept.attach(&mut records));
        self.runs.extend(inventory);
        Ok(Ended {
            records,
            drained_bytes: self.drained_bytes,
            runs: self.runs,
            errors: self.errors,
            may_be_locked: self.may_be_locked,
        })
    }

    /// Every deployed product and deployment, covered or not.
    fn table(
        &mut self,
        foundation: &Foundation,
        guards: &mut Guards<'_>,
    ) -> Result<Vec<coverage::Line>> {
        let (Some(asked), Some(api)) = (&mut guards.asked, &guards.api) else {
            return Ok(Vec::new());
        };
        self.context.shutdown.check()?;
        let wait = Wait::unless(&self.context.shutdown);
        let fresh;
        let (products, deployments) = match &self.exported {
            Some(exported) => {
                let record = exported.record();
                (&record.products, &record.deployments)
            }
            None => {
                let products = record::products(&mut asked.client, &asked.products, &wait)?;
                let deployments = record::deployments(api, &asked.products, &wait)?;
                fresh = (products, deployments);
                (&fresh.0, &fresh.1)
            }
        };
        let unknown: Vec<String> = deployments
            .iter()
            .filter(|one| one.kind != "on-demand")
            .map(|one| one.name.clone())
            .filter(|name| !self.saved.deployments.contains(name))
            .collect();
        let more = service_instances::scripts(self.context, foundation, unknown);
        self.saved.scripts.extend(more);
        let tas = self.settings.foundation.tas_deployment.as_deref();
        if let Some(tas) = tas.filter(|_| guards.blobs_elsewhere("tas")) {
            self.saved.metadata_only.push(tas.to_owned());
        }
        let inputs = Inputs {
            products,
            deployments,
            saved: &self.saved.deployments,
            director: self.saved.director,
            metadata_only: &self.saved.metadata_only,
            scripts: &self.saved.scripts,
            tas,
        };
        Ok(inputs.table())
    }
}
