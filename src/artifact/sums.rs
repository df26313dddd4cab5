//! Which digest each file of an artifact has, in a few bytes per file: enough to compare two
//! listings that come in different orders, and to name what differs.
//!
//! A name is kept as 64 bits of its hash and a digest as its first 128 bits: two million files take
//! 48 MB. That is for telling damage; who could forge a digest holds the artifact anyway.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Digest;
use super::name::shown;
use super::tar::{Entry, EntryKind};

/// How many names a difference gives as examples.
const EXAMPLES: usize = 10;

type Row = (u64, [u8; 16]);

/// The files of one artifact while they are listed.
#[derive(Debug, Default)]
pub struct Sums {
    rows: Vec<Row>,
    /// Hard links: they have the digest of what they name.
    links: Vec<(u64, u64)>,
}

impl Sums {
    /// With room for so many files; more are taken all the same.
    pub fn with_room(files: u64) -> Self {
        let room = usize::try_from(files).unwrap_or_default().min(4_000_000);
        Self {
            rows: Vec::with_capacity(room),
            links: Vec::new(),
        }
    }

    /// A regular file.
    pub fn add(&mut self, name: &[u8], digest: Digest) {
        self.rows.push((hashed(name), short(digest)));
    }

    /// An entry of a tar; only what is a regular file once it is unpacked counts.
    pub fn add_entry(&mut self, entry: &Entry, digest: Option<Digest>) {
        match (entry.kind, digest) {
            (EntryKind::File, Some(digest)) => self.add(&entry.name, digest),
            (EntryKind::HardLink, _) => {
                self.links.push((hashed(&entry.name), hashed(&entry.link)));
            }
            _ => {}
        }
    }

    /// All are listed. Of several files of one name the last counts, as for tar.
    pub fn finish(mut self) -> SumSet {
        self.rows = last_of_each(self.rows);
        if !self.links.is_empty() {
            let found = self.links.iter().filter_map(|(name, target)| {
                let at = self.rows.binary_search_by_key(target, |row| row.0).ok()?;
                Some((*name, self.rows[at].1))
            });
            let links: Vec<Row> = found.collect();
            self.rows.extend(links);
            self.rows = last_of_each(self.rows);
        }
        let left = self.rows.len();
        SumSet {
            seen: vec![false; left],
            rows: self.rows,
            different: Vec::new(),
            differences: 0,
        }
    }
}

fn last_of_each(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.0);
    let mut kept = 0;
    for at in 0..rows.len() {
        if at + 1 < rows.len() && rows[at + 1].0 == rows[at].0 {
            continue;
        }
        rows[kept] = rows[at];
        kept += 1;
    }
    rows.truncate(kept);
    rows
}

/// The files of one artifact, to be compared with another listing.
#[derive(Debug)]
pub struct SumSet {
    rows: Vec<Row>,
    seen: Vec<bool>,
    different: Vec<String>,
    differences: u64,
}

impl SumSet {
    /// How many files it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A file of the other listing.
    pub fn compare(&mut self, name: &[u8], digest: Digest) {
        let what = match self.rows.binary_search_by_key(&hashed(name), |row| row.0) {
            Ok(at) => {
                self.seen[at] = true;
                if self.rows[at].1 == short(digest) {
                    return;
                }
                "differs"
            }
            Err(_) => "should not be there",
        };
        self.differences += 1;
        if self.different.len() < EXAMPLES {
            self.different.push(format!("{} {what}", shown(name)));
        }
    }

    /// The other listing is at its end: what differs, in words; `None` when nothing does.
    pub fn differences(self) -> Option<String> {
        let missing = self.seen.iter().filter(|seen| !**seen).count();
        let mut parts = self.different;
        let unnamed = self.differences - parts.len() as u64;
        if unnamed > 0 {
            parts.push(format!("{unnamed} more differ"));
        }
        if missing > 0 {
            parts.push(format!("{missing} files are missing"));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

fn hashed(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn short(digest: Digest) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&digest.0[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> SumSet {
        let mut sums = Sums::with_room(1);
        for (name, content) in files {
            sums.add(name.as_bytes(), Digest::of(content.as_bytes()));
        }
        sums.finish()
    }

    fn compared(left: &[(&str, &str)], right: &[(&str, &str)]) -> Option<String> {
        let mut set = set(left);
        for (name, content) in right {
            set.compare(name.as_bytes(), Digest::of(content.as_bytes()));
        }
        set.differences()
    }

    #[test]
    fn equal_listings_are_equal_in_any_order() {
        let left = [("./a", "1"), ("./b", "2"), ("./c", "3")];
        assert_eq!(compared(&left, &[left[2], left[0], left[1]]), None);
        assert_eq!(compared(&[], &[]), None);
    }

    #[test]
    fn every_difference_is_named_or_counted() {
        let left = [("./a", "1"), ("./b", "2")];
        assert_eq!(
            compared(&left, &[("./a", "1"), ("./b", "x")]).unwrap(),
            "./b differs"
        );
        assert_eq!(
            compared(&left, &[("./a", "1"), ("./b", "2"), ("./c\n", "x")]).unwrap(),
            "./c\\n should not be there"
        );
        assert_eq!(compared(&left, &left[..1]).unwrap(), "1 files are missing");
        assert_eq!(compared(&left, &[]).unwrap(), "2 files are missing");
        let many: Vec<String> = (0..30).map(|at| format!("./{at:02}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "x")).collect();
        let said = compared(&[], &many).unwrap();
        assert!(
            said.ends_with("./09 should not be there, 20 more differ"),
            "{said}"
        );
    }

    #[test]
    fn the_last_of_equal_names_counts_and_a_link_has_its_targets_digest() {
        assert_eq!(
            compared(
                &[("./a", "old"), ("./b", "2"), ("./a", "new")],
                &[("./b", "2"), ("./a", "new")]
            ),
            None
        );
        let mut sums = Sums::default();
        sums.add(b"./a", Digest::of(b"1"));
        let link = Entry {
            head: Vec::new(),
            name: b"./link".to_vec(),
            kind: EntryKind::HardLink,
            size: 0,
            mode: 0,
            mtime: 0,
            link: b"./a".to_vec(),
        };
        sums.add_entry(&link, None);
        let mut set = sums.finish();
        set.compare(b"./a", Digest::of(b"1"));
        set.compare(b"./link", Digest::of(b"1"));
        assert_eq!(set.differences(), None);
    }
}
