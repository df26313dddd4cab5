//! The report as one page that needs nothing else: no network, no script, no font of its own.
//!
//! All markup stands in `html/page.html`, which escapes every value; all geometry of the charts in
//! [`chart`]. The page states a policy for browsers under which it can load nothing.

mod chart;

use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::overview::{Backup, Change, Component, Drill, Overview};
use super::{alerts, units};
use crate::clock;

const TEMPLATE: &str = include_str!("html/page.html");
/// Backups that are listed one by one.
const NEWEST: usize = 30;

/// The page.
///
/// # Errors
/// When template and types differ, which a test of the whole page excludes.
pub fn page(overview: &Overview) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.add_filter("bytes", units::bytes);
    environment.add_filter("count", units::count);
    environment.add_filter("age", alerts::age);
    environment.add_filter("spoken", |ms: u64| clock::spoken(Duration::from_millis(ms)));
    environment.add_filter("minute", minute);
    environment.add_filter("many", many);
    environment.add_template("page.html", TEMPLATE)?;
    let view = View {
        page: overview,
        newest: overview.backups.iter().take(NEWEST).collect(),
        oldest: overview
            .components
            .iter()
            .filter(|one| one.age_s.is_some())
            .max_by_key(|one| one.age_s),
        fewest: overview
            .components
            .iter()
            .filter(|one| one.backup.is_some())
            .map(|one| one.copies)
            .min(),
        calendar: chart::calendar(&overview.days, overview.stores.len() as u64),
        downtime: overview.downtime.iter().map(chart::downtime).collect(),
        change: chart::change(&overview.backups),
        measured: overview.measured(),
        steps: overview.drills.first().map(chart::steps),
        stored: overview.backups.iter().map(|one| one.stored_bytes).sum(),
        often: overview.change.as_ref().map(often),
    };
    environment
        .get_template("page.html")?
        .render(Value::from(Serde(&view)))
}

/// What the template knows.
#[derive(Serialize)]
struct View<'a> {
    page: &'a Overview,
    newest: Vec<&'a Backup>,
    oldest: Option<&'a Component>,
    fewest: Option<u64>,
    calendar: Option<chart::Calendar>,
    downtime: Vec<chart::Stacks>,
    change: Option<chart::Changes>,
    measured: Option<&'a Drill>,
    steps: Option<Vec<f64>>,
    stored: u64,
    often: Option<&'static str>,
}

/// `2026-11-22 01:02` of a time or a date; anything else as it is.
fn minute(time: String) -> String {
    match (time.get(..10), time.get(11..16)) {
        (Some(day), Some(minute)) if time.ends_with('Z') => format!("{day} {minute}"),
        _ => time,
    }
}

/// `1 backup`, `1,024 backups`.
fn many(number: u64, thing: String) -> String {
    match number {
        1 => format!("1 {thing}"),
        number => format!("{} {thing}s", units::count(number)),
    }
}

/// How the usual interval and the suggested one compare.
fn often(change: &Change) -> &'static str {
    if change.interval_s > change.suggested_s + change.suggested_s / 4 {
        "more often than now"
    } else if change.interval_s < change.suggested_s - change.suggested_s / 4 {
        "less often than now would do"
    } else {
        "as now"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;
    use crate::report::alerts::{MaxAge, Thresholds};
    use crate::report::overview::{Gathered, compose};
    use crate::report::{Problem, testing};

    const HOSTILE: &str = "<script>alert('1')</script>\"&{{ page }}";

    /// Every text that may come from elsewhere is hostile.
    fn hostile() -> Overview {
        let mut backup = testing::sample();
        let now = backup.finished;
        for component in &mut backup.components {
            component.name = HOSTILE.to_owned();
            component.notes = vec![HOSTILE.to_owned()];
            for artifact in &mut component.artifacts {
                artifact.name = HOSTILE.to_owned();
            }
        }
        backup.copies = vec![HOSTILE.to_owned()];
        let seen = Gathered {
            foundation: HOSTILE.to_owned(),
            now,
            since: SystemTime::UNIX_EPOCH,
            cut: false,
            listed: Vec::new(),
            stores: vec![HOSTILE.to_owned()],
            silent: vec![Problem {
                what: HOSTILE.to_owned(),
                why: HOSTILE.to_owned(),
            }],
            backups: vec![backup],
            unreadable: vec![Problem {
                what: HOSTILE.to_owned(),
                why: HOSTILE.to_owned(),
            }],
            proofs: Vec::new(),
            holds: BTreeMap::new(),
            policy: None,
            min_copies: 1,
            record: None,
        };
        let thresholds = Thresholds {
            max_age: MaxAge::Each(Duration::ZERO),
            max_proof_age: BTreeMap::new(),
            min_copies: 2,
            downtime_growth: None,
            certificates: Duration::ZERO,
        };
        compose::compose(&seen, &thresholds)
    }

    #[test]
    fn a_name_is_text_wherever_it_stands() {
        let page = page(&hostile()).unwrap();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.matches("&lt;script&gt;").count() > 12, "{page}");
        assert!(page.contains("{{ page }}"), "it is not read as a template");
    }

    /// What would make a browser fetch something; the page's own policy forbids it as well.
    #[test]
    fn the_page_asks_for_nothing() {
        for word in [
            "src=",
            "@import",
            "url(",
            "http:",
            "https:",
            "<link rel=\"style",
        ] {
            assert!(!TEMPLATE.contains(word), "{word}");
        }
        assert!(TEMPLATE.contains("default-src 'none'"));
    }
}
