//! What a staged tree lacks of an artifact, and what of it must go. Decided from the pages of its
//! listing, then from the tags of those pages that the artifact does not have; nothing is read of
//! a page that both have. A bit for each file that must be sent, four bytes for each that must go.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::artifact::base::{BaseFile, Selection, Wanted};
use crate::artifact::listing::{Tag, stored_line, tag};
use crate::artifact::name;
use crate::bbr::drain::{Listing, Page, Unusable};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Lines of the listing whose files must go: what is in their place is sent, if anything is.
    pub(super) gone: Vec<u32>,
    /// What the tree lacks.
    pub(super) sent: Selection,
}

/// The pages of a listing that the artifact has not, as the program on the instance counts them.
pub(super) fn unknown(known: &[Option<Range<usize>>]) -> Vec<u32> {
    let places = known.iter().enumerate();
    let unknown = places.filter(|(_, pages)| pages.is_none());
    unknown
        .filter_map(|(at, _)| u32::try_from(at).ok())
        .collect()
}

/// Compares; `tags` gives those of all lines of unknown pages, in order.
pub(super) fn compare(
    listing: &Listing,
    known: &[Option<Range<usize>>],
    wanted: &mut dyn Wanted,
    tags: &mut dyn FnMut() -> io::Result<Tag>,
) -> Result<Difference, Unusable> {
    let pages = wanted.pages().len();
    let mut comparing = Comparing {
        difference: Difference {
            gone: Vec::new(),
            sent: Selection::none(pages),
        },
        wanted,
        free: 0..0,
        open: VecDeque::new(),
        floor: Vec::new(),
    };
    // Where the artifact's pages end that may hold what an unknown page lists.
    let mut ends = vec![pages; known.len() + 1];
    for (at, page) in known.iter().enumerate().rev() {
        ends[at] = page.as_ref().map_or(ends[at + 1], |pages| pages.start);
    }
    comparing.expect(known);
    comparing.free.end = ends[0];
    let mut first = 0;
    for (at, page) in listing.pages.iter().enumerate() {
        match &known[at] {
            Some(pages) => {
                comparing.leave();
                comparing.free = pages.end..ends[at + 1];
                comparing.floor.clone_from(&page.last);
            }
            None => comparing.page(page, first, tags)?,
        }
        first += u32::try_from(page.files).unwrap_or(u32::MAX);
    }
    comparing.leave();
    Ok(comparing.difference)
}

struct Comparing<'a> {
    wanted: &'a mut dyn Wanted,
    difference: Difference,
    /// Pages of the artifact that may hold files of this part of the listing and are not open yet.
    free: Range<usize>,
    open: VecDeque<Open>,
    /// What was opened lies behind this path.
    floor: Vec<u8>,
}

/// A page of the artifact.
struct Open {
    page: usize,
    files: Arc<[BaseFile]>,
    by_tag: HashMap<Tag, usize>,
    lacking: Vec<bool>,
    last: Vec<u8>,
}

impl Comparing<'_> {
    /// Says which pages will be opened.
    fn expect(&mut self, known: &[Option<Range<usize>>]) {
        let mut pages = Vec::new();
        let (mut from, mut unknown) = (0, false);
        let end = self.wanted.pages().len();
        for page in known.iter().chain([&Some(end..end)]) {
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
        self.wanted.expect(&pages);
    }

    /// A page that the artifact does not have, beginning with the line of this number.
    fn page(
        &mut self,
        page: &Page,
        first: u32,
        tags: &mut dyn FnMut() -> io::Result<Tag>,
    ) -> Result<(), Unusable> {
        while !self.free.is_empty() && self.open.back().is_none_or(|open| open.last < page.last) {
            let next = self.free.start;
            self.free.start += 1;
            let open = Open::new(self.wanted, next, &self.floor)?;
            self.floor.clone_from(&open.last);
            self.open.push_back(open);
        }
        let files = u32::try_from(page.files).unwrap_or(u32::MAX);
        for line in first..first.saturating_add(files) {
            let tag = tags()?;
            let had = self.open.iter_mut().any(|open| {
                let file = open.by_tag.remove(&tag);
                if let Some(file) = file {
                    open.lacking[file] = false;
                }
                file.is_some()
            });
            if !had {
                self.difference.gone.push(line);
            }
        }
        while let Some(open) = self.open.pop_front_if(|open| open.last <= page.last) {
            self.close(open);
        }
        Ok(())
    }

    /// No more of this part of the listing comes: what was not found is lacking.
    fn leave(&mut self) {
        while let Some(open) = self.open.pop_front() {
            self.close(open);
        }
        for page in self.free.clone() {
            let numbers = self.wanted.pages()[page].clone();
            self.difference.sent.add_page(page, &numbers);
        }
        self.free = 0..0;
    }

    fn close(&mut self, open: Open) {
        let sizes = |file: usize| open.files[file].size;
        let sent = &mut self.difference.sent;
        sent.add_files(open.page, open.lacking, sizes);
    }
}

impl Open {
    /// Files must come in the order of a listing: of two of one name nobody could say which counts.
    fn new(wanted: &mut dyn Wanted, page: usize, floor: &[u8]) -> Result<Self, Unusable> {
        let files = wanted.open(page).map_err(|error| {
            Unusable::Said(format!("the index of the backup cannot be read: {error:#}"))
        })?;
        let mut by_tag = HashMap::with_capacity(files.len());
        let mut last = floor.to_vec();
        for (at, file) in files.iter().enumerate() {
            let (path, line) = stored_line(&file.head, &file.digest);
            if path <= last || !name::is_safe(&path) {
                return Err("its files are in no order by which they could be compared".into());
            }
            by_tag.insert(tag(&line), at);
            last = path;
        }
        Ok(Self {
            page,
            lacking: vec![true; files.len()],
            files,
            by_tag,
            last,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::artifact::Digest;
    use crate::artifact::base::{BasePage, Order};
    use crate::artifact::listing::{Listed, Pages, Root};
    use crate::artifact::tar::Entry;

    /// An artifact whose files are named, with what they hold.
    struct Model {
        pages: Vec<BasePage>,
        files: Vec<Arc<[BaseFile]>>,
        opened: Vec<usize>,
    }

    fn root() -> Root {
        Root {
            user: b"root".to_vec(),
            group: b"root".to_vec(),
        }
    }

    fn file(name: &str, content: &str) -> (Listed, Digest) {
        let listed = Listed {
            path: format!("./{name}").into_bytes(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: b"root".to_vec(),
            group: b"root".to_vec(),
            mtime: 7,
            size: content.len() as u64,
        };
        (listed, Digest::of(content.as_bytes()))
    }

    type Files = Vec<(Listed, Digest)>;

    /// Cut as a listing is.
    fn cut(files: &Files) -> Vec<(String, Files)> {
        let (mut pages, mut open, mut cutter) = (Vec::new(), Vec::new(), Pages::default());
        for (listed, digest) in files {
            open.push((listed.clone(), *digest));
            if let Some(list) = cutter.add(&listed.path, &listed.line(digest)) {
                pages.push((list, std::mem::take(&mut open)));
            }
        }
        if let Some(list) = cutter.finish() {
            pages.push((list, open));
        }
        pages
    }

    fn bytes(files: &Files) -> u64 {
        files.iter().map(|(listed, _)| listed.size).sum()
    }

    impl Model {
        fn new(files: &Files) -> Self {
            let pages = cut(files);
            let base = |(listed, digest): &(Listed, Digest)| BaseFile {
                head: listed.head(&root()),
                digest: *digest,
                size: listed.size,
            };
            Self {
                files: pages
                    .iter()
                    .map(|(_, files)| files.iter().map(base).collect())
                    .collect(),
                pages: pages
                    .into_iter()
                    .map(|(list, files)| BasePage {
                        list,
                        files: files.len() as u64,
                        bytes: bytes(&files),
                    })
                    .collect(),
                opened: Vec::new(),
            }
        }
    }

    impl Wanted for Model {
        fn pages(&self) -> &[BasePage] {
            &self.pages
        }

        fn expect(&mut self, _: &[usize]) {}

        fn open(&mut self, page: usize) -> anyhow::Result<Arc<[BaseFile]>> {
            self.opened.push(page);
            Ok(Arc::clone(&self.files[page]))
        }

        fn others(
            &self,
            _: Order,
            _: &mut dyn FnMut(&Entry) -> anyhow::Result<()>,
        ) -> anyhow::Result<()> {
            unreachable!("only files are compared")
        }

        fn write_files(
            &mut self,
            _: &Selection,
            _: &mut dyn Write,
            _: &mut dyn FnMut(&Entry, Option<Digest>),
        ) -> anyhow::Result<()> {
            unreachable!("nothing is sent")
        }
    }

    /// Compares what an instance has with what is wanted: what goes and what is sent, by name.
    fn compared(
        has: &Files,
        model: &mut Model,
        wanted: &Files,
    ) -> Result<(Vec<String>, Vec<String>), String> {
        let pages = cut(has);
        let listing = Listing {
            pages: pages
                .iter()
                .map(|(list, files)| Page {
                    list: list.clone(),
                    files: files.len() as u64,
                    bytes: bytes(files),
                    last: files.last().unwrap().0.path.clone(),
                })
                .collect(),
            files: has.len() as u64,
            bytes: bytes(has),
            blocks: has.len() as u64,
            others: 1,
            root: root(),
            tool: String::new(),
            processes: 1,
            millis: 0,
        };
        let known = crate::bbr::drain::known(&listing.pages, model.pages());
        let asked = unknown(&known);
        let mut lines = asked
            .iter()
            .flat_map(|at| &pages[*at as usize].1)
            .map(|(listed, digest)| tag(&listed.line(digest)));
        let difference = compare(&listing, &known, model, &mut || Ok(lines.next().unwrap()))
            .map_err(|why| match why {
                Unusable::Said(text) => text,
                Unusable::Stream(error) => error.to_string(),
            })?;
        assert_eq!(lines.next(), None, "all tags are read");
        let name = |listed: &Listed| String::from_utf8(listed.path.clone()).unwrap();
        let gone = difference.gone.iter();
        let gone = gone.map(|line| name(&has[*line as usize].0)).collect();
        let mut sent = Vec::new();
        let mut sent_bytes = 0;
        let mut at = 0;
        for (page, files) in model.files.iter().enumerate() {
            for file in 0..files.len() {
                if difference.sent.has(page, file) {
                    sent.push(name(&wanted[at].0));
                    sent_bytes += wanted[at].0.size;
                }
                at += 1;
            }
        }
        assert_eq!(
            (difference.sent.files, difference.sent.bytes),
            (sent.len() as u64, sent_bytes)
        );
        Ok((gone, sent))
    }

    fn tree(files: usize, but: &[(usize, &str)]) -> Files {
        let content = |at: usize| but.iter().find(|(place, _)| *place == at);
        (0..files)
            .filter(|at| content(*at).is_none_or(|(_, text)| !text.is_empty()))
            .map(|at| {
                let text = content(at).map_or("same", |(_, text)| text);
                file(&format!("f{at:06}"), text)
            })
            .collect()
    }

    #[test]
    fn only_what_differs_goes_and_is_sent_and_only_its_pages_are_opened() {
        let wanted = tree(9_000, &[(4_000, "new"), (8_999, "")]);
        let has = tree(9_000, &[(17, "")]);
        let mut model = Model::new(&wanted);
        let (gone, sent) = compared(&has, &mut model, &wanted).unwrap();
        assert_eq!(gone, ["./f004000", "./f008999"]);
        assert_eq!(sent, ["./f000017", "./f004000"]);
        assert!(model.opened.len() < model.pages.len(), "{:?}", model.opened);
    }

    #[test]
    fn equal_trees_cost_nothing_and_an_empty_one_all_without_opening_a_page() {
        let wanted = tree(3_000, &[]);
        let mut model = Model::new(&wanted);
        let nothing: (Vec<String>, Vec<String>) = Default::default();
        assert_eq!(compared(&wanted, &mut model, &wanted), Ok(nothing));
        let (gone, sent) = compared(&Vec::new(), &mut model, &wanted).unwrap();
        assert_eq!((gone.len(), sent.len()), (0, 3_000));
        assert!(model.opened.is_empty());
        let (gone, sent) = compared(&wanted, &mut Model::new(&Vec::new()), &Vec::new()).unwrap();
        assert_eq!((gone.len(), sent.len()), (3_000, 0));
    }

    #[test]
    fn an_artifact_with_a_name_twice_is_not_compared() {
        let mut wanted = tree(10, &[(3, "x")]);
        let twice = file("f000003", "y");
        wanted.insert(4, twice);
        let has = tree(9, &[]);
        let why = compared(&has, &mut Model::new(&wanted), &wanted).unwrap_err();
        assert!(why.contains("in no order"), "{why}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]
        #[test]
        fn what_goes_and_what_is_sent_make_one_of_the_other(
            has in proptest::collection::btree_map(0_usize..3_000, 0_u8..3, 0..2_500),
            wanted in proptest::collection::btree_map(0_usize..3_000, 0_u8..3, 0..2_500),
            equal in 0_usize..3_000,
        ) {
            let files = |map: &std::collections::BTreeMap<usize, u8>| -> Files {
                let own = map.iter().filter(|(at, _)| **at >= equal);
                let own = own.map(|(at, text)| file(&format!("f{at:06}"), &text.to_string()));
                tree(equal, &[]).into_iter().chain(own).collect()
            };
            let (has, wanted) = (files(&has), files(&wanted));
            let (gone, sent) = compared(&has, &mut Model::new(&wanted), &wanted).unwrap();
            let name = |(listed, digest): &(Listed, Digest)| {
                (String::from_utf8(listed.path.clone()).unwrap(), *digest)
            };
            let mut tree: std::collections::BTreeMap<_, _> = has.iter().map(name).collect();
            for path in &gone { assert!(tree.remove(path).is_some()); }
            let all: std::collections::BTreeMap<_, _> = wanted.iter().map(name).collect();
            for path in &sent { assert!(tree.insert(path.clone(), all[path]).is_none(), "{path}"); }
            assert_eq!(tree, all);
        }
    }
}
