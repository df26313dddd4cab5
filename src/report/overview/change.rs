//! How much changes, and what that says about how often to back up.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::super::{self as report};
use super::Change;
use super::compose::{kind, newest};

/// How far back the rate of change is taken from.
const LOOK_BACK: Duration = Duration::from_secs(30 * 86_400);
/// With fewer backups that continued another one nothing is concluded.
const LEAST: u64 = 3;
/// Intervals that are suggested, in hours: the vendor advises to begin with 24.
const INTERVALS: [u64; 7] = [24, 12, 8, 6, 4, 2, 1];
/// How much may change between two backups, in percent of all.
const MOST_PERCENT: f64 = 1.0;
const DAY: f64 = 86_400.0;

/// `backups` are oldest first. The change of a backup that began a chain is not known, so that the
/// time before it does not count.
pub(super) fn of(backups: &[report::Backup]) -> Option<Change> {
    let end = backups.last()?.finished;
    let recent: Vec<&report::Backup> = backups
        .iter()
        .filter(|one| one.finished + LOOK_BACK >= end)
        .collect();
    let (mut changed, mut time, mut number) = (0_u64, Duration::ZERO, 0);
    for pair in recent.windows(2) {
        if pair[1].base.is_some() {
            changed += pair[1].changed_bytes;
            time += between(pair[0].finished, pair[1].finished);
            number += 1;
        }
    }
    if number < LEAST || time.is_zero() {
        return None;
    }
    let parts = newest(backups).into_values().flat_map(|(_, parts)| parts);
    let artifacts = parts.flat_map(|part| &part.artifacts);
    let bytes = artifacts.map(|artifact| artifact.bytes).sum();
    let days = time.as_secs_f64() / DAY;
    let bytes_a_day = per_day(changed, days);
    let percent_a_day = percent(bytes_a_day, bytes);
    Some(Change {
        backups: number,
        days: rounded(days),
        bytes,
        bytes_a_day,
        percent_a_day,
        interval_s: interval(&recent).as_secs(),
        suggested_s: suggested(percent_a_day),
    })
}

fn between(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// The median of the times between two backups of the same component.
fn interval(backups: &[&report::Backup]) -> Duration {
    let mut last: BTreeMap<&str, SystemTime> = BTreeMap::new();
    let mut gaps = Vec::new();
    for backup in backups {
        let mut here: Vec<&str> = backup
            .components
            .iter()
            .map(|one| kind(&one.name))
            .collect();
        here.dedup();
        for component in here {
            if let Some(before) = last.insert(component, backup.finished)
                && before < backup.finished
            {
                gaps.push(between(before, backup.finished));
            }
        }
    }
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or_default()
}

fn suggested(percent_a_day: f64) -> u64 {
    let fits = |hours: &&u64| {
        percent_a_day * f64::from(u32::try_from(**hours).unwrap_or(24)) / 24.0 <= MOST_PERCENT
    };
    INTERVALS.iter().find(fits).copied().unwrap_or(1) * 3600
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate; bytes are positive and far below 2^63"
)]
fn per_day(bytes: u64, days: f64) -> u64 {
    (bytes as f64 / days) as u64
}

/// With two decimals; 0 of nothing.
#[allow(clippy::cast_precision_loss, reason = "two decimals are shown")]
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => rounded(part as f64 * 100.0 / whole as f64),
    }
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_changes_the_more_often_a_backup_is_suggested() {
        for (percent, hours) in [
            (0.0, 24),
            (1.0, 24),
            (1.1, 12),
            (3.1, 6),
            (12.0, 2),
            (90.0, 1),
        ] {
            assert_eq!(suggested(percent), hours * 3600, "{percent}");
        }
    }
}
