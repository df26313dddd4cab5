//! What an instance says of one staged tree, and what was noted beside it.

/// What lies staged for one artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) ours: bool,
    pub(super) foreign: bool,
    pub(super) tree: bool,
    /// Whether the tree can become the artifact directory by a rename.
    pub(super) same: bool,
    pub(super) free: Option<u64>,
    pub(super) size: Option<u64>,
    /// Bytes of the files of a tree that is not whole, where that was asked for.
    pub(super) content: Option<u64>,
    pub(super) note: Note,
}

impl Look {
    /// Bytes of the files that lie there, as far as they are known.
    pub(super) fn bytes(&self) -> u64 {
        match self.note.whole {
            true => self.note.bytes,
            false => self.content.unwrap_or(0),
        }
    }
}

/// What was noted of a staged tree; nothing of it is believed, all is listed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(super) struct Note {
    pub(super) foundation: String,
    pub(super) component: String,
    pub(super) artifact: String,
    pub(super) backup: String,
    /// Whether it was made whole, or a run is at it or was cut off.
    pub(super) whole: bool,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Note {
    pub(super) fn is_of(&self, other: &Self) -> bool {
        let names = |note: &Self| {
            let Self {
                foundation,
                component,
                artifact,
                ..
            } = note.clone();
            (foundation, component, artifact)
        };
        names(self) == names(other)
    }

    pub(super) fn text(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// `None` when the output is not whole.
pub(super) fn parse(output: &[u8]) -> Option<Look> {
    let text = String::from_utf8_lossy(output);
    let (lines, note) = text.split_once("end\n")?;
    let mut look = Look {
        note: serde_json::from_str(note).unwrap_or_default(),
        ..Look::default()
    };
    let mut marked = false;
    for line in lines.lines() {
        let (key, value) = line.split_once(' ')?;
        let bytes = || Some(value.parse::<u64>().ok()?.saturating_mul(1024));
        match key {
            "mark" => {
                (marked, look.ours, look.foreign) = (true, value == "ours", value == "foreign");
            }
            "tree" => look.tree = true,
            "same" => look.same = true,
            "free" => look.free = bytes(),
            "size" => look.size = bytes(),
            "content" => look.content = bytes(),
            _ => {}
        }
    }
    marked.then_some(look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_is_read_whole_or_not_at_all() {
        let text = "mark ours\ntree there\nsame yes\nsize 2048\nfree 1024\nend\n{\"backup\":\"x\",\"whole\":true,\"more\":1}\n";
        let look = parse(text.as_bytes()).unwrap();
        assert!(look.ours && look.tree && look.same && !look.foreign && look.note.whole);
        assert_eq!((look.size, look.free), (Some(2 << 20), Some(1 << 20)));
        assert_eq!(look.note.backup, "x");
        assert!(parse(b"mark foreign\nend\n").unwrap().foreign);
        assert_eq!(look.bytes(), look.note.bytes);
        // Of a tree that is not whole counts what lies there, whatever is noted.
        let text = "mark ours\ntree there\ncontent 3\nend\n{\"whole\":false,\"bytes\":9}\n";
        assert_eq!(parse(text.as_bytes()).unwrap().bytes(), 3 << 10);
        assert_eq!(parse(b"mark ours\ntree there\nend\n").unwrap().bytes(), 0);
        // A note that was cut off, or is none, says nothing.
        let look = parse(b"mark ours\nend\n{\"backup\":").unwrap();
        assert_eq!(look.note, Note::default());
        for text in ["", "mark ours\n", "end\n", "mark\nend\n"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_note_belongs_to_one_artifact_of_one_component_of_one_foundation() {
        let note = Note {
            foundation: "prod".to_owned(),
            component: "tas".to_owned(),
            artifact: "g-0-j.tar".to_owned(),
            ..Note::default()
        };
        let later = Note {
            backup: "y".to_owned(),
            whole: true,
            ..note.clone()
        };
        assert!(later.is_of(&note));
        let other = Note {
            component: "deployment/x".to_owned(),
            ..note.clone()
        };
        assert!(!other.is_of(&note) && !Note::default().is_of(&note));
        let read: Note = serde_json::from_str(&note.text()).unwrap();
        assert_eq!(read, note);
    }
}
