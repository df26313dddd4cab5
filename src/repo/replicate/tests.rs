//! Stores that refuse, are left out on the way, or hold what they should not; and what prune makes
//! of the result.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::{Replicated, Replication};
use crate::artifact::{EntrySink as _, Form};
use crate::clock::{Clock, rfc3339};
use crate::monitor::Silent;
use crate::repo::Settings;
use crate::repo::bridge::Bridge;
use crate::repo::catalogue::Catalogue;
use crate::repo::format::{CHUNK_LIMIT, ComponentRecord, SEAL_OVERHEAD};
use crate::repo::holdings::Holdings;
use crate::repo::id::{ComponentName, Foundation};
use crate::repo::prune::{Done, Looked, Prune};
use crate::repo::repair::{Repaired, repair};
use crate::repo::retention::Policy;
use crate::repo::run::{Run, Summary};
use crate::repo::scrub::{Look, Part, Scope};
use crate::repo::seal::{Opener, Recipients};
use crate::repo::sign::{Signers, WorkerIdentity};
use crate::repo::writer::ArtifactName;
use crate::shutdown::Shutdown;
use crate::store::copies::Copies;
use crate::store::faulty::Faulty;
use crate::store::memory::Memory;
use crate::store::{Kind, ObjectName, Store};

const DAY: Duration = Duration::from_secs(86_400);
const GRACE: Duration = Duration::from_secs(7 * 86_400);
const NEW_CHAIN_EVERY: Duration = Duration::from_secs(20 * 86_400);
const BACKUPS: &str = "east/backups/";
const CHAINS: &str = "east/chains/";
const DROPPED: &str = "east/dropped/";

/// A clock that only the test moves.
#[derive(Debug)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commits,
    /// What it finished is left as a base.
    Leaves,
}

struct Scene {
    runtime: tokio::runtime::Runtime,
    clock: Arc<Hands>,
    worker: WorkerIdentity,
    recovery: Opener,
}

impl Scene {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            // 2026-11-22T01:02:03Z.
            clock: Arc::new(Hands(AtomicU64::new(1_795_309_323))),
            worker: WorkerIdentity::parse(&WorkerIdentity::generate("w").unwrap()).unwrap(),
            recovery: Opener::generate(),
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    fn store(&self, name: &str) -> Arc<Memory> {
        Arc::new(Memory::new(name, self.clock.clone()))
    }

    fn bridge(&self) -> Bridge {
        Bridge::new(self.runtime.handle().clone(), Shutdown::never())
    }

    /// A night's run into these stores alone; equal versions have equal content.
    fn back_up(&self, stores: &[&Arc<Memory>], version: u64, end: End) {
        let settings = Settings {
            foundation: foundation(),
            recipients: Recipients::parse(&[self.recovery.recipient()]).unwrap(),
            worker: Some(self.worker.clone()),
            signers: Signers::default().and(Some(&self.worker)),
            new_chain_every: NEW_CHAIN_EVERY,
            grace: GRACE,
        };
        let component = ComponentName::parse("tas").unwrap();
        let copies = copies(stores.iter().map(|store| dynamic(store)).collect());
        let asked = [component.clone()];
        let clock: &dyn Clock = &*self.clock;
        let run = Run::begin(settings, copies, self.bridge(), &asked, clock, &Silent).unwrap();
        let mut artifacts = Vec::new();
        for number in 0..3 {
            let name = ArtifactName {
                component: component.clone(),
                name: format!("a{number}"),
                form: Form::File,
                bbr: None,
            };
            let content = format!("artifact {number}, version {version}");
            let mut writer = run.artifact(name).unwrap();
            let size = content.len() as u64;
            writer.file(&[], size, &mut content.as_bytes()).unwrap();
            writer.end(0).unwrap();
            let (record, _) = writer.finish().unwrap();
            artifacts.push(record);
        }
        run.flush().unwrap();
        let time = rfc3339(clock.now());
        match end {
            End::Commits => {
                let record = ComponentRecord {
                    notes: Vec::new(),
                    downtime: Vec::new(),
                    facts: None,
                    name: component,
                    started: time.clone(),
                    finished: time,
                    phases: Vec::new(),
                    artifacts,
                };
                let summary = Summary {
                    components: vec![record],
                    drained_bytes: 0,
                    build: None,
                };
                assert!(run.commit(summary, clock).is_ok());
            }
            End::Leaves => assert!(run.leave_partial(clock).unwrap().is_some()),
        }
        self.pass(DAY);
    }

    fn holdings(&self, stores: Vec<Arc<dyn Store>>) -> (Holdings, Catalogue) {
        let copies = copies(stores);
        let all = Signers::default();
        let catalogue = Catalogue::new(Arc::clone(&copies), self.bridge(), foundation(), all);
        let bridge = self.bridge();
        let holdings = Holdings::new(copies, bridge, foundation(), NEW_CHAIN_EVERY, GRACE);
        (holdings, catalogue)
    }

    fn replicate(&self, stores: Vec<Arc<dyn Store>>) -> Replicated {
        let (holdings, catalogue) = self.holdings(stores);
        let replication = Replication::new(holdings, catalogue, &*self.clock, &Silent);
        replication.run(|| {}).unwrap()
    }

    fn repair(&self, stores: Vec<Arc<dyn Store>>) -> Repaired {
        let (holdings, catalogue) = self.holdings(stores);
        let look = Look {
            catalogue,
            monitor: &Silent,
            scope: Scope {
                read: Some(Part::WHOLE),
            },
            now: self.clock.now(),
        };
        repair(holdings, look, || {}).unwrap()
    }

    /// Keeps the newest backup.
    fn prune(&self, stores: Vec<Arc<dyn Store>>) -> Done {
        let prune = Prune {
            copies: copies(stores),
            bridge: self.bridge(),
            foundation: foundation(),
            signers: Signers::default(),
            worker: Some(self.worker.clone()),
            recovery: None,
            grace: GRACE,
            clock: self.clock.clone(),
            at_once: 4,
        };
        let policy = Policy {
            last: 1,
            ..Policy::default()
        };
        let survey = prune.survey().unwrap();
        let plan = prune.plan(&survey, &policy);
        prune.run(&survey, &plan, &mut |_| {}).unwrap()
    }

    /// Two nights in two stores, of which prune has dropped the first.
    fn dropped(&self) -> (Arc<Memory>, Arc<Memory>) {
        let (one, two) = (self.store("one"), self.store("two"));
        for version in 0..2 {
            self.back_up(&[&one, &two], version, End::Commits);
        }
        let done = self.prune(vec![dynamic(&one), dynamic(&two)]);
        assert_eq!(done.dropped.len(), 1);
        (one, two)
    }

    /// The same after the grace, and swept.
    fn swept(&self) -> (Arc<Memory>, Arc<Memory>) {
        let (one, two) = self.dropped();
        self.pass(GRACE + DAY);
        let done = self.prune(vec![dynamic(&one), dynamic(&two)]);
        assert!(done.chains.iter().any(|chain| chain.freed.objects > 0));
        (one, two)
    }

    /// Takes an instruction out of a store, so that replicate puts it before anything else.
    fn needs_a_put(&self, store: &Memory) {
        let object = ObjectName::new("recover.py").unwrap();
        self.runtime.block_on(store.delete(&object)).unwrap();
    }
}

fn foundation() -> Foundation {
    Foundation::parse("east").unwrap()
}

fn copies(stores: Vec<Arc<dyn Store>>) -> Arc<Copies> {
    Arc::new(Copies::new(stores, 1, Arc::new(Silent)).unwrap())
}

fn dynamic(store: &Arc<Memory>) -> Arc<dyn Store> {
    store.clone()
}

/// Names in a store that begin so.
fn names(store: &Memory, prefix: &str) -> BTreeSet<String> {
    let all = store.names().into_iter();
    all.filter(|name| name.starts_with(prefix)).collect()
}

#[track_caller]
fn all_is_judged(done: &Done) {
    let judged = |looked: &Looked| *looked == Looked::Inside;
    assert!(
        done.chains.iter().all(|chain| judged(&chain.looked)),
        "{:?}",
        done.chains
    );
}

/// Store `two` missed Tuesday; `full` missed Wednesday and fails every put from the first on: of an
/// object on the way, or, `at_once`, before anything of a chain is listed.
fn fails_puts(kind: Kind, at_once: bool) {
    let scene = Scene::new();
    let (full, two) = (scene.store("full"), scene.store("two"));
    scene.back_up(&[&full, &two], 0, End::Commits);
    let monday = names(&full, BACKUPS);
    scene.back_up(&[&full], 1, End::Commits);
    let (until_tuesday, needed) = (names(&full, BACKUPS), names(&full, CHAINS));
    scene.back_up(&[&two], 2, End::Commits);
    let until_wednesday = names(&two, BACKUPS);
    assert_eq!((monday.len(), until_wednesday.len()), (1, 2));
    let chains = needed.iter().map(|name| name.split('/').nth(2).unwrap());
    assert_eq!(chains.collect::<BTreeSet<_>>().len(), 1);
    if at_once {
        scene.needs_a_put(&full);
    }
    let faulty = Arc::new(Faulty::new(full.clone()));
    faulty.fails_puts(0, kind);
    let stores: Vec<Arc<dyn Store>> = vec![faulty, two.clone()];
    let done = scene.replicate(stores);

    let told = format!("{kind:?}, at once: {at_once}: {done:?}");
    let incomplete = |place: usize| done.stores[place].incomplete.as_ref();
    assert!(incomplete(0).is_some(), "{told}");
    assert_eq!(names(&full, BACKUPS), until_tuesday, "{told}");
    let all: BTreeSet<String> = until_tuesday.union(&until_wednesday).cloned().collect();
    if kind == Kind::Transient {
        // It is asked nothing more: what Tuesday needs is not known.
        assert!(incomplete(1).is_some(), "{told}");
        assert_eq!(names(&two, BACKUPS), until_wednesday, "{told}");
    } else {
        // It takes nothing more, and is read as before.
        assert_eq!(incomplete(1), None, "{told}");
        assert_eq!(names(&two, BACKUPS), all, "{told}");
        assert!(names(&two, CHAINS).is_superset(&needed), "{told}");
    }

    let done = scene.replicate(vec![dynamic(&full), dynamic(&two)]);
    assert!(done.stores.iter().all(|store| store.incomplete.is_none()));
    for store in [&full, &two] {
        assert_eq!(names(store, BACKUPS), all, "{told}");
        assert!(names(store, CHAINS).is_superset(&needed), "{told}");
    }
}

#[test]
fn what_only_a_store_has_that_was_left_out_is_listed_nowhere_else() {
    fails_puts(Kind::Transient, false);
    fails_puts(Kind::Transient, true);
}

#[test]
fn a_store_that_takes_nothing_still_fills_the_others() {
    for kind in [Kind::Other, Kind::Denied] {
        fails_puts(kind, false);
        fails_puts(kind, true);
    }
}

#[test]
fn what_a_failed_run_left_in_a_store_that_was_left_out_is_listed_nowhere_else() {
    let scene = Scene::new();
    let (full, two) = (scene.store("full"), scene.store("two"));
    scene.back_up(&[&full, &two], 0, End::Commits);
    scene.back_up(&[&full], 1, End::Leaves);
    let (left, needed) = (names(&full, DROPPED), names(&full, CHAINS));
    assert_eq!(left.len(), 1);
    scene.needs_a_put(&full);
    let faulty = Arc::new(Faulty::new(full.clone()));
    faulty.fails_puts(0, Kind::Transient);
    let stores: Vec<Arc<dyn Store>> = vec![faulty, two.clone()];
    let done = scene.replicate(stores);
    assert_eq!(names(&two, DROPPED).len(), 0, "{done:?}");
    assert!(done.stores[1].incomplete.is_some(), "{done:?}");

    scene.replicate(vec![dynamic(&full), dynamic(&two)]);
    assert_eq!(names(&two, DROPPED), left);
    assert!(names(&two, CHAINS).is_superset(&needed));
}

#[test]
fn an_object_larger_than_any_may_be_is_not_read() {
    for both in [false, true] {
        let scene = Scene::new();
        let (one, two, three) = (scene.store("one"), scene.store("two"), scene.store("three"));
        scene.back_up(&[&one, &two], 0, End::Commits);
        let all = names(&one, CHAINS);
        let chunk = all.iter().find(|name| name.contains("/data/")).unwrap();
        assert!(one.damage(chunk, |bytes| bytes.resize(20 << 20, 0)));
        if both {
            assert!(two.damage(chunk, |bytes| bytes.resize(20 << 20, 0)));
        }
        let sources = [&one, &two].map(|store| Arc::new(Faulty::new(store.clone())));
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for source in &sources {
            stores.push(source.clone());
        }
        stores.push(dynamic(&three));
        let done = scene.replicate(stores);

        for source in &sources {
            let most = source.most_asked();
            assert!(most <= CHUNK_LIMIT + SEAL_OVERHEAD, "{most} bytes");
        }
        let incomplete = |place: usize| done.stores[place].incomplete.clone();
        let why = incomplete(0).unwrap_or_default();
        assert!(
            why.contains("is larger than") && why.contains("repair --read"),
            "{done:?}"
        );
        assert_eq!(incomplete(1).is_some(), both, "{done:?}");
        assert_eq!(incomplete(2).is_some(), both, "{done:?}");
        let listed = usize::from(!both);
        assert_eq!(names(&three, BACKUPS).len(), listed, "{done:?}");
        assert_eq!(names(&three, CHAINS).contains(chunk), !both, "{done:?}");
    }
}

#[test]
fn a_drop_is_copied_while_its_grace_lasts() {
    let scene = Scene::new();
    let (one, two) = scene.dropped();
    let three = scene.store("three");
    scene.replicate(vec![dynamic(&one), dynamic(&two), dynamic(&three)]);
    assert_eq!(names(&three, DROPPED), names(&one, DROPPED));
    assert_eq!(names(&three, DROPPED).len(), 1);
}

#[test]
fn a_backup_is_locked_as_its_chain_is_and_a_drop_is_not() {
    let scene = Scene::new();
    let (one, two) = scene.dropped();
    let three = Arc::new(Faulty::new(scene.store("three")));
    three.lock_for(14 * DAY);
    scene.replicate(vec![dynamic(&one), dynamic(&two), three.clone()]);
    let locked = |folder: &str| {
        let name = names(&one, folder).pop_first().unwrap();
        let name = ObjectName::new(name).unwrap();
        scene
            .bridge()
            .wait(three.get(&name, 1 << 20))
            .unwrap()
            .unwrap();
        three.locked_until(&name)
    };
    assert!(locked(BACKUPS).is_some());
    // Prune is to remove it.
    assert_eq!(locked(DROPPED), None);
}

#[test]
fn a_drop_that_is_swept_begins_no_other_grace_in_a_new_store() {
    let scene = Scene::new();
    let (one, two) = scene.swept();
    assert_eq!(names(&one, DROPPED).len(), 1);
    let three = scene.store("three");
    let stores = || vec![dynamic(&one), dynamic(&two), dynamic(&three)];
    let done = scene.replicate(stores());
    assert!(done.stores.iter().all(|store| store.incomplete.is_none()));
    assert_eq!(names(&three, BACKUPS), names(&one, BACKUPS));
    assert_eq!(names(&three, DROPPED).len(), 0);
    all_is_judged(&scene.prune(stores()));
}

#[test]
fn a_drop_that_is_swept_begins_no_other_grace_when_its_manifest_is_damaged() {
    for in_grace in [true, false] {
        let scene = Scene::new();
        let (one, two) = if in_grace {
            scene.dropped()
        } else {
            scene.swept()
        };
        let stores = || vec![dynamic(&one), dynamic(&two)];
        let dropped = names(&one, DROPPED).pop_first().unwrap();
        assert!(one.damage(&dropped, |bytes| bytes.truncate(10)));
        let done = scene.repair(stores());
        assert!(done.is_good(), "{done:?}");
        assert_eq!(done.mended_objects, u64::from(in_grace), "{done:?}");
        all_is_judged(&scene.prune(stores()));
    }
}
