//! Deletes everything that a drill made: deployments, director, settings. Ops Manager's VM stays;
//! it must be made anew for the next drill, which nothing but its IaaS can do.

use anyhow::{Context as _, Result, bail, ensure};

use super::super::Context;
use super::super::settings::{Drill, Settings};
use super::super::steps::note::Note;
use super::super::steps::reach::Reach;
use super::super::steps::state_file::{self, Names};
use super::isolation;
use super::marker::Marker;
use crate::opsman::{Availability, DeployedProduct, OpsManager};

/// Takes down what an earlier drill left; says what was done.
///
/// # Errors
/// When it is no scratch foundation, or its director could reach the original.
pub fn tear_down(context: &Context, settings: &Settings, asked: &Drill) -> Result<String> {
    let scratch = &asked.scratch;
    let reach = Reach::new(context, settings);
    let inside = reach.ops_manager_vm()?;
    let wait = reach.wait();
    let mut ops = reach.ops_manager()?;
    let availability = ops.availability(&wait)?;
    let Some(mut marker) = Marker::read(&*inside, &context.shutdown)? else {
        ensure!(
            availability == Availability::NotSetUp,
            "the Ops Manager at {} is set up, and its VM carries no note of a drill: this is no scratch foundation, maybe one that lives. Nothing was touched",
            ops.name()
        );
        return Ok(format!("{scratch} holds nothing: no drill was begun in it"));
    };
    let foundation = &settings.repository.foundation;
    ensure!(
        marker.scratch == *scratch && marker.foundation == *foundation,
        "the Ops Manager VM at {} carries the note of a drill of {} in {}; nothing was touched. Correct drill.scratch or ops_manager.url",
        ops.name(),
        marker.foundation,
        marker.scratch
    );
    if marker.torn_down {
        return Ok(format!("{scratch} was taken down already"));
    }
    if availability == Availability::NotSetUp {
        return Ok(format!("{scratch} holds nothing: nothing was imported yet"));
    }
    ops.ready(&wait)?;
    follow_running(context, &mut ops, &reach)?;
    let found = state_file::look(&*inside, &context.shutdown)?;
    let products = ops.deployed_products(&wait)?;
    // A deletion that an earlier run began may have ended meanwhile.
    let deployed = matches!(found.names(None), Names::Another(Some(_)))
        && products.iter().any(DeployedProduct::is_director);
    if deployed {
        // One call at a time: what asks in between has a client of its own.
        drop(ops);
        may_delete(context, settings, &marker, &reach)?;
        ops = reach.ops_manager()?;
        ops.ready(&wait)?;
        delete(context, &mut ops, &reach, &marker)?;
    }
    marker.torn_down = true;
    marker.write(&*inside, &context.shutdown)?;
    Ok(format!(
        "{scratch} is taken down: {}; make its Ops Manager VM anew from the image before the next drill",
        if deployed {
            "every deployment and the director are deleted"
        } else {
            "nothing is deployed in it"
        }
    ))
}

/// The deletion of an installation deletes whatever its director refers to.
fn may_delete(
    context: &Context,
    settings: &Settings,
    marker: &Marker,
    reach: &Reach<'_>,
) -> Result<()> {
    let inside = reach.ops_manager_vm()?;
    isolation::director_is_scratch(context, settings, &*inside, marker)?;
    let director = reach.director()?;
    let deployments = director.deployments(&reach.wait()).context(
        "whether the director still refers to the original's VMs cannot be told; run the drill again, which goes on where it was, or delete the VMs in the scratch foundation's own IaaS account",
    )?;
    if deployments.is_empty() {
        return Ok(());
    }
    let note = Note::read(&director, &marker.backup, &reach.wait())?;
    ensure!(
        note.isolated(),
        "the director still refers to VMs and disks of the original, so that deleting the installation could delete those. Nothing was deleted; run the drill again, which goes on with the step references, or delete the VMs in the scratch foundation's own IaaS account"
    );
    Ok(())
}

fn follow_running(context: &Context, ops: &mut OpsManager, reach: &Reach<'_>) -> Result<()> {
    let Some(running) = ops.running_installation(&reach.wait())? else {
        return Ok(());
    };
    context.monitor.info(&format!(
        "Apply Changes {} is under way; waiting for its end",
        running.id
    ));
    match follow(context, ops, running.id, reach) {
        // However it ended: it is over.
        Err(error) if context.shutdown.is_raised() => Err(error),
        _ => Ok(()),
    }
}

fn delete(
    context: &Context,
    ops: &mut OpsManager,
    reach: &Reach<'_>,
    marker: &Marker,
) -> Result<()> {
    let Some(id) = ops.delete_installation(&reach.wait())? else {
        return Ok(());
    };
    context
        .monitor
        .info("deleting every deployment and the director of the scratch foundation");
    if let Err(error) = follow(context, ops, id, reach) {
        context.shutdown.check()?;
        bail!(
            "deleting the installation failed ({error:#}); look at Ops Manager, then run `{}` again",
            marker.cleanup()
        );
    }
    Ok(())
}

fn follow(context: &Context, ops: &mut OpsManager, id: u64, reach: &Reach<'_>) -> Result<()> {
    let mut line = |text: &str| context.monitor.info(&format!("delete {id}: {text}"));
    ops.follow(id, &mut line, &reach.wait())?;
    Ok(())
}
