//! The turnstile: every call of every actor to a store waits here until the scheduler lets it pass,
//! so that one call at a time happens, in the order that the seed gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Clock;
use crate::store::memory::Memory;
use crate::store::{Error, Kind, Listed, ObjectName, Store, WriteMode};

/// A clock that the scheduler moves.
#[derive(Debug)]
pub(super) struct ModelClock(AtomicU64);

impl ModelClock {
    pub(super) fn new() -> Self {
        // 2026-11-22T01:02:03Z.
        Self(AtomicU64::new(1_795_309_323))
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ModelClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Happens,
    /// It happens, but its answer is lost.
    Lost,
    /// The store is down.
    Down,
    /// The actor is dead: nothing that it does counts any more.
    Killed,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that wait, by actor, in the order of their tickets.
    waiting: BTreeMap<usize, BTreeMap<u64, String>>,
    decided: BTreeMap<u64, Fate>,
    /// Calls that have passed and are at work.
    inside: usize,
    /// Actors that have not ended.
    alive: BTreeSet<usize>,
    killed: BTreeSet<usize>,
    /// Actors between a look at the clock and the write that depends on it.
    hurried: BTreeSet<usize>,
    tickets: u64,
}

/// Shared by the scheduler and all actors.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    state: Mutex<State>,
    changed: Condvar,
}

impl Turnstile {
    pub(super) fn enter(&self, actor: usize) {
        self.state.lock().unwrap().alive.insert(actor);
    }

    pub(super) fn leave(&self, actor: usize) {
        let mut state = self.state.lock().unwrap();
        state.alive.remove(&actor);
        state.hurried.remove(&actor);
        self.changed.notify_all();
    }

    pub(super) fn hurry(&self, actor: usize) {
        self.state.lock().unwrap().hurried.insert(actor);
    }

    /// From now on nothing that it does counts; what waits is told at once.
    pub(super) fn kill(&self, actor: usize) {
        let mut state = self.state.lock().unwrap();
        state.killed.insert(actor);
        let tickets: Vec<u64> = state
            .waiting
            .remove(&actor)
            .into_iter()
            .flatten()
            .map(|(ticket, _)| ticket)
            .collect();
        state
            .decided
            .extend(tickets.into_iter().map(|ticket| (ticket, Fate::Killed)));
        self.changed.notify_all();
    }

    /// Waits until every actor that is alive wants something of a store; whom, and what.
    pub(super) fn quiet(&self) -> Vec<(usize, String)> {
        let mut state = self.state.lock().unwrap();
        loop {
            let all_wait = state
                .alive
                .iter()
                .all(|actor| state.waiting.contains_key(actor));
            if all_wait && state.inside == 0 && state.decided.is_empty() {
                return state
                    .waiting
                    .iter()
                    .filter_map(|(actor, calls)| Some((*actor, calls.values().next()?.clone())))
                    .collect();
            }
            let (next, waited) = self
                .changed
                .wait_timeout(state, Duration::from_secs(60))
                .unwrap();
            assert!(
                !waited.timed_out(),
                "an actor neither ends nor asks a store: {next:?}"
            );
            state = next;
        }
    }

    /// Whether the clock must not leap: somebody has just looked at it, or writes what another
    /// reads the time of. In the world stores end such calls within minutes.
    pub(super) fn is_hurried(&self) -> bool {
        let state = self.state.lock().unwrap();
        let writes = |call: &String| {
            (call.starts_with("put") && call.contains("/dropped/"))
                || (call.starts_with("delete") && call.contains("/backups/"))
        };
        !state.hurried.is_empty()
            || state
                .waiting
                .values()
                .flat_map(BTreeMap::values)
                .any(writes)
    }

    /// Lets the first call of an actor pass.
    pub(super) fn let_pass(&self, actor: usize, fate: Fate) {
        let mut state = self.state.lock().unwrap();
        let calls = state.waiting.get_mut(&actor).unwrap();
        let (ticket, _) = calls.pop_first().unwrap();
        if calls.is_empty() {
            state.waiting.remove(&actor);
        }
        state.decided.insert(ticket, fate);
        self.changed.notify_all();
    }

    fn pass(&self, actor: usize, call: String) -> Fate {
        let mut state = self.state.lock().unwrap();
        if state.killed.contains(&actor) {
            return Fate::Killed;
        }
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.entry(actor).or_default().insert(ticket, call);
        self.changed.notify_all();
        loop {
            if let Some(fate) = state.decided.remove(&ticket) {
                // The dead are not waited for.
                state.inside += usize::from(fate != Fate::Killed);
                self.changed.notify_all();
                return fate;
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn passed(&self) {
        self.state.lock().unwrap().inside -= 1;
        self.changed.notify_all();
    }
}

/// A store as one actor sees it.
pub(super) struct Gated {
    pub(super) actor: usize,
    pub(super) turnstile: Arc<Turnstile>,
    pub(super) memory: Arc<Memory>,
}

impl Gated {
    /// Blocks the thread on purpose: an actor's runtime has one, so it does one call at a time.
    fn call<T>(
        &self,
        what: &str,
        object: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let error = |kind, message: &str| Err(Error::new(kind, self.name(), object, message));
        let call = format!("{what} {} {object}", self.name());
        let fate = self.turnstile.pass(self.actor, call);
        // Memory never waits.
        let answer = match fate {
            Fate::Killed => error(Kind::Stopped, "killed"),
            Fate::Down => error(Kind::Transient, "is down"),
            Fate::Happens => now(work),
            Fate::Lost => {
                drop(now(work));
                error(Kind::Transient, "its answer was lost")
            }
        };
        if fate != Fate::Killed {
            self.turnstile.passed();
        }
        answer
    }
}

/// Runs what never waits.
fn now<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match work.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a store in memory waits"),
    }
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gated({}, {})", self.actor, self.name())
    }
}

#[async_trait]
impl Store for Gated {
    fn name(&self) -> &str {
        self.memory.name()
    }

    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        self.call("put", name.as_str(), self.memory.put(name, bytes, mode))
    }

    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        self.call("get", name.as_str(), self.memory.get(name, limit))
    }

    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        self.call("head", name.as_str(), self.memory.head(name))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        self.call("list", prefix, self.memory.list(prefix, after))
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.call("folders", prefix, self.memory.folders(prefix))
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.call("delete", name.as_str(), self.memory.delete(name))
    }
}
