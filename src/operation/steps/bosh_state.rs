//! `bosh-state`: moves `bosh-state.json` aside, so that no Apply Changes replaces the original's
//! director VM.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::ground::Ground;
use super::state_file::{self, DIRECTORY, Found, Names};
use crate::clock;
use crate::http::Wait;
use crate::report::restore::StepEnd;

/// How long a director that should not be there is waited for.
const KNOCK: Duration = Duration::from_secs(15);

pub(super) fn bosh_state(ground: &Ground<'_>) -> Result<StepEnd> {
    ensure!(
        !ground.choices.in_place,
        "in_place: a restore in place keeps bosh-state.json, since the director's VM or disk is the one that it names; leave this step out"
    );
    let recorded = ground.facts()?.director_vm_cid;
    ground.ops_manager()?.ready(&ground.wait())?;
    let remote = ground.ops_manager_vm()?;
    let found = state_file::look(&*remote, &ground.context.shutdown)?;
    let vm = match found.names(recorded.as_deref()) {
        Names::Nothing => {
            let said = vec![format!(
                "{DIRECTORY}/bosh-state.json is not there{}",
                copies(&found)
            )];
            return Ok(ground.end(true, said));
        }
        Names::Another(None) => {
            let said = vec![
                "bosh-state.json names no director VM: no director was deployed yet".to_owned(),
            ];
            return Ok(ground.end(true, said));
        }
        Names::Another(Some(vm)) => {
            let said = vec![format!(
                "bosh-state.json names VM {vm}, which is not the one of the backup: this Ops Manager deployed it; kept"
            )];
            return Ok(ground.end(true, said));
        }
        Names::Imported(vm) => vm,
    };
    silent_director(ground, &vm)?;
    let time = clock::compact(ground.context.clock.now());
    let copy = state_file::move_aside(&*remote, &time, &ground.context.shutdown)?;
    Ok(ground.end(
        false,
        vec![format!(
            "bosh-state.json named director VM {vm}; it is moved to {copy} on the Ops Manager VM"
        )],
    ))
}

/// Looks at the file and its copies.
pub(in crate::operation) fn look(ground: &Ground<'_>) -> Result<Found> {
    let remote = ground.ops_manager_vm()?;
    state_file::look(&*remote, &ground.context.shutdown)
}

/// Just imported, this Ops Manager has deployed no director. One that answers is the original.
pub(super) fn silent_director(ground: &Ground<'_>, vm: &str) -> Result<()> {
    let director = ground.director()?;
    let wait = Wait::unless(&ground.context.shutdown).no_longer_than(KNOCK);
    if let Ok(info) = director.info(&wait) {
        bail!(
            "a director answers at {} ({}, {}), though this Ops Manager has not deployed one yet: this is the live foundation, or the original is within reach. Nothing was changed. bosh-state.json names its VM {vm}; separate the networks, or, to repair this foundation itself, give in_place: true and leave bosh-state out",
            director.name(),
            info.name,
            info.uuid
        );
    }
    ground.context.shutdown.check()?;
    ground.info(&format!(
        "no director answers at {}, as it should be",
        director.name()
    ));
    Ok(())
}

fn copies(found: &Found) -> String {
    match found.copies.last() {
        Some((name, _)) => format!("; {name} is its copy"),
        None => String::new(),
    }
}
