//! What a job's `metadata` script says.

use serde::Deserialize;

use super::yaml::{self, Boolean};

/// A job that must be locked after the one whose metadata names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// The other job.
    pub job: String,
    /// Its release; empty in director mode, where only the name counts.
    pub release: String,
}

/// The metadata of one job; all of it may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Jobs that are locked after this one at backup.
    pub backup_before: Vec<Constraint>,
    /// Jobs that are locked after this one at restore.
    pub restore_before: Vec<Constraint>,
    /// The job is left out, as if it had no scripts.
    pub skip: bool,
    /// Discontinued: the default artifact name is used all the same.
    pub backup_name: Option<String>,
    /// Discontinued: bbr refuses to restore such a job.
    pub restore_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    backup_should_be_locked_before: Option<Vec<Entry>>,
    #[serde(default)]
    restore_should_be_locked_before: Option<Vec<Entry>>,
    #[serde(default)]
    skip_bbr_scripts: Option<Boolean>,
    #[serde(default)]
    backup_name: Option<String>,
    #[serde(default)]
    restore_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    job_name: Option<String>,
    #[serde(default)]
    release: Option<String>,
}

impl Metadata {
    /// Reads the output of a metadata script.
    ///
    /// # Errors
    /// One sentence saying what is wrong with it.
    pub fn parse(output: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(output)
            .map_err(|error| format!("its output is not UTF-8 ({error})"))?;
        let Some(document) = yaml::first_document::<Document>(text)
            .map_err(|error| format!("its output is not as the contract wants it ({error})"))?
        else {
            return Ok(Self::default());
        };
        Ok(Self {
            backup_before: constraints(
                document.backup_should_be_locked_before,
                "backup_should_be_locked_before",
            )?,
            restore_before: constraints(
                document.restore_should_be_locked_before,
                "restore_should_be_locked_before",
            )?,
            skip: document.skip_bbr_scripts.is_some_and(|skip| skip.0),
            backup_name: document.backup_name.filter(|name| !name.is_empty()),
            restore_name: document.restore_name.filter(|name| !name.is_empty()),
        })
    }
}

fn constraints(entries: Option<Vec<Entry>>, key: &str) -> Result<Vec<Constraint>, String> {
    entries
        .unwrap_or_default()
        .into_iter()
        .map(|entry| {
            let part = |value: Option<String>, name: &str| {
                value
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| format!("an entry of {key} has no {name}"))
            };
            Ok(Constraint {
                job: part(entry.job_name, "job_name")?,
                release: part(entry.release, "release")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Metadata, String> {
        Metadata::parse(text.as_bytes())
    }

    #[test]
    fn everything_may_be_absent() {
        for text in [
            "",
            "---\n",
            "---\nother: 1\n",
            "backup_should_be_locked_before:\n",
        ] {
            assert_eq!(parse(text), Ok(Metadata::default()), "{text:?}");
        }
    }

    #[test]
    fn all_keys_are_read() {
        let metadata = parse(
            "---\nbackup_should_be_locked_before:\n- job_name: a\n  release: r\n- {job_name: b, release: 1.10, x: 1}\n\
             restore_should_be_locked_before: [{job_name: c, release: r}]\nskip_bbr_scripts: no\nskip_bbr_scripts: yes\n\
             backup_name: old\nrestore_name: older\n",
        )
        .unwrap();
        let one = |job: &str, release: &str| Constraint {
            job: job.to_owned(),
            release: release.to_owned(),
        };
        assert_eq!(metadata.backup_before, [one("a", "r"), one("b", "1.10")]);
        assert_eq!(metadata.restore_before, [one("c", "r")]);
        assert!(metadata.skip);
        assert_eq!(metadata.backup_name.as_deref(), Some("old"));
        assert_eq!(metadata.restore_name.as_deref(), Some("older"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("nonsense", ""),
            ("- a", ""),
            ("skip_bbr_scripts: \"true\"", "without quotes"),
            (
                "backup_should_be_locked_before: {job_name: a, release: r}",
                "",
            ),
            (
                "backup_should_be_locked_before: [{job_name: a}]",
                "no release",
            ),
            (
                "restore_should_be_locked_before: [{release: a, job_name: ''}]",
                "no job_name",
            ),
            ("backup_name: [a]", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(Metadata::parse(b"\xff").unwrap_err().contains("UTF-8"));
    }

    proptest::proptest! {
        #[test]
        fn no_output_panics(text in "\\PC{0,80}") {
            drop(parse(&text));
        }
    }
}
