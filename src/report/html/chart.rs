//! The geometry of the charts: numbers for the template to draw, and a text for each that says the
//! same. Bars are drawn in a box of 1000 by 100 that is stretched to the page; its words stand beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::super::overview::{Backup, Day, Downtime, Drill};
use super::super::units;
use crate::clock;

/// Backups in a chart.
const BARS: usize = 60;
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// A calendar: a row for each month, a column for each day of a month.
#[derive(Debug, Serialize)]
pub(super) struct Calendar {
    months: Vec<Month>,
    height: u64,
    days: u64,
    with: u64,
    few: u64,
    without: u64,
    unreadable: u64,
    passed: u64,
    failed: u64,
    longest_gap: u64,
}

#[derive(Debug, Default, Serialize)]
struct Month {
    name: String,
    y: u64,
    cells: Vec<Cell>,
    with: u64,
    without: u64,
    few: u64,
    unreadable: u64,
    passed: u64,
    failed: u64,
    drills: u64,
}

#[derive(Debug, Serialize)]
struct Cell {
    x: u64,
    /// `full`, `few`, `none`, `unreadable`.
    kind: &'static str,
    /// Of proofs: `passed`, `failed`, `drilled`, or nothing.
    proof: &'static str,
    text: String,
}

/// Height of a month's row, and width of a day's column, in the units of the drawing.
const ROW: u64 = 26;
const COLUMN: u64 = 16;
const LABEL: u64 = 66;
const HEAD: u64 = 20;

/// Of these days, oldest first.
pub(super) fn calendar(days: &[Day], stores: u64) -> Option<Calendar> {
    let mut months: BTreeMap<&str, Month> = BTreeMap::new();
    let mut calendar = Calendar {
        months: Vec::new(),
        height: 0,
        days: days.len() as u64,
        with: 0,
        few: 0,
        without: 0,
        unreadable: 0,
        passed: 0,
        failed: 0,
        longest_gap: 0,
    };
    let mut gap = 0;
    for day in days {
        let name = day.date.get(..7).unwrap_or_default();
        let number: u64 = day.date.get(8..).and_then(|text| text.parse().ok())?;
        let month = months.entry(name).or_default();
        let cell = cell(day, number, stores);
        let tally = |counted: &mut u64, all: &mut u64, number: u64| {
            *counted += number;
            *all += number;
        };
        match cell.kind {
            "none" => tally(&mut month.without, &mut calendar.without, 1),
            "few" => {
                tally(&mut month.few, &mut calendar.few, 1);
                tally(&mut month.with, &mut calendar.with, 1);
            }
            "unreadable" => tally(&mut month.unreadable, &mut calendar.unreadable, 1),
            _ => tally(&mut month.with, &mut calendar.with, 1),
        }
        tally(&mut month.passed, &mut calendar.passed, day.passed);
        tally(&mut month.failed, &mut calendar.failed, day.failed);
        month.drills += day.drills;
        gap = if cell.kind == "none" { gap + 1 } else { 0 };
        calendar.longest_gap = calendar.longest_gap.max(gap);
        month.cells.push(cell);
    }
    calendar.months = months
        .into_iter()
        .rev()
        .zip(0_u64..)
        .map(|((name, month), row)| Month {
            name: name.to_owned(),
            y: HEAD + row * ROW,
            ..month
        })
        .collect();
    calendar.height = HEAD + calendar.months.len() as u64 * ROW;
    (!calendar.months.is_empty()).then_some(calendar)
}

fn cell(day: &Day, number: u64, stores: u64) -> Cell {
    let good = day.backups.saturating_sub(day.unreadable);
    let kind = if day.backups == 0 {
        "none"
    } else if good == 0 {
        "unreadable"
    } else if day.copies < stores {
        "few"
    } else {
        "full"
    };
    let proof = if day.failed > 0 {
        "failed"
    } else if day.drills > 0 {
        "drilled"
    } else if day.passed > 0 {
        "passed"
    } else {
        ""
    };
    let mut text = match day.backups {
        0 => format!("{}: no backup", day.date),
        1 => format!(
            "{}: 1 backup in {} of {stores} stores",
            day.date, day.copies
        ),
        many => format!(
            "{}: {many} backups, each in at least {} of {stores} stores",
            day.date, day.copies
        ),
    };
    for (number, word) in [
        (day.unreadable, "unreadable"),
        (day.passed, "proofs passed"),
        (day.failed, "proofs failed"),
        (day.drills, "of them drills"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {number} {word}"));
        }
    }
    Cell {
        x: LABEL + (number - 1) * COLUMN,
        kind,
        proof,
        text,
    }
}

/// The downtimes of a component.
#[derive(Debug, Serialize)]
pub(super) struct Stacks {
    bars: Vec<Stack>,
    /// The longest, in milliseconds: the upper edge.
    most_ms: u64,
    usual_y: Option<f64>,
    first: String,
    last: String,
}

#[derive(Debug, Serialize)]
struct Stack {
    x: f64,
    width: f64,
    /// From below: lock, backup, unlock.
    parts: [Part; 3],
    text: String,
}

#[derive(Debug, Serialize)]
struct Part {
    y: f64,
    height: f64,
}

pub(super) fn downtime(downtime: &Downtime) -> Stacks {
    let usual = downtime.usual.as_ref().map(|usual| usual.down_ms);
    let history = &downtime.history[downtime.history.len().saturating_sub(BARS)..];
    let longest = history.iter().map(|one| one.down_ms).max();
    let most_ms = longest.unwrap_or(0).max(usual.unwrap_or(0)).max(1);
    let bars = history.iter().zip(0_u64..).map(|(one, at)| {
        let (x, width) = place(at, history.len());
        let mut top = HEIGHT;
        let parts = [one.lock_ms, one.backup_ms, one.unlock_ms].map(|ms| {
            let height = share(ms, most_ms) * HEIGHT;
            top -= height;
            Part {
                y: tenth(top),
                height: tenth(height),
            }
        });
        let spoken = |ms| clock::spoken(Duration::from_millis(ms));
        Stack {
            x,
            width,
            parts,
            text: format!(
                "{}: {} (lock {}, backup {}, unlock {})",
                one.backup,
                spoken(one.down_ms),
                spoken(one.lock_ms),
                spoken(one.backup_ms),
                spoken(one.unlock_ms)
            ),
        }
    });
    let date = |at: Option<&super::super::overview::Phases>| {
        at.map(|one| day_of(&one.backup)).unwrap_or_default()
    };
    Stacks {
        bars: bars.collect(),
        most_ms,
        usual_y: usual.map(|usual| tenth(HEIGHT - share(usual, most_ms) * HEIGHT)),
        first: date(history.first()),
        last: date(history.last()),
    }
}

/// `2026-11-22` of a backup's id.
fn day_of(id: &str) -> String {
    match (id.get(..4), id.get(4..6), id.get(6..8)) {
        (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => id.to_owned(),
    }
}

/// What changed from backup to backup.
#[derive(Debug, Serialize)]
pub(super) struct Changes {
    bars: Vec<Bar>,
    /// The most that changed in a backup that continued another one: the upper edge.
    most: u64,
    fulls: u64,
    first: String,
    last: String,
}

#[derive(Debug, Serialize)]
struct Bar {
    x: f64,
    width: f64,
    y: f64,
    height: f64,
    full: bool,
    text: String,
}

/// Of these backups, newest first.
pub(super) fn change(backups: &[Backup]) -> Option<Changes> {
    let mut shown: Vec<&Backup> = backups.iter().take(BARS).collect();
    shown.reverse();
    let continued = shown.iter().filter(|one| !one.full);
    let most = continued.map(|one| one.changed_bytes).max()?.max(1);
    let bars = shown.iter().zip(0_u64..).map(|(one, at)| {
        let (x, width) = place(at, shown.len());
        let height = tenth(share(one.changed_bytes.min(most), most) * HEIGHT);
        let begun = if one.full { ", began a chain" } else { "" };
        Bar {
            x,
            width,
            y: tenth(HEIGHT - height),
            height,
            full: one.full,
            text: format!("{}: {}{begun}", one.id, units::bytes(one.changed_bytes)),
        }
    });
    Some(Changes {
        bars: bars.collect(),
        most,
        fulls: shown.iter().filter(|one| one.full).count() as u64,
        first: day_of(&shown.first()?.id),
        last: day_of(&shown.last()?.id),
    })
}

/// The steps of a drill, each with its share of the longest, in percent.
pub(super) fn steps(drill: &Drill) -> Vec<f64> {
    let longest = drill.steps.iter().map(|step| step.ms).max().unwrap_or(1);
    let each = drill.steps.iter();
    each.map(|step| tenth(share(step.ms, longest) * 100.0))
        .collect()
}

/// Where a bar stands among so many.
#[allow(clippy::cast_precision_loss, reason = "at most sixty bars")]
fn place(at: u64, of: usize) -> (f64, f64) {
    // A few bars are not made wider than a thirtieth.
    let pitch = WIDTH / (of.max(30) as f64);
    (tenth(at as f64 * pitch), tenth(pitch * 0.72))
}

#[allow(clippy::cast_precision_loss, reason = "a tenth of a unit is drawn")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
