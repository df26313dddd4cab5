//! Drop: a manifest goes to `dropped/` in every store, then out of `backups/`, store by store.
//!
//! Killed anywhere, the backup is either listed still, or under `dropped/` everywhere; the next
//! prune does the same again. The grace begins with the put, so the put must be fresh when the
//! deletes come: a base may be chosen until the last of them.

use std::time::SystemTime;

use bytes::Bytes;

use super::super::Error;
use super::super::catalogue::Catalogue;
use super::super::id::BackupId;
use super::super::retention::Decision;
use super::{Done, DropNote, Plan, Prune, SLACK};
use crate::clock;
use crate::store::{Kind, WriteMode};

/// Drops what the plan lets go, oldest first.
pub(super) fn drop_all(
    prune: &Prune,
    plan: &Plan,
    done: &mut Done,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let catalogue = Catalogue::new(
        prune.copies.clone(),
        prune.bridge.clone(),
        prune.foundation.clone(),
        prune.signers.clone(),
    );
    for decision in plan.drops() {
        prune.check_signal()?;
        drop_one(prune, &catalogue, decision, done, tell)?;
    }
    Ok(())
}

fn drop_one(
    prune: &Prune,
    catalogue: &Catalogue,
    decision: &Decision,
    done: &mut Done,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let id = &decision.id;
    let signed = match catalogue.manifest(id) {
        Ok(believed) => believed.signed,
        // Another prune was faster.
        Err(Error::Store(error)) if error.kind == Kind::NotFound => {
            done.gone.push(id.clone());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
    let note = DropNote::new(clock::rfc3339(prune.clock.now()), &reasons.join(" | "));
    let bytes = Bytes::from(note.behind(&signed.to_bytes()));
    if is_held(prune, id, done, tell)? {
        return Ok(());
    }
    let mut put_at = put_everywhere(prune, id, &bytes)?;
    // Whoever holds a backup looks for the manifest under `dropped/` after having written the
    // hold: one of the two sees the other.
    if is_held(prune, id, done, tell)? {
        return Ok(());
    }
    let object = prune.foundation.manifest(id);
    let mut locked = 0;
    for store in prune.copies.stores() {
        while !is_fresh(prune, put_at) {
            put_at = put_everywhere(prune, id, &bytes)?;
        }
        match prune.bridge.wait(store.delete(&object))? {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Locked => locked += 1,
            Err(error) => return Err(error.into()),
        }
    }
    done.locked += locked;
    if locked == 0 {
        done.dropped.push(id.clone());
    }
    Ok(())
}

/// Whether the grace that began with this put has hardly begun.
fn is_fresh(prune: &Prune, put_at: SystemTime) -> bool {
    let age = prune.clock.now().duration_since(put_at);
    age.unwrap_or_default() < SLACK / 2
}

/// Also renews the time of one that an earlier prune has left.
fn put_everywhere(prune: &Prune, id: &BackupId, bytes: &Bytes) -> Result<SystemTime, Error> {
    let object = prune.foundation.dropped(id);
    let begun = prune.clock.now();
    for store in prune.copies.stores() {
        let put = store.put(&object, bytes.clone(), WriteMode::Overwrite);
        prune.bridge.wait(put)??;
    }
    Ok(begun)
}

/// Asked anew, since people hold what they see being dropped.
fn is_held(
    prune: &Prune,
    id: &BackupId,
    done: &mut Done,
    tell: &mut dyn FnMut(&str),
) -> Result<bool, Error> {
    let held = prune.holds().of(id)?;
    if let Some(error) = held.silent.into_iter().next() {
        return Err(error.into());
    }
    let Some(why) = held.why.get(id) else {
        return Ok(false);
    };
    tell(&format!(
        "backup {id} stays: it is held meanwhile ({})",
        why.join("; ")
    ));
    done.held.push(id.clone());
    Ok(true)
}
