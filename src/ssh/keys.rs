//! Keys as text: what a private key must look like, keys for one run, expected host keys,
//! fingerprints as `ssh-keygen` prints them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};

use crate::secret::Secret;

/// A key that cannot be used; one sentence that says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

impl KeyError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A fresh ECDSA P-256 key: the private half in OpenSSH form, the public one as a line for
/// `authorized_keys`. This curve is accepted by every stemcell, FIPS ones too.
///
/// # Errors
/// When the key cannot be encoded, which no known key causes.
pub fn generate_key() -> Result<(Secret, String), KeyError> {
    let algorithm = Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    };
    let encode = |error: ssh_key::Error| KeyError::new(format!("cannot make an SSH key: {error}"));
    let key = PrivateKey::random(&mut OsRng, algorithm).map_err(encode)?;
    let private = key.to_openssh(LineEnding::LF).map_err(encode)?;
    let public = key.public_key().to_openssh().map_err(encode)?;
    Ok((Secret::new(private.as_str()), public))
}

/// The public half, as a line for `authorized_keys`, of a private key in OpenSSH form.
///
/// # Errors
/// When the key is encrypted, malformed, or in one of the older PEM forms.
pub fn public_of(private: &Secret) -> Result<String, KeyError> {
    let text = usable(private)?;
    if !text.expose().starts_with(OPENSSH) {
        return Err(KeyError::new(
            "the private key is not in OpenSSH form; convert it with `ssh-keygen -p -N '' -f FILE`",
        ));
    }
    PrivateKey::from_openssh(text.expose())
        .and_then(|key| key.public_key().to_openssh())
        .map_err(|error| malformed(&error.to_string()))
}

/// `SHA256:…` of a public key or `known_hosts` line.
///
/// # Errors
/// When the line holds no public key.
pub fn fingerprint(line: &str) -> Result<String, KeyError> {
    Ok(line.parse::<HostKey>()?.fingerprint())
}

const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

const ENCRYPTED: &str = "the private key is protected by a passphrase; give one without \
                         (`ssh-keygen -p -N '' -f COPY` removes it from a copy)";

fn malformed(what: &str) -> KeyError {
    KeyError::new(format!(
        "the private key cannot be read ({what}); give the whole text of the file, \
         from -----BEGIN to -----END, with its line ends"
    ))
}

/// The key's text as libssh2 wants it, if it is an unencrypted private key.
pub(super) fn usable(key: &Secret) -> Result<Secret, KeyError> {
    let text = key.expose().trim().replace("\r\n", "\n");
    let text = zeroize::Zeroizing::new(text);
    if text.is_empty() {
        return Err(malformed("it is empty"));
    }
    if text.starts_with("PuTTY-User-Key-File") {
        return Err(KeyError::new(
            "the private key is in PuTTY's form; convert it with `puttygen FILE -O private-openssh`",
        ));
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.contains(" PUBLIC KEY-----") {
        return Err(KeyError::new(
            "a public key was given where the private key is needed",
        ));
    }
    if !text.starts_with("-----BEGIN ") {
        return Err(malformed("it does not begin with -----BEGIN"));
    }
    if text.contains("\\n") && !text.contains('\n') {
        return Err(malformed("it has \\n in place of line ends"));
    }
    if text.starts_with("-----BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::new(ENCRYPTED));
    }
    let Some((head, rest)) = text.split_once('\n') else {
        return Err(malformed("it is a single line"));
    };
    let label = head.trim().replace("BEGIN", "END");
    let Some((body, _)) = rest.split_once(label.as_str()) else {
        return Err(malformed("its -----END line is missing"));
    };
    if head.trim() == OPENSSH {
        let key = PrivateKey::from_openssh(text.as_bytes())
            .map_err(|error| malformed(&error.to_string()))?;
        if key.is_encrypted() {
            return Err(KeyError::new(ENCRYPTED));
        }
    } else {
        let der: zeroize::Zeroizing<String> =
            zeroize::Zeroizing::new(body.split_whitespace().collect());
        let der = STANDARD
            .decode(der.as_bytes())
            .map(zeroize::Zeroizing::new)
            .map_err(|error| malformed(&error.to_string()))?;
        if der.first() != Some(&0x30) {
            return Err(malformed("it is not DER inside"));
        }
    }
    Ok(Secret::new(format!("{}\n", text.as_str())))
}

/// How a server proves that it is the one we mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// It has exactly this key.
    Exactly(HostKey),
    /// Any key is taken; a warning shows it and how to pin it.
    Any,
}

/// A server's public key.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    kind: String,
    blob: Vec<u8>,
}

impl HostKey {
    /// From the wire form, as the server sends it.
    pub(super) fn from_blob(blob: &[u8]) -> Option<Self> {
        let length = u32::from_be_bytes(*blob.first_chunk::<4>()?);
        let kind = blob.get(4..4 + usize::try_from(length).ok()?)?;
        let kind = std::str::from_utf8(kind).ok()?.to_owned();
        Some(Self {
            kind,
            blob: blob.to_vec(),
        })
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        format!(
            "SHA256:{}",
            STANDARD_NO_PAD.encode(Sha256::digest(&self.blob))
        )
    }

    /// `ssh-ed25519`, …
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The names to offer in the key exchange, so that the server shows this very key.
    pub(super) fn preference(&self) -> Result<&'static str, KeyError> {
        match self.kind.as_str() {
            "ssh-rsa" => Ok("rsa-sha2-512,rsa-sha2-256,ssh-rsa"),
            "ssh-ed25519" => Ok("ssh-ed25519"),
            "ecdsa-sha2-nistp256" => Ok("ecdsa-sha2-nistp256"),
            "ecdsa-sha2-nistp384" => Ok("ecdsa-sha2-nistp384"),
            "ecdsa-sha2-nistp521" => Ok("ecdsa-sha2-nistp521"),
            other => Err(KeyError::new(format!(
                "the expected host key is of type {other}, which cannot be checked; \
                 give the server's ssh-ed25519, ecdsa or ssh-rsa key"
            ))),
        }
    }
}

impl FromStr for HostKey {
    type Err = KeyError;

    /// Reads `TYPE BASE64 [COMMENT]`, also with a host name in front, as `ssh-keyscan` prints it.
    fn from_str(line: &str) -> Result<Self, KeyError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2).take(2) {
            let [kind, data] = pair else { continue };
            if let Ok(blob) = STANDARD.decode(data)
                && let Some(key) = Self::from_blob(&blob)
                && key.kind == *kind
            {
                return Ok(key);
            }
        }
        Err(KeyError::new(
            "this is no public key line; give `TYPE BASE64` as in a .pub file or from `ssh-keyscan`",
        ))
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, STANDARD.encode(&self.blob))
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({} {})", self.kind, self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ x";

    #[test]
    fn a_generated_key_is_usable_and_has_its_public_half() {
        let (private, public) = generate_key().unwrap();
        assert!(usable(&private).is_ok());
        assert_eq!(public_of(&private).unwrap(), public);
        assert!(fingerprint(&public).unwrap().starts_with("SHA256:"));
    }

    #[test]
    fn a_host_key_is_read_from_pub_files_and_keyscans() {
        let key: HostKey = LINE.parse().unwrap();
        assert_eq!(
            key.fingerprint(),
            "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE"
        );
        assert_eq!(format!("10.0.0.5 {LINE}").parse::<HostKey>().unwrap(), key);
        assert_eq!(key.to_string(), LINE.strip_suffix(" x").unwrap());
        assert!("".parse::<HostKey>().is_err());
        assert!("ssh-rsa AAAA".parse::<HostKey>().is_err());
    }

    #[test]
    fn a_bad_private_key_is_told_apart_and_never_repeated() {
        let (private, public) = generate_key().unwrap();
        let cut = private.expose().lines().take(3).collect::<Vec<_>>();
        let one_line = private.expose().replace('\n', "\\n");
        for (text, said) in [
            ("", "empty"),
            (public.as_str(), "public key was given"),
            (&cut.join("\n"), "END line is missing"),
            (&one_line, "in place of line ends"),
            ("PuTTY-User-Key-File-3: x", "puttygen"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII\n-----END ENCRYPTED PRIVATE KEY-----",
                "passphrase",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA\n-----END RSA PRIVATE KEY-----",
                "passphrase",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\n%%%\n-----END RSA PRIVATE KEY-----",
                "cannot be read",
            ),
        ] {
            let error = usable(&Secret::new(text)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains('%'), "{error}");
        }
        let crlf = Secret::new(private.expose().replace('\n', "\r\n"));
        assert_eq!(usable(&crlf).unwrap(), usable(&private).unwrap());
    }
}
