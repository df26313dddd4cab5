//! The report as tables, for a log.

use std::time::Duration;

use super::super::alerts::age;
use super::super::text::{Side, Table, printable};
use super::super::units::{bytes, count};
use super::{Overview, Phases};
use crate::clock::spoken;

/// Backups that are told.
const NEWEST: usize = 10;

/// Everything that an operator asks each morning.
pub fn text(overview: &Overview) -> String {
    let mut text = format!(
        "report on the backups of {}, {}\n\n",
        overview.foundation, overview.generated
    );
    text.push_str(&super::super::alerts::text(overview));
    for (heading, table) in [
        ("what would be lost now", components(overview)),
        ("proofs", proofs(overview)),
        ("drills: how long a restore takes", drills(overview)),
        ("downtime", downtime(overview)),
        ("copies", stores(overview)),
        ("what is not in the backups", coverage(overview)),
        ("newest backups", backups(overview)),
    ] {
        if let Some(table) = table {
            text.push_str(&format!("\n{heading}\n\n{}", table.render()));
        }
    }
    let facts = facts(overview);
    if !facts.is_empty() {
        text.push('\n');
        text.push_str(&super::super::text::pairs(&facts));
    }
    printable_lines(&text)
}

/// Names from manifests must not make a terminal do anything.
fn printable_lines(text: &str) -> String {
    let lines = text.lines().map(|line| printable(line) + "\n");
    lines.collect()
}

fn ago(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), age)
}

fn millis(ms: u64) -> String {
    spoken(Duration::from_millis(ms))
}

fn components(overview: &Overview) -> Option<Table> {
    let mut table = Table::new(&[
        ("component", Side::Left),
        ("newest complete backup", Side::Left),
        ("age", Side::Right),
        ("limit", Side::Right),
        ("", Side::Left),
        ("copies", Side::Right),
        ("size", Side::Right),
    ]);
    for one in &overview.components {
        table.row(vec![
            one.name.clone(),
            one.backup.clone().unwrap_or_else(|| "none".to_owned()),
            ago(one.age_s),
            ago(one.limit_s),
            if one.late { "late" } else { "" }.to_owned(),
            format!("{} of {}", one.copies, overview.stores.len()),
            bytes(one.bytes),
        ]);
    }
    (!overview.components.is_empty()).then_some(table)
}

fn proofs(overview: &Overview) -> Option<Table> {
    let mut table = Table::new(&[
        ("level", Side::Left),
        ("newest", Side::Left),
        ("age", Side::Right),
        ("result", Side::Left),
        ("looked at", Side::Left),
        ("last passed", Side::Right),
        ("limit", Side::Right),
    ]);
    for level in &overview.proofs {
        let last = level.last.as_ref();
        let dash = || "-".to_owned();
        table.row(vec![
            level.level.clone(),
            last.map_or_else(|| "never".to_owned(), |one| one.backup.clone()),
            last.map_or_else(dash, |one| age(one.age_s)),
            last.map_or_else(dash, |one| {
                if one.passed { "passed" } else { "failed" }.to_owned()
            }),
            last.map_or_else(dash, |one| one.scope.clone()),
            level
                .passed
                .as_ref()
                .map_or_else(dash, |one| age(one.age_s)),
            ago(level.limit_s),
        ]);
    }
    Some(table)
}

fn drills(overview: &Overview) -> Option<Table> {
    let drill = overview.drills.first()?;
    let mut table = Table::new(&[
        ("step of the last drill", Side::Left),
        ("time", Side::Right),
        ("result", Side::Left),
    ]);
    for step in &drill.steps {
        let result = if step.ok { "passed" } else { "failed" };
        table.row(vec![step.name.clone(), millis(step.ms), result.to_owned()]);
    }
    // A failed one has no recovery time: the newest that has one is told below it.
    let before = overview.measured().filter(|_| drill.rto_ms.is_none());
    for (what, one) in [
        ("whole (RTO)", Some(drill)),
        ("measured last (RTO)", before),
    ] {
        let Some(one) = one else { continue };
        let result = if one.passed { "passed" } else { "failed" };
        table.row(vec![
            format!("{what}, backup {}", one.backup),
            one.rto_ms.map_or_else(|| "-".to_owned(), millis),
            result.to_owned(),
        ]);
    }
    Some(table)
}

fn downtime(overview: &Overview) -> Option<Table> {
    let mut table = Table::new(&[
        ("component", Side::Left),
        ("", Side::Left),
        ("lock", Side::Right),
        ("backup", Side::Right),
        ("unlock", Side::Right),
        ("API away", Side::Right),
        ("drain", Side::Right),
    ]);
    for one in &overview.downtime {
        let mut row = |component: &str, what: String, phases: &Phases| {
            table.row(vec![
                component.to_owned(),
                what,
                millis(phases.lock_ms),
                millis(phases.backup_ms),
                millis(phases.unlock_ms),
                millis(phases.down_ms),
                millis(phases.drain_ms),
            ]);
        };
        row(&one.component, "newest".to_owned(), &one.newest);
        if let Some(usual) = &one.usual {
            row("", format!("median of {}", one.compared), usual);
        }
        for seen in &one.seen {
            let least = if seen.back { "" } else { "at least " };
            let mut cells = vec![String::new(); 7];
            cells[1] = format!("{} from outside", seen.probe);
            cells[5] = format!("{least}{}", millis(seen.down_ms));
            table.row(cells);
        }
    }
    (!overview.downtime.is_empty()).then_some(table)
}

fn stores(overview: &Overview) -> Option<Table> {
    let mut table = Table::new(&[
        ("store", Side::Left),
        ("backups", Side::Right),
        ("lacks", Side::Right),
        ("newest", Side::Left),
        ("looked at", Side::Left),
        ("missing", Side::Right),
        ("damaged", Side::Right),
    ]);
    for store in &overview.stores {
        let dash = || "-".to_owned();
        let checked = store.checked.as_ref();
        table.row(vec![
            store.name.clone(),
            match store.answered {
                true => count(store.backups),
                false => "silent".to_owned(),
            },
            count(store.missing),
            store.newest.clone().unwrap_or_else(dash),
            checked.map_or_else(dash, |one| {
                format!("{} ({}) {}", one.level, one.scope, one.finished)
            }),
            checked.map_or_else(dash, |one| count(one.missing)),
            checked.map_or_else(dash, |one| count(one.damaged)),
        ]);
    }
    Some(table)
}

fn coverage(overview: &Overview) -> Option<Table> {
    let mut table = Table::new(&[("", Side::Left), ("", Side::Left)]);
    let mut empty = true;
    let mut row = |what: String, text: String| {
        table.row(vec![what, text]);
        empty = false;
    };
    for (class, number) in &overview.coverage.classes {
        row(class.clone(), count(*number));
    }
    for one in &overview.coverage.deployments {
        if !one.advice.is_empty() {
            row(
                one.name.clone(),
                format!("{}: {}; {}", one.class, one.why, one.advice),
            );
        }
    }
    for note in &overview.coverage.notes {
        row(note.component.clone(), note.text.clone());
    }
    (!empty).then_some(table)
}

fn backups(overview: &Overview) -> Option<Table> {
    let mut table = Table::new(&[
        ("backup", Side::Left),
        ("components", Side::Left),
        ("size", Side::Right),
        ("changed", Side::Right),
        ("stored", Side::Right),
        ("copies", Side::Left),
        ("proofs", Side::Left),
    ]);
    for one in overview.backups.iter().take(NEWEST) {
        let proofs: Vec<String> = one
            .proofs
            .iter()
            .map(|(level, passed)| match passed {
                true => level.clone(),
                false => format!("{level} failed"),
            })
            .collect();
        table.row(vec![
            one.id.clone(),
            one.components.join(", "),
            bytes(one.bytes),
            bytes(one.changed_bytes),
            bytes(one.stored_bytes),
            format!("{} of {}", one.copies.len(), overview.stores.len()),
            proofs.join(", "),
        ]);
    }
    (!overview.backups.is_empty()).then_some(table)
}

fn facts(overview: &Overview) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, text: String| facts.push((name.to_owned(), text));
    if let Some(change) = &overview.change {
        fact(
            "change",
            format!(
                "{} a day ({} % of {}); a backup each {} holds that at one percent (now each {})",
                bytes(change.bytes_a_day),
                change.percent_a_day,
                bytes(change.bytes),
                age(change.suggested_s),
                age(change.interval_s),
            ),
        );
    }
    if let Some(retention) = &overview.retention {
        let next = match (&retention.next, retention.drops.first()) {
            (_, Some(drop)) => format!(
                "would drop {} now, {} first",
                retention.drops.len() as u64 + retention.more,
                drop.backup
            ),
            (Some(next), None) => format!(
                "drops nothing now; after {} more backups {}",
                next.after_backups,
                next.backups.join(", ")
            ),
            (None, None) => "drops nothing now, nor for many more backups".to_owned(),
        };
        fact("prune", format!("{}: {next}", retention.policy.join(", ")));
    }
    for hold in &overview.holds {
        fact("held", format!("{}: {}", hold.backup, hold.why.join("; ")));
    }
    if let Some(all) = &overview.certificates {
        fact(
            "certificates",
            format!(
                "{}; the first ends {}, {} soon",
                all.number, all.first_end, all.soon
            ),
        );
    }
    for problem in &overview.unreadable {
        fact("unreadable", format!("{}: {}", problem.what, problem.why));
    }
    facts
}
