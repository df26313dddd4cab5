//! What was found of the copies in the stores, and what was done for them: replicate, verify,
//! repair.

use serde::Serialize;

use super::Problem;
use super::text::{Side, Table};
use super::units::{bytes, count};

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

/// What a store got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Brought {
    /// Its name.
    pub store: String,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Backups that it lists now and did not before.
    pub backups: u64,
    /// Why it does not have everything.
    pub incomplete: Option<String>,
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

/// What verify found, without changing anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How closely it looked: `listed` or `scrub`.
    pub level: String,
    /// In the configured order.
    pub stores: Vec<Looked>,
    /// Backups whose manifests were read.
    pub backups: u64,
    /// Objects that are not as they should be, at most a thousand.
    pub bad: Vec<Bad>,
    /// How many more there are.
    pub more: u64,
    /// Backups that they reach or may reach.
    pub hit: Vec<Hit>,
}

/// What repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// In the configured order.
    pub stores: Vec<Looked>,
    /// Backups whose manifests were read.
    pub backups: u64,
    /// Objects that are whole again, at most a thousand.
    pub mended: Vec<Mended>,
    /// How many there are in all.
    pub mended_objects: u64,
    /// Objects that stay as they are, at most a thousand.
    pub lost: Vec<Bad>,
    /// How many more there are.
    pub more: u64,
    /// Backups that they reach or may reach.
    pub hit: Vec<Hit>,
}

/// What was looked at in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Its name.
    pub store: String,
    /// Objects.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Why it was not looked at to the end.
    pub left_out: Option<String>,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// In which store.
    pub store: String,
    /// Its name.
    pub object: String,
    /// What is wrong, and what was tried.
    pub what: String,
}

/// An object that is whole again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// In which store.
    pub store: String,
    /// Its name.
    pub object: String,
    /// What was wrong.
    pub what: String,
    /// Where its bytes are from.
    pub from: String,
}

/// A backup that damage reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// Its id.
    pub backup: String,
    /// Whether it is known to need what is damaged; else it shares a chain with it.
    pub certain: bool,
}

impl Verified {
    /// Whether nothing is wrong and every store was looked at.
    pub fn is_good(&self) -> bool {
        self.bad.is_empty() && self.stores.iter().all(|store| store.left_out.is_none())
    }
}

impl Repaired {
    /// Whether nothing is wrong any more and every store was looked at.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.stores.iter().all(|store| store.left_out.is_none())
    }
}

/// What verify found: a line for each bad object.
pub fn verified(verified: &Verified) -> String {
    let mut text = looked(&verified.stores);
    for bad in &verified.bad {
        text.push_str(&format!(
            "store {}: {} {}\n",
            bad.store, bad.object, bad.what
        ));
    }
    text.push_str(&more(verified.more));
    text.push_str(&hits(&verified.hit));
    let backups = count(verified.backups);
    if verified.is_good() {
        text.push_str(&format!(
            "nothing is wrong, as far as level {} sees; {backups} backups\n",
            verified.level
        ));
    } else if !verified.bad.is_empty() {
        let bad = count(verified.bad.len() as u64 + verified.more);
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
