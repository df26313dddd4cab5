//! What can go wrong, by phase; and lists of it, first cause first.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use super::script::Script;
use crate::remote;
use crate::shutdown::Stopped;

/// A stage of the work, for callers that branch and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Finding scripts and running metadata scripts.
    Discovery,
    /// The checks before anything is changed.
    Check,
    /// The same before a restore.
    RestoreCheck,
    /// Writing the markers.
    Mark,
    /// Keeping artifacts on the instances ahead of time.
    Stage,
    /// Moving artifacts onto the instances.
    Upload,
    /// The lock scripts.
    Lock,
    /// The backup scripts.
    Backup,
    /// The restore scripts.
    Restore,
    /// The unlock scripts.
    Unlock,
    /// Moving artifacts off the instances.
    Drain,
    /// Removing what we put on the instances.
    Cleanup,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovery => "discovery",
            Self::Check => "pre-backup check",
            Self::RestoreCheck => "pre-restore check",
            Self::Mark => "mark",
            Self::Stage => "stage",
            Self::Upload => "upload",
            Self::Lock => "lock",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Unlock => "unlock",
            Self::Drain => "drain",
            Self::Cleanup => "cleanup",
        })
    }
}

/// One thing that went wrong.
#[derive(Debug)]
pub struct Error {
    /// During which phase.
    pub phase: Phase,
    /// What.
    pub trouble: Trouble,
}

/// What went wrong, whatever the phase.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A script ended with another status than 0.
    #[error(
        "{script} of job {job} on {instance} {}{}{}",
        ending(*.status), said(.stderr), advice(*.script, .job, .stderr)
    )]
    Script {
        /// Which.
        script: Script,
        /// Of which job.
        job: String,
        /// `group/id`.
        instance: String,
        /// Its exit status; 128 + number after a signal.
        status: i32,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// A script runs longer than `limits.script_timeout`.
    #[error(
        "{script} of job {job} on {instance} still runs after {}, which limits.script_timeout allows; look in \
         /var/vcap/sys/log/{job} there for what it waits for, or raise the limit{}",
        crate::clock::spoken(*.limit), still(*.script)
    )]
    TooLong {
        /// Which.
        script: Script,
        /// Of which job.
        job: String,
        /// `group/id`.
        instance: String,
        /// How long it may run.
        limit: Duration,
    },
    /// What a metadata script printed cannot be used.
    #[error("metadata of job {job} on {instance}: {message}; mend the job's metadata script")]
    Metadata {
        /// Of which job.
        job: String,
        /// `group/id`.
        instance: String,
        /// One sentence.
        message: String,
    },
    /// A command of ours failed.
    #[error("{instance}: {doing} failed with exit code {status}{}", said(.stderr))]
    Command {
        /// `group/id`.
        instance: String,
        /// What it was to do.
        doing: String,
        /// Its exit status.
        status: i32,
        /// The end of its standard error.
        stderr: String,
    },
    /// A command could not be run to an exit status. The source names the instance.
    #[error("{doing} could not be finished")]
    Remote {
        /// What it was to do.
        doing: String,
        /// Why.
        source: remote::Error,
    },
    /// What a drain's taker said.
    #[error("artifact {artifact} could not be stored")]
    Sink {
        /// Its file name.
        artifact: String,
        /// Why.
        #[source]
        source: anyhow::Error,
    },
    /// What an upload's source said.
    #[error("artifact {artifact} could not be read")]
    Source {
        /// Its file name.
        artifact: String,
        /// Why.
        #[source]
        source: anyhow::Error,
    },
    /// A condition that needs a sentence of its own.
    #[error("{0}")]
    Said(String),
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Trouble {
    /// The same in our own words alone, where it quotes others: a script may say anything, of
    /// anybody's data.
    pub fn without_output(&self) -> Option<String> {
        match self {
            Self::Script {
                script,
                job,
                instance,
                status,
                ..
            } => Some(format!(
                "{script} of job {job} on {instance} {}",
                ending(*status)
            )),
            Self::Command {
                instance,
                doing,
                status,
                ..
            } => Some(format!(
                "{instance}: {doing} failed with exit code {status}"
            )),
            _ => None,
        }
    }
}

fn ending(status: i32) -> String {
    match status {
        129..=192 => format!("was ended by signal {} (exit code {status})", status - 128),
        126 => "failed with exit code 126 (the file is not executable)".to_owned(),
        _ => format!("failed with exit code {status}"),
    }
}

/// What becomes of a script that takes too long: an unlock script is never ended by us.
fn still(script: Script) -> String {
    match script {
        Script::PostBackupUnlock | Script::PostRestoreUnlock => {
            format!(
                "; it runs on, and the job may still be locked: {}",
                mend(script)
            )
        }
        _ => String::new(),
    }
}

fn mend(unlock: Script) -> &'static str {
    match unlock {
        Script::PostRestoreUnlock => "mend the cause, then run the restore-cleanup",
        _ => "mend the cause, then run the cleanup",
    }
}

/// What to do about a failed script: where to look when it said nothing, and what is at stake.
fn advice(script: Script, job: &str, stderr: &str) -> String {
    let mut text = String::new();
    if stderr.trim().is_empty() {
        text = format!("; it said nothing, so look in /var/vcap/sys/log/{job} there");
    }
    if matches!(script, Script::PostBackupUnlock | Script::PostRestoreUnlock) {
        text.push_str("; the job may still be locked: ");
        text.push_str(mend(script));
    }
    text
}

fn said(stderr: &str) -> String {
    let stderr = stderr.trim();
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.trouble)
    }
}

impl std::error::Error for Error {
    // The trouble is part of our own text; what lies behind it is not.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.trouble.source()
    }
}

impl Error {
    pub(super) fn said(phase: Phase, text: impl Into<String>) -> Self {
        Self {
            phase,
            trouble: Trouble::Said(text.into()),
        }
    }

    /// A failed remote call; a signal keeps its own variant.
    pub(super) fn remote(phase: Phase, doing: &str, source: remote::Error) -> Self {
        let trouble = match source {
            remote::Error::Stopped(stopped) => Trouble::Stopped(stopped),
            source => Trouble::Remote {
                doing: doing.to_owned(),
                source,
            },
        };
        Self { phase, trouble }
    }

    /// Whether it is only the effect of a signal.
    pub fn is_stopped(&self) -> bool {
        matches!(self.trouble, Trouble::Stopped(_))
    }

    /// The text with that of its sources, on one line.
    pub fn full(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

/// One or more errors, first cause first. Never empty.
#[derive(Debug)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// `None` for an empty list. Of several signals one is kept, behind the real errors.
    pub fn from_list(list: Vec<Error>) -> Option<Self> {
        let (stopped, mut list): (Vec<_>, Vec<_>) = list.into_iter().partition(Error::is_stopped);
        list.extend(stopped.into_iter().take(1));
        (!list.is_empty()).then_some(Self(list))
    }

    /// `Err` unless the list is empty.
    pub(super) fn check(list: Vec<Error>) -> Result<(), Self> {
        Self::from_list(list).map_or(Ok(()), Err)
    }

    /// All of them.
    pub fn list(&self) -> &[Error] {
        &self.0
    }

    /// All of them.
    pub fn into_list(self) -> Vec<Error> {
        self.0
    }

    /// Whether a signal is all there is.
    pub fn is_stopped(&self) -> bool {
        self.0.iter().all(Error::is_stopped)
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Errors {
    /// All with their sources, on one line: the list has no single source to print behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&error.full())?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_said_once_and_signals_last() {
        let list = vec![
            Error {
                phase: Phase::Lock,
                trouble: Stopped.into(),
            },
            Error {
                phase: Phase::Backup,
                trouble: Trouble::Script {
                    script: Script::Backup,
                    job: "j".to_owned(),
                    instance: "g/0".to_owned(),
                    status: 1,
                    stderr: " baz\n".to_owned(),
                },
            },
            Error {
                phase: Phase::Backup,
                trouble: Stopped.into(),
            },
        ];
        let errors = Errors::from_list(list).unwrap();
        assert_eq!(
            errors.to_string(),
            "backup: backup of job j on g/0 failed with exit code 1: baz; lock: stopped by a signal"
        );
        assert!(Errors::from_list(Vec::new()).is_none());
    }
}
