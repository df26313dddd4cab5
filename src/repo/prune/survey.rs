//! Everything that decides, read in the one order in which nothing can slip through: committed
//! manifests first, then those under `dropped/`. A drop goes the other way, so that whatever it
//! moves meanwhile is seen in at least one place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::SystemTime;

use super::super::Error;
use super::super::catalogue::{Believed, Catalogue};
use super::super::format::Manifest;
use super::super::id::{BackupId, ChainId};
use super::super::objects::Named;
use super::super::retention::Candidate;
use super::Prune;
use crate::artifact::Digest;
use crate::clock;
use crate::store::Kind;
use crate::store::copies::{CLOCK_TOLERANCE, StoreSet};

/// What there is.
#[derive(Debug, Clone)]
pub struct Survey {
    /// By our clock, before anything was asked.
    pub at: SystemTime,
    /// Committed backups that could be read, oldest first.
    pub backups: Vec<Committed>,
    /// What lies under `dropped/`.
    pub dropped: Vec<Dropped>,
    /// Why each held backup is.
    pub holds: BTreeMap<BackupId, Vec<String>>,
    /// A manifest of each chain that is named, for its keys.
    pub chains: BTreeMap<ChainId, Manifest>,
    /// Ids of all that is listed under `backups/`, readable or not.
    pub listed: BTreeSet<BackupId>,
    /// Why nothing may be deleted.
    pub blockers: Vec<String>,
}

/// A committed backup, as little of it as is needed.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Which.
    pub id: BackupId,
    /// The stores that list it.
    pub stores: StoreSet,
    /// What it holds, as it can be asked for.
    pub components: BTreeSet<String>,
    /// Its chain.
    pub chain: ChainId,
    /// Its roots.
    pub roots: Vec<Digest>,
}

/// A manifest under `dropped/`: a backup that was dropped, or what a failed run left.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// Which.
    pub id: BackupId,
    /// When it was written last, in any store, by that store's clock.
    pub when: SystemTime,
    /// What it names, while its grace lasts.
    pub named: Option<(ChainId, Vec<Digest>)>,
}

impl Survey {
    /// The committed backups as retention sees them.
    pub fn candidates(&self, min_copies: usize) -> Vec<Candidate> {
        let each = self.backups.iter().map(|backup| Candidate {
            id: backup.id.clone(),
            components: backup.components.clone(),
            // What no known signer vouches for is a blocker, and is not among them.
            believed: true,
            copies: backup.stores.len() >= min_copies,
            holds: self.holds.get(&backup.id).cloned().unwrap_or_default(),
        });
        each.collect()
    }
}

/// Looks at everything that decides.
pub(super) fn survey(prune: &Prune) -> Result<Survey, Error> {
    let catalogue = Catalogue::new(
        prune.copies.clone(),
        prune.bridge.clone(),
        prune.foundation.clone(),
        prune.signers.clone(),
    );
    let mut survey = Survey {
        at: prune.clock.now(),
        backups: Vec::new(),
        dropped: Vec::new(),
        holds: BTreeMap::new(),
        chains: BTreeMap::new(),
        listed: BTreeSet::new(),
        blockers: Vec::new(),
    };
    let listing = catalogue.list(None)?;
    let silent = listing.silent.iter();
    survey.blockers = silent
        .map(|error| format!("{error}; prune waits until every store answers"))
        .collect();
    survey.listed = listing.backups.iter().map(|b| b.id.clone()).collect();
    let mut stores = listing.backups.iter().map(|listed| listed.stores);
    let ids = listing.backups.iter().map(|listed| &listed.id);
    catalogue.manifests(ids, |id, read| {
        let stores = stores.next().unwrap_or_default();
        match read {
            Ok(believed) => survey.commit(stores, believed),
            // Another prune has dropped it meanwhile: it is under `dropped/`, which is read next.
            Err(Error::Store(error)) if error.kind == Kind::NotFound => {}
            Err(error) => survey.blockers.push(unreadable("backup", id, &error)),
        }
        ControlFlow::Continue(())
    })?;
    let latest = survey.at + CLOCK_TOLERANCE;
    if let Some(id) = survey.listed.last().filter(|id| id.time() > latest) {
        survey.blockers.push(format!(
            "backup {id} is later than this clock ({}): one of the two is wrong",
            clock::rfc3339(survey.at)
        ));
    }
    dropped(prune, &catalogue, &mut survey)?;
    let held = prune.holds().all()?;
    survey.holds = held.why;
    let silent = held.silent.iter().map(ToString::to_string);
    survey.blockers.extend(silent);
    Ok(survey)
}

fn unreadable(what: &str, id: &BackupId, error: &Error) -> String {
    format!(
        "{what} {id} cannot be read or is vouched for by nobody, so what it needs is unknown ({error})"
    )
}

fn dropped(prune: &Prune, catalogue: &Catalogue, survey: &mut Survey) -> Result<(), Error> {
    let prefix = prune.foundation.dropped_prefix();
    let mut when: BTreeMap<BackupId, SystemTime> = BTreeMap::new();
    for (_, listed) in prune.bridge.wait(prune.copies.list_each(&prefix))? {
        match listed {
            Err(error) => survey.blockers.push(error.to_string()),
            Ok(listed) => {
                for object in listed {
                    if let Some(Named::Dropped(id)) = Named::parse(&prune.foundation, &object.name)
                    {
                        let latest = when.entry(id).or_insert(object.modified);
                        *latest = (*latest).max(object.modified);
                    }
                }
            }
        }
    }
    for (id, when) in when {
        let mut named = None;
        if !prune.is_over(when, survey.at) {
            match catalogue.dropped(&id) {
                Ok(Some(believed)) => named = Some(survey.name(believed.signed.manifest)),
                // Gone since it was listed: nobody takes away what is within its grace.
                Ok(None) => {}
                Err(Error::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => {
                    let blocker = unreadable("dropped backup", &id, &error);
                    survey.blockers.push(blocker);
                }
            }
        }
        survey.dropped.push(Dropped { id, when, named });
    }
    Ok(())
}

impl Survey {
    fn commit(&mut self, stores: StoreSet, believed: Believed) {
        let manifest = believed.signed.manifest;
        let components = manifest.components.iter();
        let components = components
            .map(|component| match component.name.as_str().split_once('/') {
                Some(("service-instances", _)) => "service-instances".to_owned(),
                _ => component.name.to_string(),
            })
            .collect();
        let id = manifest.id.clone();
        let (chain, roots) = self.name(manifest);
        self.backups.push(Committed {
            id,
            stores,
            components,
            chain,
            roots,
        });
    }

    /// What a manifest names; one manifest of each chain is kept for its keys, the newest.
    fn name(&mut self, manifest: Manifest) -> (ChainId, Vec<Digest>) {
        let chain = manifest.chain.id.clone();
        let artifacts = manifest.components.iter().flat_map(|c| &c.artifacts);
        let roots = artifacts.map(|artifact| artifact.root).collect();
        match self.chains.get(&chain) {
            Some(known) if known.id > manifest.id => {}
            _ => drop(self.chains.insert(chain.clone(), manifest)),
        }
        (chain, roots)
    }
}
