//! What each artifact of a run continues: the same artifact of the base, of what a failed run left
//! since, or, where both lack it, of an older backup of the chain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::NoBase;
use super::pages::BasePages;
use super::sample::Sample;
use crate::repo::Error;
use crate::repo::catalogue::{Catalogue, Listed};
use crate::repo::format::{ArtifactRecord, ComponentRecord, Manifest, Outcome};
use crate::repo::id::{BackupId, ComponentName};
use crate::repo::index::Root;
use crate::repo::writer::ArtifactName;
use crate::shutdown::Stopped;

type Key = (ComponentName, String);

/// See the module.
#[derive(Debug)]
pub struct Artifacts {
    sample: Sample,
    own: Catalogue,
    roots: HashMap<Key, (BackupId, Arc<Root>)>,
    older: Mutex<Older>,
    on_left: bool,
}

/// Older backups of the chain: read when an artifact is not in the base.
#[derive(Debug, Default)]
struct Older {
    /// Not yet read, newest first.
    listed: std::collections::VecDeque<Listed>,
    records: HashMap<Key, (ComponentRecord, ArtifactRecord)>,
}

impl Artifacts {
    /// With no artifact yet; `older` are the backups to search in, newest first.
    pub(super) fn new(sample: Sample, own: Catalogue, older: Vec<Listed>) -> Self {
        Self {
            sample,
            own,
            roots: HashMap::new(),
            older: Mutex::new(Older {
                listed: older.into(),
                records: HashMap::new(),
            }),
            on_left: false,
        }
    }

    /// Whether any is of what a failed run left, which counts for less long than a backup that is listed.
    pub fn on_left(&self) -> bool {
        self.on_left
    }

    /// Reads the roots of the asked components of a manifest, and looks whether a sample of what
    /// they name is there. A newer manifest's artifacts take the place of an older one's.
    pub(super) fn add(
        &mut self,
        manifest: &Manifest,
        asked: &[ComponentName],
    ) -> Result<(), NoBase> {
        let is_newer = |component: &ComponentName, artifact: &ArtifactRecord| {
            let key = (component.clone(), artifact.name.clone());
            self.roots.get(&key).is_none_or(|(id, _)| *id < manifest.id)
        };
        let of: Vec<(&ComponentRecord, &ArtifactRecord)> = manifest
            .components
            .iter()
            .filter(|component| asked.contains(&component.name))
            .flat_map(|component| component.artifacts.iter().map(move |one| (component, one)))
            .filter(|(component, artifact)| is_newer(&component.name, artifact))
            .collect();
        let roots = self.sample.roots(&of)?;
        let names: Vec<_> = of.iter().map(|(_, artifact)| artifact.root).collect();
        self.sample.check(&names, &roots)?;
        let keys = of
            .iter()
            .map(|(component, artifact)| (component.name.clone(), artifact.name.clone()));
        let roots = roots
            .into_iter()
            .map(|root| (manifest.id.clone(), Arc::new(root)));
        self.on_left |= manifest.outcome == Outcome::Partial && !of.is_empty();
        self.roots.extend(keys.zip(roots));
        Ok(())
    }

    /// What an artifact continues; `None`: it is new to the chain, or what there is cannot be used.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn of(&self, name: &ArtifactName) -> Result<Option<BasePages>, Stopped> {
        let key = (name.component.clone(), name.name.clone());
        let root = match self.roots.get(&key) {
            Some((_, root)) => Some(Arc::clone(root)),
            None => self.older(&key)?.map(Arc::new),
        };
        // Two jobs may come to one file name; content is taken over from the same job alone.
        let root = root.filter(|root| root.head.form == name.form && root.head.bbr == name.bbr);
        let Sample {
            fetcher,
            chain,
            opener,
            ..
        } = self.sample.clone();
        Ok(root.map(|root| BasePages::new(fetcher, chain, opener, root)))
    }

    fn older(&self, key: &Key) -> Result<Option<Root>, Stopped> {
        let found = {
            let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
            older.find(key, &self.own, &self.sample)?
        };
        let Some((component, artifact)) = found else {
            return Ok(None);
        };
        let read = self.sample.roots(&[(&component, &artifact)]);
        let checked = read.and_then(|roots| {
            self.sample.check(&[artifact.root], &roots)?;
            Ok(roots.into_iter().next())
        });
        match checked {
            Ok(root) => Ok(root),
            Err(NoBase::Stopped(stopped)) => Err(stopped),
            // It is drained in full, as if nobody had ever had it.
            Err(NoBase::Because(_)) => Ok(None),
        }
    }
}

impl Older {
    fn find(
        &mut self,
        key: &Key,
        own: &Catalogue,
        sample: &Sample,
    ) -> Result<Option<(ComponentRecord, ArtifactRecord)>, Stopped> {
        loop {
            if let Some(found) = self.records.get(key) {
                return Ok(Some(found.clone()));
            }
            let Some(listed) = self.listed.pop_front() else {
                return Ok(None);
            };
            let manifest = match own.manifest(&listed.id) {
                Ok(believed) => believed.signed.manifest,
                Err(Error::Stopped(stopped)) => return Err(stopped),
                Err(_not_ours) => continue,
            };
            if manifest.chain.id != sample.chain {
                continue;
            }
            for mut component in manifest.components {
                let artifacts = std::mem::take(&mut component.artifacts);
                for artifact in artifacts {
                    let key = (component.name.clone(), artifact.name.clone());
                    self.records
                        .entry(key)
                        .or_insert_with(|| (component.clone(), artifact));
                }
            }
        }
    }
}
