//! `apply-director` and `apply-tas`: Apply Changes, begun once and followed to its end.

use anyhow::{Result, anyhow, bail, ensure};
use serde_json::Value;

use super::ground::Ground;
use super::state_file::{self, Names};
use super::{bosh_state, scale};
use crate::bosh;
use crate::http::Wait;
use crate::opsman::{ApplyChanges, Deploy, OpsManager, RunState};
use crate::report::restore::StepEnd;

pub(super) fn apply_director(ground: &Ground<'_>) -> Result<StepEnd> {
    let wait = ground.wait();
    let in_place = ground.choices.in_place;
    let recorded = ground.facts()?.director_vm_cid;
    let mut ops = ground.ops_manager()?;
    ops.ready(&wait)?;
    let mut said = Vec::new();
    let followed = attach(ground, &mut ops, &mut said)?;
    let remote = ground.ops_manager_vm()?;
    let found = state_file::look(&*remote, &ground.context.shutdown)?;
    let before = found.names(recorded.as_deref());
    match &before {
        Names::Imported(vm) if !in_place => bail!(
            "bosh-state.json still names the original's director VM {vm}: Apply Changes would replace that VM and take its disk. Nothing was applied; run `{}` first (or, to repair the foundation's own director, give in_place: true)",
            ground.command("bosh-state")
        ),
        Names::Another(Some(vm)) if !in_place => {
            let newest = ops.installations(&wait)?.into_iter().next();
            if newest.is_some_and(|run| run.state() == RunState::Succeeded) {
                said.push(format!("the director is deployed: bosh-state.json names VM {vm}, and the newest Apply Changes succeeded"));
                return Ok(ground.end(!followed, said));
            }
        }
        Names::Nothing if !in_place => {
            let vm = recorded.as_deref().unwrap_or("(not recorded)");
            bosh_state::silent_director(ground, vm)?;
        }
        _ => {}
    }
    run(ground, &mut ops, &ApplyChanges::new(Deploy::DirectorOnly))?;
    let found = state_file::look(&*remote, &ground.context.shutdown)?;
    match found.names(recorded.as_deref()) {
        Names::Another(Some(vm)) => said.push(format!("the director is deployed on VM {vm}")),
        Names::Imported(vm) if in_place => {
            said.push(format!("the director is deployed on its VM {vm}"));
        }
        _ => bail!(
            "Apply Changes succeeded, but bosh-state.json names no new director VM; look at it before going on"
        ),
    }
    Ok(ground.end(false, said))
}

pub(super) fn apply_tas(ground: &Ground<'_>) -> Result<StepEnd> {
    let wait = ground.wait();
    let director = ground.director()?;
    ground.restored(&director)?;
    let mut ops = ground.ops_manager()?;
    ops.ready(&wait)?;
    let guid = tas_guid(&mut ops, &wait)?;
    scale::require_one(ground, &mut ops, &guid)?;
    let mut said = Vec::new();
    let followed = attach(ground, &mut ops, &mut said)?;
    let pending = ops.pending_changes(&wait)?;
    let change = pending.iter().find(|change| change.guid == guid);
    if change.is_none() && idle(&director, &guid, &wait)?.is_none() {
        said.push(format!(
            "{guid} has no pending changes, and all of its instances run"
        ));
        return Ok(ground.end(!followed, said));
    }
    let stemcell = change.map(|change| &change.completeness_checks["stemcell_present"]);
    ensure!(
        stemcell != Some(&Value::Bool(false)),
        "Ops Manager has no stemcell for {guid}: nothing was applied; upload it to Ops Manager's stemcell library (the export of an installation holds none), then run this step again"
    );
    let mut changes = ApplyChanges::new(Deploy::Products(vec![guid.clone()]));
    let errands = post_deploy_errands(&ops.product_errands(&guid, &wait)?);
    if !errands.is_empty() {
        let on = errands.into_iter().map(|name| (name, true)).collect();
        changes.errands.insert(guid.clone(), on);
    }
    run(ground, &mut ops, &changes)?;
    if let Some(instance) = idle(&director, &guid, &wait)? {
        bail!(
            "Apply Changes succeeded, but {instance} of {guid} does not run; look at `bosh -d {guid} instances --ps`, then run this step again"
        );
    }
    said.push(format!("{guid} is deployed and all of its instances run"));
    Ok(ground.end(false, said))
}

/// The GUID of TAS, which is its deployment's name.
pub(in crate::operation) fn tas_guid(ops: &mut OpsManager, wait: &Wait) -> Result<String> {
    let staged = ops.staged_products(wait)?;
    let found: Vec<_> = staged
        .iter()
        .filter(|product| product.kind == "cf")
        .collect();
    match found[..] {
        [one] => Ok(one.guid.clone()),
        [] => bail!("Ops Manager has no product of type cf: there is no TAS to deploy"),
        _ => bail!(
            "Ops Manager has {} products of type cf; one is expected",
            found.len()
        ),
    }
}

/// An instance that does not run; `None` when all do. A deployment that the director does not
/// know runs nothing.
pub(super) fn idle(
    director: &bosh::Director,
    deployment: &str,
    wait: &Wait,
) -> Result<Option<String>> {
    let instances = match director.instances(deployment, wait) {
        Err(bosh::Error::UnknownDeployment { .. }) => Vec::new(),
        other => other?,
    };
    Ok(idle_among(&instances))
}

/// The same of instances that are known.
pub(in crate::operation) fn idle_among(instances: &[bosh::Instance]) -> Option<String> {
    // Errands have no VM, and what its operator stopped need not run.
    let wanted = |one: &&bosh::Instance| one.state == "started" || !one.vm_cid.is_empty();
    let mut started = instances.iter().filter(wanted).peekable();
    if started.peek().is_none() {
        return Some("every instance".to_owned());
    }
    started.find(|one| !one.runs()).map(bosh::Instance::name)
}

fn post_deploy_errands(errands: &[Value]) -> Vec<String> {
    let has = |errand: &&Value| errand.get("post_deploy").is_some_and(|on| !on.is_null());
    errands
        .iter()
        .filter(has)
        .filter_map(|errand| errand["name"].as_str().map(str::to_owned))
        .collect()
}

/// Follows a run that is under way, whoever began it. Whether there was one.
pub(super) fn attach(
    ground: &Ground<'_>,
    ops: &mut OpsManager,
    said: &mut Vec<String>,
) -> Result<bool> {
    let Some(running) = ops.running_installation(&ground.wait())? else {
        return Ok(false);
    };
    ground.info(&format!(
        "Apply Changes {} by {} is {}; following it",
        running.id, running.user_name, running.status
    ));
    follow(ground, ops, running.id)?;
    said.push(format!(
        "Apply Changes {} was under way; it succeeded",
        running.id
    ));
    Ok(true)
}

/// Begins a run and follows it to its end.
pub(super) fn run(ground: &Ground<'_>, ops: &mut OpsManager, changes: &ApplyChanges) -> Result<()> {
    let id = ops.begin_apply(changes, &ground.wait())?;
    ground.info(&format!("Apply Changes {id} has begun"));
    follow(ground, ops, id)
}

fn follow(ground: &Ground<'_>, ops: &mut OpsManager, id: u64) -> Result<()> {
    let monitor = &ground.context.monitor;
    let mut line = |text: &str| monitor.info(&format!("apply {id}: {text}"));
    ops.follow(id, &mut line, &ground.wait())
        .map_err(|error| match error {
            crate::opsman::Error::Stopped(stopped) => {
                anyhow::Error::from(stopped).context(format!(
                    "Apply Changes {id} goes on in Ops Manager; the same step follows it again"
                ))
            }
            other => anyhow!(other),
        })?;
    Ok(())
}
