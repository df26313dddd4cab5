//! What a failed run leaves: the artifacts it finished, as a manifest under `dropped/`, so that the
//! next run sends none of them again. docs/design.md, *Chains*.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Run, random, stored};
use crate::clock::{self, Clock};
use crate::repo::Error;
use crate::repo::base::artifacts::Artifacts;
use crate::repo::format::{ArtifactRecord, ComponentRecord, Outcome};
use crate::repo::id::{BackupId, ComponentName};
use crate::store::WriteMode;

/// Time for it when nothing presses.
const TIME: Duration = Duration::from_secs(20);
/// After a signal: so much, and no longer than this after it, so that the last line is still
/// printed before the ten seconds are over.
const TIME_AFTER_SIGNAL: Duration = Duration::from_secs(1);
/// See [`TIME_AFTER_SIGNAL`].
const END_AFTER_SIGNAL: Duration = Duration::from_millis(9_700);

/// The finished artifacts of a run, in the order in which they ended.
#[derive(Debug, Clone, Default)]
pub struct Finished(Arc<Mutex<Vec<One>>>);

#[derive(Debug)]
struct One {
    component: ComponentName,
    artifact: ArtifactRecord,
    /// All its objects are among the first so many of the run.
    begun: u64,
}

impl Finished {
    /// Notes that an artifact's root, and all that it needs, is among the first `begun` objects.
    pub(in crate::repo) fn note(
        &self,
        component: ComponentName,
        artifact: ArtifactRecord,
        begun: u64,
    ) {
        self.lock().push(One {
            component,
            artifact,
            begun,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its name under `dropped/`.
    pub id: BackupId,
    /// How many artifacts it names.
    pub artifacts: usize,
    /// Plain bytes of their content.
    pub bytes: u64,
    /// The stores that have it.
    pub stores: Vec<String>,
}

impl Run {
    /// After a failure, once every instance is unlocked: leaves what is finished and stored in at
    /// least `min_copies` whole stores as a base for the next run. `None` when there is nothing
    /// to leave, nobody could continue it, or the run is so old that a sweep may have begun to
    /// take what nothing names.
    ///
    /// # Errors
    /// When it cannot be written in the little time there is.
    pub fn leave_partial(&self, clock: &dyn Clock) -> Result<Option<Left>, Error> {
        let Some(worker) = &self.settings.worker else {
            return Ok(None);
        };
        let now = clock.now();
        let took = now.duration_since(self.started).unwrap_or_default();
        let grace = self.settings.grace;
        // What an earlier failed run left was up to half the grace old when this one began: by the end of the grace
        // its objects may be swept. A base that is listed was under no grace at all.
        let on_left = self.artifacts.as_ref().is_some_and(Artifacts::on_left);
        if took > if on_left { grace / 2 } else { grace / 4 * 3 } {
            return Ok(None);
        }
        let time = match self.bridge.shutdown().since() {
            Some(signal) => {
                TIME_AFTER_SIGNAL.min(END_AFTER_SIGNAL.saturating_sub(signal.elapsed()))
            }
            None => {
                // What fails here has not landed and is left out.
                drop(self.pipeline.flush());
                TIME
            }
        };
        let components = self.finished(clock::rfc3339(self.started), clock::rfc3339(now));
        let stores = self.whole();
        if components.is_empty() || stores.len() < self.copies.min_copies() || time.is_zero() {
            return Ok(None);
        }
        let id = BackupId::new(now, None, random()?);
        let mut manifest = self.manifest(id.clone(), now, Outcome::Partial);
        manifest.components = components;
        manifest.stores.clone_from(&stores);
        let artifacts = manifest.components.iter().flat_map(|one| &one.artifacts);
        let (count, bytes) =
            artifacts.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.bytes));
        let signed = Self::signed(manifest, Some(worker))?;
        let body = stored(&signed)?;
        let object = self.settings.foundation.dropped(&id);
        let bridge = self.bridge.limited(time);
        let puts: Vec<_> = self
            .copies
            .stores()
            .filter(|store| stores.iter().any(|name| name == store.name()))
            .map(|store| {
                let (store, object, body) = (Arc::clone(store), object.clone(), body.clone());
                bridge.spawn(async move {
                    let put = store.put(&object, body, WriteMode::CreateNew).await;
                    put.map(|()| store.name().to_owned())
                })
            })
            .collect();
        let (mut written, mut failed) = (Vec::new(), None);
        for put in puts {
            match bridge.wait(put) {
                Ok(Ok(Ok(store))) => written.push(store),
                Ok(Ok(Err(error))) => failed = Some(Error::Store(error)),
                Ok(Err(error)) => failed = Some(Error::Other(error.to_string())),
                Err(_late) => {
                    let late = format!("no store answered within {} s", time.as_secs_f32());
                    failed = Some(Error::Other(late));
                }
            }
        }
        match failed {
            Some(error) if written.len() < self.copies.min_copies() => Err(error),
            _ => Ok(Some(Left {
                id,
                artifacts: count,
                bytes,
                stores: written,
            })),
        }
    }

    /// The components with the artifacts that are in the stores.
    fn finished(&self, started: String, finished: String) -> Vec<ComponentRecord> {
        let mut components: BTreeMap<ComponentName, Vec<ArtifactRecord>> = BTreeMap::new();
        for one in self.finished.lock().iter() {
            if self.pipeline.has_landed(one.begun) {
                let of = components.entry(one.component.clone()).or_default();
                of.push(one.artifact.clone());
            }
        }
        let record = |(name, artifacts)| ComponentRecord {
            name,
            started: started.clone(),
            finished: finished.clone(),
            phases: Vec::new(),
            artifacts,
            notes: Vec::new(),
            downtime: Vec::new(),
            facts: None,
        };
        components.into_iter().map(record).collect()
    }

    /// The stores that have everything: as of the last flush before a commit, which may have
    /// failed at a manifest alone.
    fn whole(&self) -> Vec<String> {
        let at_commit = self.whole_at_commit.lock();
        let at_commit = at_commit.unwrap_or_else(PoisonError::into_inner);
        at_commit.clone().unwrap_or_else(|| self.copies.whole())
    }
}
