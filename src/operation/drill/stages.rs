//! The stages of the verification, once every step of the restore is done.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::super::discovery;
use super::super::inventory::{self, Named};
use super::super::settings::Settings;
use super::super::steps::apply;
use super::checks::Asker;
use super::{Run, meaning};
use crate::bosh::Director;
use crate::report::{inventory as words, units};

/// Lines of what differs that are logged.
const MOST_NAMED: usize = 60;
/// What the steps of a restore make anew: scaled down and up again, MySQL has instances of other ids. That
/// they are as many, and run, is a stage of its own.
const NEVER_THE_SAME: [&str; 1] = ["instance"];

/// All of them, in order.
pub(super) fn all(run: &mut Run<'_>) -> Result<()> {
    run.pin()?;
    // Whoever cannot be asked is what a stage found, and no end of the drill: hours of steps would
    // have no result.
    run.stage(meaning::DIRECTOR, |run| {
        deployments(run, &*run.ground.director()?)
    })?;
    run.stage(meaning::INSTANCES, |run| {
        instances(run, &*run.ground.director()?)
    })?;
    not_deployed(run);
    if holds_inventory(run) {
        run.stage(meaning::INVENTORY, same_things)?;
    } else {
        run.notes.push(
            "the backup holds no inventory, so orgs, apps, routes and the like were not compared"
                .to_owned(),
        );
    }
    checks(run)
}

/// What the operator asks.
fn checks(run: &mut Run<'_>) -> Result<()> {
    let asked = run.asked;
    if asked.checks.is_empty() {
        run.notes.push(
            "no drill.checks are configured: that the foundation serves its users was not asked"
                .to_owned(),
        );
        return Ok(());
    }
    let (settings, authorities) = match told(run) {
        Ok(told) => told,
        Err(error) => return run.stage(meaning::CHECKS, |_| Err(error)),
    };
    let asker = Asker {
        context: run.context,
        settings: &settings,
        authorities,
        tas: run
            .facts
            .of_kind(discovery::TAS)
            .map(|tas| tas.guid.clone()),
    };
    for check in &asked.checks {
        let name = format!("{}{}", meaning::CHECK, check.name);
        run.stage(&name, |_| {
            asker.ask(check, asked.patience).map(|said| vec![said])
        })?;
    }
    Ok(())
}

/// What checks need and Ops Manager knows: the settings, and certificates.
fn told(run: &Run<'_>) -> Result<(Settings, Option<String>)> {
    let settings = discovery::discovered(run.context, &run.settings, &[])?;
    let wait = run.ground.wait();
    let mut ops = run.ground.ops_manager()?;
    ops.ready(&wait)?;
    let authorities = ops.trusted_certificates(&wait)?;
    Ok((settings, Some(authorities).filter(|text| !text.is_empty())))
}

/// The restored director knows the deployments of the backup, and no others.
fn deployments(run: &Run<'_>, director: &Director) -> Result<Vec<String>> {
    let known = director.deployments(&run.ground.wait())?;
    let known: BTreeSet<_> = known.iter().map(|one| one.name.as_str()).collect();
    let recorded = &run.facts.deployed;
    let recorded: BTreeSet<_> = recorded.iter().map(|one| one.name.as_str()).collect();
    let names = |found: Vec<&&str>| {
        let found: Vec<_> = found.into_iter().copied().collect();
        found.join(", ")
    };
    let lacks = names(recorded.difference(&known).collect());
    let more = names(known.difference(&recorded).collect());
    if !lacks.is_empty() {
        bail!("the restored director does not know {lacks}");
    }
    if !more.is_empty() {
        bail!("the restored director also knows {more}, which the backup's record does not");
    }
    Ok(vec![format!(
        "the {} deployments of the backup",
        known.len()
    )])
}

/// The deployments that a drill deploys.
fn in_scope(run: &Run<'_>) -> BTreeSet<String> {
    let tas = run
        .facts
        .of_kind(discovery::TAS)
        .map(|tas| tas.guid.clone());
    let on_demand = run.facts.deployed.iter().filter(|one| one.on_demand);
    on_demand.map(|one| one.name.clone()).chain(tas).collect()
}

/// As many instances as the backup recorded, and all of them run.
fn instances(run: &Run<'_>, director: &Director) -> Result<Vec<String>> {
    let scope = in_scope(run);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for deployment in run
        .facts
        .deployed
        .iter()
        .filter(|one| scope.contains(&one.name))
    {
        let name = &deployment.name;
        let found = director.instances(name, &run.ground.wait())?;
        for (group, wanted) in &deployment.groups {
            let there = found.iter().filter(|one| one.group == *group).count();
            if there != *wanted {
                wrong.push(format!(
                    "{name} has {there} instances of {group}, the backup {wanted}"
                ));
            }
        }
        if let Some(idle) = apply::idle_among(&found) {
            wrong.push(format!("{idle} of {name} does not run"));
        }
        count += found.len();
    }
    if wrong.is_empty() {
        Ok(vec![format!(
            "{count} instances of {} deployments run, as many as in the backup",
            scope.len()
        )])
    } else {
        bail!("{}", wrong.join("; "))
    }
}

fn holds_inventory(run: &Run<'_>) -> bool {
    let mut artifacts = run
        .manifest()
        .components
        .iter()
        .flat_map(|component| &component.artifacts);
    artifacts.any(|artifact| artifact.name == inventory::FILE)
}

/// What the backup's inventory names is there, and nothing else. What differs is named in the log
/// alone: a proof is stored as plain text, and an inventory is sealed.
fn same_things(run: &Run<'_>) -> Result<Vec<String>> {
    let before = Named::parse(run.ground.backup_id());
    let found = inventory::diff(
        run.context,
        &run.settings,
        (&before, &Named::Now),
        &NEVER_THE_SAME.map(str::to_owned),
    )?;
    if found.is_equal() {
        let total = found.total();
        return Ok(vec![format!(
            "{} things of {} kinds are as the backup's inventory has them",
            units::count(total.equal),
            found.counts.len()
        )]);
    }
    let text = words::differences(&found, "the backup", "the restored foundation");
    for line in text.lines().take(MOST_NAMED) {
        run.context.monitor.warn(line);
    }
    bail!("{}", words::by_kind(&found))
}

fn not_deployed(run: &mut Run<'_>) {
    let scope = in_scope(run);
    let names = run.facts.deployed.iter().map(|one| one.name.clone());
    let others: Vec<_> = names.filter(|name| !scope.contains(name)).collect();
    if !others.is_empty() {
        run.notes.push(format!(
            "looked at in the director's database alone, since the steps of a restore deploy them only where a broker is needed: {}",
            others.join(", ")
        ));
    }
}
