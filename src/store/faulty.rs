//! For tests: a store that fails as it is told, and a monitor that remembers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Error, Kind, Listed, ObjectName, Store, Version, WriteMode};
use crate::monitor::{Level, Monitor};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It fails before it did anything.
    Fail(Kind),
    /// It is done, but the answer is lost.
    Lost,
    /// It never ends.
    Stall,
    /// A put stores half of its bytes and succeeds; a get answers half.
    Tear,
}

/// A store with faults in front of another.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Store>,
    next: Mutex<VecDeque<Fault>>,
    then: Mutex<Fault>,
    /// How many puts succeed still, and how every later one fails.
    puts: Mutex<Option<(usize, Kind)>>,
    calls: AtomicUsize,
    /// The most bytes that a get has asked for.
    most: AtomicU64,
    locked: std::sync::atomic::AtomicBool,
    lock_for: Mutex<Option<Duration>>,
    locked_until: Mutex<BTreeMap<String, SystemTime>>,
}

impl Faulty {
    /// Without faults so far.
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            next: Mutex::default(),
            then: Mutex::new(Fault::None),
            puts: Mutex::default(),
            calls: AtomicUsize::new(0),
            most: AtomicU64::new(0),
            locked: false.into(),
            lock_for: Mutex::default(),
            locked_until: Mutex::default(),
        }
    }

    /// The faults of the next calls, one each.
    pub(crate) fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.next.lock().unwrap().extend(faults);
    }

    /// The fault of every call after those.
    pub(crate) fn always(&self, fault: Fault) {
        *self.then.lock().unwrap() = fault;
    }

    /// After so many puts more every one fails, and all else goes on.
    pub(crate) fn fails_puts(&self, after: usize, kind: Kind) {
        *self.puts.lock().unwrap() = Some((after, kind));
    }

    /// The greatest limit of a get so far.
    pub(crate) fn most_asked(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }

    /// Whether every delete finds its object under Object Lock.
    pub(crate) fn locks_deletes(&self, locked: bool) {
        self.locked.store(locked, Ordering::SeqCst);
    }

    /// Tells it to lock what is put for so long beyond its chain's end.
    pub(crate) fn lock_for(&self, time: Duration) {
        *self.lock_for.lock().unwrap() = Some(time);
    }

    /// Until when an object was locked when it was put last; `None` when it was not.
    pub(crate) fn locked_until(&self, name: &ObjectName) -> Option<SystemTime> {
        let locked = self.locked_until.lock().unwrap();
        locked.get(name.as_str()).copied()
    }

    /// How many calls came.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn before(&self, object: &str) -> Result<Fault, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let next = self.next.lock().unwrap().pop_front();
        let fault = next.unwrap_or(*self.then.lock().unwrap());
        match fault {
            Fault::Fail(kind) => Err(self.error(kind, object)),
            Fault::Stall => std::future::pending().await,
            fault => Ok(fault),
        }
    }

    fn before_put(&self, object: &str) -> Result<(), Error> {
        if let Some((left, kind)) = self.puts.lock().unwrap().as_mut() {
            if *left == 0 {
                return Err(self.error(*kind, object));
            }
            *left -= 1;
        }
        Ok(())
    }

    fn after<T>(&self, fault: Fault, object: &str, result: T) -> Result<T, Error> {
        match fault {
            Fault::Lost => Err(self.error(Kind::Transient, object)),
            _ => Ok(result),
        }
    }

    fn error(&self, kind: Kind, object: &str) -> Error {
        Error::new(kind, self.name(), object, "fails as it was told")
    }
}

#[async_trait]
impl Store for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        self.before_put(name.as_str())?;
        let fault = self.before(name.as_str()).await?;
        let bytes = if fault == Fault::Tear {
            bytes.slice(..bytes.len() / 2)
        } else {
            bytes
        };
        self.inner.put(name, bytes, mode).await?;
        self.locked_until.lock().unwrap().remove(name.as_str());
        self.after(fault, name.as_str(), ())
    }

    fn locks_for(&self) -> Option<Duration> {
        *self.lock_for.lock().unwrap()
    }

    async fn put_locked(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        until: SystemTime,
    ) -> Result<(), Error> {
        self.put(name, bytes, mode).await?;
        let mut locked = self.locked_until.lock().unwrap();
        locked.insert(name.as_str().to_owned(), until);
        Ok(())
    }

    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        self.most.fetch_max(limit, Ordering::SeqCst);
        let fault = self.before(name.as_str()).await?;
        let bytes = self.inner.get(name, limit).await?;
        let bytes = if fault == Fault::Tear {
            bytes.slice(..bytes.len() / 2)
        } else {
            bytes
        };
        self.after(fault, name.as_str(), bytes)
    }

    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        let fault = self.before(name.as_str()).await?;
        let found = self.inner.head(name).await?;
        self.after(fault, name.as_str(), found)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let fault = self.before(prefix).await?;
        let found = self.inner.list(prefix, after).await?;
        self.after(fault, prefix, found)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let fault = self.before(prefix).await?;
        let found = self.inner.folders(prefix).await?;
        self.after(fault, prefix, found)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let fault = self.before(name.as_str()).await?;
        if self.locked.load(Ordering::SeqCst) {
            return Err(self.error(Kind::Locked, name.as_str()));
        }
        self.inner.delete(name).await?;
        self.after(fault, name.as_str(), ())
    }

    async fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, Error> {
        let fault = self.before(name.as_str()).await?;
        let found = self.inner.versions(name).await?;
        self.after(fault, name.as_str(), found)
    }

    async fn get_version(
        &self,
        name: &ObjectName,
        version: &Version,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let fault = self.before(name.as_str()).await?;
        let bytes = self.inner.get_version(name, version, limit).await?;
        self.after(fault, name.as_str(), bytes)
    }
}

/// Remembers what is said.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Lines {
    /// What was said since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Monitor for Lines {
    fn say(&self, _: Level, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}
