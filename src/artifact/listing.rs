//! The listing of an artifact's regular files: what an instance says of them, and what the heads
//! of a base say, in one form, so that the two can be compared without sending either.
//!
//! A *line* describes one file. Lines are cut into *pages* by content, so that a change touches
//! the page that it is in and no other; a page's digest is what an index page calls `list`.
//! `bbr/sh/listing.pl` makes the same lines and pages on an instance. Pure; governed by the
//! sections *Index* of `docs/format.md` and *Drain* of `docs/design.md`.

mod header;

use sha2::{Digest as _, Sha256};

use super::Digest;
pub use header::Root;

/// A page has this many files before its content may end it.
pub const FEWEST: u64 = 256;

/// A page has on average this many files more than [`FEWEST`].
pub const AVERAGE: u32 = 768;

/// A page never has more files.
pub const MOST: u64 = 4_000;

/// Bytes of a [`Tag`].
pub const TAG: usize = 10;

/// By what one line is told from the others of one artifact: the beginning of its SHA-256. With
/// two million lines on either side, two differing ones share a tag with a chance of 1 in 10^11.
pub type Tag = [u8; TAG];

/// What a listing says of a regular file beside its digest: all that GNU tar writes into its
/// header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As tar names it: begins with `./`.
    pub path: Vec<u8>,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Number of the owner.
    pub uid: u64,
    /// Number of the group.
    pub gid: u64,
    /// Name of the owner on the instance, at most 31 bytes; empty when it has none there.
    pub user: Vec<u8>,
    /// Name of the group, likewise.
    pub group: Vec<u8>,
    /// Modification time in whole seconds since 1970.
    pub mtime: i64,
    /// Bytes of content.
    pub size: u64,
}

impl Listed {
    /// The line of this file with this content:
    /// `MODE:UID:GID:MTIME:SIZE:DIGEST:USER:GROUP:PATH`, the mode in octal.
    pub fn line(&self, digest: &Digest) -> Vec<u8> {
        let mut line = format!(
            "{:o}:{}:{}:{}:{}:{digest}:",
            self.mode, self.uid, self.gid, self.mtime, self.size
        )
        .into_bytes();
        line.reserve(self.user.len() + self.group.len() + self.path.len() + 2);
        line.extend_from_slice(&self.user);
        line.push(b':');
        line.extend_from_slice(&self.group);
        line.push(b':');
        line.extend_from_slice(&self.path);
        line
    }

    /// What a line says; `None` unless it is written exactly as [`Listed::line`] writes it. Whether
    /// the path is a safe name is for the caller to see.
    pub fn parse(line: &[u8]) -> Option<(Self, Digest)> {
        let mut parts = line.splitn(9, |byte| *byte == b':');
        let mut text = || std::str::from_utf8(parts.next()?).ok();
        let mode = u32::from_str_radix(text()?, 8).ok()?;
        let (uid, gid) = (text()?.parse().ok()?, text()?.parse().ok()?);
        let mtime = text()?.parse().ok()?;
        let size: u64 = text()?.parse().ok()?;
        let digest = Digest::parse(text()?)?;
        let mut bytes = || Some(parts.next()?.to_vec());
        let listed = Self {
            user: bytes()?,
            group: bytes()?,
            path: bytes()?,
            mode,
            uid,
            gid,
            mtime,
            size,
        };
        // One file has one line: no leading zeros or signs, no number that a header cannot hold.
        let bounded = mode <= 0o7777 && size <= i64::MAX as u64;
        (bounded && listed.line(&digest) == line).then_some((listed, digest))
    }
}

/// The path and the line of a stored file. A head that GNU tar would not write for a regular file
/// (`--format=gnu`) gives a line that no listing holds, so that the file counts as changed.
pub fn stored_line(head: &[u8], digest: &Digest) -> (Vec<u8>, Vec<u8>) {
    if let Some(listed) = Listed::of_head(head) {
        let line = listed.line(digest);
        return (listed.path, line);
    }
    let path = super::tar::parse_head(head).map_or_else(|_| Vec::new(), |entry| entry.name);
    let line = format!("head {} {digest}", Digest::of(head)).into_bytes();
    (path, line)
}

/// A line's tag.
pub fn tag(line: &[u8]) -> Tag {
    let mut tag = [0; TAG];
    tag.copy_from_slice(&Digest::of(line).0[..TAG]);
    tag
}

/// Cuts the lines of one artifact, given in order, into pages.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    files: u64,
    hash: Sha256,
}

impl Pages {
    /// The next file. When a page ends behind it: the page's digest, the `list` of the index.
    pub fn add(&mut self, path: &[u8], line: &[u8]) -> Option<String> {
        self.files += 1;
        self.hash.update(Digest::of(line).0);
        let ends = self.files >= MOST || (self.files >= FEWEST && may_end(path));
        ends.then(|| self.close())
    }

    /// The digest of the last page, unless it ended behind the last file. Then begins anew.
    pub fn finish(&mut self) -> Option<String> {
        (self.files > 0).then(|| self.close())
    }

    fn close(&mut self) -> String {
        self.files = 0;
        hex::encode(self.hash.finalize_reset())
    }
}

/// Whether a page of [`FEWEST`] files or more ends behind the file of this path.
fn may_end(path: &[u8]) -> bool {
    let [a, b, c, d, ..] = Digest::of(path).0;
    u32::from_be_bytes([a, b, c, d]).is_multiple_of(AVERAGE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(path: &str) -> Listed {
        Listed {
            path: path.into(),
            mode: 0o640,
            uid: 1000,
            gid: 2000,
            user: b"vcap".to_vec(),
            group: Vec::new(),
            mtime: -7,
            size: 12,
        }
    }

    #[test]
    fn a_line_says_what_the_format_says() {
        let digest = Digest::of(b"x");
        let line = listed("./a:b").line(&digest);
        let text = format!("640:1000:2000:-7:12:{digest}:vcap::./a:b");
        assert_eq!(line, text.as_bytes());
        assert_eq!(Listed::parse(&line), Some((listed("./a:b"), digest)));
    }

    #[test]
    fn what_is_written_otherwise_is_no_line() {
        let digest = Digest::of(b"x");
        for head in [
            "0640:1:1:1:1",
            "+640:1:1:1:1",
            "10000:1:1:1:1",
            "640:01:1:1:1",
            "640:1:1:-0:1",
            "640:1:1:1:9223372036854775808",
            "640:1:1:1:-1",
            "640:1:1:1",
            "",
        ] {
            let line = format!("{head}:{digest}:a:b:./c");
            assert_eq!(Listed::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_page_ends_by_content_or_when_it_is_full() {
        let ends = |names: &mut dyn Iterator<Item = String>| {
            let mut pages = Pages::default();
            let mut files = 0;
            let mut ends = Vec::new();
            for name in names {
                files += 1;
                if pages.add(name.as_bytes(), name.as_bytes()).is_some() {
                    ends.push(std::mem::take(&mut files));
                }
            }
            assert_eq!(pages.finish().is_some(), files > 0);
            assert_eq!(pages.finish(), None);
            ends
        };
        let many = ends(&mut (0..100_000).map(|place| format!("./{place:07}")));
        assert!(many.iter().all(|files| (FEWEST..=MOST).contains(files)));
        assert!((60..200).contains(&many.len()), "{}", many.len());
        // A name that never ends a page, again and again.
        let dull = (0..)
            .map(|n| format!("./{n}"))
            .find(|n| !may_end(n.as_bytes()));
        let full = ends(&mut std::iter::repeat_n(dull.unwrap(), 9_000));
        assert_eq!(full, [MOST, MOST]);
    }

    #[test]
    fn one_changed_file_changes_one_page() {
        let lists = |changed: usize| {
            let mut pages = Pages::default();
            let mut lists = Vec::new();
            for place in 0..20_000 {
                let path = format!("./{place:07}");
                let line = format!("{path} {}", u8::from(place == changed));
                lists.extend(pages.add(path.as_bytes(), line.as_bytes()));
            }
            lists.extend(pages.finish());
            lists
        };
        let (before, after) = (lists(99_999), lists(12_345));
        assert_eq!(before.len(), after.len());
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 1);
        assert!(before[0].len() == 64 && before[0] != before[1]);
    }

    proptest! {
        #[test]
        fn lines_are_read_as_they_are_written(
            mode in 0_u32..=0o7777,
            (uid, gid, mtime) in any::<(u64, u64, i64)>(),
            size in 0..=i64::MAX as u64,
            user in "[a-z_]{0,31}", group in "[a-z_]{0,31}",
            path in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let group = group.into_bytes();
            let listed = Listed { path, mode, uid, gid, user: user.into_bytes(), group, mtime, size };
            let digest = Digest::of(&listed.path);
            let line = listed.line(&digest);
            prop_assert_eq!(Listed::parse(&line), Some((listed, digest)));
        }

        #[test]
        fn no_line_and_no_head_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
            drop(Listed::parse(&bytes));
            drop(Listed::of_head(&bytes));
            drop(stored_line(&bytes, &Digest::of(b"")));
        }
    }
}
