//! Sweep: what is older than the grace, and named in no store by any manifest that counts, goes.
//!
//! "Old" is by the store's time of the object, against the moment before the survey: however long a
//! sweep takes, it judges the state of that moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::Error;
use super::super::chain::index_opener;
use super::super::format::{KEYS_LIMIT, Manifest};
use super::super::id::ChainId;
use super::super::objects::{Area, Each, Sealed, Shard};
use super::super::seal::Opener;
use super::references::{Chunks, Index, MOST_CHUNKS, Pages};
use super::{ChainSwept, Done, Looked, Plan, Prune, REMEMBERED, Survey, Tally};
use crate::artifact::Digest;
use crate::store::{self, Kind, ObjectName};

/// Sweeps every chain; `really`: deletes.
pub(super) fn sweep(
    prune: &Prune,
    survey: &Survey,
    plan: &Plan,
    really: bool,
    done: &mut Done,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let mut chains: BTreeMap<ChainId, BTreeMap<Digest, bool>> = BTreeMap::new();
    for (_, found) in prune.objects().chains()? {
        chains.extend(found?.into_iter().map(|id| (id, BTreeMap::new())));
    }
    let mut staying: BTreeMap<&ChainId, usize> = BTreeMap::new();
    let going: std::collections::BTreeSet<_> = plan.drops().map(|d| &d.id).collect();
    for backup in &survey.backups {
        let stays = !going.contains(&backup.id) || done.held.contains(&backup.id);
        *staying.entry(&backup.chain).or_default() += usize::from(stays);
        let named = chains.entry(backup.chain.clone()).or_default();
        for root in &backup.roots {
            *named.entry(*root).or_default() |= stays;
        }
    }
    for (chain, roots) in survey.dropped.iter().filter_map(|d| d.named.as_ref()) {
        let named = chains.entry(chain.clone()).or_default();
        for root in roots {
            named.entry(*root).or_default();
        }
    }
    for (id, roots) in &chains {
        prune.check_signal()?;
        let mut chain = Chain {
            prune,
            survey,
            really,
            swept: ChainSwept {
                id: id.clone(),
                looked: Looked::Unnamed,
                backups: staying.get(id).copied().unwrap_or_default(),
                freed: Tally::default(),
                later: Tally::default(),
                needed: Tally::default(),
                waste: 0,
                locked: 0,
            },
        };
        if survey.chains.contains_key(id) {
            chain.inside(roots, tell)?;
        } else {
            chain.whole()?;
        }
        done.chains.push(chain.swept);
    }
    super::proofs::forget(prune, survey, really, done)?;
    forget(prune, survey, really, done)
}

/// What was dropped long ago, and is not listed any more.
fn forget(prune: &Prune, survey: &Survey, really: bool, done: &mut Done) -> Result<(), Error> {
    for dropped in &survey.dropped {
        let long_ago = dropped.when.checked_add(REMEMBERED);
        let over = long_ago.is_some_and(|then| prune.is_over(then, survey.at));
        // One that is listed still may be dropped again at this very moment.
        if !over || survey.listed.contains(&dropped.id) {
            continue;
        }
        done.forgotten += 1;
        let object = prune.foundation.dropped(&dropped.id);
        for store in prune.copies.stores().filter(|_| really) {
            match prune.bridge.wait(store.delete(&object))? {
                Err(error) if error.kind != Kind::Locked => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

struct Chain<'a> {
    prune: &'a Prune,
    survey: &'a Survey,
    really: bool,
    swept: ChainSwept,
}

/// What is known of an object.
enum Verdict {
    /// A backup that stays needs it; of it this many sealed bytes are waste.
    Needed(u64),
    /// One in its grace does.
    InGrace,
    /// Nothing does.
    Unnamed,
}

impl Chain<'_> {
    /// No manifest names the chain: all of it that is old enough goes, its keys last.
    fn whole(&mut self) -> Result<(), Error> {
        for area in Area::BOTH {
            for shard in Shard::all() {
                self.shard(area, shard, |_| Verdict::Unnamed)?;
            }
        }
        // While anything is left, so are the keys.
        let mut left = self.swept.later.objects + self.swept.locked > 0;
        let mut old = Vec::new();
        for (store, listed) in self.prune.objects().key_files(&self.swept.id)? {
            for file in listed? {
                let over = self.prune.is_over(file.modified, self.survey.at);
                left |= !over;
                old.push((store.clone(), file));
            }
        }
        for (store, file) in old {
            if left {
                self.swept.later.add(file.size);
            } else {
                let name = ObjectName::new(file.name)?;
                self.delete(&store, &[(name, file.size)])?;
            }
        }
        Ok(())
    }

    /// Some manifest names the chain: its index tells what is needed.
    fn inside(
        &mut self,
        roots: &BTreeMap<Digest, bool>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let Some(opener) = self.opener()? else {
            return Ok(());
        };
        let id = self.swept.id.clone();
        let index = Index {
            prune: self.prune,
            chain: &id,
            opener: &opener,
            roots,
            most_chunks: MOST_CHUNKS,
        };
        // All pages are read before anything goes: a damaged one leaves the chain as it is.
        let pages = match understood(index.pages())? {
            Ok(pages) => pages,
            Err(why) => {
                self.leave(why, tell);
                return Ok(());
            }
        };
        match understood(index.chunks(&pages.files, 0))? {
            Ok(chunks) => self.judge(&index, &pages, chunks),
            Err(why) => {
                self.leave(why, tell);
                Ok(())
            }
        }
    }

    fn leave(&mut self, why: String, tell: &mut dyn FnMut(&str)) {
        tell(&format!("chain {} is left as it is: {why}", self.swept.id));
        self.swept.looked = Looked::Damaged(why);
    }

    fn judge(&mut self, index: &Index<'_>, pages: &Pages, first: Chunks) -> Result<(), Error> {
        self.swept.looked = Looked::Inside;
        for shard in Shard::all() {
            self.shard(Area::Index, shard, |object| {
                match pages.named.get(&object.name) {
                    Some(true) => Verdict::Needed(0),
                    Some(false) => Verdict::InGrace,
                    None => Verdict::Unnamed,
                }
            })?;
        }
        let mut chunks = first;
        for shard in Shard::all() {
            if shard.number() >= chunks.end {
                chunks = index.chunks(&pages.files, shard.number())?;
            }
            let needs = &chunks.needs;
            self.shard(Area::Data, shard, |object| match needs.get(&object.name) {
                Some(need) if need.stays => Verdict::Needed(need.waste(object.size)),
                Some(_) => Verdict::InGrace,
                None => Verdict::Unnamed,
            })?;
        }
        Ok(())
    }

    /// What opens the chain's index; `None`, and the reason is noted, when nothing at hand does.
    fn opener(&mut self) -> Result<Option<Opener>, Error> {
        let prune = self.prune;
        let Some(manifest) = self.survey.chains.get(&self.swept.id) else {
            return Ok(None);
        };
        let mut why =
            "it takes the worker_identity that began it, or a recovery_identity, to look inside"
                .to_owned();
        if let Some(worker) = &prune.worker {
            match self.by_worker(worker, manifest)? {
                Ok(opener) => return Ok(Some(opener)),
                Err(problem) => why = format!("{why} ({problem})"),
            }
        }
        if let Some(identity) = &prune.recovery {
            match prune.fetcher().keys(manifest, identity) {
                Ok(keys) => return Ok(Some(keys.index)),
                Err(Error::Key(problem)) => why = problem,
                Err(error) => return Err(error),
            }
        }
        self.swept.looked = Looked::NoKey(why);
        Ok(None)
    }

    fn by_worker(
        &self,
        worker: &super::WorkerIdentity,
        manifest: &Manifest,
    ) -> Result<Result<Opener, String>, Error> {
        let record = &manifest.chain;
        let Some(digest) = record.worker else {
            return Ok(Err("the chain has no worker.age".to_owned()));
        };
        let object = self.prune.foundation.chain_file(&record.id, "worker.age");
        let whole = move |bytes: &bytes::Bytes| match Digest::of(bytes) == digest {
            true => Ok(()),
            false => Err("is not the one that the manifest names".to_owned()),
        };
        let read = self.prune.copies.get_first(&object, KEYS_LIMIT, whole);
        match self.prune.bridge.wait(read)? {
            Ok(bytes) => Ok(index_opener(&self.prune.foundation, worker, record, &bytes)),
            Err(error) if error.kind == Kind::Transient => Err(error.into()),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Judges every object of a shard in every store, and deletes what is to go.
    fn shard(
        &mut self,
        area: Area,
        shard: Shard,
        judge: impl Fn(&Sealed) -> Verdict,
    ) -> Result<(), Error> {
        let objects = self.prune.objects();
        let found: Each<Vec<Sealed>> = objects.sealed(&self.swept.id, area, shard)?;
        for (store, listed) in found {
            let mut goes = Vec::new();
            for object in listed? {
                let old = self.prune.is_over(object.modified, self.survey.at);
                match judge(&object) {
                    Verdict::Needed(waste) => {
                        self.swept.needed.add(object.size);
                        self.swept.waste += waste;
                    }
                    Verdict::Unnamed if old => {
                        let name = objects.name(&self.swept.id, area, &object.name);
                        goes.push((name, object.size));
                    }
                    Verdict::Unnamed | Verdict::InGrace => self.swept.later.add(object.size),
                }
            }
            self.delete(&store, &goes)?;
        }
        Ok(())
    }

    fn delete(&mut self, store: &str, goes: &[(ObjectName, u64)]) -> Result<(), Error> {
        let Some(store) = self.prune.copies.store(store) else {
            return Ok(());
        };
        if !self.really {
            goes.iter()
                .for_each(|(_, size)| self.swept.freed.add(*size));
            return Ok(());
        }
        let (freed, bytes, locked) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let delete = |(name, size): &(ObjectName, u64)| -> Result<(), Error> {
            match self.prune.bridge.wait(store.delete(name))? {
                Ok(()) => {
                    freed.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(*size, Ordering::Relaxed);
                    Ok(())
                }
                Err(error) if error.kind == Kind::Locked => {
                    locked.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                Err(error) => Err(needs_right(error)),
            }
        };
        let deleted = self.prune.side_by_side(goes, delete);
        self.swept.freed.join(Tally {
            objects: freed.into_inner(),
            bytes: bytes.into_inner(),
        });
        self.swept.locked += locked.into_inner();
        deleted.map(drop)
    }
}

/// What is wrong with an index is no reason to end: the chain stays, the others are swept. Whether
/// a store answers is another matter.
fn understood<T>(read: Result<T, Error>) -> Result<Result<T, String>, Error> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(Error::Store(error)) if !matches!(error.kind, Kind::NotFound | Kind::Other) => {
            Err(error.into())
        }
        Err(Error::Stopped(stopped)) => Err(stopped.into()),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn needs_right(error: store::Error) -> Error {
    if error.kind != Kind::Denied {
        return error.into();
    }
    let message = format!(
        "{}; prune needs the right to delete: run it with credentials of its own",
        error.message
    );
    store::Error { message, ..error }.into()
}
