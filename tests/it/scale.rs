//! What a catalogue of many backups costs: requests are counted, not seconds.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat::artifact::Digest;
use lifeboat::clock::{Clock, SystemClock};
use lifeboat::monitor::Silent;
use lifeboat::repo::bridge::Bridge;
use lifeboat::repo::catalogue::Catalogue;
use lifeboat::repo::format::{ChainRecord, FORMAT, Manifest, Outcome, Signed};
use lifeboat::repo::id::{BackupId, ChainId, Foundation};
use lifeboat::repo::sign::Signers;
use lifeboat::shutdown::Shutdown;
use lifeboat::store::copies::Copies;
use lifeboat::store::memory::Memory;
use lifeboat::store::{Error, Listed, ObjectName, Store, WriteMode};

use crate::support::depot::Depot;
use crate::support::process::cli;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_list_shows_the_newest_and_says_that_there_are_older_ones() {
    let depot = Depot::new();
    let files: &[(&str, &[u8])] = &[("a", b"text")];
    let ids: Vec<_> = (0..3)
        .map(|_| depot.put("director", files).ok().id())
        .collect();
    let document = depot.source.to_string();
    let list = |more: &[&str]| {
        let arguments = [&["list"], more].concat();
        cli(&arguments, &[("LIFEBOAT_CONFIG", &document)])
    };
    for (more, from, older) in [
        (&["--limit", "2"][..], 1, true),
        (&["--limit", "3"], 0, false),
        (&["--all"], 0, false),
        (&[], 0, false),
    ] {
        let told = list(&[more, &["--json"]].concat()).ok().json();
        let backups = told["backups"].as_array().unwrap();
        let listed: Vec<_> = backups.iter().map(|b| b["id"].as_str().unwrap()).collect();
        assert_eq!(listed, ids[from..], "{more:?}");
        assert_eq!(told["has_older"], older, "{more:?}");
        let text = list(more).ok().stdout;
        assert_eq!(text.contains("`lifeboat list --all`"), older, "{text}");
    }
    for wrong in [&["--limit", "0"][..], &["--limit", "2", "--all"]] {
        list(wrong).fails(2);
    }
    let newest = cli(
        &["show", "latest", "--json"],
        &[("LIFEBOAT_CONFIG", &document)],
    );
    assert_eq!(newest.ok().json()["id"], ids[2].as_str());
}

/// Counts names listed and objects read: a bucket is asked once for a thousand names.
#[derive(Debug)]
struct Counting {
    inner: Memory,
    lists: AtomicUsize,
    listed: AtomicUsize,
    reads: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }
    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        self.inner.put(name, bytes, mode).await
    }
    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.inner.get(name, limit).await
    }
    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        self.inner.head(name).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let found = self.inner.list(prefix, after).await?;
        self.lists.fetch_add(1, Ordering::SeqCst);
        self.listed.fetch_add(found.len(), Ordering::SeqCst);
        Ok(found)
    }
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.inner.folders(prefix).await
    }
    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.inner.delete(name).await
    }
}

/// One store with this many nightly backups.
struct World {
    runtime: tokio::runtime::Runtime,
    store: Arc<Counting>,
    /// Oldest first.
    ids: Vec<BackupId>,
    now: SystemTime,
}

impl World {
    fn with(nights: u32) -> Self {
        let clock = Arc::new(SystemClock);
        let store = Arc::new(Counting {
            inner: Memory::new("dc2", clock.clone()),
            lists: AtomicUsize::default(),
            listed: AtomicUsize::default(),
            reads: AtomicUsize::default(),
            at_once: AtomicUsize::default(),
            most_at_once: AtomicUsize::default(),
        });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let now = clock.now();
        let ids: Vec<_> = (0..nights)
            .rev()
            .map(|ago| BackupId::new(now - DAY * ago, None, [0; 4]))
            .collect();
        for id in &ids {
            let bytes = Bytes::from(Signed::new(manifest(id)).to_bytes());
            let name = foundation().manifest(id);
            runtime
                .block_on(store.put(&name, bytes, WriteMode::CreateNew))
                .unwrap();
        }
        Self {
            runtime,
            store,
            ids,
            now,
        }
    }

    fn catalogue(&self) -> Catalogue {
        let stores = vec![self.store.clone() as Arc<dyn Store>];
        let copies = Copies::new(stores, 1, Arc::new(Silent)).unwrap();
        let bridge = Bridge::new(self.runtime.handle().clone(), Shutdown::new());
        Catalogue::new(Arc::new(copies), bridge, foundation(), Signers::default())
    }

    /// Listings and names listed so far.
    fn asked(&self) -> (usize, usize) {
        (
            self.store.lists.load(Ordering::SeqCst),
            self.store.listed.load(Ordering::SeqCst),
        )
    }
}

fn foundation() -> Foundation {
    Foundation::parse("prod-east").unwrap()
}

fn manifest(id: &BackupId) -> Manifest {
    let digest = Digest::of(b"");
    Manifest {
        format: FORMAT,
        id: id.clone(),
        foundation: foundation(),
        outcome: Outcome::Complete,
        started: "2026-11-22T01:00:00Z".into(),
        finished: "2026-11-22T01:10:00Z".into(),
        release: "lifeboat".into(),
        build: None,
        base: None,
        full_because: None,
        chain: ChainRecord {
            id: ChainId::new([7; 8]),
            started: "2026-11-22T01:00:00Z".into(),
            recovery: digest,
            keys: digest,
            worker: None,
        },
        recovery_age: String::new(),
        components: Vec::new(),
        drained_bytes: 0,
        new_bytes: 0,
        stored_bytes: 0,
        new_objects: 0,
        stores: vec!["dc2".into()],
    }
}

#[test]
fn a_check_costs_what_is_new_and_the_newest_cost_what_is_shown() {
    for nights in [10, 10_000] {
        let world = World::with(nights);
        let catalogue = world.catalogue();
        let newest = world.ids.last().unwrap();
        let a_day_before = BackupId::new(newest.time() - DAY, None, [0; 4]);
        let found = catalogue.list(Some(&a_day_before)).unwrap();
        assert_eq!(found.backups.last().map(|l| &l.id), Some(newest));
        assert_eq!(world.asked(), (1, 1), "{nights} nights");
        let found = catalogue.list_newest(1, world.now).unwrap();
        assert_eq!(found.backups.last().map(|l| &l.id), Some(newest));
        assert!(world.asked().0 == 2 && world.asked().1 < 100, "{nights}");
    }
}

#[test]
fn the_newest_are_found_however_long_ago_they_were_taken() {
    let world = World::with(600);
    for (wanted, years_later) in [(51, 0), (400, 0), (600, 3), (601, 0), (51, 40)] {
        let now = world.now + DAY * 365 * years_later;
        let found = world.catalogue().list_newest(wanted, now).unwrap().backups;
        assert!(found.len() >= wanted.min(600), "{wanted}: {}", found.len());
        let ids: Vec<_> = found.into_iter().map(|listed| listed.id).collect();
        assert!(world.ids.ends_with(&ids), "{wanted}");
    }
}

#[test]
fn manifests_are_read_side_by_side_and_come_in_order() {
    let world = World::with(100);
    let mut seen = Vec::new();
    let each = |id: &BackupId, read: Result<_, _>| {
        read.unwrap();
        seen.push(id.clone());
        if seen.len() == 50 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    world.catalogue().manifests(&world.ids, each).unwrap();
    assert_eq!(seen, world.ids[..50]);
    let most = world.store.most_at_once.load(Ordering::SeqCst);
    assert!((2..=16).contains(&most), "{most} at once");
    // Not many more than were wanted.
    assert!(world.store.reads.load(Ordering::SeqCst) <= 50 + 16);
}
