//! One job's artifact as a sequence of entries, and the rules about them.
//!
//! Knows tar, entries and digests; not where bytes come from or go. Governed by the
//! section *Index* of `docs/format.md`.

pub mod base;
pub mod copy;
pub mod dump;
pub mod listing;
pub mod name;
pub mod sums;
pub mod tar;

use std::io::{Read, Write};

use sha2::{Digest as _, Sha256};

use self::tar::Entry;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From 64 lower-case hex digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let lower = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected 64 lower-case hex digits"))
    }
}

/// What an artifact is made of, and so what a reader makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A tar file, given back byte for byte.
    Tar,
    /// A plain file: one entry with an empty head and no padding.
    File,
    /// A directory, kept as a tar and unpacked by a reader.
    Tree,
}

/// Takes the entries of one artifact in order. `repo` implements it.
pub trait EntrySink {
    /// A regular file: its head as tar sent it (for [`Form::File`]: empty), its size in
    /// bytes, and exactly that many bytes of content. Returns the content's digest.
    ///
    /// # Errors
    /// When the content ends early, cannot be read, or cannot be stored.
    fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest>;

    /// The last file again, in place of what [`EntrySink::file`] took before: it arrived
    /// with another digest than the instance listed.
    ///
    /// # Errors
    /// As [`EntrySink::file`].
    fn again(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest>;

    /// Anything without content: a directory, a link, a device.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn other(&mut self, head: &[u8]) -> anyhow::Result<()>;

    /// The tar ended with this many zero bytes after the last entry's padding.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn end(&mut self, zeros: u64) -> anyhow::Result<()>;
}

/// Gives one artifact as a tar. What reads the stores implements it, and what reads directories.
pub trait TarSource {
    /// Writes the whole tar; `each` sees every entry once, and for regular files the digest of
    /// their content.
    ///
    /// # Errors
    /// When it cannot be read whole, is not what it should be, or cannot be written.
    fn write_tar(
        &mut self,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&Entry, Option<Digest>),
    ) -> anyhow::Result<()>;
}
