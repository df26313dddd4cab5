//! Whether an error says something of the backup, and then what.

use anyhow::{Error, Result};

use crate::repo;
use crate::repo::proof::Finding;
use crate::report::failure;
use crate::shutdown::Stopped;
use crate::store::Kind;

/// What to do about something that no store has any more.
const ADVICE: &str = "choose another version, or bring back a store that has it whole";

/// Where something was found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At<'a> {
    pub(super) component: Option<&'a str>,
    pub(super) artifact: Option<&'a str>,
}

impl At<'_> {
    /// A finding here.
    pub(super) fn finding(self, what: impl Into<String>) -> Finding {
        let place: Vec<&str> = [self.component, self.artifact]
            .into_iter()
            .flatten()
            .collect();
        let what = what.into();
        Finding {
            what: match place.is_empty() {
                true => what,
                false => format!("{}: {what}", place.join(": ")),
            },
            component: self.component.map(str::to_owned),
            artifact: self.artifact.map(str::to_owned),
            ..Finding::default()
        }
    }

    /// What an error says of the backup.
    ///
    /// # Errors
    /// The same, when it says nothing of it: a store does not answer, a signal came.
    pub(super) fn of(self, error: Error) -> Result<Finding> {
        let mut causes = error.chain();
        let known = causes.find_map(|cause| cause.downcast_ref::<repo::Error>());
        let object = match known {
            Some(repo::Error::Store(error)) => match error.kind {
                Kind::Transient | Kind::Denied | Kind::Stopped => {
                    return Err(self.told(error.clone().into()));
                }
                _ => Some(error.object.clone()),
            },
            Some(repo::Error::Damaged { object, .. }) => Some(object.clone()),
            Some(repo::Error::Refused { .. }) => None,
            Some(_) => return Err(self.told(error)),
            None if error.chain().any(|cause| cause.is::<Stopped>()) => return Err(error),
            // What validation says.
            None => None,
        };
        let mut what = failure::chain(&error);
        if !what.contains("choose another version") {
            what = format!("{what}; {ADVICE}");
        }
        Ok(Finding {
            object: object.filter(|object| !object.is_empty()),
            ..self.finding(what)
        })
    }

    fn told(self, error: Error) -> Error {
        match self.component {
            Some(component) => error.context(component.to_owned()),
            None => error,
        }
    }
}
