//! The parts of a live backup: what each component comes to, reached, and taken one after the
//! other.

mod taking;

use anyhow::{Error, Result};

pub(super) use taking::{Ended, Taking};

use super::live::{Live, Plan};
use super::ops_manager;
use super::service_instances::{self, Instances};
use super::settings::{Component, Settings};
use super::{Context, backup};
use crate::bbr;
use crate::foundation::{Aim, Foundation};
use crate::repo::id::ComponentName;
use crate::report::failure::Failure;

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
