//! The stages of the verification, once every step of the restore is done.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::super::discovery;
use super::super::settings::Settings;
use super::super::steps::apply;
use super::checks::Asker;
use super::{Run, meaning};
use crate::bosh::Director;

/// All of them, in order.
pub(super) fn all(run: &mut Run<'_>) -> Result<()> {
    run.pin()?;
    let director = run.ground.director()?;
    run.stage(meaning::DIRECTOR, |run| deployments(run, &director))?;
    run.stage(meaning::INSTANCES, |run| instances(run, &director))?;
    not_deployed(run);
    let settings = discovery::discovered(run.context, &run.settings, &[])?;
    let asker = asker(run, &settings)?;
    if run.asked.checks.is_empty() {
        run.notes.push(
            "no drill.checks are configured: that the foundation serves its users was not asked"
                .to_owned(),
        );
    }
    for check in &run.asked.checks {
        let name = format!("{}{}", meaning::CHECK, check.name);
        run.stage(&name, |run| {
            asker.ask(check, run.asked.patience).map(|said| vec![said])
        })?;
    }
    Ok(())
}

fn asker<'a>(run: &Run<'a>, settings: &'a Settings) -> Result<Asker<'a>> {
    let wait = run.ground.wait();
    let mut ops = run.ground.ops_manager()?;
    ops.ready(&wait)?;
    let authorities = ops.trusted_certificates(&wait)?;
    drop(ops);
    Ok(Asker {
        context: run.context,
        settings,
        authorities: Some(authorities).filter(|text| !text.is_empty()),
        tas: run
            .facts
            .of_kind(discovery::TAS)
            .map(|tas| tas.guid.clone()),
    })
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
