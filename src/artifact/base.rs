//! What the same artifact of the base holds, as a drain sees it: pages of files that need not
//! come again. `repo` implements it. docs/design.md, *Drain*.

use std::io::Write;
use std::sync::Arc;

use super::tar::Entry;
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

/// An artifact in pages, any part of which can be given as a tar: what a staged tree is made
/// like. `repo` implements it.
pub trait Wanted {
    /// Its pages of files, in order.
    fn pages(&self) -> &[BasePage];

    /// Says which pages will be opened: they are fetched ahead, several at once.
    fn expect(&mut self, pages: &[usize]);

    /// The files of one page, in order. No content is fetched.
    ///
    /// # Errors
    /// When it cannot be read from any store.
    fn open(&mut self, page: usize) -> anyhow::Result<Arc<[BaseFile]>>;

    /// Every entry without content with its head, in order, or the last one first.
    ///
    /// # Errors
    /// When they cannot be read, or are refused.
    fn others(
        &self,
        order: Order,
        each: &mut dyn FnMut(&Entry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Writes a tar of these files, in order, for whoever compares the digest of each with what has
    /// arrived. Chunks that hold none of them are not fetched.
    ///
    /// # Errors
    /// When they cannot be read whole, or cannot be written.
    fn write_files(
        &mut self,
        chosen: &Selection,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&Entry, Option<Digest>),
    ) -> anyhow::Result<()>;
}

/// Which way entries are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As in the tar: a directory before what is in it.
    Forward,
    /// A directory behind what is in it.
    Backward,
}

/// Some files of an artifact, by page. A bit for each file at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    pages: Vec<Chosen>,
    /// How many files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

/// What is chosen of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Chosen {
    None,
    All,
    Some(Vec<bool>),
}

impl Selection {
    /// Nothing of so many pages.
    pub fn none(pages: usize) -> Self {
        Self {
            pages: vec![Chosen::None; pages],
            ..Self::default()
        }
    }

    /// All of a page, which is known by its numbers alone.
    pub fn add_page(&mut self, at: usize, page: &BasePage) {
        self.pages[at] = Chosen::All;
        self.files += page.files;
        self.bytes = self.bytes.saturating_add(page.bytes);
    }

    /// Those files of an open page that are marked.
    pub fn add_files(&mut self, at: usize, marked: Vec<bool>, sizes: impl Fn(usize) -> u64) {
        let chosen = marked.iter().enumerate().filter(|(_, marked)| **marked);
        let (mut files, mut bytes) = (0, 0_u64);
        for (file, _) in chosen {
            files += 1;
            bytes = bytes.saturating_add(sizes(file));
        }
        if files == 0 {
            return;
        }
        self.files += files;
        self.bytes = self.bytes.saturating_add(bytes);
        self.pages[at] = Chosen::Some(marked);
    }

    /// Pages of which something is chosen, in order.
    pub fn pages(&self) -> Vec<usize> {
        let pages = self.pages.iter().enumerate();
        let some = pages.filter(|(_, chosen)| **chosen != Chosen::None);
        some.map(|(at, _)| at).collect()
    }

    /// Whether a file of a page is chosen.
    pub fn has(&self, page: usize, file: usize) -> bool {
        match self.pages.get(page) {
            None | Some(Chosen::None) => false,
            Some(Chosen::All) => true,
            Some(Chosen::Some(marked)) => marked.get(file).copied().unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_counts_what_it_holds() {
        let page = BasePage {
            list: String::new(),
            files: 3,
            bytes: 30,
        };
        let mut chosen = Selection::none(3);
        chosen.add_page(2, &page);
        chosen.add_files(0, vec![false, true], |file| 5 + file as u64);
        chosen.add_files(1, vec![false; 9], |_| 1);
        assert_eq!((chosen.files, chosen.bytes), (4, 36));
        assert_eq!(chosen.pages(), [0, 2]);
        let has = |page, file| chosen.has(page, file);
        assert!(has(0, 1) && has(2, 7) && !has(0, 0) && !has(0, 2) && !has(1, 0) && !has(3, 0));
    }
}
