//! Entries → chunks and index. One [`ArtifactWriter`] per artifact, many side by side over one
//! [`Pipeline`].

mod continued;

use std::io::Read;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Error;
use super::base::pages::BasePages;
use super::chunker::{Cutter, SMALLEST};
use super::format::{ArtifactRecord, BbrName, FORMAT, RootHead};
use super::id::ComponentName;
use super::index::{
    AVERAGE_ENTRIES, FileChunk, FileEntry, FilePages, OtherPages, PendingPart, root_lines,
};
use super::pipeline::{Pending, Pipeline};
use super::run::Finished;
use crate::artifact::{Digest, EntrySink, Form};

/// What an artifact is called.
#[derive(Debug, Clone)]
pub struct ArtifactName {
    /// Its component.
    pub component: ComponentName,
    /// Its file name, one name segment.
    pub name: String,
    /// What a reader makes of it.
    pub form: Form,
    /// What bbr calls it.
    pub bbr: Option<BbrName>,
}

/// Writes one artifact. Dropped unfinished it leaves chunks and pages that nothing names, which
/// prune sweeps.
#[derive(Debug)]
pub struct ArtifactWriter {
    pipeline: Arc<Pipeline>,
    name: ArtifactName,
    base: Option<Base>,
    finished: Finished,
    pack: Pack,
    cutter: Cutter,
    /// The last file, until it is certain that it is not sent again.
    last: Option<FileEntry>,
    files: FilePages,
    others: OtherPages,
    file_count: u64,
    other_count: u64,
    /// How many files precede the last other.
    last_at: u64,
    bytes: u64,
    new_bytes: u64,
    zeros: u64,
}

/// The same artifact of the base.
#[derive(Debug)]
struct Base {
    pages: BasePages,
    /// A page was opened or taken over: the caller asks for what changed alone.
    used: bool,
    /// Why a page could not be read, the first time.
    problem: Option<String>,
    /// How far a caller that sends everything has come in it.
    walk: continued::Walk,
}

/// Small files on their way into one chunk.
#[derive(Debug, Default)]
struct Pack {
    plain: Vec<u8>,
    chunk: Arc<Pending>,
}

impl ArtifactWriter {
    /// Begins an artifact; `base` is the same artifact of the base. Its end is noted in `finished`.
    pub fn new(
        pipeline: Arc<Pipeline>,
        name: ArtifactName,
        base: Option<BasePages>,
        finished: Finished,
    ) -> Self {
        let cutter = Cutter::new(pipeline.chain().seed);
        Self {
            pipeline,
            name,
            base: base.map(Base::from),
            finished,
            pack: Pack::default(),
            cutter,
            last: None,
            files: FilePages::default(),
            others: OtherPages::default(),
            file_count: 0,
            other_count: 0,
            last_at: 0,
            bytes: 0,
            new_bytes: 0,
            zeros: 0,
        }
    }

    /// Writes the root: from here on a manifest may name the artifact. Also gives the plain
    /// bytes of the chunks that were new.
    ///
    /// # Errors
    /// When something cannot be stored.
    pub fn finish(mut self) -> anyhow::Result<(ArtifactRecord, u64)> {
        self.keep_last()?;
        self.send_pack()?;
        if self.last_at > self.file_count {
            anyhow::bail!(
                "an entry of {} stands behind {} of {} files",
                self.name.name,
                self.last_at,
                self.file_count
            );
        }
        let mut pages = self.files.finish(&self.pipeline)?;
        pages.extend(self.others.finish(&self.pipeline)?);
        let head = RootHead {
            format: FORMAT,
            component: self.name.component.clone(),
            artifact: self.name.name.clone(),
            form: self.name.form,
            files: self.file_count,
            others: self.other_count,
            bytes: self.bytes,
            zeros: self.zeros,
            bbr: self.name.bbr,
        };
        let record = ArtifactRecord {
            name: self.name.name,
            form: self.name.form,
            root: self.pipeline.add_index(&root_lines(&head, &pages))?,
            files: self.file_count,
            bytes: self.bytes,
        };
        self.finished
            .note(self.name.component, record.clone(), self.pipeline.begun());
        Ok((record, self.new_bytes))
    }

    /// The one file of a [`Form::File`] whose size shows at its end.
    ///
    /// # Errors
    /// As [`EntrySink::file`].
    pub fn stream(&mut self, content: &mut dyn Read) -> anyhow::Result<(Digest, u64)> {
        self.keep_last()?;
        self.walk_base(&[])?;
        let mut begin = Vec::new();
        (&mut *content)
            .take(SMALLEST as u64)
            .read_to_end(&mut begin)?;
        let size = begin.len() as u64;
        if size < SMALLEST as u64 {
            return Ok((self.take(&[], size, &mut begin.as_slice())?, size));
        }
        self.take_large(&[], &mut begin.as_slice().chain(content))
    }

    fn take(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        if size >= SMALLEST as u64 {
            let (digest, bytes) = self.take_large(head, &mut content.take(size))?;
            anyhow::ensure!(
                bytes == size,
                "a file of {size} bytes ended after {bytes} bytes"
            );
            return Ok(digest);
        }
        let mut content = Hashing::new(content.take(size));
        let mut parts = Vec::new();
        {
            let offset = self.pack.plain.len();
            content.read_to_end(&mut self.pack.plain)?;
            let length = self.pack.plain.len() - offset;
            if length > 0 {
                parts.push(PendingPart {
                    chunk: FileChunk::New(Arc::clone(&self.pack.chunk)),
                    offset: u32::try_from(offset)?,
                    length: u32::try_from(length)?,
                });
            }
        }
        anyhow::ensure!(
            content.bytes == size,
            "a file of {size} bytes ended after {} bytes",
            content.bytes
        );
        let digest = Digest(content.hash.finalize().into());
        let seed = &self.pipeline.chain().seed;
        if seed.ends_pack(self.pack.plain.len(), &digest, size) {
            self.send_pack()?;
        }
        self.last = Some(FileEntry {
            head: head.to_vec(),
            digest,
            size,
            parts,
        });
        Ok(digest)
    }

    /// A file that begins a chunk of its own; up to the content's end, whatever its size.
    fn take_large(&mut self, head: &[u8], content: &mut dyn Read) -> anyhow::Result<(Digest, u64)> {
        let mut content = Hashing::new(content);
        let mut parts = Vec::new();
        self.cutter.begin();
        while let Some(plain) = self.cutter.next(&mut content)? {
            let pending = Arc::new(Pending::default());
            parts.push(PendingPart {
                chunk: FileChunk::New(Arc::clone(&pending)),
                offset: 0,
                length: u32::try_from(plain.len())?,
            });
            let length = plain.len() as u64;
            if self.pipeline.add(plain, &pending)? {
                self.new_bytes += length;
            }
        }
        let (digest, size) = (Digest(content.hash.finalize().into()), content.bytes);
        self.last = Some(FileEntry {
            head: head.to_vec(),
            digest,
            size,
            parts,
        });
        Ok((digest, size))
    }

    fn send_pack(&mut self) -> Result<(), Error> {
        let pack = std::mem::take(&mut self.pack);
        if pack.plain.is_empty() {
            return Ok(());
        }
        let length = pack.plain.len() as u64;
        if self.pipeline.add(pack.plain, &pack.chunk)? {
            self.new_bytes += length;
        }
        Ok(())
    }

    fn keep_last(&mut self) -> Result<(), Error> {
        match self.last.take() {
            Some(entry) => self.keep(entry),
            None => Ok(()),
        }
    }

    fn keep(&mut self, entry: FileEntry) -> Result<(), Error> {
        self.file_count += 1;
        self.bytes += entry.size;
        if self.files.add(entry) && !self.is_continued() {
            // Whoever sends everything gets the same packs each time, whatever precedes the page.
            self.send_pack()?;
        }
        self.store_due()
    }

    /// Stores pages that have waited for their turn.
    fn store_due(&mut self) -> Result<(), Error> {
        while self.files.is_due() {
            if self.files.next_needs(&self.pack.chunk) {
                self.send_pack()?;
            }
            self.files.store_next(&self.pipeline)?;
        }
        Ok(())
    }

    fn add_other(&mut self, head: &[u8], at: u64) -> Result<(), Error> {
        let ends_page = self.pipeline.chain().seed.ends_page(head, AVERAGE_ENTRIES);
        self.others.add(head, at, ends_page, &self.pipeline)?;
        self.other_count += 1;
        self.last_at = at;
        Ok(())
    }
}

impl EntrySink for ArtifactWriter {
    fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        self.keep_last()?;
        self.walk_base(head)?;
        self.take(head, size, content)
    }

    fn again(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        self.last = None;
        self.take(head, size, content)
    }

    fn other(&mut self, head: &[u8]) -> anyhow::Result<()> {
        self.keep_last()?;
        Ok(self.add_other(head, self.file_count)?)
    }

    fn end(&mut self, zeros: u64) -> anyhow::Result<()> {
        self.keep_last()?;
        self.zeros = zeros;
        Ok(())
    }
}

/// Hashes and counts what passes.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
