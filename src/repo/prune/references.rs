//! What the roots of one chain name, in bounded memory: all roots and pages, and chunks of as many
//! shards as there is room for; what is left is read in another turn.

use std::collections::{BTreeMap, HashMap};

use super::super::Error;
use super::super::format::{PAGE_LIMIT, PageKind, PageRecord, Part, ROOT_LIMIT};
use super::super::id::ChainId;
use super::super::index::{FilePage, Root};
use super::super::objects::Shard;
use super::super::reader::Fetcher;
use super::super::seal::Opener;
use super::Prune;
use crate::artifact::Digest;

/// Chunks, and stretches of them, known at once: about 100 bytes each.
pub(super) const MOST_CHUNKS: usize = 1_000_000;
/// Pages fetched before what they name is taken down: at most 8 MiB opened, and as much parsed.
const BATCH: usize = 4;

/// A chain whose index can be read.
#[derive(Debug)]
pub(super) struct Index<'a> {
    pub(super) prune: &'a Prune,
    pub(super) chain: &'a ChainId,
    pub(super) opener: &'a Opener,
    /// Roots of backups that stay: `true`; of those in their grace: `false`.
    pub(super) roots: &'a BTreeMap<Digest, bool>,
    pub(super) most_chunks: usize,
}

/// The roots and pages of a chain.
#[derive(Debug)]
pub(super) struct Pages {
    /// Whether backups that stay need one, or only such as are in their grace.
    pub(super) named: HashMap<Digest, bool>,
    /// Pages of files, and the same of them.
    pub(super) files: Vec<(PageRecord, bool)>,
}

/// What is needed of a chunk.
#[derive(Debug, Default)]
pub(super) struct Need {
    /// By a backup that stays.
    pub(super) stays: bool,
    length: u32,
    /// Plain bytes that files of backups that stay need: apart, in order.
    covered: Vec<(u32, u32)>,
}

impl Need {
    /// Of this many sealed bytes, those that no file of a backup that stays needs.
    pub(super) fn waste(&self, sealed: u64) -> u64 {
        let needed: u64 = self.covered.iter().map(|(a, b)| u64::from(b - a)).sum();
        let length = u64::from(self.length).max(1);
        sealed * length.saturating_sub(needed) / length
    }

    /// Whether there is one stretch more now.
    fn cover(&mut self, from: u32, to: u32) -> bool {
        let before = self.covered.len();
        let first = self.covered.partition_point(|(_, end)| *end < from);
        let behind = self.covered.partition_point(|(start, _)| *start <= to);
        let joined = self.covered[first..behind]
            .iter()
            .fold((from, to), |(a, b), (start, end)| {
                (a.min(*start), b.max(*end))
            });
        self.covered.splice(first..behind, [joined]);
        self.covered.len() > before
    }
}

/// Chunks of the shards from one on, below another.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) needs: HashMap<Digest, Need>,
    /// The first shard that is not in it.
    pub(super) end: usize,
}

impl Index<'_> {
    /// All roots and pages, with the records of the pages of files.
    pub(super) fn pages(&self) -> Result<Pages, Error> {
        let fetcher = self.prune.fetcher();
        let mut named: HashMap<Digest, bool> = self
            .roots
            .iter()
            .map(|(root, stays)| (*root, *stays))
            .collect();
        let mut pages: HashMap<Digest, (PageRecord, bool)> = HashMap::new();
        let roots: Vec<(Digest, bool)> = self.roots.iter().map(|(a, b)| (*a, *b)).collect();
        for batch in roots.chunks(BATCH) {
            let read = |(root, _): &(Digest, bool)| self.root(&fetcher, root);
            for ((_, stays), root) in batch.iter().zip(self.prune.side_by_side(batch, read)?) {
                for record in root.files.into_iter().chain(root.others) {
                    *named.entry(record.page).or_default() |= stays;
                    if record.kind == PageKind::Files {
                        let page = pages.entry(record.page);
                        page.or_insert_with(|| (record, false)).1 |= stays;
                    }
                }
            }
        }
        let mut files: Vec<_> = pages.into_values().collect();
        files.sort_unstable_by_key(|(record, _)| record.page);
        Ok(Pages { named, files })
    }

    fn root(&self, fetcher: &Fetcher, root: &Digest) -> Result<Root, Error> {
        let object = self.prune.foundation.index(self.chain, root).to_string();
        let plain = fetcher.index(self.chain, root, self.opener, ROOT_LIMIT)?;
        Root::parse(&object, &plain)
    }

    /// The chunks of as many shards as there is room for, from `first` on.
    pub(super) fn chunks(
        &self,
        pages: &[(PageRecord, bool)],
        first: usize,
    ) -> Result<Chunks, Error> {
        let fetcher = self.prune.fetcher();
        let mut chunks = Chunks {
            needs: HashMap::new(),
            end: Shard::all().count(),
        };
        let mut stretches = 0;
        for batch in pages.chunks(BATCH) {
            let read = |(record, _): &(PageRecord, bool)| {
                let object = self.prune.foundation.index(self.chain, &record.page);
                let plain = fetcher.index(self.chain, &record.page, self.opener, PAGE_LIMIT)?;
                FilePage::parse(object.as_str(), &plain, record)
            };
            for ((_, stays), page) in batch.iter().zip(self.prune.side_by_side(batch, read)?) {
                stretches += chunks.take(&page, *stays, first);
            }
            while chunks.needs.len() + stretches > self.most_chunks {
                let width = chunks.end - first;
                if width == 1 {
                    return Err(Error::Other(format!(
                        "chain {} names more than {} chunks in a sixteenth of its names, which is more than fits into memory",
                        self.chain, self.most_chunks
                    )));
                }
                chunks.end = first + width / 2;
                let end = chunks.end;
                chunks
                    .needs
                    .retain(|name, _| Shard::of(name).number() < end);
                stretches = chunks.needs.values().map(|need| need.covered.len()).sum();
            }
        }
        Ok(chunks)
    }
}

impl Chunks {
    /// How many stretches more there are.
    fn take(&mut self, page: &FilePage, stays: bool, first: usize) -> usize {
        let mut more = 0;
        for chunk in &page.chunks {
            if (first..self.end).contains(&Shard::of(&chunk.0).number()) {
                let need = self.needs.entry(chunk.0).or_default();
                need.stays |= stays;
                need.length = chunk.2;
            }
        }
        if !stays {
            return more;
        }
        for Part(at, offset, length) in page.lines.iter().flat_map(|line| &line.parts) {
            let chunk = usize::try_from(*at).ok().and_then(|at| page.chunks.get(at));
            if let Some(need) = chunk.and_then(|chunk| self.needs.get_mut(&chunk.0)) {
                more += usize::from(need.cover(*offset, offset + length));
            }
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_join_and_waste_is_what_they_leave() {
        let mut need = Need {
            length: 100,
            ..Need::default()
        };
        for (from, to, stretches) in [
            (10, 20, 1),
            (40, 50, 2),
            (20, 25, 2),
            (10, 20, 2),
            (5, 60, 1),
        ] {
            need.cover(from, to);
            assert_eq!(
                need.covered.len(),
                stretches,
                "{from} {to} {:?}",
                need.covered
            );
        }
        assert_eq!(need.covered, [(5, 60)]);
        assert_eq!(need.waste(200), 90);
        need.cover(0, 100);
        assert_eq!(need.waste(200), 0);
    }
}
