//! Entries become lines, lines pages, pages a root.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::artifact::{Digest, listing};
use crate::repo::Error;
use crate::repo::format::{
    ChunkRecord, ChunkTable, FileLine, OtherLine, PageKind, PageRecord, Part, RootHead,
};
use crate::repo::pipeline::{Pending, Pipeline};

/// Parts on one line at most: 40 bytes each, far below the line limit of 1 MiB.
const PARTS_PER_LINE: usize = 2_000;
/// A page is closed at these sizes, whatever its entries say. With a table line of 2,000
/// chunks (140 bytes each) and heads of 3 MiB as base64 it stays below 8 MiB.
const FULL_PAGE: Size = Size {
    lines: 4_000,
    parts: PARTS_PER_LINE,
    head_bytes: 3 << 20,
};
/// A page of others has this many entries before its content may close it, and on average
/// [`AVERAGE_ENTRIES`] more.
const FEWEST_ENTRIES: usize = 256;
/// See [`FEWEST_ENTRIES`].
pub const AVERAGE_ENTRIES: u64 = 768;
/// Closed pages that may wait for their chunks to be sealed: small files of so many changed
/// pages are packed together.
const WAITING_PAGES: usize = 4;

/// A chunk of a file.
#[derive(Debug, Clone)]
pub enum FileChunk {
    /// It may still be on its way.
    New(Arc<Pending>),
    /// One of a table of the base.
    Stored(Arc<[ChunkRecord]>, u32),
}

impl FileChunk {
    fn record(&self, pipeline: &Pipeline) -> Result<ChunkRecord, Error> {
        match self {
            Self::New(pending) => pending.record(pipeline.shutdown()),
            Self::Stored(table, at) => Ok(table[usize::try_from(*at).expect("an index")]),
        }
    }
}

/// A piece of a chunk.
#[derive(Debug, Clone)]
pub struct PendingPart {
    /// The chunk.
    pub chunk: FileChunk,
    /// Offset in it.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
}

/// A regular file whose content has been taken.
#[derive(Debug)]
pub struct FileEntry {
    /// Header blocks.
    pub head: Vec<u8>,
    /// Of the content.
    pub digest: Digest,
    /// Of the content, in bytes.
    pub size: u64,
    /// Where the content is.
    pub parts: Vec<PendingPart>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Size {
    lines: usize,
    parts: usize,
    head_bytes: usize,
}

impl Size {
    fn reaches(self, full: Self) -> bool {
        self.lines >= full.lines || self.parts >= full.parts || self.head_bytes >= full.head_bytes
    }
}

#[derive(Debug)]
struct DraftLine {
    head: Option<(String, Digest, u64)>,
    parts: Vec<PendingPart>,
    more: bool,
}

/// Pages behind those that are stored already.
#[derive(Debug)]
enum Closed {
    Draft { lines: Vec<DraftLine>, list: String },
    Taken(Vec<PageRecord>),
}

/// Collects the files of one artifact. Its pages end where the pages of a listing do
/// ([`listing::Pages`]), so that the next run knows an unchanged one by its `list`; what is closed
/// before, because of its size, has none.
#[derive(Debug, Default)]
pub struct FilePages {
    draft: Vec<DraftLine>,
    size: Size,
    cut: listing::Pages,
    waiting: VecDeque<Closed>,
    pages: Vec<PageRecord>,
}

impl FilePages {
    /// Adds a file. `true`: a page ends behind it.
    pub fn add(&mut self, entry: FileEntry) -> bool {
        if self.size.reaches(FULL_PAGE) {
            self.close(String::new());
        }
        let (path, line) = listing::stored_line(&entry.head, &entry.digest);
        self.size.head_bytes += entry.head.len();
        let mut head = Some((BASE64.encode(&entry.head), entry.digest, entry.size));
        let mut parts = entry.parts.into_iter().peekable();
        loop {
            let share: Vec<_> = parts.by_ref().take(PARTS_PER_LINE).collect();
            let more = parts.peek().is_some();
            self.size.lines += 1;
            self.size.parts += share.len();
            self.draft.push(DraftLine {
                head: head.take(),
                parts: share,
                more,
            });
            if !more {
                break;
            }
            self.close(String::new());
        }
        let list = self.cut.add(&path, &line);
        let ends = list.is_some();
        if let Some(list) = list {
            self.close(list);
        }
        ends
    }

    /// The next files are those of these pages of the base.
    pub fn take(&mut self, records: Vec<PageRecord>) {
        self.end_listing();
        self.waiting.push_back(Closed::Taken(records));
    }

    /// The page under way gets its `list`.
    fn end_listing(&mut self) {
        if let Some(list) = self.cut.finish() {
            self.close(list);
        }
    }

    fn close(&mut self, list: String) {
        if !self.draft.is_empty() {
            let lines = std::mem::take(&mut self.draft);
            self.waiting.push_back(Closed::Draft { lines, list });
            self.size = Size::default();
        }
    }

    /// Whether more pages wait than should: then [`FilePages::store_next`] is due.
    pub fn is_due(&self) -> bool {
        self.waiting.len() > WAITING_PAGES
    }

    /// Whether the page that is stored next has files in this chunk.
    pub fn next_needs(&self, chunk: &Arc<Pending>) -> bool {
        let Some(Closed::Draft { lines, .. }) = self.waiting.front() else {
            return false;
        };
        let mut parts = lines.iter().flat_map(|line| &line.parts);
        parts.any(|part| matches!(&part.chunk, FileChunk::New(of) if Arc::ptr_eq(of, chunk)))
    }

    /// Stores the page that has waited longest. Its chunks must be on their way.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn store_next(&mut self, pipeline: &Pipeline) -> Result<(), Error> {
        match self.waiting.pop_front() {
            None => {}
            Some(Closed::Taken(records)) => self.pages.extend(records),
            Some(Closed::Draft { lines, list }) => {
                let record = store(lines, list, pipeline)?;
                self.pages.push(record);
            }
        }
        Ok(())
    }

    /// Stores what is left. All chunks must be on their way.
    ///
    /// # Errors
    /// When a page cannot be stored.
    pub fn finish(mut self, pipeline: &Pipeline) -> Result<Vec<PageRecord>, Error> {
        self.end_listing();
        while !self.waiting.is_empty() {
            self.store_next(pipeline)?;
        }
        Ok(self.pages)
    }
}

/// Stores one page.
fn store(lines: Vec<DraftLine>, list: String, pipeline: &Pipeline) -> Result<PageRecord, Error> {
    let mut table = Vec::new();
    let mut known = HashMap::new();
    let (mut bytes, mut files) = (0, 0);
    let mut rows = Vec::with_capacity(lines.len());
    for line in lines {
        let mut parts = Vec::with_capacity(line.parts.len());
        for part in line.parts {
            let chunk = part.chunk.record(pipeline)?;
            let at = *known.entry(chunk.0).or_insert_with(|| {
                table.push(chunk);
                table.len() - 1
            });
            bytes += u64::from(part.length);
            let at = u32::try_from(at).expect("a page has a few thousand parts");
            parts.push(Part(at, part.offset, part.length));
        }
        let (head, sha256, size) = match line.head {
            Some((head, digest, size)) => (Some(head), Some(digest), Some(size)),
            None => (None, None, None),
        };
        files += u64::from(head.is_some());
        rows.push(FileLine {
            head,
            sha256,
            size,
            parts,
            more: line.more,
        });
    }
    let entries = rows.len() as u64;
    let plain = to_lines(&ChunkTable { chunks: table }, &rows);
    Ok(PageRecord {
        page: pipeline.add_index(&plain)?,
        kind: PageKind::Files,
        entries,
        files: (files != entries).then_some(files),
        bytes,
        list,
    })
}

/// Collects the entries without content of one artifact.
#[derive(Debug, Default)]
pub struct OtherPages {
    draft: Vec<OtherLine>,
    size: Size,
    pages: Vec<PageRecord>,
}

impl OtherPages {
    /// Adds an entry that stands behind `at` files.
    ///
    /// # Errors
    /// When a page cannot be stored.
    pub fn add(
        &mut self,
        head: &[u8],
        at: u64,
        ends_page: bool,
        pipeline: &Pipeline,
    ) -> Result<(), Error> {
        self.size.lines += 1;
        self.size.head_bytes += head.len();
        self.draft.push(OtherLine {
            head: BASE64.encode(head),
            at,
        });
        if self.size.reaches(FULL_PAGE) || (self.size.lines >= FEWEST_ENTRIES && ends_page) {
            self.close(pipeline)?;
        }
        Ok(())
    }

    fn close(&mut self, pipeline: &Pipeline) -> Result<(), Error> {
        if self.draft.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.draft);
        self.size = Size::default();
        let plain = to_lines(&ChunkTable { chunks: Vec::new() }, &rows);
        self.pages.push(PageRecord {
            page: pipeline.add_index(&plain)?,
            kind: PageKind::Others,
            entries: rows.len() as u64,
            files: None,
            bytes: 0,
            list: String::new(),
        });
        Ok(())
    }

    /// Stores what is left.
    ///
    /// # Errors
    /// When a page cannot be stored.
    pub fn finish(mut self, pipeline: &Pipeline) -> Result<Vec<PageRecord>, Error> {
        self.close(pipeline)?;
        Ok(self.pages)
    }
}

/// A root's bytes.
pub fn root_lines(head: &RootHead, pages: &[PageRecord]) -> Vec<u8> {
    to_lines(head, pages)
}

fn to_lines<H: serde::Serialize, L: serde::Serialize>(head: &H, rows: &[L]) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(head).expect("string keys only");
    bytes.push(b'\n');
    for row in rows {
        serde_json::to_writer(&mut bytes, row).expect("writing to memory");
        bytes.push(b'\n');
    }
    bytes
}
