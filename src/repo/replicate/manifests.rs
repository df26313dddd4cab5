//! Manifests, after everything that they name: to stores that have all of their chain.
//!
//! A manifest that any store has dropped is brought back nowhere. Nor is it taken out of
//! `backups/` here: that needs the right to delete, which replicate has no other use for, and
//! whoever can write one bucket must not empty the others through us. Prune drops it again.
//!
//! What a store needs for a manifest is known from the listings of the stores that have it. Of one
//! that was left out meanwhile nobody knows all that it has.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::Error;
use super::super::catalogue::Believed;
use super::super::format::{MANIFEST_LIMIT, Outcome};
use super::super::holdings::{Kept, Present};
use super::super::id::BackupId;
use super::super::transfer::put;
use super::Replication;
use crate::store::{Kind, ObjectName, WriteMode};

type Manifests = BTreeMap<BackupId, Present>;
type Dropped = BTreeMap<BackupId, Kept>;

impl Replication<'_> {
    pub(super) fn committed(
        &mut self,
        backups: &Manifests,
        dropped: &Dropped,
    ) -> Result<(), Error> {
        let mut written = Vec::new();
        for (id, present) in backups.iter().filter(|(id, _)| !dropped.contains_key(*id)) {
            let lacking = self.lacking(present);
            if lacking.is_empty() || !self.has_source(id, present, &lacking) {
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
    /// what failed runs left as bases. Only within the grace: a copy has a new time, so it would
    /// begin another grace for what is swept already.
    pub(super) fn dropped(&mut self, dropped: &Dropped) -> Result<(), Error> {
        for (id, kept) in dropped {
            let lacking = self.lacking(&kept.present);
            if lacking.is_empty() || !self.holdings.in_grace(kept, self.clock.now()) {
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
            if partial && !self.has_source(id, &kept.present, &lacking) {
                continue;
            }
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
        let open = self.holdings.open();
        (0..open.len())
            .filter(|place| open[*place] && !present[*place])
            .collect()
    }

    /// Whether a store that has a manifest was listed to the end, so that all that it names was
    /// seen; else those that lack it are not complete.
    fn has_source(&mut self, id: &BackupId, present: &Present, lacking: &[usize]) -> bool {
        let asked = self.holdings.asked();
        if (0..asked.len()).any(|place| asked[place] && present[place]) {
            return true;
        }
        for place in lacking {
            let incomplete = &mut self.done.stores[*place].incomplete;
            incomplete.get_or_insert_with(|| {
                format!("backup {id} is only in stores that were left out on the way")
            });
        }
        false
    }

    /// Whether a store has all that any store has of the manifest's chain; else says why not.
    fn fits(&mut self, id: &BackupId, believed: &Believed, place: usize) -> bool {
        let chain = &believed.signed.manifest.chain.id;
        let problem = match self.lacks.get(chain) {
            Some(lacks) => lacks[place].clone(),
            None => Some(format!("chain {chain} of backup {id} is in no store")),
        };
        match problem {
            None => self.holdings.closed(place).is_none(),
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
        // What prune works with is not locked: it is to be removed.
        let end = (*object == self.holdings.foundation.manifest(id))
            .then(|| self.holdings.end(&believed.signed.manifest.chain));
        let put = put(&*store, object, bytes, WriteMode::CreateNew, end);
        match self.holdings.bridge.wait(put)? {
            Ok(()) => Ok(true),
            Err(error) if error.kind == Kind::AlreadyExists => Ok(false),
            Err(error) => {
                self.holdings.refused(place, &error);
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
