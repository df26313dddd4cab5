//! How long a store that fails is waited for: one handle for all stores of a use case, since
//! that changes on the way.
//!
//! Whoever lists or looks, or has not locked anything yet, had better learn soon that a store
//! is down. While artifacts stream to several stores, waiting is cheaper than losing a copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a call that is only a look waits at most.
pub const LOOKING: Duration = Duration::from_secs(20);

/// A cheap clone of one setting; begins as that of a look.
#[derive(Debug, Clone)]
pub struct Patience(Arc<State>);

#[derive(Debug)]
struct State {
    streaming: AtomicBool,
    time: Duration,
}

impl Patience {
    /// `time` is what a stream waits; a look waits no longer than that and [`LOOKING`].
    pub fn new(time: Duration) -> Self {
        Self(Arc::new(State {
            streaming: AtomicBool::new(false),
            time,
        }))
    }

    /// From here on a stream waits.
    pub fn stream(&self) {
        self.0.streaming.store(true, Ordering::Relaxed);
    }

    /// Whether a stream waits.
    pub fn is_streaming(&self) -> bool {
        self.0.streaming.load(Ordering::Relaxed)
    }

    /// How long to wait now.
    pub fn time(&self) -> Duration {
        if self.is_streaming() {
            self.0.time
        } else {
            self.0.time.min(LOOKING)
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(Duration::from_secs(300))
    }
}
