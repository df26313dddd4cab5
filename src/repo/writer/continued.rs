//! What a writer takes over from the same artifact of the base.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::{ArtifactWriter, Base};
use crate::artifact::base::{BaseFile, BasePage, Continued};
use crate::artifact::tar::parse_head;
use crate::repo::Error;
use crate::repo::base::pages::{BasePages, Group};
use crate::repo::format::Part;
use crate::repo::index::{FileChunk, FileEntry, PendingPart};

/// How far a caller that sends everything has come in the base.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The next page.
    page: usize,
    /// Files on the pages before.
    files: u64,
    /// The path of the last of them.
    path: Vec<u8>,
}

impl From<BasePages> for Base {
    fn from(pages: BasePages) -> Self {
        Self {
            pages,
            used: false,
            problem: None,
            walk: Walk::default(),
        }
    }
}

impl ArtifactWriter {
    /// Why a page of the base could not be read, if one could not: what it holds was stored again.
    pub fn base_problem(&self) -> Option<&str> {
        self.base.as_ref()?.problem.as_deref()
    }

    /// Whether the caller sends what changed alone.
    pub(super) fn is_continued(&self) -> bool {
        self.base
            .as_ref()
            .is_some_and(|base| base.used && base.problem.is_none())
    }

    /// Before a file that is sent although the base may have it: makes known the chunks of the
    /// base's files up to this one, by number and, where paths are in order, by path.
    pub(super) fn walk_base(&mut self, head: &[u8]) -> Result<(), Error> {
        if self.base.is_none() || self.is_continued() {
            return Ok(());
        }
        let path = path(head);
        loop {
            let Some(base) = &mut self.base else {
                return Ok(());
            };
            let Some(next) = base.pages.pages().get(base.walk.page) else {
                return Ok(());
            };
            if base.walk.files > self.file_count && base.walk.path >= path {
                return Ok(());
            }
            let page = base.walk.page;
            base.walk.page += 1;
            let files = next.files;
            match self.group(page) {
                Ok(group) => {
                    let last = group.files.last().map(|file| self::path(&file.head));
                    if let Some(base) = &mut self.base {
                        base.walk.files += group.files.len() as u64;
                        base.walk.path = last.unwrap_or_default();
                    }
                }
                Err(Error::Stopped(stopped)) => return Err(stopped.into()),
                // Its content is stored again; nothing else is lost.
                Err(_kept_as_problem) => {
                    if let Some(base) = &mut self.base {
                        base.walk.files += files;
                    }
                }
            }
        }
    }

    /// An opened page of the base; its chunks are known from then on.
    fn group(&mut self, page: usize) -> Result<Arc<Group>, Error> {
        let Some(base) = &mut self.base else {
            return Err(Error::Other("there is no base".into()));
        };
        match base.pages.open(page) {
            Ok((group, fresh)) => {
                if fresh {
                    for chunk in group.chunks.iter() {
                        self.pipeline.know(*chunk);
                    }
                }
                Ok(group)
            }
            Err(error) => {
                if !matches!(error, Error::Stopped(_)) {
                    base.problem.get_or_insert_with(|| error.to_string());
                }
                Err(error)
            }
        }
    }

    fn use_base(&mut self) {
        if let Some(base) = &mut self.base {
            base.used = true;
        }
    }
}

impl Continued for ArtifactWriter {
    fn pages(&self) -> &[BasePage] {
        self.base.as_ref().map_or(&[], |base| base.pages.pages())
    }

    fn expect(&mut self, pages: &[usize]) {
        if let Some(base) = &mut self.base {
            base.pages.expect(pages);
        }
    }

    fn whole(&mut self) {
        if let Some(base) = &mut self.base {
            base.used = false;
        }
    }

    fn open(&mut self, page: usize) -> Result<Arc<[BaseFile]>> {
        self.use_base();
        Ok(Arc::clone(&self.group(page)?.files))
    }

    fn take_page(&mut self, page: usize) -> Result<()> {
        self.use_base();
        self.keep_last()?;
        let listed = self
            .base
            .as_ref()
            .is_some_and(|base| base.pages.is_listed(page));
        if !listed {
            // Nobody recognises such a page; entry by entry it gets a `list`.
            let group = self.group(page)?;
            for (file, of) in group.files.iter().enumerate() {
                self.take_from(&group, file, of.head.clone())?;
            }
            return Ok(());
        }
        if let Some(base) = &self.base {
            let taken = &base.pages.pages()[page];
            self.file_count += taken.files;
            self.bytes += taken.bytes;
            self.files.take(base.pages.records(page).to_vec());
        }
        Ok(self.store_due()?)
    }

    fn take_file(&mut self, head: &[u8], page: usize, file: usize) -> Result<()> {
        self.use_base();
        self.keep_last()?;
        let group = self.group(page)?;
        self.take_from(&group, file, head.to_vec())
    }

    fn other_at(&mut self, head: &[u8], at: u64) -> Result<()> {
        ensure!(
            at >= self.last_at,
            "an entry without content that {at} files precede came behind one that {} precede",
            self.last_at
        );
        Ok(self.add_other(head, at)?)
    }
}

impl ArtifactWriter {
    fn take_from(&mut self, group: &Group, file: usize, head: Vec<u8>) -> Result<()> {
        let Some(BaseFile { digest, size, .. }) = group.files.get(file) else {
            anyhow::bail!("the base's page has no file {file}");
        };
        let stated = parse_head(&head).map(|entry| entry.size);
        ensure!(
            stated.as_ref() == Ok(size),
            "a head of another size than the content that is taken over for it ({size} bytes)"
        );
        let parts = group.parts(file).iter();
        let parts = parts.map(|Part(chunk, offset, length)| PendingPart {
            chunk: FileChunk::Stored(Arc::clone(&group.chunks), *chunk),
            offset: *offset,
            length: *length,
        });
        let entry = FileEntry {
            digest: *digest,
            size: *size,
            parts: parts.collect(),
            head,
        };
        Ok(self.keep(entry)?)
    }
}

fn path(head: &[u8]) -> Vec<u8> {
    parse_head(head).map_or_else(|_no_tar| Vec::new(), |entry| entry.name)
}
