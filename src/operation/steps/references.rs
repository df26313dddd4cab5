//! `references`: clears what a restored director believes of VMs and disks that are not there.

use anyhow::{Result, bail, ensure};

use super::ground::Ground;
use super::isolation::Scanned;
use super::note::Note;
use crate::bosh::{Deployment, Director, Instance};
use crate::http::Wait;
use crate::report::restore::StepEnd;

/// How many signs of the original an error names.
const SHOWN: usize = 5;

pub(super) fn references(ground: &Ground<'_>) -> Result<StepEnd> {
    ensure!(
        !ground.choices.in_place,
        "in_place: a restore in place has no stale references to clear: the VMs are there; mend single ones with `bosh cloud-check`"
    );
    let wait = ground.wait();
    let director = ground.director()?;
    let deployments = director.deployments(&wait)?;
    ensure!(
        !deployments.is_empty(),
        "the director knows no deployment: it was not restored yet; run `{}` first",
        ground.command("director")
    );
    let mut note = Note::read(&director, ground.backup_id(), &wait)?;
    if note.isolated() && nothing_stale(ground, &director, &deployments)? {
        let mut said = vec![format!(
            "none of {} deployments refers to a VM or disk that is missing",
            deployments.len()
        )];
        orphans(&director, &mut said, &wait)?;
        return Ok(ground.end(true, said));
    }
    ground.tell_left_tasks(&director)?;
    director.pause_resurrection(true, &wait)?;
    ground.info("resurrection is paused");
    let mut said = Vec::new();
    let mut scans = Vec::new();
    for deployment in &deployments {
        ground.context.shutdown.check()?;
        let scanned = scan(&director, &deployment.name, &wait)?;
        ground.info(&format!(
            "{}: {} problems of {} instances",
            scanned.deployment,
            scanned.problems.len(),
            scanned.instances.len()
        ));
        scans.push(scanned);
    }
    if note.isolated() {
        ground.info("the isolation guard was passed in an earlier run of this restore");
    } else {
        guard(&scans)?;
        note.pass(&director, &wait)?;
        ground.info("isolation guard: passed; every VM and disk that is referred to is missing");
    }
    let mut cleared = 0;
    for scanned in &scans {
        cleared += clear(ground, &director, scanned, &wait)?;
    }
    orphans(&director, &mut said, &wait)?;
    said.insert(
        0,
        match cleared {
            0 => format!(
                "none of {} deployments refers to a VM or disk that is missing",
                scans.len()
            ),
            count => format!(
                "{count} references of {} deployments are cleared; a second scan finds none",
                scans.len()
            ),
        },
    );
    said.push(
        "resurrection stays paused until the step recreate-instances (or `bosh update-resurrection on`)".to_owned(),
    );
    Ok(ground.end(cleared == 0, said))
}

/// Whether all that deployments refer to answers, so that no scan is needed to know.
fn nothing_stale(
    ground: &Ground<'_>,
    director: &Director,
    deployments: &[Deployment],
) -> Result<bool> {
    for deployment in deployments {
        let instances = director.instances(&deployment.name, &ground.wait())?;
        let refers = |one: &Instance| !one.vm_cid.is_empty() || !one.disk_cids.is_empty();
        if instances.iter().any(|one| refers(one) && !one.answers()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn scan(director: &Director, deployment: &str, wait: &Wait) -> Result<Scanned> {
    Ok(Scanned {
        deployment: deployment.to_owned(),
        instances: director.instances(deployment, wait)?,
        problems: director.scan(deployment, wait)?,
    })
}

/// Nothing may be resolved in any deployment before all of them are known to be isolated.
fn guard(scans: &[Scanned]) -> Result<()> {
    let breaches: Vec<String> = scans.iter().flat_map(Scanned::breaches).collect();
    if breaches.is_empty() {
        return Ok(());
    }
    let more = breaches.len().saturating_sub(SHOWN);
    let shown = breaches[..breaches.len() - more].join("; ");
    let more = match more {
        0 => String::new(),
        count => format!("; and {count} more"),
    };
    bail!(
        "isolation guard: STOP, this director is not isolated from the foundation that was backed up. {shown}{more}. Nothing was resolved. Clearing references now could delete the original's VMs and disks: separate the networks and the IaaS account, then run this step again; do not run `bosh cloud-check`"
    )
}

/// Clears a deployment's references to what is missing, and scans again to see it.
fn clear(
    ground: &Ground<'_>,
    director: &Director,
    scanned: &Scanned,
    wait: &Wait,
) -> Result<usize> {
    let deployment = &scanned.deployment;
    let (chosen, without) = scanned.resolutions();
    ensure!(
        without.is_empty(),
        "{deployment}: the director offers no way to delete the reference for problems {without:?}; look at `bosh -d {deployment} cloud-check --report`"
    );
    if chosen.is_empty() {
        return Ok(0);
    }
    ground.context.shutdown.check()?;
    director.resolve(deployment, &chosen, wait)?;
    let left = scan(director, deployment, wait)?;
    let missing: Vec<_> = left
        .problems
        .iter()
        .filter(|problem| left.is_reference(problem))
        .map(|problem| problem.description.trim())
        .collect();
    ensure!(
        missing.is_empty(),
        "{deployment}: {} references are still there after they were resolved: {}; run this step again",
        missing.len(),
        missing.join("; ")
    );
    ground.info(&format!(
        "{deployment}: {} references cleared",
        chosen.len()
    ));
    Ok(chosen.len())
}

fn orphans(director: &Director, said: &mut Vec<String>, wait: &Wait) -> Result<()> {
    let disks = director.orphaned_disks(wait)?;
    if !disks.is_empty() {
        said.push(format!(
            "{} disks are orphaned now; the director deletes an orphaned disk in the IaaS after 5 days: harmless in an account of its own, fatal for the original's disks once this one is joined to it (`bosh disks --orphaned` lists them)",
            disks.len()
        ));
    }
    Ok(())
}
