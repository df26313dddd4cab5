//! What an artifact holds, without reading any of it.

use super::Reader;
use crate::artifact::Digest;
use crate::artifact::tar::{Entry, parse_head};
use crate::repo::Error;
use crate::repo::format::PAGE_LIMIT;
use crate::repo::index::{Root, head_bytes, parse_others};

impl Reader {
    /// Names all entries with the digests of their contents, from the index alone.
    ///
    /// # Errors
    /// When the index is missing or damaged.
    pub fn entries(
        &self,
        root: &Root,
        each: &mut dyn FnMut(&Entry, Option<Digest>),
    ) -> Result<(), Error> {
        for record in &root.files {
            let (object, page) = self.file_page(record)?;
            for line in &page.lines {
                let (Some(head), Some(digest)) = (&line.head, line.sha256) else {
                    continue;
                };
                let head = head_bytes(&object, head)?;
                let entry = parse_head(&head)
                    .map_err(|problem| Error::damaged(object.as_str(), problem))?;
                each(&entry, Some(digest));
            }
        }
        for record in &root.others {
            let object = self
                .fetcher
                .foundation
                .index(&self.chain, &record.page)
                .to_string();
            let plain =
                self.fetcher
                    .index(&self.chain, &record.page, &self.keys.index, PAGE_LIMIT)?;
            for line in parse_others(&object, &plain, record)? {
                let head = head_bytes(&object, &line.head)?;
                let entry = parse_head(&head)
                    .map_err(|problem| Error::damaged(object.as_str(), problem))?;
                each(&entry, None);
            }
        }
        Ok(())
    }
}
