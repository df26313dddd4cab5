//! A store in memory: the model of the contract, and what tests use.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Error, Kind, Listed, ObjectName, Store, WriteMode, whole_seconds};
use crate::clock::Clock;

/// Objects in memory.
pub struct Memory {
    name: String,
    clock: Arc<dyn Clock>,
    objects: Mutex<BTreeMap<String, (Bytes, SystemTime)>>,
}

impl Memory {
    /// An empty store.
    pub fn new(name: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: name.to_owned(),
            clock,
            objects: Mutex::default(),
        }
    }

    /// Changes an object behind everybody's back; whether there was one.
    pub fn damage(&self, name: &str, how: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut objects = self.objects();
        let Some((bytes, _)) = objects.get_mut(name) else {
            return false;
        };
        let mut changed = bytes.to_vec();
        how(&mut changed);
        *bytes = Bytes::from(changed);
        true
    }

    /// All names, in byte order.
    pub fn names(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, (Bytes, SystemTime)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, kind: Kind, name: &ObjectName, message: &str) -> Error {
        Error::new(kind, &self.name, name.as_str(), message)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({})", self.name)
    }
}

#[async_trait]
impl Store for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        let now = whole_seconds(self.clock.now());
        let mut objects = self.objects();
        if mode == WriteMode::CreateNew && objects.contains_key(name.as_str()) {
            return Err(self.error(Kind::AlreadyExists, name, "exists already"));
        }
        objects.insert(name.as_str().to_owned(), (bytes, now));
        Ok(())
    }

    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        let Some((bytes, _)) = self.objects().get(name.as_str()).cloned() else {
            return Err(self.error(Kind::NotFound, name, "is not there"));
        };
        if bytes.len() as u64 > limit {
            return Err(Error::too_large(&self.name, name, limit));
        }
        Ok(bytes)
    }

    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        let objects = self.objects();
        Ok(objects
            .get_key_value(name.as_str())
            .map(|(name, object)| listed(name, object)))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(self
            .objects()
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, object)| listed(name, object))
            .collect())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut found: Vec<String> = self
            .objects()
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter_map(|(name, _)| Some(name[prefix.len()..].split_once('/')?.0.to_owned()))
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.objects().remove(name.as_str());
        Ok(())
    }
}

fn listed(name: &str, (bytes, modified): &(Bytes, SystemTime)) -> Listed {
    Listed {
        name: name.to_owned(),
        size: bytes.len() as u64,
        modified: *modified,
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_is_a_store() {
        let store = Arc::new(Memory::new("model", Arc::new(SystemClock)));
        conformance::all(store.clone(), "scope", SystemClock.now()).await;
        conformance::a_listing_has_many_pages(store, "many", 2500).await;
    }
}
