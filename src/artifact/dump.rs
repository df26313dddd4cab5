//! What a file of an artifact is, by its first bytes, and whether it ends where such a file should:
//! dumps of databases, and what they are packed in.
//!
//! A digest tells that a file is what the instance had; not that what the instance had was whole. Dumps
//! that were cut short (a full disk, a killed program) are told here, in one pass, without a database.
//! Nothing is kept but what a parser needs to go on.

mod postgres;
mod redis;
mod text;

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::tar::{EntryKind, TarReader};

/// First bytes that decide what a file is.
pub const HEAD: usize = 512;
/// How deep files are looked for in files: a dump in a tar in gzip has three.
const DEEPEST: usize = 4;
/// Names that are told of one archive.
const MOST_TOLD: usize = 8;

/// What was recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What it is, for people: `a pg_dump archive with data of 3 entries`.
    pub what: String,
    /// The same without names of files that it holds.
    pub brief: String,
    /// Dumps of databases in it that hold nothing, by their names in what they are packed in.
    pub empty: Vec<String>,
    /// How many dumps of databases it is or holds.
    pub dumps: u64,
}

/// Why a file is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The files in files that lead to it.
    pub within: Vec<String>,
    /// What is wrong, to be put behind its name: `is cut short: …`.
    pub what: String,
}

impl Broken {
    fn in_file(mut self, name: String) -> Self {
        self.within.insert(0, name);
        self
    }
}

impl From<String> for Broken {
    fn from(what: String) -> Self {
        Self {
            within: Vec::new(),
            what,
        }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in &self.within {
            write!(f, "holds `{name}`, which ")?;
        }
        f.write_str(&self.what)
    }
}

/// What a beginning says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PostgresArchive,
    Text(text::Kind),
    Redis,
    Gzip,
    Tar,
}

impl Seen {
    /// Something that names nothing in it.
    fn of(what: String) -> Self {
        Self {
            brief: what.clone(),
            what,
            ..Self::default()
        }
    }

    /// A dump of a database, of an empty one perhaps.
    fn dump(what: String, is_empty: bool) -> Self {
        Self {
            empty: is_empty.then(String::new).into_iter().collect(),
            dumps: 1,
            ..Self::of(what)
        }
    }
}

/// Whether a file with these first bytes (up to [`HEAD`]) can be followed to its end.
pub fn is_known(head: &[u8]) -> bool {
    kind(head).is_some()
}

/// Follows a file to its end, by what its first bytes say it is; `None` when they say nothing. Reads
/// all of it in any case.
///
/// # Errors
/// What is wrong with it; or the stream's own error.
pub fn follow(reader: &mut dyn Read) -> Result<Option<Seen>, Broken> {
    let seen = at_depth(reader, 0);
    let rest = io::copy(reader, &mut io::sink());
    match (seen, rest) {
        (Ok(_), Err(error)) => Err(error.to_string().into()),
        (seen, _) => seen,
    }
}

fn kind(head: &[u8]) -> Option<Kind> {
    if head.starts_with(postgres::MAGIC) {
        return Some(Kind::PostgresArchive);
    }
    if head.starts_with(redis::MAGIC) {
        return Some(Kind::Redis);
    }
    if head.starts_with(&[0x1f, 0x8b, 8]) {
        return Some(Kind::Gzip);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(Kind::Tar);
    }
    text::Kind::of(head).map(Kind::Text)
}

fn at_depth(reader: &mut dyn Read, depth: usize) -> Result<Option<Seen>, Broken> {
    let mut head = Vec::with_capacity(HEAD);
    let begun = reader.take(HEAD as u64).read_to_end(&mut head);
    begun.map_err(|error| unread(&error))?;
    let Some(kind) = kind(&head) else {
        return Ok(None);
    };
    let mut whole = head.as_slice().chain(reader);
    match kind {
        Kind::PostgresArchive => Ok(Some(postgres::follow(&mut whole)?)),
        Kind::Text(kind) => Ok(Some(text::follow(kind, &mut whole)?)),
        Kind::Redis => Ok(Some(redis::follow(&mut whole)?)),
        // Deeper than anybody packs a dump: taken as it is.
        Kind::Gzip | Kind::Tar if depth == DEEPEST => Ok(None),
        Kind::Gzip => gzip(&mut whole, depth).map(Some),
        Kind::Tar => tar(&mut whole, depth).map(Some),
    }
}

fn gzip(reader: &mut dyn Read, depth: usize) -> Result<Seen, Broken> {
    let mut inside = MultiGzDecoder::new(reader);
    let seen = at_depth(&mut inside, depth + 1);
    let rest = io::copy(&mut inside, &mut io::sink());
    // Bytes that do not inflate explain whatever was wrong with what they held.
    rest.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short: its gzip stream does not end".to_owned(),
        _ => format!("is not whole: its gzip stream cannot be read ({error})"),
    })?;
    Ok(match seen? {
        Some(seen) => Seen {
            what: format!("gzip of {}", seen.what),
            brief: format!("gzip of {}", seen.brief),
            ..seen
        },
        None => Seen::of("gzip".to_owned()),
    })
}

fn tar(reader: &mut dyn Read, depth: usize) -> Result<Seen, Broken> {
    let mut tar = TarReader::new(reader);
    let (mut files, mut known) = (0_u64, Vec::new());
    let mut seen = Seen::default();
    loop {
        let entry = match tar.next_entry() {
            Ok(Ok(entry)) => entry,
            Ok(Err(0)) => return Err("is cut short: the tar has no end".to_owned().into()),
            Ok(Err(_zeros)) => break,
            Err(error) if is_early_end(&error) => {
                return Err("is cut short: the tar ends too early".to_owned().into());
            }
            Err(error) => return Err(format!("is not whole: the tar {error}").into()),
        };
        if entry.kind != EntryKind::File {
            continue;
        }
        files += 1;
        let name = super::name::shown(&entry.name);
        let inside = at_depth(&mut tar.content(), depth + 1);
        // When the tar itself ends there, that is what is wrong.
        let rest = io::copy(&mut tar.content(), &mut io::sink());
        if rest.is_err_and(|error| is_early_end(&error)) {
            return Err("is cut short: the tar ends too early".to_owned().into());
        }
        match inside {
            Ok(None) => {}
            Ok(Some(inside)) => {
                seen.dumps += inside.dumps;
                let empty = inside.empty.into_iter();
                seen.empty
                    .extend(empty.map(|within| match within.is_empty() {
                        true => name.clone(),
                        false => format!("{name}: {within}"),
                    }));
                known.push(format!("{name}: {}", inside.what));
            }
            Err(broken) => return Err(broken.in_file(name)),
        }
    }
    seen.what = format!("a tar of {files} files");
    seen.brief = match seen.dumps {
        0 => seen.what.clone(),
        dumps => format!("{} with {dumps} dumps", seen.what),
    };
    if !known.is_empty() {
        let more = known.len().saturating_sub(MOST_TOLD);
        known.truncate(MOST_TOLD);
        seen.what = format!("{} ({})", seen.what, known.join("; "));
        if more > 0 {
            seen.what.push_str(&format!(" and {more} more"));
        }
    }
    Ok(seen)
}

fn is_early_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || error.to_string().contains("ends inside")
}

fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short".to_owned(),
        _ => format!("cannot be read ({error})"),
    }
}

#[cfg(test)]
mod tests;
