//! The world of the year: three stores in memory that fail as they are told, keys, a tree, a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeboat::artifact::tar::{EntryKind, TarReader};
use lifeboat::artifact::{Digest, EntrySink as _, Form};
use lifeboat::clock::{self, Clock};
use lifeboat::monitor::Silent;
use lifeboat::repo::Settings;
use lifeboat::repo::bridge::Bridge;
use lifeboat::repo::catalogue::Catalogue;
use lifeboat::repo::format::{ComponentRecord, Manifest, PAGE_LIMIT, ROOT_LIMIT};
use lifeboat::repo::holdings::Holdings;
use lifeboat::repo::id::{BackupId, ChainId, ComponentName, Foundation};
use lifeboat::repo::prune::{AT_ONCE, Plan, Prune, Survey};
use lifeboat::repo::reader::{Fetcher, Reader};
use lifeboat::repo::recipients::Adding;
use lifeboat::repo::replicate::Replication;
use lifeboat::repo::retention::Policy;
use lifeboat::repo::run::{Run, Summary};
use lifeboat::repo::seal::{Identity, Opener, Recipients};
use lifeboat::repo::sign::{Signers, WorkerIdentity};
use lifeboat::repo::writer::ArtifactName;
use lifeboat::shutdown::Shutdown;
use lifeboat::store::copies::Copies;
use lifeboat::store::memory::Memory;
use serde_json::Value;

use super::places::{Hands, Place};

/// The store that is away for a month.
pub(super) const AWAY: &str = "nas";
const NAMES: [&str; 3] = ["dc2", AWAY, "cloud"];
const MIN_COPIES: usize = 2;
const DAY: Duration = Duration::from_secs(86_400);
const GRACE: Duration = Duration::from_secs(7 * 86_400);
const NEW_CHAIN_EVERY: Duration = Duration::from_secs(30 * 86_400);
/// Files of the tree that are packed together, and one that is cut.
const SMALL_FILES: u64 = 40;
const LARGE_FILE: usize = 1200 << 10;

/// What becomes of a night's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Night {
    /// Nothing goes wrong.
    Good,
    /// A store fails on the way and is given up.
    StoreFails,
    /// So many fail that nothing can be committed.
    TooManyFail,
    /// The worker is lost before the commit.
    Killed,
    /// It fails behind the drain, and leaves what it finished as a base.
    Fails,
}

/// How it ended.
enum Ended {
    Committed(BackupId),
    Lost,
}

/// Everything there is.
pub(super) struct Simulation {
    runtime: tokio::runtime::Runtime,
    clock: Arc<Hands>,
    places: Vec<Arc<Place>>,
    worker: WorkerIdentity,
    signers: Signers,
    recovery: Opener,
    tree: BTreeMap<String, Vec<u8>>,
    random: u64,
    /// The digest of the tar that each committed backup was given.
    remembered: BTreeMap<BackupId, Digest>,
}

impl Simulation {
    pub(super) fn new() -> Self {
        let clock = Arc::new(Hands::default());
        let places = NAMES.map(|name| {
            Arc::new(Place {
                name,
                memory: Mutex::new(Arc::new(Memory::new(name, clock.clone()))),
                away: AtomicBool::new(false),
                writes: AtomicI64::new(-1),
            })
        });
        let worker = a_worker();
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            clock,
            places: places.into(),
            signers: Signers::default().and(Some(&worker)),
            worker,
            recovery: Opener::generate(),
            tree: BTreeMap::new(),
            random: 20_260_101,
            remembered: BTreeMap::new(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        NAMES.into_iter()
    }

    pub(super) fn store(&self, name: &str) -> &Place {
        self.places.iter().find(|place| place.name == name).unwrap()
    }

    pub(super) fn grace(&self) -> Duration {
        GRACE
    }

    pub(super) fn pass(&self, time: Duration) {
        *self.clock.0.lock().unwrap() += time;
    }

    /// A day later, give or take, some of the tree is another.
    pub(super) fn next_night(&mut self) {
        let late = self.below(1800);
        self.pass(DAY - Duration::from_secs(900) + Duration::from_secs(late));
        if self.tree.is_empty() {
            let large = self.bytes(LARGE_FILE);
            self.tree.insert("large.db".to_owned(), large);
            for number in 0..SMALL_FILES {
                self.write(number);
            }
        }
        for _ in 0..3 {
            let number = self.below(SMALL_FILES);
            match self.below(8) {
                0 => drop(self.tree.remove(&format!("blobs/{number}"))),
                _ => self.write(number),
            }
        }
        // A few bytes somewhere in the large one; now and then it grows.
        let at = usize::try_from(self.below(LARGE_FILE as u64 - 100)).unwrap();
        let grows = self.below(5) == 0;
        let new = self.bytes(if grows { 3000 } else { 64 });
        let large = self.tree.get_mut("large.db").unwrap();
        let end = if grows { at } else { at + new.len() };
        large.splice(at..end, new);
        large.truncate(LARGE_FILE + (64 << 10));
    }

    fn write(&mut self, number: u64) {
        let size = usize::try_from(self.below(6000)).unwrap();
        let content = self.bytes(size);
        self.tree.insert(format!("blobs/{number}"), content);
    }

    fn next(&mut self) -> u64 {
        // Knuth's constants.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(4)).flat_map(|_| {
            let [a, b, c, d, ..] = self.next().to_le_bytes();
            [a, b, c, d]
        });
        let mut bytes: Vec<u8> = words.collect();
        bytes.truncate(length);
        bytes
    }

    fn tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in &self.tree {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o640);
            header.set_mtime(1_700_000_000);
            // The library would leave out the `./` that tar writes.
            let name = format!("./{name}");
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn bridge(&self) -> Bridge {
        Bridge::new(self.runtime.handle().clone(), Shutdown::new())
    }

    /// Those of one run.
    fn copies(&self) -> Arc<Copies> {
        let stores = self.places.iter().map(|place| place.clone() as _).collect();
        Arc::new(Copies::new(stores, MIN_COPIES, Arc::new(Silent)).unwrap())
    }

    fn alone(&self, name: &str) -> Arc<Copies> {
        let place = self.places.iter().find(|place| place.name == name).unwrap();
        Arc::new(Copies::new(vec![place.clone() as _], 1, Arc::new(Silent)).unwrap())
    }

    fn settings(&self) -> Settings {
        Settings {
            foundation: foundation(),
            recipients: Recipients::parse(&[self.recovery.recipient()]).unwrap(),
            worker: Some(self.worker.clone()),
            signers: self.signers.clone(),
            new_chain_every: NEW_CHAIN_EVERY,
            grace: GRACE,
        }
    }

    fn identity(&self) -> Identity {
        Identity::parse(&self.recovery.secret()).unwrap()
    }

    fn catalogue(&self, copies: Arc<Copies>) -> Catalogue {
        Catalogue::new(copies, self.bridge(), foundation(), self.signers.clone())
    }

    /// Whether it was committed.
    pub(super) fn back_up(&mut self, night: Night) -> bool {
        let tar = self.tar();
        let failing: &[usize] = match night {
            Night::Good | Night::Killed | Night::Fails => &[],
            Night::StoreFails => &[2],
            Night::TooManyFail => &[0, 2],
        };
        let writes = i64::try_from(self.below(4)).unwrap();
        for place in failing {
            self.places[*place].writes.store(writes, Ordering::SeqCst);
        }
        let ended = self.run(&tar, night);
        for place in &self.places {
            place.writes.store(-1, Ordering::SeqCst);
        }
        match ended {
            Ok(Ended::Committed(id)) => {
                self.remembered.insert(id, Digest::of(&tar));
                true
            }
            Ok(Ended::Lost) | Err(_) => false,
        }
    }

    fn run(&self, tar: &[u8], night: Night) -> anyhow::Result<Ended> {
        let asked = [component()];
        let run = Run::begin(
            self.settings(),
            self.copies(),
            self.bridge(),
            &asked,
            &*self.clock,
            &Silent,
        )?;
        let started = clock::rfc3339(self.clock.now());
        let mut writer = run.artifact(ArtifactName {
            component: component(),
            name: "g-0-j.tar".into(),
            form: Form::Tar,
            bbr: None,
        })?;
        let mut reader = TarReader::new(tar);
        loop {
            match reader.next_entry()? {
                Ok(entry) if entry.kind == EntryKind::File => {
                    writer.file(&entry.head, entry.size, &mut reader.content())?;
                }
                Ok(entry) => writer.other(&entry.head)?,
                Err(zeros) => break writer.end(zeros)?,
            }
        }
        let (artifact, _) = writer.finish()?;
        self.pass(Duration::from_secs(600));
        match night {
            Night::Killed => {
                run.flush()?;
                return Ok(Ended::Lost);
            }
            Night::Fails => {
                let left = run.leave_partial(&*self.clock)?.unwrap();
                assert_eq!(left.artifacts, 1);
                return Ok(Ended::Lost);
            }
            _ => {}
        }
        let summary = Summary {
            components: vec![ComponentRecord {
                notes: Vec::new(),
                downtime: Vec::new(),
                facts: None,
                name: component(),
                started,
                finished: clock::rfc3339(self.clock.now()),
                phases: vec![],
                artifacts: vec![artifact],
            }],
            drained_bytes: tar.len() as u64,
            build: None,
        };
        let (signed, _) = run.commit(summary, &*self.clock)?;
        Ok(Ended::Committed(signed.manifest.id))
    }

    fn plan(&self) -> (Prune, Survey, Plan) {
        let prune = Prune {
            copies: self.copies(),
            bridge: self.bridge(),
            foundation: foundation(),
            signers: self.signers.clone(),
            worker: Some(self.worker.clone()),
            recovery: Some(self.identity()),
            grace: GRACE,
            clock: self.clock.clone(),
            at_once: AT_ONCE,
        };
        let survey = prune.survey().unwrap();
        // Hourly, daily, weekly, monthly, yearly.
        let policy = Policy {
            last: 5,
            within: Some(DAY * 10),
            periods: [0, 14, 8, 12, 1],
            minimum: 1,
        };
        let plan = prune.plan(&survey, &policy);
        (prune, survey, plan)
    }

    pub(super) fn prune(&mut self) {
        let (prune, survey, plan) = self.plan();
        assert!(plan.blockers.is_empty(), "{:?}", plan.blockers);
        let done = prune.run(&survey, &plan, &mut |_| {}).unwrap();
        for id in done.dropped {
            self.remembered.remove(&id).unwrap();
        }
    }

    /// While a store is away nothing is deleted anywhere.
    pub(super) fn prune_refuses(&self) {
        let before: Vec<_> = self.names().map(|name| self.all_of(name)).collect();
        let (prune, survey, plan) = self.plan();
        assert!(!plan.blockers.is_empty());
        prune.run(&survey, &plan, &mut |_| {}).unwrap_err();
        let after: Vec<_> = self.names().map(|name| self.all_of(name)).collect();
        assert_eq!(before, after);
    }

    /// The stores that are not complete afterwards, and why.
    pub(super) fn replicate(&self) -> Vec<(String, String)> {
        let copies = self.copies();
        let catalogue = self.catalogue(Arc::clone(&copies));
        let bridge = self.bridge();
        let grace = self.grace();
        let holdings = Holdings::new(copies, bridge, foundation(), NEW_CHAIN_EVERY, grace);
        let replication = Replication::new(holdings, catalogue, &*self.clock, &Silent);
        let done = replication.run(|| {}).unwrap();
        assert!(done.refused.is_empty(), "{:?}", done.refused);
        let stores = done.stores.into_iter();
        stores
            .filter_map(|store| Some((store.store, store.incomplete?)))
            .collect()
    }

    pub(super) fn replace_store(&self, name: &'static str) {
        let empty = Memory::new(name, self.clock.clone());
        *self.store(name).memory.lock().unwrap() = Arc::new(empty);
    }

    /// The old key is gone; what it signed counts on.
    pub(super) fn new_worker(&mut self) {
        self.worker = a_worker();
        self.signers = self.signers.clone().and(Some(&self.worker));
    }

    /// Old chains open to the new key as well, and only that one is used from here on.
    pub(super) fn new_recipient(&mut self) -> usize {
        let new = Opener::generate();
        let recipients = Recipients::parse(&[new.recipient()]).unwrap();
        let identity = self.identity();
        let adding = Adding::new(
            self.copies(),
            self.bridge(),
            foundation(),
            &recipients,
            &identity,
            NEW_CHAIN_EVERY,
            self.clock.now(),
        );
        let mut chains = BTreeMap::<ChainId, Manifest>::new();
        for id in self.kept() {
            let manifest = self.manifest(&self.copies(), &id);
            chains.insert(manifest.chain.id.clone(), manifest);
        }
        for manifest in chains.values() {
            adding.to_chain_of(manifest).unwrap();
        }
        self.recovery = new;
        chains.len()
    }

    fn manifest(&self, copies: &Arc<Copies>, id: &BackupId) -> Manifest {
        let catalogue = self.catalogue(Arc::clone(copies));
        catalogue.manifest(id).unwrap().signed.manifest
    }

    /// What was committed and is not dropped.
    pub(super) fn kept(&self) -> BTreeSet<BackupId> {
        self.remembered.keys().cloned().collect()
    }

    pub(super) fn listed_by(&self, name: &str) -> BTreeSet<BackupId> {
        let listing = self.catalogue(self.alone(name)).list(None).unwrap();
        listing
            .backups
            .into_iter()
            .map(|listed| listed.id)
            .collect()
    }

    pub(super) fn newest_restores(&self) {
        if let Some(newest) = self.remembered.keys().next_back() {
            self.restores(self.copies(), newest);
        }
    }

    pub(super) fn restores_from(&self, name: &str, id: &BackupId) {
        self.restores(self.alone(name), id);
    }

    fn restores(&self, copies: Arc<Copies>, id: &BackupId) {
        let manifest = self.manifest(&copies, id);
        let fetcher = Fetcher::new(copies, self.bridge(), foundation());
        let keys = fetcher.keys(&manifest, &self.identity()).unwrap();
        let reader = Reader::new(fetcher, manifest.chain.id.clone(), keys);
        let component = &manifest.components[0];
        let root = reader.root(component, &component.artifacts[0]).unwrap();
        let mut tar = Vec::new();
        reader.write_file(&root, &mut tar, &mut |_| Ok(())).unwrap();
        assert_eq!(Digest::of(&tar), self.remembered[id], "backup {id}");
    }

    fn all_of(&self, name: &str) -> BTreeSet<String> {
        self.store(name).memory().names().into_iter().collect()
    }

    /// All but what is remembered of dropped backups, and what helps to recover.
    pub(super) fn held_by(&self, name: &str) -> BTreeSet<String> {
        let beside = |object: &String| {
            ["recover.py", "RECOVERY.md"].contains(&object.as_str())
                || object.starts_with(&foundation().dropped_prefix())
        };
        let all = self.all_of(name).into_iter();
        all.filter(|object| !beside(object)).collect()
    }

    /// The names that these backups lead to, read from the store itself.
    pub(super) fn needed_by(&self, name: &str, kept: &BTreeSet<BackupId>) -> BTreeSet<String> {
        let copies = self.alone(name);
        let fetcher = Fetcher::new(Arc::clone(&copies), self.bridge(), foundation());
        let mut needed = BTreeSet::new();
        let mut added = BTreeSet::new();
        for id in kept {
            let manifest = self.manifest(&copies, id);
            let chain = &manifest.chain.id;
            needed.insert(foundation().manifest(id).to_string());
            for file in ["recovery.age", "worker.age"] {
                needed.insert(foundation().chain_file(chain, file).to_string());
            }
            added.insert(foundation().chain_file(chain, "recovery-2.age").to_string());
            let keys = fetcher.keys(&manifest, &self.identity()).unwrap();
            let lines = |page: &Digest, limit| {
                needed_lines(&fetcher.index(chain, page, &keys.index, limit).unwrap())
            };
            let mut pages = Vec::new();
            for artifact in &manifest.components[0].artifacts {
                needed.insert(foundation().index(chain, &artifact.root).to_string());
                let root = lines(&artifact.root, ROOT_LIMIT);
                pages.extend(root[1..].iter().map(|line| digest(&line["page"])));
            }
            for page in pages {
                let object = foundation().index(chain, &page).to_string();
                if needed.insert(object) {
                    let chunks = &lines(&page, PAGE_LIMIT)[0]["chunks"];
                    let names = chunks
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|chunk| digest(&chunk[0]));
                    needed.extend(names.map(|name| foundation().data(chain, &name).to_string()));
                }
            }
        }
        // Chains from before the recipient changed have one file more.
        let held = self.all_of(name);
        needed.extend(added.intersection(&held).cloned());
        needed
    }
}

fn needed_lines(page: &[u8]) -> Vec<Value> {
    let lines = page
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn digest(value: &Value) -> Digest {
    Digest::parse(value.as_str().unwrap()).unwrap()
}

fn a_worker() -> WorkerIdentity {
    WorkerIdentity::parse(&WorkerIdentity::generate("w").unwrap()).unwrap()
}

fn foundation() -> Foundation {
    Foundation::parse("prod-east").unwrap()
}

fn component() -> ComponentName {
    ComponentName::parse("tas").unwrap()
}
