//! `hold` and `release`: what prune must leave alone.

use anyhow::{Context as _, Result, bail};

use super::settings::Settings;
use super::stores::{Stores, backup_id};
use super::{Context, catalogue};
use crate::clock::rfc3339;
use crate::repo;
use crate::repo::prune::{Hold, Holds};
use crate::store;

/// Most characters of a reason: it is printed on one line.
const LONGEST_WHY: usize = 500;

/// Holds a backup, in every store, and says so.
///
/// # Errors
/// When there is no such backup, or no store takes the hold, or no store tells whether a prune has begun
/// to drop the backup: the hold is there then.
pub fn hold(context: &Context, settings: &Settings, id: &str, why: &str) -> Result<String> {
    let why = why.trim();
    if why.is_empty() || why.chars().count() > LONGEST_WHY {
        bail!("--why: say in 1 to {LONGEST_WHY} characters why the backup is to stay");
    }
    let stores = Stores::open(context, settings)?;
    catalogue::find(&stores, id)?;
    let id = backup_id(id)?;
    let by = settings.build.as_ref().map(|build| build.shown());
    let hold = Hold::new(&id, rfc3339(context.clock.now()), why, by);
    let (done, failed) = divided(context, holds(&stores).put(&hold)?);
    if done.is_empty() {
        bail!("backup {id} is not held: {}", failed.join("; "));
    }
    // A prune writes there before it looks for holds a last time: one of the two sees the other. Who
    // cannot look does not know that the backup stays, and a warning is not read where all is green.
    let begun = match stores.catalogue().drop_begun(&id) {
        Err(repo::Error::Stopped(stopped)) => return Err(stopped.into()),
        looked => looked.with_context(|| {
            format!(
                "the hold of backup {id} is written (in {}), but whether a prune has begun to drop it cannot be seen; run the same command again",
                done.join(", ")
            )
        })?,
    };
    if begun {
        catalogue::find(&stores, id.as_str())?;
        context.monitor.warn(&format!(
            "a prune has begun to drop backup {id}; if one runs at this moment, look once more with `lifeboat show {id}` when it has ended"
        ));
    }
    Ok(format!("backup {id} is held (in {})", done.join(", ")))
}

/// Releases a backup, in every store, and says so.
///
/// # Errors
/// When a store still holds it: then it is held.
pub fn release(context: &Context, settings: &Settings, id: &str) -> Result<String> {
    let stores = Stores::open(context, settings)?;
    let id = backup_id(id)?;
    let holds = holds(&stores);
    let held = holds.of(&id)?;
    if held.why.is_empty() && held.silent.is_empty() {
        return Ok(format!("backup {id} was not held"));
    }
    let (done, failed) = divided(context, holds.release(&id)?);
    if !failed.is_empty() {
        bail!(
            "backup {id} is still held, since a hold in one store is enough: {}",
            failed.join("; ")
        );
    }
    Ok(format!("backup {id} is released (in {})", done.join(", ")))
}

fn holds(stores: &Stores) -> Holds {
    Holds::new(
        stores.copies.clone(),
        stores.bridge.clone(),
        stores.foundation.clone(),
    )
}

/// The stores that did it, and what the others said.
fn divided(
    context: &Context,
    answers: Vec<(String, Result<(), store::Error>)>,
) -> (Vec<String>, Vec<String>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (name, answer) in answers {
        match answer {
            Ok(()) => done.push(name),
            Err(error) => {
                context.monitor.warn(&error.to_string());
                failed.push(error.to_string());
            }
        }
    }
    (done, failed)
}
