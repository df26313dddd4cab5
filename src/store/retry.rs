//! Waiting for a store that fails: the one policy for all kinds of them.
//!
//! Only [`Kind::Transient`] is tried again, with growing pauses, as long as the use case has
//! [`Patience`]. People hear of an outage once, and once of its end.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::patience::Patience;
use super::{Error, Kind, Listed, ObjectName, Store, WriteMode};
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

/// The second outage within this time is not told, nor a third within twice as long.
const QUIET: Duration = Duration::from_secs(60);

/// A store that is waited for.
pub struct Retry {
    store: Arc<dyn Store>,
    settings: RetrySettings,
    patience: Patience,
    monitor: Arc<dyn Monitor>,
    shutdown: Shutdown,
    outage: Mutex<Outage>,
}

/// What people know of a store that does not answer.
#[derive(Debug, Default)]
struct Outage {
    /// Calls that failed and try again now.
    failing: usize,
    /// Since when it is known.
    told: Option<Instant>,
    /// When another one is worth a line: a store may come and go for hours.
    next: Option<Instant>,
    /// How often it was told.
    times: u32,
}

/// A call that failed and tries again.
struct Failing<'a>(&'a Retry);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.outage_locked().failing -= 1;
    }
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
            outage: Mutex::default(),
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
                    self.answered();
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
                failing = Some(self.fails(&error, left));
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

    /// Counts a failing call, and tells people unless they know or have heard it often.
    fn fails(&self, error: &Error, left: Duration) -> Failing<'_> {
        let mut outage = self.outage_locked();
        outage.failing += 1;
        let now = Instant::now();
        if outage.told.is_none() && outage.next.is_none_or(|next| next <= now) {
            outage.told = Some(now);
            outage.next = Some(now + QUIET.saturating_mul(1 << outage.times.min(10)));
            outage.times += 1;
            self.monitor.warn(&format!(
                "store {} does not answer ({}), trying again for up to {} s",
                self.name(),
                error.message,
                left.as_secs()
            ));
        }
        Failing(self)
    }

    /// An answer ends an outage once no other call is failing.
    fn answered(&self) {
        let mut outage = self.outage_locked();
        if outage.failing > 0 {
            return;
        }
        if let Some(since) = outage.told.take() {
            self.monitor.info(&format!(
                "store {} answers again after {}",
                self.name(),
                spoken(since.elapsed())
            ));
        }
    }

    fn outage_locked(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
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
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, name};
    use super::super::faulty::{Fault, Faulty, Lines};
    use super::super::memory::Memory;
    use super::*;
    use crate::clock::{Clock, SystemClock};

    struct Setup {
        faulty: Arc<Faulty>,
        retry: Arc<Retry>,
        patience: Patience,
        lines: Arc<Lines>,
        shutdown: Shutdown,
    }

    fn setup() -> Setup {
        let memory = Arc::new(Memory::new("dc2", Arc::new(SystemClock)));
        let faulty = Arc::new(Faulty::new(memory));
        let settings = RetrySettings {
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_millis(20),
            attempt: Duration::from_millis(200),
            listing: Duration::from_millis(200),
            after_signal: Duration::from_millis(100),
        };
        let patience = Patience::new(Duration::from_millis(300));
        let lines = Arc::new(Lines::default());
        let shutdown = Shutdown::new();
        let store: Arc<dyn Store> = faulty.clone();
        let retry = Arc::new(Retry::new(
            store,
            settings,
            patience.clone(),
            lines.clone(),
            shutdown.clone(),
        ));
        Setup {
            faulty,
            retry,
            patience,
            lines,
            shutdown,
        }
    }

    async fn put(store: &dyn Store, mode: WriteMode) -> Result<(), Error> {
        store
            .put(&name("a"), Bytes::from_static(b"text"), mode)
            .await
    }

    const TRANSIENT: Fault = Fault::Fail(Kind::Transient);

    #[tokio::test]
    async fn a_store_that_fails_for_a_while_is_waited_for_and_told_of_once() {
        let Setup {
            faulty,
            retry,
            lines,
            ..
        } = setup();
        faulty.next([TRANSIENT; 4]);
        put(&*retry, WriteMode::Overwrite).await.unwrap();
        assert_eq!(faulty.calls(), 5);
        let said = lines.take();
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(
            said[0],
            "store dc2 does not answer (fails as it was told), trying again for up to 0 s"
        );
        assert!(said[1].starts_with("store dc2 answers again after "));
        // One failure alone is not worth a line, nor is the next outage soon after.
        for failures in [1, 4] {
            faulty.next(vec![TRANSIENT; failures]);
            put(&*retry, WriteMode::Overwrite).await.unwrap();
            assert!(lines.take().is_empty());
        }
    }

    #[tokio::test]
    async fn a_store_that_stays_away_is_given_up() {
        let Setup { faulty, retry, .. } = setup();
        faulty.always(TRANSIENT);
        let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
        assert_eq!(error.kind, Kind::Transient);
        assert!(
            error.message.starts_with("fails as it was told (tried "),
            "{error}"
        );
        assert!(faulty.calls() > 5);
    }

    #[tokio::test]
    async fn a_stalled_call_is_given_up_and_tried_again() {
        let Setup { faulty, retry, .. } = setup();
        faulty.next([Fault::Stall]);
        put(&*retry, WriteMode::Overwrite).await.unwrap();
        faulty.always(Fault::Stall);
        let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
        assert!(
            error.message.contains("did not end within 0.2 s"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_look_waits_in_all_and_a_stream_after_each_failure() {
        let Setup {
            faulty,
            retry,
            patience,
            ..
        } = setup();
        faulty.always(Fault::Stall);
        for (streams, least, most) in [(false, 300, 600), (true, 500, 900)] {
            if streams {
                patience.stream();
            }
            let begun = Instant::now();
            let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
            let took = begun.elapsed().as_millis();
            assert!((least..most).contains(&took), "{took} ms: {error}");
        }
    }

    #[tokio::test]
    async fn what_will_not_change_is_not_tried_again() {
        let Setup { faulty, retry, .. } = setup();
        for kind in [
            Kind::NotFound,
            Kind::AlreadyExists,
            Kind::Denied,
            Kind::TooLarge,
            Kind::Other,
        ] {
            let calls = faulty.calls();
            faulty.next([Fault::Fail(kind)]);
            assert_eq!(retry.get(&name("a"), 1).await.unwrap_err().kind, kind);
            assert_eq!(faulty.calls(), calls + 1);
        }
    }

    #[tokio::test]
    async fn a_lost_answer_to_a_creation_is_no_conflict() {
        let Setup { faulty, retry, .. } = setup();
        faulty.next([Fault::Lost]);
        put(&*retry, WriteMode::CreateNew).await.unwrap();
        // But somebody else's object is, and so is ours a second time.
        let other = Bytes::from_static(b"other");
        faulty.next([TRANSIENT]);
        let error = retry
            .put(&name("a"), other, WriteMode::CreateNew)
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::AlreadyExists);
        let again = put(&*retry, WriteMode::CreateNew).await.unwrap_err();
        assert_eq!(again.kind, Kind::AlreadyExists);
    }

    #[tokio::test]
    async fn a_signal_ends_the_waiting_but_not_what_can_be_done_at_once() {
        let Setup {
            faulty,
            retry,
            shutdown,
            ..
        } = setup();
        shutdown.raise();
        put(&*retry, WriteMode::Overwrite).await.unwrap();
        let calls = faulty.calls();
        for fault in [TRANSIENT, Fault::Stall] {
            faulty.next([fault]);
            let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
            assert_eq!(error.kind, Kind::Stopped);
        }
        assert_eq!(faulty.calls(), calls + 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_is_waited_for_is_a_store() {
        let Setup { faulty, retry, .. } = setup();
        faulty.next([Fault::None, TRANSIENT, Fault::Lost, TRANSIENT]);
        conformance::all(retry, "scope", SystemClock.now()).await;
    }

    #[test]
    fn pauses_grow_and_differ() {
        let Setup { retry, .. } = setup();
        for attempts in 1..40 {
            let pause = retry.pause("a", attempts);
            let full = Duration::from_millis(20)
                .min(Duration::from_millis(2) * (1 << attempts.min(10)) / 2);
            assert!(pause <= full && pause >= full / 2, "{attempts}: {pause:?}");
        }
        assert_ne!(retry.pause("a", 20), retry.pause("b", 20));
    }
}
