//! What prune adds to a manifest that it puts under `dropped/`. docs/format.md, *Manifest*.

use serde::{Deserialize, Serialize};

/// Most characters of the reasons: a backup may have very many components, and with this line its
/// manifest must still be one that readers take.
const MOST: usize = 64 << 10;

/// A line of its own behind those of the manifest. It is for people: nothing vouches for it, and no
/// decision rests upon it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropNote {
    /// RFC 3339, UTC, by the clock of whoever pruned.
    pub dropped: String,
    /// Why no rule kept it.
    pub why: String,
}

impl DropNote {
    /// A note of now; of very many reasons the first.
    pub fn new(dropped: String, why: &str) -> Self {
        Self {
            dropped,
            why: why.chars().take(MOST).collect(),
        }
    }

    /// A manifest's bytes with this line behind them.
    pub fn behind(&self, manifest: &[u8]) -> Vec<u8> {
        let mut bytes = manifest.to_vec();
        serde_json::to_writer(&mut bytes, self).expect("two texts, into memory");
        bytes.push(b'\n');
        bytes
    }

    /// The manifest's own bytes, and the note if there is one.
    pub fn split(bytes: &[u8]) -> (&[u8], Option<Self>) {
        let Some(content) = bytes.strip_suffix(b"\n") else {
            return (bytes, None);
        };
        let Some(end) = content.iter().rposition(|byte| *byte == b'\n') else {
            return (bytes, None);
        };
        let (manifest, last) = content.split_at(end + 1);
        match serde_json::from_slice(last) {
            Ok(note) => (manifest, Some(note)),
            Err(_another_line) => (bytes, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_taken_off_again_and_nothing_else_is() {
        let note = DropNote {
            dropped: "2026-11-22T01:02:03Z".to_owned(),
            why: "tas: keep_last: 7 are newer".to_owned(),
        };
        for manifest in [
            "{\"format\":1}\n",
            "{\"format\":1}\n{\"signature\":\"s\"}\n",
        ] {
            let with = note.behind(manifest.as_bytes());
            assert_eq!(
                DropNote::split(&with),
                (manifest.as_bytes(), Some(note.clone()))
            );
            assert_eq!(
                DropNote::split(manifest.as_bytes()),
                (manifest.as_bytes(), None)
            );
        }
        assert_eq!(DropNote::split(b"torn"), (&b"torn"[..], None));
    }

    #[test]
    fn a_note_of_very_many_reasons_leaves_the_manifest_readable() {
        let why = "deployment/x: keep_daily: 2026-11-22 is beyond the newest 7 | ".repeat(100_000);
        let line = DropNote::new("2026-11-22T01:02:03Z".to_owned(), &why).behind(b"");
        assert!(line.len() < 1 << 20, "{}", line.len());
    }
}
