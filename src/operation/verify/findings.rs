//! What is wrong with a backup, said twice: for whoever verifies, and for the stored proof, which everybody
//! with the bucket can read. Names of files are sealed in a backup, so they stand in no proof.

use anyhow::{Error, Result};

use crate::repo;
use crate::repo::proof::Finding;
use crate::report::failure;
use crate::shutdown::Stopped;
use crate::store::Kind;

/// What to do about something that no store has any more.
const ADVICE: &str = "choose another version, or bring back a store that has it whole";

/// A sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// For whoever verifies.
    pub(super) here: String,
    /// Without names of files.
    pub(super) stored: String,
}

impl Told {
    /// One that names no file.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        let here = text.into();
        Self {
            stored: here.clone(),
            here,
        }
    }

    /// Both with this before and behind them.
    pub(super) fn between(self, before: &str, behind: &str) -> Self {
        Self {
            here: format!("{before}{}{behind}", self.here),
            stored: format!("{before}{}{behind}", self.stored),
        }
    }

    /// What an error says that is made of names of artifacts and files: a file's stands behind the first
    /// bracket, quote or colon.
    fn of_validation(text: String) -> Self {
        let end = text.find(['(', '`', '"']).unwrap_or(text.len());
        let end = match text.find("cannot be validated") {
            Some(at) if at < end => at + "cannot be validated".len(),
            _ => end,
        };
        Self {
            stored: text[..end].trim_end().to_owned(),
            here: text,
        }
    }
}

/// A finding, whose text is that of here, and its text in the proof.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) finding: Finding,
    pub(super) stored: String,
}

impl Wrong {
    /// The finding as it is stored.
    pub(super) fn stored(&self) -> Finding {
        Finding {
            what: self.stored.clone(),
            ..self.finding.clone()
        }
    }

    /// More behind what is said.
    pub(super) fn add(&mut self, more: &str) {
        self.finding.what.push_str(more);
        self.stored.push_str(more);
    }
}

/// Where something was found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At<'a> {
    pub(super) component: Option<&'a str>,
    pub(super) artifact: Option<&'a str>,
}

impl At<'_> {
    /// Something wrong here.
    pub(super) fn wrong(self, told: Told) -> Wrong {
        let place: Vec<&str> = [self.component, self.artifact]
            .into_iter()
            .flatten()
            .collect();
        let before = match place.is_empty() {
            true => String::new(),
            false => format!("{}: ", place.join(": ")),
        };
        let Told { here, stored } = told.between(&before, "");
        Wrong {
            finding: Finding {
                what: here,
                component: self.component.map(str::to_owned),
                artifact: self.artifact.map(str::to_owned),
                ..Finding::default()
            },
            stored,
        }
    }

    /// The same, naming no file.
    pub(super) fn plain(self, what: impl Into<String>) -> Wrong {
        self.wrong(Told::plain(what))
    }

    /// What an error says of the backup.
    ///
    /// # Errors
    /// The same, when it says nothing of it: a store does not answer, a signal came.
    pub(super) fn of(self, error: Error) -> Result<Wrong> {
        let mut causes = error.chain();
        let known = causes.find_map(|cause| cause.downcast_ref::<repo::Error>());
        let text = failure::chain(&error);
        let (told, object) = match known {
            Some(repo::Error::Store(error)) => match error.kind {
                Kind::Transient | Kind::Denied | Kind::Stopped => {
                    return Err(self.told(error.clone().into()));
                }
                _ => (Told::plain(text), Some(error.object.clone())),
            },
            Some(repo::Error::Damaged { object, .. }) => {
                (Told::of_validation(text), Some(object.clone()))
            }
            Some(repo::Error::Refused { .. }) => (Told::plain(text), None),
            Some(_) => return Err(self.told(error)),
            None if error.chain().any(|cause| cause.is::<Stopped>()) => return Err(error),
            // What validation says.
            None => (Told::of_validation(text), None),
        };
        let advised = told.here.contains("choose another version");
        let mut wrong = self.wrong(told);
        if !advised {
            wrong.add(&format!("; {ADVICE}"));
        }
        wrong.finding.object = object.filter(|object| !object.is_empty());
        Ok(wrong)
    }

    fn told(self, error: Error) -> Error {
        match self.component {
            Some(component) => error.context(component.to_owned()),
            None => error,
        }
    }
}
