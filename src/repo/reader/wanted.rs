//! Parts of an artifact as a tar: what a staged tree on an instance lacks. The pages that hold none of
//! it are not read, the chunks that hold none of it not fetched.

use std::io::Write;
use std::sync::Arc;

use super::{FileReceiver, Hashing, OpenFile, ReadEntry, Reader, zeros};
use crate::artifact::base::{BaseFile, BasePage, Order, Selection, Wanted};
use crate::artifact::tar::{Entry, EntryKind, parse_head};
use crate::artifact::{Digest, Form};
use crate::repo::Error;
use crate::repo::base::pages::{BasePages, Group};
use crate::repo::chunks::Chunks;
use crate::repo::format::{FileLine, PAGE_LIMIT, PageRecord, Part};
use crate::repo::index::{FilePage, Root, head_bytes, parse_others};

/// Zero bytes that end a tar.
const END: u64 = 1024;

/// An artifact of a backup, part by part.
#[derive(Debug)]
pub struct Parts<'a> {
    reader: &'a Reader,
    root: Arc<Root>,
    pages: BasePages,
}

impl Reader {
    /// An artifact's parts; nothing is read yet.
    ///
    /// # Errors
    /// When it is no tar.
    pub fn parts(&self, root: Root) -> Result<Parts<'_>, Error> {
        if root.head.form != Form::Tar {
            let problem = "is the root of an artifact that is no tar";
            return Err(Error::damaged(root.head.artifact.as_str(), problem));
        }
        let root = Arc::new(root);
        let (fetcher, chain) = (self.fetcher.clone(), self.chain.clone());
        let pages = BasePages::new(fetcher, chain, self.keys.index.clone(), Arc::clone(&root));
        Ok(Parts {
            reader: self,
            root,
            pages,
        })
    }
}

impl Parts<'_> {
    fn others_of(&self, record: &PageRecord) -> Result<Vec<Entry>, Error> {
        let (fetcher, chain) = (&self.reader.fetcher, &self.reader.chain);
        let object = fetcher.foundation.index(chain, &record.page).to_string();
        let plain = fetcher.index(chain, &record.page, &self.reader.keys.index, PAGE_LIMIT)?;
        let damaged = |problem: &str| Error::damaged(object.as_str(), problem);
        let entry = |head: &str| {
            let head = head_bytes(&object, head)?;
            match parse_head(&head).map_err(|problem| damaged(&problem))? {
                file if file.kind == EntryKind::File => Err(damaged("has a file among the others")),
                entry => Ok(entry),
            }
        };
        let lines = parse_others(&object, &plain, record)?;
        lines.iter().map(|line| entry(&line.head)).collect()
    }

    /// The chosen files of one page.
    fn write_page(
        &self,
        group: &Group,
        chosen: &dyn Fn(usize) -> bool,
        receiver: &mut FileReceiver<'_>,
    ) -> anyhow::Result<()> {
        use super::EntryReceiver as _;
        let object = self.root.head.artifact.as_str();
        let files: Vec<usize> = (0..group.files.len()).filter(|at| chosen(*at)).collect();
        let line = |at: &usize| FileLine {
            head: None,
            sha256: None,
            size: None,
            parts: group.parts(*at).to_vec(),
            more: false,
        };
        let page = FilePage {
            chunks: group.chunks.to_vec(),
            lines: files.iter().map(line).collect(),
        };
        let (fetcher, chain) = (&self.reader.fetcher, &self.reader.chain);
        let mut chunks = Chunks::of(
            fetcher,
            chain,
            &self.reader.keys.data,
            &page,
            page.lines.iter(),
        );
        for (at, line) in files.iter().zip(&page.lines) {
            let BaseFile { head, digest, size } = &group.files[*at];
            let entry = parse_head(head).map_err(|problem| Error::damaged(object, problem))?;
            receiver.begin(&ReadEntry {
                head,
                described: Some(&entry),
                content: Some((*size, *digest)),
            })?;
            // Whoever takes it compares the instance's sums with these digests.
            let mut file = OpenFile::new(*digest, *size, Hashing::Elsewhere);
            for Part(chunk, offset, length) in &line.parts {
                let bytes = chunks.part(Part(*chunk, *offset, *length))?;
                let range = usize::try_from(*offset)?..usize::try_from(offset + length)?;
                file.take(object, &bytes[range], receiver)?;
            }
            file.finish(object, receiver)?;
        }
        Ok(())
    }
}

impl Wanted for Parts<'_> {
    fn pages(&self) -> &[BasePage] {
        self.pages.pages()
    }

    fn expect(&mut self, pages: &[usize]) {
        self.pages.expect(pages);
    }

    fn open(&mut self, page: usize) -> anyhow::Result<Arc<[BaseFile]>> {
        Ok(Arc::clone(&self.pages.open(page)?.0.files))
    }

    fn others(
        &self,
        order: Order,
        each: &mut dyn FnMut(&Entry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut records: Vec<&PageRecord> = self.root.others.iter().collect();
        if order == Order::Backward {
            records.reverse();
        }
        for record in records {
            let mut entries = self.others_of(record)?;
            if order == Order::Backward {
                entries.reverse();
            }
            entries.iter().try_for_each(&mut *each)?;
        }
        Ok(())
    }

    fn write_files(
        &mut self,
        chosen: &Selection,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&Entry, Option<Digest>),
    ) -> anyhow::Result<()> {
        let pages = chosen.pages();
        self.pages.expect(&pages);
        for at in pages {
            let (group, _) = self.pages.open(at)?;
            let mut told = |entry: &ReadEntry<'_>| {
                if let Some(described) = entry.described {
                    each(described, entry.content.map(|(_, digest)| digest));
                }
                Ok(())
            };
            let mut receiver = FileReceiver {
                to,
                each: &mut told,
                pads: true,
                left_to_pad: 0,
            };
            self.write_page(&group, &|file| chosen.has(at, file), &mut receiver)?;
        }
        Ok(zeros(to, END)?)
    }
}
