//! The drill's result, stored beside the backup: a proof of the level `drilled`.

use anyhow::{Error, Result};

use super::super::Context;
use super::super::steps::ground::Ground;
use super::super::stores::Stores;
use super::super::verify::proof::store;
use crate::bbr;
use crate::clock;
use crate::repo::proof::{Finding, Level, Outcome, Proof, Step};
use crate::report::drill::{DrillStep, Drilled};
use crate::report::failure::{self, Failure};

/// Stores it as that of a verification is; gives the names of the stores that have it.
pub(super) fn write(
    context: &Context,
    ground: &Ground<'_>,
    drilled: &Drilled,
    begun: &str,
) -> Result<Vec<String>> {
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
        .map(|step| Finding {
            what: format!("{}: {}", step.name, said(step)),
            ..Finding::default()
        })
        .collect();
    proof.notes.clone_from(&drilled.notes);
    proof.rto_ms = drilled.recovered().map(clock::millis);
    proof.rpo_ms = Some(clock::millis(drilled.rpo));
    let stores = Stores::open(context, ground.settings)?;
    store(context, ground.settings, &stores, &proof, "")
}

/// What may be stored of an error, for everybody with the bucket reads it: not what scripts said, and
/// nothing behind the first mark that may begin the name of a file.
pub(super) fn stored(error: &Error) -> String {
    let failure = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>());
    let first = failure
        .and_then(|failure| failure.causes.first())
        .unwrap_or(error);
    let bbr = first
        .chain()
        .find_map(|cause| cause.downcast_ref::<bbr::Error>());
    let known = bbr.and_then(|error| error.trouble.without_output());
    let text = known.unwrap_or_else(|| {
        let text = failure::chain(first);
        let end = text.find(['(', '`', '"']).unwrap_or(text.len());
        text[..end].trim_end().to_owned()
    });
    format!("{text}; the log of that drill says more")
}

fn said(step: &DrillStep) -> String {
    step.stored.clone().unwrap_or_else(|| step.said.join("; "))
}

fn step(step: &DrillStep) -> Step {
    let mut said = said(step);
    if let Some(means) = step.means {
        said = format!("{said}. What this means: {means}");
    }
    Step {
        name: step.name.clone(),
        ms: clock::millis(step.took),
        at_least: step.at_least,
        ok: step.ok,
        said: Some(said).filter(|said| !said.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bbr::{Phase, Script, Trouble};

    #[test]
    fn what_a_script_said_and_names_of_files_are_not_stored() {
        let script = bbr::Error {
            phase: Phase::Restore,
            trouble: Trouble::Script {
                script: Script::Restore,
                job: "uaadb".to_owned(),
                instance: "database/0".to_owned(),
                status: 3,
                stderr: "duplicate key: customer@example.com".to_owned(),
            },
        };
        let failure = Failure {
            causes: vec![Error::from(script).context("tas")],
            state: "every instance is unlocked".to_owned(),
            may_be_locked: Vec::new(),
            mend: None,
        };
        let text = stored(&Error::from(failure));
        assert!(
            text.contains("uaadb on database/0") && text.contains("exit code 3"),
            "{text}"
        );
        assert!(!text.contains("customer"), "{text}");
        let damaged = anyhow::anyhow!("uaa.tar: the file `payroll.sql` is not what it was");
        assert_eq!(
            stored(&damaged),
            "uaa.tar: the file; the log of that drill says more"
        );
    }
}
