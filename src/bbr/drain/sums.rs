//! The listing of sums that arrives beside the tar stream.

use std::io::{self, BufRead as _, BufReader, Read};

use super::Broken;
use crate::artifact::{Digest, name};

/// The longest record: a digest, two blanks, a path.
const RECORD_LIMIT: u64 = 64 * 1024;

/// The output of `sha256sum -z`: hex digest, two blanks, path, NUL.
pub(in crate::bbr) struct Sums<R> {
    inner: BufReader<R>,
}

impl<R: Read> Sums<R> {
    pub(in crate::bbr) fn new(inner: R) -> Self {
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

    pub(in crate::bbr) fn next(&mut self) -> Result<Option<(Digest, Vec<u8>)>, Broken> {
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

/// What was listed and did not come.
pub(super) fn missing(path: &[u8]) -> Broken {
    Broken::Said(format!(
        "{} was listed but did not arrive: it was removed or replaced while the artifact was drained",
        name::shown(path)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(listing: &[u8]) -> Result<Vec<(Digest, Vec<u8>)>, Broken> {
        let mut sums = Sums::new(listing);
        let mut records = Vec::new();
        while let Some(record) = sums.next()? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn records_are_read_whole_or_not_at_all() {
        let digest = Digest::of(b"x");
        let listing = format!("{digest}  ./a b\0{digest}  ./c\n\\\0").into_bytes();
        let records = all(&listing).ok().unwrap();
        assert_eq!(records[0], (digest, b"./a b".to_vec()));
        assert_eq!(records[1], (digest, b"./c\n\\".to_vec()));
        for length in 1..listing.len() {
            let whole = listing[..length].ends_with(b"\0");
            assert_eq!(all(&listing[..length]).is_ok(), whole, "{length}");
        }
        assert!(all(b"sha256sum: no such file\0").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_listing_panics(listing in proptest::collection::vec(0..=255_u8, 0..300)) {
            drop(all(&listing));
        }
    }
}
