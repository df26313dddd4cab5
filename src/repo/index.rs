//! Entries become lines, lines become pages, pages a root; and back. docs/format.md, *Index*.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Error;
use super::format::{
    CHUNK_LIMIT, ChunkRecord, ChunkTable, FileLine, OtherLine, PageKind, PageRecord, Part, RootHead,
};
use super::lines::{check_format, first_line, from_json, lines};
use super::pipeline::{Pending, Pipeline};
use crate::artifact::{Digest, Form};

/// Parts on one line at most: 40 bytes each, far below the line limit of 1 MiB.
pub const PARTS_PER_LINE: usize = 2_000;
/// A page is closed at these sizes, whatever its entries say. With a table line of 2,000
/// chunks (140 bytes each) and heads of 3 MiB as base64 it stays below 8 MiB.
const FULL_PAGE: Size = Size {
    lines: 4_000,
    parts: PARTS_PER_LINE,
    head_bytes: 3 << 20,
};
/// A page has this many entries before its content may close it, and on average
/// [`AVERAGE_ENTRIES`] more.
const FEWEST_ENTRIES: usize = 256;
/// See [`FEWEST_ENTRIES`].
pub const AVERAGE_ENTRIES: u64 = 768;
/// Closed pages that may wait for their chunks to be sealed.
const WAITING_PAGES: usize = 2;

/// A piece of a chunk that may still be on its way.
#[derive(Debug, Clone)]
pub struct PendingPart {
    /// The chunk.
    pub chunk: Arc<Pending>,
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

/// Collects the files of one artifact.
#[derive(Debug, Default)]
pub struct FilePages {
    draft: Vec<DraftLine>,
    size: Size,
    waiting: VecDeque<Vec<DraftLine>>,
    pages: Vec<PageRecord>,
}

impl FilePages {
    /// Adds a file. `true`: the page is closed (its last chunk must be sent on its way now).
    ///
    /// # Errors
    /// When a page cannot be stored.
    pub fn add(
        &mut self,
        entry: FileEntry,
        ends_page: bool,
        pipeline: &Pipeline,
    ) -> Result<bool, Error> {
        self.size.head_bytes += entry.head.len();
        let head = (BASE64.encode(&entry.head), entry.digest, entry.size);
        let mut head = Some(head);
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
            self.close(pipeline)?;
        }
        let closes =
            self.size.reaches(FULL_PAGE) || (self.size.lines >= FEWEST_ENTRIES && ends_page);
        if closes {
            self.close(pipeline)?;
        }
        Ok(closes)
    }

    fn close(&mut self, pipeline: &Pipeline) -> Result<(), Error> {
        if !self.draft.is_empty() {
            self.waiting.push_back(std::mem::take(&mut self.draft));
            self.size = Size::default();
        }
        while self.waiting.len() > WAITING_PAGES {
            self.store_next(pipeline)?;
        }
        Ok(())
    }

    fn store_next(&mut self, pipeline: &Pipeline) -> Result<(), Error> {
        let Some(draft) = self.waiting.pop_front() else {
            return Ok(());
        };
        let mut table = Vec::new();
        let mut known = HashMap::new();
        let mut bytes = 0;
        let mut rows = Vec::with_capacity(draft.len());
        for line in draft {
            let mut parts = Vec::with_capacity(line.parts.len());
            for part in line.parts {
                let chunk = part.chunk.record(pipeline.shutdown())?;
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
            rows.push(FileLine {
                head,
                sha256,
                size,
                parts,
                more: line.more,
            });
        }
        let plain = to_lines(&ChunkTable { chunks: table }, &rows);
        self.pages.push(PageRecord {
            page: pipeline.add_index(&plain)?,
            kind: PageKind::Files,
            entries: rows.len() as u64,
            bytes,
            list: String::new(),
        });
        Ok(())
    }

    /// Stores what is left. All chunks must be on their way.
    ///
    /// # Errors
    /// When a page cannot be stored.
    pub fn finish(mut self, pipeline: &Pipeline) -> Result<Vec<PageRecord>, Error> {
        self.close(pipeline)?;
        while !self.waiting.is_empty() {
            self.store_next(pipeline)?;
        }
        Ok(self.pages)
    }
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

/// A root, parsed and checked against itself.
#[derive(Debug)]
pub struct Root {
    /// The first line.
    pub head: RootHead,
    /// Pages of files, in order.
    pub files: Vec<PageRecord>,
    /// Pages of others, in order.
    pub others: Vec<PageRecord>,
}

impl Root {
    /// Reads an opened root.
    ///
    /// # Errors
    /// When it does not follow the format.
    pub fn parse(object: &str, plain: &[u8]) -> Result<Self, Error> {
        let mut lines = lines(object, plain);
        let first = first_line(object, &mut lines)?;
        check_format(object, first)?;
        let head: RootHead = from_json(object, first)?;
        let (mut files, mut others) = (Vec::new(), Vec::new());
        for line in lines {
            let page: PageRecord = from_json(object, line?)?;
            match page.kind {
                PageKind::Files if !others.is_empty() => {
                    return Err(Error::damaged(
                        object,
                        "lists a page of files behind one of others",
                    ));
                }
                PageKind::Files => files.push(page),
                PageKind::Others => others.push(page),
            }
        }
        let bytes = sum(files.iter().chain(&others).map(|page| page.bytes));
        let lines_of_files = sum(files.iter().map(|page| page.entries));
        let entries = sum(others.iter().map(|page| page.entries));
        if bytes != Some(head.bytes)
            || entries != Some(head.others)
            || lines_of_files.is_none_or(|lines| lines < head.files)
        {
            return Err(Error::damaged(object, "states other sums than its pages"));
        }
        if head.form == Form::File && (head.files, head.others, head.zeros) != (1, 0, 0) {
            return Err(Error::damaged(
                object,
                "lists more than the one entry of a plain file",
            ));
        }
        Ok(Self {
            head,
            files,
            others,
        })
    }
}

fn sum(mut numbers: impl Iterator<Item = u64>) -> Option<u64> {
    numbers.try_fold(0, u64::checked_add)
}

/// A page of files, parsed and checked against its record.
#[derive(Debug)]
pub struct FilePage {
    /// Its table.
    pub chunks: Vec<ChunkRecord>,
    /// Its lines.
    pub lines: Vec<FileLine>,
}

impl FilePage {
    /// Reads an opened page.
    ///
    /// # Errors
    /// When it does not follow the format or its record.
    pub fn parse(object: &str, plain: &[u8], record: &PageRecord) -> Result<Self, Error> {
        let (chunks, lines): (_, Vec<FileLine>) = parse_page(object, plain, record)?;
        let mut bytes = 0;
        for Part(at, offset, length) in lines.iter().flat_map(|line| &line.parts) {
            let chunk: &ChunkRecord = usize::try_from(*at)
                .ok()
                .and_then(|at| chunks.get(at))
                .ok_or_else(|| Error::damaged(object, "names a chunk that is not in its table"))?;
            if offset.checked_add(*length).is_none_or(|end| end > chunk.2) || *length == 0 {
                return Err(Error::damaged(
                    object,
                    "has a part that lies outside its chunk",
                ));
            }
            bytes += u64::from(*length);
        }
        if bytes != record.bytes {
            return Err(Error::damaged(
                object,
                "holds another number of bytes than its root states",
            ));
        }
        Ok(Self { chunks, lines })
    }
}

/// The table of chunks alone, for a writer that wants to know what is stored already.
///
/// # Errors
/// When the first line does not follow the format.
pub fn chunk_table(object: &str, plain: &[u8]) -> Result<Vec<ChunkRecord>, Error> {
    table(object, first_line(object, &mut lines(object, plain))?)
}

/// Reads an opened page of others.
///
/// # Errors
/// When it does not follow the format or its record.
pub fn parse_others(
    object: &str,
    plain: &[u8],
    record: &PageRecord,
) -> Result<Vec<OtherLine>, Error> {
    let (chunks, rows) = parse_page(object, plain, record)?;
    if !chunks.is_empty() {
        return Err(Error::damaged(
            object,
            "lists chunks for entries without content",
        ));
    }
    Ok(rows)
}

/// The header blocks of a line.
///
/// # Errors
/// When they are not base64.
pub fn head_bytes(object: &str, head: &str) -> Result<Vec<u8>, Error> {
    BASE64
        .decode(head)
        .map_err(|error| Error::damaged(object, format!("has a head that is not base64 ({error})")))
}

fn table(object: &str, line: &[u8]) -> Result<Vec<ChunkRecord>, Error> {
    let ChunkTable { chunks } = from_json(object, line)?;
    let bounded = |chunk: &ChunkRecord| (1..=CHUNK_LIMIT).contains(&u64::from(chunk.2));
    if !chunks.iter().all(bounded) {
        return Err(Error::damaged(
            object,
            "lists a chunk that is empty or of more than 16 MiB",
        ));
    }
    Ok(chunks)
}

fn parse_page<L: serde::de::DeserializeOwned>(
    object: &str,
    plain: &[u8],
    record: &PageRecord,
) -> Result<(Vec<ChunkRecord>, Vec<L>), Error> {
    let mut lines = lines(object, plain);
    let chunks = table(object, first_line(object, &mut lines)?)?;
    let mut rows = Vec::new();
    for line in lines {
        rows.push(from_json(object, line?)?);
        if rows.len() as u64 > record.entries {
            break;
        }
    }
    if rows.len() as u64 != record.entries {
        return Err(Error::damaged(
            object,
            "has another number of entries than its root states",
        ));
    }
    Ok((chunks, rows))
}
