//! Thresholds, and what is to be said when one is crossed. Pure. README, *Reports and alerts*.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::overview::{Downtime, Overview, Store};
use super::text::printable;
use crate::clock::spoken;

/// A downtime that grew by less than this is not told: scripts take a few seconds more or less.
pub const LEAST_GROWTH: Duration = Duration::from_secs(15);
/// With fewer backups before it nobody knows what a component's downtime is as a rule.
pub const LEAST_COMPARED: usize = 5;

/// When to alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// How old the newest complete backup of a component may be.
    pub max_age: MaxAge,
    /// How old the newest proof that was passed may be, by level.
    pub max_proof_age: BTreeMap<String, Duration>,
    /// In how many stores the newest backup of each component must be.
    pub min_copies: usize,
    /// How many times the usual downtime is too much; none: it is not looked at.
    pub downtime_growth: Option<f64>,
    /// How long before the end of the first certificate.
    pub certificates: Duration,
}

/// How old a component's newest complete backup may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaxAge {
    /// Every component that any backup has.
    Each(Duration),
    /// These, and no other.
    Of(BTreeMap<String, Duration>),
}

impl MaxAge {
    /// That of a component.
    pub fn of(&self, component: &str) -> Option<Duration> {
        match self {
            Self::Each(limit) => Some(*limit),
            Self::Of(limits) => limits.get(component).copied(),
        }
    }
}

/// A threshold that is crossed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// The key of the threshold: `max_age`, `max_proof_age`, `min_copies`, `downtime_growth`,
    /// `certificates`; or `proof_failed`, `store_silent`, `unreadable`, which have none.
    pub name: &'static str,
    /// The component, level, store or backup.
    pub about: String,
    /// One sentence: what is, and what to do.
    pub sentence: String,
}

/// Every threshold that is crossed, the most pressing first.
pub fn judge(overview: &Overview, thresholds: &Thresholds) -> Vec<Alert> {
    let mut alerts = Vec::new();
    ages(overview, &mut alerts);
    proofs(overview, &mut alerts);
    silent(overview, &mut alerts);
    unreadable(overview, &mut alerts);
    copies(overview, thresholds, &mut alerts);
    for downtime in &overview.downtime {
        alerts.extend(growth(downtime, thresholds));
    }
    alerts.extend(certificates(overview));
    alerts
}

fn alert(name: &'static str, about: impl Into<String>, sentence: String) -> Alert {
    Alert {
        name,
        about: about.into(),
        // A part of it may come from a manifest or a proof; it is printed where controls count.
        sentence: printable(&sentence),
    }
}

fn ages(overview: &Overview, alerts: &mut Vec<Alert>) {
    if overview.components.is_empty() && overview.backups.is_empty() {
        let sentence = match overview.window.listed {
            0 => "There is no backup at all; take the first one with `lifeboat backup`, or see why the pipeline's job `backup` did not run.".to_owned(),
            listed => format!(
                "None of the {listed} backups can be read; the first says why: {}; look at `lifeboat list`.",
                overview.unreadable.first().map_or("it is older than the report looks back", |first| first.why.as_str())
            ),
        };
        alerts.push(alert("max_age", "all", sentence));
        return;
    }
    for component in overview.components.iter().filter(|one| one.late) {
        let limit = age(component.limit_s.unwrap_or_default());
        let sentence = match (&component.backup, component.age_s) {
            (Some(backup), Some(old)) => format!(
                "The newest complete backup of {} ({backup}) is {} old, more than {limit}: what was changed since then would be lost; see why no later one was committed (the last build of the backup job says so), and take one now.",
                component.name,
                age(old)
            ),
            _ => format!(
                "There is no complete backup of {}, though alerts.max_age asks for one of {limit} at most; name it in `backup`, or take it out of alerts.max_age.",
                component.name
            ),
        };
        alerts.push(alert("max_age", &component.name, sentence));
    }
}

fn proofs(overview: &Overview, alerts: &mut Vec<Alert>) {
    for level in &overview.proofs {
        if let Some(last) = &level.failed {
            let first = last
                .findings
                .first()
                .map_or_else(String::new, |found| format!(": {}", ended(found)));
            let mend = match level.level.as_str() {
                "drilled" => "mend what the drill's report names and drill again",
                "listed" | "scrub" => "run `lifeboat repair --read`, then verify again",
                _ => "verify an older backup, repair the stores, and take a new backup",
            };
            alerts.push(alert(
                "proof_failed",
                &level.level,
                format!(
                    "A proof of level {} failed {} ago (backup {}) and nothing made it good since{first}; {mend}.",
                    level.level,
                    age(last.age_s),
                    last.backup
                ),
            ));
        }
        let Some(limit) = level.limit_s else { continue };
        let late = level.passed.as_ref().is_none_or(|one| one.age_s > limit);
        if !late {
            continue;
        }
        let when = match &level.passed {
            Some(passed) => format!(
                "was last passed {} ago, more than {}",
                age(passed.age_s),
                age(limit)
            ),
            None => format!("was never passed; it should be every {}", age(limit)),
        };
        let how = match level.level.as_str() {
            "drilled" => {
                "run `lifeboat drill` in a scratch foundation (pipelines/drill.yml)".to_owned()
            }
            other => format!("run `lifeboat verify --level {other}` (pipelines/validate.yml)"),
        };
        alerts.push(alert(
            "max_proof_age",
            &level.level,
            format!("The level {} {when}: {how}.", level.level),
        ));
    }
}

/// A finding is a sentence already, maybe with its full stop.
fn ended(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

fn silent(overview: &Overview, alerts: &mut Vec<Alert>) {
    for store in overview.stores.iter().filter(|store| !store.answered) {
        let why = store.why.as_deref().unwrap_or("it does not say why");
        alerts.push(alert(
            "store_silent",
            &store.name,
            format!(
                "Store {} did not answer ({}): nothing here counts what it holds; bring it back, then run `lifeboat replicate`.",
                store.name,
                ended(why)
            ),
        ));
    }
}

fn unreadable(overview: &Overview, alerts: &mut Vec<Alert>) {
    let Some(first) = overview.unreadable.first() else {
        return;
    };
    let others = match overview.unreadable.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    alerts.push(alert(
        "unreadable",
        &first.what,
        format!(
            "Backup {}{others} cannot be read or believed ({}): it counts for nothing here; run `lifeboat repair`, or add the worker that took it to trusted_workers.",
            first.what,
            ended(&first.why)
        ),
    ));
}

fn copies(overview: &Overview, thresholds: &Thresholds, alerts: &mut Vec<Alert>) {
    let least = thresholds.min_copies as u64;
    let lacking = overview
        .components
        .iter()
        .filter(|one| one.backup.is_some() && one.copies < least);
    let mut told: Vec<&str> = Vec::new();
    for component in lacking {
        let backup = component.backup.as_deref().unwrap_or_default();
        if told.contains(&backup) {
            continue;
        }
        told.push(backup);
        alerts.push(alert(
            "min_copies",
            backup,
            format!(
                "The newest backup of {} ({backup}) is in {} of the {least} stores it must be in{}; run `lifeboat replicate`.",
                component.name,
                component.copies,
                missing_in(&overview.stores)
            ),
        ));
    }
}

fn missing_in(stores: &[Store]) -> String {
    let names: Vec<String> = stores
        .iter()
        .filter(|store| store.answered && store.missing > 0)
        .map(|store| format!("{} lacks {} backups", store.name, store.missing))
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" ({})", names.join(", ")),
    }
}

fn growth(downtime: &Downtime, thresholds: &Thresholds) -> Option<Alert> {
    let most = thresholds.downtime_growth?;
    let usual = downtime.usual.as_ref()?;
    let grown = downtime.growth? > most;
    let more = downtime.newest.down_ms.saturating_sub(usual.down_ms);
    if !grown || Duration::from_millis(more) < LEAST_GROWTH {
        return None;
    }
    let newest = &downtime.newest;
    let phases = [
        ("lock", newest.lock_ms, usual.lock_ms),
        ("backup", newest.backup_ms, usual.backup_ms),
        ("unlock", newest.unlock_ms, usual.unlock_ms),
    ];
    let worst = phases
        .into_iter()
        .max_by_key(|(_, now, before)| now.saturating_sub(*before))?;
    Some(alert(
        "downtime_growth",
        &downtime.component,
        format!(
            "The API of {} was away for {} in backup {}, usually {} (median of {}): most of it came with {} ({} in place of {}); look at its scripts on the instances, and at the load at that time.",
            downtime.component,
            millis(newest.down_ms),
            newest.backup,
            millis(usual.down_ms),
            downtime.compared,
            worst.0,
            millis(worst.1),
            millis(worst.2),
        ),
    ))
}

fn certificates(overview: &Overview) -> Option<Alert> {
    let all = overview.certificates.as_ref()?;
    let limit = i64::try_from(all.limit_s?).unwrap_or(i64::MAX);
    if all.first_end_in_s > limit {
        return None;
    }
    let named = all.ends.first().and_then(|end| end.name.as_deref());
    let which = named.map_or_else(String::new, |name| format!(" ({name})"));
    let when = match u64::try_from(all.first_end_in_s) {
        Ok(left) => format!("ends in {}", age(left)),
        Err(_over) => format!("ended {} ago", age(all.first_end_in_s.unsigned_abs())),
    };
    let more = match all.soon.saturating_sub(1) {
        0 => String::new(),
        more => format!(", and {more} more within {}", age(all.limit_s?)),
    };
    Some(alert(
        "certificates",
        &all.first_end,
        format!(
            "The first of {} certificates{which} {when}, at {}{more}: a foundation restored after that does not come up by itself; rotate it in Ops Manager, then back up.",
            all.number, all.first_end
        ),
    ))
}

fn millis(ms: u64) -> String {
    spoken(Duration::from_millis(ms))
}

/// `26 h`, `3 days`, `40 min`: an age, in the largest unit that says enough.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// One sentence for each, or one line when all is well.
pub fn text(overview: &Overview) -> String {
    if !overview.good {
        let mut text = String::new();
        for alert in &overview.alerts {
            // Writing to a text does not fail.
            let _written = writeln!(text, "{}", alert.sentence);
        }
        return text;
    }
    let ages: Vec<String> = overview
        .components
        .iter()
        .filter_map(|one| Some(format!("{} {}", one.name, age(one.age_s?))))
        .collect();
    let proofs: Vec<String> = overview
        .proofs
        .iter()
        .filter_map(|level| {
            let passed = level.passed.as_ref()?;
            Some(format!("{} {} ago", level.level, age(passed.age_s)))
        })
        .collect();
    let proofs = match proofs.is_empty() {
        true => "nothing proved yet".to_owned(),
        false => format!("proved: {}", proofs.join(", ")),
    };
    format!(
        "All is well with the backups of {}: newest complete ones {}; {proofs}; {} stores.\n",
        overview.foundation,
        ages.join(", "),
        overview.stores.len()
    )
}

/// For programs.
pub fn json(overview: &Overview) -> Value {
    json!({
        "foundation": overview.foundation,
        "generated": overview.generated,
        "good": overview.good,
        "alerts": overview.alerts,
    })
}
