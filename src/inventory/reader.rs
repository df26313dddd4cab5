//! Reads an inventory line by line.

use std::io::{self, BufRead, Read as _};

use super::{FORMAT, Head, Item};

/// The longest line in bytes.
const LONGEST: u64 = 64 << 20;

/// Why an inventory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be had.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is none, or a damaged or newer one.
    #[error("line {line} {problem}")]
    Line {
        /// From 1.
        line: u64,
        /// Part of a sentence.
        problem: String,
    },
}

/// An inventory that is being read.
pub struct Reader<R> {
    from: R,
    head: Head,
    line: u64,
    last: Option<(String, String)>,
    read: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`Error`], also for a newer format.
    pub fn open(from: R) -> Result<Self, Error> {
        let mut reader = Self {
            from,
            head: Head::default(),
            line: 0,
            last: None,
            read: 0,
        };
        let text = reader.text()?;
        let head: Head = match text.as_deref().map(serde_json::from_slice) {
            Some(Ok(head)) => head,
            _ => return Err(reader.wrong("is not the head of an inventory")),
        };
        if head.format != FORMAT {
            let problem = format!(
                "says format {}; this release reads {FORMAT}, use a newer one",
                head.format
            );
            return Err(reader.wrong(&problem));
        }
        reader.head = head;
        Ok(reader)
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next thing; `None` at the end, which comes when all that the head counts was read.
    ///
    /// # Errors
    /// [`Error`], also where lines are missing or out of order.
    #[allow(
        clippy::should_implement_trait,
        reason = "it lends nothing, but it can fail"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, Error> {
        let Some(text) = self.text()? else {
            let total = self.head.total();
            if self.read != total {
                let problem = format!(
                    "is missing: the head counts {total} things, {} are here",
                    self.read
                );
                return Err(self.wrong(&problem));
            }
            return Ok(None);
        };
        let item: Item = serde_json::from_slice(&text)
            .map_err(|_may_quote| self.wrong("is not a thing of an inventory"))?;
        let place = (item.kind.clone(), item.key.clone());
        if self.last.as_ref().is_some_and(|last| *last >= place) {
            return Err(self.wrong("is out of order"));
        }
        self.last = Some(place);
        self.read += 1;
        Ok(Some(item))
    }

    fn text(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut text = Vec::new();
        self.line += 1;
        (&mut self.from)
            .take(LONGEST)
            .read_until(b'\n', &mut text)?;
        match text.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(text)),
            Some(_) => Err(self.wrong("is cut off")),
        }
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::Line {
            line: self.line,
            problem: problem.to_owned(),
        }
    }
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader(line {})", self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let mut reader = match Reader::open(text.as_bytes()) {
            Ok(reader) => reader,
            Err(error) => return error.to_string(),
        };
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(error) => return error.to_string(),
            }
        }
    }

    #[test]
    fn what_is_cut_short_swapped_or_newer_is_said() {
        let head = r#"{"format":1,"counts":{"app":2}}"#;
        let (a, b) = (r#"{"kind":"app","key":"a"}"#, r#"{"kind":"app","key":"b"}"#);
        assert_eq!(problem(&format!("{head}\n{a}\n{b}\n")), "");
        for (text, words) in [
            (String::new(), "line 1 is not the head"),
            ("{}\n".to_owned(), "line 1 says format 0"),
            ("{\"format\":2}\n".to_owned(), "use a newer one"),
            (
                format!("{head}\n{a}\n"),
                "the head counts 2 things, 1 are here",
            ),
            (format!("{head}\n{b}\n{a}\n"), "line 3 is out of order"),
            (format!("{head}\n{a}\n{a}\n"), "line 3 is out of order"),
            (
                format!("{head}\n{a}\n{{\"kind\":1}}\n"),
                "line 3 is not a thing",
            ),
            (format!("{head}\n{a}\n{b}"), "line 3 is cut off"),
        ] {
            let said = problem(&text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
