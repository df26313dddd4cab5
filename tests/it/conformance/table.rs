//! The table in `docs/conformance.md` tells the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md"));

/// The scenarios of the contract.
const ROWS: u32 = 197;

#[test]
fn the_table_has_every_row_and_names_tests_that_exist() {
    let tests = tests();
    let mut seen = Vec::new();
    let mut said = BTreeSet::new();
    for line in TABLE.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, _, named, note, _] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        seen.push(number);
        let named: Vec<&str> = named.split(", ").filter(|name| !name.is_empty()).collect();
        assert!(
            !named.is_empty() || !note.is_empty(),
            "row {number} has neither a test nor a reason"
        );
        for name in named {
            let name = name.trim_matches('`');
            let rows = tests.get(name);
            let rows = rows.unwrap_or_else(|| panic!("row {number}: there is no test {name}"));
            assert!(
                rows.is_empty() || rows.contains(&number),
                "row {number}: {name} says that it shows {rows:?}"
            );
            said.insert((number, name.to_owned()));
        }
    }
    assert_eq!(seen, (1..=ROWS).collect::<Vec<_>>());
    for (name, rows) in tests {
        for row in rows {
            assert!(
                said.contains(&(row, name.clone())),
                "{name} says that it shows row {row}, the table does not"
            );
        }
    }
}

/// How many things the vendor's checklist asks for, numbered from 1.
const ITEMS: u32 = 59;

#[test]
fn the_mission_is_answered_by_tests_that_exist() {
    let page = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/coverage-of-the-mission.md"
    ));
    let tests = tests();
    let mut seen = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, _, answer, place, named, _, _] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        seen.push(number);
        assert!(!answer.is_empty() && !place.is_empty(), "item {number}");
        for name in named.split(", ") {
            let name = name.trim_matches('`');
            assert!(
                tests.contains_key(name),
                "item {number}: there is no test {name}"
            );
        }
    }
    assert_eq!(seen, (1..=ITEMS).collect::<Vec<_>>());
}

/// Every test of this binary by its name, with the rows of the comment above it.
fn tests() -> BTreeMap<String, BTreeSet<u32>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut found = BTreeMap::new();
    for (path, text) in crate::support::scene::files(&root) {
        let path = path.with_extension("").to_str().unwrap().replace('/', "::");
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let line = line.trim();
            let Some(name) = line
                .strip_prefix("async ")
                .unwrap_or(line)
                .strip_prefix("fn ")
            else {
                continue;
            };
            let before = at.checked_sub(1).map_or("", |at| lines[at].trim());
            if before != "#[test]" && !before.starts_with("#[tokio::test") {
                continue;
            }
            let name = name.split('(').next().unwrap();
            let above = at.checked_sub(2).map_or("", |at| lines[at]);
            let rows = above.strip_prefix("// rows ").unwrap_or_default();
            let rows = rows
                .split(',')
                .filter_map(|row| row.trim().parse().ok())
                .collect();
            found.insert(format!("{path}::{name}"), rows);
        }
    }
    found
}
