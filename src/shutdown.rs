//! The wish to stop: SIGTERM or SIGINT, seen by everything that can wait.
//!
//! A [`Shutdown`] is a cheap clone of one flag. Whatever blocks (a remote command, a full
//! queue, a store's answer) takes one and gives up with [`Stopped`] soon after it is raised.
//! Work that must still be done after a signal (unlock, cleanup) is given [`Shutdown::never`].

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often something that cannot be woken looks at the flag.
pub const LOOK: Duration = Duration::from_millis(100);

/// The error of work given up because of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped by a signal")]
pub struct Stopped;

/// One flag with many observers.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<State>);

#[derive(Debug, Default)]
struct State {
    since: Mutex<Option<Instant>>,
    raised: Condvar,
    /// Raised with this one.
    parent: Option<Shutdown>,
    /// Raised from then on.
    deadline: Option<Instant>,
}

impl Shutdown {
    /// A flag that nobody has raised yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that nobody can raise, for work that a signal must not interrupt.
    pub fn never() -> Self {
        Self::default()
    }

    /// A flag that is raised with this one, or when the time is over.
    #[must_use]
    pub fn limited(&self, time: Duration) -> Self {
        Self(Arc::new(State {
            parent: Some(self.clone()),
            deadline: Instant::now().checked_add(time),
            ..State::default()
        }))
    }

    /// Raises the flag. A second call changes nothing: guardian repeats SIGTERM each second.
    pub fn raise(&self) {
        let mut since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none() {
            *since = Some(Instant::now());
        }
        self.0.raised.notify_all();
    }

    /// Since when it is raised.
    pub fn since(&self) -> Option<Instant> {
        let own = *self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = self.0.parent.as_ref().and_then(Self::since);
        let deadline = self.0.deadline.filter(|end| Instant::now() >= *end);
        [own, parent, deadline].into_iter().flatten().min()
    }

    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        self.since().is_some()
    }

    /// `Err(Stopped)` once it is raised.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn check(&self) -> Result<(), Stopped> {
        if self.is_raised() {
            Err(Stopped)
        } else {
            Ok(())
        }
    }

    /// Sleeps, or returns `Err(Stopped)` soon after it is raised.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        let end = Instant::now().checked_add(time);
        loop {
            self.check()?;
            let left = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(());
            }
            // A parent or a deadline cannot wake a sleeper; it looks by itself.
            let nap = if self.0.parent.is_some() {
                left.min(LOOK)
            } else {
                left
            };
            let since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
            drop(
                self.0
                    .raised
                    .wait_timeout_while(since, nap, |since| since.is_none()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_flag_is_raised_by_time_and_by_its_parent() {
        let parent = Shutdown::new();
        let soon = parent.limited(Duration::from_millis(1));
        assert_eq!(soon.sleep(Duration::from_secs(60)), Err(Stopped));
        assert!(!parent.is_raised());
        let late = parent.limited(Duration::from_secs(3600));
        assert!(!late.is_raised());
        parent.raise();
        assert_eq!(late.since(), parent.since());
    }

    #[test]
    fn a_sleeper_wakes_when_the_flag_is_raised() {
        let flag = Shutdown::new();
        let other = flag.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
        flag.raise();
        assert_eq!(sleeper.join().unwrap(), Err(Stopped));
        assert_eq!(flag.check(), Err(Stopped));
    }
}
