//! Where a foundation keeps its blobs and rows, and what an artifact of them really holds.

use std::io::Read;
use std::sync::Arc;

use anyhow::Result;

use super::super::record;
use super::super::settings::Component;
use super::Guards;
use crate::artifact::base::{BaseFile, BasePage, Continued};
use crate::artifact::{Digest, EntrySink};

/// The file that bbr's director blobstore job leaves when it was told to save nothing.
const MARKER: &str = "backup-skipped";
/// Files of a page that is opened in search of it.
const FEW: u64 = 16;

impl Guards<'_> {
    /// Says which blobs and databases are not in this backup.
    pub(super) fn storage(&mut self, components: &[Component]) -> Result<()> {
        let wait = self.wait();
        let Some(asked) = &mut self.asked else {
            return Ok(());
        };
        let storage = record::storage(&mut asked.client, &asked.products, &wait)?;
        if components.contains(&Component::Tas) {
            let versioned = storage.tas_blobstore_versioned == Some(true);
            let kind = storage.tas_blobstore.as_deref().unwrap_or_default();
            self.blobs("tas", "TAS", kind, versioned);
            if let Some(level) = storage
                .tas_backup_level
                .as_deref()
                .filter(|level| *level != "all")
            {
                let text = format!(
                    "TAS is set to back up less ({level}): apps must be restaged or pushed again after a restore"
                );
                self.tell("blobstore", "warning", &text);
                self.note("tas", text);
            }
            for (what, kind) in [
                ("TAS", &storage.tas_database),
                ("UAA", &storage.uaa_database),
                ("CredHub", &storage.credhub_database),
            ] {
                self.database("tas", what, kind.as_deref());
            }
        }
        if components.contains(&Component::Director) {
            let kind = storage.director_blobstore.as_deref().unwrap_or_default();
            let strategy = storage
                .director_blobstore_strategy
                .as_deref()
                .unwrap_or_default();
            self.blobs(
                "director",
                "the director",
                kind,
                strategy.contains("version"),
            );
            self.database(
                "director",
                "the director",
                storage.director_database.as_deref(),
            );
        }
        Ok(())
    }

    fn blobs(&mut self, component: &str, whose: &str, kind: &str, versioned: bool) {
        const NAME: &str = "blobstore";
        if !record::is_external(kind) {
            let text = format!("{whose} keeps its blobs inside; they are in this backup");
            return self.tell(NAME, "ok", &text);
        }
        let text = match (kind.contains("azure"), versioned) {
            (true, _) => format!(
                "the blobs of {whose} are not in this backup: they stay in the Azure container ({kind}), the artifact holds their ETags; a restore needs that container with soft delete, or a copy of it"
            ),
            (_, true) => format!(
                "the blobs of {whose} are not in this backup: they stay in the versioned S3 bucket ({kind}), the artifact holds their version ids; a restore needs that bucket with its versions, or a replica"
            ),
            _ => format!(
                "the blobs of {whose} are not in this backup: bbr copies them into the backup bucket ({kind}), the artifact holds the name of the copy; a restore needs that bucket"
            ),
        };
        self.tell(NAME, "warning", &text);
        self.note(component, text);
    }

    /// Whether it was said that the blobs of a component are not in the backup.
    pub(in crate::operation) fn blobs_elsewhere(&self, component: &str) -> bool {
        let notes = self.notes(component);
        notes.iter().any(|note| note.starts_with("the blobs of"))
    }

    fn database(&mut self, component: &str, whose: &str, kind: Option<&str>) {
        const NAME: &str = "database";
        let Some(kind) = kind else { return };
        if !record::is_external(kind) {
            let text = format!("that of {whose} is inside ({kind})");
            return self.tell(NAME, "ok", &text);
        }
        let text = format!(
            "the database of {whose} is outside the foundation ({kind}): its dump is in this backup; a restore needs an empty database of the same kind"
        );
        self.tell(NAME, "warning", &text);
        self.note(component, text);
    }

    /// Says that an artifact holds a marker in place of blobs.
    pub(in crate::operation) fn skipped(&mut self, component: &str, artifact: &str) {
        let text = format!(
            "{artifact} holds no blobs: the job was told to skip its backup ({MARKER}), so the director's releases are not in this backup; switch the blobstore backup on in the director's properties"
        );
        self.tell(MARKER, "warning", &text);
        self.note(component, text);
    }
}

/// Passes an artifact on and looks for the marker in it.
pub(in crate::operation) struct Skipped<'a, S> {
    sink: &'a mut S,
    pub(in crate::operation) found: bool,
}

impl<'a, S> Skipped<'a, S> {
    pub(in crate::operation) fn new(sink: &'a mut S) -> Self {
        Self { sink, found: false }
    }

    /// A tar head begins with the entry's name.
    fn look(&mut self, head: &[u8]) {
        let name = head.get(..100).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        self.found |= name.rsplit(|byte| *byte == b'/').next() == Some(MARKER.as_bytes());
    }
}

impl<S: EntrySink> EntrySink for Skipped<'_, S> {
    fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> Result<Digest> {
        self.look(head);
        self.sink.file(head, size, content)
    }

    fn again(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> Result<Digest> {
        self.sink.again(head, size, content)
    }

    fn other(&mut self, head: &[u8]) -> Result<()> {
        self.sink.other(head)
    }

    fn end(&mut self, zeros: u64) -> Result<()> {
        self.sink.end(zeros)
    }
}

/// A page that is taken over unread is opened and looked at when it is the artifact's only one and
/// small: the marker lies in an artifact that holds nothing beside it.
impl<S: Continued> Continued for Skipped<'_, S> {
    fn pages(&self) -> &[BasePage] {
        self.sink.pages()
    }

    fn expect(&mut self, pages: &[usize]) {
        self.sink.expect(pages);
    }

    fn whole(&mut self) {
        self.sink.whole();
    }

    fn open(&mut self, page: usize) -> Result<Arc<[BaseFile]>> {
        self.sink.open(page)
    }

    fn take_page(&mut self, page: usize) -> Result<()> {
        let files = self.sink.pages().get(page).map(|page| page.files);
        if self.sink.pages().len() == 1 && files.is_some_and(|files| files <= FEW) {
            for file in self.sink.open(page)?.iter() {
                self.look(&file.head);
            }
        }
        self.sink.take_page(page)
    }

    fn take_file(&mut self, head: &[u8], page: usize, file: usize) -> Result<()> {
        self.look(head);
        self.sink.take_file(head, page, file)
    }

    fn other_at(&mut self, head: &[u8], at: u64) -> Result<()> {
        self.sink.other_at(head, at)
    }
}
