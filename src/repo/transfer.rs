//! One object from where it is whole to where it is not: from a store, or from an earlier
//! version that a store kept. Bytes are checked before they are written anywhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::bridge::{Load, digest};
use super::catalogue::Catalogue;
use super::holdings::Holdings;
use super::id::BackupId;
use crate::artifact::Digest;
use crate::shutdown::Stopped;
use crate::store::{Error, Kind, ObjectName, Store, WriteMode};

/// Objects read or copied side by side: with chunks of 2 MiB as a rule a fast link stays full.
const OBJECTS: usize = 8;
/// Sealed bytes of them at once, whatever they are.
const BYTES: u64 = 96 << 20;
/// What is read or copied side by side.
pub(super) const LOAD: Load = Load {
    most: OBJECTS,
    bytes: BYTES,
};

/// What the bytes of an object must be.
#[derive(Debug, Clone)]
pub(super) enum Expect {
    /// Bytes of this digest.
    Digest(Digest),
    /// A manifest that the catalogue believes.
    Manifest(Arc<Catalogue>, BackupId),
    /// These.
    Bytes(Bytes),
    /// Nobody can say what they must be.
    Unknown,
    /// Nothing is known of them.
    Anything,
}

impl Expect {
    /// What is wrong with the bytes.
    pub(super) async fn check(&self, object: &ObjectName, bytes: &Bytes) -> Result<(), String> {
        match self {
            Self::Digest(wanted) if digest(bytes.clone()).await == *wanted => Ok(()),
            Self::Digest(_) => Err("was damaged or replaced: it has another digest".to_owned()),
            Self::Manifest(catalogue, id) => match catalogue.judge(id, object, bytes) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Self::Unknown => {
                Err("differs between the stores, and no manifest says which is right".to_owned())
            }
            Self::Bytes(wanted) if wanted == bytes => Ok(()),
            Self::Bytes(_) => Err("was changed: it has other bytes".to_owned()),
            Self::Anything => Ok(()),
        }
    }

    /// The end of the chain of a committed manifest, which only its own good bytes state. What lies
    /// under `dropped/` is under no lock: prune removes it.
    fn chain_end(
        &self,
        object: &ObjectName,
        bytes: &[u8],
        new_chain_every: Duration,
    ) -> Option<SystemTime> {
        let Self::Manifest(catalogue, id) = self else {
            return None;
        };
        let manifest = catalogue.judge(id, object, bytes).ok()?.signed.manifest;
        let is_committed = *object == manifest.foundation.manifest(id);
        is_committed.then(|| manifest.chain.end(new_chain_every))
    }
}

/// One object to be brought somewhere.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) object: ObjectName,
    pub(super) expect: Expect,
    /// No more bytes than these are read.
    pub(super) limit: u64,
    /// About how many it has: so many are in memory at once.
    pub(super) size: u64,
    /// Places to read it from, in order.
    pub(super) from: Vec<usize>,
    /// Places to write it to.
    pub(super) to: Vec<usize>,
    /// The end of its chain, from which stores that lock count their days; a manifest states its own.
    pub(super) chain_end: Option<SystemTime>,
    /// Whether earlier versions serve as well, in any store.
    pub(super) earlier: bool,
}

/// Where good bytes were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Store(String),
    EarlierVersion(String),
    Known,
}

/// What came of a transfer.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) object: ObjectName,
    /// Where it was to be written.
    pub(super) to: Vec<usize>,
    pub(super) bytes: u64,
    /// `None` when no good bytes were found.
    pub(super) source: Option<Source>,
    pub(super) written: Vec<usize>,
    /// Why it could not be read, by place.
    pub(super) unread: Vec<(usize, Error)>,
    /// Why it could not be written, by place.
    pub(super) unwritten: Vec<(usize, Error)>,
}

impl Moved {
    /// Why it is not in a place now where it should be; `None` when it is.
    pub(super) fn problem(&self, place: usize) -> Option<String> {
        if self.written.contains(&place) {
            return None;
        }
        let unwritten = self.unwritten.iter().find(|(at, _)| *at == place);
        Some(match unwritten {
            Some((_, error)) => error.to_string(),
            None => {
                let reasons: Vec<_> = self
                    .unread
                    .iter()
                    .map(|(_, error)| format!("{}: {}", error.store, error.message))
                    .collect();
                format!(
                    "{} is whole in no store ({})",
                    self.object,
                    reasons.join("; ")
                )
            }
        })
    }

    /// Whether every store that listed it answered that it is not there any more: somebody took
    /// it away meanwhile.
    pub(super) fn vanished(&self) -> bool {
        let gone = |(_, error): &(usize, Error)| error.kind == Kind::NotFound;
        self.source.is_none() && !self.unread.is_empty() && self.unread.iter().all(gone)
    }
}

impl Holdings {
    /// Makes these transfers side by side, and hands each result to `each`. A store that fails
    /// to be read is left out of those not yet begun; what becomes of one that fails a put,
    /// `refused` decides.
    pub(super) fn transfer(
        &self,
        transfers: Vec<Transfer>,
        refused: fn(&Self, usize, &Error),
        mut each: impl FnMut(Moved),
    ) -> Result<(), Stopped> {
        let stores: Vec<Arc<dyn Store>> = self.copies.stores().map(Arc::clone).collect();
        let new_chain_every = self.new_chain_every;
        self.bridge.side_by_side(
            transfers,
            LOAD,
            |transfer| transfer.size,
            |mut transfer| {
                let (asked, open) = (self.asked(), self.open());
                transfer.from.retain(|place| asked[*place]);
                transfer.to.retain(|place| open[*place]);
                (!transfer.to.is_empty())
                    .then(|| carry(stores.clone(), asked, transfer, new_chain_every))
            },
            |moved| {
                for (place, error) in &moved.unread {
                    if matches!(error.kind, Kind::Transient | Kind::Denied) {
                        self.leave_out(*place, &error.message);
                    }
                }
                for (place, error) in &moved.unwritten {
                    refused(self, *place, error);
                }
                each(moved);
            },
        )
    }
}

async fn carry(
    stores: Vec<Arc<dyn Store>>,
    asked: Vec<bool>,
    transfer: Transfer,
    new_chain_every: Duration,
) -> Moved {
    let mut moved = Moved {
        object: transfer.object.clone(),
        to: transfer.to.clone(),
        bytes: 0,
        source: None,
        written: Vec::new(),
        unread: Vec::new(),
        unwritten: Vec::new(),
    };
    let Some((bytes, source)) = find(&stores, &asked, &transfer, &mut moved.unread).await else {
        return moved;
    };
    moved.bytes = bytes.len() as u64;
    moved.source = Some(source);
    let stated = || {
        let expect = &transfer.expect;
        expect.chain_end(&transfer.object, &bytes, new_chain_every)
    };
    let chain_end = transfer.chain_end.or_else(stated);
    for place in transfer.to {
        let put = put(
            &*stores[place],
            &transfer.object,
            bytes.clone(),
            WriteMode::Overwrite,
            chain_end,
        );
        match put.await {
            Ok(()) => moved.written.push(place),
            Err(error) => moved.unwritten.push((place, error)),
        }
    }
    moved
}

/// Puts an object; one of a chain is locked where a store is told to lock.
pub(super) async fn put(
    store: &dyn Store,
    object: &ObjectName,
    bytes: Bytes,
    mode: WriteMode,
    chain_end: Option<SystemTime>,
) -> Result<(), Error> {
    match chain_end.zip(store.locks_for()) {
        Some((end, days)) => store.put_locked(object, bytes, mode, end + days).await,
        None => store.put(object, bytes, mode).await,
    }
}

async fn find(
    stores: &[Arc<dyn Store>],
    asked: &[bool],
    transfer: &Transfer,
    unread: &mut Vec<(usize, Error)>,
) -> Option<(Bytes, Source)> {
    let object = &transfer.object;
    if let Expect::Bytes(bytes) = &transfer.expect {
        return Some((bytes.clone(), Source::Known));
    }
    for place in &transfer.from {
        let store = &stores[*place];
        match store.get(object, transfer.limit).await {
            Ok(bytes) => match transfer.expect.check(object, &bytes).await {
                Ok(()) => return Some((bytes, Source::Store(store.name().to_owned()))),
                Err(wrong) => {
                    let error = Error::new(Kind::Other, store.name(), object.as_str(), wrong);
                    unread.push((*place, error));
                }
            },
            Err(error) => unread.push((*place, error)),
        }
    }
    if !transfer.earlier {
        return None;
    }
    for (place, store) in stores.iter().enumerate().filter(|(place, _)| asked[*place]) {
        let versions = match store.versions(object).await {
            Ok(versions) => versions,
            Err(error) => {
                let message = format!("its earlier versions cannot be listed: {}", error.message);
                // Who may not list versions can be asked everything else.
                let error = Error::new(Kind::Other, store.name(), object.as_str(), message);
                unread.push((place, error));
                continue;
            }
        };
        for version in versions.iter().filter(|version| !version.is_current) {
            if let Ok(bytes) = store.get_version(object, version, transfer.limit).await
                && transfer.expect.check(object, &bytes).await.is_ok()
            {
                return Some((bytes, Source::EarlierVersion(store.name().to_owned())));
            }
        }
    }
    None
}
