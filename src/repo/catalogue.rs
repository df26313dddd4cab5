//! Which backups there are, and which of them are to be believed. docs/format.md, *Manifest*.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Error;
use super::bridge::Bridge;
use super::format::{MANIFEST_LIMIT, Outcome, Signed};
use super::id::{BackupId, Foundation};
use super::objects::judged;
use super::prune::DropNote;
use super::sign::Signers;
use crate::shutdown::Stopped;
use crate::store::copies::{Copies, StoreSet, Union};
use crate::store::{Kind, ObjectName};

const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;
/// Manifests read side by side. One is a few kilobytes, at most 4 MiB.
const READ_AT_ONCE: usize = 16;
/// How far back the newest backups are looked for first; then eight times as far, and so on.
/// Fifty nightly ones lie within two months.
const FIRST_LOOK_BACK: Duration = Duration::from_secs(64 * 86_400);

/// A committed backup, by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub id: BackupId,
    /// The stores that have its manifest, and so all of it.
    pub stores: StoreSet,
}

/// Whether it is known who wrote a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A trusted worker, by the fingerprint of its key.
    Verified(String),
    /// No signers are known to the reader.
    NotVerified,
}

/// A manifest that may be used.
#[derive(Debug, Clone)]
pub struct Believed {
    /// The manifest.
    pub signed: Signed,
    /// Who wrote it.
    pub origin: Origin,
}

/// What a listing gave.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Oldest first.
    pub backups: Vec<Listed>,
    /// The stores that answered.
    pub answered: StoreSet,
    /// Why each other store did not.
    pub silent: Vec<crate::store::Error>,
}

/// Reads manifests of one foundation from all stores.
#[derive(Debug, Clone)]
pub struct Catalogue {
    copies: Arc<Copies>,
    bridge: Bridge,
    foundation: Foundation,
    signers: Signers,
}

impl Catalogue {
    /// Believes manifests that one of `signers` signed; all, when there are none.
    pub fn new(
        copies: Arc<Copies>,
        bridge: Bridge,
        foundation: Foundation,
        signers: Signers,
    ) -> Self {
        Self {
            copies,
            bridge,
            foundation,
            signers,
        }
    }

    /// The union of what the stores list; with `after`, only greater ids, asked of the
    /// stores so that it costs what is new.
    ///
    /// # Errors
    /// When no store answers.
    pub fn list(&self, after: Option<&BackupId>) -> Result<Listing, Error> {
        let after = after.map(|id| self.foundation.manifest(id).to_string());
        self.list_of(self.foundation.manifests(), after)
    }

    /// The same of what lies under `dropped/` with a greater id than this one.
    ///
    /// # Errors
    /// When no store answers.
    pub fn list_dropped(&self, after: &BackupId) -> Result<Listing, Error> {
        let after = self.foundation.dropped(after).to_string();
        self.list_of(self.foundation.dropped_prefix(), Some(after))
    }

    fn list_of(&self, prefix: String, after: Option<String>) -> Result<Listing, Error> {
        let union: Union = self
            .bridge
            .wait(self.copies.list_union(&prefix, after.as_deref()))??;
        let backups = union
            .objects
            .into_iter()
            .filter_map(|found| {
                // What is not named like a manifest is none: nobody lists it.
                let name = found
                    .listed
                    .name
                    .strip_prefix(&prefix)?
                    .strip_suffix(".json")?;
                Some(Listed {
                    id: BackupId::parse(name).ok()?,
                    stores: found.stores,
                })
            })
            .collect();
        Ok(Listing {
            backups,
            answered: union.answered,
            silent: union.silent,
        })
    }

    /// The newest backups, at least `wanted` of them if there are as many. Asks the stores for a
    /// stretch of time that most likely holds them: names begin with the time of the commit.
    ///
    /// # Errors
    /// When no store answers.
    pub fn list_newest(&self, wanted: usize, now: SystemTime) -> Result<Listing, Error> {
        let mut back = FIRST_LOOK_BACK;
        while let Some(from) = now.checked_sub(back).filter(|from| *from > EPOCH) {
            let listing = self.list(Some(&BackupId::new(from, None, [0; 4])))?;
            if listing.backups.len() >= wanted {
                return Ok(listing);
            }
            back *= 8;
        }
        self.list(None)
    }

    /// Reads one manifest and decides whether to believe it. A store whose manifest is not
    /// to be believed is passed over for the next one.
    ///
    /// # Errors
    /// [`Error::Refused`] when no trusted worker signed it; [`Error::Store`] with
    /// [`Kind::NotFound`] when there is none.
    pub fn manifest(&self, id: &BackupId) -> Result<Believed, Error> {
        self.bridge.wait(self.complete(id))?
    }

    async fn complete(&self, id: &BackupId) -> Result<Believed, Error> {
        let complete = |believed: Believed| match believed.signed.manifest.outcome {
            Outcome::Complete => Ok(believed),
            Outcome::Partial => Err(Error::Refused {
                id: id.to_string(),
                problem: "it is not complete; what a failed run left belongs under dropped/".into(),
            }),
        };
        self.believed(id, &self.foundation.manifest(id), complete)
            .await
    }

    /// Reads these manifests, several side by side, and hands them over one by one in the order
    /// of `ids`, until `each` has enough.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn manifests<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a BackupId>,
        mut each: impl FnMut(&'a BackupId, Result<Believed, Error>) -> ControlFlow<()>,
    ) -> Result<(), Stopped> {
        let mut ids = ids.into_iter();
        let mut reading = VecDeque::new();
        loop {
            while reading.len() < READ_AT_ONCE {
                let Some(id) = ids.next() else { break };
                let (catalogue, of) = (self.clone(), id.clone());
                let read = async move { catalogue.complete(&of).await };
                reading.push_back((id, self.bridge.spawn(read)));
            }
            let Some((id, read)) = reading.pop_front() else {
                return Ok(());
            };
            let read = self.bridge.wait(read)?;
            let read = read.unwrap_or_else(|failed| {
                Err(Error::Other(format!("backup {id} was not read: {failed}")))
            });
            if let Err(Error::Stopped(stopped)) = read {
                return Err(stopped);
            }
            if each(id, read).is_break() {
                return Ok(());
            }
        }
    }

    /// The manifest of a backup that was dropped, when there is one.
    ///
    /// # Errors
    /// As [`Catalogue::manifest`].
    pub fn dropped(&self, id: &BackupId) -> Result<Option<Believed>, Error> {
        let object = self.foundation.dropped(id);
        match self.bridge.wait(self.believed(id, &object, Ok))? {
            Ok(believed) => Ok(Some(believed)),
            Err(Error::Store(error)) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// When and why a backup was dropped, as prune wrote it beside the manifest; nobody vouches
    /// for it. `None` when it was not dropped, or nothing can be read of it.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn drop_note(&self, id: &BackupId) -> Result<Option<DropNote>, Stopped> {
        let object = self.foundation.dropped(id);
        let any = |_: &bytes::Bytes| Ok(());
        let read = self
            .bridge
            .wait(self.copies.get_first(&object, MANIFEST_LIMIT, any))?;
        Ok(read.ok().and_then(|bytes| DropNote::split(&bytes).1))
    }

    /// Whether a prune has begun to drop this backup: then some store has something under `dropped/`,
    /// whatever it is. For whoever has put a hold. Prune writes there in every store before it looks for
    /// holds the last time, so one store that has nothing there yet is enough to know that it will see
    /// the hold; a store that does not answer says nothing.
    ///
    /// # Errors
    /// When no store says either, with every store's reason; when a signal comes.
    pub fn drop_begun(&self, id: &BackupId) -> Result<bool, Error> {
        let object = self.foundation.dropped(id);
        let (mut nothing_there, mut silent) = (false, Vec::new());
        for (_, found) in self.bridge.wait(self.copies.head_each(&object))? {
            match found {
                Ok(Some(_)) => return Ok(true),
                Ok(None) => nothing_there = true,
                Err(error) => silent.push(error.to_string()),
            }
        }
        match nothing_there {
            true => Ok(false),
            false => Err(Error::Other(silent.join("; "))),
        }
    }

    async fn believed(
        &self,
        id: &BackupId,
        object: &ObjectName,
        fits: impl Fn(Believed) -> Result<Believed, Error> + Send + Sync,
    ) -> Result<Believed, Error> {
        let judge = |bytes: &[u8]| self.judge(id, object, bytes).and_then(&fits);
        judged(&self.copies, object, MANIFEST_LIMIT, judge).await
    }

    /// The signature first: nothing that a stranger wrote is understood, not even its format.
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub(super) fn judge(
        &self,
        id: &BackupId,
        object: &ObjectName,
        bytes: &[u8],
    ) -> Result<Believed, Error> {
        let bytes = if *object == self.foundation.dropped(id) {
            DropNote::split(bytes).0
        } else {
            bytes
        };
        let (line, signature) = Signed::split(object.as_str(), bytes)?;
        let origin = if self.signers.is_empty() {
            Origin::NotVerified
        } else {
            self.signer(id, &line, signature.as_deref())?
        };
        let signed = Signed::parse(&self.foundation, id, line, signature)?;
        Ok(Believed { signed, origin })
    }

    fn signer(&self, id: &BackupId, line: &[u8], signature: Option<&str>) -> Result<Origin, Error> {
        let refused = |problem: &str| Error::Refused {
            id: id.to_string(),
            problem: problem.to_owned(),
        };
        let signature = signature.ok_or_else(|| {
            refused("it is not signed; whoever can write the bucket may have made it. Unset trusted_workers to read it all the same")
        })?;
        let signer = self.signers.signer(line, signature).ok_or_else(|| {
            refused("none of trusted_workers signed it; it was forged or changed, or the public key of the worker that took it is missing there")
        })?;
        Ok(Origin::Verified(signer))
    }

    /// Reads believed manifests, newest first, until `enough` says so or `most` were read.
    /// Those that are not believed are told to `passed_over`.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn newest_first(
        &self,
        listing: &Listing,
        most: usize,
        mut each: impl FnMut(&Listed, Believed) -> ControlFlow<()>,
        mut passed_over: impl FnMut(&BackupId, &Error),
    ) -> Result<(), Stopped> {
        for listed in listing.backups.iter().rev().take(most) {
            match self.manifest(&listed.id) {
                Ok(believed) => {
                    if each(listed, believed).is_break() {
                        return Ok(());
                    }
                }
                Err(Error::Stopped(stopped)) => return Err(stopped),
                Err(error) => passed_over(&listed.id, &error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::testing::{Scene, foundation};
    use crate::store::faulty::Fault;

    #[test]
    fn that_nothing_was_dropped_is_said_by_a_store_that_answers() {
        let scene = Scene::new();
        let catalogue = scene.catalogue();
        let id = BackupId::parse("20261122T010203Z-7f3a09bc").unwrap();
        assert!(!catalogue.drop_begun(&id).unwrap());
        // One that is silent says nothing, the other does.
        scene.stores[0].always(Fault::Fail(Kind::Transient));
        assert!(!catalogue.drop_begun(&id).unwrap());
        for kind in [Kind::Denied, Kind::Transient, Kind::Other] {
            scene.stores[1].always(Fault::Fail(kind));
            let error = catalogue.drop_begun(&id).unwrap_err().to_string();
            assert!(error.contains("store one"), "{error}");
            assert!(error.contains("store two"), "{error}");
        }
        // Whatever lies there.
        scene.stores[1].always(Fault::None);
        scene.put(1, &foundation().dropped(&id), b"torn");
        assert!(catalogue.drop_begun(&id).unwrap());
    }
}
