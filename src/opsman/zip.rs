//! Whether a zip that passes by is whole: every entry against its CRC, the directory at the end
//! against the entries, nothing missing and nothing behind it.
//!
//! Own code, because an export is written to a pipe: its entries tell their sizes behind their
//! content, which the zip crates can read from a file only (they begin at the directory). What
//! inflates and sums is flate2's.

mod fields;

use std::collections::HashMap;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use fields::{u16_at, u32_at, u64_at, wide};

/// The entry without which a zip is no installation.
const INSTALLATION: &str = "installation.yml";
/// What the directory and the names in it may take: an installation has some thousand entries.
const MOST_ENTRIES: usize = 1_000_000;

/// Why a zip is not whole; the text continues "the export is not a whole zip: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

/// What a whole zip holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Number of entries.
    pub entries: usize,
    /// Bytes of the zip.
    pub bytes: u64,
}

/// Takes a zip piece by piece.
#[derive(Debug)]
pub struct Checker {
    pending: Vec<u8>,
    /// Bytes taken out of `pending` so far: the place in the zip.
    at: u64,
    state: State,
    /// By the place of the local header.
    seen: HashMap<u64, Seen>,
    directory: Directory,
    installation: bool,
    scratch: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: Vec<u8>,
    crc: u32,
    sealed: bool,
}

#[derive(Debug, Default)]
struct Directory {
    begins: Option<u64>,
    records: usize,
}

#[derive(Debug)]
enum State {
    /// A local header, a record of the directory, or what ends it.
    Header,
    /// Content of an entry.
    Content(Box<Content>),
    /// Sizes and CRC behind a content.
    Descriptor(Box<Content>),
    /// This many bytes of a comment, then nothing.
    Comment(usize),
}

#[derive(Debug)]
struct Content {
    begins: u64,
    name: Vec<u8>,
    /// What the header says; not of an entry with a descriptor.
    crc: Option<u32>,
    /// Bytes left, for what is stored as it is or cannot be looked into.
    left: Option<u64>,
    inflate: Option<Decompress>,
    sum: Crc,
    packed: u64,
    plain: u64,
    sealed: bool,
}

/// Whether a step could be made.
enum Step {
    Made,
    NeedsMore,
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

impl Checker {
    /// Before the first byte.
    pub fn new() -> Self {
        Self {
            pending: Vec::new(),
            at: 0,
            state: State::Header,
            seen: HashMap::new(),
            directory: Directory::default(),
            installation: false,
            scratch: vec![0; 64 * 1024],
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// As soon as it is clear that the zip is not whole.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.pending.extend_from_slice(bytes);
        while let Step::Made = self.step()? {}
        Ok(())
    }

    /// After the last byte.
    ///
    /// # Errors
    /// When something is missing, or it is no installation.
    pub fn finish(self) -> Result<Checked, Broken> {
        match self.state {
            State::Comment(0) if self.pending.is_empty() => {}
            State::Comment(0) => return broken("something follows its end"),
            State::Header if self.directory.begins.is_none() => {
                return broken("it ends before its directory");
            }
            State::Header | State::Comment(_) => return broken("it ends within its directory"),
            State::Content(content) | State::Descriptor(content) => {
                return broken(format!("it ends within the entry {}", content.shown()));
            }
        }
        if !self.installation {
            return broken(format!("it has no entry {INSTALLATION}"));
        }
        Ok(Checked {
            entries: self.seen.len(),
            bytes: self.at,
        })
    }

    fn step(&mut self) -> Result<Step, Broken> {
        match std::mem::replace(&mut self.state, State::Header) {
            State::Header => self.header(),
            State::Content(content) => self.content(content),
            State::Descriptor(content) => self.descriptor(*content),
            State::Comment(left) => {
                let here = left.min(self.pending.len());
                self.consume(here);
                self.state = State::Comment(left - here);
                Ok(Step::NeedsMore)
            }
        }
    }

    fn consume(&mut self, count: usize) {
        self.pending.drain(..count);
        self.at += count as u64;
    }

    fn header(&mut self) -> Result<Step, Broken> {
        let Some(signature) = self.pending.get(..4) else {
            return Ok(Step::NeedsMore);
        };
        let step = match signature {
            b"PK\x03\x04" if self.directory.begins.is_none() => self.local_header(),
            b"PK\x01\x02" => self.directory_record(),
            // Only more room for the numbers of the end.
            b"PK\x06\x06" => self.skip_zip64_end(),
            b"PK\x06\x07" => Ok(self.skip(20)),
            b"PK\x05\x06" => self.end(),
            _ if self.at == 0 => broken("it does not begin like one"),
            _ => broken(format!("byte {} begins nothing known", self.at)),
        };
        step.map(|step| step.unwrap_or(Step::NeedsMore))
    }

    fn skip(&mut self, count: usize) -> Option<Step> {
        self.pending.get(..count)?;
        self.consume(count);
        Some(Step::Made)
    }

    fn skip_zip64_end(&mut self) -> Result<Option<Step>, Broken> {
        let Some(size) = u64_at(&self.pending, 4) else {
            return Ok(None);
        };
        match usize::try_from(size) {
            Ok(size) if size < 1 << 16 => Ok(self.skip(12 + size)),
            _ => broken("its directory's end is damaged"),
        }
    }

    fn local_header(&mut self) -> Result<Option<Step>, Broken> {
        let p = &self.pending;
        let (Some(flags), Some(method), Some(crc)) = (u16_at(p, 6), u16_at(p, 8), u32_at(p, 14))
        else {
            return Ok(None);
        };
        let (Some(packed), Some(plain)) = (u32_at(p, 18), u32_at(p, 22)) else {
            return Ok(None);
        };
        let (Some(name_length), Some(extra_length)) = (u16_at(p, 26), u16_at(p, 28)) else {
            return Ok(None);
        };
        let (name_end, end) = (
            30 + usize::from(name_length),
            30 + usize::from(name_length) + usize::from(extra_length),
        );
        let (Some(name), Some(extra)) = (p.get(30..name_end), p.get(name_end..end)) else {
            return Ok(None);
        };
        let (_, packed, _) = wide(extra, Some(plain), packed, None);
        let described = flags & 8 != 0;
        let sealed = flags & 1 != 0;
        let mut content = Content {
            begins: self.at,
            name: name.to_vec(),
            crc: (!described).then_some(crc),
            left: None,
            inflate: None,
            sum: Crc::new(),
            packed: 0,
            plain: 0,
            sealed,
        };
        match method {
            8 if !sealed => content.inflate = Some(Decompress::new(false)),
            // Sealed or packed in a way of its own: only its length can be followed.
            _ if !described || packed > 0 => {
                content.left = Some(packed);
                content.sealed |= method != 0;
            }
            _ => {
                return broken(format!(
                    "the entry {} does not tell its length",
                    content.shown()
                ));
            }
        }
        if self.seen.len() >= MOST_ENTRIES {
            return broken("it has more entries than any installation");
        }
        self.consume(end);
        self.state = State::Content(Box::new(content));
        Ok(Some(Step::Made))
    }

    fn content(&mut self, mut content: Box<Content>) -> Result<Step, Broken> {
        let Some(inflate) = &mut content.inflate else {
            let left = content.left.unwrap_or_default();
            let here = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.pending.len());
            content.sum.update(&self.pending[..here]);
            content.packed += here as u64;
            content.plain += here as u64;
            content.left = Some(left - here as u64);
            self.consume(here);
            return Ok(self.after(content, left == here as u64));
        };
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(&self.pending, &mut self.scratch, FlushDecompress::None)
            .map_err(|_says_nothing_more| {
                Broken(format!(
                    "the entry {} is damaged: it cannot be unpacked",
                    shown(&content.name)
                ))
            })?;
        let taken = usize::try_from(inflate.total_in() - before_in).unwrap_or(usize::MAX);
        let given = usize::try_from(inflate.total_out() - before_out).unwrap_or(usize::MAX);
        content.sum.update(&self.scratch[..given]);
        content.packed += taken as u64;
        content.plain += given as u64;
        self.consume(taken);
        if status == Status::StreamEnd {
            return Ok(self.after(content, true));
        }
        self.state = State::Content(content);
        Ok(match taken + given {
            0 => Step::NeedsMore,
            _ => Step::Made,
        })
    }

    fn after(&mut self, content: Box<Content>, ended: bool) -> Step {
        if ended {
            self.state = State::Descriptor(content);
            return Step::Made;
        }
        self.state = State::Content(content);
        Step::NeedsMore
    }

    /// What follows a content: nothing, or its CRC and sizes, which may be wide and may have a
    /// signature.
    fn descriptor(&mut self, content: Content) -> Result<Step, Broken> {
        let mut told = content.crc;
        if told.is_none() {
            let Some(signature) = self.pending.get(..4) else {
                self.state = State::Descriptor(Box::new(content));
                return Ok(Step::NeedsMore);
            };
            let begin = if signature == b"PK\x07\x08" { 4 } else { 0 };
            // Behind every descriptor something follows that begins with PK.
            let narrow = begin + 12;
            let wide = begin + 20;
            let follows = |at: usize| self.pending.get(at..at + 2).map(|found| found == b"PK");
            let end = match (follows(narrow), follows(wide)) {
                (Some(true), _) => narrow,
                (Some(false), Some(true)) => wide,
                (Some(false), Some(false)) => {
                    return broken(format!("nothing known follows {}", content.shown()));
                }
                _ => {
                    self.state = State::Descriptor(Box::new(content));
                    return Ok(Step::NeedsMore);
                }
            };
            told = u32_at(&self.pending, begin);
            self.consume(end);
        }
        let sum = content.sum.sum();
        if !content.sealed && told != Some(sum) {
            return broken(format!(
                "the entry {} is damaged: its sum is not as written",
                content.shown()
            ));
        }
        self.installation |= content.name == INSTALLATION.as_bytes();
        let seen = Seen {
            name: content.name,
            crc: told.unwrap_or_default(),
            sealed: content.sealed,
        };
        self.seen.insert(content.begins, seen);
        self.state = State::Header;
        Ok(Step::Made)
    }

    fn directory_record(&mut self) -> Result<Option<Step>, Broken> {
        let p = &self.pending;
        let (Some(crc), Some(packed), Some(plain)) = (u32_at(p, 16), u32_at(p, 20), u32_at(p, 24))
        else {
            return Ok(None);
        };
        let (Some(names), Some(extras), Some(comments), Some(offset)) =
            (u16_at(p, 28), u16_at(p, 30), u16_at(p, 32), u32_at(p, 42))
        else {
            return Ok(None);
        };
        let name_end = 46 + usize::from(names);
        let extra_end = name_end + usize::from(extras);
        let end = extra_end + usize::from(comments);
        let (Some(name), Some(extra), Some(_)) = (
            p.get(46..name_end),
            p.get(name_end..extra_end),
            p.get(..end),
        ) else {
            return Ok(None);
        };
        let (_, _, offset) = wide(extra, Some(plain), packed, Some(offset));
        let good = self
            .seen
            .get(&offset)
            .is_some_and(|seen| seen.name == name && seen.crc == crc);
        if !good {
            return broken(format!(
                "its directory names {}, which is not there like that",
                shown(name)
            ));
        }
        self.directory.begins.get_or_insert(self.at);
        self.directory.records += 1;
        self.consume(end);
        Ok(Some(Step::Made))
    }

    fn end(&mut self) -> Result<Option<Step>, Broken> {
        let p = &self.pending;
        let (Some(records), Some(comment)) = (u16_at(p, 10), u16_at(p, 20)) else {
            return Ok(None);
        };
        let counted = self.directory.records;
        let told = usize::from(records) == counted || records == u16::MAX;
        if !told || counted != self.seen.len() {
            return broken(format!(
                "its directory names {counted} entries, but it holds {}",
                self.seen.len()
            ));
        }
        self.directory.begins.get_or_insert(self.at);
        self.consume(22);
        self.state = State::Comment(usize::from(comment));
        Ok(Some(Step::Made))
    }
}

impl Content {
    fn shown(&self) -> String {
        shown(&self.name)
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

fn broken<T>(why: impl Into<String>) -> Result<T, Broken> {
    Err(Broken(why.into()))
}

#[cfg(test)]
mod tests;
