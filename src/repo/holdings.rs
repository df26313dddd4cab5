//! What lies where, store by store, for what compares and mends copies: replicate, scrub and
//! repair. docs/design.md, *Stores and copies*.
//!
//! A store that does not answer once is left out of the rest: the others go on. One that only
//! refuses what is put may still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Error;
use super::bridge::Bridge;
use super::format::ChainRecord;
use super::id::{BackupId, ChainId, Foundation};
use super::objects::{Area, Each, Named, Objects, Shard};
use crate::artifact::Digest;
use crate::shutdown::Stopped;
use crate::store::copies::{Copies, Standing};
use crate::store::{self, Kind, ObjectName, Store};

/// A root, page or chunk and where it is.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: Digest,
    /// Its size in each store that has it, by place.
    pub(super) sizes: Vec<Option<u64>>,
    /// When the first store got it.
    pub(super) since: SystemTime,
}

impl Row {
    /// The stores that have it.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        places(&self.sizes, Option::is_some)
    }

    /// Those that do not, of those asked.
    pub(super) fn lacking(&self, asked: &[bool]) -> Vec<usize> {
        places(&self.sizes, Option::is_none)
            .filter(|place| asked[*place])
            .collect()
    }

    /// The largest size that a store states.
    pub(super) fn size(&self) -> u64 {
        self.sizes.iter().flatten().copied().max().unwrap_or(0)
    }

    /// The stores that state more bytes than these.
    pub(super) fn larger_than(&self, most: u64) -> impl Iterator<Item = usize> {
        places(&self.sizes, move |size| {
            size.is_some_and(|size| size > most)
        })
    }

    /// Whether all stores state one size.
    pub(super) fn is_even(&self) -> bool {
        let mut sizes = self.sizes.iter().flatten();
        let first = sizes.next();
        sizes.all(|size| Some(size) == first)
    }
}

fn places<T>(of: &[T], wanted: impl Fn(&T) -> bool) -> impl Iterator<Item = usize> {
    of.iter()
        .enumerate()
        .filter(move |(_, item)| wanted(item))
        .map(|(place, _)| place)
}

/// A name and which stores have it, by place.
pub(super) type Present = Vec<bool>;

/// The same with a time.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) present: Present,
    /// When the last store got it.
    pub(super) newest: SystemTime,
}

/// The stores of one run, and what they list.
#[derive(Debug, Clone)]
pub struct Holdings {
    pub(super) copies: Arc<Copies>,
    pub(super) bridge: Bridge,
    pub(super) foundation: Foundation,
    objects: Objects,
    /// How long after its start a chain ends.
    pub(super) new_chain_every: Duration,
    /// How long prune spares what a dropped manifest names.
    grace: Duration,
}

impl Holdings {
    /// Of these stores; nothing is asked yet.
    pub fn new(
        copies: Arc<Copies>,
        bridge: Bridge,
        foundation: Foundation,
        new_chain_every: Duration,
        grace: Duration,
    ) -> Self {
        let objects = Objects::new(Arc::clone(&copies), bridge.clone(), foundation.clone());
        Self {
            copies,
            bridge,
            foundation,
            objects,
            new_chain_every,
            grace,
        }
    }

    /// The end of a manifest's chain.
    pub(super) fn end(&self, chain: &ChainRecord) -> SystemTime {
        chain.end(self.new_chain_every)
    }

    /// Whether a dropped manifest decides anything still. Prune counts the grace from its newest
    /// copy, and sweeps an hour after the end: within that hour nobody writes one anew.
    pub(super) fn in_grace(&self, dropped: &Kept, now: SystemTime) -> bool {
        let age = now.duration_since(dropped.newest);
        let is_over = age.is_ok_and(|age| age >= self.grace);
        !is_over
    }

    /// How many stores there are.
    pub(super) fn number(&self) -> usize {
        self.copies.stores().count()
    }

    /// Which stores are still asked, by place.
    pub(super) fn asked(&self) -> Vec<bool> {
        let standings = self.copies.standings().into_iter();
        standings
            .map(|(_, standing)| !matches!(standing, Standing::GivenUp(_)))
            .collect()
    }

    /// Which stores still get something, by place.
    pub(super) fn open(&self) -> Vec<bool> {
        let standings = self.copies.standings().into_iter();
        standings
            .map(|(_, standing)| standing.closed().is_none())
            .collect()
    }

    /// # Errors
    /// When no store is left, with the reason of each.
    pub(super) fn check_any(&self) -> Result<(), Error> {
        if self.asked().contains(&true) {
            return Ok(());
        }
        let reasons: Vec<String> = (0..self.number())
            .filter_map(|place| {
                Some(format!(
                    "{}: {}",
                    self.store_name(place),
                    self.closed(place)?
                ))
            })
            .collect();
        Err(Error::Other(format!(
            "no store answers ({}); nothing was done",
            reasons.join("; ")
        )))
    }

    /// Why a store gets nothing more: it is left out, or only read.
    pub(super) fn closed(&self, place: usize) -> Option<String> {
        let (_, standing) = self.copies.standings().into_iter().nth(place)?;
        standing.closed().map(str::to_owned)
    }

    pub(super) fn store(&self, place: usize) -> Arc<dyn Store> {
        let mut stores = self.copies.stores();
        Arc::clone(stores.nth(place).expect("a place is that of a store"))
    }

    pub(super) fn store_name(&self, place: usize) -> String {
        self.store(place).name().to_owned()
    }

    pub(super) fn object(&self, chain: &ChainId, area: Area, name: &Digest) -> ObjectName {
        self.objects.name(chain, area, name)
    }

    /// Leaves a store out of the rest.
    pub(super) fn leave_out(&self, place: usize, reason: &str) {
        self.copies.leave_out(&self.store_name(place), reason);
    }

    /// What to do with a store that has failed a put: one that is full, or may not be written, is
    /// still read. The others may lack what only it has.
    pub(super) fn refused(&self, place: usize, error: &store::Error) {
        match error.kind {
            Kind::Transient | Kind::Stopped => self.leave_out(place, &error.message),
            _ => self
                .copies
                .only_read(&self.store_name(place), &error.message),
        }
    }

    /// What the stores answered, by place; one that failed is left out from here on.
    fn answered<T>(&self, each: Each<T>) -> Vec<Option<T>> {
        let answers = each.into_iter();
        answers
            .map(|(store, answer)| match answer {
                Ok(answer) => Some(answer),
                Err(error) => {
                    self.copies.leave_out(&store, &error.message);
                    None
                }
            })
            .collect()
    }

    /// All names below a folder of the foundation that `wanted` understands, and where each is.
    pub(super) fn names<K: Ord>(
        &self,
        folder: &str,
        wanted: impl Fn(&Named, &str) -> Option<K>,
    ) -> Result<BTreeMap<K, Present>, Stopped> {
        let kept = self.kept(folder, wanted)?.into_iter();
        Ok(kept.map(|(name, kept)| (name, kept.present)).collect())
    }

    /// The same with times.
    fn kept<K: Ord>(
        &self,
        folder: &str,
        wanted: impl Fn(&Named, &str) -> Option<K>,
    ) -> Result<BTreeMap<K, Kept>, Stopped> {
        let prefix = format!("{}/{folder}/", self.foundation);
        let each = self.bridge.wait(self.copies.list_each(&prefix))?;
        let number = self.number();
        let mut found: BTreeMap<K, Kept> = BTreeMap::new();
        for (place, listed) in self.answered(each).into_iter().enumerate() {
            for object in listed.into_iter().flatten() {
                let named = Named::parse(&self.foundation, &object.name);
                if let Some(key) = named.and_then(|named| wanted(&named, &object.name)) {
                    let kept = found.entry(key).or_insert_with(|| Kept {
                        present: vec![false; number],
                        newest: object.modified,
                    });
                    kept.present[place] = true;
                    kept.newest = kept.newest.max(object.modified);
                }
            }
        }
        Ok(found)
    }

    /// The manifests under `backups/`.
    pub(super) fn manifests(&self) -> Result<BTreeMap<BackupId, Present>, Stopped> {
        self.names("backups", |named, _| match named {
            Named::Manifest(id) => Some(id.clone()),
            _ => None,
        })
    }

    /// The manifests under `dropped/`.
    pub(super) fn dropped(&self) -> Result<BTreeMap<BackupId, Kept>, Stopped> {
        self.kept("dropped", |named, _| match named {
            Named::Dropped(id) => Some(id.clone()),
            _ => None,
        })
    }

    /// Every chain of which a store has anything.
    pub(super) fn chains(&self) -> Result<BTreeSet<ChainId>, Stopped> {
        let each = self.objects.chains()?;
        Ok(self
            .answered(each)
            .into_iter()
            .flatten()
            .flatten()
            .collect())
    }

    /// The key files of a chain and where each is.
    pub(super) fn key_files(&self, chain: &ChainId) -> Result<BTreeMap<String, Present>, Stopped> {
        let each = self.objects.key_files(chain)?;
        let mut found: BTreeMap<String, Present> = BTreeMap::new();
        for (place, files) in self.answered(each).into_iter().enumerate() {
            for file in files.into_iter().flatten() {
                let name = file.name.rsplit('/').next().unwrap_or_default();
                let present = found.entry(name.to_owned());
                present.or_insert_with(|| vec![false; self.number()])[place] = true;
            }
        }
        Ok(found)
    }

    /// One shard of a chain, in order of the names.
    pub(super) fn rows(
        &self,
        chain: &ChainId,
        area: Area,
        shard: Shard,
    ) -> Result<Vec<Row>, Stopped> {
        let each = self.objects.sealed(chain, area, shard)?;
        let mut every = Vec::new();
        for (place, listed) in self.answered(each).into_iter().enumerate() {
            every.extend(listed.into_iter().flatten().map(|object| (place, object)));
        }
        every.sort_unstable_by_key(|(place, object)| (object.name, *place));
        let mut rows: Vec<Row> = Vec::new();
        for (place, object) in every {
            if rows.last().is_none_or(|row| row.name != object.name) {
                rows.push(Row {
                    name: object.name,
                    sizes: vec![None; self.number()],
                    since: object.modified,
                });
            }
            if let Some(row) = rows.last_mut() {
                row.sizes[place] = Some(object.size);
                row.since = row.since.min(object.modified);
            }
        }
        Ok(rows)
    }

    /// What each store that is asked has under a name, by place; a store that fails is left out.
    pub(super) fn bytes(
        &self,
        object: &ObjectName,
        limit: u64,
    ) -> Result<Vec<Option<bytes::Bytes>>, Error> {
        let each = self.bridge.wait(self.copies.get_each(object, limit))?;
        let answers = each.into_iter();
        Ok(answers
            .map(|(store, answer)| match answer {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    if !matches!(error.kind, Kind::NotFound | Kind::TooLarge) {
                        self.copies.leave_out(&store, &error.message);
                    }
                    None
                }
            })
            .collect())
    }
}
