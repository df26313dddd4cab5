//! Which files of an artifact the base has. Decided from pages, then tags, then lines, with the
//! base's pages opened in order and only where something changed. Nothing is given to the sink.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::pages::Page;
use crate::artifact::base::{BaseFile, BasePage, Continued};
use crate::artifact::listing::{Listed, Tag, stored_line, tag};
use crate::artifact::tar::padding;
use crate::artifact::{Digest, name};

/// More changed files than this are drained in full. About 60 bytes each.
pub(super) const CHANGED_LIMIT: usize = 250_000;

/// Bytes of what is kept of files that were renamed or have other owners, modes or times; what is
/// beyond is asked of tar.
const RENDERED_LIMIT: usize = 8 << 20;

/// Files of the base that were not found again and may have been renamed. About 64 bytes each.
const POOL_LIMIT: usize = 100_000;

/// What becomes of an artifact, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// For each [`Action::Changed`], in order, what becomes of it.
    pub(super) changed: Vec<Fate>,
    /// Whether heads are rendered.
    pub(super) renders: bool,
    /// The pages of the base that were opened, in order.
    pub(super) opened: Vec<usize>,
}

impl Plan {
    /// What is asked of tar, in order.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.changed.iter().filter_map(|fate| match fate {
            Fate::Want(wanted) => Some(wanted),
            Fate::Render(_) => None,
        })
    }
}

/// What becomes of one page of the listing.
#[derive(Debug)]
pub(super) enum Step {
    /// These pages of the base, unchanged.
    Whole(Range<usize>),
    /// File by file.
    Files(Vec<Action>),
}

/// What becomes of one file; 8 bytes, for there may be millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// This file of the base, unchanged.
    Same { page: u32, file: u16 },
    /// The next of [`Plan::changed`].
    Changed,
}

/// What becomes of a file whose line the base does not have.
#[derive(Debug)]
pub(super) enum Fate {
    /// Content of the base under a head of its own.
    Render(Box<Rendered>),
    /// It is asked of tar.
    Want(Wanted),
}

#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) listed: Listed,
    page: u32,
    file: u16,
}

impl Rendered {
    pub(super) fn source(&self) -> (usize, usize) {
        (self.page as usize, self.file.into())
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The number of its line.
    pub(super) line: u32,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Blocks of its head and its content.
    pub(super) blocks: u64,
}

/// A line that is to be asked for.
pub(super) struct Unknown {
    pub(super) line: u32,
    tag: Tag,
    /// The page of the listing.
    page: u32,
}

/// For each page of the listing, the pages of the base that are the same, if any.
pub(in crate::bbr) fn known(listing: &[Page], base: &[BasePage]) -> Vec<Option<Range<usize>>> {
    let mut runs: HashMap<&str, (Range<usize>, u64, u64)> = HashMap::new();
    let (mut start, mut files, mut bytes) = (0, 0_u64, 0_u64);
    // Pages that were closed early belong to the next one that can be recognised.
    for (at, page) in base.iter().enumerate() {
        files = files.saturating_add(page.files);
        bytes = bytes.saturating_add(page.bytes);
        if !page.list.is_empty() {
            runs.insert(&page.list, (start..at + 1, files, bytes));
            (start, files, bytes) = (at + 1, 0, 0);
        }
    }
    let mut from = 0;
    let find = |page: &Page| {
        let (run, files, bytes) = runs.get(page.list.as_str())?;
        // In the base's order and once, whatever the instance says.
        let fits = run.start >= from && (*files, *bytes) == (page.files, page.bytes);
        if fits {
            from = run.end;
        }
        fits.then(|| run.clone())
    };
    listing.iter().map(find).collect()
}

/// Compares the pages that the base lacks with the base's files.
pub(super) struct Matcher<'a> {
    sink: &'a mut dyn Continued,
    /// Pages of the base that may hold files of this part of the listing and are not open yet.
    free: Range<usize>,
    open: VecDeque<Open>,
    pool: HashMap<Digest, (u32, u16, u64)>,
    /// The line before.
    last: Vec<u8>,
    rendered: usize,
    pub(super) plan: Plan,
    pub(super) unknown: Vec<Unknown>,
}

/// A page of the base.
struct Open {
    page: u32,
    files: Arc<[BaseFile]>,
    by_tag: HashMap<Tag, u16>,
    last: Vec<u8>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(sink: &'a mut dyn Continued) -> Self {
        Self {
            sink,
            free: 0..0,
            open: VecDeque::new(),
            pool: HashMap::new(),
            last: Vec::new(),
            rendered: 0,
            plan: Plan::default(),
            unknown: Vec::new(),
        }
    }

    /// Says which pages of the base may hold what is not known; nearly all of them will be opened.
    pub(super) fn expect(&mut self, known: &[Option<Range<usize>>]) {
        let mut pages = Vec::new();
        let mut from = 0;
        let mut unknown = false;
        let end = self.base_pages()..self.base_pages();
        for page in known.iter().chain([&Some(end)]) {
            match page {
                None => unknown = true,
                Some(known) => {
                    if unknown {
                        pages.extend(from..known.start);
                    }
                    (from, unknown) = (known.end, false);
                }
            }
        }
        self.sink.expect(&pages);
    }

    pub(super) fn base_pages(&self) -> usize {
        self.sink.pages().len()
    }

    /// The base has this page.
    pub(super) fn whole(&mut self, pages: Range<usize>) {
        self.leave();
        self.free = pages.end..pages.end;
        self.plan.steps.push(Step::Whole(pages));
    }

    /// The base's pages before this one may hold what the next unknown pages list.
    pub(super) fn until(&mut self, end: usize) {
        self.free.end = end;
    }

    /// A page that the base lacks: number `at` of the listing, its files' tags, beginning
    /// with the line of this number.
    ///
    /// # Errors
    /// When the base cannot be read.
    pub(super) fn page(
        &mut self,
        at: u32,
        page: &Page,
        first: u32,
        tags: &mut dyn FnMut() -> std::io::Result<Tag>,
    ) -> Result<(), Unusable> {
        while !self.free.is_empty() && self.open.back().is_none_or(|open| open.last < page.last) {
            let next = self.free.start;
            self.free.start += 1;
            self.open.push_back(Open::new(self.sink, next)?);
            self.plan.opened.push(next);
        }
        let mut actions = Vec::with_capacity(usize::try_from(page.files).unwrap_or_default());
        for line in first.. {
            if actions.len() as u64 == page.files {
                break;
            }
            let tag = tags()?;
            let found = self.open.iter_mut().find_map(|open| {
                let file = open.by_tag.remove(&tag)?;
                Some(Action::Same {
                    page: open.page,
                    file,
                })
            });
            actions.push(found.unwrap_or(Action::Changed));
            if found.is_none() {
                self.unknown.push(Unknown {
                    line,
                    tag,
                    page: at,
                });
                if self.unknown.len() > CHANGED_LIMIT {
                    return Err(Unusable::Said(format!(
                        "more than {CHANGED_LIMIT} files changed"
                    )));
                }
            }
        }
        self.plan.steps.push(Step::Files(actions));
        while let Some(open) = self.open.pop_front_if(|open| open.last <= page.last) {
            self.pool(open);
        }
        Ok(())
    }

    /// No more tags come.
    pub(super) fn leave(&mut self) {
        while let Some(open) = self.open.pop_front() {
            self.pool(open);
        }
    }

    /// What was not found again may have been renamed.
    fn pool(&mut self, open: Open) {
        for file in open.by_tag.into_values() {
            if self.pool.len() >= POOL_LIMIT {
                return;
            }
            let base = &open.files[usize::from(file)];
            self.pool.insert(base.digest, (open.page, file, base.size));
        }
    }

    /// The line of `unknown[at]`; lines come in order. Gives what it says.
    pub(super) fn line(
        &mut self,
        at: usize,
        line: &[u8],
        pages: &[Page],
    ) -> Result<Listed, Unusable> {
        let Unknown {
            line: number,
            tag: stated,
            page,
        } = self.unknown[at];
        let page = page as usize;
        let (listed, digest) = Listed::parse(line)
            .filter(|(listed, _)| name::is_safe(&listed.path) && !listed.path.ends_with(b"/"))
            .ok_or_else(|| Unusable::from("the listing holds a line that is none"))?;
        let before = page.checked_sub(1).map(|before| &pages[before].last);
        if tag(line) != stated
            || listed.path <= self.last
            || before.is_some_and(|before| listed.path <= *before)
            || listed.path > pages[page].last
        {
            return Err("the listing changed while it was read, or is out of order".into());
        }
        self.last.clone_from(&listed.path);
        let cost = line.len() + size_of::<Rendered>();
        let found = self.pool.get(&digest).copied();
        let fate = match found {
            Some((page, file, size))
                if size == listed.size && self.rendered + cost <= RENDERED_LIMIT =>
            {
                self.rendered += cost;
                self.plan.renders = true;
                let listed = listed.clone();
                Fate::Render(Box::new(Rendered { listed, page, file }))
            }
            _ => Fate::Want(Wanted {
                line: number,
                digest,
                size: listed.size,
                blocks: listed.blocks(),
            }),
        };
        self.plan.changed.push(fate);
        Ok(listed)
    }
}

impl Open {
    fn new(sink: &mut dyn Continued, page: usize) -> Result<Self, Unusable> {
        let files = sink
            .open(page)
            .map_err(|error| Unusable::Said(format!("the base cannot be read: {error:#}")))?;
        let mut by_tag = HashMap::with_capacity(files.len());
        let mut last = Vec::new();
        for (at, file) in files.iter().enumerate() {
            let (path, line) = stored_line(&file.head, &file.digest);
            if let Ok(at) = u16::try_from(at) {
                by_tag.insert(tag(&line), at);
            }
            last = path;
        }
        let Ok(page) = u32::try_from(page) else {
            return Err("the base has too many pages".into());
        };
        Ok(Self {
            page,
            files,
            by_tag,
            last,
        })
    }
}

impl Listed {
    /// Blocks that it takes in a tar.
    pub(super) fn blocks(&self) -> u64 {
        blocks(self.head_length(), self.size)
    }
}

/// Blocks that a head and a content take in a tar.
pub(super) fn blocks(head: usize, size: u64) -> u64 {
    (head as u64 + size + padding(size)) / 512
}

/// Why there can be no incremental drain.
#[derive(Debug)]
pub(in crate::bbr) enum Unusable {
    /// A sentence.
    Said(String),
    /// The instance's output broke; how the command ended may say why.
    Stream(std::io::Error),
}

impl From<&str> for Unusable {
    fn from(text: &str) -> Self {
        Self::Said(text.to_owned())
    }
}

impl From<std::io::Error> for Unusable {
    fn from(error: std::io::Error) -> Self {
        Self::Stream(error)
    }
}
