//! Backups, prunes, clocks and stores in random interleavings, at each single call of a store, with
//! the real code of both: after every step, all that a listed backup needs must be in each store
//! that lists it. And when all is quiet again, nothing else is left.
//!
//! `LIFEBOAT_MODEL_SECONDS` lets it run longer (CONTRIBUTING.md). The schedule comes from the seed, keys and
//! so names do not: a seed that fails may take some repetitions.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::world::{Fate, Gated, ModelClock, Turnstile};
use super::{Policy, Prune};
use crate::artifact::{EntrySink as _, Form};
use crate::clock::Clock as _;
use crate::monitor::Silent;
use crate::repo::Settings;
use crate::repo::bridge::Bridge;
use crate::repo::catalogue::Catalogue;
use crate::repo::format::{ComponentRecord, PAGE_LIMIT};
use crate::repo::id::{BackupId, ComponentName, Foundation};
use crate::repo::index::chunk_table;
use crate::repo::objects::Named;
use crate::repo::reader::Fetcher;
use crate::repo::run::{Run, Summary};
use crate::repo::seal::{Identity, Opener, Recipients};
use crate::repo::sign::{Signers, WorkerIdentity};
use crate::repo::writer::ArtifactName;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::copies::Copies;
use crate::store::faulty::Faulty;
use crate::store::memory::Memory;

const DAY: Duration = Duration::from_secs(86_400);
const GRACE: Duration = Duration::from_secs(7 * 86_400);
/// Artifacts of a backup, one chunk each.
const ARTIFACTS: usize = 3;
/// Calls of stores in one scenario.
const STEPS: usize = 700;

/// What is done wrong on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Prune sweeps what is older than an hour.
    NoGrace,
    /// Backups commit however long they took.
    NoHaste,
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

struct Model {
    clock: Arc<ModelClock>,
    turnstile: Arc<Turnstile>,
    memories: Vec<Arc<Memory>>,
    worker: WorkerIdentity,
    recovery: Opener,
    wrong: Wrong,
    actors: usize,
    threads: BTreeMap<usize, JoinHandle<()>>,
    /// What each backup needs, as names; read when it was first listed.
    needs: BTreeMap<BackupId, BTreeSet<String>>,
    runtime: tokio::runtime::Runtime,
    committed: Arc<AtomicUsize>,
    pruned: Arc<AtomicUsize>,
    log: Vec<String>,
    /// The clock leaps at one call in so many.
    pace: u64,
}

fn foundation() -> Foundation {
    Foundation::parse("east").unwrap()
}

fn component() -> ComponentName {
    ComponentName::parse("tas").unwrap()
}

impl Model {
    fn new(wrong: Wrong) -> Self {
        let clock = Arc::new(ModelClock::new());
        let memory = |name: &str| Arc::new(Memory::new(name, clock.clone()));
        Self {
            memories: vec![memory("dc2"), memory("nas")],
            clock: Arc::clone(&clock),
            turnstile: Arc::default(),
            worker: WorkerIdentity::parse(&WorkerIdentity::generate("w").unwrap()).unwrap(),
            recovery: Opener::generate(),
            wrong,
            actors: 0,
            threads: BTreeMap::new(),
            needs: BTreeMap::new(),
            runtime: runtime(),
            committed: Arc::default(),
            pruned: Arc::default(),
            log: Vec::new(),
            pace: 12,
        }
    }

    /// The stores as an actor sees them, and its number.
    fn actor(&mut self) -> (usize, Arc<Copies>) {
        self.actors += 1;
        let actor = self.actors;
        let gated = self.memories.iter().map(|memory| {
            Arc::new(Gated {
                actor,
                turnstile: Arc::clone(&self.turnstile),
                memory: Arc::clone(memory),
            }) as Arc<dyn Store>
        });
        let copies = Copies::new(gated.collect(), 1, Arc::new(Silent)).unwrap();
        (actor, Arc::new(copies))
    }

    fn start(&mut self, actor: usize, work: impl FnOnce(&Bridge) + Send + 'static) {
        self.turnstile.enter(actor);
        let turnstile = Arc::clone(&self.turnstile);
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            work(&Bridge::new(runtime.handle().clone(), Shutdown::never()));
            turnstile.leave(actor);
            runtime.shutdown_background();
        });
        self.threads.insert(actor, thread);
    }

    fn start_backup(&mut self, versions: [u64; ARTIFACTS]) {
        let (actor, copies) = self.actor();
        let settings = Settings {
            foundation: foundation(),
            recipients: Recipients::parse(&[self.recovery.recipient()]).unwrap(),
            worker: Some(self.worker.clone()),
            signers: Signers::default().and(Some(&self.worker)),
            new_chain_every: 20 * DAY,
            grace: match self.wrong {
                Wrong::NoHaste => 1000 * DAY,
                _ => GRACE,
            },
        };
        let (clock, turnstile) = (Arc::clone(&self.clock), Arc::clone(&self.turnstile));
        let committed = Arc::clone(&self.committed);
        self.log.push(format!("{actor} begins a backup"));
        self.start(actor, move |bridge| {
            let asked = [component()];
            let begun = clock.now();
            let run = Run::begin(settings, copies, bridge.clone(), &asked, &*clock, &Silent);
            let Ok(run) = run else { return };
            let mut artifacts = Vec::new();
            for (number, version) in versions.iter().enumerate() {
                let name = ArtifactName {
                    component: component(),
                    name: format!("a{number}"),
                    form: Form::File,
                    bbr: None,
                };
                let content = format!("artifact {number}, version {version}");
                let Ok(mut writer) = run.artifact(name) else {
                    return;
                };
                let size = content.len() as u64;
                if writer.file(&[], size, &mut content.as_bytes()).is_err()
                    || writer.end(0).is_err()
                {
                    return;
                }
                let Ok((record, _)) = writer.finish() else {
                    return;
                };
                artifacts.push(record);
            }
            if run.flush().is_err() {
                return;
            }
            turnstile.hurry(actor);
            let time = crate::clock::rfc3339(begun);
            let summary = Summary {
                components: vec![ComponentRecord {
                    notes: Vec::new(),
                    downtime: Vec::new(),
                    facts: None,
                    name: component(),
                    started: time.clone(),
                    finished: time,
                    phases: Vec::new(),
                    artifacts,
                }],
                drained_bytes: 0,
                build: None,
            };
            if run.commit(summary, &*clock).is_ok() {
                committed.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    fn start_prune(&mut self, policy: Policy) {
        let (actor, copies) = self.actor();
        let wrong = self.wrong;
        let (clock, worker) = (Arc::clone(&self.clock), self.worker.clone());
        let pruned = Arc::clone(&self.pruned);
        self.log.push(format!("{actor} begins a prune"));
        self.start(actor, move |bridge| {
            let prune = Prune {
                copies,
                bridge: bridge.clone(),
                foundation: foundation(),
                signers: Signers::default().and(Some(&worker)),
                worker: Some(worker),
                recovery: None,
                grace: match wrong {
                    Wrong::NoGrace => Duration::ZERO,
                    _ => GRACE,
                },
                clock,
                at_once: 1,
            };
            let Ok(survey) = prune.survey() else { return };
            let plan = prune.plan(&survey, &policy);
            if prune.run(&survey, &plan, &mut |_| {}).is_ok() {
                pruned.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Forgets the threads that have ended.
    fn reap(&mut self) {
        let ended: Vec<usize> = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.is_finished())
            .map(|(actor, _)| *actor)
            .collect();
        for actor in ended {
            self.threads.remove(&actor).unwrap().join().unwrap();
        }
    }

    /// What is wrong, if anything is.
    fn check(&mut self) -> Result<(), String> {
        for memory in self.memories.clone() {
            let names: BTreeSet<String> = memory.names().into_iter().collect();
            for name in names
                .iter()
                .filter(|name| name.starts_with("east/backups/"))
            {
                let Some(Named::Manifest(id)) = Named::parse(&foundation(), name) else {
                    continue;
                };
                let store = memory.name();
                if !self.needs.contains_key(&id) {
                    let needs = self.needs_of(&id, &memory);
                    let needs = needs.map_err(|why| format!("{id} in {store}: {why}"))?;
                    self.needs.insert(id.clone(), needs);
                }
                if let Some(lost) = self.needs[&id].iter().find(|need| !names.contains(*need)) {
                    return Err(format!("{store} lists {id} and lacks {lost}"));
                }
            }
        }
        Ok(())
    }

    /// Everything that a backup needs, found in this store alone.
    fn needs_of(&self, id: &BackupId, memory: &Arc<Memory>) -> Result<BTreeSet<String>, String> {
        let store: Arc<dyn Store> = memory.clone();
        let copies = Arc::new(Copies::new(vec![store], 1, Arc::new(Silent)).unwrap());
        let bridge = Bridge::new(self.runtime.handle().clone(), Shutdown::never());
        let told = |error: crate::repo::Error| error.to_string();
        let (all, of) = (Signers::default(), foundation());
        let catalogue = Catalogue::new(Arc::clone(&copies), bridge.clone(), of, all);
        let manifest = catalogue.manifest(id).map_err(told)?.signed.manifest;
        let fetcher = Fetcher::new(copies, bridge, foundation());
        let identity = Identity::parse(&self.recovery.secret()).unwrap();
        let keys = fetcher.keys(&manifest, &identity).map_err(told)?;
        let chain = &manifest.chain.id;
        let mut needs = BTreeSet::new();
        for file in ["recovery.age", "worker.age"] {
            needs.insert(foundation().chain_file(chain, file).to_string());
        }
        for component in &manifest.components {
            for artifact in &component.artifacts {
                let root = fetcher.root(chain, component, artifact, &keys.index);
                let root = root.map_err(told)?;
                needs.insert(foundation().index(chain, &artifact.root).to_string());
                for record in &root.files {
                    needs.insert(foundation().index(chain, &record.page).to_string());
                    let page = fetcher.index(chain, &record.page, &keys.index, PAGE_LIMIT);
                    for chunk in chunk_table("page", &page.map_err(told)?).map_err(told)? {
                        needs.insert(foundation().data(chain, &chunk.0).to_string());
                    }
                }
            }
        }
        Ok(needs)
    }

    /// One call of one actor, and maybe a leap of the clock, a death, a store that goes down.
    fn step(&mut self, random: &mut Random, calm: bool, down: &mut Option<usize>) -> bool {
        let waiting = self.turnstile.quiet();
        self.reap();
        if waiting.is_empty() {
            return false;
        }
        let at = usize::try_from(random.below(waiting.len() as u64)).unwrap();
        let (actor, call) = &waiting[at];
        if !calm && random.one_in(150) {
            self.log.push(format!("{actor} is killed before {call}"));
            self.turnstile.kill(*actor);
            return true;
        }
        if random.one_in(self.pace) && !self.turnstile.is_hurried() {
            let most = if random.one_in(4) { 60 } else { 10 };
            let hours = 1 + random.below(most);
            self.log.push(format!("{hours} hours pass"));
            self.clock.advance(Duration::from_secs(hours * 3600));
        } else {
            self.clock.advance(Duration::from_secs(random.below(5)));
        }
        if down.is_some() && random.one_in(15) {
            *down = None;
        } else if !calm && down.is_none() && random.one_in(120) {
            *down = Some(usize::try_from(random.below(2)).unwrap());
        }
        let is_down = down.is_some_and(|place| call.contains(self.memories[place].name()));
        let fate = if is_down {
            Fate::Down
        } else if !calm && random.one_in(300) {
            Fate::Lost
        } else {
            Fate::Happens
        };
        self.log.push(format!("{actor} {call}: {fate:?}"));
        self.turnstile.let_pass(*actor, fate);
        true
    }

    /// Lets all that runs come to its end.
    fn finish(&mut self, random: &mut Random) -> Result<(), String> {
        while self.step(random, true, &mut None) {
            self.turnstile.quiet();
            self.check()?;
        }
        Ok(())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// One scenario: what went wrong, with the last steps; else how many backups and prunes ended well.
fn scenario(seed: u64, wrong: Wrong) -> Result<(usize, usize), String> {
    let mut model = Model::new(wrong);
    let mut random = Random(seed);
    // From runs that take weeks to some that take hours.
    model.pace = [3, 12, 50][usize::try_from(random.below(3)).unwrap()];
    let result = play(&mut model, &mut random);
    if result.is_err() {
        for actor in 1..=model.actors {
            model.turnstile.kill(actor);
        }
    }
    for (_, thread) in std::mem::take(&mut model.threads) {
        thread.join().unwrap();
    }
    let counts = (
        model.committed.load(Ordering::SeqCst),
        model.pruned.load(Ordering::SeqCst),
    );
    result.map(|()| counts).map_err(|why| {
        let log = &model.log[model.log.len().saturating_sub(80)..];
        format!("seed {seed}: {why}; the last steps:\n{}", log.join("\n"))
    })
}

fn play(model: &mut Model, random: &mut Random) -> Result<(), String> {
    let mut versions = [0; ARTIFACTS];
    let mut down = None;
    for _ in 0..STEPS {
        let running = model.threads.len();
        if running == 0 || (running < 4 && random.one_in(20)) {
            if random.one_in(2) {
                for version in &mut versions {
                    *version += u64::from(random.one_in(3));
                }
                model.start_backup(versions);
            } else {
                let last = 1 + random.below(2);
                model.start_prune(Policy {
                    last,
                    ..Policy::default()
                });
            }
        }
        model.step(random, false, &mut down);
        model.turnstile.quiet();
        model.check()?;
    }
    model.finish(random)?;
    // When all is quiet, a prune finishes what others left, and after the grace nothing is there
    // that is not needed.
    for _ in 0..2 {
        model.clock.advance(GRACE + DAY);
        let before = model.pruned.load(Ordering::SeqCst);
        model.start_prune(Policy {
            last: 1,
            ..Policy::default()
        });
        model.finish(random)?;
        if model.pruned.load(Ordering::SeqCst) == before {
            return Err("a prune of a quiet repository failed".to_owned());
        }
    }
    for memory in &model.memories {
        let names: BTreeSet<String> = memory.names().into_iter().collect();
        let listed = model.needs.iter().filter(|(id, _)| {
            let listed = |memory: &Arc<Memory>| {
                memory
                    .names()
                    .contains(&foundation().manifest(id).to_string())
            };
            model.memories.iter().any(listed)
        });
        let needed: BTreeSet<&String> = listed.flat_map(|(_, needs)| needs).collect();
        let left = names
            .iter()
            .find(|name| name.starts_with("east/chains/") && !needed.contains(name));
        if let Some(left) = left {
            return Err(format!(
                "{} still has {left}, which nothing needs",
                memory.name()
            ));
        }
    }
    Ok(())
}

#[test]
fn no_interleaving_of_backups_and_prunes_loses_what_a_listed_backup_needs() {
    #[allow(
        clippy::disallowed_methods,
        reason = "how long to look is the developer's to say"
    )]
    let seconds = std::env::var("LIFEBOAT_MODEL_SECONDS");
    let seconds = seconds
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let begun = Instant::now();
    let first = u64::from(std::process::id()) << 20;
    let (mut scenarios, mut backups, mut prunes) = (0, 0, 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        match scenario(first + scenarios, Wrong::Nothing) {
            Ok((committed, pruned)) => {
                backups += committed;
                prunes += pruned;
            }
            Err(why) => panic!("{why}"),
        }
        scenarios += 1;
    }
    println!("{scenarios} scenarios from seed {first}, {backups} backups, {prunes} prunes");
    assert!(scenarios > 0 && backups > 0 && prunes > 0);
}

/// A test that cannot fail shows nothing.
#[test]
fn what_is_done_wrong_is_noticed() {
    for wrong in [Wrong::NoGrace, Wrong::NoHaste] {
        let mut seeds = 0..300;
        let noticed = seeds.find_map(|seed| scenario(seed, wrong).err());
        println!("{wrong:?}: noticed in scenario {}", seeds.start);
        let noticed = noticed.unwrap_or_else(|| panic!("{wrong:?} was not noticed"));
        assert!(
            noticed.contains("lacks") || noticed.contains("cannot be read"),
            "{noticed}"
        );
    }
}

/// Two backups, and a prune over the same stores that nobody else uses at the moment.
fn two_backups(lock: bool) -> (Model, Prune) {
    let mut model = Model::new(Wrong::Nothing);
    let mut random = Random(7);
    for version in 0..2 {
        model.pace = u64::MAX;
        model.start_backup([version; ARTIFACTS]);
        model.finish(&mut random).unwrap();
        model.clock.advance(DAY);
    }
    let stores = model.memories.iter().map(|memory| {
        let faulty = Faulty::new(memory.clone());
        faulty.locks_deletes(lock);
        Arc::new(faulty) as Arc<dyn Store>
    });
    let copies = Copies::new(stores.collect(), 1, Arc::new(Silent)).unwrap();
    let prune = Prune {
        copies: Arc::new(copies),
        bridge: Bridge::new(model.runtime.handle().clone(), Shutdown::never()),
        foundation: foundation(),
        signers: Signers::default(),
        worker: Some(model.worker.clone()),
        recovery: None,
        grace: GRACE,
        clock: model.clock.clone(),
        at_once: 4,
    };
    (model, prune)
}

#[test]
fn a_hold_that_comes_between_plan_and_drop_counts() {
    let (mut model, prune) = two_backups(false);
    let survey = prune.survey().unwrap();
    let policy = Policy {
        last: 1,
        ..Policy::default()
    };
    let plan = prune.plan(&survey, &policy);
    let goes = plan.drops().next().unwrap().id.clone();
    let hold = super::Hold::new(&goes, "2026-11-22T01:02:03Z".to_owned(), "audit", None);
    prune.holds().put(&hold).unwrap();
    let mut said = Vec::new();
    let done = prune.run(&survey, &plan, &mut |line| said.push(line.to_owned()));
    let done = done.unwrap();
    assert_eq!((done.dropped.len(), &done.held), (0, &vec![goes.clone()]));
    assert!(said[0].contains("audit"), "{said:?}");
    let manifest = foundation().manifest(&goes).to_string();
    assert!(model.memories.iter().all(|m| m.names().contains(&manifest)));
    model.check().unwrap();
}

#[test]
fn what_another_prune_has_dropped_is_told_apart() {
    let (_model, prune) = two_backups(false);
    let survey = prune.survey().unwrap();
    let policy = Policy {
        last: 1,
        ..Policy::default()
    };
    let plan = prune.plan(&survey, &policy);
    let goes = plan.drops().next().unwrap().id.clone();
    let first = prune.run(&survey, &plan, &mut |_| {}).unwrap();
    assert_eq!((first.dropped, first.gone), (vec![goes.clone()], vec![]));
    // It looked when the other one did.
    let second = prune.run(&survey, &plan, &mut |_| {}).unwrap();
    assert_eq!((second.dropped, second.gone), (vec![], vec![goes]));
}

#[test]
fn what_is_locked_is_counted_and_goes_another_day() {
    let (model, prune) = two_backups(true);
    let survey = prune.survey().unwrap();
    let policy = Policy {
        last: 1,
        ..Policy::default()
    };
    let plan = prune.plan(&survey, &policy);
    let done = prune.run(&survey, &plan, &mut |_| {}).unwrap();
    assert_eq!((done.dropped.len(), done.locked), (0, 2));
    let before: Vec<_> = model.memories.iter().map(|m| m.names().len()).collect();
    model.clock.advance(GRACE + DAY);
    let survey = prune.survey().unwrap();
    let plan = prune.plan(&survey, &policy);
    prune.run(&survey, &plan, &mut |_| {}).unwrap();
    let after: Vec<_> = model.memories.iter().map(|m| m.names().len()).collect();
    assert_eq!(after, before, "nothing could be deleted");
}
