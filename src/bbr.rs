//! The contract of BOSH Backup and Restore, natively: which scripts run where, in which order,
//! with what around them.
//!
//! A release author brings up to seven scripts per job, in `/var/vcap/jobs/JOB/bin/bbr`. A backup
//! runs all `pre-backup-lock` scripts in the order that the jobs' metadata asks for, then
//! all `backup` scripts side by side, each with a directory of its own to write to, then
//! all `post-backup-unlock` scripts in reverse order; and only then moves the
//! artifacts off the instances and removes them.
//!
//! ```text
//! discover -> Run::new -> check -> mark -> lock -> backup -> unlock -> drain… -> finish
//!                                    |       any failure -> unlock(false) -> finish
//!                                    a signal -> abort
//! a run that was killed -> discover -> cleanup
//! ```
//!
//! Each phase is a call of its own, so that an operation can take several targets through one
//! phase together. This module speaks to instances through [`crate::remote`] only; it
//! knows nothing of how they are reached or where artifacts go. On an instance it owns two
//! directories: bbr's artifact directory, and beside it `bbr-backup.lifeboat` with the marker
//! of the run, the output of running scripts, and a drain's listings. Governed by the
//! sections *Drain* and *Failure policy* of `docs/design.md`.

pub mod lock_order;
mod manifest;
mod metadata;
mod schedule;
mod script;
mod yaml;

pub use metadata::{Constraint, Metadata};
pub use script::{Direction, Script};
