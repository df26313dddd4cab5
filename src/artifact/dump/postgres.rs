//! `pg_dump`'s archives: the table of contents, and in format *custom* (`-Fc`, what the BBR SDK writes)
//! the data of each of its entries behind it. Versions 1.7 to 1.16: PostgreSQL 7.4 to 18.
//!
//! Learned from PostgreSQL's `pg_backup_archiver.c` and `pg_backup_custom.c`, where the names here are
//! from.

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::{Seen, unread};

pub(super) const MAGIC: &[u8] = b"PGDMP";

const OLDEST: (u8, u8) = (1, 7);
const NEWEST: (u8, u8) = (1, 16);
const CUSTOM: u8 = 1;
const TAR: u8 = 3;
const DIRECTORY: u8 = 5;
/// What an entry of the table of contents says of its data's place: there is none.
const NO_DATA: u8 = 3;
const BLOCK_DATA: u8 = 1;
const BLOCK_BLOBS: u8 = 3;
/// More entries than a database has objects; each with data takes some bytes of memory.
const MOST_ENTRIES: i64 = 10_000_000;

pub(super) fn follow(reader: &mut dyn Read) -> Result<Seen, String> {
    // Most of it is read byte by byte.
    let mut reader = io::BufReader::new(reader);
    let mut archive = Archive::begin(&mut reader).map_err(Problem::told)?;
    archive.follow().map_err(Problem::told)
}

enum Problem {
    Read(io::Error),
    Cut(String),
    Other(String),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl Problem {
    fn told(self) -> String {
        match self {
            Self::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "is cut short: the pg_dump archive ends too early".to_owned()
            }
            Self::Read(error) => unread(&error),
            Self::Cut(what) => format!("is cut short: the pg_dump archive {what}"),
            Self::Other(what) => format!("is not whole: the pg_dump archive {what}"),
        }
    }
}

fn other<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Other(what.into()))
}

struct Archive<'a> {
    reader: &'a mut dyn Read,
    version: (u8, u8),
    int_size: u8,
    offset_size: u8,
    format: u8,
}

impl<'a> Archive<'a> {
    fn begin(reader: &'a mut dyn Read) -> Result<Self, Problem> {
        let mut fixed = [0; 11];
        reader.read_exact(&mut fixed)?;
        let [.., major, minor, _revision, int_size, offset_size, format] = fixed;
        let version = (major, minor);
        if !(OLDEST..=NEWEST).contains(&version) {
            return other(format!(
                "has format {major}.{minor}, which this release does not know; look at it with pg_restore --list"
            ));
        }
        if !(1..=8).contains(&int_size) || offset_size > 16 {
            return other("states sizes of numbers that are none");
        }
        Ok(Self {
            reader,
            version,
            int_size,
            offset_size,
            format,
        })
    }

    fn follow(&mut self) -> Result<Seen, Problem> {
        match self.version >= (1, 15) {
            true => drop(self.byte()?),
            false => drop(self.int()?),
        }
        // Seven numbers of a time; three texts: the database, and two versions.
        for _ in 0..7 {
            self.int()?;
        }
        let texts = if self.version >= (1, 10) { 3 } else { 1 };
        for _ in 0..texts {
            self.skip_text()?;
        }
        let entries = self.int()?;
        if !(0..=MOST_ENTRIES).contains(&entries) {
            return other("states a number of entries that is none");
        }
        let mut with_data = BTreeSet::new();
        for _ in 0..entries {
            let (id, has_data) = self.entry()?;
            if has_data {
                with_data.insert(id);
            }
        }
        let tables = with_data.len();
        if self.format == CUSTOM {
            while !with_data.is_empty() {
                let id = self.data(with_data.len(), tables)?;
                if !with_data.remove(&id) {
                    return other("holds data that its table of contents does not name");
                }
            }
        }
        let mut behind = [0];
        if self.reader.read(&mut behind)? != 0 {
            return other("goes on behind its end");
        }
        let contents = match self.format {
            CUSTOM => format!("with data of {tables} entries"),
            TAR | DIRECTORY => format!("(its table of contents: {entries} entries)"),
            _ => return other("has a form that this release does not know"),
        };
        Ok(Seen::dump(
            format!("a pg_dump archive {contents}"),
            tables == 0,
        ))
    }

    /// One entry of the table of contents: its id, and whether data of it follows.
    fn entry(&mut self) -> Result<(i64, bool), Problem> {
        let version = self.version;
        let id = self.int()?;
        let had_dumper = self.int()?;
        if version >= (1, 8) {
            self.skip_text()?;
        }
        // oid, tag, description.
        for _ in 0..3 {
            self.skip_text()?;
        }
        if version >= (1, 11) {
            self.int()?;
        }
        // Definition, drop and copy statement, schema.
        for _ in 0..4 {
            self.skip_text()?;
        }
        if version >= (1, 10) {
            self.skip_text()?;
        }
        if version >= (1, 14) {
            self.skip_text()?;
        }
        if version >= (1, 16) {
            self.int()?;
        }
        // Owner, and until today whether it has oids.
        self.skip_text()?;
        if version >= (1, 9) {
            self.skip_text()?;
        }
        // What it depends on.
        while self.skip_text()? {}
        if self.format == CUSTOM {
            let state = self.byte()?;
            self.skip(u64::from(self.offset_size))?;
            return Ok((id, state != NO_DATA));
        }
        // The name of a file of its own.
        self.skip_text()?;
        Ok((id, had_dumper != 0))
    }

    /// One block of data, `left` of `of` being still to come: whose it is.
    fn data(&mut self, left: usize, of: usize) -> Result<i64, Problem> {
        let mut kind = [0];
        if self.reader.read(&mut kind)? == 0 {
            let missing = format!("lacks the data of {left} of its {of} entries");
            return Err(Problem::Cut(missing));
        }
        let id = self.int()?;
        match kind[0] {
            BLOCK_DATA => self.skip_pieces()?,
            BLOCK_BLOBS => {
                while self.int()? != 0 {
                    self.skip_pieces()?;
                }
            }
            kind => return other(format!("holds a block of a kind that is none ({kind})")),
        }
        Ok(id)
    }

    fn skip_pieces(&mut self) -> Result<(), Problem> {
        loop {
            let length = self.int()?;
            match u64::try_from(length) {
                Ok(0) => return Ok(()),
                Ok(length) => self.skip(length)?,
                Err(_negative) => return other("states a length that is none"),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// A sign, and as many bytes as the archive says numbers have, the lowest first.
    fn int(&mut self) -> Result<i64, Problem> {
        let negative = self.byte()? != 0;
        let mut bytes = [0; 8];
        self.reader
            .read_exact(&mut bytes[..usize::from(self.int_size)])?;
        let Ok(number) = i64::try_from(u64::from_le_bytes(bytes)) else {
            return other("holds a number that is none");
        };
        Ok(if negative { -number } else { number })
    }

    /// A length and so many bytes; `false` for none at all, which ends a list.
    fn skip_text(&mut self) -> Result<bool, Problem> {
        match u64::try_from(self.int()?) {
            Ok(length) => {
                self.skip(length)?;
                Ok(true)
            }
            Err(_negative) => Ok(false),
        }
    }

    fn skip(&mut self, length: u64) -> Result<(), Problem> {
        let skipped = io::copy(&mut (&mut *self.reader).take(length), &mut io::sink())?;
        match skipped == length {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }
}
