//! From what was read to what is said. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::super::alerts::{self, MaxAge, Thresholds};
use super::super::{self as report, Origin, Problem};
use super::standing::{coverage, drills, proofs, retention, stores};
use super::{
    Artifact, Backup, CertificateEnd, Certificates, Component, Covered, FORMAT, Hold, Overview,
    Window, calendar, change, downtime,
};
use crate::clock::{self, rfc3339};
use crate::repo::format::FoundationFacts;
use crate::repo::id::BackupId;
use crate::repo::proof::Proof;
use crate::repo::retention::Policy;

/// Certificates that are named at most.
const MOST_ENDS: usize = 20;
/// Artifacts that are named.
const MOST_ARTIFACTS: usize = 10;

/// What was read, from any number of stores.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// Whose.
    pub foundation: String,
    /// The time of the look.
    pub now: SystemTime,
    /// Where the window begins.
    pub since: SystemTime,
    /// Whether the window held too many backups to read them all.
    pub cut: bool,
    /// Every committed backup there is, oldest first.
    pub listed: Vec<Known>,
    /// Names of the stores, as configured.
    pub stores: Vec<String>,
    /// Stores that did not answer.
    pub silent: Vec<Problem>,
    /// The newest backups, oldest first.
    pub backups: Vec<report::Backup>,
    /// Those of the window that could not be read.
    pub unreadable: Vec<Problem>,
    /// Proofs that could be read, and whether a trusted worker signed each; oldest first.
    pub proofs: Vec<(Proof, bool)>,
    /// Why each held backup is.
    pub holds: BTreeMap<BackupId, Vec<String>>,
    /// What prune keeps.
    pub policy: Option<Policy>,
    /// In how many stores a backup must be to count.
    pub min_copies: usize,
    /// What the foundation record says, where it could be opened.
    pub record: Option<Recorded>,
}

/// A committed backup by its name alone.
#[derive(Debug, Clone)]
pub struct Known {
    /// Which.
    pub id: BackupId,
    /// Which stores have it, by their place.
    pub stores: Vec<bool>,
}

/// What is sealed in a foundation record.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Of which backup.
    pub backup: String,
    /// The table of coverage.
    pub coverage: Vec<Covered>,
    /// Name and end of each certificate.
    pub certificates: Vec<(String, String)>,
}

/// Everything, judged by these thresholds.
pub fn compose(seen: &Gathered, thresholds: &Thresholds) -> Overview {
    let drilled = drills(seen);
    let mut overview = Overview {
        format: FORMAT,
        foundation: seen.foundation.clone(),
        generated: rfc3339(seen.now),
        release: concat!("lifeboat ", env!("CARGO_PKG_VERSION")).to_owned(),
        window: window(seen),
        good: false,
        alerts: Vec::new(),
        components: components(seen, &thresholds.max_age),
        proofs: proofs(seen, thresholds),
        drills: drilled,
        days: calendar::days(seen),
        downtime: downtime::of(&seen.backups),
        change: change::of(&seen.backups),
        artifacts: artifacts(&seen.backups),
        stores: stores(seen),
        unreadable: seen.unreadable.clone(),
        coverage: coverage(seen),
        retention: retention(seen),
        holds: holds(seen),
        certificates: certificates(seen, thresholds.certificates),
        backups: backups(seen),
    };
    overview.alerts = alerts::judge(&overview, thresholds);
    overview.good = overview.alerts.is_empty();
    overview
}

/// Parts of `service-instances` come and go; they count as that.
pub(super) fn kind(component: &str) -> &str {
    match component.split_once('/') {
        Some(("service-instances", _)) => "service-instances",
        _ => component,
    }
}

/// How long ago, in whole seconds; zero for what is yet to come.
pub(super) fn age(now: SystemTime, then: SystemTime) -> u64 {
    now.duration_since(then).unwrap_or_default().as_secs()
}

/// The newest backup of each kind of component, and the components of that kind in it.
pub(super) fn newest(
    backups: &[report::Backup],
) -> BTreeMap<String, (&report::Backup, Vec<&report::Component>)> {
    let mut newest = BTreeMap::new();
    for backup in backups {
        for name in kinds(backup) {
            let parts = backup.components.iter();
            let parts = parts.filter(|one| kind(&one.name) == name).collect();
            newest.insert(name, (backup, parts));
        }
    }
    newest
}

/// In the order taken.
fn kinds(backup: &report::Backup) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for component in &backup.components {
        let name = kind(&component.name);
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn window(seen: &Gathered) -> Window {
    Window {
        days: age(seen.now, seen.since) / 86_400,
        since: clock::calendar(seen.since).day,
        listed: seen.listed.len() as u64,
        read: seen.backups.len() as u64,
        cut: seen.cut,
    }
}

fn components(seen: &Gathered, limits: &MaxAge) -> Vec<Component> {
    let newest = newest(&seen.backups);
    let mut names: BTreeSet<&str> = newest.keys().map(String::as_str).collect();
    if let MaxAge::Of(limits) = limits {
        names.extend(limits.keys().map(String::as_str));
    }
    let each = names.into_iter().map(|name| {
        let found = newest.get(name);
        // What was changed behind the beginning of the first part may be missing.
        let as_of = found.and_then(|(_, parts)| parts.iter().map(|part| part.started).min());
        let old = as_of.map(|then| age(seen.now, then));
        let limit = limits.of(name).map(|limit| limit.as_secs());
        let bytes = found.iter().flat_map(|(_, parts)| parts.iter());
        let bytes = bytes.flat_map(|part| &part.artifacts);
        Component {
            name: name.to_owned(),
            backup: found.map(|(backup, _)| backup.id.clone()),
            as_of: as_of.map(rfc3339),
            age_s: old,
            limit_s: limit,
            late: limit.is_some_and(|limit| old.is_none_or(|old| old > limit)),
            copies: found.map_or(0, |(backup, _)| backup.copies.len() as u64),
            bytes: bytes.map(|artifact| artifact.bytes).sum(),
        }
    });
    each.collect()
}

fn artifacts(backups: &[report::Backup]) -> Vec<Artifact> {
    let mut all = Vec::new();
    for (_, parts) in newest(backups).into_values() {
        for part in parts {
            all.extend(part.artifacts.iter().map(|artifact| (part, artifact)));
        }
    }
    let whole: u64 = all.iter().map(|(_, artifact)| artifact.bytes).sum();
    all.sort_by(|(_, a), (_, b)| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    all.truncate(MOST_ARTIFACTS);
    let each = all.into_iter().map(|(part, artifact)| Artifact {
        component: part.name.clone(),
        name: artifact.name.clone(),
        files: artifact.files,
        bytes: artifact.bytes,
        percent: change::percent(artifact.bytes, whole),
    });
    each.collect()
}

fn holds(seen: &Gathered) -> Vec<Hold> {
    let listed: BTreeSet<&BackupId> = seen.listed.iter().map(|known| &known.id).collect();
    let each = seen.holds.iter().map(|(id, why)| Hold {
        backup: id.to_string(),
        why: why.clone(),
        listed: listed.contains(id),
    });
    each.collect()
}

/// By the record where it could be opened, else by what the manifest says in the open.
fn certificates(seen: &Gathered, limit: Duration) -> Option<Certificates> {
    let limit = limit.as_secs();
    let left = |end: &str| seconds_until(seen.now, end);
    let is_soon = |end: &str| {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        left(end).is_none_or(|left| left <= limit)
    };
    let end = |at: &str, name: Option<String>| CertificateEnd {
        at: at.to_owned(),
        soon: is_soon(at),
        name,
    };
    let named = seen.record.iter().flat_map(|record| &record.certificates);
    let named = named.filter(|(_, at)| !at.is_empty());
    let mut ends: Vec<_> = named
        .map(|(name, at)| end(at, Some(name.clone())))
        .collect();
    let mut number = ends.len() as u64;
    let mut backup = seen.record.as_ref().map(|record| record.backup.clone());
    if ends.is_empty() {
        let (of, facts) = facts(&seen.backups)?;
        ends = facts.ends.iter().map(|at| end(at, None)).collect();
        number = facts.certificates;
        backup = Some(of.id.clone());
    }
    ends.sort_by(|a, b| a.at.cmp(&b.at));
    let soon = ends.iter().filter(|end| end.soon).count() as u64;
    ends.truncate(MOST_ENDS);
    let first_end = ends.first()?.at.clone();
    Some(Certificates {
        backup: backup?,
        number,
        first_end_in_s: left(&first_end)?,
        first_end,
        soon,
        limit_s: Some(limit),
        ends,
    })
}

/// Negative when it is over; nothing where it is no time.
fn seconds_until(now: SystemTime, end: &str) -> Option<i64> {
    let end = clock::parse_rfc3339(end)?;
    match end.duration_since(now) {
        Ok(left) => i64::try_from(left.as_secs()).ok(),
        Err(over) => i64::try_from(over.duration().as_secs())
            .ok()
            .map(|over| -over),
    }
}

/// What the newest backup that has `ops-manager` says of the foundation without a key.
pub(super) fn facts(backups: &[report::Backup]) -> Option<(&report::Backup, &FoundationFacts)> {
    backups.iter().rev().find_map(|backup| {
        let mut components = backup.components.iter();
        let facts = components.find_map(|component| component.facts.as_ref())?;
        Some((backup, facts))
    })
}

fn backups(seen: &Gathered) -> Vec<Backup> {
    let each = seen.backups.iter().rev().map(|backup| {
        let id = BackupId::parse(&backup.id).ok();
        let mut proved = BTreeMap::new();
        if let Some(id) = &id {
            // Oldest first: the newest of each level stays.
            for (proof, _) in &seen.proofs {
                if let Some(result) = proof.result_for(id) {
                    let passed = result == crate::repo::proof::Outcome::Passed;
                    proved.insert(proof.level.to_string(), passed);
                }
            }
        }
        let down = backup
            .components
            .iter()
            .filter_map(|one| one.api_unavailable());
        Backup {
            id: backup.id.clone(),
            finished: rfc3339(backup.finished),
            components: kinds(backup),
            bytes: backup.bytes(),
            drained_bytes: backup.drained_bytes,
            changed_bytes: backup.changed_bytes,
            stored_bytes: backup.stored_bytes,
            full: backup.base.is_none(),
            copies: backup.copies.clone(),
            down_ms: down.max().map(clock::millis),
            verified: matches!(backup.origin, Origin::Signed(_)),
            proofs: proved,
            held: id.is_some_and(|id| seen.holds.contains_key(&id)),
        }
    });
    each.collect()
}
