//! The parts of a live backup: what each component comes to, reached, and taken one after the
//! other.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Error, Result};

use super::coverage::{self, Inputs};
use super::guards::Guards;
use super::live::{Live, Plan, Taken};
use super::ops_manager::{self, Exported};
use super::record;
use super::service_instances::{self, Instances};
use super::settings::{Component, Settings};
use super::{Context, backup};
use crate::bbr;
use crate::foundation::{Aim, Foundation};
use crate::http::Wait;
use crate::repo::format::ComponentRecord;
use crate::repo::id::ComponentName;
use crate::repo::run::Run;
use crate::report::ArtifactRun;
use crate::report::failure::Failure;
use crate::shutdown::{LOOK, Shutdown};

/// What a component comes to.
#[derive(Debug)]
pub(super) enum Planned {
    /// Ops Manager's export.
    OpsManager,
    /// One director or deployment.
    One(Plan),
    /// All on-demand deployments, by name.
    Instances(Vec<(String, Plan)>),
}

/// A component that was reached and checked.
#[derive(Debug)]
pub(super) enum Part {
    /// Ops Manager's export: nothing is held.
    OpsManager,
    /// One director or deployment.
    One(Box<Live>),
    /// On-demand deployments.
    Instances(Instances),
}

/// What each component comes to here.
///
/// # Errors
/// When a setting is missing, or the Director does not say which instances there are.
pub(super) fn plans(
    context: &Context,
    settings: &Settings,
    foundation: &Foundation,
    components: &[Component],
) -> Result<Vec<Planned>> {
    let of = |component: &Component| {
        Ok(match component {
            Component::OpsManager => Planned::OpsManager,
            Component::ServiceInstances => {
                Planned::Instances(instances(context, settings, foundation)?)
            }
            other => Planned::One(backup::plan(settings, other)?),
        })
    };
    components.iter().map(of).collect()
}

/// The plans of all on-demand deployments that there are now.
///
/// # Errors
/// When the Director does not say.
pub(super) fn instances(
    context: &Context,
    settings: &Settings,
    foundation: &Foundation,
) -> Result<Vec<(String, Plan)>> {
    let given = &settings.foundation;
    service_instances::deployments(context, foundation)?
        .into_iter()
        .map(|name| {
            let plan = service_instances::plan(&name, given.unsafe_lock_free, given.with_manifest)?;
            Ok((name, plan))
        })
        .collect()
}

/// All names under which a backup may keep something.
///
/// # Errors
/// When a name cannot be one.
pub(super) fn names(plans: &[Planned]) -> Result<Vec<ComponentName>> {
    let parse = |name: &str| ComponentName::parse(name).map_err(Error::msg);
    let mut names = Vec::new();
    for plan in plans {
        match plan {
            Planned::OpsManager => names.push(parse(ops_manager::NAME)?),
            Planned::One(plan) => names.push(plan.name.clone()),
            Planned::Instances(plans) => {
                names.push(parse(service_instances::NAME)?);
                names.extend(plans.iter().map(|(_, plan)| plan.name.clone()));
            }
        }
    }
    Ok(names)
}

/// The deployments that are locked.
pub(super) fn deployments(plans: &[Planned]) -> Vec<String> {
    let of = |plan: &Planned| match plan {
        Planned::One(Plan {
            aim: Aim::Deployment(name),
            ..
        }) => vec![name.clone()],
        Planned::Instances(plans) => plans.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    };
    plans.iter().flat_map(of).collect()
}

/// Reaches and checks all components; when one fails, none is taken.
///
/// # Errors
/// A [`Failure`] after which nothing is left.
pub(super) fn open_all(
    context: &Context,
    foundation: &Foundation,
    plans: Vec<Planned>,
    mark: &bbr::Mark,
) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut begun = Vec::new();
    for plan in plans {
        let name = plan.name();
        begun.push(name.clone());
        match open(context, foundation, plan, mark) {
            Ok(part) => {
                if let Some(summary) = part.summary() {
                    context
                        .monitor
                        .info(&format!("{name}: can be backed up: {summary}"));
                }
                parts.push(part);
            }
            Err(mut causes) => {
                causes.extend(close_all(parts));
                return Err(Failure {
                    causes,
                    state: "nothing was locked and nothing was stored".into(),
                    may_be_locked: Vec::new(),
                    // A Director may set up what it was asked for after we are gone.
                    mend: context.shutdown.is_raised().then(|| {
                        format!(
                            "if SSH users were left behind, lifeboat cleanup {}",
                            begun.join(" ")
                        )
                    }),
                }
                .into());
            }
        }
    }
    Ok(parts)
}

/// Reaches and checks one.
pub(super) fn open(
    context: &Context,
    foundation: &Foundation,
    plan: Planned,
    mark: &bbr::Mark,
) -> Result<Part, Vec<Error>> {
    Ok(match plan {
        Planned::OpsManager => Part::OpsManager,
        Planned::One(plan) => Part::One(Box::new(Live::open(context, foundation, plan, mark)?)),
        Planned::Instances(plans) => {
            Part::Instances(Instances::open(context, foundation, plans, mark)?)
        }
    })
}

impl Planned {
    /// Everything in it that has instances.
    pub(super) fn all(self) -> Vec<Plan> {
        match self {
            Self::OpsManager => Vec::new(),
            Self::One(plan) => vec![plan],
            Self::Instances(plans) => plans.into_iter().map(|(_, plan)| plan).collect(),
        }
    }

    /// The component's name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::OpsManager => ops_manager::NAME.to_owned(),
            Self::One(plan) => plan.name.to_string(),
            Self::Instances(_) => service_instances::NAME.to_owned(),
        }
    }
}

impl Part {
    /// The component's name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::OpsManager => ops_manager::NAME.to_owned(),
            Self::One(live) => live.name().to_string(),
            Self::Instances(_) => service_instances::NAME.to_owned(),
        }
    }

    /// One line for people.
    pub(super) fn summary(&self) -> Option<String> {
        match self {
            Self::OpsManager => None,
            Self::One(live) => Some(live.summary()),
            Self::Instances(instances) => Some(instances.summary()),
        }
    }

    /// Removes the SSH users; for a component that is not taken.
    pub(super) fn close(self) -> Vec<Error> {
        match self {
            Self::OpsManager => Vec::new(),
            Self::One(live) => live.close(),
            Self::Instances(instances) => instances.close(),
        }
    }
}

/// Removes the SSH users of all.
pub(super) fn close_all(parts: impl IntoIterator<Item = Part>) -> Vec<Error> {
    parts.into_iter().flat_map(Part::close).collect()
}

/// What was taken so far.
pub(super) struct Taking<'a> {
    context: &'a Context,
    settings: &'a Settings,
    to: &'a Run,
    /// A place is kept for the export.
    records: Vec<Option<ComponentRecord>>,
    exported: Option<Exported>,
    saved: Saved,
    drained_bytes: u64,
    runs: Vec<(String, String, ArtifactRun)>,
    pub(super) errors: Vec<Error>,
    pub(super) may_be_locked: Vec<String>,
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
pub(super) struct Ended {
    pub(super) records: Vec<ComponentRecord>,
    pub(super) drained_bytes: u64,
    pub(super) runs: Vec<(String, String, ArtifactRun)>,
    pub(super) errors: Vec<Error>,
    pub(super) may_be_locked: Vec<String>,
}

impl<'a> Taking<'a> {
    pub(super) fn new(context: &'a Context, settings: &'a Settings, to: &'a Run) -> Self {
        Self {
            context,
            settings,
            to,
            records: Vec::new(),
            exported: None,
            saved: Saved::default(),
            drained_bytes: 0,
            runs: Vec::new(),
            errors: Vec::new(),
            may_be_locked: Vec::new(),
        }
    }

    /// Takes one component; whether it was taken. Those that wait need not wait for its unlock
    /// scripts after a signal: the time is short.
    pub(super) fn take(
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
                let taken = live.take(self.context, self.to, &mut || guards.after_unlock(&name));
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
    pub(super) fn end(
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
        Ok(Ended {
            records: self.records.into_iter().flatten().collect(),
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
