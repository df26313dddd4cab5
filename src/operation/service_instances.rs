//! Every on-demand service instance as one component: those that bring backup scripts are saved,
//! several at a time, the others are listed with the reason.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Error, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::guards::Guards;
use super::live::{Live, Opened, Plan, Taken};
use super::{Context, ops_manager};
use crate::bbr;
use crate::bosh;
use crate::clock;
use crate::foundation::{Aim, Foundation};
use crate::http::Wait;
use crate::parallel;
use crate::repo::format::ComponentRecord;
use crate::repo::id::ComponentName;
use crate::repo::run::Run;

/// How the deployments of on-demand service instances are called: this, and the GUID of the
/// Cloud Controller's service instance.
pub(super) const PREFIX: &str = "service-instance_";
/// The component's name.
pub(super) const NAME: &str = "service-instances";
/// Instances reached, or taken, side by side; each drains one artifact at a time.
pub(super) const TOGETHER: usize = 4;
const LIST: &str = "instances.json";

/// What `instances.json` says of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) deployment: String,
    pub(super) saved: bool,
    /// Why it is not saved; empty where it is.
    pub(super) why: String,
}

/// The instances that were reached; some wait to be taken.
#[derive(Debug)]
pub(super) struct Instances {
    started: SystemTime,
    waiting: Vec<Live>,
    listed: Vec<Listed>,
}

/// The deployments of all on-demand service instances, by name.
///
/// # Errors
/// When the Director cannot be asked.
pub(super) fn deployments(context: &Context, foundation: &Foundation) -> Result<Vec<String>> {
    let wait = Wait::unless(&context.shutdown);
    let all = foundation.director()?.deployments(&wait)?;
    let names = all.into_iter().map(|deployment| deployment.name);
    Ok(names.filter(|name| name.starts_with(PREFIX)).collect())
}

/// The plan of one of them.
///
/// # Errors
/// When its name cannot be a component's.
pub(super) fn plan(deployment: &str, unsafe_lock_free: bool, with_manifest: bool) -> Result<Plan> {
    let name = ComponentName::parse(&format!("{NAME}/{deployment}"))
        .map_err(|problem| anyhow!("{problem}"))?;
    Ok(Plan {
        name,
        aim: Aim::Deployment(deployment.to_owned()),
        unsafe_lock_free,
        with_manifest,
        drains: 1,
    })
}

/// Work on each of a list, [`TOGETHER`] at a time; results in the list's order.
pub(super) fn side_by_side<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    parallel::all(TOGETHER, items, work)
}

impl Instances {
    /// Reaches and checks all. One that was deleted meanwhile is listed; any other trouble is an
    /// error, and then all are left alone.
    pub(super) fn open(
        context: &Context,
        foundation: &Foundation,
        plans: Vec<(String, Plan)>,
        mark: &bbr::Mark,
    ) -> Result<Self, Vec<Error>> {
        let started = context.clock.now();
        let opened = side_by_side(plans, |(deployment, plan)| {
            (
                deployment,
                Live::open_if_scripts(context, foundation, plan, mark),
            )
        });
        let mut instances = Self {
            started,
            waiting: Vec::new(),
            listed: Vec::new(),
        };
        let mut errors = Vec::new();
        for (deployment, opened) in opened {
            let why = match opened {
                Ok(Opened::Live(live)) => {
                    context.monitor.info(&format!(
                        "{}: can be backed up: {}",
                        live.name(),
                        live.summary()
                    ));
                    instances.waiting.push(*live);
                    String::new()
                }
                Ok(Opened::NoScripts) => "it brings no backup scripts".to_owned(),
                Err(problems) if problems.iter().all(is_gone) => {
                    "it was deleted before it could be reached".to_owned()
                }
                Err(problems) => {
                    errors.extend(problems);
                    continue;
                }
            };
            if !why.is_empty() {
                context
                    .monitor
                    .info(&format!("{NAME}: {deployment} is not saved: {why}"));
            }
            instances.listed.push(Listed {
                deployment,
                saved: why.is_empty(),
                why,
            });
        }
        if errors.is_empty() {
            return Ok(instances);
        }
        errors.extend(instances.close());
        Err(errors)
    }

    /// Every deployment, saved or not.
    pub(super) fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// One line for people.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} of {} on-demand deployments bring backup scripts",
            self.waiting.len(),
            self.listed.len()
        )
    }

    /// Removes the SSH users; for instances that are not taken.
    pub(super) fn close(self) -> Vec<Error> {
        let closed = side_by_side(self.waiting, Live::close);
        closed.into_iter().flatten().collect()
    }

    /// Takes all of them. The first record is the component's own; it comes only when every
    /// instance was taken.
    pub(super) fn take(
        self,
        context: &Context,
        to: &Run,
        guards: &Mutex<&mut Guards<'_>>,
    ) -> (Option<ComponentRecord>, Vec<Taken>) {
        let failed = std::sync::atomic::AtomicBool::new(false);
        let taken = side_by_side(self.waiting, |live| {
            // After a failure no further one is locked.
            if failed.load(Ordering::Relaxed) || context.shutdown.is_raised() {
                return Taken {
                    errors: live.close(),
                    ..Taken::default()
                };
            }
            let name = live.name().to_string();
            let taken = live.take(context, to, &mut || {
                let mut guards = guards.lock().unwrap_or_else(PoisonError::into_inner);
                guards.after_unlock(&name);
            });
            failed.fetch_or(taken.record.is_none(), Ordering::Relaxed);
            taken
        });
        let whole = taken.iter().all(|one| one.record.is_some()) && !context.shutdown.is_raised();
        if !whole {
            return (None, taken);
        }
        let (record, errors) = match record(context, self.started, &self.listed, to) {
            Ok(record) => (Some(record), Vec::new()),
            Err(error) => (None, vec![error.context(NAME)]),
        };
        let mut taken = taken;
        if !errors.is_empty() {
            taken.push(Taken {
                errors,
                ..Taken::default()
            });
        }
        (record, taken)
    }
}

/// The component's own record, with the list.
fn record(
    context: &Context,
    started: SystemTime,
    listed: &[Listed],
    to: &Run,
) -> Result<ComponentRecord> {
    let name = ComponentName::parse(NAME).map_err(|problem| anyhow!("{problem}"))?;
    let text = format!(
        "{:#}\n",
        serde_json::json!({ "format": 1, "instances": listed })
    );
    let (artifact, _) = ops_manager::write_file(to, name.clone(), LIST, &text)?;
    let left: Vec<_> = listed.iter().filter(|one| !one.saved).collect();
    let notes = match left.len() {
        0 => Vec::new(),
        count => vec![format!(
            "{count} of {} on-demand instances are not in this backup; {LIST} names them and says why",
            listed.len()
        )],
    };
    Ok(ComponentRecord {
        name,
        started: clock::rfc3339(started),
        finished: clock::rfc3339(context.clock.now()),
        phases: Vec::new(),
        artifacts: vec![artifact],
        notes,
        downtime: Vec::new(),
        facts: None,
    })
}

fn is_gone(error: &Error) -> bool {
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<bosh::Error>(),
            Some(bosh::Error::UnknownDeployment { .. })
        ) || matches!(
            cause.downcast_ref::<crate::foundation::Error>(),
            Some(crate::foundation::Error::Director(
                bosh::Error::UnknownDeployment { .. }
            ))
        )
    })
}

/// Whether deployments bring backup scripts, asked of their instances, which changes nothing but
/// SSH users.
pub(super) fn scripts(
    context: &Context,
    foundation: &Foundation,
    deployments: Vec<String>,
) -> BTreeMap<String, Result<bool, String>> {
    let asked = side_by_side(deployments, |deployment| {
        let brings = Live::brings_scripts(context, foundation, &deployment);
        (deployment, brings.map_err(|error| format!("{error:#}")))
    });
    asked.into_iter().collect()
}
