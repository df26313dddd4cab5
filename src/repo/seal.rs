//! Sealing: zstd, then age. The only user of both.
//!
//! Opening is bounded: whatever a stranger stored, no more than the caller's limit is
//! ever held in memory.

mod marked;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::str::FromStr;
use std::sync::Arc;

use age::secrecy::ExposeSecret;

use super::Error;
use crate::secret::Secret;
pub use marked::{encrypt_marked, mark, mark_of};

/// zstd level of chunks and index: the default, about 300 MB/s a core; higher levels cost
/// more time than they save bytes on blobs and dumps.
const LEVEL: i32 = 3;
/// Largest zstd window a reader allows, as a power of two: 8 MiB (docs/format.md, *Chunks*).
const WINDOW_LOG: u32 = 23;

/// Who can recover. Prints as the public texts that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(Vec<String>);

impl Recipients {
    /// Checks `age1…` and `ssh-ed25519 …` texts; comments of SSH keys are cut off.
    ///
    /// # Errors
    /// A sentence that does not repeat the text: it might be a private key.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        if texts.is_empty() {
            return Err("there is no recipient; name at least one, or nobody could recover".into());
        }
        let mut parsed = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let text = text
                .split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" ");
            recipient(&text).map_err(|problem| format!("[{at}] {problem}"))?;
            if !parsed.contains(&text) {
                parsed.push(text);
            }
        }
        Ok(Self(parsed))
    }

    /// The texts.
    pub fn texts(&self) -> &[String] {
        &self.0
    }

    /// Whether both name the same recipients, in whatever order.
    pub fn same_as(&self, others: &[String]) -> bool {
        let sorted = |texts: &[String]| {
            let mut texts = texts.to_vec();
            texts.sort();
            texts
        };
        sorted(&self.0) == sorted(others)
    }
}

fn recipient(text: &str) -> Result<Box<dyn age::Recipient + Send>, String> {
    if text.starts_with("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY") {
        return Err(
            "is a private key; recipients are public (age1… or ssh-ed25519 …). \
                    Take it out of the configuration and make a new one"
                .into(),
        );
    }
    if text.starts_with("age1") {
        return age::x25519::Recipient::from_str(text)
            .map(|recipient| Box::new(recipient) as _)
            .map_err(|problem| format!("is not an age recipient: {problem}"));
    }
    if text.starts_with("ssh-ed25519 ") {
        return age::ssh::Recipient::from_str(text)
            .map(|recipient| Box::new(recipient) as _)
            .map_err(|_says_no_more: age::ssh::ParseRecipientKeyError| {
                "is not an ssh-ed25519 public key".into()
            });
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err(
            "is an SSH key of another kind; only ssh-ed25519 keys can be recipients".into(),
        );
    }
    Err("is not a recipient; use age1… or ssh-ed25519 …".into())
}

/// Encrypts a small text to all recipients, armoured.
///
/// # Errors
/// When encrypting fails, which only a broken random source can make it.
pub fn encrypt_armoured(recipients: &Recipients, plain: &[u8]) -> Result<String, Error> {
    armoured(&boxed(recipients.texts())?, plain)
}

fn armoured(to: &[Box<dyn age::Recipient + Send>], plain: &[u8]) -> Result<String, Error> {
    let encryptor = age::Encryptor::with_recipients(to.iter().map(|r| r.as_ref() as _))
        .map_err(|error| Error::Key(error.to_string()))?;
    let mut text = Vec::new();
    let armour = age::armor::ArmoredWriter::wrap_output(&mut text, age::armor::Format::AsciiArmor)
        .map_err(failed)?;
    let mut writer = encryptor.wrap_output(armour).map_err(failed)?;
    writer.write_all(plain).map_err(failed)?;
    writer
        .finish()
        .and_then(age::armor::ArmoredWriter::finish)
        .map_err(failed)?;
    String::from_utf8(text).map_err(|error| Error::Key(error.to_string()))
}

/// Encrypts a small text to one recipient.
///
/// # Errors
/// As [`encrypt_armoured`].
pub fn encrypt(recipient_text: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let recipient = recipient(recipient_text).map_err(Error::Key)?;
    let mut sealed = Vec::with_capacity(plain.len() + 512);
    encrypt_into(recipient.as_ref(), plain, &mut sealed).map_err(failed)?;
    Ok(sealed)
}

fn boxed(texts: &[String]) -> Result<Vec<Box<dyn age::Recipient + Send>>, Error> {
    texts
        .iter()
        .map(|text| recipient(text).map_err(Error::Key))
        .collect()
}

fn encrypt_into(
    recipient: &dyn age::Recipient,
    plain: &[u8],
    to: &mut Vec<u8>,
) -> std::io::Result<()> {
    let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient))
        .map_err(std::io::Error::other)?;
    let mut writer = encryptor.wrap_output(to)?;
    writer.write_all(plain)?;
    writer.finish()?;
    Ok(())
}

thread_local! {
    /// Chunks of several MiB that come and go on many threads would leave the allocator with
    /// more holes than chunks; this one stays.
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

struct Scratch {
    context: zstd::bulk::Compressor<'static>,
    bytes: Vec<u8>,
}

impl Scratch {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            context: zstd::bulk::Compressor::new(LEVEL)?,
            bytes: Vec::new(),
        })
    }
}

/// Seals to one X25519 recipient.
#[derive(Clone)]
pub struct Sealer(age::x25519::Recipient);

impl Sealer {
    /// From `age1…`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        age::x25519::Recipient::from_str(text)
            .map(Self)
            .map_err(|problem| {
                Error::Key(format!("a chain key is not an age recipient: {problem}"))
            })
    }

    /// Compresses, then encrypts.
    ///
    /// # Errors
    /// Only when memory or the random source fail.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { context, bytes } = match scratch {
                Some(scratch) => scratch,
                None => scratch.insert(Scratch::new().map_err(failed)?),
            };
            bytes.clear();
            bytes.reserve(zstd::zstd_safe::compress_bound(plain.len()));
            context.compress_to_buffer(plain, bytes).map_err(failed)?;
            let mut sealed = Vec::with_capacity(bytes.len() + bytes.len() / 4096 + 512);
            encrypt_into(&self.0, bytes, &mut sealed).map_err(failed)?;
            Ok(sealed)
        })
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({})", self.0)
    }
}

/// Opens what was sealed to one X25519 identity.
#[derive(Clone)]
pub struct Opener(age::x25519::Identity);

impl Opener {
    /// A fresh identity.
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// From `AGE-SECRET-KEY-1…` and nothing else: a plugin identity would run a program.
    ///
    /// # Errors
    /// When it is anything else; the text is not repeated.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // The library takes lower case too, which no writer makes.
        let upper = text.starts_with("AGE-SECRET-KEY-1");
        let identity = if upper { text } else { "" };
        age::x25519::Identity::from_str(identity)
            .map(Self)
            .map_err(|_says_no_more: &str| {
                Error::Key("a chain key is not an AGE-SECRET-KEY-1 identity".into())
            })
    }

    /// `AGE-SECRET-KEY-1…`.
    pub fn secret(&self) -> Secret {
        Secret::new(self.0.to_string().expose_secret())
    }

    /// The public half, as text.
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    /// The public half.
    pub fn sealer(&self) -> Sealer {
        Sealer(self.0.to_public())
    }

    /// Decrypts, then decompresses, to at most `limit` bytes.
    ///
    /// # Errors
    /// What is wrong with the object, without its name.
    pub fn open(&self, sealed: &[u8], limit: u64) -> Result<Vec<u8>, String> {
        let decryptor = age::Decryptor::new_buffered(sealed)
            .map_err(|error| format!("is not an age file ({error})"))?;
        let stream = decryptor
            .decrypt(std::iter::once(&self.0 as &dyn age::Identity))
            .map_err(|error| format!("cannot be decrypted ({error})"))?;
        let mut decoder = zstd::stream::read::Decoder::new(stream)
            .map_err(|error| format!("cannot be decompressed ({error})"))?;
        decoder
            .window_log_max(WINDOW_LOG)
            .map_err(|error| format!("cannot be decompressed ({error})"))?;
        // Most chunks hardly compress: growing by doubling would take twice their size.
        let mut plain = Vec::with_capacity(sealed.len());
        decoder
            .take(limit + 1)
            .read_to_end(&mut plain)
            .map_err(|error| format!("is damaged inside ({error})"))?;
        if plain.len() as u64 > limit {
            return Err(format!(
                "opens to more than {limit} bytes, which no writer makes"
            ));
        }
        Ok(plain)
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

/// An identity of a person or worker: opens `recovery.age` or `worker.age`.
#[derive(Clone)]
pub struct Identity {
    opens: Vec<Arc<dyn age::Identity + Send + Sync>>,
    /// Their public halves, as texts.
    recipients: Vec<String>,
}

impl Identity {
    /// From an age identity file's text or an OpenSSH private key.
    ///
    /// # Errors
    /// A sentence without the text.
    pub fn parse(secret: &Secret) -> Result<Self, String> {
        let text = secret.expose();
        if text.contains("PRIVATE KEY-----") {
            let identity = age::ssh::Identity::from_buffer(text.as_bytes(), None)
                .map_err(|_says_no_more: std::io::Error| "is not a whole OpenSSH private key")?;
            return match identity {
                age::ssh::Identity::Unencrypted(_) => {
                    let public = age::ssh::Recipient::try_from(identity.clone());
                    Ok(Self {
                        // Of RSA keys there are identities, but no recipients.
                        recipients: public
                            .iter()
                            .map(ToString::to_string)
                            .filter(|text| recipient(text).is_ok())
                            .collect(),
                        opens: vec![Arc::new(identity)],
                    })
                }
                age::ssh::Identity::Encrypted(_) => Err(
                    "is protected by a passphrase; take it off with `ssh-keygen -p` for use here"
                        .into(),
                ),
                age::ssh::Identity::Unsupported(_) => {
                    Err("is an SSH key of a kind that age cannot use; use ed25519".into())
                }
            };
        }
        let (mut opens, mut recipients) = (Vec::new(), Vec::new());
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = age::x25519::Identity::from_str(line).map_err(|_says_no_more: &str| {
                if line.starts_with("age1") {
                    "is a public key; the identity begins with AGE-SECRET-KEY-1"
                } else {
                    "holds a line that is neither AGE-SECRET-KEY-1… nor part of an OpenSSH private key"
                }
            })?;
            recipients.push(identity.to_public().to_string());
            opens.push(Arc::new(identity) as _);
        }
        if opens.is_empty() {
            return Err("holds no identity; give the text of an age identity file or an OpenSSH private key".into());
        }
        Ok(Self { opens, recipients })
    }

    /// The public halves, as texts.
    pub fn recipients(&self) -> &[String] {
        &self.recipients
    }

    /// Decrypts a small file, armoured or not.
    ///
    /// # Errors
    /// What is wrong, without a name: `no identity fits` when it is not sealed to this one.
    pub fn decrypt(
        &self,
        sealed: &[u8],
        limit: u64,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
        let reader = age::armor::ArmoredReader::new(sealed);
        let decryptor =
            age::Decryptor::new(reader).map_err(|error| format!("is not an age file ({error})"))?;
        let stream = decryptor
            .decrypt(
                self.opens
                    .iter()
                    .map(|identity| identity.as_ref() as &dyn age::Identity),
            )
            .map_err(|error| match error {
                age::DecryptError::NoMatchingKeys => "is not sealed to this identity".to_owned(),
                other => format!("cannot be decrypted ({other})"),
            })?;
        let mut plain = zeroize::Zeroizing::new(Vec::new());
        stream
            .take(limit + 1)
            .read_to_end(&mut plain)
            .map_err(|error| format!("is damaged inside ({error})"))?;
        if plain.len() as u64 > limit {
            return Err(format!("opens to more than {limit} bytes"));
        }
        Ok(plain)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::Other(format!("sealing failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_a_flipped_bit_does_not() {
        let opener = Opener::generate();
        let plain: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let sealed = opener.sealer().seal(&plain).unwrap();
        assert_eq!(opener.open(&sealed, 1 << 20).unwrap(), plain);
        for at in (0..sealed.len()).step_by(977) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(opener.open(&damaged, 1 << 20).is_err(), "bit at {at}");
        }
        assert!(opener.open(&sealed[..sealed.len() - 1], 1 << 20).is_err());
        assert!(Opener::generate().open(&sealed, 1 << 20).is_err());
    }

    #[test]
    fn a_bomb_is_noticed_at_the_limit() {
        let opener = Opener::generate();
        let sealed = opener.sealer().seal(&vec![0; 20 << 20]).unwrap();
        assert!(sealed.len() < 10_000);
        assert!(
            opener
                .open(&sealed, 16 << 20)
                .unwrap_err()
                .contains("more than")
        );
    }

    #[test]
    fn a_private_key_among_the_recipients_is_not_repeated() {
        let secret = Opener::generate().secret();
        let error = Recipients::parse(&[secret.expose().to_owned()]).unwrap_err();
        assert!(
            error.contains("private key") && !error.contains(secret.expose()),
            "{error}"
        );
    }
}
