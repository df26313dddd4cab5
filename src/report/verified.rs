//! What a verification found.

use serde_json::{Value, json};

use super::copies;
use super::proofs::printable;
use super::text::{Side, Table};
use super::units::{bytes, count};
use crate::repo::proof::{Level, Outcome, Proof};
use crate::repo::scrub::Scrubbed;

/// A verification of any level.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// How closely it looked.
    pub level: Level,
    /// What it found.
    pub found: Found,
    /// The stores that have the result.
    pub stored: Vec<String>,
}

/// What was found, by what was looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// All stores and all backups.
    All(Scrubbed),
    /// One backup.
    One(Box<Examined>),
}

/// One backup, looked into.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// The result; what is stored names no files.
    pub proof: Proof,
    /// Artifact by artifact.
    pub rows: Vec<Row>,
}

/// One artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Its component.
    pub component: String,
    /// Its name.
    pub artifact: String,
    /// Files read.
    pub files: u64,
    /// Files that it has.
    pub of_files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Whether it was read to its end, as far as was asked.
    pub whole: bool,
    /// What was recognised in it.
    pub known: Vec<String>,
    /// How much more.
    pub more_known: u64,
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        match &self.found {
            Found::All(scrubbed) => scrubbed.is_good(),
            Found::One(examined) => examined.proof.result == Outcome::Passed,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = match &self.found {
            Found::All(scrubbed) => copies::scrubbed(self.level, scrubbed),
            Found::One(examined) => one(examined),
        };
        if !self.stored.is_empty() {
            let stores = self.stored.join(", ");
            text.push_str(&format!("the result is stored in {stores}\n"));
        }
        text
    }

    /// For programs: of one backup the proof itself.
    pub fn json(&self) -> Value {
        let mut value = match &self.found {
            Found::All(scrubbed) => json!(scrubbed),
            Found::One(examined) => json!(examined.proof),
        };
        value["level"] = json!(self.level);
        value["stored"] = json!(self.stored);
        value
    }
}

fn one(examined: &Examined) -> String {
    let Examined { proof, rows } = examined;
    let mut table = Table::new(&[
        ("component", Side::Left),
        ("artifact", Side::Left),
        ("files", Side::Right),
        ("of", Side::Right),
        ("read", Side::Right),
        ("", Side::Left),
    ]);
    let mut last = "";
    for row in rows {
        let component = match row.component == last {
            true => String::new(),
            false => row.component.clone(),
        };
        last = &row.component;
        table.row(vec![
            component,
            row.artifact.clone(),
            count(row.files),
            count(row.of_files),
            bytes(row.bytes),
            match row.whole {
                true => String::new(),
                false => "not read to its end".to_owned(),
            },
        ]);
    }
    let (backup, foundation, level) = (&proof.backup, &proof.foundation, proof.level);
    let mut text = format!("backup {backup} of {foundation}, level {level}\n\n");
    if !rows.is_empty() {
        text.push_str(&table.render());
        text.push('\n');
    }
    let mut say = |line: &str| {
        text.push_str(&printable(line));
        text.push('\n');
    };
    for row in rows {
        for known in &row.known {
            say(&format!("{}: {}: {known}", row.component, row.artifact));
        }
        if row.more_known > 0 {
            let more = count(row.more_known);
            say(&format!(
                "{}: {}: and {more} more that were recognised",
                row.component, row.artifact
            ));
        }
    }
    for note in &proof.notes {
        say(&format!("note: {note}"));
    }
    for finding in &proof.findings {
        say(&format!("wrong: {}", finding.what));
    }
    let (files, size) = (count(proof.checked.files), bytes(proof.checked.bytes));
    let scope = match proof.scope.is_whole() {
        true => String::new(),
        false => format!(" in {} of the files", proof.scope),
    };
    say(&match proof.result {
        Outcome::Passed => {
            format!(
                "passed: nothing is wrong, as far as level {level} sees{scope}; {files} files, {size}"
            )
        }
        Outcome::Failed => format!(
            "failed: {} {}; {files} files, {size}{scope}",
            proof.findings.len(),
            match proof.findings.len() {
                1 => "thing is wrong",
                _ => "things are wrong",
            }
        ),
    });
    text
}
