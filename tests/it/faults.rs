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
    table(&faults, &rows).compare(BEGIN);
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

fn table(faults: &[Fault], rows: &[(usize, Row)]) -> Table {
    let mut table = Table::new(&["What is wrong", "Where"], &[]);
    for (at, row) in rows {
        let Fault { what, place, .. } = &faults[*at];
        let mut cells = vec![(*what).to_owned(), (*place).to_owned()];
        cells.extend(row.iter().cloned());
        table.row(&cells);
    }
    table
}

/// A table of the page: what is wrong, and what each level says of it.
pub(crate) struct Table(String);

impl Table {
    /// `first` come before the levels that everything is looked at on, `last` behind them.
    pub(crate) fn new(first: &[&str], last: &[&str]) -> Self {
        let levels = LEVELS.iter().chain(last).map(|level| format!("`{level}`"));
        let mut table = Self(String::new());
        let titles = first.iter().map(|&title| title.to_owned());
        table.row(&titles.chain(levels).collect::<Vec<_>>());
        let columns = first.len() + LEVELS.len() + last.len();
        table.row(&vec!["---".to_owned(); columns]);
        table
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        writeln!(self.0, "| {} |", cells.join(" | ")).unwrap();
    }

    /// Compares with the one that stands on the page behind `begin`, to the next empty line.
    pub(crate) fn compare(&self, begin: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        // Two tests may write.
        static PAGE_IN_HAND: Mutex<()> = Mutex::new(());
        let _in_hand = PAGE_IN_HAND.lock().unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        let (head, rest) = page.split_once(begin).expect("the page has its table");
        let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
        let (stated, tail) = rest.split_at(end);
        if std::env::var_os("LIFEBOAT_WRITE_DOCS").is_some() {
            std::fs::write(&path, format!("{head}{begin}{}{tail}", self.0)).unwrap();
            return;
        }
        for (stated, seen) in stated.lines().zip(self.0.lines()) {
            assert_eq!(stated, seen, "{PAGE} says the first, the second happened");
        }
        assert_eq!(stated, self.0, "{PAGE}");
    }
}
