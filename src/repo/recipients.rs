//! Later recipients of a chain: `recovery-2.age`, `recovery-3.age`, … docs/format.md, *Keys*.
//!
//! Sealed files are never replaced, so a new person gets a file of his own beside them. It
//! opens to the same text, whose digest each manifest of the chain states.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Error;
use super::bridge::Bridge;
use super::chain::ChainKeys;
use super::fetcher::Fetcher;
use super::format::{ChainRecord, KEYS_LIMIT, Manifest, WorkerKeys};
use super::id::Foundation;
use super::objects::Objects;
use super::seal::{Identity, Recipients, encrypt_marked, mark, mark_of};
use super::sign::WorkerIdentity;
use crate::shutdown::Stopped;
use crate::store::copies::Copies;
use crate::store::{self, Kind, ObjectName, WriteMode};

/// How often another number is tried when somebody else adds at the same time.
const ATTEMPTS: usize = 5;

/// The file that comes at this place: 1 is `recovery.age`.
pub(super) fn file_name(number: u32) -> String {
    if number == 1 {
        "recovery.age".to_owned()
    } else {
        format!("recovery-{number}.age")
    }
}

/// The place of a whole object name of a chain's file.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let (_, file) = name.rsplit_once('/')?;
    let number = file.strip_prefix("recovery-")?.strip_suffix(".age")?;
    number.parse().ok()
}

/// How many files there are by which recipients open a chain, by the listings of its key files.
pub fn recovery_files(listed: &[store::Listed]) -> usize {
    let is_one = |file: &&store::Listed| {
        file.name.ends_with("/recovery.age") || number_of(&file.name).is_some()
    };
    listed.iter().filter(is_one).count()
}

/// For whom a chain was begun, as `worker.age` states it; `None` when it is another worker's or is
/// not there.
///
/// # Errors
/// When a signal comes.
pub fn begun_for(
    from: &Fetcher,
    worker: &WorkerIdentity,
    chain: &ChainRecord,
) -> Result<Option<Vec<String>>, Stopped> {
    let open = |bytes: &Bytes| WorkerKeys::open(&from.foundation, worker, chain, bytes);
    let object = from.foundation.chain_file(&chain.id, "worker.age");
    let check = |bytes: &Bytes| open(bytes).map(drop);
    let read = from.copies.get_first(&object, KEYS_LIMIT, check);
    let read = from.bridge.wait(read)?;
    Ok(read
        .ok()
        .and_then(|bytes| open(&bytes).ok())
        .map(|keys| keys.recipients))
}

/// What was done for one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// `recovery-N.age`.
    pub file: String,
    /// The stores that got it now: none, when every store had it.
    pub stores: Vec<String>,
}

/// Adds recipients to chains.
#[derive(Debug)]
pub struct Adding<'a> {
    copies: Arc<Copies>,
    bridge: Bridge,
    foundation: Foundation,
    recipients: &'a Recipients,
    identity: &'a Identity,
    new_chain_every: Duration,
    now: SystemTime,
}

impl<'a> Adding<'a> {
    /// For these recipients, by an identity that opens the chains already.
    pub fn new(
        copies: Arc<Copies>,
        bridge: Bridge,
        foundation: Foundation,
        recipients: &'a Recipients,
        identity: &'a Identity,
        new_chain_every: Duration,
        now: SystemTime,
    ) -> Self {
        Self {
            copies,
            bridge,
            foundation,
            recipients,
            identity,
            new_chain_every,
            now,
        }
    }

    /// Lets the recipients open the chain of this backup, from every store. What an earlier
    /// call with the same recipients and identity did is not done again.
    ///
    /// # Errors
    /// [`Error::Key`] when the identity does not open the chain; [`Error::Store`] when a store
    /// does not answer, does not take the file or gives back another: call again then.
    pub fn to_chain_of(&self, manifest: &Manifest) -> Result<Added, Error> {
        let fetcher = Fetcher::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
        );
        let (_, text) = fetcher.keys_with_text(manifest, self.identity)?;
        let chain = &manifest.chain;
        let numbers = self.numbers(chain)?;
        for number in numbers.iter().rev() {
            if let Some(added) = self.complete(chain, *number)? {
                return Ok(added);
            }
        }
        let sealed = Bytes::from(encrypt_marked(self.recipients, self.identity, &text)?);
        let next = numbers.last().map_or(2, |last| last.saturating_add(1));
        self.add(chain, next, &sealed)
    }

    /// The places that are taken in any store, from 2 on.
    fn numbers(&self, chain: &ChainRecord) -> Result<Vec<u32>, Error> {
        let objects = Objects::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
        );
        let mut numbers = Vec::new();
        for (_, listed) in objects.key_files(&chain.id)? {
            numbers.extend(listed?.iter().filter_map(|file| number_of(&file.name)));
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn object(&self, chain: &ChainRecord, number: u32) -> ObjectName {
        self.foundation.chain_file(&chain.id, &file_name(number))
    }

    /// Whether the file at this place is ours: then stores that lack it get it.
    fn complete(&self, chain: &ChainRecord, number: u32) -> Result<Option<Added>, Error> {
        let object = self.object(chain, number);
        let (mut ours, mut lacking) = (None, Vec::new());
        for (store, read) in self
            .bridge
            .wait(self.copies.get_each(&object, KEYS_LIMIT))?
        {
            match read {
                Ok(bytes) if ours.as_ref().is_none_or(|ours| *ours == bytes) => ours = Some(bytes),
                // Two wrote it at once: neither is everybody's.
                Ok(_) => return Ok(None),
                Err(error) if error.kind == Kind::NotFound => lacking.push(store),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(ours) = ours.filter(|bytes| self.is_ours(chain, bytes)) else {
            return Ok(None);
        };
        for store in &lacking {
            self.put(chain, store, &object, &ours)?;
        }
        Ok(Some(Added {
            file: file_name(number),
            stores: lacking,
        }))
    }

    /// That it opens to the chain's keys shows that nobody but their holder made it.
    fn is_ours(&self, chain: &ChainRecord, sealed: &[u8]) -> bool {
        mark_of(sealed) == Some(mark(self.recipients))
            && ChainKeys::open(&self.foundation, chain, sealed, self.identity).is_ok()
    }

    /// Store by store, so that the first of them decides who has a place.
    fn add(&self, chain: &ChainRecord, first: u32, sealed: &Bytes) -> Result<Added, Error> {
        let stores: Vec<String> = self.copies.names().map(str::to_owned).collect();
        let mut number = first;
        for attempt in 1.. {
            let object = self.object(chain, number);
            let put = stores
                .iter()
                .try_for_each(|store| self.put(chain, store, &object, sealed));
            match put {
                Ok(()) => break,
                Err(Error::Store(error))
                    if error.kind == Kind::AlreadyExists && attempt < ATTEMPTS =>
                {
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Added {
            file: file_name(number),
            stores,
        })
    }

    /// Writes to one store and reads back.
    fn put(
        &self,
        chain: &ChainRecord,
        name: &str,
        object: &ObjectName,
        sealed: &Bytes,
    ) -> Result<(), Error> {
        let Some(store) = self.copies.store(name) else {
            return Err(Error::Other(format!("there is no store {name}")));
        };
        self.bridge.wait(store::put_of_chain(
            store.as_ref(),
            object,
            sealed.clone(),
            WriteMode::CreateNew,
            chain.end(self.new_chain_every),
            self.now,
        ))??;
        let read = self.bridge.wait(store.get(object, KEYS_LIMIT))??;
        if read != *sealed {
            let message = "gives back other bytes than it was given";
            return Err(store::Error::new(Kind::Other, name, object.as_str(), message).into());
        }
        Ok(())
    }
}
