//! Reaching a component and checking it, before anything is locked.

use std::time::Instant;

use anyhow::{Error, Result, anyhow};

use super::{Live, Opened, Plan, close, discover, listed, phase};
use crate::bbr;
use crate::foundation::{Aim, Foundation};
use crate::operation::Context;
use crate::store::is_segment;

impl Live {
    /// Reaches a component and checks it; changes nothing but SSH users, which are removed
    /// again on failure.
    pub(in crate::operation) fn open(
        context: &Context,
        foundation: &Foundation,
        plan: Plan,
        mark: &bbr::Mark,
    ) -> Result<Self, Vec<Error>> {
        let name = plan.name.to_string();
        match Self::reach(context, foundation, plan, mark, false)? {
            Opened::Live(live) => Ok(*live),
            Opened::NoScripts => Err(vec![anyhow!("{name}: it brings no backup scripts")]),
        }
    }

    /// The same for a deployment that may bring no backup scripts.
    pub(in crate::operation) fn open_if_scripts(
        context: &Context,
        foundation: &Foundation,
        plan: Plan,
        mark: &bbr::Mark,
    ) -> Result<Opened, Vec<Error>> {
        Self::reach(context, foundation, plan, mark, true)
    }

    fn reach(
        context: &Context,
        foundation: &Foundation,
        plan: Plan,
        mark: &bbr::Mark,
        may_lack_scripts: bool,
    ) -> Result<Opened, Vec<Error>> {
        let started = context.clock.now();
        let begin = Instant::now();
        let monitor = &*context.monitor;
        let named = |error: Error| error.context(plan.name.to_string());
        monitor.info(&format!("{}: reaching its instances", plan.name));
        let reached = foundation
            .reach(&plan.aim, &context.shutdown)
            .map_err(|error| vec![named(error.into())])?;
        let checked = discover(context, foundation, &plan.aim, &reached)
            .map_err(listed)
            .and_then(|target| match may_lack_scripts && !brings(&target) {
                true => Ok(None),
                false => check(context, target, &plan, mark).map(Some),
            });
        let left = |errors: Vec<Error>| {
            let mut errors: Vec<_> = errors.into_iter().map(named).collect();
            errors.extend(close(&reached).into_iter().map(named));
            errors
        };
        match checked {
            Ok(Some(run)) => Ok(Opened::Live(Box::new(Self {
                phases: vec![phase("check", begin.elapsed())],
                plan,
                reached,
                run,
                started,
            }))),
            Ok(None) => match left(Vec::new()) {
                errors if errors.is_empty() => Ok(Opened::NoScripts),
                errors => Err(errors),
            },
            Err(errors) => Err(left(errors)),
        }
    }

    /// Whether a deployment brings backup scripts; it is left again.
    pub(in crate::operation) fn brings_scripts(
        context: &Context,
        foundation: &Foundation,
        deployment: &str,
    ) -> Result<bool> {
        let aim = Aim::Deployment(deployment.to_owned());
        let reached = foundation.reach(&aim, &context.shutdown)?;
        let found = discover(context, foundation, &aim, &reached);
        for problem in close(&reached) {
            context.monitor.warn(&format!("{deployment}: {problem:#}"));
        }
        let target = found.map_err(|errors| {
            let mut errors = listed(errors).into_iter();
            errors.next().unwrap_or_else(|| anyhow!("nobody says why"))
        })?;
        Ok(brings(&target))
    }
}

/// Whether any job brings a backup script.
fn brings(target: &bbr::Target) -> bool {
    let mut jobs = target.instances.iter().flat_map(|one| &one.jobs);
    jobs.any(|job| job.has(bbr::Script::Backup))
}

fn check(
    context: &Context,
    target: bbr::Target,
    plan: &Plan,
    mark: &bbr::Mark,
) -> Result<bbr::Run, Vec<Error>> {
    let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
    let run = bbr::Run::new(target, mark.clone(), plan.unsafe_lock_free);
    run.check(monitor, shutdown).map_err(listed)?;
    let mut names = std::collections::BTreeSet::new();
    for artifact in run.artifacts() {
        let name = artifact.place.file_name;
        if !is_segment(&name) {
            return Err(vec![anyhow!(
                "{}: {name} cannot be an artifact's name",
                artifact.instance
            )]);
        }
        if !names.insert(name.clone()) {
            return Err(vec![anyhow!(
                "{}: a second artifact is called {name}",
                artifact.instance
            )]);
        }
    }
    Ok(run)
}
