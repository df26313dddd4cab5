//! The plainest sink that continues a base: everything in memory, pages by the rule, and a tar at
//! the end. What `repo` stores must be what this keeps.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use lifeboat::artifact::base::{BaseFile, BasePage, Continued};
use lifeboat::artifact::listing::{Pages, stored_line};
use lifeboat::artifact::tar::padding;
use lifeboat::artifact::{Digest, EntrySink};

#[derive(Debug, Clone)]
struct File {
    head: Vec<u8>,
    digest: Digest,
    content: Arc<[u8]>,
}

/// What one drain gave.
#[derive(Debug, Default)]
pub struct Model {
    files: Vec<File>,
    others: Vec<(Vec<u8>, u64)>,
    zeros: Option<u64>,
    base: Option<Arc<Model>>,
    pages: Vec<BasePage>,
    ranges: Vec<Range<usize>>,
    /// Pages of the base that were read.
    pub opened: BTreeSet<usize>,
    /// Pages that were taken over whole.
    pub taken: BTreeSet<usize>,
    /// Files that came through the connection.
    pub sent: usize,
    /// The base cannot be read.
    pub broken: bool,
    /// It was told that all comes after all.
    pub whole: bool,
}

impl Model {
    /// Continues a base. Every so many pages one is closed early and has no `list`.
    pub fn on(base: &Arc<Self>, early: usize) -> Self {
        assert!(base.zeros.is_some(), "the base is finished");
        let (mut pages, mut ranges) = (Vec::new(), Vec::new());
        let mut cut = Pages::default();
        let mut start = 0;
        let mut close = |end: usize, list: String, start: &mut usize| {
            let part = &base.files[*start..end];
            pages.push(BasePage {
                list,
                files: part.len() as u64,
                bytes: part.iter().map(|file| file.content.len() as u64).sum(),
            });
            ranges.push(*start..end);
            *start = end;
        };
        for (at, file) in base.files.iter().enumerate() {
            let (path, line) = stored_line(&file.head, &file.digest);
            let list = cut.add(&path, &line);
            let full = early > 0 && at % early == early - 1;
            if list.is_some() || full {
                close(at + 1, list.unwrap_or_default(), &mut start);
            }
        }
        if let Some(list) = cut.finish() {
            if start == base.files.len() {
                // Closed early behind the last file: its run has its `list` all the same.
                pages.last_mut().unwrap().list = list;
            } else {
                close(base.files.len(), list, &mut start);
            }
        }
        Self {
            base: Some(Arc::clone(base)),
            pages,
            ranges,
            ..Self::default()
        }
    }

    /// The tar, as a reader of the repository gives it back.
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        let mut others = self.others.iter().peekable();
        for (at, file) in self.files.iter().enumerate() {
            while let Some((head, _)) = others.next_if(|(_, before)| *before <= at as u64) {
                tar.extend_from_slice(head);
            }
            tar.extend_from_slice(&file.head);
            tar.extend_from_slice(&file.content);
            let pad = padding(file.content.len() as u64);
            tar.resize(tar.len() + usize::try_from(pad).unwrap(), 0);
        }
        others.for_each(|(head, _)| tar.extend_from_slice(head));
        let zeros = usize::try_from(self.zeros.unwrap()).unwrap();
        tar.resize(tar.len() + zeros, 0);
        tar
    }

    fn read(head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<File> {
        let mut bytes = Vec::new();
        content.take(size).read_to_end(&mut bytes)?;
        anyhow::ensure!(bytes.len() as u64 == size, "a file ended early");
        Ok(File {
            head: head.to_vec(),
            digest: Digest::of(&bytes),
            content: bytes.into(),
        })
    }

    fn of_base(&self, page: usize) -> &[File] {
        &self.base.as_ref().unwrap().files[self.ranges[page].clone()]
    }
}

impl EntrySink for Model {
    fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        let file = Self::read(head, size, content)?;
        let digest = file.digest;
        self.files.push(file);
        self.sent += 1;
        Ok(digest)
    }

    fn again(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        self.files.pop();
        self.file(head, size, content)
    }

    fn other(&mut self, head: &[u8]) -> anyhow::Result<()> {
        self.others.push((head.to_vec(), self.files.len() as u64));
        Ok(())
    }

    fn end(&mut self, zeros: u64) -> anyhow::Result<()> {
        self.zeros = Some(zeros);
        Ok(())
    }
}

impl Continued for Model {
    fn pages(&self) -> &[BasePage] {
        &self.pages
    }

    fn whole(&mut self) {
        self.whole = true;
    }

    fn open(&mut self, page: usize) -> anyhow::Result<Arc<[BaseFile]>> {
        anyhow::ensure!(!self.broken, "no store has it");
        self.opened.insert(page);
        let files = self.of_base(page).iter().map(|file| BaseFile {
            head: file.head.clone(),
            digest: file.digest,
            size: file.content.len() as u64,
        });
        Ok(files.collect())
    }

    fn take_page(&mut self, page: usize) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.taken.last().is_none_or(|last| *last < page),
            "order of pages"
        );
        self.taken.insert(page);
        let files = self.of_base(page).to_vec();
        self.files.extend(files);
        Ok(())
    }

    fn take_file(&mut self, head: &[u8], page: usize, file: usize) -> anyhow::Result<()> {
        anyhow::ensure!(self.opened.contains(&page), "the page was not opened");
        let mut file = self.of_base(page)[file].clone();
        file.head = head.to_vec();
        self.files.push(file);
        Ok(())
    }

    fn other_at(&mut self, head: &[u8], at: u64) -> anyhow::Result<()> {
        let before = self.others.last().map_or(0, |(_, at)| *at);
        anyhow::ensure!(before <= at, "order of others");
        self.others.push((head.to_vec(), at));
        Ok(())
    }
}
