//! How long APIs were away, and whether that grows.

use std::collections::BTreeMap;

use super::super::alerts::LEAST_COMPARED;
use super::super::{self as report};
use super::compose::kind;
use super::{Downtime, Phases, Seen};
use crate::clock::millis;

/// How many backups the newest is compared with.
const COMPARED: usize = 30;
/// How many are told one by one.
const TOLD: usize = 60;

/// Component by component; `backups` are oldest first.
pub(super) fn of(backups: &[report::Backup]) -> Vec<Downtime> {
    let mut histories: BTreeMap<String, Vec<Phases>> = BTreeMap::new();
    for backup in backups {
        for (component, phases) in phases(backup) {
            histories.entry(component).or_default().push(phases);
        }
    }
    let each = histories.into_iter().filter_map(|(component, mut all)| {
        let newest = all.last()?.clone();
        let before = &all[..all.len() - 1];
        let before = &before[before.len().saturating_sub(COMPARED)..];
        let usual = (before.len() >= LEAST_COMPARED).then(|| median(before));
        let growth = usual.as_ref().and_then(|usual| ratio(&newest, usual));
        let compared = before.len() as u64;
        all.drain(..all.len().saturating_sub(TOLD));
        let seen = backups.iter().find(|backup| backup.id == newest.backup);
        let seen = seen.map(|backup| seen_in(backup, &component));
        Some(Downtime {
            component,
            newest,
            usual,
            compared,
            growth,
            history: all,
            seen: seen.unwrap_or_default(),
        })
    });
    each.collect()
}

/// Of parts that ran side by side the longest counts.
fn phases(backup: &report::Backup) -> BTreeMap<String, Phases> {
    let mut found: BTreeMap<String, Phases> = BTreeMap::new();
    for component in &backup.components {
        if component.api_unavailable().is_none() {
            continue;
        }
        let phase = |name| millis(component.phase(name));
        let of = found.entry(kind(&component.name).to_owned()).or_default();
        of.backup.clone_from(&backup.id);
        of.lock_ms = of.lock_ms.max(phase("lock"));
        of.backup_ms = of.backup_ms.max(phase("backup"));
        of.unlock_ms = of.unlock_ms.max(phase("unlock"));
        of.drain_ms = of.drain_ms.max(phase("drain"));
        of.down_ms = of.lock_ms + of.backup_ms + of.unlock_ms;
    }
    found
}

/// Of parts that ran side by side the longest outage counts.
fn seen_in(backup: &report::Backup, component: &str) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    let parts = backup.components.iter();
    for one in parts
        .filter(|part| kind(&part.name) == component)
        .flat_map(|part| &part.downtime)
    {
        let seen = Seen {
            probe: one.probe.clone(),
            down_ms: millis(one.took),
            back: !one.still,
            asked: one.asked,
            failed: one.failed,
        };
        match found.iter_mut().find(|other| other.probe == seen.probe) {
            Some(other) if other.down_ms < seen.down_ms => *other = seen,
            Some(_) => {}
            None => found.push(seen),
        }
    }
    found
}

fn median(all: &[Phases]) -> Phases {
    let of = |which: fn(&Phases) -> u64| {
        let mut values: Vec<u64> = all.iter().map(which).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    Phases {
        backup: String::new(),
        lock_ms: of(|one| one.lock_ms),
        backup_ms: of(|one| one.backup_ms),
        unlock_ms: of(|one| one.unlock_ms),
        drain_ms: of(|one| one.drain_ms),
        down_ms: of(|one| one.down_ms),
    }
}

/// Two decimals: more is noise, and would differ from run to run.
#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds of a phase are far below 2^52"
)]
fn ratio(newest: &Phases, usual: &Phases) -> Option<f64> {
    let times = newest.down_ms as f64 / usual.down_ms as f64;
    times.is_finite().then(|| (times * 100.0).round() / 100.0)
}
