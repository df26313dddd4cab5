//! What is told to people while work goes on.
//!
//! Modules report lines and meters to a [`Monitor`]; `report` decides how they look. No
//! module prints by itself, and no line may carry a secret (the monitor masks known ones
//! as a second line of defence).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Shown only on request.
    Debug,
    /// The course of the work.
    Info,
    /// Something the operator should look at; the work goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Takes lines and meters.
pub trait Monitor: Send + Sync + std::fmt::Debug {
    /// One line for people, without a newline at its end.
    fn say(&self, level: Level, text: &str);

    /// Announces work of a known or unknown number of bytes; the caller adds to the meter
    /// as it goes on and finishes it.
    fn meter(&self, label: &str, total: Option<u64>) -> Arc<Meter> {
        Arc::new(Meter::new(label, total))
    }

    /// [`Level::Debug`].
    fn debug(&self, text: &str) {
        self.say(Level::Debug, text);
    }
    /// [`Level::Info`].
    fn info(&self, text: &str) {
        self.say(Level::Info, text);
    }
    /// [`Level::Warn`].
    fn warn(&self, text: &str) {
        self.say(Level::Warn, text);
    }
    /// [`Level::Error`].
    fn error(&self, text: &str) {
        self.say(Level::Error, text);
    }
}

/// Bytes done of bytes to do. The total may become known later.
#[derive(Debug)]
pub struct Meter {
    label: String,
    total: AtomicU64,
    done: AtomicU64,
    finished: AtomicBool,
}

impl Meter {
    /// A meter at zero.
    pub fn new(label: &str, total: Option<u64>) -> Self {
        Self {
            label: label.to_owned(),
            total: AtomicU64::new(total.unwrap_or(u64::MAX)),
            done: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        }
    }

    /// What is measured, for people.
    pub fn label(&self) -> &str {
        &self.label
    }
    /// Sets the total in bytes.
    pub fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }
    /// The total in bytes, when known.
    pub fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total != u64::MAX)
    }
    /// Counts bytes.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
    /// Bytes counted so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
    /// No more will come.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }
    /// Whether [`Meter::finish`] was called.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }
}

/// Drops everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn say(&self, _: Level, _: &str) {}
}
