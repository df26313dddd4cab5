//! One run that adds a backup: chain chosen, key files stored, artifacts written, manifest
//! committed. docs/format.md, *Order of writing*.

mod partial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use self::partial::{Finished, Left};
use super::base::artifacts::Artifacts;
use super::base::{Base, Search};
use super::bridge::Bridge;
use super::catalogue::Catalogue;
use super::chain::{Chain, NewChain};
use super::format::{
    Build, ComponentRecord, FORMAT, KEYS_LIMIT, MANIFEST_LIMIT, Manifest, Outcome, Signed,
};
use super::id::{BackupId, ComponentName};
use super::pipeline::{Added, Pipeline};
use super::recovery::store_recovery_files;
use super::sign::{Signers, WorkerIdentity};
use super::writer::{ArtifactName, ArtifactWriter};
use super::{Error, Settings};
use crate::artifact::Digest;
use crate::clock::{self, Clock};
use crate::monitor::Monitor;
use crate::shutdown::Stopped;
use crate::store::copies::{Committed, Copies};
use crate::store::{ObjectName, WriteMode};

/// How far back an id may lie that is greater than all ids of today: clocks are within
/// minutes of each other, a day is plenty.
const LOOK_BACK: Duration = Duration::from_secs(86_400);
/// Most bytes of a manifest that is written. A reader takes 1 MiB more: prune puts a line with its
/// reasons behind a manifest that it drops.
const MOST_WRITTEN: u64 = MANIFEST_LIMIT - (1 << 20);

/// A run that has its chain and may write.
#[derive(Debug)]
pub struct Run {
    settings: Settings,
    copies: Arc<Copies>,
    bridge: Bridge,
    pipeline: Arc<Pipeline>,
    base: Option<BackupId>,
    full_because: Option<String>,
    artifacts: Option<Artifacts>,
    finished: Finished,
    /// The stores that had everything when the commit began.
    whole_at_commit: Mutex<Option<Vec<String>>>,
    started: SystemTime,
}

/// What a run tells its manifest at the end.
#[derive(Debug, Clone)]
pub struct Summary {
    /// In the order taken.
    pub components: Vec<ComponentRecord>,
    /// Bytes that came over SSH or out of a directory.
    pub drained_bytes: u64,
    /// The Concourse build.
    pub build: Option<Build>,
}

impl Run {
    /// Chooses base and chain, and stores and reads back the key files of a new chain. No
    /// instance is touched before this has succeeded.
    ///
    /// # Errors
    /// When too few stores take the key files, or none answers, or a signal comes.
    pub fn begin(
        settings: Settings,
        copies: Arc<Copies>,
        bridge: Bridge,
        asked: &[ComponentName],
        clock: &dyn Clock,
        monitor: &dyn Monitor,
    ) -> Result<Self, Error> {
        let started = clock.now();
        let catalogue = Catalogue::new(
            Arc::clone(&copies),
            bridge.clone(),
            settings.foundation.clone(),
            Signers::default(),
        );
        let listing = catalogue.list(None)?;
        let search = Search {
            settings: &settings,
            copies: &copies,
            bridge: &bridge,
            listing: &listing,
            asked,
            now: started,
        };
        let (chain, base, full_because, artifacts) = match search.run()? {
            Ok(Base {
                id,
                left,
                chain,
                stores,
                artifacts,
            }) => {
                let what = match left {
                    true => "what a failed run left,",
                    false => "backup",
                };
                monitor.info(&format!(
                    "continuing chain {} from {what} {id}",
                    chain.record.id
                ));
                for (place, name) in copies.names().enumerate() {
                    // Also where a listing failed: what is not known to be there is not.
                    if !stores.contains(place) {
                        copies
                            .exclude_from_commit(name, &format!("it lacks the base, backup {id}"));
                    }
                }
                (chain, Some(id), None, Some(artifacts))
            }
            Err(reason) => {
                let new = NewChain::create(&settings, started)?;
                monitor.info(&format!(
                    "beginning chain {}, a full backup: {reason}",
                    new.chain.record.id
                ));
                copies.lock_from(new.chain.record.end(settings.new_chain_every));
                store_key_files(&settings, &copies, &bridge, &new)?;
                (new.chain, None, Some(reason), None)
            }
        };
        copies.lock_from(chain.record.end(settings.new_chain_every));
        store_recovery_files(&copies, &bridge)?;
        let pipeline = Pipeline::start(
            Arc::clone(&copies),
            bridge.clone(),
            settings.foundation.clone(),
            chain,
        );
        Ok(Self {
            settings,
            copies,
            bridge,
            pipeline: Arc::new(pipeline),
            base,
            full_because,
            artifacts,
            finished: Finished::default(),
            whole_at_commit: Mutex::default(),
            started,
        })
    }

    /// Begins an artifact, on the same artifact of the base where there is one.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn artifact(&self, name: ArtifactName) -> Result<ArtifactWriter, Stopped> {
        let base = match &self.artifacts {
            Some(artifacts) => artifacts.of(&name)?,
            None => None,
        };
        let (pipeline, finished) = (Arc::clone(&self.pipeline), self.finished.clone());
        Ok(ArtifactWriter::new(pipeline, name, base, finished))
    }

    /// Waits until all that was written is in the stores: from here on an instance may
    /// forget it.
    ///
    /// # Errors
    /// When it is not, or a signal comes.
    pub fn flush(&self) -> Result<Added, Error> {
        self.pipeline.flush()
    }

    /// What has been added so far.
    pub fn added(&self) -> Added {
        self.pipeline.added()
    }

    /// The chain written to.
    pub fn chain(&self) -> &Chain {
        self.pipeline.chain()
    }

    /// Commits: flushes, then writes the manifest, store by store. A signal that comes after
    /// the flush no longer undoes the backup.
    ///
    /// # Errors
    /// When fewer than `min_copies` stores have everything; the error names the stores that
    /// hold the backup all the same, if any does. When the manifest is so large that nobody could
    /// read it.
    pub fn commit(
        &self,
        summary: Summary,
        clock: &dyn Clock,
    ) -> Result<(Signed, Committed), Error> {
        self.flush()?;
        let now = clock.now();
        self.check_time(now)?;
        let whole = self.copies.whole();
        *self
            .whole_at_commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(whole.clone());
        let id = BackupId::new(now, self.newest(now)?.as_ref(), random()?);
        let mut manifest = self.manifest(id.clone(), now, Outcome::Complete);
        manifest.build = summary.build;
        manifest.components = summary.components;
        manifest.drained_bytes = summary.drained_bytes;
        manifest.stores = whole;
        let signed = Self::signed(manifest, self.settings.worker.as_ref())?;
        let body = stored(&signed)?;
        let object = self.settings.foundation.manifest(&id);
        let committed = self
            .bridge
            .uninterrupted()
            .wait(self.copies.commit(&object, body))?;
        match committed {
            Ok(committed) => Ok((signed, committed)),
            Err(failed) => Err(Error::Store(failed.error)),
        }
    }

    /// What a long run took over may have been dropped when it began, and swept since.
    fn check_time(&self, now: SystemTime) -> Result<(), Error> {
        let took = now.duration_since(self.started).unwrap_or_default();
        if took <= self.settings.grace / 2 {
            return Ok(());
        }
        Err(Error::Other(format!(
            "the run took {}, longer than half the grace ({}): a prune may have taken what it builds upon, so it is not committed; set grace to more than twice what a backup takes, and take it again",
            clock::spoken(took),
            clock::spoken(self.settings.grace / 2)
        )))
    }

    /// A manifest of this run that names nothing yet.
    fn manifest(&self, id: BackupId, now: SystemTime, outcome: Outcome) -> Manifest {
        let (added, chain) = (self.added(), self.chain());
        Manifest {
            format: FORMAT,
            id,
            foundation: self.settings.foundation.clone(),
            outcome,
            started: clock::rfc3339(self.started),
            finished: clock::rfc3339(now),
            release: format!("lifeboat {}", env!("CARGO_PKG_VERSION")),
            build: None,
            base: self.base.clone(),
            full_because: self.full_because.clone(),
            chain: chain.record.clone(),
            recovery_age: chain.recovery_age.clone(),
            components: Vec::new(),
            drained_bytes: 0,
            new_bytes: added.plain_bytes,
            stored_bytes: added.sealed_bytes,
            new_objects: added.objects,
            stores: Vec::new(),
        }
    }

    fn signed(manifest: Manifest, worker: Option<&WorkerIdentity>) -> Result<Signed, Error> {
        let signed = Signed::new(manifest);
        match worker {
            None => Ok(signed),
            Some(worker) => {
                let signature = worker.sign(&signed.line).map_err(Error::Key)?;
                Ok(signed.with_signature(signature))
            }
        }
    }

    fn newest(&self, now: SystemTime) -> Result<Option<BackupId>, Error> {
        let after = now.checked_sub(LOOK_BACK).unwrap_or(SystemTime::UNIX_EPOCH);
        let after = BackupId::new(after, None, [0; 4]);
        let catalogue = Catalogue::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.settings.foundation.clone(),
            Signers::default(),
        );
        Ok(catalogue
            .list(Some(&after))?
            .backups
            .pop()
            .map(|listed| listed.id))
    }
}

/// A manifest's bytes. One that no reader takes would be a backup that nobody can read, and would keep
/// every prune from deleting anything.
fn stored(signed: &Signed) -> Result<Bytes, Error> {
    let bytes = Bytes::from(signed.to_bytes());
    let size = bytes.len() as u64;
    if size <= MOST_WRITTEN {
        return Ok(bytes);
    }
    Err(Error::Other(format!(
        "the manifest would have {size} bytes and may have {MOST_WRITTEN}, so nothing is committed: the backup names too many artifacts; back its components up in several backups"
    )))
}

fn random() -> Result<[u8; 4], Error> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Other(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

fn store_key_files(
    settings: &Settings,
    copies: &Arc<Copies>,
    bridge: &Bridge,
    new: &NewChain,
) -> Result<(), Error> {
    let chain = &new.chain;
    let file = |name: &str| settings.foundation.chain_file(&chain.record.id, name);
    put_and_read_back(
        copies,
        bridge,
        &file("recovery.age"),
        chain.recovery_age.as_bytes(),
    )?;
    if let Some(worker_age) = &new.worker_age {
        put_and_read_back(copies, bridge, &file("worker.age"), worker_age)?;
    }
    Ok(())
}

/// A chain whose keys a store holds wrongly would be lost with everything in it.
fn put_and_read_back(
    copies: &Arc<Copies>,
    bridge: &Bridge,
    object: &ObjectName,
    bytes: &[u8],
) -> Result<(), Error> {
    let body = Bytes::copy_from_slice(bytes);
    bridge.wait(copies.put_kept(object, body, WriteMode::CreateNew))??;
    let whole = copies.whole();
    for (store, read) in bridge.wait(copies.get_each(object, KEYS_LIMIT))? {
        if !whole.contains(&store) {
            continue;
        }
        match read {
            Ok(read) if Digest::of(&read) == Digest::of(bytes) => {}
            Ok(_) => copies.give_up(
                &store,
                &format!("it gives back other bytes than {object} was stored with"),
            ),
            Err(error) => copies.give_up(&store, &error.message),
        }
    }
    Ok(copies.check_enough(object.as_str())?)
}

#[cfg(test)]
mod tests {
    use crate::repo::format::MANIFEST_LIMIT;
    use crate::repo::testing::Scene;

    #[test]
    fn a_manifest_that_nobody_could_read_is_not_committed() {
        let scene = Scene::new();
        let limit = usize::try_from(MANIFEST_LIMIT).unwrap();
        let refused = scene.back_up("one", vec!["n".repeat(limit)]).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("would have 419"), "{text}");
        assert!(text.contains("in several backups"), "{text}");
        for memory in &scene.memories {
            let names = memory.names();
            let is_manifest = |name: &String| name.starts_with("east/backups/");
            assert!(!names.iter().any(is_manifest), "{names:?}");
        }
        // One that a prune may still write its reasons behind.
        let large = scene.back_up("one", vec!["n".repeat(limit / 2)]).unwrap();
        scene.catalogue().manifest(&large.manifest.id).unwrap();
    }
}
