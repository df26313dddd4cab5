//! Which files of an artifact are read: all, one of some parts that together are all, or a sample.
//!
//! By the first chunk of a file: small files that share one belong to the same part, so that no chunk
//! is fetched for two parts (large files share none); and what does not change from one backup to the
//! next stays in its part.

use sha2::{Digest as _, Sha256};

use crate::artifact::Digest;
use crate::repo::format::FileLine;
use crate::repo::index::FilePage;
use crate::repo::scrub::Part;

/// Which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice(Which);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Part(Part),
    /// About so many of a hundred, chosen by this salt.
    Sample(u8, [u8; 8]),
}

impl Choice {
    /// Every file.
    pub const ALL: Self = Self(Which::All);

    /// One part, the same whenever it is asked for.
    pub fn part(part: Part) -> Self {
        match part {
            Part::WHOLE => Self::ALL,
            part => Self(Which::Part(part)),
        }
    }

    /// About `percent` of a hundred files, others with each salt.
    pub fn sample(percent: u8, salt: [u8; 8]) -> Self {
        match percent {
            100.. => Self::ALL,
            percent => Self(Which::Sample(percent, salt)),
        }
    }

    /// For each line of a page whether it is read. `goes_on` is what became of a file that the page
    /// before did not end; in the end, of one that this page does not.
    pub(super) fn lines(self, page: &FilePage, goes_on: &mut bool) -> Vec<bool> {
        let lines = page.lines.iter().map(|line| {
            if line.head.is_some() {
                *goes_on = self.contains(&key(page, line));
            }
            *goes_on
        });
        lines.collect()
    }

    fn contains(self, key: &Digest) -> bool {
        match self.0 {
            Which::All => true,
            Which::Part(part) => part.contains(key),
            Which::Sample(percent, salt) => {
                let mut hash = Sha256::new();
                hash.update(salt);
                hash.update(key.0);
                let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
                u32::from_be_bytes([a, b, c, d]) % 100 < u32::from(percent)
            }
        }
    }
}

/// The first chunk's digest; of a file without content, its own.
fn key(page: &FilePage, line: &FileLine) -> Digest {
    let first = line.parts.first().and_then(|part| {
        let at = usize::try_from(part.0).ok()?;
        page.chunks.get(at).map(|chunk| chunk.1)
    });
    first.or(line.sha256).unwrap_or_else(|| Digest::of(b""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::format::{ChunkRecord, Part as Stretch};

    /// A page of 60 packs with 4 files each; the last of all goes on.
    fn page() -> FilePage {
        let chunk = |n: u32| ChunkRecord(Digest::of(&[1]), Digest::of(&n.to_be_bytes()), 40);
        let line = |n: u32| FileLine {
            head: Some(String::new()),
            sha256: Some(Digest::of(&n.to_le_bytes())),
            size: Some(10),
            parts: vec![Stretch(n / 4, n % 4 * 10, 10)],
            more: n == 239,
        };
        FilePage {
            chunks: (0..60).map(chunk).collect(),
            lines: (0..240).map(line).collect(),
        }
    }

    #[test]
    fn parts_are_all_files_each_once_and_no_chunk_twice() {
        let page = page();
        let mut taken = vec![0; 240];
        let mut open = 0;
        for number in 1..=7 {
            let part = Choice::part(Part::parse(&format!("{number}/7")).unwrap());
            let mut goes_on = false;
            let lines = part.lines(&page, &mut goes_on);
            open += u32::from(goes_on);
            for (at, chosen) in lines.iter().enumerate() {
                taken[at] += u32::from(*chosen);
                assert_eq!(*chosen, lines[at / 4 * 4], "a chunk in two parts");
            }
        }
        assert_eq!(taken, [1; 240]);
        assert_eq!(open, 1, "the file that goes on is in one part too");
        assert_eq!(Choice::part(Part::WHOLE), Choice::ALL);
    }

    #[test]
    fn a_file_that_goes_on_stays_with_its_beginning() {
        let mut page = page();
        page.lines[0].head = None;
        for before in [true, false] {
            let mut goes_on = before;
            let part = Choice::part(Part::parse("1/2").unwrap());
            assert_eq!(part.lines(&page, &mut goes_on)[0], before);
        }
    }

    #[test]
    fn a_sample_is_about_as_large_as_asked_and_another_each_time() {
        let page = page();
        let taken = |percent, salt: u8| {
            let lines = Choice::sample(percent, [salt; 8]).lines(&page, &mut false);
            lines.iter().filter(|chosen| **chosen).count()
        };
        assert_eq!(taken(100, 0), 240);
        let half: Vec<_> = (0..20).map(|salt| taken(50, salt)).collect();
        let sum: usize = half.iter().sum();
        assert!((1800..3000).contains(&sum), "{half:?}");
        assert!(half.iter().any(|one| *one != half[0]), "{half:?}");
    }
}
