//! What must hold before data is restored, beside bbr's own checks.

use anyhow::{Result, bail, ensure};

use super::super::Context;
use super::super::settings::{Restoration, Settings, Step};
use super::ground::Reach;
use super::{apply, scale};
use crate::bosh;

/// How many VMs an error names.
const SHOWN: usize = 3;

/// Refuses to restore a director that still sees VMs which run, and TAS with more than one
/// MySQL. Looks only where the Director's API is configured or Ops Manager knows it.
///
/// # Errors
/// What is in the way, and what to do.
pub fn before_data(
    context: &Context,
    settings: &Settings,
    restoration: &Restoration,
) -> Result<()> {
    let reach = Reach::new(context, settings);
    let foundation = &settings.foundation;
    let knows_api = foundation.ops_manager.is_some() || foundation.bosh.is_some();
    match &restoration.step {
        Step::Director if restoration.choices.in_place => {
            context.monitor.warn(
                "in_place: whether VMs of deployments run is not looked at; the director forgets what was deployed since the backup",
            );
            Ok(())
        }
        Step::Director if knows_api => no_vm_answers(&reach),
        Step::Director => {
            context.monitor.warn(
                "neither ops_manager nor bosh is configured: whether this director still sees VMs that run was not looked at",
            );
            Ok(())
        }
        Step::Tas if foundation.ops_manager.is_some() => {
            let mut ops = reach.ops_manager()?;
            ops.ready(&reach.wait())?;
            let tas = match &foundation.tas_deployment {
                Some(name) => name.clone(),
                None => apply::tas_guid(&mut ops, &reach.wait())?,
            };
            drop(ops);
            one_mysql(&reach, &tas)
        }
        _ => Ok(()),
    }
}

/// A director whose deployments run is in use: a restore would make it forget what happened
/// since the backup.
fn no_vm_answers(reach: &Reach<'_>) -> Result<()> {
    let director = reach.director()?;
    let wait = reach.wait();
    let mut running = Vec::new();
    for deployment in director.deployments(&wait)? {
        let found = director.instances(&deployment.name, &wait)?;
        let answering = found.iter().filter(|one| one.answers());
        running.extend(answering.map(|one| format!("{} of {}", one.name(), deployment.name)));
    }
    if running.is_empty() {
        reach.context.monitor.info(&format!(
            "no VM answers the director at {}: it may be restored",
            director.name()
        ));
        return Ok(());
    }
    let more = match running.len().saturating_sub(SHOWN) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    running.truncate(SHOWN);
    bail!(
        "the director at {} sees VMs that run: {}{more}. It is in use, so nothing was restored: a restore is for a new director (or, to repair this one although its deployments run, give in_place: true)",
        director.name(),
        running.join(", ")
    )
}

/// A restore of TAS refuses a MySQL of more than one instance.
fn one_mysql(reach: &Reach<'_>, tas: &str) -> Result<()> {
    let director = reach.director()?;
    let instances = match director.instances(tas, &reach.wait()) {
        // bbr's checks say that better.
        Err(bosh::Error::UnknownDeployment { .. }) => return Ok(()),
        other => other?,
    };
    for name in scale::GROUPS {
        let count = instances.iter().filter(|one| one.group == name).count();
        ensure!(
            count < 2,
            "{tas} has {count} instances of {name}, and a restore of TAS needs exactly one. Nothing was restored; run the steps scale-down and apply-tas first"
        );
    }
    Ok(())
}
