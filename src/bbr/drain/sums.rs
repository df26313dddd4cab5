//! The listing of sums that arrives beside the tar stream.

use std::io::{self, BufRead as _, BufReader, Read};

use super::{Broken, missing};
use crate::artifact::{Digest, name};

/// The longest record: a digest, two blanks, a path.
const RECORD_LIMIT: u64 = 64 * 1024;

/// The output of `sha256sum -z`: hex digest, two blanks, path, NUL.
pub(super) struct Sums<R> {
    inner: BufReader<R>,
}

impl<R: Read> Sums<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner: BufReader::new(inner),
        }
    }

    /// The digest of this path; those listed before it did not arrive.
    pub(super) fn of(&mut self, path: &[u8]) -> Result<Option<Digest>, Broken> {
        match self.next()? {
            Some((digest, listed)) if listed == path => Ok(Some(digest)),
            Some((_, listed)) => Err(missing(&listed)),
            None => Err(Broken::Sums(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("no sum came for {}", name::shown(path)),
            ))),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<(Digest, Vec<u8>)>, Broken> {
        let mut record = Vec::new();
        (&mut self.inner)
            .take(RECORD_LIMIT)
            .read_until(0, &mut record)
            .map_err(Broken::Sums)?;
        if record.is_empty() {
            return Ok(None);
        }
        let bad = || {
            Broken::Sums(io::Error::new(
                io::ErrorKind::InvalidData,
                "the sums listing ends inside a record or is none",
            ))
        };
        let record = record.strip_suffix(b"\0").ok_or_else(bad)?;
        let (hex, path) = record.split_at_checked(66).ok_or_else(bad)?;
        let digest = std::str::from_utf8(hex)
            .ok()
            .and_then(|hex| hex.strip_suffix("  "))
            .and_then(Digest::parse)
            .ok_or_else(bad)?;
        Ok(Some((digest, path.to_vec())))
    }
}
