//! Which backups to keep, and why. Pure. README, *Retention*.
//!
//! Everything is counted per component, over complete backups of known origin, in UTC. A backup goes
//! only when none of its components is kept.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::id::BackupId;
use crate::clock::{self, Calendar};

/// How many backups of each component to keep. Rules add up: what one of them keeps is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest.
    pub last: u64,
    /// All that are at most this much older than the newest.
    pub within: Option<Duration>,
    /// The newest of each of so many hours, days, … that have one: in the order of [`Period::ALL`].
    pub periods: [u64; 5],
    /// What the rules may leave at least. 0 counts as 1.
    pub minimum: u64,
}

impl Policy {
    /// Whether it asks for nothing to be kept, as one that was forgotten does.
    pub fn is_empty(&self) -> bool {
        self.last == 0
            && self.within.is_none_or(|within| within.is_zero())
            && self.periods == [0; 5]
    }
}

/// A stretch of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// `2026-11-22T01`.
    Hour,
    /// `2026-11-22`.
    Day,
    /// `2026-W47`: ISO 8601.
    Week,
    /// `2026-11`.
    Month,
    /// `2026`.
    Year,
}

impl Period {
    /// All, from short to long.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// Its key in a configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Hour => "keep_hourly",
            Self::Day => "keep_daily",
            Self::Week => "keep_weekly",
            Self::Month => "keep_monthly",
            Self::Year => "keep_yearly",
        }
    }

    fn of(self, calendar: &Calendar) -> &str {
        match self {
            Self::Hour => &calendar.hour,
            Self::Day => &calendar.day,
            Self::Week => &calendar.week,
            Self::Month => &calendar.month,
            Self::Year => &calendar.year,
        }
    }
}

/// A committed backup, as far as retention is concerned.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which, and so of when.
    pub id: BackupId,
    /// What it holds, as it can be asked for: parts of `service-instances` count as that.
    pub components: BTreeSet<String>,
    /// Whether its origin is known well enough for it to count.
    pub believed: bool,
    /// Whether it is in as many stores as a backup must be.
    pub copies: bool,
    /// Why somebody wants it to stay, once for each hold.
    pub holds: Vec<String>,
}

/// What is to become of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Which.
    pub id: BackupId,
    /// Whether it stays.
    pub keep: bool,
    /// For what is kept, what keeps it; for what goes, why nothing does. Never empty.
    pub reasons: Vec<Reason>,
}

/// One reason, for one component or for the whole backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The component; empty for the whole backup.
    pub component: String,
    /// A phrase.
    pub why: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.component.is_empty() {
            f.write_str(&self.why)
        } else {
            write!(f, "{}: {}", self.component, self.why)
        }
    }
}

/// What a policy says of these backups, oldest first. What is later than `now`, or not believed,
/// neither counts nor goes.
pub fn decide(backups: &[Candidate], policy: &Policy, now: SystemTime) -> Vec<Decision> {
    let mut backups: Vec<&Candidate> = backups.iter().collect();
    backups.sort_by(|one, other| one.id.cmp(&other.id));
    let mut kept: Vec<Vec<Reason>> = backups.iter().map(|b| stays(b, now)).collect();
    let mut gone: Vec<Vec<Reason>> = vec![Vec::new(); backups.len()];
    let components: BTreeSet<&String> = backups.iter().flat_map(|b| &b.components).collect();
    for component in components {
        // Newest first, with the place among all.
        let holders: Vec<(usize, &Candidate)> = (0..backups.len())
            .rev()
            .map(|at| (at, backups[at]))
            .filter(|(_, b)| counts(b, now) && b.components.contains(component))
            .collect();
        for (at, verdict) in of_component(&holders, policy) {
            let (list, why) = match verdict {
                Ok(why) => (&mut kept[at], why),
                Err(why) => (&mut gone[at], why),
            };
            list.push(Reason {
                component: component.clone(),
                why,
            });
        }
    }
    let decided = backups.iter().zip(kept.into_iter().zip(gone));
    decided
        .map(|(backup, (kept, gone))| Decision {
            id: backup.id.clone(),
            keep: !kept.is_empty() || gone.is_empty(),
            reasons: match (kept.is_empty(), gone.is_empty()) {
                (false, _) => kept,
                (true, false) => gone,
                (true, true) => vec![whole("it holds no component, so no rule is about it")],
            },
        })
        .collect()
}

fn counts(backup: &Candidate, now: SystemTime) -> bool {
    backup.believed && backup.id.time() <= now
}

fn whole(why: impl Into<String>) -> Reason {
    Reason {
        component: String::new(),
        why: why.into(),
    }
}

/// What keeps a backup whatever the policy says.
fn stays(backup: &Candidate, now: SystemTime) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = backup
        .holds
        .iter()
        .map(|why| whole(format!("held: {why}")))
        .collect();
    if !backup.believed {
        reasons.push(whole(
            "no known signer vouches for it: it counts for nothing and is not dropped",
        ));
    } else if backup.id.time() > now {
        reasons.push(whole(
            "it is later than the clock: it counts for nothing and is not dropped",
        ));
    }
    reasons
}

/// For each holder of a component, newest first: what keeps it, or why nothing does.
fn of_component(
    holders: &[(usize, &Candidate)],
    policy: &Policy,
) -> Vec<(usize, Result<String, String>)> {
    let calendars: Vec<Calendar> = holders
        .iter()
        .map(|(_, backup)| clock::calendar(backup.id.time()))
        .collect();
    let mut periods: Vec<Vec<Result<String, String>>> = Vec::new();
    for (period, count) in Period::ALL.into_iter().zip(policy.periods) {
        if count > 0 {
            periods.push(of_period(holders, &calendars, period, count));
        }
    }
    let newest = holders.first().map(|(_, backup)| backup.id.time());
    let minimum = usize::try_from(policy.minimum.max(1)).unwrap_or(usize::MAX);
    let last = usize::try_from(policy.last).unwrap_or(usize::MAX);
    // A backup that too few stores have is no minimum to rest upon, but the newest stays anyway.
    let mut copied = 0;
    let mut verdicts = Vec::new();
    for (number, (at, backup)) in holders.iter().enumerate() {
        let (mut keeps, mut not) = (Vec::new(), Vec::new());
        if number < last {
            keeps.push(format!("keep_last ({} of {last})", number + 1));
        } else if last > 0 {
            not.push(format!("keep_last: {number} are newer"));
        }
        if let (Some(within), Some(newest)) = (policy.within, newest) {
            let age = newest.duration_since(backup.id.time()).unwrap_or_default();
            let list = if age <= within { &mut keeps } else { &mut not };
            let side = if age <= within { "within" } else { "more than" };
            list.push(format!(
                "keep_within: {side} {} of the newest",
                span(within)
            ));
        }
        for verdicts in &periods {
            match &verdicts[number] {
                Ok(why) => keeps.push(why.clone()),
                Err(why) => not.push(why.clone()),
            }
        }
        let is_minimum = number < minimum || (backup.copies && copied < minimum);
        copied += usize::from(backup.copies);
        if keeps.is_empty() && is_minimum {
            keeps.push(format!("keep_minimum ({minimum})"));
        }
        let verdict = if keeps.is_empty() {
            not.push(format!("keep_minimum: {number} are newer"));
            Err(not.join("; "))
        } else {
            Ok(keeps.join(", "))
        };
        verdicts.push((*at, verdict));
    }
    verdicts
}

fn span(time: Duration) -> String {
    match (time.as_secs() / 86_400, time.as_secs() % 86_400) {
        (1, 0) => "1 day".to_owned(),
        (days, 0) => format!("{days} days"),
        _ => clock::spoken(time),
    }
}

/// The newest of each of the newest `count` stretches stays.
fn of_period(
    holders: &[(usize, &Candidate)],
    calendars: &[Calendar],
    period: Period,
    count: u64,
) -> Vec<Result<String, String>> {
    let key = period.key();
    let mut seen = 0;
    let mut current: Option<(&str, &BackupId)> = None;
    let mut verdicts = Vec::new();
    for ((_, backup), calendar) in holders.iter().zip(calendars) {
        let stretch = period.of(calendar);
        verdicts.push(match current {
            Some((before, newest)) if before == stretch => {
                Err(format!("{key}: {newest} stands for {stretch}"))
            }
            _ => {
                seen += 1;
                current = Some((stretch, &backup.id));
                if seen <= count {
                    Ok(format!("{key} {stretch} ({seen} of {count})"))
                } else {
                    Err(format!("{key}: {stretch} is beyond the newest {count}"))
                }
            }
        });
    }
    verdicts
}

#[cfg(test)]
mod tests;
