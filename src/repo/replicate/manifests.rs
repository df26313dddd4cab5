//! Manifests, after everything that they name: to stores that have all of their chain.
//!
//! A manifest that any store has dropped is brought back nowhere. Nor is it taken out of
//! `backups/` here: that needs the right to delete, which replicate has no other use for, and
//! whoever can write one bucket must not empty the others through us. Prune drops it again.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::Error;
use super::super::catalogue::Believed;
use super::super::format::{MANIFEST_LIMIT, Outcome};
use super::super::holdings::Present;
use super::super::id::BackupId;
use super::super::transfer::put;
use super::Replication;
use crate::store::{Kind, ObjectName, WriteMode};

type Manifests = BTreeMap<BackupId, Present>;

impl Replication<'_> {
    pub(super) fn committed(
        &mut self,
        backups: &Manifests,
        dropped: &Manifests,
    ) -> Result<(), Error> {
        let mut written = Vec::new();
        for (id, present) in backups.iter().filter(|(id, _)| !dropped.contains_key(*id)) {
            let lacking = self.lacking(present);
            if lacking.is_empty() {
                continue;
            }
            let believed = match self.catalogue.manifest(id) {
                Ok(believed) => believed,
                Err(Error::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => {
                    self.done.refused.push((id.clone(), error.to_string()));
                    continue;
                }
            };
            let object = self.holdings.foundation.manifest(id);
            for place in lacking {
                if self.fits(id, &believed, place) && self.write(&object, &believed, place)? {
                    self.done.stores[place].backups += 1;
                    written.push((id.clone(), place));
                }
            }
        }
        self.undo(&written)
    }

    /// Manifests that prune took out, so that every store can say what became of a backup, and
    /// what failed runs left as bases.
    pub(super) fn dropped(&mut self, dropped: &Manifests) -> Result<(), Error> {
        for (id, present) in dropped {
            let lacking = self.lacking(present);
            if lacking.is_empty() {
                continue;
            }
            let believed = match self.catalogue.dropped(id) {
                Ok(Some(believed)) => believed,
                // Gone meanwhile.
                Ok(None) => continue,
                Err(Error::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => {
                    self.done.refused.push((id.clone(), error.to_string()));
                    continue;
                }
            };
            let partial = believed.signed.manifest.outcome == Outcome::Partial;
            let object = self.holdings.foundation.dropped(id);
            for place in lacking {
                if !partial || self.fits(id, &believed, place) {
                    self.write(&object, &believed, place)?;
                }
            }
        }
        Ok(())
    }

    fn lacking(&self, present: &Present) -> Vec<usize> {
        let asked = self.holdings.asked();
        (0..asked.len())
            .filter(|place| asked[*place] && !present[*place])
            .collect()
    }

    /// Whether a store has all that any store has of the manifest's chain; else says why not.
    fn fits(&mut self, id: &BackupId, believed: &Believed, place: usize) -> bool {
        let chain = &believed.signed.manifest.chain.id;
        let problem = match self.lacks.get(chain) {
            Some(lacks) => lacks[place].clone(),
            None => Some(format!("chain {chain} of backup {id} is in no store")),
        };
        match problem {
            None => self.holdings.left_out(place).is_none(),
            Some(problem) => {
                let incomplete = &mut self.done.stores[place].incomplete;
                incomplete.get_or_insert(problem);
                false
            }
        }
    }

    /// The bytes as a store has them: prune adds to a dropped manifest.
    fn write(&self, object: &ObjectName, believed: &Believed, place: usize) -> Result<bool, Error> {
        let id = &believed.signed.manifest.id;
        let check = |bytes: &Bytes| {
            let judged = self.catalogue.judge(id, object, bytes);
            judged.map(drop).map_err(|error| error.to_string())
        };
        let copies = &self.holdings.copies;
        let read = copies.get_first(object, MANIFEST_LIMIT, check);
        let bytes = match self.holdings.bridge.wait(read)? {
            Ok(bytes) => bytes,
            // Gone since it was listed.
            Err(error) if error.kind == Kind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let store = self.holdings.store(place);
        let end = self.holdings.end(&believed.signed.manifest.chain);
        let put = put(&*store, object, bytes, WriteMode::CreateNew, Some(end));
        match self.holdings.bridge.wait(put)? {
            Ok(()) => Ok(true),
            Err(error) if error.kind == Kind::AlreadyExists => Ok(false),
            Err(error) => {
                self.holdings.leave_out(place, &error.message);
                Ok(false)
            }
        }
    }

    /// Takes back what a prune has dropped while we wrote it.
    fn undo(&mut self, written: &[(BackupId, usize)]) -> Result<(), Error> {
        if written.is_empty() {
            return Ok(());
        }
        let dropped = self.holdings.dropped()?;
        for (id, place) in written.iter().filter(|(id, _)| dropped.contains_key(id)) {
            let object = self.holdings.foundation.manifest(id);
            let store = self.holdings.store(*place);
            match self.holdings.bridge.wait(store.delete(&object))? {
                Ok(()) => self.done.stores[*place].backups -= 1,
                Err(error) => self.monitor.warn(&format!(
                    "{error}; backup {id} was dropped while it was copied, the next prune drops it again"
                )),
            }
        }
        Ok(())
    }
}
