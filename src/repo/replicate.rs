//! Brings every store to the full set: sealed bytes from store to store, no keys, manifests last.
//! docs/design.md, *Replicate*.
//!
//! Manifests are listed before objects: what a listed manifest names was stored before it, so the
//! later listing of objects has all of it. Of a chain a store gets everything that any store has,
//! since without keys nobody knows what a manifest names.

mod beside;
mod manifests;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Error;
use super::catalogue::Catalogue;
use super::format::KEYS_LIMIT;
use super::holdings::{Holdings, Present, Row};
use super::id::{BackupId, ChainId};
use super::known::Known;
use super::objects::{Area, Shard};
use super::transfer::{Expect, Moved, Transfer};
use crate::artifact::Digest;
use crate::clock::Clock;
use crate::monitor::{Meter, Monitor};
use crate::store::{Kind, ObjectName};

/// What was done for one store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Brought {
    /// Its name.
    pub store: String,
    /// Objects that it got: chunks, pages, roots, key files, and what lies beside the backups.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Backups that it lists now and did not before.
    pub backups: u64,
    /// Why it does not have everything; part of a sentence.
    pub incomplete: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicated {
    /// In the configured order.
    pub stores: Vec<Brought>,
    /// Backups that a store lists and none has dropped.
    pub backups: u64,
    /// Manifests that are not to be believed and so were copied nowhere, and why.
    pub refused: Vec<(BackupId, String)>,
}

/// One run.
pub struct Replication<'a> {
    holdings: Holdings,
    catalogue: Arc<Catalogue>,
    clock: &'a dyn Clock,
    monitor: &'a dyn Monitor,
    done: Replicated,
    /// For each chain, why a store does not have all of it; by place, `None` when it has.
    lacks: BTreeMap<ChainId, Vec<Option<String>>>,
}

impl std::fmt::Debug for Replication<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replication").finish_non_exhaustive()
    }
}

impl<'a> Replication<'a> {
    /// Of these stores. Only manifests that the catalogue believes are copied.
    pub fn new(
        holdings: Holdings,
        catalogue: Catalogue,
        clock: &'a dyn Clock,
        monitor: &'a dyn Monitor,
    ) -> Self {
        let brought = |store: &str| Brought {
            store: store.to_owned(),
            ..Brought::default()
        };
        let stores = holdings.copies.names().map(brought).collect();
        Self {
            holdings,
            catalogue: Arc::new(catalogue),
            clock,
            monitor,
            done: Replicated {
                stores,
                ..Replicated::default()
            },
            lacks: BTreeMap::new(),
        }
    }

    /// Does it. What is there already is only listed, so a second run copies what the first did not.
    /// `begin` is called once it is known which stores answer: from there on waiting for one is
    /// cheaper than leaving it out.
    ///
    /// # Errors
    /// When no store answers, or a signal comes. A store that does not get everything is no
    /// error: it stands in the result.
    pub fn run(mut self, begin: impl FnOnce()) -> Result<Replicated, Error> {
        let backups = self.holdings.manifests()?;
        // After them: whatever was being dropped meanwhile is seen here.
        let dropped = self.holdings.dropped()?;
        self.holdings.check_any()?;
        begin();
        let kept = |id: &&BackupId| !dropped.contains_key(*id);
        self.done.backups = backups.keys().filter(kept).count() as u64;
        let committed = backups.keys().filter(kept);
        let mut known = Known::new(Arc::clone(&self.catalogue), committed, dropped.keys());
        self.recovery_files()?;
        for chain in self.holdings.chains()? {
            self.chain(&chain, &mut known)?;
        }
        self.committed(&backups, &dropped)?;
        self.dropped(&dropped)?;
        self.beside()?;
        for place in 0..self.done.stores.len() {
            if let Some(reason) = self.holdings.closed(place) {
                self.done.stores[place].incomplete = Some(reason);
            }
        }
        Ok(self.done)
    }

    /// Brings a chain's objects to every store, unless no backup names it: then it is a run's that
    /// is not committed yet, or prune's to remove.
    fn chain(&mut self, chain: &ChainId, known: &mut Known) -> Result<(), Error> {
        let number = self.holdings.number();
        self.lacks.insert(chain.clone(), vec![None; number]);
        let files = self.holdings.key_files(chain)?;
        for (file, present) in &files {
            if !self.key_file(chain, file, present, known)? {
                self.lacks.remove(chain);
                return Ok(());
            }
        }
        let meter = self.monitor.meter(&format!("replicate {chain}"), None);
        for area in Area::BOTH {
            let most = area.limit();
            for shard in Shard::all() {
                let rows = self.holdings.rows(chain, area, shard)?;
                let open = self.holdings.open();
                let mut transfers = Vec::new();
                for row in &rows {
                    let object = self.holdings.object(chain, area, &row.name);
                    if row.size() > most {
                        let problem = format!(
                            "{object} is larger than the {most} bytes that such an object may have"
                        );
                        self.damaged(chain, &problem, row.larger_than(most));
                    }
                    // Whoever writes one bucket may put anything there: what it lists is no measure
                    // of what fits into memory.
                    let size = row.size().min(most);
                    if !row.is_even() {
                        self.uneven(chain, &object, row, size)?;
                    }
                    let to = row.lacking(&open);
                    if !to.is_empty() {
                        transfers.push(Transfer {
                            object,
                            expect: Expect::Digest(row.name),
                            limit: size,
                            size,
                            from: row.places().collect(),
                            to,
                            chain_end: None,
                            earlier: false,
                        });
                    }
                }
                if !transfers.is_empty() {
                    let Some(manifest) = known.newest(chain)? else {
                        self.lacks.remove(chain);
                        return Ok(());
                    };
                    let end = self.holdings.end(&manifest.chain);
                    for transfer in &mut transfers {
                        transfer.chain_end = Some(end);
                    }
                }
                self.carry(chain, transfers, &meter)?;
            }
        }
        meter.finish();
        Ok(())
    }

    /// Stores disagree on the size of an object: which of them has it damaged its digest tells.
    fn uneven(
        &mut self,
        chain: &ChainId,
        object: &ObjectName,
        row: &Row,
        limit: u64,
    ) -> Result<(), Error> {
        let copies = self.holdings.bytes(object, limit)?;
        for (place, bytes) in copies.iter().enumerate() {
            if bytes
                .as_ref()
                .is_some_and(|bytes| Digest::of(bytes) != row.name)
            {
                let problem = format!("{object} was damaged: it has another digest");
                self.damaged(chain, &problem, std::iter::once(place));
            }
        }
        Ok(())
    }

    fn carry(
        &mut self,
        chain: &ChainId,
        transfers: Vec<Transfer>,
        meter: &Meter,
    ) -> Result<(), Error> {
        let mut results = Vec::new();
        self.holdings
            .transfer(transfers, Holdings::refused, |moved| {
                meter.add(moved.bytes * moved.written.len() as u64);
                results.push(moved);
            })?;
        for moved in results {
            self.count(&moved);
            self.note(chain, &moved);
        }
        Ok(())
    }

    fn count(&mut self, moved: &Moved) {
        for place in &moved.written {
            let brought = &mut self.done.stores[*place];
            brought.objects += 1;
            brought.bytes += moved.bytes;
        }
    }

    /// Remembers where an object of a chain is not, and where it is damaged. One that every store
    /// has lost meanwhile was swept: prune takes only what no manifest in any store names.
    fn note(&mut self, chain: &ChainId, moved: &Moved) {
        for (place, error) in &moved.unread {
            if matches!(error.kind, Kind::Other | Kind::TooLarge) {
                self.damaged(chain, &error.to_string(), std::iter::once(*place));
            }
        }
        if moved.vanished() {
            return;
        }
        for place in &moved.to {
            if let (Some(problem), Some(lacks)) = (moved.problem(*place), self.lacks.get_mut(chain))
            {
                lacks[*place].get_or_insert_with(|| problem.clone());
                let incomplete = &mut self.done.stores[*place].incomplete;
                incomplete.get_or_insert(problem);
            }
        }
    }

    /// A store that has an object which is not what its name says is not complete; repair mends it.
    fn damaged(&mut self, chain: &ChainId, problem: &str, places: impl Iterator<Item = usize>) {
        let problem = format!("{problem}; run lifeboat repair --read");
        for place in places {
            if let Some(lacks) = self.lacks.get_mut(chain) {
                lacks[place].get_or_insert_with(|| problem.clone());
            }
            let incomplete = &mut self.done.stores[place].incomplete;
            incomplete.get_or_insert_with(|| problem.clone());
        }
    }

    /// Compares a key file by its bytes and brings it where it is missing; `false` when no backup
    /// names its chain.
    fn key_file(
        &mut self,
        chain: &ChainId,
        file: &str,
        present: &Present,
        known: &mut Known,
    ) -> Result<bool, Error> {
        let object = self.holdings.foundation.chain_file(chain, file);
        let copies = self.holdings.bytes(&object, KEYS_LIMIT)?;
        let asked = self.holdings.asked();
        let whole = (0..asked.len()).filter(|place| asked[*place]);
        let mut digests = copies.iter().flatten().map(|bytes| Digest::of(bytes));
        let first = digests.next();
        if whole.clone().all(|place| copies[place].is_some())
            && digests.all(|digest| Some(digest) == first)
        {
            return Ok(true);
        }
        let Some(manifest) = known.newest(chain)? else {
            return Ok(false);
        };
        let end = self.holdings.end(&manifest.chain);
        let expected = match file {
            "recovery.age" => Some(manifest.chain.recovery),
            "worker.age" => manifest.chain.worker,
            // A later addition stands in no manifest.
            _ => first,
        };
        let Some(expected) = expected else {
            return Ok(true);
        };
        for place in whole.clone() {
            let bad = copies[place]
                .as_ref()
                .is_some_and(|bytes| Digest::of(bytes) != expected);
            if bad || (copies[place].is_none() && present[place]) {
                let problem = format!("{object} is not what the others or the manifests say");
                self.damaged(chain, &problem, std::iter::once(place));
            }
        }
        let transfer = Transfer {
            object,
            expect: Expect::Digest(expected),
            limit: KEYS_LIMIT,
            size: KEYS_LIMIT,
            from: (0..copies.len())
                .filter(|place| copies[*place].is_some())
                .collect(),
            to: whole.filter(|place| !present[*place]).collect(),
            chain_end: Some(end),
            earlier: false,
        };
        let meter = Meter::new("key files", None);
        self.carry(chain, vec![transfer], &meter)?;
        Ok(true)
    }
}
