//! Proofs, drills, stores, coverage and retention, as they stand.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::super::alerts::Thresholds;
use super::compose::{Gathered, age, facts, kind, newest};
use super::{Checked, Coverage, Drill, Drop, Level, NextDrop, Note, Proof, Retention, Step, Store};
use crate::clock;
use crate::repo::id::BackupId;
use crate::repo::proof::{self, Covers, Outcome};
use crate::repo::retention::{Candidate, Period, Policy, decide};
use crate::store::copies::CLOCK_TOLERANCE;

/// Findings of a proof that are told.
const MOST_FINDINGS: usize = 5;
/// Drills that are told.
const MOST_DRILLS: usize = 20;
/// Backups to be dropped that are named.
const MOST_DROPS: usize = 20;
/// How many more backups the next drop is looked for in.
const LOOK_AHEAD: u64 = 40;

pub(super) fn proofs(seen: &Gathered, thresholds: &Thresholds) -> Vec<Level> {
    let listed: BTreeSet<&BackupId> = seen.listed.iter().map(|known| &known.id).collect();
    let each = proof::Level::ALL.into_iter().map(|level| {
        let of_level = seen
            .proofs
            .iter()
            .rev()
            .filter(|(one, _)| one.level == level);
        let is_there = |one: &proof::Proof| listed.contains(&one.backup);
        let shown = |(proof, verified): &(proof::Proof, bool)| shown(proof, *verified, seen.now);
        let mut passed = of_level
            .clone()
            .filter(|(one, _)| one.result == Outcome::Passed);
        Level {
            level: level.to_string(),
            proves: proves(level).to_owned(),
            last: of_level.clone().next().map(shown),
            passed: passed.next().map(shown),
            failed: still_failed(of_level, is_there).map(shown),
            limit_s: thresholds
                .max_proof_age
                .get(level.as_str())
                .map(Duration::as_secs),
        }
    });
    each.collect()
}

/// Of proofs of one level, newest first: the failure that stands.
fn still_failed<'a>(
    newest_first: impl Iterator<Item = &'a (proof::Proof, bool)>,
    is_there: impl Fn(&proof::Proof) -> bool,
) -> Option<&'a (proof::Proof, bool)> {
    let mut passed_since = Vec::new();
    for one in newest_first {
        let (proof, _) = one;
        match proof.result {
            Outcome::Passed if proof.scope.is_whole() => return None,
            Outcome::Passed => passed_since.push(&proof.scope),
            Outcome::Failed if passed_since.contains(&&proof.scope) || !is_there(proof) => {}
            Outcome::Failed => return Some(one),
        }
    }
    None
}

fn proves(level: proof::Level) -> &'static str {
    match level {
        proof::Level::Listed => "every object is there, in every store",
        proof::Level::Scrub => "every stored byte is as it was written",
        proof::Level::Contents => "it opens, and every file has its digest",
        proof::Level::Restorable => "what a restore needs is there, belongs together and is whole",
        proof::Level::Drilled => "it was restored in a scratch foundation, which then worked",
    }
}

fn shown(proof: &proof::Proof, verified: bool, now: SystemTime) -> Proof {
    let finished = clock::parse_rfc3339(&proof.finished).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut findings: Vec<String> = proof
        .findings
        .iter()
        .map(|finding| {
            let places = [&finding.component, &finding.artifact, &finding.store];
            let places: Vec<&str> = places.into_iter().flatten().map(String::as_str).collect();
            match places.is_empty() {
                true => finding.what.clone(),
                false => format!("{}: {}", places.join(", "), finding.what),
            }
        })
        .collect();
    let bad_steps = proof.steps.iter().filter(|step| !step.ok);
    findings.extend(bad_steps.map(|step| match &step.said {
        Some(said) => format!("step {}: {said}", step.name),
        None => format!("step {} failed", step.name),
    }));
    let found = findings.len() as u64 + proof.more;
    findings.truncate(MOST_FINDINGS);
    Proof {
        backup: proof.backup.to_string(),
        over_all: proof.covers == Covers::All,
        scope: proof.scope.to_string(),
        finished: proof.finished.clone(),
        age_s: age(now, finished),
        passed: proof.result == Outcome::Passed,
        findings,
        found,
        verified,
    }
}

pub(super) fn drills(seen: &Gathered) -> Vec<Drill> {
    let drilled = seen.proofs.iter().rev().map(|(proof, _)| proof);
    let drilled = drilled.filter(|proof| proof.level == proof::Level::Drilled);
    let measured =
        |proof: &&proof::Proof| proof.result == Outcome::Passed && proof.rto_ms.is_some();
    let mut told: Vec<_> = drilled.clone().take(MOST_DRILLS).collect();
    // However often it failed since: what a restore takes is known from that one alone.
    if !told.iter().any(measured) {
        told.extend(drilled.skip(MOST_DRILLS).find(measured));
    }
    told.into_iter().map(drill).collect()
}

fn drill(proof: &proof::Proof) -> Drill {
    let passed = proof.result == Outcome::Passed;
    Drill {
        backup: proof.backup.to_string(),
        finished: proof.finished.clone(),
        passed,
        // One that failed had no foundation back, whatever it says.
        rto_ms: proof.rto_ms.filter(|_| passed),
        rpo_ms: proof.rpo_ms,
        steps: proof
            .steps
            .iter()
            .map(|step| Step {
                name: step.name.clone(),
                ms: step.ms,
                ok: step.ok,
                said: step.said.clone(),
            })
            .collect(),
    }
}

pub(super) fn stores(seen: &Gathered) -> Vec<Store> {
    let each = seen.stores.iter().enumerate().map(|(place, name)| {
        let silent = seen.silent.iter().find(|problem| problem.what == *name);
        let has = |known: &&super::Known| known.stores.get(place).copied().unwrap_or(false);
        let backups = seen.listed.iter().filter(has).count() as u64;
        let newest = seen.listed.iter().rev().find(has);
        Store {
            name: name.clone(),
            answered: silent.is_none(),
            why: silent.map(|problem| problem.why.clone()),
            backups,
            missing: match silent {
                None => seen.listed.len() as u64 - backups,
                Some(_) => 0,
            },
            newest: newest.map(|known| known.id.to_string()),
            checked: checked(seen, name),
        }
    });
    each.collect()
}

fn checked(seen: &Gathered, store: &str) -> Option<Checked> {
    seen.proofs.iter().rev().find_map(|(proof, _)| {
        let level = [proof::Level::Listed, proof::Level::Scrub].contains(&proof.level);
        let looked = proof
            .stores
            .iter()
            .find(|looked| level && looked.name == store)?;
        Some(Checked {
            level: proof.level.to_string(),
            scope: proof.scope.to_string(),
            finished: proof.finished.clone(),
            objects: looked.objects,
            missing: looked.missing,
            damaged: looked.damaged,
        })
    })
}

pub(super) fn coverage(seen: &Gathered) -> Coverage {
    let facts = facts(&seen.backups);
    let notes = newest(&seen.backups).into_values().flat_map(|(_, parts)| {
        parts.into_iter().flat_map(|part| {
            let notes = part.notes.iter();
            notes.map(|text| Note {
                component: part.name.clone(),
                text: text.clone(),
            })
        })
    });
    let record = seen.record.as_ref();
    let deployments = record
        .map(|record| record.coverage.clone())
        .unwrap_or_default();
    let mut classes = facts
        .map(|(_, facts)| facts.coverage.clone())
        .unwrap_or_default();
    if classes.is_empty() {
        for one in &deployments {
            *classes.entry(one.class.clone()).or_default() += 1;
        }
    }
    let of_facts = facts.map(|(backup, _)| backup.id.clone());
    Coverage {
        backup: of_facts.or_else(|| record.map(|record| record.backup.clone())),
        classes,
        deployments,
        notes: notes.collect(),
    }
}

pub(super) fn retention(seen: &Gathered) -> Option<Retention> {
    let policy = seen.policy.as_ref()?;
    let candidates = candidates(seen);
    let now = seen.now + CLOCK_TOLERANCE;
    let decisions = decide(&candidates, policy, now);
    let drops: Vec<Drop> = decisions
        .iter()
        .filter(|decision| !decision.keep)
        .map(|decision| Drop {
            backup: decision.id.to_string(),
            reasons: decision.reasons.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let next = match drops.is_empty() {
        true => next(&candidates, policy, seen),
        false => None,
    };
    Some(Retention {
        policy: rules(policy),
        kept: (decisions.len() - drops.len()) as u64,
        more: drops.len().saturating_sub(MOST_DROPS) as u64,
        drops: drops.into_iter().take(MOST_DROPS).collect(),
        next,
    })
}

fn candidates(seen: &Gathered) -> Vec<Candidate> {
    let each = seen.backups.iter().filter_map(|backup| {
        let id = BackupId::parse(&backup.id).ok()?;
        let components = backup.components.iter();
        Some(Candidate {
            components: components.map(|one| kind(&one.name).to_owned()).collect(),
            believed: true,
            copies: backup.copies.len() >= seen.min_copies,
            holds: seen.holds.get(&id).cloned().unwrap_or_default(),
            id,
        })
    });
    each.collect()
}

/// What goes first when backups like the newest one are added, as often as now.
fn next(candidates: &[Candidate], policy: &Policy, seen: &Gathered) -> Option<NextDrop> {
    let newest = candidates.last()?;
    let since = candidates.len().saturating_sub(8);
    let first = &candidates[since];
    let gaps = u32::try_from(candidates.len() - 1 - since)
        .ok()
        .filter(|gaps| *gaps > 0)?;
    let gap = newest.id.time().duration_since(first.id.time()).ok()? / gaps;
    let mut with_more = candidates.to_vec();
    for number in 1..=LOOK_AHEAD {
        let time = newest.id.time() + gap * u32::try_from(number).ok()?;
        with_more.push(Candidate {
            id: BackupId::new(time, None, [0; 4]),
            components: newest.components.clone(),
            believed: true,
            copies: true,
            holds: Vec::new(),
        });
        let now = time.max(seen.now) + CLOCK_TOLERANCE;
        let known: BTreeSet<&BackupId> = candidates.iter().map(|one| &one.id).collect();
        let drops: Vec<String> = decide(&with_more, policy, now)
            .into_iter()
            .filter(|decision| !decision.keep && known.contains(&decision.id))
            .map(|decision| decision.id.to_string())
            .take(MOST_DROPS)
            .collect();
        if !drops.is_empty() {
            return Some(NextDrop {
                after_backups: number,
                backups: drops,
            });
        }
    }
    None
}

/// As they stand in the configuration.
fn rules(policy: &Policy) -> Vec<String> {
    let mut rules = Vec::new();
    if policy.last > 0 {
        rules.push(format!("keep_last {}", policy.last));
    }
    if let Some(within) = policy.within {
        rules.push(format!(
            "keep_within {}",
            super::super::alerts::age(within.as_secs())
        ));
    }
    for (period, count) in Period::ALL.into_iter().zip(policy.periods) {
        if count > 0 {
            rules.push(format!("{} {count}", period.key()));
        }
    }
    rules.push(format!("keep_minimum {}", policy.minimum.max(1)));
    rules
}
