//! From plain chunks to objects in every store: compress and seal on all cores, upload side
//! by side, in bounded memory.
//!
//! Memory: at most [`IN_FLIGHT`] plain bytes between [`Pipeline::add`] and the last store's
//! answer, twice that while a chunk is being sealed. A store that is slow makes the callers wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::Error;
use super::bridge::Bridge;
use super::chain::Chain;
use super::format::ChunkRecord;
use super::id::Foundation;
use super::seal::Sealer;
use crate::artifact::Digest;
use crate::shutdown::{LOOK, Shutdown, Stopped};
use crate::store::copies::Copies;
use crate::store::{ObjectName, WriteMode};

/// Plain bytes on their way at most. Four of the largest chunks, and twice what eight uploads
/// of average chunks need; the allocator holds about as much again (benches/memory).
pub const IN_FLIGHT: u64 = 32 << 20;
/// Sealing threads at most: four keep up with a 10 Gbit/s link, each holds up to a chunk.
const SEALERS: usize = 4;

/// A chunk on its way: known to the index once it is sealed.
#[derive(Debug, Default)]
pub struct Pending {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Debug, Default, Clone)]
enum State {
    #[default]
    Waiting,
    /// Equal bytes were on their way already.
    Same(Arc<Pending>),
    Sealed(ChunkRecord),
    Failed,
}

impl Pending {
    /// Waits until the chunk has its name.
    ///
    /// # Errors
    /// When sealing it failed or a signal came.
    pub fn record(&self, shutdown: &Shutdown) -> Result<ChunkRecord, Error> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Waiting => {
                    shutdown.check()?;
                    state = self
                        .ready
                        .wait_timeout(state, LOOK)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                State::Same(other) => {
                    let other = Arc::clone(other);
                    drop(state);
                    return other.record(shutdown);
                }
                State::Sealed(record) => return Ok(*record),
                State::Failed => return Err(Error::Other("a chunk could not be sealed".into())),
            }
        }
    }

    fn set(&self, state: State) {
        *lock(&self.state) = state;
        self.ready.notify_all();
    }
}

/// What is known of a chunk by its plain bytes.
#[derive(Debug)]
enum Known {
    Stored(Digest, u32),
    Pending(Arc<Pending>),
}

/// What a run has added to the repository so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Added {
    /// Plain bytes of new chunks.
    pub plain_bytes: u64,
    /// Sealed bytes of new objects.
    pub sealed_bytes: u64,
    /// New objects.
    pub objects: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    queue: Option<SyncSender<Job>>,
    sealers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    copies: Arc<Copies>,
    bridge: Bridge,
    foundation: Foundation,
    chain: Chain,
    index: Sealer,
    known: Mutex<HashMap<Digest, Known>>,
    flight: Mutex<Flight>,
    landed: Condvar,
    plain_bytes: AtomicU64,
    sealed_bytes: AtomicU64,
    objects: AtomicU64,
}

#[derive(Debug, Default)]
struct Flight {
    bytes: u64,
    /// Objects so far.
    begun: u64,
    /// The numbers of those on their way.
    under_way: BTreeSet<u64>,
    failed: Option<String>,
    /// The lowest number of an object that was not stored.
    failed_at: Option<u64>,
}

struct Job {
    number: u64,
    plain: Vec<u8>,
    digest: Digest,
    pending: Arc<Pending>,
}

impl Pipeline {
    /// Starts one sealing thread per core.
    pub fn start(
        copies: Arc<Copies>,
        bridge: Bridge,
        foundation: Foundation,
        chain: Chain,
    ) -> Self {
        let threads = std::thread::available_parallelism()
            .map_or(2, std::num::NonZero::get)
            .min(SEALERS);
        let index = chain.index.sealer();
        let shared = Arc::new(Shared {
            copies,
            bridge,
            foundation,
            chain,
            index,
            known: Mutex::default(),
            flight: Mutex::default(),
            landed: Condvar::new(),
            plain_bytes: AtomicU64::new(0),
            sealed_bytes: AtomicU64::new(0),
            objects: AtomicU64::new(0),
        });
        let (queue, jobs) = sync_channel(threads);
        let jobs = Arc::new(Mutex::new(jobs));
        let sealers = (0..threads)
            .map(|_| {
                let (shared, jobs) = (Arc::clone(&shared), Arc::clone(&jobs));
                std::thread::spawn(move || seal_all(&shared, &jobs))
            })
            .collect();
        Self {
            shared,
            queue: Some(queue),
            sealers,
        }
    }

    /// Tells that the stores hold this chunk already (the base's pages say so).
    pub fn know(&self, chunk: ChunkRecord) {
        let ChunkRecord(name, plain, length) = chunk;
        lock(&self.shared.known).insert(plain, Known::Stored(name, length));
    }

    /// Takes a chunk; `pending` will know its name. Waits while too much is on its way. Gives
    /// whether the bytes are new to the repository.
    ///
    /// # Errors
    /// When a store failed for good, or a signal came.
    pub fn add(&self, plain: Vec<u8>, pending: &Arc<Pending>) -> Result<bool, Error> {
        let digest = Digest::of(&plain);
        match lock(&self.shared.known).entry(digest) {
            std::collections::hash_map::Entry::Occupied(known) => {
                match known.get() {
                    Known::Stored(name, length) => {
                        pending.set(State::Sealed(ChunkRecord(*name, digest, *length)));
                    }
                    Known::Pending(other) => pending.set(State::Same(Arc::clone(other))),
                }
                return Ok(false);
            }
            std::collections::hash_map::Entry::Vacant(unknown) => {
                unknown.insert(Known::Pending(Arc::clone(pending)));
            }
        }
        let number = match self.shared.enter(plain.len() as u64) {
            Ok(number) => number,
            Err(error) => {
                // Nobody may wait for a chunk that will never be sealed.
                pending.set(State::Failed);
                return Err(error);
            }
        };
        self.shared
            .plain_bytes
            .fetch_add(plain.len() as u64, Ordering::Relaxed);
        let job = Job {
            number,
            plain,
            digest,
            pending: Arc::clone(pending),
        };
        let queue = self
            .queue
            .as_ref()
            .expect("the queue is closed by drop alone");
        queue
            .send(job)
            .map_err(|_says_no_more: std::sync::mpsc::SendError<Job>| {
                Error::Other("the sealing threads are gone".into())
            })?;
        Ok(true)
    }

    /// Seals and stores a root or a page; gives its name.
    ///
    /// # Errors
    /// As [`Pipeline::add`].
    pub fn add_index(&self, plain: &[u8]) -> Result<Digest, Error> {
        let number = self.shared.enter(plain.len() as u64)?;
        let sealed = self.shared.index.seal(plain).inspect_err(|error| {
            self.shared
                .leave(number, plain.len() as u64, Some(error.to_string()));
        })?;
        let name = Digest::of(&sealed);
        let object = self
            .shared
            .foundation
            .index(&self.shared.chain.record.id, &name);
        Shared::upload(&self.shared, object, sealed, number, plain.len() as u64);
        Ok(name)
    }

    /// How many objects were begun so far: what was added before now is among them.
    pub fn begun(&self) -> u64 {
        lock(&self.shared.flight).begun
    }

    /// Whether the first so many objects are in the stores, all of them, now.
    pub fn has_landed(&self, begun: u64) -> bool {
        let flight = lock(&self.shared.flight);
        let lowest = flight.under_way.first().copied();
        [lowest, flight.failed_at]
            .into_iter()
            .flatten()
            .all(|number| number >= begun)
    }

    /// Waits until everything added is in the stores.
    ///
    /// # Errors
    /// When something is not, or a signal came.
    pub fn flush(&self) -> Result<Added, Error> {
        let flight = self.shared.wait(|flight| flight.bytes == 0)?;
        drop(flight);
        Ok(self.added())
    }

    /// What has been added so far.
    pub fn added(&self) -> Added {
        Added {
            plain_bytes: self.shared.plain_bytes.load(Ordering::Relaxed),
            sealed_bytes: self.shared.sealed_bytes.load(Ordering::Relaxed),
            objects: self.shared.objects.load(Ordering::Relaxed),
        }
    }

    /// The flag that ends waits.
    pub fn shutdown(&self) -> &Shutdown {
        self.shared.bridge.shutdown()
    }

    /// The chain written to.
    pub fn chain(&self) -> &Chain {
        &self.shared.chain
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        drop(self.queue.take());
        for sealer in self.sealers.drain(..) {
            // A sealer that panicked has marked the flight as failed.
            drop(sealer.join());
        }
    }
}

impl Shared {
    /// Waits for room, then counts the bytes as on their way. Gives the object's number.
    fn enter(&self, bytes: u64) -> Result<u64, Error> {
        // One chunk larger than the whole budget may travel alone.
        let mut flight =
            self.wait(|flight| flight.bytes == 0 || flight.bytes + bytes <= IN_FLIGHT)?;
        flight.bytes += bytes;
        let number = flight.begun;
        flight.begun += 1;
        flight.under_way.insert(number);
        Ok(number)
    }

    fn wait(&self, until: impl Fn(&Flight) -> bool) -> Result<MutexGuard<'_, Flight>, Error> {
        let mut flight = lock(&self.flight);
        loop {
            if let Some(failure) = &flight.failed {
                return Err(Error::Other(failure.clone()));
            }
            self.bridge
                .shutdown()
                .check()
                .map_err(|stopped: Stopped| Error::from(stopped))?;
            if until(&flight) {
                return Ok(flight);
            }
            flight = self
                .landed
                .wait_timeout(flight, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn leave(&self, number: u64, bytes: u64, failure: Option<String>) {
        let mut flight = lock(&self.flight);
        flight.bytes -= bytes;
        flight.under_way.remove(&number);
        if failure.is_some() {
            flight.failed_at = Some(flight.failed_at.map_or(number, |at| at.min(number)));
        }
        if flight.failed.is_none() {
            flight.failed = failure;
        }
        drop(flight);
        self.landed.notify_all();
    }

    fn upload(
        this: &Arc<Self>,
        object: ObjectName,
        sealed: Vec<u8>,
        number: u64,
        plain_bytes: u64,
    ) {
        let shared = Arc::clone(this);
        let sealed_bytes = sealed.len() as u64;
        this.bridge.spawn(async move {
            let result = shared
                .copies
                .put_kept(&object, Bytes::from(sealed), WriteMode::Overwrite)
                .await;
            if result.is_ok() {
                shared
                    .sealed_bytes
                    .fetch_add(sealed_bytes, Ordering::Relaxed);
                shared.objects.fetch_add(1, Ordering::Relaxed);
            }
            let failure = result.err().map(|error| match error.store.is_empty() {
                true => format!("the backup {}", error.message),
                false => error.to_string(),
            });
            shared.leave(number, plain_bytes, failure);
        });
    }
}

fn seal_all(shared: &Arc<Shared>, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = lock(jobs).recv();
        let Ok(job) = next else { return };
        let length = job.plain.len();
        match shared.chain.data.seal(&job.plain) {
            Ok(sealed) => {
                drop(job.plain);
                let name = Digest::of(&sealed);
                let plain_length = u32::try_from(length).expect("a chunk is at most 16 MiB");
                lock(&shared.known).insert(job.digest, Known::Stored(name, plain_length));
                job.pending
                    .set(State::Sealed(ChunkRecord(name, job.digest, plain_length)));
                let object = shared.foundation.data(&shared.chain.record.id, &name);
                Shared::upload(shared, object, sealed, job.number, length as u64);
            }
            Err(error) => {
                job.pending.set(State::Failed);
                shared.leave(job.number, length as u64, Some(error.to_string()));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
