//! Reads a tar stream entry by entry, keeping every header block as it came.
//!
//! The blocks are read here, so that heads survive byte for byte; their fields are parsed
//! by the `tar` crate. GNU and POSIX (pax) forms are understood. Hostile streams are
//! bounded: a head is at most [`HEAD_LIMIT`] bytes.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::name::{is_safe, shown};

/// Size of a tar block in bytes.
pub const BLOCK: u64 = 512;

/// The most bytes of header blocks (long names, pax records) in front of one content:
/// path names are at most 4 KiB on Linux, extended attributes may add some.
pub const HEAD_LIMIT: u64 = 256 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file, with content.
    File,
    /// A directory.
    Directory,
    /// A hard link to an earlier entry.
    HardLink,
    /// A symbolic link.
    SymbolicLink,
    /// A device, a FIFO, or something newer.
    Special,
}

/// The description of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// All header blocks in front of the content.
    pub head: Vec<u8>,
    /// The name, with long-name and pax records applied.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u64,
    /// The target of a link.
    pub link: Vec<u8>,
}

/// Bytes of padding after a content of this size.
pub fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

/// Reads the one entry that these header blocks describe, and nothing else: what a stranger
/// stored as a head may be anything.
///
/// # Errors
/// What is wrong with it.
pub fn parse_head(head: &[u8]) -> Result<Entry, String> {
    if head.len() as u64 > HEAD_LIMIT {
        return Err("has a head of more than 256 KiB".into());
    }
    let entry = match TarReader::new(head).next_entry() {
        Ok(Ok(entry)) => entry,
        Ok(Err(_)) => return Err("has a head that describes no entry".into()),
        Err(error) => return Err(format!("has a head that is none: {error}")),
    };
    if entry.head.len() != head.len() {
        return Err("has a head with something behind its last block".into());
    }
    if !is_safe(&entry.name) {
        let mut name = shown(&entry.name);
        if let Some((end, _)) = name.char_indices().nth(200) {
            name.truncate(end);
        }
        return Err(format!("has the forbidden entry name `{name}`"));
    }
    Ok(entry)
}

/// A tar stream.
#[derive(Debug)]
pub struct TarReader<R> {
    inner: R,
    /// Content and padding of the current entry that nobody has read yet.
    content_left: u64,
    padding_left: u64,
}

impl<R: Read> TarReader<R> {
    /// Starts at the first header.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            content_left: 0,
            padding_left: 0,
        }
    }

    /// The next entry, or the number of zero bytes that ended the stream. What is left of
    /// the content of the entry before is skipped.
    ///
    /// # Errors
    /// When the stream ends inside an entry, is not a tar, or has something other than
    /// zeros after its end.
    pub fn next_entry(&mut self) -> io::Result<Result<Entry, u64>> {
        self.skip()?;
        let mut head = Vec::new();
        let mut long_name = None;
        let mut long_link = None;
        let mut pax = Pax::default();
        loop {
            let mut block = [0; 512];
            if !read_block(&mut self.inner, &mut block, head.is_empty())? {
                return Ok(Err(0));
            }
            if block.iter().all(|byte| *byte == 0) {
                if !head.is_empty() {
                    return Err(bad("ends between the headers of an entry"));
                }
                return Ok(Err(BLOCK + self.zeros()?));
            }
            let header = Header::from_byte_slice(&block);
            check_sum(header, &block)?;
            head.extend_from_slice(&block);
            let kind = header.entry_type();
            let size = header.entry_size()?;
            let extension = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions();
            if !extension {
                return Ok(Ok(
                    self.describe(header, head, kind, size, long_name, long_link, pax)?
                ));
            }
            let start = head.len();
            let padded = size.saturating_add(padding(size));
            // The block that they describe is still to come.
            if padded.saturating_add(start as u64 + BLOCK) > HEAD_LIMIT {
                return Err(bad("has a header larger than 256 KiB"));
            }
            (&mut self.inner).take(padded).read_to_end(&mut head)?;
            if head.len() as u64 - start as u64 != padded {
                return Err(bad("ends inside a header"));
            }
            let end = start + usize::try_from(size).map_err(io::Error::other)?;
            let data = &head[start..end];
            if kind.is_gnu_longname() {
                long_name = Some(until_nul(data).to_vec());
            } else if kind.is_gnu_longlink() {
                long_link = Some(until_nul(data).to_vec());
            } else if kind.is_pax_local_extensions() {
                pax = Pax::parse(data)?;
            }
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one entry, gathered in one place"
    )]
    fn describe(
        &mut self,
        header: &Header,
        head: Vec<u8>,
        kind: EntryType,
        size: u64,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        pax: Pax,
    ) -> io::Result<Entry> {
        if kind.is_gnu_sparse() || pax.sparse {
            return Err(bad("holds a sparse entry, which only tar itself can read"));
        }
        let size = pax.size.unwrap_or(size);
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Symlink => EntryKind::SymbolicLink,
            _ => EntryKind::Special,
        };
        // POSIX lets a link state the size of what it names; only files have content.
        let size = if kind == EntryKind::File { size } else { 0 };
        self.content_left = size;
        self.padding_left = padding(size);
        Ok(Entry {
            name: pax
                .path
                .or(long_name)
                .unwrap_or_else(|| header.path_bytes().into_owned()),
            link: pax
                .link
                .or(long_link)
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default(),
            kind,
            size,
            mode: header.mode().unwrap_or(0o644) & 0o7777,
            mtime: header.mtime().unwrap_or(0),
            head,
        })
    }

    /// The content of the entry that [`TarReader::next_entry`] just gave.
    pub fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    fn skip(&mut self) -> io::Result<()> {
        let content = io::copy(
            &mut (&mut self.inner).take(self.content_left),
            &mut io::sink(),
        )?;
        let mut padding = Vec::new();
        (&mut self.inner)
            .take(self.padding_left)
            .read_to_end(&mut padding)?;
        if content != self.content_left || padding.len() as u64 != self.padding_left {
            return Err(bad("ends inside an entry"));
        }
        // A reader of the repository pads with zeros.
        if padding.iter().any(|byte| *byte != 0) {
            return Err(bad("pads an entry with something other than zeros"));
        }
        (self.content_left, self.padding_left) = (0, 0);
        Ok(())
    }

    fn zeros(&mut self) -> io::Result<u64> {
        let mut buffer = [0; 8192];
        let mut zeros = 0;
        loop {
            let read = match self.inner.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if read == 0 {
                return Ok(zeros);
            }
            if buffer[..read].iter().any(|byte| *byte != 0) {
                return Err(bad("has something other than zeros after its end"));
            }
            zeros += read as u64;
        }
    }
}

/// Reads the content of one entry; ends where it ends.
#[derive(Debug)]
pub struct Content<'a, R>(&'a mut TarReader<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.content_left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.0.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(bad("ends inside the content of an entry"));
        }
        self.0.content_left -= read as u64;
        Ok(read)
    }
}

/// The pax records that change what an entry is called or how long it is.
#[derive(Debug, Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Pax {
    fn parse(data: &[u8]) -> io::Result<Self> {
        let mut pax = Self::default();
        for record in tar::PaxExtensions::new(data) {
            let record = record?;
            match record.key_bytes() {
                b"path" => pax.path = Some(record.value_bytes().to_vec()),
                b"linkpath" => pax.link = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let text =
                        std::str::from_utf8(record.value_bytes()).map_err(io::Error::other)?;
                    pax.size = Some(text.parse().map_err(io::Error::other)?);
                }
                key if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
                _ => {}
            }
        }
        Ok(pax)
    }
}

/// Reads one block; `false` when the stream ends in front of it and it may.
fn read_block(from: &mut impl Read, block: &mut [u8], may_end: bool) -> io::Result<bool> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) if filled == 0 && may_end => return Ok(false),
            Ok(0) => return Err(bad("ends inside a header")),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn check_sum(header: &Header, block: &[u8]) -> io::Result<()> {
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    match header.cksum() {
        Ok(stated) if stated == sum => Ok(()),
        _ => Err(bad("has a header whose checksum is wrong")),
    }
}

fn until_nul(data: &[u8]) -> &[u8] {
    data.split(|byte| *byte == 0).next().unwrap_or(data)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tar stream {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(format: fn() -> Header) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind: EntryType, content: &[u8]| {
            let mut header = format();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o640);
            header.set_mtime(1_700_000_000);
            builder.append_data(&mut header, name, content).unwrap();
        };
        add("./", EntryType::Directory, b"");
        add("./a", EntryType::Regular, b"hello");
        add(
            &format!("./{}", "long/".repeat(60)),
            EntryType::Regular,
            &[7; 1024],
        );
        builder.into_inner().unwrap()
    }

    #[test]
    fn heads_contents_and_zeros_make_the_stream_again() {
        for format in [Header::new_gnu as fn() -> Header, Header::new_ustar] {
            let stream = sample(format);
            let mut reader = TarReader::new(&stream[..]);
            let mut rebuilt = Vec::new();
            loop {
                match reader.next_entry().unwrap() {
                    Ok(entry) => {
                        rebuilt.extend_from_slice(&entry.head);
                        let mut content = Vec::new();
                        reader.content().read_to_end(&mut content).unwrap();
                        assert_eq!(content.len() as u64, entry.size);
                        rebuilt.extend_from_slice(&content);
                        rebuilt.resize(
                            rebuilt.len() + usize::try_from(padding(entry.size)).unwrap(),
                            0,
                        );
                    }
                    Err(zeros) => {
                        rebuilt.resize(rebuilt.len() + usize::try_from(zeros).unwrap(), 0);
                        break;
                    }
                }
            }
            assert_eq!(rebuilt, stream);
        }
    }

    #[test]
    fn every_truncation_inside_an_entry_is_noticed() {
        let stream = sample(Header::new_gnu);
        for length in [100, 512 + 100, 1024 + 3, 1024 + 200, 2048 + 10] {
            let mut reader = TarReader::new(&stream[..length]);
            let result = loop {
                match reader.next_entry() {
                    Ok(Ok(_)) => {}
                    other => break other,
                }
            };
            assert!(result.is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_head_is_one_entry_with_a_safe_name() {
        let head = |name: &str| {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(EntryType::Regular);
            header.set_size(7);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        assert_eq!(parse_head(&head("./a")).unwrap().size, 7);
        for (name, what) in [
            ("a", "forbidden"),
            ("./../a", "forbidden"),
            ("", "forbidden"),
        ] {
            assert!(
                parse_head(&head(name)).unwrap_err().contains(what),
                "{name}"
            );
        }
        let good = head("./a");
        for bad in [
            vec![],
            vec![0; 512],
            vec![b'x'; 512],
            good[..511].to_vec(),
            [&good[..], &good].concat(),
            [&good[..], &[0]].concat(),
            vec![0; 257 * 1024],
        ] {
            assert!(parse_head(&bad).is_err(), "{} bytes", bad.len());
        }
    }

    #[test]
    fn text_is_not_a_tar() {
        let mut reader = TarReader::new(&[b'x'; 1024][..]);
        assert!(
            reader
                .next_entry()
                .unwrap_err()
                .to_string()
                .contains("the tar stream")
        );
    }
}
