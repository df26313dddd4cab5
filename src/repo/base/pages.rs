//! The pages of files of one artifact of the base: read when they are asked for, a few ahead.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::artifact::base::{BaseFile, BasePage};
use crate::artifact::tar::{EntryKind, parse_head};
use crate::artifact::{Digest, Form};
use crate::repo::Error;
use crate::repo::bridge::Task;
use crate::repo::fetcher::{Fetcher, open_object};
use crate::repo::format::{ChunkRecord, FileLine, PAGE_LIMIT, PageRecord, Part};
use crate::repo::id::ChainId;
use crate::repo::index::{FilePage, Root, head_bytes};
use crate::repo::seal::Opener;

/// Pages fetched and opened ahead, of at most 8 MiB each, of 600 KiB as a rule.
const AHEAD: usize = 4;
/// Pages of a listing that stay in memory: those that lie beside one another are asked for twice.
const KEPT: usize = 4;

/// One artifact of the base.
#[derive(Debug)]
pub struct BasePages {
    fetcher: Fetcher,
    chain: ChainId,
    opener: Opener,
    root: Arc<Root>,
    /// The pages of the index that make up each page of the listing.
    groups: Vec<Range<usize>>,
    pages: Vec<BasePage>,
    /// Groups that will be opened, in order, when that is known.
    expected: Vec<usize>,
    last: Option<usize>,
    ahead: HashMap<usize, Task<Result<Vec<u8>, Error>>>,
    kept: VecDeque<(usize, Arc<Group>)>,
}

/// A page of a listing, opened.
#[derive(Debug)]
pub struct Group {
    /// Its files, in order.
    pub files: Arc<[BaseFile]>,
    /// The chunks that they are in.
    pub chunks: Arc<[ChunkRecord]>,
    parts: Vec<Part>,
    /// For each file, where its parts end.
    ends: Vec<usize>,
}

impl Group {
    /// The parts of a file, which count from [`Group::chunks`]; none of a file that there is not.
    pub fn parts(&self, file: usize) -> &[Part] {
        let begin = file.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.ends
            .get(file)
            .map_or(&[], |end| &self.parts[begin..*end])
    }
}

impl BasePages {
    /// Reads nothing yet.
    pub fn new(fetcher: Fetcher, chain: ChainId, opener: Opener, root: Arc<Root>) -> Self {
        let (mut groups, mut begin) = (Vec::new(), 0);
        for (at, record) in root.files.iter().enumerate() {
            if !record.list.is_empty() {
                groups.push(begin..at + 1);
                begin = at + 1;
            }
        }
        // What an older release wrote has no `list`: each page stands for itself.
        groups.extend((begin..root.files.len()).map(|at| at..at + 1));
        let page = |group: &Range<usize>| {
            let records = &root.files[group.clone()];
            BasePage {
                list: records[records.len() - 1].list.clone(),
                files: records.iter().map(files).sum(),
                bytes: records.iter().map(|record| record.bytes).sum(),
            }
        };
        let pages = groups.iter().map(page).collect();
        Self {
            fetcher,
            chain,
            opener,
            root,
            groups,
            pages,
            expected: Vec::new(),
            last: None,
            ahead: HashMap::new(),
            kept: VecDeque::new(),
        }
    }

    /// What the listing's pages are.
    pub fn pages(&self) -> &[BasePage] {
        &self.pages
    }

    /// Says which pages will be opened; they are fetched ahead.
    pub fn expect(&mut self, pages: &[usize]) {
        self.expected = pages.to_vec();
        self.expected.sort_unstable();
    }

    /// The index pages of one page of the listing, as the root records them.
    pub fn records(&self, page: usize) -> &[PageRecord] {
        let group = self.groups.get(page).cloned().unwrap_or_default();
        &self.root.files[group]
    }

    /// Whether the page has a `list`, and so is recorded with its number of files.
    pub fn is_listed(&self, page: usize) -> bool {
        self.pages.get(page).is_some_and(|one| !one.list.is_empty())
    }

    /// Fetches, opens and checks a page, unless it is still here. `true`: it is here anew.
    ///
    /// # Errors
    /// When no store has it undamaged, or there is none such; a signal.
    pub fn open(&mut self, page: usize) -> Result<(Arc<Group>, bool), Error> {
        if let Some((_, group)) = self.kept.iter().find(|(at, _)| *at == page) {
            return Ok((Arc::clone(group), false));
        }
        let group = Arc::new(self.read(page)?);
        self.last = Some(page);
        if !self.is_listed(page) {
            // Only now it is known how many begin here.
            self.pages[page].files = group.files.len() as u64;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((page, Arc::clone(&group)));
        Ok((group, true))
    }

    fn read(&mut self, page: usize) -> Result<Group, Error> {
        let Some(range) = self.groups.get(page).cloned() else {
            return Err(Error::Other(format!("the base has no page {page}")));
        };
        let listed = self.is_listed(page);
        let mut reading = Reading::new(self.root.head.form);
        let mut at = range.start;
        while at < range.end || (!listed && reading.is_open() && at < self.root.files.len()) {
            self.fetch_ahead(at, range.end, page);
            let (object, opened) = self.page(at)?;
            reading.take(&object, opened, !listed, at >= range.end)?;
            at += 1;
        }
        let group = reading.finish(&self.root.head.artifact)?;
        if listed && group.files.len() as u64 != self.pages[page].files {
            return Err(Error::damaged(
                self.root.head.artifact.as_str(),
                "has a page with another number of files than its root states",
            ));
        }
        Ok(group)
    }

    fn page(&mut self, at: usize) -> Result<(String, FilePage), Error> {
        let task = match self.ahead.remove(&at) {
            Some(task) => task,
            None => self.start(at),
        };
        let plain = self
            .fetcher
            .bridge
            .wait(task)?
            .map_err(|error| Error::Other(format!("reading ahead failed: {error}")))??;
        let record = &self.root.files[at];
        let object = self
            .fetcher
            .foundation
            .index(&self.chain, &record.page)
            .to_string();
        let page = FilePage::parse(&object, &plain, record)?;
        Ok((object, page))
    }

    /// The rest of this group, then the groups that come next: those expected, or, where pages are
    /// opened one after the other, their neighbours. A page opened by itself brings no other.
    fn fetch_ahead(&mut self, at: usize, end: usize, group: usize) {
        let mut wanted: Vec<usize> = (at..end).take(AHEAD).collect();
        let next: Vec<usize> = match self.expected.binary_search(&group) {
            Ok(place) => self.expected[place + 1..]
                .iter()
                .copied()
                .take(AHEAD)
                .collect(),
            Err(_) if self.last.is_some_and(|last| last + 1 == group) => {
                (group + 1..self.groups.len()).take(AHEAD).collect()
            }
            Err(_) => Vec::new(),
        };
        for group in next {
            let range = self.groups.get(group).cloned().unwrap_or_default();
            wanted.extend(range.take(AHEAD.saturating_sub(wanted.len())));
        }
        self.ahead.retain(|at, task| {
            let keep = wanted.contains(at);
            if !keep {
                task.abort();
            }
            keep
        });
        for at in wanted {
            if !self.ahead.contains_key(&at) {
                let task = self.start(at);
                self.ahead.insert(at, task);
            }
        }
    }

    fn start(&self, at: usize) -> Task<Result<Vec<u8>, Error>> {
        let name = self.root.files[at].page;
        self.fetcher.bridge.spawn(open_object(
            Arc::clone(&self.fetcher.copies),
            self.fetcher.foundation.index(&self.chain, &name),
            name,
            self.opener.clone(),
            PAGE_LIMIT,
        ))
    }
}

impl Drop for BasePages {
    fn drop(&mut self) {
        for task in self.ahead.values() {
            task.abort();
        }
    }
}

fn files(record: &PageRecord) -> u64 {
    record.files.unwrap_or(record.entries)
}

/// Pages on their way to a [`Group`].
struct Reading {
    form: Form,
    files: Vec<BaseFile>,
    chunks: Vec<ChunkRecord>,
    parts: Vec<Part>,
    ends: Vec<usize>,
    /// Bytes that the open file still lacks.
    open: Option<u64>,
}

impl Reading {
    fn new(form: Form) -> Self {
        Self {
            form,
            files: Vec::new(),
            chunks: Vec::new(),
            parts: Vec::new(),
            ends: Vec::new(),
            open: None,
        }
    }

    fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// `alone`: the page is not known to begin with a file. `rest`: only the open file is wanted.
    fn take(&mut self, object: &str, page: FilePage, alone: bool, rest: bool) -> Result<(), Error> {
        let damaged = |problem: &str| Err(Error::damaged(object, problem));
        let before = u32::try_from(self.chunks.len())
            .map_err(|_too_many| Error::damaged(object, "names more chunks than there can be"))?;
        self.chunks.extend(page.chunks);
        for line in page.lines {
            match (&line.head, self.open) {
                (Some(_), Some(_)) => return damaged("begins a file inside another"),
                (Some(_), None) if rest => break,
                (Some(head), None) => {
                    let file = self.file(object, head, &line)?;
                    self.open = Some(file.size);
                    self.files.push(file);
                    self.ends.push(self.parts.len());
                }
                // The rest of a file that began on a page before.
                (None, None) if alone && self.files.is_empty() => continue,
                (None, None) => return damaged("continues a file that never began"),
                (None, Some(_)) => {}
            }
            for Part(chunk, offset, length) in line.parts {
                self.open = self
                    .open
                    .and_then(|left| left.checked_sub(u64::from(length)));
                if self.open.is_none() {
                    return damaged("has a file with more parts than bytes");
                }
                self.parts.push(Part(before + chunk, offset, length));
            }
            *self.ends.last_mut().expect("a file is open") = self.parts.len();
            if !line.more {
                if self.open != Some(0) {
                    return damaged("has a file with fewer parts than bytes");
                }
                self.open = None;
                if rest {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The first line of a file, checked as a reader does.
    fn file(&self, object: &str, head: &str, line: &FileLine) -> Result<BaseFile, Error> {
        let (Some(digest), Some(size)): (Option<Digest>, Option<u64>) = (line.sha256, line.size)
        else {
            return Err(Error::damaged(object, "has a file without sha256 or size"));
        };
        let head = head_bytes(object, head)?;
        let fits = match self.form {
            Form::File => head.is_empty(),
            Form::Tar | Form::Tree => parse_head(&head)
                .map_err(|problem| Error::damaged(object, problem))
                .map(|entry| entry.kind == EntryKind::File && entry.size == size)?,
        };
        if !fits {
            return Err(Error::damaged(
                object,
                "has a file whose head says something else than its line",
            ));
        }
        Ok(BaseFile { head, digest, size })
    }

    fn finish(self, artifact: &str) -> Result<Group, Error> {
        if self.open.is_some() {
            return Err(Error::damaged(
                artifact,
                "has an index that ends inside a file",
            ));
        }
        Ok(Group {
            files: self.files.into(),
            chunks: self.chunks.into(),
            parts: self.parts,
            ends: self.ends,
        })
    }
}
