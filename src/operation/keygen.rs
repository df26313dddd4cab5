//! New keys: a worker identity and a recovery key.

use anyhow::{Context as _, Result};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

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
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)
        .map_err(|error| anyhow::anyhow!("no random bytes from the system: {error}"))?;
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
    let worker = PrivateKey::new(pair, comment).context("no worker identity")?;
    let text = worker
        .to_openssh(LineEnding::LF)
        .context("the worker identity cannot be written")?;
    let recovery = age::x25519::Identity::generate();
    Ok(Keys {
        worker_identity: Secret::new(text.as_str()),
        worker_public: worker
            .public_key()
            .to_openssh()
            .context("the worker's public key cannot be written")?,
        recovery_identity: Secret::new(age::secrecy::ExposeSecret::expose_secret(
            &recovery.to_string(),
        )),
        recovery_recipient: recovery.to_public().to_string(),
    })
}
