//! Entries become lines, lines become pages, pages a root; and back. docs/format.md, *Index*.

mod drafts;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub use self::drafts::{
    AVERAGE_ENTRIES, FileChunk, FileEntry, FilePages, OtherPages, PendingPart, root_lines,
};
use super::Error;
use super::format::{
    CHUNK_LIMIT, ChunkRecord, ChunkTable, FileLine, OtherLine, PageKind, PageRecord, Part, RootHead,
};
use super::lines::{check_format, first_line, from_json, lines};
use crate::artifact::Form;

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
        let files_of = |page: &PageRecord| page.files.unwrap_or(page.entries);
        let stated = sum(files.iter().map(files_of));
        let counted = files.iter().any(|page| page.files.is_some());
        if bytes != Some(head.bytes)
            || (counted && stated != Some(head.files))
            || files.iter().any(|page| files_of(page) > page.entries)
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
