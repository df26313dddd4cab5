//! A store in a directory: a local disk, a NAS that somebody has mounted.
//!
//! An object is one file under its own name. It is written to a hidden `.tmp` beside the
//! objects, synced, and only then given its name, so that a reader, a crash or a full disk
//! never shows half of one. The directory itself must exist: if it does not, the NAS is not
//! mounted, and a backup on the worker's own disk would be none.

mod files;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Error, Kind, Listed, ObjectName, Store, WriteMode};
use crate::clock::Clock;
use files::Files;

/// How long one object may take: NFS waits for ever for a server that is gone.
const OBJECT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a listing may take: a file's size and time cost one round trip each.
const LIST_TIMEOUT: Duration = Duration::from_secs(1800);
/// What a run that died left behind is removed when it is older than this.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);

/// Which directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorySettings {
    /// The store's name, for people.
    pub name: String,
    /// Where it is. Must exist; what is below is created.
    pub path: PathBuf,
}

/// A store in a directory.
///
/// File system calls run on tokio's blocking threads. One that hangs is given up, but its
/// thread stays until the kernel lets it go: end the runtime with a time-out.
pub struct Directory {
    name: String,
    files: Arc<Files>,
    clock: Arc<dyn Clock>,
    swept: AtomicBool,
}

impl Directory {
    /// A store at this path. Nothing is read or written before the first call.
    pub fn new(settings: DirectorySettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            files: Arc::new(Files::new(&settings.name, settings.path)),
            name: settings.name,
            clock,
            swept: AtomicBool::new(false),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        object: &str,
        limit: Duration,
        work: impl FnOnce(&Files) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let files = Arc::clone(&self.files);
        match tokio::time::timeout(limit, tokio::task::spawn_blocking(move || work(&files))).await {
            Ok(Ok(result)) => result,
            Ok(Err(failed)) => Err(Error::new(
                Kind::Other,
                &self.name,
                object,
                format!("file system work ended abnormally: {failed}"),
            )),
            Err(_elapsed) => Err(Error::new(
                Kind::Transient,
                &self.name,
                object,
                format!(
                    "{} did not answer for {} s (is its server down?)",
                    self.files.path().display(),
                    limit.as_secs()
                ),
            )),
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Directory({}, {})",
            self.name,
            self.files.path().display()
        )
    }
}

#[async_trait]
impl Store for Directory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        let leftovers_before = (!self.swept.swap(true, Ordering::Relaxed))
            .then(|| self.clock.now().checked_sub(LEFTOVER_AGE))
            .flatten();
        let object = name.clone();
        self.blocking(name.as_str(), OBJECT_TIMEOUT, move |files| {
            if let Some(before) = leftovers_before {
                files.remove_leftovers(before);
            }
            files.put(&object, &bytes, mode)
        })
        .await
    }

    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        let object = name.clone();
        self.blocking(name.as_str(), OBJECT_TIMEOUT, move |files| {
            files.get(&object, limit)
        })
        .await
    }

    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        let object = name.clone();
        self.blocking(name.as_str(), OBJECT_TIMEOUT, move |files| {
            files.head(&object)
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let wanted = prefix.to_owned();
        let after = after.map(str::to_owned);
        self.blocking(prefix, LIST_TIMEOUT, move |files| {
            files.list(&wanted, after.as_deref())
        })
        .await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let wanted = prefix.to_owned();
        self.blocking(prefix, LIST_TIMEOUT, move |files| files.folders(&wanted))
            .await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let object = name.clone();
        self.blocking(name.as_str(), OBJECT_TIMEOUT, move |files| {
            files.delete(&object)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
