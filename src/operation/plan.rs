//! What restoring a foundation from one backup takes on this target: the steps in order, what a
//! person must do or decide, what is done already, how long each may take. Changes nothing.

mod conditions;
mod drilled;
mod steps;
mod target;
mod times;

use anyhow::Result;

use super::Context;
use super::settings::{Choices, Origin, Settings};
use super::steps::facts::Facts;
use super::steps::ground::Ground;
use crate::report::restore::Plan;
use drilled::Drills;
use target::Target;

/// What the backup holds, as far as it decides what there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holds {
    ops_manager: bool,
    director: bool,
    tas: bool,
    instances: bool,
}

impl Holds {
    fn of(ground: &Ground<'_>) -> Self {
        let has = |name: &str| ground.component(name).is_some();
        Self {
            ops_manager: has("ops-manager"),
            director: has("director"),
            tas: has("tas"),
            instances: has("service-instances"),
        }
    }

    fn scope(self) -> &'static str {
        match (self.ops_manager, self.director, self.tas) {
            (true, true, true) => "the whole foundation",
            (true, true, false) => {
                "Ops Manager and the director; deployments' data is not in this backup"
            }
            (true, false, true) => {
                "Ops Manager's settings and TAS; without a director's backup, deployments are made anew from the settings"
            }
            (true, false, false) => "Ops Manager's settings alone",
            (false, true, true) => "the director and TAS, on a foundation whose Ops Manager works",
            (false, true, false) => "the director alone, on a foundation whose Ops Manager works",
            (false, false, true) => {
                "TAS alone, on a foundation that is healthy otherwise (a failed upgrade, say)"
            }
            (false, false, false) => {
                "single deployments, on a foundation that is healthy otherwise"
            }
        }
    }
}

/// Makes the plan.
///
/// # Errors
/// When the backup cannot be had. What cannot be told of the target is said in the plan.
pub fn plan(
    context: &Context,
    settings: &Settings,
    origin: &Origin,
    choices: &Choices,
) -> Result<Plan> {
    let ground = Ground::open(context, settings, "plan", origin, choices)?;
    let holds = Holds::of(&ground);
    let mut notes = Vec::new();
    let facts = facts(&ground, holds, &mut notes)?;
    let target = Target::look(&ground, facts.as_ref(), &mut notes)?;
    let drills = Drills::of(&ground)?;
    let steps = steps::of(&ground, holds, facts.as_ref(), &target, &drills);
    let manifest = &ground.believed.signed.manifest;
    Ok(Plan {
        foundation: manifest.foundation.to_string(),
        backup: manifest.id.to_string(),
        finished: manifest.finished.clone(),
        components: manifest
            .components
            .iter()
            .map(|component| component.name.to_string())
            .collect(),
        scope: holds.scope().to_owned(),
        conditions: conditions::of(&ground, holds, facts.as_ref(), &target),
        total: times::total(&steps, drills.newest),
        steps,
        target: notes,
    })
}

/// The record, where there is one and it can be opened.
fn facts(ground: &Ground<'_>, holds: Holds, notes: &mut Vec<String>) -> Result<Option<Facts>> {
    if !holds.ops_manager {
        notes.push("the backup holds no ops-manager, so no record of versions, stemcells and sizes; this plan goes by the manifest alone".to_owned());
        return Ok(None);
    }
    if !ground.can_read() {
        notes.push("recovery_identity is not given: the foundation record (versions, stemcells, networks, certificates) is sealed; this plan goes by the manifest alone".to_owned());
        return Ok(None);
    }
    ground.facts().map(Some)
}
