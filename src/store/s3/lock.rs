//! Object Lock: objects that nobody can delete or replace before their time.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::ObjectLockMode;

use super::S3;

/// How objects are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Lock {
    /// Who may still delete them.
    pub mode: S3LockMode,
    /// How long beyond the end of their chain.
    pub time: Duration,
}

/// S3's two modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3LockMode {
    /// Whoever has the right to bypass it.
    Governance,
    /// Nobody, the account's owner included.
    Compliance,
}

impl S3 {
    /// The header of a put that locks until some time.
    pub(super) fn lock_mode(&self, until: Option<SystemTime>) -> Option<ObjectLockMode> {
        let mode = self.object_lock.filter(|_| until.is_some())?.mode;
        Some(match mode {
            S3LockMode::Governance => ObjectLockMode::Governance,
            S3LockMode::Compliance => ObjectLockMode::Compliance,
        })
    }
}
