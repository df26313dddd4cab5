//! The objects of a foundation as the stores list them: what a name means, which chains there
//! are, and what lies in them. docs/format.md, *Objects*.
//!
//! Sealed objects are listed in [`Shard`]s: of a terabyte's 500,000 chunks no more than a sixteenth
//! stands in memory, 56 bytes each and store.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::bridge::Bridge;
use super::format::{CHUNK_LIMIT, ROOT_LIMIT, SEAL_OVERHEAD};
use super::id::{BackupId, ChainId, Foundation};
use crate::artifact::Digest;
use crate::shutdown::Stopped;
use crate::store::copies::Copies;
use crate::store::{Error, Listed, ObjectName};

/// What each store answered, in the configured order.
pub type Each<T> = Vec<(String, Result<T, Error>)>;

/// The first copy of a plain object that is judged good; the last one's refusal where none is, before
/// whatever a store said.
pub(super) async fn judged<T>(
    copies: &Copies,
    object: &ObjectName,
    limit: u64,
    judge: impl Fn(&[u8]) -> Result<T, super::Error> + Send + Sync,
) -> Result<T, super::Error> {
    let refusal = Mutex::new(None);
    let kept = || refusal.lock().unwrap_or_else(PoisonError::into_inner);
    let check = |bytes: &bytes::Bytes| match judge(bytes) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            *kept() = Some(error);
            Err(text)
        }
    };
    match copies.get_first(object, limit, check).await {
        Ok(bytes) => judge(&bytes),
        Err(error) => Err(kept().take().unwrap_or(super::Error::Store(error))),
    }
}

/// What a name below a foundation means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// `backups/ID.json`.
    Manifest(BackupId),
    /// `dropped/ID.json`.
    Dropped(BackupId),
    /// `holds/ID`.
    Hold(BackupId),
    /// `reports/ID/…`.
    Report(BackupId),
    /// `chains/CHAIN/recovery.age`, `recovery-N.age` or `worker.age`; with the file's name.
    Key(ChainId, String),
    /// A root, a page or a chunk.
    Sealed(ChainId, Area, Digest),
    /// `probe`.
    Probe,
}

impl Named {
    /// Reads a whole name; `None` for another foundation's, and for what no release of this format
    /// writes.
    pub fn parse(foundation: &Foundation, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(foundation.as_str())?.strip_prefix('/')?;
        let id = |text: &str| BackupId::parse(text).ok();
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            ["probe"] => Some(Self::Probe),
            ["backups", file] => id(file.strip_suffix(".json")?).map(Self::Manifest),
            ["dropped", file] => id(file.strip_suffix(".json")?).map(Self::Dropped),
            ["holds", file] => id(file).map(Self::Hold),
            ["reports", of, _, ..] => id(of).map(Self::Report),
            ["chains", chain, file] if is_key_file(file) => {
                Some(Self::Key(ChainId::parse(chain).ok()?, (*file).to_owned()))
            }
            ["chains", chain, area, first, name] => {
                let area = Area::BOTH
                    .into_iter()
                    .find(|known| known.segment() == *area)?;
                let digest = Digest::parse(name).filter(|_| name.starts_with(*first))?;
                let chain = ChainId::parse(chain).ok()?;
                (first.len() == 2).then_some(Self::Sealed(chain, area, digest))
            }
            _ => None,
        }
    }
}

/// Whether a file of a chain holds its keys: `recovery.age`, `recovery-N.age`, `worker.age`.
pub fn is_key_file(name: &str) -> bool {
    let another = |name: &str| {
        let number = name.strip_prefix("recovery-")?.strip_suffix(".age")?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        Some(digits && !number.is_empty() && !number.starts_with('0'))
    };
    matches!(name, "recovery.age" | "worker.age") || another(name).unwrap_or(false)
}

/// Where sealed objects lie in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Roots and pages.
    Index,
    /// Chunks.
    Data,
}

impl Area {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Index, Self::Data];

    /// As it is written in names.
    pub fn segment(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Data => "data",
        }
    }

    /// The most bytes that a sealed object has.
    pub(super) fn limit(self) -> u64 {
        SEAL_OVERHEAD
            + match self {
                Self::Index => ROOT_LIMIT,
                Self::Data => CHUNK_LIMIT,
            }
    }
}

/// The names that begin with one hex digit: a sixteenth of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// All sixteen, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }

    /// Its place among all, from 0 on.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// That of a name.
    pub fn of(name: &Digest) -> Self {
        Self(name.0[0] >> 4)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A root, page or chunk of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Its name.
    pub name: Digest,
    /// Sealed bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: SystemTime,
}

/// Lists the objects of one foundation, store by store.
#[derive(Debug, Clone)]
pub struct Objects {
    copies: Arc<Copies>,
    bridge: Bridge,
    foundation: Foundation,
}

impl Objects {
    /// Of these stores. Nothing is asked yet.
    pub fn new(copies: Arc<Copies>, bridge: Bridge, foundation: Foundation) -> Self {
        Self {
            copies,
            bridge,
            foundation,
        }
    }

    /// The chains of which each store has anything. On a directory a chain may be empty.
    ///
    /// # Errors
    /// When a signal comes; a store that does not answer stands in its place of the list.
    pub fn chains(&self) -> Result<Each<BTreeSet<ChainId>>, Stopped> {
        let prefix = format!("{}/chains/", self.foundation);
        let found = self.bridge.wait(self.copies.folders_each(&prefix))?;
        Ok(each(found, |names| {
            let ids = names.iter().filter_map(|name| ChainId::parse(name).ok());
            ids.collect()
        }))
    }

    /// The key files of a chain, as they are listed.
    ///
    /// # Errors
    /// As [`Objects::chains`].
    pub fn key_files(&self, chain: &ChainId) -> Result<Each<Vec<Listed>>, Stopped> {
        let whole = |file: &str| format!("{}/chains/{chain}/{file}", self.foundation);
        let mut found = self
            .bridge
            .wait(self.copies.list_each(&whole("recovery")))?;
        let worker = self.bridge.wait(self.copies.list_each(&whole("worker")))?;
        for ((_, listed), (_, more)) in found.iter_mut().zip(worker) {
            match (listed.as_mut(), more) {
                (Ok(listed), Ok(more)) => listed.extend(more),
                (Ok(_), Err(error)) => *listed = Err(error),
                (Err(_), _) => {}
            }
        }
        Ok(each(found, |mut listed: Vec<Listed>| {
            listed.retain(|file| {
                let named = Named::parse(&self.foundation, &file.name);
                matches!(named, Some(Named::Key(..)))
            });
            listed
        }))
    }

    /// The sealed objects of one shard of a chain, in order of their names.
    ///
    /// # Errors
    /// As [`Objects::chains`].
    pub fn sealed(
        &self,
        chain: &ChainId,
        area: Area,
        shard: Shard,
    ) -> Result<Each<Vec<Sealed>>, Stopped> {
        let prefix = format!(
            "{}/chains/{chain}/{}/{shard}",
            self.foundation,
            area.segment()
        );
        let found = self.bridge.wait(self.copies.list_each(&prefix))?;
        Ok(each(found, |listed: Vec<Listed>| {
            let sealed = listed.into_iter().filter_map(|object| {
                match Named::parse(&self.foundation, &object.name)? {
                    Named::Sealed(_, _, name) => Some(Sealed {
                        name,
                        size: object.size,
                        modified: object.modified,
                    }),
                    _ => None,
                }
            });
            sealed.collect()
        }))
    }

    /// The name of a sealed object.
    pub fn name(&self, chain: &ChainId, area: Area, name: &Digest) -> ObjectName {
        match area {
            Area::Index => self.foundation.index(chain, name),
            Area::Data => self.foundation.data(chain, name),
        }
    }
}

fn each<T, U>(found: Each<T>, understand: impl Fn(T) -> U) -> Each<U> {
    let stores = found.into_iter();
    stores
        .map(|(store, found)| (store, found.map(&understand)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::shutdown::Shutdown;
    use crate::store::faulty::{Fault, Faulty, Lines};
    use crate::store::memory::Memory;
    use crate::store::{Kind, Store, WriteMode};

    const CHAIN: &str = "5f2c9a1e0b7d4c38";

    fn foundation() -> Foundation {
        Foundation::parse("east").unwrap()
    }

    #[test]
    fn a_name_means_one_thing_or_nothing() {
        let digest = Digest::of(b"x");
        let chain = ChainId::parse(CHAIN).unwrap();
        let id = BackupId::parse("20261122T010203Z-7f3a09bc").unwrap();
        let sealed = format!("{}/{digest}", &digest.to_string()[..2]);
        for (name, meaning) in [
            (format!("backups/{id}.json"), Named::Manifest(id.clone())),
            (format!("dropped/{id}.json"), Named::Dropped(id.clone())),
            (format!("holds/{id}"), Named::Hold(id.clone())),
            (format!("reports/{id}/a/b"), Named::Report(id.clone())),
            ("probe".to_owned(), Named::Probe),
            (
                format!("chains/{CHAIN}/recovery-12.age"),
                Named::Key(chain.clone(), "recovery-12.age".to_owned()),
            ),
            (
                format!("chains/{CHAIN}/data/{sealed}"),
                Named::Sealed(chain.clone(), Area::Data, digest),
            ),
            (
                format!("chains/{CHAIN}/index/{sealed}"),
                Named::Sealed(chain.clone(), Area::Index, digest),
            ),
        ] {
            let whole = format!("east/{name}");
            assert_eq!(Named::parse(&foundation(), &whole), Some(meaning), "{name}");
            let other = format!("eastern/{name}");
            assert_eq!(Named::parse(&foundation(), &other), None, "{other}");
        }
        for name in [
            format!("chains/{CHAIN}/data/00/{digest}"),
            format!("chains/{CHAIN}/data/{digest}"),
            format!("chains/{CHAIN}/other/{sealed}"),
            format!("chains/{CHAIN}/recovery-.age"),
            format!("chains/{CHAIN}/recovery-x.age"),
            format!("backups/{id}"),
            format!("reports/{id}"),
            "backups/x.json".to_owned(),
        ] {
            assert_eq!(
                Named::parse(&foundation(), &format!("east/{name}")),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn shards_divide_the_names_and_a_silent_store_keeps_its_place() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let full = Arc::new(Memory::new("full", Arc::new(SystemClock)));
        let silent = Arc::new(Faulty::new(Arc::new(Memory::new(
            "silent",
            Arc::new(SystemClock),
        ))));
        silent.always(Fault::Fail(Kind::Transient));
        let stores: Vec<Arc<dyn Store>> = vec![full.clone(), silent];
        let copies = Arc::new(Copies::new(stores, 1, Arc::new(Lines::default())).unwrap());
        let bridge = Bridge::new(runtime.handle().clone(), Shutdown::never());
        let objects = Objects::new(copies, bridge, foundation());
        let chain = ChainId::parse(CHAIN).unwrap();
        let put = |name: &ObjectName| {
            let put = full.put(name, bytes::Bytes::from_static(b"x"), WriteMode::CreateNew);
            runtime.block_on(put).unwrap();
        };
        let mut all: Vec<Digest> = (0..200_u32).map(|n| Digest::of(&n.to_le_bytes())).collect();
        for digest in &all {
            put(&foundation().data(&chain, digest));
        }
        for file in [
            "recovery.age",
            "recovery-2.age",
            "worker.age",
            "recovery.txt",
        ] {
            put(&foundation().chain_file(&chain, file));
        }
        put(&ObjectName::new("east/chains/no-chain/x").unwrap());

        let chains = objects.chains().unwrap();
        assert_eq!(
            *chains[0].1.as_ref().unwrap(),
            BTreeSet::from([chain.clone()])
        );
        assert_eq!(chains[1].0, "silent");
        assert!(chains[1].1.is_err());
        let files = objects.key_files(&chain).unwrap()[0].1.clone().unwrap();
        assert_eq!(files.len(), 3, "{files:?}");
        let mut found = Vec::new();
        for shard in Shard::all() {
            let sealed = objects.sealed(&chain, Area::Data, shard).unwrap();
            let here = sealed[0].1.clone().unwrap();
            assert!(here.iter().all(|object| Shard::of(&object.name) == shard));
            found.extend(here.into_iter().map(|object| object.name));
        }
        all.sort_unstable();
        assert_eq!(found, all);
        let index = objects.sealed(&chain, Area::Index, Shard(3)).unwrap();
        assert_eq!(index[0].1.clone().unwrap(), []);
    }
}
