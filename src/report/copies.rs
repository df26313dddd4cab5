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
