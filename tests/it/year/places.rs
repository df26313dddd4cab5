//! A clock set by hand, and stores that fail as they are told.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat::clock::Clock;
use lifeboat::store::memory::Memory;
use lifeboat::store::{Error, Kind, Listed, ObjectName, Store, WriteMode};

#[derive(Debug, Default)]
pub(super) struct Hands(pub(super) Mutex<Duration>);

impl Clock for Hands {
    fn now(&self) -> SystemTime {
        // 2026-01-01T01:00:00Z
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_229_200) + *self.0.lock().unwrap()
    }
}

/// A store that can be away, fail after some writes, or be replaced by an empty one.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) memory: Mutex<Arc<Memory>>,
    pub(super) away: AtomicBool,
    /// Writes until it fails; endless when negative.
    pub(super) writes: AtomicI64,
}

impl Place {
    pub(super) fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(super) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory.lock().unwrap())
    }

    fn asked(&self, object: &str) -> Result<Arc<Memory>, Error> {
        if self.away.load(Ordering::SeqCst) {
            let message = "does not answer";
            return Err(Error::new(Kind::Transient, self.name, object, message));
        }
        Ok(self.memory())
    }
}

#[async_trait]
impl Store for Place {
    fn name(&self) -> &str {
        self.name
    }
    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        let memory = self.asked(name.as_str())?;
        if self.writes.load(Ordering::SeqCst) >= 0
            && self.writes.fetch_sub(1, Ordering::SeqCst) <= 0
        {
            self.writes.store(0, Ordering::SeqCst);
            let message = "is full";
            return Err(Error::new(Kind::Other, self.name, name.as_str(), message));
        }
        memory.put(name, bytes, mode).await
    }
    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        self.asked(name.as_str())?.get(name, limit).await
    }
    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        self.asked(name.as_str())?.head(name).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        self.asked(prefix)?.list(prefix, after).await
    }
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.asked(prefix)?.folders(prefix).await
    }
    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.asked(name.as_str())?.delete(name).await
    }
}
