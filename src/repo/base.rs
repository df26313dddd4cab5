//! Which chain a run writes to: the base's, or a new one and why. docs/design.md, *Continuing*.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use super::bridge::Bridge;
use super::catalogue::{Believed, Catalogue, Listed, Listing};
use super::chain::Chain;
use super::format::{ChunkRecord, KEYS_LIMIT, Manifest, Outcome, PAGE_LIMIT};
use super::id::{BackupId, ComponentName};
use super::index::chunk_table;
use super::reader::Fetcher;
use super::sign::{Signers, WorkerIdentity};
use super::{Error, Settings};
use crate::artifact::Digest;
use crate::clock;
use crate::shutdown::Stopped;
use crate::store::ObjectName;
use crate::store::copies::{Copies, StoreSet};

/// Manifests read at most in search of a base: more than a month of one put per component
/// and night.
const MOST_CANDIDATES: usize = 100;
/// Chunks, and as many roots and pages, of the base looked for in each store before it is built
/// upon. A bucket whose
/// expiry rule took a twentieth of the chunks is noticed with a chance of 81 %, one that
/// lost a fifth with 99.9 %.
const SAMPLE: usize = 32;

/// A base to continue.
#[derive(Debug)]
pub struct Base {
    /// The backup.
    pub id: BackupId,
    /// Its chain, resumed.
    pub chain: Chain,
    /// The stores that have its manifest.
    pub stores: StoreSet,
    /// The chunks that it and, for components that it lacks, older backups of its chain name.
    pub chunks: Vec<ChunkRecord>,
}

/// What the search needs.
#[derive(Debug)]
pub struct Search<'a> {
    /// The repository's settings.
    pub settings: &'a Settings,
    /// The stores.
    pub copies: &'a Arc<Copies>,
    /// Waits.
    pub bridge: &'a Bridge,
    /// What the stores list.
    pub listing: &'a Listing,
    /// The components to be backed up.
    pub asked: &'a [ComponentName],
    /// Now.
    pub now: SystemTime,
}

struct Candidate {
    listed: Listed,
    manifest: Manifest,
    everywhere: bool,
    holds: usize,
}

impl Search<'_> {
    /// Finds the base, or says in a sentence why there is none.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn run(&self) -> Result<Result<Base, String>, Stopped> {
        match self.find() {
            Ok(base) => Ok(Ok(base)),
            Err(NoBase::Because(reason)) => Ok(Err(reason)),
            Err(NoBase::Stopped(stopped)) => Err(stopped),
        }
    }

    fn find(&self) -> Result<Base, NoBase> {
        let Some(worker) = &self.settings.worker else {
            return because("there is no worker identity");
        };
        let candidates = self.candidates(worker)?;
        let best = candidates
            .iter()
            .max_by(|a, b| {
                let rank = |c: &Candidate| (c.holds, c.everywhere, c.listed.id.clone());
                rank(a).cmp(&rank(b))
            })
            .ok_or_else(|| NoBase::Because(self.why_no_candidate()))?;
        if best.holds == 0 {
            return because("no earlier backup of this worker holds any of these components");
        }
        let manifest = &best.manifest;
        self.check_age(manifest)?;
        self.check_key_files(best)?;
        let object = self
            .settings
            .foundation
            .chain_file(&manifest.chain.id, "worker.age");
        let worker_age = self
            .bridge
            .wait(
                self.copies
                    .get_first(&object, KEYS_LIMIT, |_: &bytes::Bytes| Ok(())),
            )?
            .map_err(|error| NoBase::Because(error.to_string()))?;
        let chain = Chain::resume(
            self.settings,
            worker,
            &manifest.chain,
            &manifest.recovery_age,
            &worker_age,
        )
        .map_err(NoBase::Because)?;
        let (pages, chunks) = self.index(best, &candidates, &chain)?;
        let foundation = &self.settings.foundation;
        self.check_sample(best, &pages, |page| {
            foundation.index(&chain.record.id, page)
        })?;
        self.check_sample(best, &chunks, |chunk| {
            foundation.data(&chain.record.id, &chunk.0)
        })?;
        Ok(Base {
            id: manifest.id.clone(),
            chain,
            stores: best.listed.stores,
            chunks,
        })
    }

    /// Backups that this worker signed and that enough stores hold, newest first.
    fn candidates(&self, worker: &WorkerIdentity) -> Result<Vec<Candidate>, Stopped> {
        let own = Catalogue::new(
            Arc::clone(self.copies),
            self.bridge.clone(),
            self.settings.foundation.clone(),
            Signers::default().and(Some(worker)),
        );
        let mut candidates = Vec::new();
        let each = |listed: &Listed, believed: Believed| {
            let manifest = believed.signed.manifest;
            let everywhere = listed.stores.contains_all(self.listing.answered);
            if manifest.outcome != Outcome::Complete
                || !(everywhere || listed.stores.len() >= self.copies.min_copies())
                || listed.stores.len() < self.copies.min_copies()
            {
                return ControlFlow::Continue(());
            }
            let holds = self
                .asked
                .iter()
                .filter(|name| manifest.components.iter().any(|c| c.name == **name))
                .count();
            candidates.push(Candidate {
                listed: listed.clone(),
                manifest,
                everywhere,
                holds,
            });
            if holds == self.asked.len() && everywhere {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        own.newest_first(self.listing, MOST_CANDIDATES, each, |_, _| {})?;
        Ok(candidates)
    }

    fn why_no_candidate(&self) -> String {
        if self.listing.backups.is_empty() {
            "it is the first backup of this foundation".into()
        } else {
            format!(
                "no earlier backup signed by this worker is in at least {} of the stores that answer",
                self.copies.min_copies()
            )
        }
    }

    fn check_age(&self, manifest: &Manifest) -> Result<(), NoBase> {
        let every = self.settings.new_chain_every;
        let age = clock::parse_rfc3339(&manifest.chain.started)
            .and_then(|started| self.now.duration_since(started).ok());
        match age {
            Some(age) if age <= every => Ok(()),
            _ => Err(NoBase::Because(format!(
                "the chain began at {}, longer ago than new_chain_every ({} days)",
                manifest.chain.started,
                every.as_secs() / 86_400
            ))),
        }
    }

    /// `worker.age` and `recovery.age` must be, in each store of the base, what its signed
    /// manifest says: otherwise somebody may want us to encrypt to his key.
    fn check_key_files(&self, base: &Candidate) -> Result<(), NoBase> {
        let chain = &base.manifest.chain;
        for (file, digest) in [
            ("recovery.age", Some(chain.recovery)),
            ("worker.age", chain.worker),
        ] {
            let object = self.settings.foundation.chain_file(&chain.id, file);
            let copies = self
                .bridge
                .wait(self.copies.get_each(&object, KEYS_LIMIT))?;
            for (place, (store, bytes)) in copies.into_iter().enumerate() {
                if !base.listed.stores.contains(place) {
                    continue;
                }
                match bytes {
                    Ok(bytes) if Some(Digest::of(&bytes)) == digest => {}
                    Ok(_) => {
                        return Err(NoBase::Because(format!(
                            "{file} in store {store} is not the one that the base's manifest names"
                        )));
                    }
                    Err(error) => return Err(NoBase::Because(error.to_string())),
                }
            }
        }
        Ok(())
    }

    /// The roots and pages of what is continued, and the chunks they name.
    fn index(
        &self,
        base: &Candidate,
        all: &[Candidate],
        chain: &Chain,
    ) -> Result<(Vec<Digest>, Vec<ChunkRecord>), NoBase> {
        let fetcher = Fetcher::new(
            Arc::clone(self.copies),
            self.bridge.clone(),
            self.settings.foundation.clone(),
        );
        let (mut pages, mut chunks) = (Vec::new(), Vec::new());
        for asked in self.asked {
            // The base first, then older backups of its chain that the same stores hold.
            let holder = std::iter::once(base)
                .chain(all.iter().filter(|other| {
                    other.manifest.chain.id == base.manifest.chain.id
                        && other.listed.stores.contains_all(base.listed.stores)
                }))
                .find_map(|candidate| {
                    candidate
                        .manifest
                        .components
                        .iter()
                        .find(|c| c.name == *asked)
                });
            let Some(component) = holder else { continue };
            for artifact in &component.artifacts {
                let root = fetcher
                    .root(&base.manifest.chain.id, component, artifact, &chain.index)
                    .map_err(NoBase::from)?;
                pages.push(artifact.root);
                pages.extend(root.others.iter().map(|record| record.page));
                for record in &root.files {
                    pages.push(record.page);
                    let plain = fetcher
                        .index(
                            &base.manifest.chain.id,
                            &record.page,
                            &chain.index,
                            PAGE_LIMIT,
                        )
                        .map_err(NoBase::from)?;
                    chunks.extend(chunk_table("a page of the base", &plain).map_err(NoBase::from)?);
                }
            }
        }
        Ok((pages, chunks))
    }

    /// Looks for a random sample of objects in each store of the base.
    fn check_sample<T>(
        &self,
        base: &Candidate,
        all: &[T],
        name: impl Fn(&T) -> ObjectName,
    ) -> Result<(), NoBase> {
        if all.is_empty() {
            return Ok(());
        }
        let mut random = [0; SAMPLE * 8];
        getrandom::fill(&mut random)
            .map_err(|error| NoBase::Because(format!("no random bytes: {error}")))?;
        let mut sampled = BTreeSet::new();
        for eight in random.chunks_exact(8) {
            let number = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
            let at = usize::try_from(number % all.len() as u64).expect("below a length");
            // Small sets are drawn from often.
            if sampled.insert(at) {
                self.check_there(base, &name(&all[at]))?;
            }
        }
        Ok(())
    }

    fn check_there(&self, base: &Candidate, object: &ObjectName) -> Result<(), NoBase> {
        let heads = self.bridge.wait(self.copies.head_each(object))?;
        for (place, (store, head)) in heads.into_iter().enumerate() {
            if !base.listed.stores.contains(place) {
                continue;
            }
            match head {
                Ok(Some(listed)) if listed.size > 0 => {}
                Ok(_) => {
                    return Err(NoBase::Because(format!(
                        "store {store} has lost {object} of the base (does the bucket have an expiry rule?)"
                    )));
                }
                Err(error) => return Err(NoBase::Because(error.to_string())),
            }
        }
        Ok(())
    }
}

enum NoBase {
    Because(String),
    Stopped(Stopped),
}

fn because<T>(reason: &str) -> Result<T, NoBase> {
    Err(NoBase::Because(reason.to_owned()))
}

impl From<Stopped> for NoBase {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl From<Error> for NoBase {
    fn from(error: Error) -> Self {
        match error {
            Error::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Because(format!("the base cannot be read: {other}")),
        }
    }
}
