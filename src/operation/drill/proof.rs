//! The drill's result, stored beside the backup: a proof of the level `drilled`.

use std::time::Duration;

use anyhow::Result;

use super::super::Context;
use super::super::steps::ground::Ground;
use super::super::stores::Stores;
use super::super::verify::proof::store;
use crate::clock;
use crate::repo::proof::{Finding, Level, Outcome, Proof, Step};
use crate::report::drill::{DrillStep, Drilled};

/// Stores it as that of a verification is; says where.
pub(super) fn write(
    context: &Context,
    ground: &Ground<'_>,
    drilled: &Drilled,
    begun: &str,
) -> Result<String> {
    let manifest = &ground.believed.signed.manifest;
    let mut proof = Proof::new(
        &manifest.foundation,
        &manifest.id,
        Level::Drilled,
        Outcome::of(drilled.passed()),
        begun.to_owned(),
        clock::rfc3339(context.clock.now()),
    );
    proof.steps = drilled.steps.iter().map(step).collect();
    proof.findings = drilled
        .steps
        .iter()
        .filter(|step| !step.ok)
        .flat_map(|step| {
            step.said
                .iter()
                .map(|said| format!("{}: {said}", step.name))
        })
        .map(|what| Finding {
            what,
            ..Finding::default()
        })
        .collect();
    proof.notes.clone_from(&drilled.notes);
    proof.rto_ms = Some(ms(drilled.rto));
    proof.rpo_ms = Some(ms(drilled.rpo));
    let stores = Stores::open(context, ground.settings)?;
    let names = store(context, ground.settings, &stores, &proof, "")?;
    Ok(match names.is_empty() {
        false => format!(
            "the proof is stored beside backup {} in {}",
            manifest.id,
            names.join(", ")
        ),
        true => {
            "the result of this drill is stored nowhere, so no list will show it; the log says why"
                .to_owned()
        }
    })
}

fn step(step: &DrillStep) -> Step {
    let mut said = step.said.join("; ");
    if let Some(means) = step.means {
        said = format!("{said}. What this means: {means}");
    }
    Step {
        name: step.name.clone(),
        ms: ms(step.took),
        ok: step.ok,
        said: Some(said).filter(|said| !said.is_empty()),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
