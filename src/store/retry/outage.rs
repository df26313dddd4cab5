//! What people hear of a store that does not answer: its begin once, its end once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::Error;
use crate::clock::spoken;
use crate::monitor::Monitor;

/// The second outage within this time is not told, nor a third within twice as long.
const QUIET: Duration = Duration::from_secs(60);

/// What people know of one store.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
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
pub(super) struct Failing<'a>(&'a Outage);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.known().failing -= 1;
    }
}

impl Outage {
    /// Counts a failing call, and tells people unless they know or have heard it often.
    pub(super) fn fails(
        &self,
        store: &str,
        error: &Error,
        left: Duration,
        monitor: &dyn Monitor,
    ) -> Failing<'_> {
        let mut known = self.known();
        known.failing += 1;
        let now = Instant::now();
        if known.told.is_none() && known.next.is_none_or(|next| next <= now) {
            known.told = Some(now);
            known.next = Some(now + QUIET.saturating_mul(1 << known.times.min(10)));
            known.times += 1;
            monitor.warn(&format!(
                "store {store} does not answer ({}), trying again for up to {} s",
                error.message,
                left.as_secs()
            ));
        }
        Failing(self)
    }

    /// An answer ends an outage once no other call is failing.
    pub(super) fn answered(&self, store: &str, monitor: &dyn Monitor) {
        let mut known = self.known();
        if known.failing > 0 {
            return;
        }
        if let Some(since) = known.told.take() {
            monitor.info(&format!(
                "store {store} answers again after {}",
                spoken(since.elapsed())
            ));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
