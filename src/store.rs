//! One place that keeps objects: an S3 bucket or a directory.
//!
//! Knows names, bytes and times; never what an object contains. The contract below is
//! checked by one conformance suite for every implementation. Governed by
//! `docs/format.md` (names) and `docs/design.md` (copies, failure policy).
//!
//! [`directory::Directory`] and [`s3::S3`] do each call once and say what came of it;
//! [`retry::Retry`] around one of them waits for it; [`copies::Copies`] holds all the stores
//! of one run. [`memory::Memory`] is the model that tests compare with.

#![warn(missing_docs)]

pub mod copies;
pub mod directory;
pub mod memory;
pub mod patience;
pub mod retry;
pub mod s3;

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
pub(crate) mod faulty;

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

/// Where objects are kept.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The name from the configuration, for people.
    fn name(&self) -> &str;

    /// Stores an object whole. Readers see all of it or nothing, whatever happens to the
    /// writer. Success means that the store has answered for it.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] with [`WriteMode::CreateNew`] when there is one (best effort
    /// on S3 servers that ignore conditions); others as they come.
    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error>;

    /// How long beyond its chain's end this store is told to lock an object (Object Lock); `None`
    /// when it locks nothing.
    fn locks_for(&self) -> Option<Duration> {
        None
    }

    /// [`Store::put`] of an object that nobody can delete or replace until this time, where the
    /// store is told to lock; elsewhere as any other.
    ///
    /// # Errors
    /// As [`Store::put`], and when the store cannot lock although it is told to.
    async fn put_locked(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        _until: SystemTime,
    ) -> Result<(), Error> {
        self.put(name, bytes, mode).await
    }

    /// Reads an object whole.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::TooLarge`] when it has more than `limit` bytes, of which
    /// no more than `limit` are then held in memory.
    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error>;

    /// Size and time of an object, `None` when there is none.
    ///
    /// # Errors
    /// When the store does not answer or denies it.
    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error>;

    /// All objects whose names start with `prefix`, in byte order of their names; with
    /// `after`, only those greater than it (asked of the store, not filtered here).
    /// Nothing that is half-written is listed, nor anything whose name is no [`ObjectName`]:
    /// that is somebody else's. A prefix or `after` below which there is nothing gives none.
    ///
    /// # Errors
    /// When the store does not answer or denies it.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error>;

    /// The first segments behind `prefix`, which ends with a `/` or is empty, of all names
    /// that have at least one more: what are directories to people. In byte order, asked of the
    /// store, so that it costs what there is on this level and not what lies below. One of them
    /// may be empty.
    ///
    /// # Errors
    /// When the store does not answer or denies it.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// Removes an object; none there is success.
    ///
    /// # Errors
    /// When the store does not answer or denies it.
    async fn delete(&self, name: &ObjectName) -> Result<(), Error>;

    /// What the store still keeps of an object: every version with content, newest first, the
    /// current one too. An object that was deleted may have some. None from a store that keeps
    /// no versions.
    ///
    /// # Errors
    /// When the store does not answer or denies it.
    async fn versions(&self, _name: &ObjectName) -> Result<Vec<Version>, Error> {
        Ok(Vec::new())
    }

    /// Reads one version of an object whole.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn get_version(
        &self,
        name: &ObjectName,
        _version: &Version,
        _limit: u64,
    ) -> Result<Bytes, Error> {
        let message = "has no earlier versions in a store of this kind";
        Err(Error::new(
            Kind::NotFound,
            self.name(),
            name.as_str(),
            message,
        ))
    }
}

/// Puts an object of a chain that takes backups until `chain_end`: where the store locks, until
/// its days after that, so that the chain's last backup is protected as long as its first. An
/// object whose lock would have ended by `now` is put without one.
///
/// # Errors
/// As [`Store::put_locked`].
pub async fn put_of_chain(
    store: &dyn Store,
    name: &ObjectName,
    bytes: Bytes,
    mode: WriteMode,
    chain_end: SystemTime,
    now: SystemTime,
) -> Result<(), Error> {
    match store.locks_for().map(|time| chain_end + time) {
        Some(until) if until > now => store.put_locked(name, bytes, mode, until).await,
        _ => store.put(name, bytes, mode).await,
    }
}

/// Whether an object may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// It must not.
    CreateNew,
    /// It may; the new bytes win (for names that are digests both are the same).
    Overwrite,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, below the store's prefix.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, by the store's clock, to the second.
    pub modified: SystemTime,
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// What the store calls it.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, by the store's clock, to the second.
    pub modified: SystemTime,
    /// Whether it is what a get gives.
    pub is_current: bool,
}

/// A name below the store's prefix: segments of `[A-Za-z0-9][A-Za-z0-9._-]{0,127}` joined by
/// `/`. Anything else is refused, so that no name leaves its directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks a name.
    ///
    /// # Errors
    /// When a segment is empty, too long, or has another character.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.split('/').all(is_segment) {
            Ok(Self(name))
        } else {
            Err(Error::new(
                Kind::Other,
                "",
                &name.escape_debug().to_string(),
                "is not a valid object name",
            ))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is one valid segment of a name.
pub fn is_segment(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.len() <= 128
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of failure it is: what callers branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such object.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The store refuses these credentials or this action; trying again is no use.
    Denied,
    /// It is under Object Lock: it may be deleted or replaced another day.
    Locked,
    /// Larger than the caller allows.
    TooLarge,
    /// The store may answer another time (network, 5xx, throttled, time-out).
    Transient,
    /// Given up because a signal asked us to stop; says nothing about the store.
    Stopped,
    /// Anything else; trying again is no use (no such bucket, wrong region, full disk).
    Other,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind it is.
    pub kind: Kind,
    /// The store's configured name; empty when it concerns several, which the message names.
    pub store: String,
    /// The object's name, or the prefix that was listed.
    pub object: String,
    /// What happened and, where there is something to do, what. No secrets, no trailing dot.
    pub message: String,
}

impl Error {
    /// An error of this store about this object.
    pub fn new(kind: Kind, store: &str, object: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            store: store.to_owned(),
            object: object.to_owned(),
            message: message.into(),
        }
    }

    fn too_large(store: &str, name: &ObjectName, limit: u64) -> Self {
        let message = format!("is larger than the {limit} bytes that such an object may have");
        Self::new(Kind::TooLarge, store, name.as_str(), message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.store.is_empty(), self.object.is_empty()) {
            (true, true) => f.write_str(&self.message),
            (true, false) => write!(f, "{} {}", self.object, self.message),
            (false, true) => write!(f, "store {}: {}", self.store, self.message),
            (false, false) => write!(f, "store {}: {}: {}", self.store, self.object, self.message),
        }
    }
}

impl std::error::Error for Error {}

/// A time without its fraction of a second, as stores give it.
fn whole_seconds(time: SystemTime) -> SystemTime {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(time, |since| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_their_store() {
        for good in [
            "a",
            "east/backups/20261122T010203Z-7f3a09bc.json",
            "A-_.z/0",
        ] {
            assert!(ObjectName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(129);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            ".tmp/x",
            "a b",
            "ä",
            "a\\b",
            "-a",
            "a\nb",
            long.as_str(),
        ] {
            assert!(ObjectName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_names_store_object_and_reason() {
        let error = Error::new(Kind::Other, "nas", "a/b", "the store is full");
        assert_eq!(error.to_string(), "store nas: a/b: the store is full");
        let error = Error::new(Kind::Other, "nas", "", "is full");
        assert_eq!(error.to_string(), "store nas: is full");
        let error = Error::new(Kind::Other, "", "a/b", "is in no store");
        assert_eq!(error.to_string(), "a/b is in no store");
    }
}
