//! What ends a wait.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Error, Request};
use crate::shutdown::{LOOK, Shutdown, Stopped};

/// How long the caller is ready to wait: until a signal, and maybe until a deadline.
///
/// Work that a signal must not interrupt, but hurry (cleanup), takes [`Wait::hurried`].
#[derive(Clone, Debug)]
pub struct Wait {
    shutdown: Shutdown,
    deadline: Option<Instant>,
    hurry: Option<(Shutdown, Duration)>,
}

impl Wait {
    /// Until the flag is raised.
    pub fn unless(shutdown: &Shutdown) -> Self {
        Self {
            shutdown: shutdown.clone(),
            deadline: None,
            hurry: None,
        }
    }

    /// For this long, whatever signal comes.
    pub fn at_most(time: Duration) -> Self {
        Self::unless(&Shutdown::never()).no_longer_than(time)
    }

    /// The same, but once this flag is raised no longer than `time` after that.
    #[must_use]
    pub fn hurried(mut self, flag: &Shutdown, time: Duration) -> Self {
        self.hurry = Some((flag.clone(), time));
        self
    }

    /// The same, but from now on no longer than `time`.
    #[must_use]
    pub fn no_longer_than(mut self, time: Duration) -> Self {
        let end = Instant::now().checked_add(time);
        self.deadline = match (self.deadline, end) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        self
    }

    /// The flag.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Whether the deadline, if any, has passed.
    pub fn is_over(&self) -> bool {
        self.ends().is_some_and(|end| Instant::now() >= end)
    }

    /// When it is over, as far as is known now.
    fn ends(&self) -> Option<Instant> {
        let hurried = self
            .hurry
            .as_ref()
            .and_then(|(flag, time)| flag.since()?.checked_add(*time));
        match (self.deadline, hurried) {
            (Some(deadline), Some(hurried)) => Some(deadline.min(hurried)),
            (deadline, hurried) => deadline.or(hurried),
        }
    }

    /// Sleeps, but not beyond the deadline.
    ///
    /// # Errors
    /// When the flag is raised.
    pub fn pause(&self, time: Duration) -> Result<(), Stopped> {
        let left = self.ends().map_or(time, |end| {
            end.saturating_duration_since(Instant::now()).min(time)
        });
        self.shutdown.sleep(left)
    }

    /// The work's outcome, or the reason why it was given up.
    pub(super) async fn end<T>(
        &self,
        request: &Request,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let over = async {
            loop {
                if let Err(stopped) = self.shutdown.check() {
                    return Error::Stopped(stopped);
                }
                if self.is_over() {
                    return Error::Deadline {
                        url: request.shown(),
                    };
                }
                let left = self.ends().map_or(LOOK, |end| {
                    end.saturating_duration_since(Instant::now()).min(LOOK)
                });
                tokio::time::sleep(left).await;
            }
        };
        tokio::select! {
            biased;
            error = over => Err(error),
            outcome = work => outcome,
        }
    }
}
