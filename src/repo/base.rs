//! Which chain a run writes to: the base's, or a new one and why; and what of the base each
//! artifact continues. docs/design.md, *Continuing*.

pub mod artifacts;
pub mod pages;
mod sample;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use self::artifacts::Artifacts;
use self::sample::Sample;
use super::bridge::Bridge;
use super::catalogue::{Believed, Catalogue, Listed, Listing};
use super::chain::Chain;
use super::fetcher::Fetcher;
use super::format::{KEYS_LIMIT, Manifest, Outcome};
use super::id::{BackupId, ComponentName};
use super::sign::{Signers, WorkerIdentity};
use super::{Error, Settings};
use crate::artifact::Digest;
use crate::clock;
use crate::shutdown::Stopped;
use crate::store::copies::{Copies, StoreSet};

/// Manifests read at most in search of a base: more than a month of one put per component
/// and night.
const MOST_CANDIDATES: usize = 100;
/// Dropped manifests read at most in search of what failed runs left: they are of a few days, and
/// few of those were dropped so young.
const MOST_LEFT: usize = 20;
/// What failed runs left is no base for the last hour of half the grace: a sweep may have begun
/// before a run that would still build upon it commits, and clocks differ.
const LEFT_SLACK: std::time::Duration = std::time::Duration::from_secs(3600);

/// A base to continue.
#[derive(Debug)]
pub struct Base {
    /// The backup, or what a failed run left.
    pub id: BackupId,
    /// Whether it is what a failed run left.
    pub left: bool,
    /// Its chain, resumed.
    pub chain: Chain,
    /// The stores that have its manifest.
    pub stores: StoreSet,
    /// What each artifact continues.
    pub artifacts: Artifacts,
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

/// A manifest that may be continued.
#[derive(Debug, Clone)]
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
        let left = self.left(worker)?;
        let candidates = self.candidates(worker)?;
        let found = self
            .best(&candidates)
            .and_then(|best| self.continue_from(worker, best, &left));
        let why = match found {
            Err(NoBase::Because(why)) => why,
            other => return other,
        };
        // A run that began a chain and failed: that chain is as good as none before it.
        for candidate in left.iter().filter(|one| one.holds > 0) {
            match self.continue_from(worker, candidate, &left) {
                Err(NoBase::Because(_)) => {}
                other => return other,
            }
        }
        Err(NoBase::Because(why))
    }

    fn best<'c>(&self, candidates: &'c [Candidate]) -> Result<&'c Candidate, NoBase> {
        let best = candidates
            .iter()
            .max_by(|a, b| {
                let rank = |c: &Candidate| (c.holds, c.everywhere, c.listed.id.clone());
                rank(a).cmp(&rank(b))
            })
            .ok_or_else(|| NoBase::Because(self.why_no_candidate()))?;
        match best.holds {
            0 => because("no earlier backup of this worker holds any of these components"),
            _ => Ok(best),
        }
    }

    fn continue_from(
        &self,
        worker: &WorkerIdentity,
        base: &Candidate,
        left: &[Candidate],
    ) -> Result<Base, NoBase> {
        let manifest = &base.manifest;
        self.check_age(manifest)?;
        self.check_key_files(base)?;
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
        let artifacts = self.artifacts(worker, base, left, &chain)?;
        Ok(Base {
            id: manifest.id.clone(),
            left: manifest.outcome == Outcome::Partial,
            chain,
            stores: base.listed.stores,
            artifacts,
        })
    }

    /// The artifacts of the base and, where a failed run left newer ones in the same stores, those.
    fn artifacts(
        &self,
        worker: &WorkerIdentity,
        base: &Candidate,
        left: &[Candidate],
        chain: &Chain,
    ) -> Result<Artifacts, NoBase> {
        let sample = Sample {
            fetcher: Fetcher::new(
                Arc::clone(self.copies),
                self.bridge.clone(),
                self.settings.foundation.clone(),
            ),
            chain: chain.record.id.clone(),
            opener: chain.index.clone(),
            stores: base.listed.stores,
        };
        let older = (base.manifest.outcome == Outcome::Complete).then(|| {
            let others = self.listing.backups.iter().rev();
            let others = others.filter(|other| {
                other.id != base.listed.id && other.stores.contains_all(base.listed.stores)
            });
            others.take(MOST_CANDIDATES).cloned().collect()
        });
        let own = self.own(worker);
        let mut artifacts = Artifacts::new(sample, own, older.unwrap_or_default());
        artifacts.add(&base.manifest, self.asked)?;
        for other in left {
            let fits = other.manifest.chain == base.manifest.chain
                && other.listed.stores.contains_all(base.listed.stores)
                && other.listed.id != base.listed.id;
            if fits {
                match artifacts.add(&other.manifest, self.asked) {
                    // What cannot be used is no loss: it was to save time.
                    Ok(()) | Err(NoBase::Because(_)) => {}
                    Err(stopped) => return Err(stopped),
                }
            }
        }
        Ok(artifacts)
    }

    fn own(&self, worker: &WorkerIdentity) -> Catalogue {
        Catalogue::new(
            Arc::clone(self.copies),
            self.bridge.clone(),
            self.settings.foundation.clone(),
            Signers::default().and(Some(worker)),
        )
    }

    /// A manifest that enough stores hold.
    fn candidate(&self, listed: &Listed, manifest: Manifest) -> Option<Candidate> {
        let everywhere = listed.stores.contains_all(self.listing.answered);
        if listed.stores.len() < self.copies.min_copies() {
            return None;
        }
        let holds = self
            .asked
            .iter()
            .filter(|name| manifest.components.iter().any(|c| c.name == **name))
            .count();
        Some(Candidate {
            listed: listed.clone(),
            manifest,
            everywhere,
            holds,
        })
    }

    /// Backups that this worker signed and that enough stores hold, newest first.
    fn candidates(&self, worker: &WorkerIdentity) -> Result<Vec<Candidate>, Stopped> {
        let mut candidates = Vec::new();
        let each = |listed: &Listed, believed: Believed| {
            let Some(candidate) = self.candidate(listed, believed.signed.manifest) else {
                return ControlFlow::Continue(());
            };
            let all = candidate.holds == self.asked.len() && candidate.everywhere;
            candidates.push(candidate);
            match all {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        self.own(worker)
            .newest_first(self.listing, MOST_CANDIDATES, each, |_, _| {})?;
        Ok(candidates)
    }

    /// What failed runs of this worker left in enough stores, newest first: within half the grace,
    /// so that a run that builds upon it commits while it still counts.
    fn left(&self, worker: &WorkerIdentity) -> Result<Vec<Candidate>, Stopped> {
        let own = self.own(worker);
        let young = (self.settings.grace / 2).saturating_sub(LEFT_SLACK);
        let after = self.now.checked_sub(young).unwrap_or(self.now);
        let listing = match own.list_dropped(&BackupId::new(after, None, [0; 4])) {
            Ok(listing) => listing,
            Err(Error::Stopped(stopped)) => return Err(stopped),
            // It was to save time alone.
            Err(_no_store_answered) => return Ok(Vec::new()),
        };
        let mut left = Vec::new();
        for listed in listing.backups.iter().rev().take(MOST_LEFT) {
            match own.dropped(&listed.id) {
                Ok(Some(Believed { signed, .. }))
                    if signed.manifest.outcome == Outcome::Partial =>
                {
                    left.extend(self.candidate(listed, signed.manifest));
                }
                Err(Error::Stopped(stopped)) => return Err(stopped),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(left)
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
