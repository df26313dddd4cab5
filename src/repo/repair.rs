//! Mends what is missing or damaged: from another store that has it whole, from an earlier version
//! that a store kept, or from what the manifests and this release know. docs/design.md, *Scrub and
//! repair*.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Error;
use super::holdings::Holdings;
use super::scrub::{Bad, Found, MOST_FINDINGS, bad};
use super::survey::{Finding, Hit, Look, Looked, Survey};
use super::transfer::{Moved, Source, Transfer};
use crate::store::{self, Kind, ObjectName};

/// An object that is whole again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// In which store.
    pub store: String,
    /// Its name.
    pub object: String,
    /// What was wrong with it.
    pub what: String,
    /// Where its bytes came from.
    pub from: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// In the configured order.
    pub stores: Vec<Looked>,
    /// Backups whose manifests were read.
    pub backups: u64,
    /// The first thousand.
    pub mended: Vec<Mended>,
    /// How many there are in all.
    pub mended_objects: u64,
    /// What stays as it is, and why: the first thousand.
    pub lost: Vec<Bad>,
    /// How many more there are.
    pub more: u64,
    /// Backups that what is lost reaches or may reach.
    pub hit: Vec<Hit>,
}

impl Repaired {
    /// Whether nothing is wrong any more and every store was looked at.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.stores.iter().all(|store| store.left_out.is_none())
    }
}

/// Looks at everything and mends what it finds, a shard of a chain at a time: what an aborted run
/// mended stays so, and the next one finds the rest.
///
/// # Errors
/// When no store answers, or a signal comes.
pub fn repair(holdings: Holdings, look: Look<'_>, begin: impl FnOnce()) -> Result<Repaired, Error> {
    let mut survey = Survey::new(holdings, look);
    let mut done = Repaired::default();
    let mut lost = Found::default();
    survey.run(begin, &mut |holdings, findings| {
        let left = mend(holdings, findings, &mut done)?;
        lost.add(left);
        Ok(())
    })?;
    done.hit = survey.facts.hit(&lost.findings);
    let name = |place: usize| survey.holdings.store_name(place);
    done.lost = lost.findings.iter().map(|one| bad(one, &name)).collect();
    done.more = lost.more;
    done.stores.clone_from(&survey.looked);
    done.backups = survey.facts.backups;
    Ok(done)
}

/// Mends these; gives what could not be, with the reasons.
fn mend(
    holdings: &Holdings,
    findings: Vec<Finding>,
    done: &mut Repaired,
) -> Result<Vec<Finding>, Error> {
    let mut objects: BTreeMap<ObjectName, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        let of = objects.entry(finding.object.clone()).or_default();
        of.push(finding);
    }
    let transfers = objects.iter().map(|(object, findings)| {
        let to: Vec<usize> = findings.iter().map(|finding| finding.place).collect();
        Transfer {
            object: object.clone(),
            expect: findings[0].expect.clone(),
            limit: findings[0].limit,
            size: findings[0].size,
            from: (0..holdings.number())
                .filter(|place| !to.contains(place))
                .collect(),
            to,
            chain_end: findings[0].chain_end,
            earlier: true,
        }
    });
    let mut results = Vec::new();
    // What a store lacks that takes nothing would be told object by object: it is left out.
    let refused = |holdings: &Holdings, place: usize, error: &store::Error| {
        holdings.leave_out(place, &error.message);
    };
    holdings.transfer(transfers.collect(), refused, |moved| results.push(moved))?;
    let mut left = Vec::new();
    for moved in results {
        let findings = objects.remove(&moved.object).unwrap_or_default();
        if was_swept(&moved, &findings, holdings.number()) {
            continue;
        }
        for finding in findings {
            let Some(problem) = moved.problem(finding.place) else {
                done.mended_objects += 1;
                if done.mended.len() < MOST_FINDINGS {
                    done.mended.push(Mended {
                        store: holdings.store_name(finding.place),
                        object: moved.object.to_string(),
                        what: finding.what,
                        from: source(moved.source.as_ref()),
                    });
                }
                continue;
            };
            let what = format!("{}, and {problem}", finding.what);
            left.push(Finding { what, ..finding });
        }
    }
    // Nothing was tried where a store is left out.
    left.extend(objects.into_values().flatten());
    Ok(left)
}

/// Whether a prune has taken an object away since it was missed: a sweep explains all that was found of
/// it, and each store that was not found to lack it answered that it is not there.
fn was_swept(moved: &Moved, findings: &[Finding], stores: usize) -> bool {
    let gone = |(_, error): &&(usize, store::Error)| error.kind == Kind::NotFound;
    let gone = moved.unread.iter().filter(gone).count();
    moved.source.is_none()
        && gone > 0
        && gone + findings.len() == stores
        && findings.iter().all(Finding::may_be_swept)
}

fn source(source: Option<&Source>) -> String {
    match source {
        Some(Source::Store(store)) => format!("store {store}"),
        Some(Source::EarlierVersion(store)) => format!("an earlier version in store {store}"),
        Some(Source::Known) | None => "what the manifests and this release know".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Digest;
    use crate::repo::testing::{CHAIN, DAY, Scene, foundation};
    use crate::store::faulty::Fault;

    #[test]
    fn what_is_swept_before_it_is_copied_is_not_lost() {
        let scene = Scene::new();
        let backup = scene.back_up("one", Vec::new()).unwrap();
        let bytes = b"a page that no root names";
        let page = foundation().index(&backup.manifest.chain.id, &Digest::of(bytes));
        scene.put(1, &page, bytes);
        let mut found = Vec::new();
        let mut survey = Survey::new(scene.holdings(), scene.look());
        let collected = survey.run(|| {}, &mut |_, findings| {
            found.extend(findings);
            Ok(())
        });
        collected.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        let mut done = Repaired::default();
        let mut left =
            |found: &[Finding]| mend(&scene.holdings(), found.to_vec(), &mut done).unwrap();
        scene.delete(1, &page);
        assert_eq!(left(&found).len(), 0);
        // A store that does not answer may have it still.
        scene.stores[1].always(Fault::Fail(Kind::Transient));
        assert_eq!(left(&found).len(), 1);
        // No sweep damages.
        scene.stores[1].always(Fault::None);
        found[0].what = "was damaged".to_owned();
        assert_eq!(left(&found).len(), 1);
        assert_eq!(done.mended_objects, 0);
    }

    #[test]
    fn a_mended_manifest_is_locked_as_its_chain_is() {
        let scene = Scene::new();
        let backup = scene.back_up("one", Vec::new()).unwrap();
        scene.stores[0].lock_for(14 * DAY);
        let manifest = &backup.manifest;
        let committed = foundation().manifest(&manifest.id);
        let dropped = foundation().dropped(&manifest.id);
        scene.put(0, &dropped, &backup.to_bytes());
        scene.put(1, &dropped, &backup.to_bytes());
        for object in [&committed, &dropped] {
            let spoilt = scene.memories[0].damage(object.as_str(), |bytes| bytes.truncate(10));
            assert!(spoilt, "{object}");
        }
        let done = repair(scene.holdings(), scene.look(), || {}).unwrap();
        assert_eq!((done.mended_objects, done.lost), (2, Vec::new()));
        let until = manifest.chain.end(CHAIN) + 14 * DAY;
        assert_eq!(scene.stores[0].locked_until(&committed), Some(until));
        // Prune removes it one day.
        assert_eq!(scene.stores[0].locked_until(&dropped), None);
    }
}
