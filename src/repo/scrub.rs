//! What is wrong in the stores, without keys and without changing anything.

use serde::Serialize;

use super::Error;
use super::holdings::Holdings;
use super::id::BackupId;
use super::survey::{Finding, Survey};
pub use super::survey::{Hit, Look, Looked, Part, Scope};

/// Findings kept for the report; beyond them only their number is.
pub(super) const MOST_FINDINGS: usize = 1000;

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// In which store.
    pub store: String,
    /// Its name.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scrubbed {
    /// In the configured order.
    pub stores: Vec<Looked>,
    /// Backups whose manifests were read.
    pub backups: u64,
    /// The newest of them.
    #[serde(skip)]
    pub newest: Option<BackupId>,
    /// The first thousand.
    pub bad: Vec<Bad>,
    /// How many more there are.
    pub more: u64,
    /// Backups that these reach or may reach, in the stores named.
    pub hit: Vec<Hit>,
}

impl Scrubbed {
    /// Whether nothing is wrong and every store was looked at.
    pub fn is_good(&self) -> bool {
        self.bad.is_empty() && self.stores.iter().all(|store| store.left_out.is_none())
    }
}

/// Looks at everything.
///
/// # Errors
/// When no store answers, or a signal comes.
pub fn scrub(holdings: Holdings, look: Look<'_>, begin: impl FnOnce()) -> Result<Scrubbed, Error> {
    let mut survey = Survey::new(holdings, look);
    let mut found = Found::default();
    survey.run(begin, &mut |_, findings| {
        found.add(findings);
        Ok(())
    })?;
    let hit = survey.facts.hit(&found.findings);
    let name = |place: usize| survey.holdings.store_name(place);
    Ok(Scrubbed {
        stores: survey.looked.clone(),
        backups: survey.facts.backups,
        newest: survey.facts.newest.clone(),
        bad: found.findings.iter().map(|one| bad(one, &name)).collect(),
        more: found.more,
        hit,
    })
}

pub(super) fn bad(finding: &Finding, name: &dyn Fn(usize) -> String) -> Bad {
    Bad {
        store: name(finding.place),
        object: finding.object.to_string(),
        what: finding.what.clone(),
    }
}

/// Findings, as many as a report bears.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) more: u64,
}

impl Found {
    pub(super) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if self.findings.len() < MOST_FINDINGS {
                self.findings.push(finding);
            } else {
                self.more += 1;
            }
        }
    }
}
