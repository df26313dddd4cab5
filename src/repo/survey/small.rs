//! What is small and read at each look, whatever its scope: manifests, key files, the instructions
//! for a recovery.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::Error;
use super::super::format::{KEYS_LIMIT, MANIFEST_LIMIT};
use super::super::holdings::Present;
use super::super::id::{BackupId, ChainId};
use super::super::recovery::{RECOVER_PY, RECOVERY_LIMIT, RECOVERY_MD};
use super::super::transfer::{Expect, LOAD};
use super::facts::OfChain;
use super::{Finding, Survey, what_of};
use crate::artifact::Digest;
use crate::store::{Kind, ObjectName};

type Manifests = BTreeMap<BackupId, Present>;

impl Survey<'_> {
    /// Of two texts in two buckets neither is to be trusted: this release's own is the measure.
    pub(super) fn recovery_files(&mut self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        for (name, text) in [("recover.py", RECOVER_PY), ("RECOVERY.md", RECOVERY_MD)] {
            let object = ObjectName::new(name)?;
            let theirs = self.holdings.bytes(&object, RECOVERY_LIMIT)?;
            let asked = self.holdings.asked();
            for (place, bytes) in theirs.into_iter().enumerate().filter(|(at, _)| asked[*at]) {
                let what = match bytes {
                    None => "is missing",
                    Some(bytes) => {
                        self.count(place, &bytes);
                        if bytes == text.as_bytes() {
                            continue;
                        }
                        "is not that of this release: it is another release's, or was changed"
                    }
                };
                findings.push(Finding {
                    place,
                    object: object.clone(),
                    what: what.to_owned(),
                    expect: Expect::Bytes(Bytes::from_static(text.as_bytes())),
                    limit: RECOVERY_LIMIT,
                    size: RECOVERY_LIMIT,
                    chain: None,
                    sealed: None,
                    chain_end: None,
                });
            }
        }
        Ok(findings)
    }

    /// Every manifest in every store: whether it is to be believed, and what it says.
    pub(super) fn manifests(
        &mut self,
        backups: &Manifests,
        dropped: &Manifests,
    ) -> Result<Vec<Finding>, Error> {
        let foundation = self.holdings.foundation.clone();
        let listed = |all: &Manifests, object: &dyn Fn(&BackupId) -> ObjectName| {
            let pairs = all
                .iter()
                .map(|(id, present)| (id.clone(), object(id), present.clone()));
            pairs.collect::<Vec<_>>()
        };
        let mut manifests = listed(backups, &|id| foundation.manifest(id));
        manifests.extend(listed(dropped, &|id| foundation.dropped(id)));
        let mut findings = Vec::new();
        for some in manifests.chunks(256) {
            let copies = some.iter().flat_map(|(id, object, present)| {
                let places = (0..present.len()).filter(|place| present[*place]);
                places.map(|place| (id.clone(), object.clone(), place))
            });
            let mut results = Vec::new();
            let holdings = &self.holdings;
            holdings.bridge.side_by_side(
                copies,
                LOAD,
                |_| MANIFEST_LIMIT,
                |(id, object, place)| {
                    let store = holdings.store(place);
                    holdings.asked()[place].then_some(async move {
                        let read = store.get(&object, MANIFEST_LIMIT).await;
                        (id, object, place, read)
                    })
                },
                |result| results.push(result),
            )?;
            // Of one manifest in several stores the facts are added once.
            let mut good: BTreeMap<ObjectName, (Bytes, u64)> = BTreeMap::new();
            for (id, object, place, read) in results {
                let judged = match read {
                    Ok(bytes) => {
                        self.count(place, &bytes);
                        let judged = self.catalogue.judge(&id, &object, &bytes);
                        judged.map_err(|error| error.to_string()).map(|_| bytes)
                    }
                    Err(error) => match what_of(&error) {
                        Some(what) => Err(what),
                        None => {
                            if error.kind != Kind::NotFound {
                                self.holdings.leave_out(place, &error.message);
                            }
                            continue;
                        }
                    },
                };
                match judged {
                    Ok(bytes) => good.entry(object).or_insert((bytes, 0)).1 |= 1 << place,
                    Err(what) => findings.push(Finding {
                        place,
                        object,
                        what,
                        expect: Expect::Manifest(Arc::clone(&self.catalogue), id),
                        limit: MANIFEST_LIMIT,
                        size: MANIFEST_LIMIT,
                        chain: None,
                        sealed: None,
                        chain_end: None,
                    }),
                }
            }
            for (id, object, _) in some {
                if let Some((bytes, stores)) = good.get(object)
                    && let Ok(believed) = self.catalogue.judge(id, object, bytes)
                {
                    let is_dropped = *object == foundation.dropped(id);
                    if !is_dropped {
                        self.facts.add(&believed, *stores);
                    }
                }
            }
        }
        Ok(findings)
    }

    /// A chain's key files, against what its manifests say.
    pub(super) fn key_files(
        &mut self,
        chain: &ChainId,
        facts: &OfChain,
    ) -> Result<Vec<Finding>, Error> {
        let listed = self.holdings.key_files(chain)?;
        let mut files: BTreeMap<String, Option<Expect>> =
            listed.into_keys().map(|file| (file, None)).collect();
        if let Some((record, recovery_age)) = &facts.record {
            let text = recovery_age.as_bytes();
            let expect = if Digest::of(text) == record.recovery {
                Expect::Bytes(Bytes::copy_from_slice(text))
            } else {
                Expect::Digest(record.recovery)
            };
            files.insert("recovery.age".to_owned(), Some(expect));
            if let Some(worker) = record.worker {
                files.insert("worker.age".to_owned(), Some(Expect::Digest(worker)));
            }
        }
        let mut findings = Vec::new();
        for (file, expect) in files {
            let object = self.holdings.foundation.chain_file(chain, &file);
            let copies = self.holdings.bytes(&object, KEYS_LIMIT)?;
            let mut digests = copies.iter().flatten().map(|bytes| Digest::of(bytes));
            let first = digests.next();
            let agree = digests.all(|digest| Some(digest) == first);
            // What stands in no manifest can only be compared with the others.
            let expect = expect.unwrap_or(match first {
                Some(digest) if agree => Expect::Digest(digest),
                _ => Expect::Unknown,
            });
            let asked = self.holdings.asked();
            for (place, bytes) in copies.iter().enumerate().filter(|(at, _)| asked[*at]) {
                let what = match bytes {
                    None if facts.stores >> place & 1 == 1 => "is missing".to_owned(),
                    None => continue,
                    Some(bytes) => {
                        self.count(place, bytes);
                        let wait = expect.check(&object, bytes);
                        match self.holdings.bridge.wait(wait)? {
                            Ok(()) => continue,
                            Err(wrong) => wrong,
                        }
                    }
                };
                findings.push(Finding {
                    place,
                    object: object.clone(),
                    what,
                    expect: expect.clone(),
                    limit: KEYS_LIMIT,
                    size: KEYS_LIMIT,
                    chain: Some(chain.clone()),
                    sealed: None,
                    chain_end: None,
                });
            }
        }
        Ok(findings)
    }

    fn count(&mut self, place: usize, bytes: &Bytes) {
        self.looked[place].objects += 1;
        self.looked[place].bytes += bytes.len() as u64;
    }
}
