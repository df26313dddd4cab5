//! Which level of verification catches which lie: planted faults, each looked at on every level. What
//! happens is compared with `docs/proofs.md`, row by row; `LIFEBOAT_WRITE_DOCS=1` writes the table anew.
//!
//! A fault is a [`Fault`]: what it is called, and how it is planted in a ground of its own. More are
//! added to a list in a module beside this one, and the list to [`all`].

mod ground;
mod stored;
mod taken;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ground::{Ground, Planted};

const PAGE: &str = "docs/proofs.md";
const BEGIN: &str = "<!-- The table is what tests/it/faults.rs saw; it compares. -->\n";

/// The columns.
pub(crate) const LEVELS: [&str; 4] = ["listed", "scrub", "contents", "restorable"];

/// Something that is wrong, and where.
pub(crate) struct Fault {
    /// What it is, as the table says it.
    pub(crate) what: &'static str,
    /// `one` store, `all`, or `before`: it was so when it was backed up.
    pub(crate) place: &'static str,
    /// Levels that must find it, whatever the page says.
    pub(crate) must: &'static [&'static str],
    /// Plants it; words that a finding must have.
    pub(crate) plant: fn(&mut Ground) -> Planted,
}

fn all() -> Vec<Fault> {
    let mut faults = stored::faults();
    faults.extend(taken::faults());
    faults
}

/// What the levels said of one fault.
type Row = Vec<String>;

#[test]
fn each_level_finds_what_the_page_says() {
    let faults = all();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(fault) = faults.get(at) else { return };
                    let row = looked_at(fault);
                    rows.lock().unwrap().push((at, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(at, _)| *at);
    assert_eq!(rows.len(), faults.len(), "a fault was not looked at");
    for (at, row) in &rows {
        for level in faults[*at].must {
            let place = LEVELS.iter().position(|known| known == level).unwrap();
            let said = &row[place];
            assert!(
                said != "not seen",
                "{level} must find: {}",
                faults[*at].what
            );
        }
    }
    compare(&table(&faults, &rows));
}

fn looked_at(fault: &Fault) -> Row {
    let mut ground = Ground::prepare();
    let planted = (fault.plant)(&mut ground);
    let name = format!("{} ({})", fault.what, fault.place);
    LEVELS
        .into_iter()
        .map(|level| ground.verify(level, &planted, &name))
        .collect()
}

fn table(faults: &[Fault], rows: &[(usize, Row)]) -> String {
    let mut text = String::from("| What is wrong | Where |");
    for level in LEVELS {
        write!(text, " `{level}` |").unwrap();
    }
    text.push_str("\n| --- | --- |");
    text.push_str(&" --- |".repeat(LEVELS.len()));
    text.push('\n');
    for (at, row) in rows {
        let Fault { what, place, .. } = &faults[*at];
        writeln!(text, "| {what} | {place} | {} |", row.join(" | ")).unwrap();
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
