//! Dumps as SQL text: `pg_dump`, `pg_dumpall`, `mysqldump` and MariaDB's. Each says in its first lines
//! what it is, and in its last that it is complete.

use std::io::Read;

use super::{Seen, unread};

/// The last line stands within so many bytes of the end: newer `pg_dump` writes one line behind it.
const TAIL: usize = 1024;
const BUFFER: usize = 64 << 10;

/// Whose text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Postgres,
    PostgresCluster,
    Mysql,
}

impl Kind {
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let comment = head.starts_with(b"--") || head.starts_with(b"/*");
        let has = |words: &str| {
            let words = words.as_bytes();
            head.windows(words.len()).any(|window| window == words)
        };
        let kinds = [
            ("-- PostgreSQL database cluster dump", Self::PostgresCluster),
            ("-- PostgreSQL database dump", Self::Postgres),
            ("-- MySQL dump ", Self::Mysql),
            ("-- MariaDB dump ", Self::Mysql),
        ];
        let mut kinds = kinds.into_iter().filter(|_| comment);
        kinds.find(|(words, _)| has(words)).map(|(_, kind)| kind)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Postgres => "a pg_dump text",
            Self::PostgresCluster => "a pg_dumpall text",
            Self::Mysql => "a mysqldump text",
        }
    }

    /// What the last line begins with.
    fn end(self) -> &'static str {
        match self {
            Self::Postgres => "-- PostgreSQL database dump complete",
            Self::PostgresCluster => "-- PostgreSQL database cluster dump complete",
            Self::Mysql => "-- Dump completed",
        }
    }
}

pub(super) fn follow(kind: Kind, reader: &mut dyn Read) -> Result<Seen, String> {
    let mut buffer = vec![0; BUFFER];
    let (mut tail, mut tables) = (Vec::new(), Tables::default());
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(&error)),
        };
        tables.take(&buffer[..read]);
        tail.extend_from_slice(&buffer[..read]);
        let over = tail.len().saturating_sub(TAIL);
        tail.drain(..over);
    }
    let end = kind.end();
    let mut lines = tail.split(|byte| *byte == b'\n');
    if !lines.any(|line| line.starts_with(end.as_bytes())) {
        return Err(format!(
            "is cut short: it begins as {} and does not end with the line `{end}`",
            kind.name()
        ));
    }
    let what = format!("{} with {} tables", kind.name(), tables.found);
    Ok(Seen::dump(what, tables.found == 0))
}

const CREATE: &[u8] = b"CREATE TABLE ";

/// Counts lines that create a table, however the text comes in pieces.
#[derive(Debug, Default)]
struct Tables {
    found: u64,
    /// How many bytes of the words this line has had, or that it has others.
    matched: Option<usize>,
    begun: bool,
}

impl Tables {
    fn take(&mut self, bytes: &[u8]) {
        if !self.begun {
            self.begun = true;
            self.matched = Some(0);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.matched {
                Some(matched) if matched < CREATE.len() => {
                    let same = rest[0] == CREATE[matched];
                    self.matched = same.then_some(matched + 1);
                    if rest[0] == b'\n' {
                        self.matched = Some(0);
                    }
                    self.found += u64::from(self.matched == Some(CREATE.len()));
                    rest = &rest[1..];
                }
                _ => {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                        return;
                    };
                    self.matched = Some(0);
                    rest = &rest[end + 1..];
                }
            }
        }
    }
}
