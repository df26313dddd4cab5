//! Downtime seen from outside: while a component is locked, pages that its users need are asked for
//! each second, and what they would have lost is written down next to the phases' own times.
//!
//! It never delays the scripts or fails a backup: before the lock it waits a few seconds at most, and when
//! all is unlocked and drained a moment for a page that was down when last asked. A page that does not
//! answer rightly before the lock says nothing about the backup; it is named and not counted.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::discovery::{Found, TAS};
use super::page::{Asked, contains};
use super::settings::{Page, Probe, Settings};
use super::{Context, addresses};
use crate::clock::{self, Clock};
use crate::http::Wait;
use crate::repo::format::DowntimeRecord;
use crate::report::units::count;
use crate::shutdown::Shutdown;

/// From one question to the next.
const PACE: Duration = Duration::from_secs(1);
/// An answer that takes longer is a failed one: a user has given up by then.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the lock waits for the first answers.
const BEFORE: Duration = Duration::from_millis(3500);
/// How long the end waits for one more answer of a page that was down when last asked: a short drain is over
/// before the next question.
const AFTER: Duration = Duration::from_millis(1500);
/// Nobody watches longer than this.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// The pages to watch: those that the configuration names, and those that Ops Manager leads to and none
/// of them is named like. None where the configuration asks for none.
pub(super) fn watched(context: &Context, found: &mut Found) -> Vec<Probe> {
    let mut probes = match &found.settings.probes {
        Some(given) if given.is_empty() => return Vec::new(),
        given => given.clone().unwrap_or_default(),
    };
    let named: Vec<_> = probes.iter().map(|probe| probe.name.clone()).collect();
    let mut more = led_to(context, found);
    more.retain(|probe| !named.contains(&probe.name));
    probes.extend(more);
    probes
}

fn led_to(context: &Context, found: &mut Found) -> Vec<Probe> {
    let settings = &found.settings;
    let Some(asked) = &mut found.asked else {
        return Vec::new();
    };
    let inventory = &settings.foundation.inventory;
    let given = inventory.cloud_controller.clone().unwrap_or_default();
    let tas = asked.products.iter().find(|product| product.kind == TAS);
    let wait = Wait::unless(&context.shutdown);
    let api = addresses::cloud_controller(&given, Some(&mut asked.client), tas, &wait);
    let probe = |name: &str, url: String, ca_cert: Option<&String>| Probe {
        name: name.to_owned(),
        page: Page {
            url,
            status: 200,
            ca_cert: ca_cert.cloned(),
        },
        contains: None,
        found: true,
    };
    let mut probes = Vec::new();
    if let Some(url) = api.filter(|_| tas.is_some()) {
        let url = url.trim_end_matches('/');
        let ca_cert = given.ca_cert.as_ref();
        probes.push(probe("api", format!("{url}/v3/info"), ca_cert));
        if let Some(domain) = url.strip_prefix("https://api.") {
            probes.push(probe(
                "uaa",
                format!("https://uaa.{domain}/healthz"),
                ca_cert,
            ));
        }
    }
    if let Some(url) = addresses::credhub(settings, true) {
        let own = inventory.credhub.as_ref();
        let ca_cert = own.and_then(|api| api.ca_cert.as_ref());
        probes.push(probe(
            "credhub",
            format!("{}/health", url.trim_end_matches('/')),
            ca_cert,
        ));
    }
    probes
}

/// Probes of one component while it is taken.
pub(super) struct Probing {
    shared: Arc<Shared>,
    probes: Vec<Probe>,
}

struct Shared {
    stop: Shutdown,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When the lock began and the unlock ended.
    locked: Option<Instant>,
    unlocked: Option<Instant>,
    seen: Vec<Seen>,
}

/// What one probe saw.
#[derive(Debug, Default)]
struct Seen {
    /// Whether it answered rightly before the lock; why not.
    before: Option<Result<(), String>>,
    asked: u64,
    failed: u64,
    down: Duration,
    down_since: Option<Instant>,
    last_bad: Option<Instant>,
    first: Option<SystemTime>,
    last: Option<SystemTime>,
    /// Whether a question fell into the lock.
    within: bool,
}

impl Seen {
    fn note(&mut self, began: Instant, at: SystemTime, answer: &Result<(), String>) {
        self.asked += 1;
        match answer {
            Ok(()) => {
                if let Some(since) = self.down_since.take() {
                    self.down += began.saturating_duration_since(since);
                }
            }
            Err(_) => {
                self.failed += 1;
                self.down_since.get_or_insert(began);
                self.last_bad = Some(Instant::now());
                self.first.get_or_insert(at);
                self.last = Some(at);
            }
        }
    }

    fn record(&self, probe: &str) -> DowntimeRecord {
        let still = self.down_since.is_some();
        let open = self
            .down_since
            .zip(self.last_bad)
            .map_or(Duration::ZERO, |(since, last)| {
                last.saturating_duration_since(since)
            });
        DowntimeRecord {
            probe: probe.to_owned(),
            asked: self.asked,
            failed: self.failed,
            ms: clock::millis(self.down + open),
            first: self.first.map(clock::rfc3339),
            last: self.last.map(clock::rfc3339),
            still,
        }
    }
}

impl Probing {
    /// Asks each page once, then each second from a thread of its own. `None` without any.
    /// Without certificates of their own, pages must prove themselves by those of the foundation.
    pub(super) fn start(context: &Context, settings: &Settings) -> Option<Self> {
        let probes = settings.probes.as_deref().unwrap_or_default();
        let api = settings.foundation.bosh.as_ref();
        let authorities = api.and_then(|api| api.ca_cert.as_deref());
        if probes.is_empty() {
            return None;
        }
        let shared = Arc::new(Shared {
            stop: context.shutdown.limited(LONGEST),
            clock: Arc::clone(&context.clock),
            state: Mutex::new(State {
                seen: probes.iter().map(|_| Seen::default()).collect(),
                ..State::default()
            }),
            answered: Condvar::new(),
        });
        for (place, probe) in probes.iter().enumerate() {
            let asker = Asker::new(context, probe, authorities);
            let shared = Arc::clone(&shared);
            let name = format!("probe-{}", probe.name);
            let spawned = thread::Builder::new()
                .name(name)
                .spawn(move || match asker {
                    Ok(asker) => shared.watch(place, &asker),
                    Err(problem) => shared.first(place, Err(problem)),
                });
            if spawned.is_err() {
                context
                    .monitor
                    .warn(&format!("probe {}: no thread to watch with", probe.name));
            }
        }
        let probing = Self {
            shared,
            probes: probes.to_vec(),
        };
        probing.before(context);
        Some(probing)
    }

    /// Waits for the first answers, not for long, and says which probes do not count.
    fn before(&self, context: &Context) {
        let state = self.shared.lock();
        let (mut state, _) = self
            .shared
            .answered
            .wait_timeout_while(state, BEFORE, |state| {
                !context.shutdown.is_raised() && state.seen.iter().any(|seen| seen.before.is_none())
            })
            .unwrap_or_else(PoisonError::into_inner);
        for (seen, probe) in state.seen.iter_mut().zip(&self.probes) {
            let before = seen
                .before
                .get_or_insert_with(|| Err("it does not answer".to_owned()));
            if let Err(why) = before {
                let said = format!(
                    "probe {}: not right before the lock ({why}), so it says nothing about this backup and is not counted",
                    probe.name
                );
                if probe.found {
                    // Nobody asked for it: the worker may have no way there.
                    context
                        .monitor
                        .info(&format!("{said}; `probes` says what to watch instead"));
                } else {
                    context.monitor.warn(&said);
                }
            }
        }
        state.locked = Some(Instant::now());
    }

    /// The scripts have ended; each probe goes on until it answers again.
    pub(super) fn unlocked(&self) {
        self.shared.lock().unlocked.get_or_insert_with(Instant::now);
    }

    /// What was seen. Waits for nobody for long.
    pub(super) fn end(self, context: &Context, component: &str) -> Vec<DowntimeRecord> {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .answered
            .wait_timeout_while(state, AFTER, |state| {
                !context.shutdown.is_raised()
                    && state.seen.iter().any(|seen| seen.down_since.is_some())
            })
            .unwrap_or_else(PoisonError::into_inner);
        self.shared.stop.raise();
        let (records, lines) = told(component, &state.seen, &self.probes);
        drop(state);
        for line in lines {
            context.monitor.info(&line);
        }
        records
    }
}

/// What is stored, and what is said. Who was not asked while the component was locked saw nothing: stored
/// it would read as if nothing had been down.
fn told(component: &str, seen: &[Seen], probes: &[Probe]) -> (Vec<DowntimeRecord>, Vec<String>) {
    let (mut records, mut lines) = (Vec::new(), Vec::new());
    for (seen, probe) in seen.iter().zip(probes) {
        if !matches!(seen.before, Some(Ok(()))) {
            continue;
        }
        if seen.within || seen.failed > 0 {
            let record = seen.record(&probe.name);
            lines.push(said(component, &record));
            records.push(record);
        } else {
            lines.push(format!(
                "{component}: seen from outside: {} was not asked, for the lock was over before its next question; it says nothing about this backup and is not counted",
                probe.name
            ));
        }
    }
    (records, lines)
}

/// One line for people.
fn said(component: &str, one: &DowntimeRecord) -> String {
    let head = format!("{component}: seen from outside: {}", one.probe);
    let (Some(first), Some(last)) = (&one.first, &one.last) else {
        return format!("{head} answered all of {} questions", count(one.asked));
    };
    format!(
        "{head} was down for {} ({} of {} answers failed, the first at {first}, the last at {last}{})",
        clock::spoken(Duration::from_millis(one.ms)),
        count(one.failed),
        count(one.asked),
        if one.still {
            "; it had not come back when this was written"
        } else {
            ""
        }
    )
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self, place: usize, answer: Result<(), String>) {
        let mut state = self.lock();
        if let Some(seen) = state.seen.get_mut(place) {
            seen.before.get_or_insert(answer);
        }
        self.answered.notify_all();
    }

    /// Asks until it is told to stop, or has a right answer to a question from after the unlock.
    fn watch(&self, place: usize, asker: &Asker) {
        let mut next = Instant::now();
        loop {
            let (began, at) = (Instant::now(), self.clock.now());
            let answer = asker.ask(&self.stop);
            if self.stop.is_raised() {
                return;
            }
            if self.over(place, began, at, answer) {
                return;
            }
            next = (next + PACE).max(Instant::now());
            if self
                .stop
                .sleep(next.saturating_duration_since(Instant::now()))
                .is_err()
            {
                return;
            }
        }
    }

    fn over(
        &self,
        place: usize,
        began: Instant,
        at: SystemTime,
        answer: Result<(), String>,
    ) -> bool {
        let mut state = self.lock();
        let (locked, unlocked) = (state.locked, state.unlocked);
        let Some(seen) = state.seen.get_mut(place) else {
            return true;
        };
        if locked.is_none_or(|locked| began < locked) {
            drop(state);
            self.first(place, answer);
            return false;
        }
        if !matches!(seen.before, Some(Ok(()))) {
            return true;
        }
        seen.within |= unlocked.is_none_or(|unlocked| began < unlocked);
        seen.note(began, at, &answer);
        self.answered.notify_all();
        answer.is_ok() && unlocked.is_some_and(|unlocked| began >= unlocked)
    }
}

/// One page.
struct Asker {
    page: Asked,
    contains: Option<String>,
}

impl Asker {
    fn new(context: &Context, probe: &Probe, authorities: Option<&str>) -> Result<Self, String> {
        let page = Asked::new(context, &probe.page, authorities, PATIENCE);
        Ok(Self {
            page: page.map_err(|error| format!("{error:#}"))?,
            contains: probe.contains.clone(),
        })
    }

    /// Why the answer is not right.
    fn ask(&self, stop: &Shutdown) -> Result<(), String> {
        let answer = self.page.answer(stop);
        answer
            .and_then(|answer| contains(&answer, self.contains.as_deref()))
            .map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_the_first_bad_question_to_the_first_good_one() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let time = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let bad = Err("502".to_owned());
        let mut seen = Seen::default();
        for (second, good) in [
            (0, true),
            (1, false),
            (2, false),
            (5, true),
            (6, false),
            (7, true),
        ] {
            let answer = if good { Ok(()) } else { bad.clone() };
            seen.note(at(second), time(second), &answer);
        }
        let record = seen.record("api");
        assert_eq!((record.asked, record.failed, record.ms), (6, 3, 5000));
        assert_eq!(record.first.as_deref(), Some("1970-01-01T00:00:01Z"));
        assert_eq!(record.last.as_deref(), Some("1970-01-01T00:00:06Z"));
        assert!(!record.still);
        assert!(said("tas", &record).contains("was down for 5.0 s (3 of 6 answers failed"));
        seen.note(at(8), time(8), &bad);
        assert!(seen.record("api").still);
        let quiet = Seen {
            asked: 4,
            ..Seen::default()
        }
        .record("app");
        assert_eq!(
            said("tas", &quiet),
            "tas: seen from outside: app answered all of 4 questions"
        );
    }

    #[test]
    fn who_was_not_asked_while_it_was_locked_saw_no_downtime_of_zero() {
        let probe = |name: &str| Probe {
            name: name.to_owned(),
            page: Page {
                url: "https://app.example.com/".to_owned(),
                status: 200,
                ca_cert: None,
            },
            contains: None,
            found: false,
        };
        let seen = |asked: u64, failed: u64, within: bool| Seen {
            before: Some(Ok(())),
            asked,
            failed,
            within,
            ..Seen::default()
        };
        let probes = [
            probe("never"),
            probe("after"),
            probe("within"),
            probe("slow"),
        ];
        // Not at all; once, when all was unlocked again; in the lock; wrong after it.
        let answers = [
            seen(0, 0, false),
            seen(1, 0, false),
            seen(1, 0, true),
            seen(1, 1, false),
        ];
        let (records, lines) = told("tas", &answers, &probes);
        let names: Vec<_> = records.iter().map(|one| one.probe.as_str()).collect();
        assert_eq!(names, ["within", "slow"]);
        assert_eq!(lines.len(), 4);
        for (line, name) in lines.iter().zip(["never", "after"]) {
            let words = format!("tas: seen from outside: {name} was not asked, for the lock");
            assert!(line.starts_with(&words), "{line}");
        }
    }
}
