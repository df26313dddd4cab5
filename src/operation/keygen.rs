//! New keys: a worker identity and a recovery key.

use anyhow::{Result, anyhow};

use crate::repo::seal::Opener;
use crate::repo::sign::WorkerIdentity;
use crate::secret::Secret;

/// A worker identity and a recovery key, both new.
#[derive(Debug, Clone)]
pub struct Keys {
    /// OpenSSH's private key format.
    pub worker_identity: Secret,
    /// `ssh-ed25519 AAAA… COMMENT`.
    pub worker_public: String,
    /// `AGE-SECRET-KEY-1…`.
    pub recovery_identity: Secret,
    /// `age1…`.
    pub recovery_recipient: String,
}

/// Makes both from the system's random source. `comment` ends the worker's public key.
///
/// # Errors
/// When the random source fails.
pub fn generate(comment: &str) -> Result<Keys> {
    let failed = |why| anyhow!("no worker identity could be made: {why}");
    let worker_identity = WorkerIdentity::generate(comment).map_err(failed)?;
    let worker = WorkerIdentity::parse(&worker_identity).map_err(failed)?;
    let recovery = Opener::generate();
    Ok(Keys {
        worker_identity,
        worker_public: format!("{} {comment}", worker.public()),
        recovery_identity: recovery.secret(),
        recovery_recipient: recovery.recipient(),
    })
}
