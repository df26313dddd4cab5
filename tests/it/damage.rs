//! What each command does about each kind of damage: every kind of object, in each way that it may
//! be damaged, in one store and in all. What happens is compared with `docs/damage.md`, row by row;
//! `LIFEBOAT_WRITE_DOCS=1` writes the page anew.
//!
//! Some of it must hold whatever the page says: nothing damaged is ever given back as good, damage in
//! one store keeps no backup from being read, repair leaves both stores as they were, and the next
//! backup succeeds.

mod scene;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use scene::{Damage, Ground, KINDS, Kind, Outcome};

const PAGE: &str = "docs/damage.md";
const BEGIN: &str = "<!-- The table is what tests/it/damage.rs saw; it compares. -->\n";

/// One cell's place: the kind of object, what happened to it, in all stores or in the first.
type Cell = (Kind, Damage, bool);

#[test]
fn what_damage_does_is_what_the_page_says() {
    let ground = Ground::prepare();
    let mut cells: Vec<Cell> = Vec::new();
    for kind in KINDS {
        for damage in Damage::ALL {
            for everywhere in [false, true] {
                cells.push((kind, damage, everywhere));
            }
        }
    }
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (kind, damage, everywhere) = *cell;
                    let outcome = ground.try_out(kind, damage, everywhere);
                    outcomes.lock().unwrap().push((*cell, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(cell, _)| cells.iter().position(|known| known == cell));
    assert_eq!(outcomes.len(), cells.len(), "a cell was not tried out");
    for (cell, outcome) in &outcomes {
        must_hold(cell, outcome);
    }
    compare(&table(&outcomes));
}

fn must_hold((kind, damage, everywhere): &Cell, outcome: &Outcome) {
    let place = format!("{kind} {damage}, everywhere: {everywhere}: {outcome:?}");
    assert_ne!(outcome.get, "gives back other bytes", "{place}");
    assert_ne!(outcome.next, "fails", "{place}");
    if !everywhere {
        assert_eq!(outcome.check, "lists it", "{place}");
        assert_eq!(outcome.get, "gives it back", "{place}");
        assert!(
            ["restores it", "nothing to do"].contains(&outcome.repair.as_str()),
            "{place}"
        );
    }
}

fn table(outcomes: &[(Cell, Outcome)]) -> String {
    let mut text = String::from(
        "| Object | Damage | Where | `check` | `in`, `fetch`, restore | `verify --level scrub` | `repair --read` | `replicate` | `prune` | next backup |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for ((kind, damage, everywhere), outcome) in outcomes {
        let place = if *everywhere { "all" } else { "one" };
        let Outcome {
            check,
            get,
            scrub,
            repair,
            replicate,
            prune,
            next,
        } = outcome;
        writeln!(
            text,
            "| {kind} | {damage} | {place} | {check} | {get} | {scrub} | {repair} | {replicate} | {prune} | {next} |"
        )
        .unwrap();
    }
    text
}

fn compare(table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, stated) = page.split_once(BEGIN).expect("the page has its table");
    if std::env::var_os("LIFEBOAT_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{table}")).unwrap();
        return;
    }
    for (stated, seen) in stated.lines().zip(table.lines()) {
        assert_eq!(stated, seen, "{PAGE} says the first, the second happened");
    }
    assert_eq!(stated, table, "{PAGE}");
}
