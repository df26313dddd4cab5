//! The way back: manifest → root → pages → chunks → entries. docs/format.md, *Index* and *Limits*.
//!
//! Everything is checked before it is used: each object against its name, each chunk and
//! file against its digest. Chunks are fetched and opened ahead, a bounded number at once.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Error;
use super::chain::ChainKeys;
use super::fetcher::{Fetcher, open_object};
use super::format::{
    ArtifactRecord, CHUNK_LIMIT, ChunkRecord, ComponentRecord, FileLine, OtherLine, PAGE_LIMIT,
    PageRecord, Part,
};
use super::id::ChainId;
use super::index::{FilePage, Root, head_bytes, parse_others};
use crate::artifact::name::shown;
use crate::artifact::tar::{Entry, EntryKind, padding, parse_head};
use crate::artifact::{Digest, Form};
use crate::shutdown::Stopped;

/// Chunks fetched and opened ahead: 8 of at most 16 MiB (of 2 MiB as a rule).
const AHEAD: usize = 8;

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

    /// Gives all entries in their order.
    ///
    /// # Errors
    /// When anything on the way is missing or damaged, or the receiver refuses.
    pub fn read(&self, root: &Root, receiver: &mut dyn EntryReceiver) -> anyhow::Result<()> {
        let mut others = Others {
            reader: self,
            pages: root.others.iter(),
            page: String::new(),
            lines: VecDeque::new(),
            last_at: 0,
        };
        let mut files = 0;
        let mut open: Option<OpenFile> = None;
        for record in &root.files {
            let object = self
                .fetcher
                .foundation
                .index(&self.chain, &record.page)
                .to_string();
            let plain =
                self.fetcher
                    .index(&self.chain, &record.page, &self.keys.index, PAGE_LIMIT)?;
            let page = FilePage::parse(&object, &plain, record)?;
            drop(plain);
            let mut chunks = self.chunks(&page);
            for line in &page.lines {
                let mut file = match (open.take(), &line.head) {
                    (None, Some(head)) => {
                        others.before(files, receiver)?;
                        files += 1;
                        let head = head_bytes(&object, head)?;
                        begin(&object, line, &head, root.head.form, receiver)?
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
                for part in &line.parts {
                    let bytes = chunks.part(*part)?;
                    let range = usize::try_from(part.1)?..usize::try_from(part.1 + part.2)?;
                    file.take(&object, &bytes[range], receiver)?;
                }
                if line.more {
                    open = Some(file);
                } else {
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
        let mut receiver = FileReceiver {
            to,
            each,
            pads: root.head.form != Form::File,
            left_to_pad: 0,
        };
        self.read(root, &mut receiver)?;
        zeros(to, root.head.zeros)?;
        Ok(())
    }

    fn chunks<'a>(&'a self, page: &'a FilePage) -> Chunks<'a> {
        Chunks {
            reader: self,
            page,
            // The order of first use, which is the order of the table as our writer makes it,
            // but a reader must not rely on that.
            order: page
                .lines
                .iter()
                .flat_map(|line| line.parts.iter().map(|part| part.0))
                .collect(),
            next: 0,
            ahead: HashMap::new(),
            held: VecDeque::new(),
        }
    }
}

fn begin(
    object: &str,
    line: &FileLine,
    head: &[u8],
    form: Form,
    receiver: &mut dyn EntryReceiver,
) -> anyhow::Result<OpenFile> {
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
    receiver.begin(&ReadEntry {
        head,
        described: described.as_ref(),
        content: Some((size, digest)),
    })?;
    Ok(OpenFile {
        digest,
        left: size,
        hash: Sha256::new(),
    })
}

#[derive(Debug)]
struct OpenFile {
    digest: Digest,
    left: u64,
    hash: Sha256,
}

impl OpenFile {
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
        self.hash.update(bytes);
        receiver.content(bytes)
    }

    fn finish(self, object: &str, receiver: &mut dyn EntryReceiver) -> anyhow::Result<()> {
        if self.left != 0 || Digest(self.hash.finalize().into()) != self.digest {
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

type Opening = tokio::task::JoinHandle<Result<Vec<u8>, Error>>;

/// The chunks of one page, fetched ahead in the order in which they are needed.
struct Chunks<'a> {
    reader: &'a Reader,
    page: &'a FilePage,
    order: Vec<u32>,
    next: usize,
    ahead: HashMap<u32, Opening>,
    held: VecDeque<(u32, Arc<Vec<u8>>)>,
}

impl Chunks<'_> {
    fn part(&mut self, part: Part) -> anyhow::Result<Arc<Vec<u8>>> {
        if let Some((_, plain)) = self.held.iter().find(|(at, _)| *at == part.0) {
            return Ok(Arc::clone(plain));
        }
        self.fetch_ahead();
        let opening = match self.ahead.remove(&part.0) {
            Some(opening) => opening,
            None => self.start(part.0),
        };
        let ChunkRecord(name, digest, length) = self.chunk(part.0);
        let plain = self
            .reader
            .fetcher
            .bridge
            .wait(opening)
            .map_err(|stopped: Stopped| Error::from(stopped))?
            .map_err(|error| Error::Other(format!("reading ahead failed: {error}")))??;
        if plain.len() as u64 != u64::from(length) || Digest::of(&plain) != digest {
            let object = self
                .reader
                .fetcher
                .foundation
                .data(&self.reader.chain, &name);
            return Err(Error::damaged(
                object.as_str(),
                "opens to other bytes than its page states",
            )
            .into());
        }
        let plain = Arc::new(plain);
        // Two: small files of one pack may stand on both sides of a large file.
        if self.held.len() == 2 {
            self.held.pop_front();
        }
        self.held.push_back((part.0, Arc::clone(&plain)));
        self.fetch_ahead();
        Ok(plain)
    }

    fn chunk(&self, at: u32) -> ChunkRecord {
        self.page.chunks[usize::try_from(at).expect("checked when the page was parsed")]
    }

    fn fetch_ahead(&mut self) {
        while self.ahead.len() < AHEAD && self.next < self.order.len() {
            let at = self.order[self.next];
            self.next += 1;
            if !self.ahead.contains_key(&at) && !self.held.iter().any(|(held, _)| *held == at) {
                let opening = self.start(at);
                self.ahead.insert(at, opening);
            }
        }
    }

    fn start(&self, at: u32) -> Opening {
        let ChunkRecord(name, _, _) = self.chunk(at);
        let fetcher = &self.reader.fetcher;
        fetcher.bridge.spawn(open_object(
            Arc::clone(&fetcher.copies),
            fetcher.foundation.data(&self.reader.chain, &name),
            name,
            self.reader.keys.data.clone(),
            CHUNK_LIMIT,
        ))
    }
}

impl Drop for Chunks<'_> {
    fn drop(&mut self) {
        for opening in self.ahead.values() {
            opening.abort();
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
