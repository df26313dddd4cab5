//! Waiting for a store that fails: the one policy for all kinds of them.
//!
//! Only [`Kind::Transient`] is tried again, with growing pauses, as long as the use case has
//! [`Patience`]. People hear of an outage once, and once of its end.

mod outage;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use self::outage::Outage;
use super::patience::Patience;
use super::{Error, Kind, Listed, ObjectName, Store, Version, WriteMode};
use crate::clock::spoken;
use crate::monitor::Monitor;
use crate::shutdown::{LOOK, Shutdown};

/// How long to wait, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// The first pause; each is twice the one before.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// One attempt at one object is given up after this (stores have closer limits of their
    /// own).
    pub attempt: Duration,
    /// One attempt at a listing, which may have very many pages.
    pub listing: Duration,
    /// How long an attempt may go on after a signal.
    pub after_signal: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            attempt: Duration::from_secs(400),
            listing: Duration::from_secs(3600),
            // Concourse leaves ten seconds, of which the unlock needs most.
            after_signal: Duration::from_secs(3),
        }
    }
}

/// Of the patience of a look: how long one attempt may take that seems to get on.
const LOOK_ATTEMPT: u32 = 3;

/// A store that is waited for.
pub struct Retry {
    store: Arc<dyn Store>,
    settings: RetrySettings,
    patience: Patience,
    monitor: Arc<dyn Monitor>,
    shutdown: Shutdown,
    outage: Outage,
}

impl Retry {
    /// Waits for this store: while a stream waits, until the patience ends after a call's first
    /// failure; before, after the call's begin. After a signal a call is still tried once, but
    /// not again.
    pub fn new(
        store: Arc<dyn Store>,
        settings: RetrySettings,
        patience: Patience,
        monitor: Arc<dyn Monitor>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            store,
            settings,
            patience,
            monitor,
            shutdown,
            outage: Outage::default(),
        }
    }

    /// Calls until it succeeds, fails for good or time is up; tells how often it called.
    async fn until_answered<T, F>(
        &self,
        object: &str,
        attempt: Duration,
        call: impl Fn() -> F,
    ) -> (Result<T, Error>, u32)
    where
        F: Future<Output = Result<T, Error>>,
    {
        let begun = Instant::now();
        let mut first_failure = None;
        let mut failing = None;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let attempt = if self.patience.is_streaming() {
                attempt
            } else {
                attempt.min(self.patience.time().saturating_mul(LOOK_ATTEMPT))
            };
            let result = tokio::select! {
                biased;
                result = timeout(attempt, call()) => result.unwrap_or_else(|_elapsed| {
                    let message = format!("did not end within {}", spoken(attempt));
                    Err(Error::new(Kind::Transient, self.name(), object, message))
                }),
                () = self.signal(self.settings.after_signal) => Err(self.stopped(object)),
            };
            let error = match result {
                Err(error) if error.kind == Kind::Transient => error,
                Err(error) if error.kind == Kind::Stopped => return (Err(error), attempts),
                answer => {
                    drop(failing.take());
                    self.outage.answered(self.name(), &*self.monitor);
                    return (answer, attempts);
                }
            };
            let failed = *first_failure.get_or_insert_with(Instant::now);
            let from = if self.patience.is_streaming() {
                failed
            } else {
                begun
            };
            let deadline = from + self.patience.time();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (
                    Err(self.exhausted(error, attempts, begun.elapsed())),
                    attempts,
                );
            }
            if attempts > 1 && failing.is_none() {
                failing = Some(self.outage.fails(self.name(), &error, left, &*self.monitor));
            }
            let pause = self.pause(object, attempts).min(left);
            tokio::select! {
                biased;
                () = self.signal(Duration::ZERO) => return (Err(self.stopped(object)), attempts),
                () = sleep(pause) => {}
            }
        }
    }

    async fn stored<F>(
        &self,
        name: &ObjectName,
        bytes: &Bytes,
        put: impl Fn() -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let limit = self.settings.attempt;
        let (result, attempts) = self.until_answered(name.as_str(), limit, put).await;
        match result {
            // An attempt whose answer was lost may have stored it.
            Err(error) if error.kind == Kind::AlreadyExists && attempts > 1 => {
                match self.get(name, bytes.len() as u64).await {
                    Ok(stored) if stored == *bytes => Ok(()),
                    Err(unread) if unread.kind != Kind::TooLarge => Err(unread),
                    _ => Err(error),
                }
            }
            other => other,
        }
    }

    /// Ends when the flag has been raised and this time has gone by.
    async fn signal(&self, grace: Duration) {
        while !self.shutdown.is_raised() {
            sleep(LOOK).await;
        }
        sleep(grace).await;
    }

    /// Doubling, and up to half of it off by name and number, so that many uploads do not
    /// come back in the same moment.
    fn pause(&self, object: &str, attempts: u32) -> Duration {
        let full = self
            .settings
            .first_pause
            .saturating_mul(1 << (attempts - 1).min(16))
            .min(self.settings.longest_pause);
        let mut hasher = DefaultHasher::new();
        (self.name(), object, attempts).hash(&mut hasher);
        let thousandths = u32::try_from(hasher.finish() % 500).unwrap_or(0);
        full.saturating_sub(full / 1000 * thousandths)
    }

    fn exhausted(&self, error: Error, attempts: u32, tried: Duration) -> Error {
        let times = match attempts {
            1 => "once".to_owned(),
            more => format!("{more} times"),
        };
        let message = format!("{} (tried {times} in {})", error.message, spoken(tried));
        Error { message, ..error }
    }

    fn stopped(&self, object: &str) -> Error {
        Error::new(Kind::Stopped, self.name(), object, "stopped by a signal")
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retry({:?})", self.store)
    }
}

#[async_trait]
impl Store for Retry {
    fn name(&self) -> &str {
        self.store.name()
    }

    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        let put = || self.store.put(name, bytes.clone(), mode);
        self.stored(name, &bytes, put).await
    }

    fn locks_for(&self) -> Option<Duration> {
        self.store.locks_for()
    }

    async fn put_locked(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        until: SystemTime,
    ) -> Result<(), Error> {
        let put = || self.store.put_locked(name, bytes.clone(), mode, until);
        self.stored(name, &bytes, put).await
    }

    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        let get = || self.store.get(name, limit);
        self.until_answered(name.as_str(), self.settings.attempt, get)
            .await
            .0
    }

    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        let head = || self.store.head(name);
        self.until_answered(name.as_str(), self.settings.attempt, head)
            .await
            .0
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let list = || self.store.list(prefix, after);
        self.until_answered(prefix, self.settings.listing, list)
            .await
            .0
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let folders = || self.store.folders(prefix);
        self.until_answered(prefix, self.settings.listing, folders)
            .await
            .0
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let delete = || self.store.delete(name);
        self.until_answered(name.as_str(), self.settings.attempt, delete)
            .await
            .0
    }

    async fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, Error> {
        let versions = || self.store.versions(name);
        self.until_answered(name.as_str(), self.settings.attempt, versions)
            .await
            .0
    }

    async fn get_version(
        &self,
        name: &ObjectName,
        version: &Version,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let get = || self.store.get_version(name, version, limit);
        self.until_answered(name.as_str(), self.settings.attempt, get)
            .await
            .0
    }
}

#[cfg(test)]
mod tests;
