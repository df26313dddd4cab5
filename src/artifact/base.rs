//! What the same artifact of the base holds, as a drain sees it: pages of files that need not
//! come again. `repo` implements it. docs/design.md, *Drain*.

use std::sync::Arc;

use super::{Digest, EntrySink};

/// A page of the base: some of its files, in byte order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePage {
    /// By what it is recognised: the digest of its listing. Empty when it cannot be.
    pub list: String,
    /// Regular files in it.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

/// A file of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFile {
    /// Its header blocks.
    pub head: Vec<u8>,
    /// Of its content.
    pub digest: Digest,
    /// Of its content, in bytes.
    pub size: u64,
}

/// A sink that continues a base. Whole pages and single files of the *same artifact* are taken
/// over by reference; no content of another artifact can be had by naming it.
pub trait Continued: EntrySink {
    /// The base's pages of files, in order; none when there is no base.
    fn pages(&self) -> &[BasePage];

    /// Says which pages will be opened: they are fetched ahead, several at once. Whoever opens
    /// others all the same waits for each of them.
    fn expect(&mut self, pages: &[usize]) {
        let _ = pages;
    }

    /// All of the artifact comes after all, whatever was opened so far.
    fn whole(&mut self) {}

    /// The files of one page, in order. The chunks that they are in are known from then on, so
    /// that equal pieces of changed files are not stored again.
    ///
    /// # Errors
    /// When it cannot be read from any store.
    fn open(&mut self, page: usize) -> anyhow::Result<Arc<[BaseFile]>>;

    /// The next files are those of this page, unchanged. Nothing of the page is read.
    ///
    /// # Errors
    /// When the index cannot be stored.
    fn take_page(&mut self, page: usize) -> anyhow::Result<()>;

    /// The next file has this head, and the content of a file of a page that was opened.
    ///
    /// # Errors
    /// When the index cannot be stored.
    fn take_file(&mut self, head: &[u8], page: usize, file: usize) -> anyhow::Result<()>;

    /// An entry without content that `at` files of the artifact precede; in order among
    /// its like, at any time between files.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn other_at(&mut self, head: &[u8], at: u64) -> anyhow::Result<()>;
}
