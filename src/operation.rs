//! The use cases, one function each, called by both front doors.
//!
//! Knows the order of a whole use case; nothing of JSON requests, flags or printing.

pub mod keygen;
pub mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::clock::Clock;
use crate::monitor::Monitor;
use crate::report::{Backup, Cleanup, Fetched, Listing, Precheck};
use crate::secret::Mask;
use crate::shutdown::Shutdown;
use settings::{Component, Selection, Settings};

/// What every use case gets beside its settings.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where lines and meters go.
    pub monitor: Arc<dyn Monitor>,
    /// Raised by SIGTERM and SIGINT.
    pub shutdown: Shutdown,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Secrets learnt on the way (tokens) are added.
    pub mask: Arc<Mask>,
}

/// The ids of committed backups, oldest first: all, or those from one day before `after` on.
///
/// # Errors
/// When no store answers.
pub fn check(_: &Context, _: &Settings, _after: Option<&str>) -> Result<Vec<String>> {
    bail!(UNBUILT)
}

/// One committed backup, from its manifest alone: no identity, one small read.
///
/// # Errors
/// When it was never there, was dropped (when and why), or is not to be believed.
pub fn show(_: &Context, _: &Settings, _id: &str) -> Result<Backup> {
    bail!(UNBUILT)
}

/// All committed backups.
///
/// # Errors
/// When no store answers.
pub fn list(_: &Context, _: &Settings) -> Result<Listing> {
    bail!(UNBUILT)
}

/// Fetches, decrypts and verifies into a directory, one folder per component.
///
/// # Errors
/// As [`show`], and when anything read differs from its name or digest.
pub fn fetch(_: &Context, _: &Settings, _id: &str, _: &Selection, _into: &Path) -> Result<Fetched> {
    bail!(UNBUILT)
}

/// Backs up live. Within one build the same components are taken once.
///
/// # Errors
/// A [`Failure`](crate::report::failure::Failure) that says in what state things are.
pub fn backup(_: &Context, _: &Settings, _: &[Component]) -> Result<Backup> {
    bail!(UNBUILT)
}

/// Stores directories as components. Idempotent like [`backup`].
///
/// # Errors
/// When a directory cannot be read or too few stores take it.
pub fn from_directories(_: &Context, _: &Settings, _: &[(Component, PathBuf)]) -> Result<Backup> {
    bail!(UNBUILT)
}

/// Whether the components could be backed up now.
///
/// # Errors
/// When that could not be found out.
pub fn pre_backup_check(_: &Context, _: &Settings, _: &[Component]) -> Result<Precheck> {
    bail!(UNBUILT)
}

/// Unlocks and cleans what an earlier run left; with `force` everywhere.
///
/// # Errors
/// A [`Failure`](crate::report::failure::Failure) that names what may still be locked.
pub fn cleanup(_: &Context, _: &Settings, _: &[Component], _force: bool) -> Result<Cleanup> {
    bail!(UNBUILT)
}

/// The text of `recover.py`, as this release stores it in every repository.
pub fn recover_py() -> &'static str {
    ""
}

const UNBUILT: &str = "not built yet";
