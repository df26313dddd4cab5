//! How a run of `lifeboat stage` ended, and its text.

use std::time::Duration;

use serde_json::{Value, json};

use super::text::{Side, Table};
use super::units::{bytes, count};
use crate::clock::{millis, spoken};

/// What is staged now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staged {
    /// Of which backup; empty when it was removed.
    pub backup: String,
    /// Each artifact on each instance.
    pub artifacts: Vec<StagedArtifact>,
    /// `group/id` of the instances from which something was removed.
    pub removed: Vec<String>,
    /// All of it.
    pub took: Duration,
}

/// One artifact on one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedArtifact {
    /// As in the backup.
    pub component: String,
    /// `group/id`.
    pub instance: String,
    /// Its file name.
    pub name: String,
    /// Regular files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Those that were not there and were sent.
    pub sent_files: u64,
    /// Bytes of their content.
    pub sent_bytes: u64,
    /// Bytes that went over SSH for it: listings, tags and tars.
    pub wire_bytes: u64,
    /// From its listing to its last sum.
    pub took: Duration,
}

/// A table of what was staged, or a line for what was removed.
pub fn text(staged: &Staged) -> String {
    if staged.backup.is_empty() {
        return match staged.removed.as_slice() {
            [] => "nothing was staged\n".to_owned(),
            removed => format!("removed what was staged on {}\n", removed.join(", ")),
        };
    }
    let mut table = Table::new(&[
        ("component", Side::Left),
        ("artifact", Side::Left),
        ("instance", Side::Left),
        ("files", Side::Right),
        ("size", Side::Right),
        ("sent", Side::Right),
        ("over SSH", Side::Right),
        ("time", Side::Right),
    ]);
    let mut total = StagedArtifact::default();
    for one in &staged.artifacts {
        total.files += one.files;
        total.bytes += one.bytes;
        total.sent_bytes += one.sent_bytes;
        total.wire_bytes += one.wire_bytes;
        table.row(row(one, one.took));
    }
    total.component = "total".to_owned();
    table.row(row(&total, staged.took));
    format!("staged backup {}\n\n{}", staged.backup, table.render())
}

fn row(one: &StagedArtifact, took: Duration) -> Vec<String> {
    vec![
        one.component.clone(),
        one.name.clone(),
        one.instance.clone(),
        count(one.files),
        bytes(one.bytes),
        bytes(one.sent_bytes),
        bytes(one.wire_bytes),
        spoken(took),
    ]
}

/// The same for programs: times in milliseconds; `backup` is absent where what was staged is removed.
pub fn json(staged: &Staged) -> Value {
    if staged.backup.is_empty() {
        return json!({ "removed": staged.removed });
    }
    let artifact = |one: &StagedArtifact| {
        json!({
            "component": one.component,
            "instance": one.instance,
            "name": one.name,
            "files": one.files,
            "bytes": one.bytes,
            "sent_files": one.sent_files,
            "sent_bytes": one.sent_bytes,
            "wire_bytes": one.wire_bytes,
            "ms": millis(one.took),
        })
    };
    json!({
        "backup": staged.backup,
        "artifacts": staged.artifacts.iter().map(artifact).collect::<Vec<_>>(),
        "ms": millis(staged.took),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_sent_of_what_is_there() {
        let one = StagedArtifact {
            component: "tas".to_owned(),
            instance: "blobstore/u0".to_owned(),
            name: "blobstore-0-blobstore.tar".to_owned(),
            files: 12_000,
            bytes: 5 << 30,
            sent_files: 3,
            sent_bytes: 1 << 20,
            wire_bytes: 2 << 20,
            took: Duration::from_secs(7),
        };
        let staged = Staged {
            backup: "20261122T010203Z-7f3a09bc".to_owned(),
            artifacts: vec![one.clone(), one],
            took: Duration::from_secs(15),
            ..Staged::default()
        };
        let text = text(&staged);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "staged backup 20261122T010203Z-7f3a09bc");
        assert!(lines[2].ends_with("time"), "{text}");
        let last = lines.last().unwrap();
        for part in ["total", "10 GiB", "2.0 MiB", "4.0 MiB", "15"] {
            assert!(last.contains(part), "{part}: {text}");
        }
        let value = json(&staged);
        assert_eq!(value["ms"], 15_000);
        assert_eq!(value["artifacts"][1]["sent_bytes"], 1 << 20);
    }

    #[test]
    fn what_is_removed_is_said_by_instance() {
        let mut staged = Staged::default();
        assert_eq!(text(&staged), "nothing was staged\n");
        staged.removed = vec!["g/u0".to_owned(), "g/u1".to_owned()];
        assert_eq!(text(&staged), "removed what was staged on g/u0, g/u1\n");
        assert_eq!(json(&staged), json!({"removed": ["g/u0", "g/u1"]}));
    }
}
