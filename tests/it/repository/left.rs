//! What a failed run leaves, and which base the next one finds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat::repo::format::Outcome;
use lifeboat::repo::run::Left;
use lifeboat::store::{Kind, Listed, ObjectName, WriteMode};

use super::*;

/// A clock that a test moves.
#[derive(Debug)]
struct Moved(Mutex<SystemTime>);

impl Moved {
    fn new() -> Self {
        Self(Mutex::new(SystemClock.now()))
    }

    fn go_on(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Moved {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// A store that takes no manifest while it is told so.
#[derive(Debug)]
struct NoManifests {
    inner: Memory,
    on: AtomicBool,
}

#[async_trait]
impl Store for NoManifests {
    fn name(&self) -> &str {
        self.inner.name()
    }
    async fn put(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
    ) -> Result<(), lifeboat::store::Error> {
        if self.on.load(Ordering::SeqCst) && name.as_str().contains("/backups/") {
            return Err(lifeboat::store::Error::new(
                Kind::Other,
                self.name(),
                name.as_str(),
                "is full",
            ));
        }
        self.inner.put(name, bytes, mode).await
    }
    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, lifeboat::store::Error> {
        self.inner.get(name, limit).await
    }
    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, lifeboat::store::Error> {
        self.inner.head(name).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, lifeboat::store::Error> {
        self.inner.list(prefix, after).await
    }
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, lifeboat::store::Error> {
        self.inner.folders(prefix).await
    }
    async fn delete(&self, name: &ObjectName) -> Result<(), lifeboat::store::Error> {
        self.inner.delete(name).await
    }
}

/// Writes an artifact of this run whole.
fn write(run: &Run, name: &str, tar: &[u8]) -> ArtifactRecord {
    let mut writer = run.artifact(artifact(name)).unwrap();
    full(tar, &mut writer);
    writer.finish().unwrap().0
}

/// What a run leaves that wrote one artifact and then failed.
fn fail(world: &World, run: &Run, clock: &dyn Clock) -> Option<Left> {
    write(run, "g-0-j.tar", &tar(300, 0));
    let left = run.leave_partial(clock).unwrap();
    let listed = Catalogue::new(
        world.copies(),
        world.bridge(),
        foundation(),
        Signers::default(),
    );
    assert!(
        listed.list(None).unwrap().backups.is_empty(),
        "nobody lists it"
    );
    left
}

#[test]
fn what_a_failed_first_run_finished_is_not_sent_again() {
    let world = World::new();
    let clock = Moved::new();
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    // The second one breaks off.
    let mut second = run.artifact(artifact("g-1-j.tar")).unwrap();
    second.other(&[0; 512]).unwrap();
    drop(second);
    let left = fail(&world, &run, &clock).unwrap();
    assert_eq!((left.artifacts, left.stores.len()), (1, 2));
    let signers = Signers::default().and(Some(&world.worker));
    let own = Catalogue::new(world.copies(), world.bridge(), foundation(), signers);
    let manifest = own.dropped(&left.id).unwrap().unwrap().signed.manifest;
    assert_eq!(manifest.outcome, Outcome::Partial);
    assert!(manifest.full_because.is_some() && manifest.base.is_none());

    clock.go_on(Duration::from_secs(3600));
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    let first = write(&run, "g-0-j.tar", &tar(300, 0));
    assert_eq!(run.added().plain_bytes, 0, "the chunks are there");
    let second = write(&run, "g-1-j.tar", &tar(30, 0));
    let (signed, _) = run.commit(summary(vec![first, second]), &clock).unwrap();
    assert_eq!(signed.manifest.base, Some(left.id));
    assert_eq!(signed.manifest.full_because, None);
    assert_eq!(signed.manifest.chain, manifest.chain);
    assert!(world.read_back(&signed) == tar(300, 0));
}

#[test]
fn what_failed_at_the_manifest_alone_is_not_sent_again() {
    let mut world = World::new();
    let full_up = Arc::new(NoManifests {
        inner: Memory::new("nas", Arc::new(SystemClock)),
        on: true.into(),
    });
    world.stores[1] = Arc::clone(&full_up) as Arc<dyn Store>;
    let run = world.begin(Some(&world.worker));
    let record = write(&run, "g-0-j.tar", &tar(300, 0));
    let error = run
        .commit(summary(vec![record]), &SystemClock)
        .unwrap_err()
        .to_string();
    assert!(error.contains("is full"), "{error}");
    let left = run.leave_partial(&SystemClock).unwrap().unwrap();
    assert_eq!(left.stores, ["dc2", "nas"]);
    full_up.on.store(false, Ordering::SeqCst);

    let run = world.begin(Some(&world.worker));
    let record = write(&run, "g-0-j.tar", &tar(300, 0));
    assert_eq!(run.added().plain_bytes, 0);
    let (signed, committed) = run.commit(summary(vec![record]), &SystemClock).unwrap();
    assert_eq!(committed.written, ["dc2", "nas"]);
    assert_eq!(signed.manifest.base, Some(left.id));
    assert!(world.read_back(&signed) == tar(300, 0));
}

#[test]
fn what_a_failed_run_left_since_is_taken_before_the_base() {
    let world = World::new();
    let clock = Moved::new();
    let base = world.back_up(&tar(300, 0), Some(&world.worker));
    clock.go_on(Duration::from_secs(3600));
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    write(&run, "g-0-j.tar", &tar(300, 300));
    let changed = run.added().plain_bytes;
    assert!(changed > 0);
    run.leave_partial(&clock).unwrap().unwrap();
    clock.go_on(Duration::from_secs(3600));
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    let record = write(&run, "g-0-j.tar", &tar(300, 300));
    assert_eq!(run.added().plain_bytes, 0);
    let (signed, _) = run.commit(summary(vec![record]), &clock).unwrap();
    assert_eq!(signed.manifest.base, Some(base.manifest.id));
    assert!(world.read_back(&signed) == tar(300, 300));
}

#[test]
fn an_artifact_that_the_base_lacks_continues_an_older_backup() {
    let world = World::new();
    world.back_up(&tar(300, 0), Some(&world.worker));
    let run = world.begin(Some(&world.worker));
    let other = write(&run, "g-1-j.tar", &tar(20, 0));
    run.commit(summary(vec![other]), &SystemClock).unwrap();
    let run = world.begin(Some(&world.worker));
    write(&run, "g-0-j.tar", &tar(300, 0));
    assert_eq!(run.added().plain_bytes, 0);
}

#[test]
fn what_is_older_than_half_the_grace_is_no_base() {
    let world = World::new();
    let clock = Moved::new();
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    fail(&world, &run, &clock).unwrap();
    clock.go_on(Duration::from_secs(7 * 86_400 / 2));
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    write(&run, "g-0-j.tar", &tar(300, 0));
    assert!(run.added().plain_bytes > 0);
}

#[test]
fn a_run_longer_than_half_the_grace_does_not_commit_but_leaves_what_it_has() {
    let world = World::new();
    let clock = Moved::new();
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    let record = write(&run, "g-0-j.tar", &tar(30, 0));
    clock.go_on(Duration::from_secs(7 * 86_400 / 2 + 1));
    let error = run.commit(summary(vec![record]), &clock).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("84 h 00 min, longer than half the grace"),
        "{error}"
    );
    assert!(run.leave_partial(&clock).unwrap().is_some());
    // What nothing has named for so long may be on its way out.
    clock.go_on(Duration::from_secs(2 * 86_400));
    assert_eq!(run.leave_partial(&clock).unwrap(), None);
}

#[test]
fn what_builds_upon_what_was_left_is_left_for_half_the_grace_alone() {
    let world = World::new();
    let clock = Moved::new();
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    fail(&world, &run, &clock).unwrap();
    clock.go_on(Duration::from_secs(3 * 86_400));
    let run = world.begin_at(Some(&world.worker), &clock, Shutdown::new());
    write(&run, "g-0-j.tar", &tar(300, 0));
    assert_eq!(
        run.added().plain_bytes,
        0,
        "it builds upon what the first left"
    );
    // Another four and a half days later that may have been swept, however short this run's own time is.
    clock.go_on(Duration::from_secs(9 * 86_400 / 2));
    assert_eq!(run.leave_partial(&clock).unwrap(), None);
}

#[test]
fn after_a_signal_only_what_is_in_the_stores_is_left() {
    let world = World::new();
    let shutdown = Shutdown::new();
    let run = world.begin_at(Some(&world.worker), &SystemClock, shutdown.clone());
    write(&run, "g-0-j.tar", &tar(30, 0));
    run.flush().unwrap();
    shutdown.raise();
    let left = run.leave_partial(&SystemClock).unwrap().unwrap();
    assert_eq!(left.artifacts, 1);
}

#[test]
fn without_a_worker_identity_or_a_finished_artifact_nothing_is_left() {
    let world = World::new();
    let run = world.begin(None);
    write(&run, "g-0-j.tar", &tar(3, 0));
    assert_eq!(run.leave_partial(&SystemClock).unwrap(), None);
    let run = world.begin(Some(&world.worker));
    assert_eq!(run.leave_partial(&SystemClock).unwrap(), None);
}
