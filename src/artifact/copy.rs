//! A tar from one place to another, byte for byte, looked at on the way.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::Digest;
use super::tar::{Entry, EntryKind, TarReader};

/// Sees an entry, and may say what is wrong with it.
pub type EachEntry<'a> = dyn FnMut(&Entry, Option<Digest>) -> Result<(), String> + 'a;

/// Copies a tar byte for byte; `each` sees every entry, after its content, with the digest of
/// that content, and may say what is wrong with it.
///
/// # Errors
/// When it is no tar to its end, cannot be read or written, or `each` found something wrong.
pub fn copy(from: impl Read, to: &mut dyn Write, each: &mut EachEntry<'_>) -> io::Result<()> {
    let mut reader = TarReader::new(Tee { from, to });
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(entry) = reader.next_entry()? {
        let mut digest = None;
        if entry.kind == EntryKind::File {
            let mut hash = Sha256::new();
            let mut content = reader.content();
            loop {
                match content.read(&mut buffer)? {
                    0 => break,
                    read => hash.update(&buffer[..read]),
                }
            }
            digest = Some(Digest(hash.finalize().into()));
        }
        each(&entry, digest)
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
    }
    Ok(())
}

/// Writes what it reads.
struct Tee<'a, R> {
    from: R,
    to: &'a mut dyn Write,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(&buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [("a", &b"hello"[..]), ("b", &[7; 1500])] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o640);
            builder.append_data(&mut header, name, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn every_byte_is_copied_and_every_file_summed() {
        let from = sample();
        let (mut to, mut seen) = (Vec::new(), Vec::new());
        copy(&from[..], &mut to, &mut |entry, digest| {
            seen.push((entry.name.clone(), digest));
            Ok(())
        })
        .unwrap();
        assert_eq!(to, from);
        assert_eq!(
            seen,
            [
                (b"a".to_vec(), Some(Digest::of(b"hello"))),
                (b"b".to_vec(), Some(Digest::of(&[7; 1500])))
            ]
        );
    }

    #[test]
    fn what_is_cut_off_or_refused_is_an_error() {
        let from = sample();
        for length in [100, 700, 1100, 2000] {
            assert!(
                copy(&from[..length], &mut io::sink(), &mut |_, _| Ok(())).is_err(),
                "{length}"
            );
        }
        let refused = copy(&from[..], &mut io::sink(), &mut |_, _| Err("no".to_owned()));
        assert_eq!(refused.unwrap_err().to_string(), "no");
    }
}
