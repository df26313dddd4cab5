//! Inventories: what there is on a foundation, by the names that people use, as sorted lines;
//! what differs between two of them; what it takes to make one anew.
//!
//! Pure: it knows neither where rows come from nor where lines are kept. `docs/inventory.md` is
//! the format. An inventory is written from a [`Spool`], which keeps finished kinds deflated, and
//! read line by line; [`compare`] walks two of them side by side and holds one line of each.

mod diff;
mod item;
mod plan;
mod reader;
mod spool;
mod tolerances;

pub use diff::{Change, Counts, Difference, Differences, FieldChange, NotCompared, compare, diff};
pub use item::{Head, Item, Source, Without, joined, part};
pub use plan::{OrgPlan, Plan, SpacePlan, Step, plan};
pub use reader::{Error, Reader};
pub use spool::{Inventory, Rows, Spool};
pub use tolerances::Tolerances;

/// What this release writes.
pub const FORMAT: u64 = 1;

/// Every kind and what people call one of it, sorted by kind as lines are.
const KINDS: [(&str, &str); 33] = [
    ("app", "app"),
    ("buildpack", "buildpack"),
    ("config", "director config"),
    ("credhub-name", "CredHub credential"),
    ("deployment", "deployment"),
    ("director-uaa-client", "client of the director's UAA"),
    ("director-uaa-user", "user of the director's UAA"),
    ("domain", "domain"),
    ("feature-flag", "feature flag"),
    ("instance", "instance"),
    ("isolation-segment", "isolation segment"),
    ("network-policy", "network policy"),
    ("org", "org"),
    ("org-quota", "org quota"),
    ("product", "product"),
    ("release", "release"),
    ("role", "role"),
    ("route", "route"),
    ("route-binding", "route service binding"),
    ("router-group", "router group"),
    ("security-group", "security group"),
    ("service-binding", "service binding"),
    ("service-broker", "service broker"),
    ("service-instance", "service instance"),
    ("service-key", "service key"),
    ("service-offering", "service offering"),
    ("service-plan", "service plan"),
    ("space", "space"),
    ("space-quota", "space quota"),
    ("stack", "stack"),
    ("stemcell", "stemcell"),
    ("uaa-client", "UAA client"),
    ("uaa-user", "UAA user"),
];

/// What people call one of a kind; the kind itself where this release has no word.
pub fn word(kind: &str) -> &str {
    let known = KINDS.iter().find(|(name, _)| *name == kind);
    known.map_or(kind, |(_, word)| word)
}
