//! Tables for people: the closing summary of a backup, lists, one backup, checks.

use std::time::Duration;

use super::proofs::Proofs;
use super::units::{bytes, count};
use super::{Backup, Cleanup, Component, Fetched, Listing, Phase, Precheck, Restored};
use crate::clock::{self, spoken};

/// The closing summary of a backup, or what `show` prints. What only the run knew of each
/// artifact is missing from an old backup, and so are its columns.
pub fn backup(backup: &Backup) -> String {
    let artifacts = backup.components.iter().flat_map(|part| &part.artifacts);
    let fresh = artifacts.clone().any(|artifact| artifact.run.is_some());
    let mut columns = vec![
        ("component", Side::Left),
        ("artifact", Side::Left),
        ("files", Side::Right),
        ("size", Side::Right),
    ];
    if fresh {
        columns.extend(["changed", "time"].map(|name| (name, Side::Right)));
    }
    let mut table = Table::new(&columns);
    let none = || "-".to_owned();
    for component in &backup.components {
        for (at, artifact) in component.artifacts.iter().enumerate() {
            let name = if at == 0 { component.name.as_str() } else { "" };
            table.row(vec![
                name.to_owned(),
                artifact.name.clone(),
                count(artifact.files),
                bytes(artifact.bytes),
                artifact
                    .run
                    .map_or_else(none, |run| bytes(run.changed_bytes)),
                artifact.run.map_or_else(none, |run| spoken(run.took)),
            ]);
        }
        if component.artifacts.is_empty() {
            table.row(vec![component.name.clone(), "(nothing to keep)".to_owned()]);
        }
    }
    table.row(vec![
        "total".to_owned(),
        String::new(),
        count(backup.files()),
        bytes(backup.bytes()),
        bytes(backup.changed_bytes),
        spoken(backup.duration()),
    ]);
    let mut facts = facts(backup);
    let ran = backup
        .components
        .iter()
        .filter(|part| !part.phases.is_empty());
    facts.extend(ran.map(|part| (format!("phases of {}", part.name), phases(part))));
    let noted = backup.components.iter().flat_map(|part| {
        let notes = part.notes.iter();
        notes.map(|note| (format!("note on {}", part.name), printable(note)))
    });
    facts.extend(noted);
    let heading = format!("backup {} of {}", backup.id, backup.foundation);
    format!("{heading}\n\n{}\n{}", table.render(), pairs(&facts))
}

/// A text from a manifest without anything that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// What an operator asks first, as names and texts; Concourse shows them as metadata.
pub fn facts(backup: &Backup) -> Vec<(String, String)> {
    let components: Vec<&str> = backup.components.iter().map(|c| c.name.as_str()).collect();
    let mut facts = vec![
        ("finished".to_owned(), clock::rfc3339(backup.finished)),
        ("components".to_owned(), components.join(", ")),
    ];
    let unavailable = api_unavailable(&backup.components);
    if !unavailable.is_empty() {
        facts.push(("api_unavailable".to_owned(), unavailable));
    }
    let seen = downtime(&backup.components);
    if !seen.is_empty() {
        facts.push(("downtime_seen".to_owned(), seen));
    }
    facts.push(("drained".to_owned(), bytes(backup.drained_bytes)));
    facts.push(("changed".to_owned(), bytes(backup.changed_bytes)));
    facts.push((
        "stored".to_owned(),
        format!(
            "{} in {} objects",
            bytes(backup.stored_bytes),
            count(backup.new_objects)
        ),
    ));
    facts.push((
        "copies".to_owned(),
        format!(
            "{} of {} ({})",
            backup.copies.len(),
            backup.stores,
            backup.copies.join(", ")
        ),
    ));
    let base = match (&backup.base, &backup.full_because) {
        (Some(base), _) => base.clone(),
        (None, Some(why)) => format!("none: {why}"),
        (None, None) => "none".to_owned(),
    };
    facts.push(("base".to_owned(), base));
    facts.push(("chain".to_owned(), backup.chain.clone()));
    facts.push(("signed_by".to_owned(), backup.origin.to_string()));
    facts.push(("duration".to_owned(), spoken(backup.duration())));
    facts.push(("release".to_owned(), backup.release.clone()));
    if let Some(build) = &backup.build {
        facts.push(("build".to_owned(), build.shown()));
    }
    facts.extend(backup.proofs.iter().flat_map(Proofs::facts));
    facts
}

/// `tas 42.0 s (lock 10.0 s, backup 30.0 s, unlock 2.0 s); director 5.1 s (…)`.
fn api_unavailable(components: &[Component]) -> String {
    let parts: Vec<String> = components
        .iter()
        .filter_map(|component| {
            let whole = component.api_unavailable()?;
            Some(format!(
                "{} {} (lock {}, backup {}, unlock {})",
                component.name,
                spoken(whole),
                spoken(component.phase("lock")),
                spoken(component.phase("backup")),
                spoken(component.phase("unlock")),
            ))
        })
        .collect();
    parts.join("; ")
}

/// `tas: api 41.0 s (41 of 55 answers failed), app 0 of 55; …`: what probes saw.
fn downtime(components: &[Component]) -> String {
    let watched = components.iter().filter(|part| !part.downtime.is_empty());
    let parts: Vec<String> = watched
        .map(|part| {
            let probes: Vec<String> = part
                .downtime
                .iter()
                .map(|one| match one.failed {
                    0 => format!("{} 0 of {}", printable(&one.probe), count(one.asked)),
                    failed => format!(
                        "{} {}{} ({} of {} answers failed)",
                        printable(&one.probe),
                        if one.still { "at least " } else { "" },
                        spoken(one.took),
                        count(failed),
                        count(one.asked)
                    ),
                })
                .collect();
            format!("{}: {}", part.name, probes.join(", "))
        })
        .collect();
    parts.join("; ")
}

/// All backups.
pub fn listing(listing: &Listing) -> String {
    let mut text = if listing.backups.is_empty() {
        "no backups\n".to_owned()
    } else {
        let mut table = Table::new(&[
            ("backup", Side::Left),
            ("components", Side::Left),
            ("size", Side::Right),
            ("changed", Side::Right),
            ("stored", Side::Right),
            ("copies", Side::Left),
            ("base", Side::Left),
            ("signed", Side::Left),
            ("last proof", Side::Left),
        ]);
        for backup in &listing.backups {
            let names: Vec<&str> = backup.components.iter().map(|c| c.name.as_str()).collect();
            table.row(vec![
                backup.id.clone(),
                names.join(", "),
                bytes(backup.bytes()),
                bytes(backup.changed_bytes),
                bytes(backup.stored_bytes),
                format!("{} of {}", backup.copies.len(), backup.stores),
                backup.base.clone().unwrap_or_else(|| "none".to_owned()),
                match backup.origin {
                    super::Origin::Signed(_) => "yes",
                    super::Origin::Unsigned => "no",
                    super::Origin::NotVerified => "not verified",
                }
                .to_owned(),
                backup
                    .proofs
                    .as_ref()
                    .map_or_else(String::new, Proofs::summary),
            ]);
        }
        table.render()
    };
    if listing.has_older {
        text.push_str("these are the newest; `lifeboat list --all` shows older ones too\n");
    }
    for problem in &listing.unreadable {
        text.push_str(&format!("backup {}: {}\n", problem.what, problem.why));
    }
    for problem in &listing.silent_stores {
        text.push_str(&format!(
            "store {} did not answer: {}\n",
            problem.what, problem.why
        ));
    }
    text
}

/// What a pre-backup-check found.
pub fn precheck(precheck: &Precheck) -> String {
    let mut text = String::new();
    for ready in &precheck.ready {
        text.push_str(&format!("{} can be backed up: {}\n", ready.what, ready.why));
    }
    for problem in &precheck.problems {
        text.push_str(&format!(
            "{} cannot be backed up: {}\n",
            problem.what, problem.why
        ));
    }
    text
}

/// What a cleanup did.
pub fn cleanup(cleanup: &Cleanup) -> String {
    if cleanup.done.is_empty() {
        return "nothing had been left behind\n".to_owned();
    }
    cleanup
        .done
        .iter()
        .map(|done| format!("{done}\n"))
        .collect()
}

/// What was fetched.
pub fn fetched(fetched: &Fetched) -> String {
    format!(
        "fetched {} in {} files of backup {} in {}\n",
        bytes(fetched.bytes),
        count(fetched.files),
        fetched.backup.id,
        spoken(fetched.took),
    )
}

/// The closing summary of a restore.
pub fn restored(restored: &Restored) -> String {
    let mut table = Table::new(&[
        ("component", Side::Left),
        ("artifact", Side::Left),
        ("instance", Side::Left),
        ("files", Side::Right),
        ("size", Side::Right),
        ("time", Side::Right),
    ]);
    let (mut files, mut size) = (0, 0);
    for component in &restored.components {
        for (at, artifact) in component.artifacts.iter().enumerate() {
            files += artifact.files;
            size += artifact.bytes;
            table.row(vec![
                if at == 0 {
                    component.name.clone()
                } else {
                    String::new()
                },
                artifact.name.clone(),
                artifact.instance.clone(),
                count(artifact.files),
                bytes(artifact.bytes),
                spoken(artifact.took),
            ]);
        }
    }
    table.row(vec![
        "total".to_owned(),
        String::new(),
        String::new(),
        count(files),
        bytes(size),
        spoken(restored.took),
    ]);
    let facts: Vec<_> = restored
        .components
        .iter()
        .map(|component| {
            let name = format!("phases of {}", component.name);
            (name, phases_of(&component.phases))
        })
        .collect();
    let heading = format!("restored {} from {}", restored.step, restored.origin);
    format!("{heading}\n\n{}\n{}", table.render(), pairs(&facts))
}

/// `drain 3 min 04 s, cleanup 1.0 s`, of all phases that ran.
fn phases(component: &Component) -> String {
    phases_of(&component.phases)
}

fn phases_of(phases: &[Phase]) -> String {
    let parts: Vec<String> = phases
        .iter()
        .filter(|phase| phase.took > Duration::ZERO)
        .map(|phase| format!("{} {}", phase.name, spoken(phase.took)))
        .collect();
    parts.join(", ")
}

pub(super) fn pairs(facts: &[(String, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts
        .iter()
        .map(|(name, text)| format!("{:width$}  {text}\n", spaced(name)))
        .collect()
}

/// A fact's name in words; what names a component stays as it is.
fn spaced(name: &str) -> String {
    match name.contains(' ') {
        true => name.to_owned(),
        false => name.replace('_', " "),
    }
}

/// To which edge a column keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

pub(super) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&str, Side)]) -> Self {
        Self {
            sides: columns.iter().map(|(_, side)| *side).collect(),
            rows: vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect()],
        }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.sides.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(self.sides.iter().zip(&widths))
                .map(|(cell, (side, width))| match side {
                    Side::Left => format!("{cell:width$}"),
                    Side::Right => format!("{cell:>width$}"),
                })
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::sample;

    #[test]
    fn a_summary_fits_a_log() {
        assert_eq!(
            backup(&sample()),
            "\
backup 20261122T010203Z-7f3a09bc of prod-east

component  artifact                   files     size  changed        time
director   bosh-0-blobstore.tar       1,312  1.2 GiB   12 MiB       5.1 s
           bosh-0-postgres.tar            3   52 KiB        -           -
tas        mysql-0-mysql-restore.tar      1   32 KiB        -           -
total                                 1,316  1.2 GiB   12 MiB  1 min 04 s

finished            2026-11-22T01:02:03Z
components          director, tas
api unavailable     director 5.0 s (lock 1.0 s, backup 3.0 s, unlock 1.0 s)
drained             1.2 GiB
changed             12 MiB
stored              8.0 MiB in 41 objects
copies              2 of 2 (dc2, nas)
base                20261121T010203Z-00000000
chain               5f2c9a1e0b7d4c38
signed by           ssh-ed25519 AAAA
duration            1 min 04 s
release             lifeboat 0.1.0
build               main/backup/nightly #7
phases of director  check 9.0 s, lock 1.0 s, backup 3.0 s, unlock 1.0 s
"
        );
    }

    #[test]
    fn a_restore_says_what_went_where() {
        let took = Duration::from_millis(5100);
        let one = crate::report::RestoredComponent {
            name: "tas".to_owned(),
            phases: vec![Phase {
                name: "upload".to_owned(),
                took,
            }],
            artifacts: vec![crate::report::RestoredArtifact {
                instance: "blobs/b0".to_owned(),
                name: "blobs-0-store.tar".to_owned(),
                files: 1312,
                bytes: 1_288_490_189,
                took,
            }],
            complete: true,
        };
        let all = Restored {
            step: "tas".to_owned(),
            origin: "backup 20261122T010203Z-7f3a09bc".to_owned(),
            components: vec![one],
            took: Duration::from_secs(64),
        };
        assert_eq!(
            restored(&all),
            "\
restored tas from backup 20261122T010203Z-7f3a09bc

component  artifact           instance  files     size        time
tas        blobs-0-store.tar  blobs/b0  1,312  1.2 GiB       5.1 s
total                                   1,312  1.2 GiB  1 min 04 s

phases of tas  upload 5.1 s
"
        );
    }

    #[test]
    fn a_list_says_which_stores_did_not_answer() {
        let mut all = Listing::default();
        all.silent_stores.push(crate::report::Problem {
            what: "nas".to_owned(),
            why: "no route".to_owned(),
        });
        assert_eq!(
            listing(&all),
            "no backups\nstore nas did not answer: no route\n"
        );
        all.backups.push(sample());
        assert!(listing(&all).contains("20261122T010203Z-7f3a09bc  director, tas  1.2 GiB"));
    }
}
