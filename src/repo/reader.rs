//! The way back: manifest → root → pages → chunks → entries. docs/format.md, *Index* and *Limits*.
//!
//! Everything is checked before it is used: each object against its name, each chunk and
//! file against its digest. Chunks are fetched and opened ahead, a bounded number at once.

mod choice;
mod listing;
mod wanted;

use std::collections::VecDeque;
use std::io::Write;

use sha2::{Digest as _, Sha256};

pub use self::choice::Choice;
pub use self::wanted::Parts;
use super::Error;
use super::chain::ChainKeys;
use super::chunks::Chunks;
pub use super::fetcher::Fetcher;
use super::format::{ArtifactRecord, ComponentRecord, FileLine, OtherLine, PAGE_LIMIT, PageRecord};
use super::id::ChainId;
use super::index::{FilePage, Root, head_bytes, parse_others};
use crate::artifact::name::shown;
use crate::artifact::tar::{Entry, EntryKind, padding, parse_head};
use crate::artifact::{Digest, Form};

/// Reads artifacts of one chain.
#[derive(Debug)]
pub struct Reader {
    fetcher: Fetcher,
    chain: ChainId,
    keys: ChainKeys,
}

/// One entry on its way back.
#[derive(Debug)]
pub struct ReadEntry<'a> {
    /// Header blocks; none in [`Form::File`].
    pub head: &'a [u8],
    /// What they say, checked; nothing in [`Form::File`].
    pub described: Option<&'a Entry>,
    /// For entries with content: its size and digest.
    pub content: Option<(u64, Digest)>,
}

/// Takes what a [`Reader`] reads.
pub trait EntryReceiver {
    /// An entry begins.
    ///
    /// # Errors
    /// When it is refused or cannot be written.
    fn begin(&mut self, entry: &ReadEntry<'_>) -> anyhow::Result<()>;
    /// A piece of the entry's content.
    ///
    /// # Errors
    /// When it cannot be written.
    fn content(&mut self, bytes: &[u8]) -> anyhow::Result<()>;
    /// The entry is complete and its digest was right.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(&mut self) -> anyhow::Result<()>;
}

impl Reader {
    /// Reads with these keys.
    pub fn new(fetcher: Fetcher, chain: ChainId, keys: ChainKeys) -> Self {
        Self {
            fetcher,
            chain,
            keys,
        }
    }

    /// The root of an artifact.
    ///
    /// # Errors
    /// When it cannot be had or is not the artifact's.
    pub fn root(
        &self,
        component: &ComponentRecord,
        artifact: &ArtifactRecord,
    ) -> Result<Root, Error> {
        self.fetcher
            .root(&self.chain, component, artifact, &self.keys.index)
    }

    fn file_page(&self, record: &PageRecord) -> Result<(String, FilePage), Error> {
        let object = self
            .fetcher
            .foundation
            .index(&self.chain, &record.page)
            .to_string();
        let plain = self
            .fetcher
            .index(&self.chain, &record.page, &self.keys.index, PAGE_LIMIT)?;
        let page = FilePage::parse(&object, &plain, record)?;
        Ok((object, page))
    }

    /// Gives all entries in their order.
    ///
    /// # Errors
    /// When anything on the way is missing or damaged, or the receiver refuses.
    pub fn read(&self, root: &Root, receiver: &mut dyn EntryReceiver) -> anyhow::Result<()> {
        self.read_chosen(root, Choice::ALL, receiver)
    }

    /// The same of the chosen files alone: of the others nothing is fetched and nothing given. The
    /// index is read whole all the same.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_chosen(
        &self,
        root: &Root,
        choice: Choice,
        receiver: &mut dyn EntryReceiver,
    ) -> anyhow::Result<()> {
        self.read_files(root, choice, Hashing::Here, receiver)
    }

    fn read_files(
        &self,
        root: &Root,
        choice: Choice,
        hashing: Hashing,
        receiver: &mut dyn EntryReceiver,
    ) -> anyhow::Result<()> {
        let mut others = Others {
            reader: self,
            pages: root.others.iter(),
            page: String::new(),
            lines: VecDeque::new(),
            last_at: 0,
        };
        let mut files = 0;
        let mut open: Option<OpenFile> = None;
        let mut goes_on = false;
        for record in &root.files {
            let (object, page) = self.file_page(record)?;
            let chosen = choice.lines(&page, &mut goes_on);
            let lines = page.lines.iter().zip(&chosen);
            let wanted = lines.filter(|(_, chosen)| **chosen).map(|(line, _)| line);
            let mut chunks = Chunks::of(&self.fetcher, &self.chain, &self.keys.data, &page, wanted);
            for (line, chosen) in page.lines.iter().zip(chosen) {
                let mut file = match (open.take(), &line.head) {
                    (None, Some(head)) => {
                        others.before(files, receiver)?;
                        files += 1;
                        let head = head_bytes(&object, head)?;
                        let (file, described) =
                            begin(&object, line, &head, root.head.form, hashing)?;
                        if chosen {
                            receiver.begin(&ReadEntry {
                                head: &head,
                                described: described.as_ref(),
                                content: Some((file.left, file.digest)),
                            })?;
                        }
                        file
                    }
                    (Some(file), None) => file,
                    (None, None) => {
                        return Err(
                            Error::damaged(object, "continues a file that never began").into()
                        );
                    }
                    (Some(_), Some(_)) => {
                        return Err(Error::damaged(object, "begins a file inside another").into());
                    }
                };
                for part in line.parts.iter().filter(|_| chosen) {
                    let bytes = chunks.part(*part)?;
                    let range = usize::try_from(part.1)?..usize::try_from(part.1 + part.2)?;
                    file.take(&object, &bytes[range], receiver)?;
                }
                if line.more {
                    open = Some(file);
                } else if chosen {
                    file.finish(&object, receiver)?;
                }
            }
        }
        if open.is_some() || files != root.head.files {
            return Err(Error::damaged(
                root.head.artifact.as_str(),
                "has an index with another number of files than its root states",
            )
            .into());
        }
        others.before(files, receiver)?;
        if let Some(line) = others.lines.front() {
            return Err(Error::damaged(
                others.page.as_str(),
                format!("places an entry behind {} of {files} files", line.at),
            )
            .into());
        }
        Ok(())
    }

    /// Writes an artifact's file: the tar byte for byte, or the plain file. `each` sees every entry.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn write_file(
        &self,
        root: &Root,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&ReadEntry<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.write_hashing(root, Hashing::Here, to, each)
    }

    /// The same for whoever compares the digest of each file with that of its entry when it has
    /// arrived, as an upload does with the instance's sums: the files are not hashed here as well.
    ///
    /// # Errors
    /// As [`Reader::read`], but for a file that has not its digest.
    pub fn write_file_to_be_compared(
        &self,
        root: &Root,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&ReadEntry<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.write_hashing(root, Hashing::Elsewhere, to, each)
    }

    fn write_hashing(
        &self,
        root: &Root,
        hashing: Hashing,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&ReadEntry<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut receiver = FileReceiver {
            to,
            each,
            pads: root.head.form != Form::File,
            left_to_pad: 0,
        };
        self.read_files(root, Choice::ALL, hashing, &mut receiver)?;
        zeros(to, root.head.zeros)?;
        Ok(())
    }
}

/// Who compares a file with its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hashing {
    Here,
    Elsewhere,
}

fn begin(
    object: &str,
    line: &FileLine,
    head: &[u8],
    form: Form,
    hashing: Hashing,
) -> anyhow::Result<(OpenFile, Option<Entry>)> {
    let (Some(digest), Some(size)) = (line.sha256, line.size) else {
        return Err(Error::damaged(object, "has a file without sha256 or size").into());
    };
    let described = match form {
        Form::File if head.is_empty() => None,
        Form::File => {
            return Err(Error::damaged(object, "has a tar head in a plain file").into());
        }
        Form::Tar | Form::Tree => {
            let entry = parse_head(head).map_err(|problem| Error::damaged(object, problem))?;
            if entry.kind != EntryKind::File || entry.size != size {
                return Err(Error::damaged(
                    object,
                    format!(
                        "and the tar head of `{}` say different things",
                        shown(&entry.name)
                    ),
                )
                .into());
            }
            Some(entry)
        }
    };
    Ok((OpenFile::new(digest, size, hashing), described))
}

#[derive(Debug)]
struct OpenFile {
    digest: Digest,
    left: u64,
    hash: Option<Sha256>,
}

impl OpenFile {
    fn new(digest: Digest, size: u64, hashing: Hashing) -> Self {
        Self {
            digest,
            left: size,
            hash: (hashing == Hashing::Here).then(Sha256::new),
        }
    }

    fn take(
        &mut self,
        object: &str,
        bytes: &[u8],
        receiver: &mut dyn EntryReceiver,
    ) -> anyhow::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| Error::damaged(object, "has a file with more parts than bytes"))?;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        receiver.content(bytes)
    }

    fn finish(self, object: &str, receiver: &mut dyn EntryReceiver) -> anyhow::Result<()> {
        let other = |hash: Sha256| Digest(hash.finalize().into()) != self.digest;
        if self.left != 0 || self.hash.is_some_and(other) {
            return Err(Error::damaged(
                object,
                "has a file whose content does not have its digest",
            )
            .into());
        }
        receiver.end()
    }
}

/// The entries without content, given when their turn comes.
struct Others<'a> {
    reader: &'a Reader,
    pages: std::slice::Iter<'a, PageRecord>,
    /// The name of the page that the lines are of.
    page: String,
    lines: VecDeque<OtherLine>,
    last_at: u64,
}

impl Others<'_> {
    fn before(&mut self, files: u64, receiver: &mut dyn EntryReceiver) -> anyhow::Result<()> {
        loop {
            let Some(line) = self.lines.front() else {
                let Some(record) = self.pages.next() else {
                    return Ok(());
                };
                let (fetcher, chain) = (&self.reader.fetcher, &self.reader.chain);
                let object = fetcher.foundation.index(chain, &record.page).to_string();
                let plain =
                    fetcher.index(chain, &record.page, &self.reader.keys.index, PAGE_LIMIT)?;
                self.lines = parse_others(&object, &plain, record)?.into();
                self.page = object;
                continue;
            };
            if line.at < self.last_at {
                return Err(Error::damaged(self.page.as_str(), "has entries out of order").into());
            }
            if line.at > files {
                return Ok(());
            }
            self.last_at = line.at;
            let head = head_bytes(&self.page, &line.head)?;
            self.lines.pop_front();
            let entry =
                parse_head(&head).map_err(|problem| Error::damaged(self.page.as_str(), problem))?;
            if entry.kind == EntryKind::File {
                return Err(
                    Error::damaged(self.page.as_str(), "has a file among the others").into(),
                );
            }
            receiver.begin(&ReadEntry {
                head: &head,
                described: Some(&entry),
                content: None,
            })?;
            receiver.end()?;
        }
    }
}

struct FileReceiver<'a> {
    to: &'a mut dyn Write,
    each: &'a mut dyn FnMut(&ReadEntry<'_>) -> anyhow::Result<()>,
    pads: bool,
    left_to_pad: u64,
}

impl EntryReceiver for FileReceiver<'_> {
    fn begin(&mut self, entry: &ReadEntry<'_>) -> anyhow::Result<()> {
        (self.each)(entry)?;
        self.to.write_all(entry.head)?;
        self.left_to_pad = match entry.content {
            Some((size, _)) if self.pads => padding(size),
            _ => 0,
        };
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.to.write_all(bytes)?)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        Ok(zeros(self.to, self.left_to_pad)?)
    }
}

fn zeros(to: &mut dyn Write, count: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), count), to).map(drop)
}
