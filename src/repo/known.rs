//! Which chains backups name: manifests are read when somebody asks, newest first, and no more
//! than that takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Error;
use super::catalogue::Catalogue;
use super::format::{Manifest, Outcome};
use super::id::{BackupId, ChainId};
use crate::shutdown::Stopped;

/// A manifest that may name a chain.
#[derive(Debug, Clone)]
enum Candidate {
    Committed(BackupId),
    /// Only what a failed run left as a base counts.
    Dropped(BackupId),
}

/// The chains that backups name.
#[derive(Debug)]
pub(super) struct Known {
    catalogue: Arc<Catalogue>,
    /// The newest last.
    unread: Vec<Candidate>,
    newest: BTreeMap<ChainId, Manifest>,
}

impl Known {
    /// Of these manifests, each set oldest first. Nothing is read yet.
    pub(super) fn new<'a>(
        catalogue: Arc<Catalogue>,
        committed: impl Iterator<Item = &'a BackupId>,
        dropped: impl Iterator<Item = &'a BackupId>,
    ) -> Self {
        // Committed backups answer nearly always: they are read first.
        let dropped = dropped.cloned().map(Candidate::Dropped);
        let committed = committed.cloned().map(Candidate::Committed);
        Self {
            catalogue,
            unread: dropped.chain(committed).collect(),
            newest: BTreeMap::new(),
        }
    }

    /// The newest believed manifest of a chain; `None` when no backup names it.
    pub(super) fn newest(&mut self, chain: &ChainId) -> Result<Option<&Manifest>, Stopped> {
        while !self.newest.contains_key(chain) {
            let Some(candidate) = self.unread.pop() else {
                return Ok(None);
            };
            let read = match &candidate {
                Candidate::Committed(id) => self.catalogue.manifest(id).map(Some),
                Candidate::Dropped(id) => self.catalogue.dropped(id).map(|dropped| {
                    dropped.filter(|found| found.signed.manifest.outcome == Outcome::Partial)
                }),
            };
            match read {
                Ok(Some(found)) => {
                    let manifest = found.signed.manifest;
                    self.newest
                        .entry(manifest.chain.id.clone())
                        .or_insert(manifest);
                }
                Err(Error::Stopped(stopped)) => return Err(stopped),
                // What is not to be believed names nothing.
                Ok(None) | Err(_) => {}
            }
        }
        Ok(self.newest.get(chain))
    }
}
