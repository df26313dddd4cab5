//! A look at what a base names: whether a random sample of it is still in each of its stores.

use std::collections::{BTreeMap, BTreeSet};

use super::NoBase;
use crate::artifact::Digest;
use crate::repo::Error;
use crate::repo::fetcher::{Fetcher, open_object};
use crate::repo::format::{ArtifactRecord, ComponentRecord, PAGE_LIMIT, PageRecord};
use crate::repo::id::ChainId;
use crate::repo::index::{Root, chunk_table};
use crate::repo::seal::Opener;
use crate::store::ObjectName;
use crate::store::copies::StoreSet;

/// Chunks, and as many roots and pages, of the base looked for in each store before it is built
/// upon. A bucket whose expiry rule took a twentieth of the chunks is noticed with a chance of
/// 81 %, one that lost a fifth with 99.9 %.
const SAMPLE: usize = 32;
/// Pages opened to draw those chunks from, whatever the size of the base.
const SAMPLED_PAGES: usize = 8;
/// Requests side by side.
const SIDE_BY_SIDE: usize = 8;

/// Where to look.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) fetcher: Fetcher,
    pub(super) chain: ChainId,
    pub(super) opener: Opener,
    /// Those that have the base.
    pub(super) stores: StoreSet,
}

impl Sample {
    /// Reads the roots of these artifacts, side by side, in their order.
    pub(super) fn roots(
        &self,
        of: &[(&ComponentRecord, &ArtifactRecord)],
    ) -> Result<Vec<Root>, NoBase> {
        let mut roots = Vec::with_capacity(of.len());
        for some in of.chunks(SIDE_BY_SIDE) {
            let read = |(component, artifact): &(&ComponentRecord, &ArtifactRecord)| {
                let (sample, component) = (self.clone(), (*component).clone());
                let artifact = (*artifact).clone();
                self.fetcher.bridge.spawn_blocking(move || {
                    sample
                        .fetcher
                        .root(&sample.chain, &component, &artifact, &sample.opener)
                })
            };
            let reading: Vec<_> = some.iter().map(read).collect();
            for root in reading {
                roots.push(self.ended(self.fetcher.bridge.wait(root)?)?);
            }
        }
        Ok(roots)
    }

    /// Looks for a random sample of the roots, their pages, and the chunks that these name, in each
    /// store.
    pub(super) fn check(&self, names: &[Digest], roots: &[Root]) -> Result<(), NoBase> {
        let mut index: Vec<Digest> = names.to_vec();
        let pages: Vec<&PageRecord> = roots.iter().flat_map(|root| &root.files).collect();
        index.extend(pages.iter().map(|record| record.page));
        let others = roots.iter().flat_map(|root| &root.others);
        index.extend(others.map(|record| record.page));
        let foundation = &self.fetcher.foundation;
        let sampled = drawn(index.len(), SAMPLE)?;
        let sampled = sampled.iter().map(|at| index[*at]);
        self.there(sampled.map(|name| foundation.index(&self.chain, &name)))?;

        let mut chunks = BTreeMap::new();
        let opened = drawn(pages.len(), SAMPLED_PAGES)?;
        let reading: Vec<_> = opened
            .iter()
            .map(|at| {
                let name = pages[*at].page;
                let object = foundation.index(&self.chain, &name);
                let copies = std::sync::Arc::clone(&self.fetcher.copies);
                let open = open_object(copies, object, name, self.opener.clone(), PAGE_LIMIT);
                self.fetcher.bridge.spawn(open)
            })
            .collect();
        for page in reading {
            let plain = self.ended(self.fetcher.bridge.wait(page)?)?;
            let table = chunk_table("a page of the base", &plain).map_err(NoBase::from)?;
            chunks.extend(table.into_iter().map(|chunk| (chunk.0, ())));
        }
        let chunks: Vec<Digest> = chunks.into_keys().collect();
        let sampled = drawn(chunks.len(), SAMPLE)?;
        let sampled = sampled.iter().map(|at| chunks[*at]);
        self.there(sampled.map(|name| foundation.data(&self.chain, &name)))
    }

    /// Whether each of these objects is in each store.
    fn there(&self, objects: impl Iterator<Item = ObjectName>) -> Result<(), NoBase> {
        let objects: Vec<ObjectName> = objects.collect();
        for some in objects.chunks(SIDE_BY_SIDE) {
            let look = |object: &ObjectName| {
                let copies = std::sync::Arc::clone(&self.fetcher.copies);
                let object = object.clone();
                self.fetcher.bridge.spawn(async move {
                    let heads = copies.head_each(&object).await;
                    Ok((object, heads))
                })
            };
            let looking: Vec<_> = some.iter().map(look).collect();
            for head in looking {
                let (object, heads) = self.ended(self.fetcher.bridge.wait(head)?)?;
                for (place, (store, head)) in heads.into_iter().enumerate() {
                    if !self.stores.contains(place) {
                        continue;
                    }
                    match head {
                        Ok(Some(listed)) if listed.size > 0 => {}
                        Ok(_) => {
                            return Err(NoBase::Because(format!(
                                "store {store} has lost {object} of the base (does the bucket have an expiry rule?)"
                            )));
                        }
                        Err(error) => return Err(NoBase::Because(error.to_string())),
                    }
                }
            }
        }
        Ok(())
    }

    fn ended<T, J: std::fmt::Display>(
        &self,
        ended: Result<Result<T, Error>, J>,
    ) -> Result<T, NoBase> {
        match ended {
            Ok(result) => result.map_err(NoBase::from),
            Err(error) => Err(NoBase::Because(format!(
                "the base of chain {} cannot be read: {error}",
                self.chain
            ))),
        }
    }
}

/// Up to so many places below `length`, at random. Small sets are drawn from often.
fn drawn(length: usize, most: usize) -> Result<BTreeSet<usize>, NoBase> {
    let mut places = BTreeSet::new();
    if length <= most {
        places.extend(0..length);
        return Ok(places);
    }
    let mut random = vec![0; most * 8];
    getrandom::fill(&mut random)
        .map_err(|error| NoBase::Because(format!("no random bytes: {error}")))?;
    for eight in random.chunks_exact(8) {
        let number = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
        places.insert(usize::try_from(number % length as u64).expect("below a length"));
    }
    Ok(places)
}
