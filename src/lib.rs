//! Lifeboat: encrypted, streaming, incremental, proven backups of Tanzu Operations Manager
//! foundations.
//!
//! The map, top to bottom; a module knows those below it, never those above, never a
//! neighbour on its own line (`tests/it/layers.rs` enforces it):
//!
//! ```text
//! bin | process
//! concourse | cli
//! config
//! operation
//! foundation | report
//! bbr | repo | bosh | opsman | ssh | cloud | inventory
//! artifact | store | http | remote
//! clock | secret | monitor | shutdown | parallel
//! ```
//!
//! Backup: instance → `ssh` stream → `artifact` entries → `repo` chunks → compress → seal →
//! every `store`; then the index; last of all the manifest. Reading is the same road
//! reversed. `docs/design.md` says why, `docs/format.md` what is stored.

pub mod artifact;
pub mod bbr;
pub mod bosh;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod concourse;
pub mod config;
pub mod foundation;
pub mod http;
pub mod inventory;
pub mod monitor;
pub mod operation;
pub mod opsman;
pub mod parallel;
pub mod process;
pub mod remote;
pub mod repo;
pub mod report;
pub mod secret;
pub mod shutdown;
pub mod ssh;
pub mod store;
