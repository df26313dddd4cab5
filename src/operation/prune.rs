//! Prune as a use case: by itself, rehearsed, or behind a backup.

use anyhow::{Context as _, Error, Result};

use super::Context;
use super::settings::{Retention, Settings};
use super::stores::Stores;
use crate::repo::prune::Prune;
use crate::report::failure::{self, Failure};
use crate::report::prune::Pruned;

/// What [`prune`] would do, without changing anything. What would keep it from deleting stands in
/// the plan's blockers.
///
/// # Errors
/// When a store does not answer or a signal comes.
pub fn plan(context: &Context, settings: &Settings) -> Result<Pruned> {
    let (stores, policy) = open(context, settings)?;
    let prune = stores.prune(context, settings)?;
    let survey = prune.survey()?;
    let plan = prune.plan(&survey, &policy);
    let mut tell = |line: &str| context.monitor.info(line);
    let done = prune.rehearse(&survey, &plan, &mut tell)?;
    Ok(pruned(settings, &prune, true, plan, done))
}

/// Drops what the retention does not keep, and sweeps what was dropped before the grace.
///
/// # Errors
/// When something is in doubt (then nothing was deleted), a store fails or a signal comes (then
/// the next prune goes on).
pub fn prune(context: &Context, settings: &Settings) -> Result<Pruned> {
    let (stores, policy) = open(context, settings)?;
    let prune = stores.prune(context, settings)?;
    let probed = stores.probe_each(context)?;
    let survey = prune.survey()?;
    let mut plan = prune.plan(&survey, &policy);
    let bad = probed.into_iter().filter_map(|(_, result)| result.err());
    plan.blockers
        .splice(0..0, bad.map(|error| error.to_string()));
    plan.blockers.dedup();
    if !plan.blockers.is_empty() {
        return Err(Failure {
            causes: plan.blockers.into_iter().map(Error::msg).collect(),
            state: "nothing was deleted".to_owned(),
            may_be_locked: Vec::new(),
            mend: None,
        }
        .into());
    }
    let mut tell = |line: &str| context.monitor.warn(line);
    let done = prune
        .run(&survey, &plan, &mut tell)
        .context("prune ended early; what it deleted was to go, and the next one goes on")?;
    Ok(pruned(settings, &prune, false, plan, done))
}

/// After a backup that is committed: whatever happens here does not fail it.
pub fn behind_a_backup(context: &Context, settings: &Settings) {
    match prune(context, settings) {
        Ok(pruned) => {
            let text = crate::report::prune::text(&pruned);
            context.monitor.info(text.trim_end());
        }
        Err(error) => context.monitor.warn(&format!(
            "the backup is committed; the prune behind it failed: {}",
            failure::chain(&error)
        )),
    }
}

fn open(context: &Context, settings: &Settings) -> Result<(Stores, Retention)> {
    let retention = settings.repository.retention.clone();
    let policy = retention.context("retention: is missing")?;
    Ok((Stores::open(context, settings)?, policy))
}

fn pruned(
    settings: &Settings,
    prune: &Prune,
    dry_run: bool,
    plan: crate::repo::prune::Plan,
    done: crate::repo::prune::Done,
) -> Pruned {
    Pruned {
        foundation: settings.repository.foundation.clone(),
        dry_run,
        grace: prune.grace,
        new_chain_every: settings.repository.new_chain_every,
        plan,
        done,
    }
}
