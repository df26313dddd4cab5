//! Writes the `metadata` file of a bbr artifact directory, one file name at a time, and reads it
//! ([`Recorded`]).
//!
//! bbr reads it with a YAML 1.1 parser; so every text is double-quoted and all but printable
//! ASCII is escaped: nothing can be taken for a number, a boolean or a line break. Governed by
//! the section *Reading* of `docs/design.md`.

mod read;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use base64::Engine as _;

pub use self::read::Recorded;
use super::instance::PlaceKind;
use crate::artifact::Digest;
use crate::clock;

/// A key that is longer is written in the explicit form, as bbr's own library does: YAML
/// bounds the length of a simple key.
const SIMPLE_KEY: usize = 128;

/// The file, as far as it is written. Artifacts come grouped by instance, those of
/// `custom_artifacts` last; [`crate::bbr::Target::artifacts`] has that order.
#[derive(Debug)]
pub struct MetadataWriter<W: Write> {
    out: W,
    at: At,
    seen: BTreeSet<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
enum At {
    Start,
    Instance(String, String),
    Custom,
}

/// Where the checksums of the open artifact stand.
#[derive(Debug)]
pub struct Checksums<'a, W: Write> {
    out: &'a mut W,
    indent: &'static str,
    empty: bool,
}

impl<W: Write> MetadataWriter<W> {
    /// Begins the file; writes nothing yet.
    pub fn new(out: W) -> Self {
        Self {
            out,
            at: At::Start,
            seen: BTreeSet::new(),
        }
    }

    /// Begins an artifact, in the section that its place says.
    ///
    /// # Errors
    /// When writing fails, or the artifacts do not come grouped.
    pub fn artifact(&mut self, kind: &PlaceKind) -> io::Result<Checksums<'_, W>> {
        match kind {
            PlaceKind::Instance { group, index, job } => self.instance_artifact(group, index, job),
            PlaceKind::Custom { name } => self.custom_artifact(name),
        }
    }

    /// Begins the artifact of one job on one instance.
    ///
    /// # Errors
    /// As [`MetadataWriter::artifact`].
    pub fn instance_artifact(
        &mut self,
        group: &str,
        index: &str,
        job: &str,
    ) -> io::Result<Checksums<'_, W>> {
        let here = At::Instance(group.to_owned(), index.to_owned());
        if self.at != here {
            match self.at {
                At::Start => writeln!(self.out, "instances:")?,
                At::Instance(..) => {}
                At::Custom => return Err(ungrouped(group)),
            }
            if !self.seen.insert((group.to_owned(), index.to_owned())) {
                return Err(ungrouped(group));
            }
            writeln!(self.out, "- name: {}", quoted(group))?;
            writeln!(self.out, "  index: {}", quoted(index))?;
            writeln!(self.out, "  artifacts:")?;
            self.at = here;
        }
        writeln!(self.out, "  - name: {}", quoted(job))?;
        write!(self.out, "    checksums:")?;
        Ok(Checksums {
            out: &mut self.out,
            indent: "      ",
            empty: true,
        })
    }

    /// Begins an artifact that is shared by all instances of its group.
    ///
    /// # Errors
    /// When writing fails.
    pub fn custom_artifact(&mut self, name: &str) -> io::Result<Checksums<'_, W>> {
        if self.at != At::Custom {
            writeln!(self.out, "custom_artifacts:")?;
            self.at = At::Custom;
        }
        writeln!(self.out, "- name: {}", quoted(name))?;
        write!(self.out, "  checksums:")?;
        Ok(Checksums {
            out: &mut self.out,
            indent: "    ",
            empty: true,
        })
    }

    /// Ends the file. Returns what it was written to, flushed.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self, start: SystemTime, finish: Option<SystemTime>) -> io::Result<W> {
        writeln!(self.out, "backup_activity:")?;
        writeln!(self.out, "  start_time: {}", clock::bbr_form(start))?;
        if let Some(finish) = finish {
            writeln!(self.out, "  finish_time: {}", clock::bbr_form(finish))?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Checksums<'_, W> {
    /// One entry of the tar that is not a directory.
    ///
    /// # Errors
    /// When writing fails.
    pub fn checksum(&mut self, name: &[u8], digest: Digest) -> io::Result<()> {
        if self.empty {
            writeln!(self.out)?;
            self.empty = false;
        }
        let key = match std::str::from_utf8(name) {
            Ok(name) => quoted(name),
            Err(_) => format!(
                "!!binary \"{}\"",
                base64::engine::general_purpose::STANDARD.encode(name)
            ),
        };
        // A digest of digits alone would be a number.
        if key.len() > SIMPLE_KEY {
            writeln!(self.out, "{0}? {key}\n{0}: \"{digest}\"", self.indent)
        } else {
            writeln!(self.out, "{}{key}: \"{digest}\"", self.indent)
        }
    }

    /// No more entries.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> io::Result<()> {
        if self.empty {
            writeln!(self.out, " {{}}")?;
        }
        Ok(())
    }
}

fn ungrouped(group: &str) -> io::Error {
    io::Error::other(format!(
        "the artifacts of instance group {group} do not come together"
    ))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        let code = u32::from(character);
        let written = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            ' '..='~' => write!(quoted, "{character}"),
            _ if code <= 0xff => write!(quoted, "\\x{code:02x}"),
            _ if code <= 0xffff => write!(quoted, "\\u{code:04x}"),
            _ => write!(quoted, "\\U{code:08x}"),
        };
        written.expect("writing to a string cannot fail");
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn written(long: &str) -> String {
        let digest = Digest::of(b"");
        let mut writer = MetadataWriter::new(Vec::new());
        let mut sums = writer.instance_artifact("redis", "0", "server").unwrap();
        sums.checksum(b"./dump.rdb", digest).unwrap();
        sums.checksum("./ü\n\"\u{1f600}\u{85}".as_bytes(), digest)
            .unwrap();
        sums.checksum(b"./\xff", digest).unwrap();
        sums.checksum(long.as_bytes(), digest).unwrap();
        sums.finish().unwrap();
        writer
            .instance_artifact("redis", "0", "yes")
            .unwrap()
            .finish()
            .unwrap();
        writer
            .instance_artifact("redis", "1", "server")
            .unwrap()
            .finish()
            .unwrap();
        let mut sums = writer.custom_artifact("a-b").unwrap();
        sums.checksum(b"./x", digest).unwrap();
        sums.finish().unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_300_923);
        let out = writer
            .finish(start, Some(start + Duration::from_secs(60)))
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_form_is_bbrs() {
        let long = format!("./{}", "long/".repeat(30));
        let text = written(&long);
        let expected = format!(
            r#"instances:
- name: "redis"
  index: "0"
  artifacts:
  - name: "server"
    checksums:
      "./dump.rdb": "{EMPTY}"
      "./\xfc\x0a\"\U0001f600\x85": "{EMPTY}"
      !!binary "Li//": "{EMPTY}"
      ? "{long}"
      : "{EMPTY}"
  - name: "yes"
    checksums: {{}}
- name: "redis"
  index: "1"
  artifacts:
  - name: "server"
    checksums: {{}}
custom_artifacts:
- name: "a-b"
  checksums:
    "./x": "{EMPTY}"
backup_activity:
  start_time: 2026/11/21 22:42:03 UTC
  finish_time: 2026/11/21 22:43:03 UTC
"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_yaml_parser_reads_it_back() {
        // Binary keys are beyond this parser's texts.
        let text = written("./short").replace("!!binary ", "");
        let node: super::super::yaml::Node =
            super::super::yaml::first_document(&text).unwrap().unwrap();
        let super::super::yaml::Node::List(instances) = node.get("instances").unwrap() else {
            panic!("{text}");
        };
        let super::super::yaml::Node::List(artifacts) = instances[0].get("artifacts").unwrap()
        else {
            panic!("{text}");
        };
        let sums = artifacts[0].get("checksums").unwrap();
        assert!(sums.get("./ü\n\"\u{1f600}\u{85}").is_some(), "{sums:?}");
        assert_eq!(
            instances[0].get("index"),
            Some(&super::super::yaml::Node::Text("0".to_owned()))
        );
    }

    #[test]
    fn ungrouped_artifacts_are_refused() {
        let mut writer = MetadataWriter::new(Vec::new());
        writer
            .instance_artifact("a", "0", "j")
            .unwrap()
            .finish()
            .unwrap();
        writer
            .instance_artifact("b", "0", "j")
            .unwrap()
            .finish()
            .unwrap();
        assert!(writer.instance_artifact("a", "0", "k").is_err());
        writer.custom_artifact("c").unwrap().finish().unwrap();
        assert!(writer.instance_artifact("d", "0", "k").is_err());
    }

    #[test]
    fn nothing_but_the_times_is_a_file_too() {
        let writer = MetadataWriter::new(Vec::new());
        let out = writer.finish(SystemTime::UNIX_EPOCH, None).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "backup_activity:\n  start_time: 1970/01/01 00:00:00 UTC\n"
        );
    }
}
