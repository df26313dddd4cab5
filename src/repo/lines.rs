//! Lines of JSON: those of roots and pages, and what every first line says. docs/format.md.

use serde::Deserialize;

use super::Error;
use super::format::{FORMAT, LINE_LIMIT};
use super::json::{self, number};

/// The lines of an opened index object, each without its newline.
///
/// An iterator and not a list: 64 MiB of empty lines would be a gigabyte of slices.
pub(super) fn lines<'a>(
    object: &'a str,
    bytes: &'a [u8],
) -> impl Iterator<Item = Result<&'a [u8], Error>> + 'a {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(move |line| match line.strip_suffix(b"\n") {
            Some(content) if line.len() <= LINE_LIMIT => Ok(content),
            Some(_) => Err(Error::damaged(object, "has a line of more than 1 MiB")),
            None => Err(Error::damaged(object, "does not end with a newline")),
        })
}

/// The first line of an opened index object, which every one has.
///
/// # Errors
/// When there is none.
pub(super) fn first_line<'a>(
    object: &str,
    lines: &mut impl Iterator<Item = Result<&'a [u8], Error>>,
) -> Result<&'a [u8], Error> {
    lines
        .next()
        .unwrap_or_else(|| Err(Error::damaged(object, "is empty")))
}

/// Parses one line: an object, with no key twice in it or in anything inside it.
///
/// # Errors
/// When it is not what the format says.
pub(super) fn from_json<'a, T: Deserialize<'a>>(object: &str, line: &'a [u8]) -> Result<T, Error> {
    json::parse(line).map_err(|error| {
        // The parser repeats the value that it did not expect, however long that is.
        let text = error.to_string();
        let shown: String = text.chars().take(PROBLEM_SHOWN).collect();
        Error::damaged(object, format!("does not follow the format: {shown}"))
    })
}

/// Most characters of what a parser says in a sentence.
const PROBLEM_SHOWN: usize = 200;
/// Most characters of a writer's name in a sentence.
const RELEASE_SHOWN: usize = 60;

/// Refuses a newer format, before anything else of the line is understood.
///
/// # Errors
/// [`Error::Newer`], or damage when there is no format at all.
pub(super) fn check_format(object: &str, line: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Only {
        #[serde(deserialize_with = "number")]
        format: u64,
        #[serde(default)]
        release: serde_json::Value,
    }
    let only: Only = from_json(object, line)?;
    match only.format {
        FORMAT => Ok(()),
        0 => Err(Error::damaged(object, "has format 0, which never was")),
        format => Err(Error::Newer {
            object: object.to_owned(),
            format,
            needed: match only.release.as_str() {
                Some(release) => {
                    let shown: String = release.chars().take(RELEASE_SHOWN).collect();
                    format!("{} or a later release", shown.escape_debug())
                }
                None => "a newer Lifeboat".into(),
            },
        }),
    }
}
