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
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        self.since().is_some()
    }

    /// `Err(Stopped)` once it is raised.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.is_raised() {
            Err(Stopped)
        } else {
            Ok(())
        }
    }

    /// Sleeps, or returns `Err(Stopped)` at once when it is raised.
    pub fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        let since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, _) = self
            .0
            .raised
            .wait_timeout_while(since, time, |since| since.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        if since.is_some() {
            Err(Stopped)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
