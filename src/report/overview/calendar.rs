//! Day by day: what was backed up and proved.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Day;
use super::compose::Gathered;
use crate::clock;
use crate::repo::id::BackupId;
use crate::repo::proof;

const DAY: Duration = Duration::from_secs(86_400);

/// From the first backup of the window to today.
pub(super) fn days(seen: &Gathered) -> Vec<Day> {
    let since = clock::calendar(seen.since).day;
    let today = clock::calendar(seen.now).day;
    let date = |id: &BackupId| clock::calendar(id.time()).day;
    let known = seen.listed.iter().map(|known| (date(&known.id), known));
    let known: Vec<_> = known.filter(|(day, _)| *day >= since).collect();
    let Some((first, _)) = known.first() else {
        return Vec::new();
    };
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    let mut at = seen.now;
    loop {
        let day = clock::calendar(at).day;
        if day < *first {
            break;
        }
        days.insert(day.clone(), empty(day));
        let Some(earlier) = at.checked_sub(DAY) else {
            break;
        };
        at = earlier;
    }
    for (day, known) in &known {
        // What is later than the clock has no day here.
        if *day > today {
            continue;
        }
        if let Some(day) = days.get_mut(day) {
            let copies = known.stores.iter().filter(|has| **has).count() as u64;
            day.copies = match day.backups {
                0 => copies,
                _ => day.copies.min(copies),
            };
            day.backups += 1;
        }
    }
    for problem in &seen.unreadable {
        let id = BackupId::parse(&problem.what).ok();
        if let Some(day) = id.and_then(|id| days.get_mut(&date(&id))) {
            day.unreadable += 1;
        }
    }
    for (proof, _) in &seen.proofs {
        let ended = clock::parse_rfc3339(&proof.finished);
        let day = ended.map(|ended| clock::calendar(ended).day);
        if let Some(day) = day.and_then(|day| days.get_mut(&day)) {
            match proof.result {
                proof::Outcome::Passed => day.passed += 1,
                proof::Outcome::Failed => day.failed += 1,
            }
            day.drills += u64::from(proof.level == proof::Level::Drilled);
        }
    }
    days.into_values().collect()
}

fn empty(date: String) -> Day {
    Day {
        date,
        backups: 0,
        copies: 0,
        unreadable: 0,
        passed: 0,
        failed: 0,
        drills: 0,
    }
}
