//! The use cases, one function each, called by both front doors.
//!
//! Knows the order of a whole use case; nothing of JSON requests, flags or printing.

mod addresses;
mod backup;
mod catalogue;
mod cleanup;
mod coverage;
mod describe;
mod directory;
pub mod discovery;
mod drill;
mod fetch;
mod guards;
pub mod holds;
pub mod inventory;
pub mod keygen;
mod live;
mod ops_manager;
mod overview;
mod page;
mod parts;
mod piped;
mod plan;
mod preflight;
mod probes;
pub mod prune;
pub mod recipients;
mod record;
mod repair;
mod replicate;
mod restore;
mod service_instances;
pub mod settings;
mod steps;
mod stores;
mod tree;
mod verify;
mod vm_file;

use std::sync::Arc;

pub use backup::backup;
pub use catalogue::{check, list, newest, show};
pub use cleanup::cleanup;
pub use directory::from_directories;
pub use drill::{drill, tear_down};
pub use fetch::fetch;
pub use overview::{Kept, keep_report, overview};
pub use plan::plan;
pub use preflight::pre_backup_check;
pub use repair::repair;
pub use replicate::replicate;
pub use restore::{restore, stage};
pub use steps::{before_data, step};
pub use verify::verify;

use crate::clock::Clock;
use crate::monitor::Monitor;
use crate::secret::Mask;
use crate::shutdown::Shutdown;

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

/// The text of `recover.py`, as this release stores it in every repository.
pub fn recover_py() -> &'static str {
    crate::repo::recovery::RECOVER_PY
}
