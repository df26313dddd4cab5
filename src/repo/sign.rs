//! Who wrote a manifest: SSH signatures, as `ssh-keygen -Y sign` and `-Y verify` make and check
//! them. The only user of `ssh-key` here.

use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::seal::Identity;
use crate::secret::Secret;

/// The SSHSIG namespace of manifests and reports.
pub const NAMESPACE: &str = "lifeboat";

/// One unencrypted OpenSSH Ed25519 private key: opens `worker.age` and signs.
#[derive(Clone)]
pub struct WorkerIdentity {
    key: PrivateKey,
    identity: Identity,
}

impl WorkerIdentity {
    /// From the text of the private key.
    ///
    /// # Errors
    /// A sentence without the text.
    pub fn parse(secret: &Secret) -> Result<Self, String> {
        let text = secret.expose().trim();
        if text.starts_with("ssh-") {
            return Err(
                "is a public key; give the private half (BEGIN OPENSSH PRIVATE KEY)".into(),
            );
        }
        if !text.contains("BEGIN OPENSSH PRIVATE KEY") {
            return Err("is not an OpenSSH private key; make one with `lifeboat keygen` or `ssh-keygen -t ed25519 -N ''`".into());
        }
        // OpenSSH's own files end with a newline, which a template may have cut off.
        let whole = Secret::new(format!("{text}\n"));
        let key =
            PrivateKey::from_openssh(whole.expose()).map_err(|_says_no_more: ssh_key::Error| {
                "is not a whole OpenSSH private key; mind its line breaks".to_owned()
            })?;
        if key.is_encrypted() {
            return Err("is protected by a passphrase, which a pipeline cannot type; take it off with `ssh-keygen -p`".into());
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(format!(
                "is a {} key; only Ed25519 can both sign and open worker.age",
                key.algorithm()
            ));
        }
        let identity = Identity::parse(&whole)?;
        Ok(Self { key, identity })
    }

    /// A fresh key and its OpenSSH text.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn generate(comment: &str) -> Result<Secret, String> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| format!("no random bytes: {error}"))?;
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
        let mut key = PrivateKey::from(pair);
        key.set_comment(comment);
        let text = key
            .to_openssh(LineEnding::LF)
            .map_err(|error| error.to_string())?;
        Ok(Secret::new(text.as_str()))
    }

    /// Opens `worker.age`.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `ssh-ed25519 AAAA…`, without a comment.
    pub fn public(&self) -> String {
        let mut public = self.key.public_key().clone();
        public.set_comment("");
        public.to_openssh().unwrap_or_default()
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.key
            .public_key()
            .fingerprint(HashAlg::Sha256)
            .to_string()
    }

    /// Signs a manifest's first line.
    ///
    /// # Errors
    /// Never for a key that [`WorkerIdentity::parse`] accepted.
    pub fn sign(&self, message: &[u8]) -> Result<String, String> {
        self.key
            .sign(NAMESPACE, HashAlg::Sha512, message)
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(|error| format!("signing failed: {error}"))
    }
}

impl std::fmt::Debug for WorkerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkerIdentity({})", self.public())
    }
}

/// Whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct Signers(Vec<PublicKey>);

impl Signers {
    /// From `ssh-ed25519 …` texts.
    ///
    /// # Errors
    /// A sentence with the position of the bad one.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            if text.contains("PRIVATE KEY") {
                return Err(format!(
                    "[{at}] is a private key; list public halves (ssh-ed25519 …)"
                ));
            }
            let key =
                PublicKey::from_openssh(text.trim()).map_err(|_says_no_more: ssh_key::Error| {
                    format!("[{at}] is not an SSH public key (ssh-ed25519 AAAA…)")
                })?;
            if key.algorithm() != Algorithm::Ed25519 {
                return Err(format!(
                    "[{at}] is a {} key; workers sign with ssh-ed25519",
                    key.algorithm()
                ));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// These and the own worker identity.
    #[must_use]
    pub fn and(mut self, worker: Option<&WorkerIdentity>) -> Self {
        if let Some(worker) = worker {
            self.0.push(worker.key.public_key().clone());
        }
        self
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of them signed this.
    pub fn signer(&self, message: &[u8], signature: &str) -> Option<String> {
        let signature = SshSig::from_pem(signature).ok()?;
        let key = self
            .0
            .iter()
            .find(|key| key.verify(NAMESPACE, message, &signature).is_ok())?;
        Some(key.fingerprint(HashAlg::Sha256).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> WorkerIdentity {
        WorkerIdentity::parse(&WorkerIdentity::generate("t").unwrap()).unwrap()
    }

    #[test]
    fn a_signature_counts_for_its_text_and_its_signer_only() {
        let (ours, theirs) = (worker(), worker());
        let signature = ours.sign(b"line\n").unwrap();
        let signers = Signers::default().and(Some(&ours));
        assert!(signers.signer(b"line\n", &signature).is_some());
        assert!(signers.signer(b"line", &signature).is_none());
        assert!(
            Signers::default()
                .and(Some(&theirs))
                .signer(b"line\n", &signature)
                .is_none()
        );
        assert!(signers.signer(b"line\n", "nonsense").is_none());
    }

    #[test]
    fn a_worker_key_opens_what_is_sealed_to_its_public_half() {
        let worker = worker();
        let sealed = super::super::seal::encrypt(&worker.public(), b"keys").unwrap();
        assert_eq!(
            worker.identity().decrypt(&sealed, 100).unwrap().as_slice(),
            b"keys"
        );
    }
}
