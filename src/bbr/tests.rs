//! The module against real scripts and tools, on local "instances".

mod abort;
mod armed;
mod backup;
mod check;
mod cleanup;
mod discovery;
mod drain;
mod stage;

use super::testing::World;
use crate::shutdown::Shutdown;

fn never() -> Shutdown {
    Shutdown::never()
}

/// The place of a line in the journal.
fn at(world: &World, line: &str) -> usize {
    let journal = world.journal();
    journal
        .iter()
        .position(|known| known == line)
        .unwrap_or_else(|| panic!("no `{line}` in {journal:?}"))
}

/// Metadata that asks to be locked before other jobs of release `r`, at backup.
fn before(jobs: &[&str]) -> String {
    let entries: Vec<String> = jobs
        .iter()
        .map(|job| format!("{{job_name: {job}, release: r}}"))
        .collect();
    format!(
        "echo 'backup_should_be_locked_before: [{}]'",
        entries.join(", ")
    )
}

/// A manifest of one group whose jobs are all of release `r`.
fn manifest(group: &str, jobs: &[&str]) -> String {
    let jobs: Vec<String> = jobs
        .iter()
        .map(|job| format!("{{name: {job}, release: r}}"))
        .collect();
    format!(
        "instance_groups: [{{name: {group}, jobs: [{}]}}]",
        jobs.join(", ")
    )
}
