//! What was found of the copies in the stores, and what was done for them: replicate, verify,
//! repair.

use serde::Serialize;

use super::Problem;
use super::text::{Side, Table};
use super::units::{bytes, count};
use crate::repo::proof::Level;
use crate::repo::repair::{Mended, Repaired};
use crate::repo::replicate::Brought;
use crate::repo::scrub::{Hit, Looked, Scrubbed};

/// What replicate did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replicated {
    /// In the configured order.
    pub stores: Vec<Brought>,
    /// Backups that there are, in any store.
    pub backups: u64,
    /// Backups whose manifests are not to be believed and so were copied nowhere.
    pub refused: Vec<Problem>,
}

impl Replicated {
    /// Whether every store has everything that is to be believed.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.stores.iter().all(|store| store.incomplete.is_none())
    }
}

/// What replicate did, and a sentence for each store that is not complete.
pub fn replicated(replicated: &Replicated) -> String {
    let mut table = Table::new(&[
        ("store", Side::Left),
        ("objects", Side::Right),
        ("size", Side::Right),
        ("backups", Side::Right),
        ("now", Side::Left),
    ]);
    for store in &replicated.stores {
        table.row(vec![
            store.store.clone(),
            count(store.objects),
            bytes(store.bytes),
            count(store.backups),
            match store.incomplete {
                None => "complete".to_owned(),
                Some(_) => "not complete".to_owned(),
            },
        ]);
    }
    let mut text = table.render();
    for store in &replicated.stores {
        if let Some(why) = &store.incomplete {
            text.push_str(&format!("store {} is not complete: {why}\n", store.store));
        }
    }
    for refused in &replicated.refused {
        let Problem { what, why } = refused;
        text.push_str(&format!("backup {what} was copied nowhere: {why}\n"));
    }
    if replicated.is_complete() {
        let backups = count(replicated.backups);
        text.push_str(&format!("every store has all {backups} backups\n"));
    }
    text
}

/// What verify found in all stores: a line for each bad object.
pub(super) fn scrubbed(level: Level, found: &Scrubbed) -> String {
    let mut text = looked(&found.stores);
    for bad in &found.bad {
        text.push_str(&format!(
            "store {}: {} {}\n",
            bad.store, bad.object, bad.what
        ));
    }
    text.push_str(&more(found.more));
    text.push_str(&hits(&found.hit));
    let backups = count(found.backups);
    if found.is_good() {
        text.push_str(&format!(
            "nothing is wrong, as far as level {level} sees; {backups} backups\n"
        ));
    } else if !found.bad.is_empty() {
        let bad = count(found.bad.len() as u64 + found.more);
        text.push_str(&format!(
            "{bad} objects are bad; run lifeboat repair --read\n"
        ));
    }
    text
}

/// What repair did: a line for each object.
pub fn repaired(repaired: &Repaired) -> String {
    let mut text = looked(&repaired.stores);
    for mended in &repaired.mended {
        let Mended {
            store,
            object,
            what,
            from,
        } = mended;
        text.push_str(&format!(
            "store {store}: {object} {what}; restored from {from}\n"
        ));
    }
    for bad in &repaired.lost {
        text.push_str(&format!(
            "store {}: {} {}\n",
            bad.store, bad.object, bad.what
        ));
    }
    text.push_str(&more(repaired.more));
    text.push_str(&hits(&repaired.hit));
    let mended = count(repaired.mended_objects);
    let lost = count(repaired.lost.len() as u64 + repaired.more);
    text.push_str(&format!("{mended} objects restored, {lost} cannot be\n"));
    if !repaired.lost.is_empty() {
        text.push_str(
            "no store that answered has a good copy of the rest: bring back one that has, or take one backup with new_chain_every: 1h, so that \
             later ones do not build upon it\n",
        );
    }
    text
}

fn looked(stores: &[Looked]) -> String {
    let mut table = Table::new(&[
        ("store", Side::Left),
        ("objects", Side::Right),
        ("read", Side::Right),
    ]);
    for store in stores {
        table.row(vec![
            store.store.clone(),
            count(store.objects),
            bytes(store.bytes),
        ]);
    }
    let mut text = table.render();
    for store in stores {
        if let Some(why) = &store.left_out {
            text.push_str(&format!("store {} was left out: {why}\n", store.store));
        }
    }
    text
}

fn more(number: u64) -> String {
    match number {
        0 => String::new(),
        number => format!("and {} more\n", count(number)),
    }
}

fn hits(hits: &[Hit]) -> String {
    let mut text = String::new();
    for (certain, says) in [
        (true, "needs one of them"),
        (false, "may need one of them: they are of its chain"),
    ] {
        for hit in hits.iter().filter(|hit| hit.certain == certain) {
            text.push_str(&format!("backup {} {says}\n", hit.backup));
        }
    }
    text
}
