//! What it takes to make orgs, spaces and all in them anew: steps in an order that works, in the
//! words of the `cf` command line.

mod steps;

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::Serialize;

use super::{Error, Head, Reader};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Step {
    #[serde(skip)]
    order: u8,
    /// Of which kind the thing is.
    pub kind: String,
    /// The command, or, behind `# `, what a person must do.
    pub text: String,
}

/// All of a foundation, or of one org.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// Of which inventory.
    pub head: Head,
    /// What orgs need: quotas, brokers, domains that all share.
    pub foundation: Vec<Step>,
    /// By name.
    pub orgs: Vec<OrgPlan>,
}

/// One org.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OrgPlan {
    /// Its name.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
    /// By name.
    pub spaces: Vec<SpacePlan>,
}

/// One space.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SpacePlan {
    /// Its name.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// How many steps there are.
    pub fn len(&self) -> usize {
        let spaces = |org: &OrgPlan| {
            org.spaces
                .iter()
                .map(|space| space.steps.len())
                .sum::<usize>()
        };
        let orgs: usize = self
            .orgs
            .iter()
            .map(|org| org.steps.len() + spaces(org))
            .sum();
        self.foundation.len() + orgs
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An org's own steps, and those of its spaces by name.
type Gathered = (Vec<Step>, BTreeMap<String, Vec<Step>>);

/// Makes the plan of one org, or of all.
///
/// # Errors
/// When the inventory cannot be read.
pub fn plan(reader: &mut Reader<impl BufRead>, only: Option<&str>) -> Result<Plan, Error> {
    let mut foundation = Vec::new();
    let mut orgs: BTreeMap<String, Gathered> = BTreeMap::new();
    while let Some(item) = reader.next()? {
        if let (Some(only), Some(org)) = (only, &item.org)
            && only != org
        {
            continue;
        }
        let Some((order, text)) = steps::step(&item) else {
            continue;
        };
        let steps = match (&item.org, &item.space) {
            (None, _) => &mut foundation,
            (Some(org), None) => &mut orgs.entry(org.clone()).or_default().0,
            (Some(org), Some(space)) => orgs
                .entry(org.clone())
                .or_default()
                .1
                .entry(space.clone())
                .or_default(),
        };
        steps.push(Step {
            order,
            kind: item.kind,
            text,
        });
    }
    let sorted = |mut steps: Vec<Step>| {
        steps.sort();
        steps
    };
    let orgs = orgs.into_iter().map(|(name, (steps, spaces))| OrgPlan {
        name,
        steps: sorted(steps),
        spaces: spaces
            .into_iter()
            .map(|(name, steps)| SpacePlan {
                name,
                steps: sorted(steps),
            })
            .collect(),
    });
    Ok(Plan {
        orgs: orgs.collect(),
        head: reader.head().clone(),
        foundation: sorted(foundation),
    })
}
