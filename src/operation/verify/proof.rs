//! The result of a verification or a drill, stored where the backup is.

use anyhow::{Result, anyhow};

use crate::operation::Context;
use crate::operation::settings::Settings;
use crate::operation::stores::{Stores, worker};
use crate::repo::proof::Proof;

/// Stores a proof in every store that answers, and gives their names. That it cannot be stored, or that
/// nobody would believe it, is said in one warning: what was found stands in the result all the same.
/// `unless` ends the warning, and says how one asks for no proof where that can be asked.
///
/// # Errors
/// When a signal comes.
pub(in crate::operation) fn store(
    context: &Context,
    settings: &Settings,
    stores: &Stores,
    proof: &Proof,
    unless: &str,
) -> Result<Vec<String>> {
    let worker = worker(settings)?;
    if worker.is_none() && !settings.repository.trusted_workers.is_empty() {
        context.monitor.warn(&format!(
            "the result is not stored: without worker_identity it would not be signed, and who sets \
             trusted_workers believes no other; give worker_identity{unless}",
        ));
        return Ok(Vec::new());
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| anyhow!("no random bytes: {error}"))?;
    let written = stores.proofs().write(proof, worker.as_ref(), random)?;
    let stored: Vec<String> = written.stored().map(str::to_owned).collect();
    let problems: Vec<String> = written.problems().map(ToString::to_string).collect();
    if stored.is_empty() {
        context.monitor.warn(&format!(
            "the result is stored nowhere: {}; allow writing below {}{unless}",
            problems.join("; "),
            stores.foundation.reports()
        ));
    } else if !problems.is_empty() {
        context.monitor.warn(&format!(
            "the result is stored in {} alone: {}",
            stored.join(", "),
            problems.join("; ")
        ));
    }
    Ok(stored)
}

/// Stores the result of a verification, if that is wanted.
pub(super) fn keep(
    context: &Context,
    settings: &Settings,
    stores: &Stores,
    proof: &Proof,
    wanted: bool,
) -> Result<Vec<String>> {
    match wanted {
        true => store(
            context,
            settings,
            stores,
            proof,
            ", or say that none is wanted: --no-report, verify_report: false",
        ),
        false => Ok(Vec::new()),
    }
}
