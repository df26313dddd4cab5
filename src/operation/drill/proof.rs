//! The drill's result, stored beside the backup: a proof of the level `drilled`.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::super::Context;
use super::super::steps::ground::Ground;
use super::super::stores::{Stores, worker};
use crate::clock;
use crate::repo::proof::{Finding, Level, Outcome, Proof, Step};
use crate::report::drill::{DrillStep, Drilled};

/// Writes it to every store that answers; says which did.
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
    let worker = worker(ground.settings)?;
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| anyhow!("no random bytes: {error}"))?;
    let written = stores
        .proofs()
        .write(&proof, worker.as_ref(), random)
        .context("the proof")?;
    for problem in written.problems() {
        context.monitor.warn(&format!(
            "the drill's proof is not in every store: {problem}"
        ));
    }
    let names: Vec<_> = written.stored().collect();
    ensure!(!names.is_empty(), "no store took it");
    Ok(format!(
        "the proof is stored beside backup {} in {}{}",
        manifest.id,
        names.join(", "),
        match worker {
            Some(_) => "",
            None => ", unsigned: no worker_identity is configured",
        }
    ))
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
