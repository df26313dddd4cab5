//! Nobody asks before the moment that the server named.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::{Response, Wait};
use crate::shutdown::Stopped;

/// A number of seconds above this is a moment, not a span: the Cloud Controller puts the epoch
/// seconds of the reset into `Retry-After`.
const A_MOMENT: u64 = 1_000_000_000;
/// How long to wait where the server does not say.
const UNSAID: Duration = Duration::from_secs(5);

/// Shared by all threads of a session.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// Waits until it is open.
    ///
    /// # Errors
    /// A signal; `Ok(Err(time))` when the wait ends before the gate opens.
    pub(super) fn pass(&self, wait: &Wait) -> Result<Result<(), Duration>, Stopped> {
        loop {
            let left = self.left();
            if left.is_zero() {
                return Ok(Ok(()));
            }
            if wait.is_over() {
                return Ok(Err(left));
            }
            wait.pause(left)?;
        }
    }

    fn left(&self) -> Duration {
        let closed = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        closed.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    /// Closes it as a refusal asks; a later moment is never taken back. Gives how long that is.
    pub(super) fn close(&self, refusal: &Response, now: SystemTime) -> Duration {
        let time = asked(
            refusal.header("retry-after"),
            refusal.header("x-ratelimit-reset"),
            now,
        );
        let end = Instant::now().checked_add(time);
        let mut closed = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *closed = match (*closed, end) {
            (Some(old), Some(new)) => Some(old.max(new)),
            (old, new) => new.or(old),
        };
        time
    }
}

/// How long the headers ask to wait: at least a second, so that a clock ahead of the server's
/// does not hammer it.
fn asked(retry_after: Option<&str>, reset: Option<&str>, now: SystemTime) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let read = |text: Option<&str>| text.and_then(|text| text.trim().parse::<u64>().ok());
    let of = |seconds: u64| match seconds >= A_MOMENT {
        // The whole of that second belongs to the old window.
        true => (Duration::from_secs(seconds) + Duration::from_millis(200)).saturating_sub(now),
        false => Duration::from_secs(seconds),
    };
    let told = read(retry_after).or_else(|| read(reset).filter(|moment| *moment >= A_MOMENT));
    told.map_or(UNSAID, of).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_and_a_span_are_told_apart() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (retry_after, reset, seconds) in [
            (Some("7"), None, 7.0),
            (Some("1800000060"), Some("1800000060"), 60.2),
            (None, Some("1800000030"), 30.2),
            (None, Some("30"), 5.0),
            (Some("1799999000"), None, 1.0),
            (Some("0"), None, 1.0),
            (Some("Wed, 21 Oct 2026 07:28:00 GMT"), None, 5.0),
            (None, None, 5.0),
        ] {
            let time = asked(retry_after, reset, now).as_secs_f64();
            assert!(
                (time - seconds).abs() < 0.01,
                "{retry_after:?} {reset:?}: {time}"
            );
        }
    }
}
