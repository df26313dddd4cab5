//! What differs: two sorted inventories side by side, one line of each in memory.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Error, Head, Item, Reader, Tolerances};

/// How many differences [`diff`] keeps; beyond that they are counted.
const MOST: usize = 50_000;

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Of which kind.
    pub kind: String,
    /// Which one.
    pub key: String,
    /// Its name within its org and space, for people.
    pub name: String,
    /// The org that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The space that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// How.
    #[serde(flatten)]
    pub change: Change,
}

/// How a thing differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", content = "fields", rename_all = "kebab-case")]
pub enum Change {
    /// It is in the first inventory alone.
    Missing,
    /// It is in the second alone.
    Added,
    /// It is in both, with other fields.
    Changed(Vec<FieldChange>),
}

/// One field of a thing that is in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// A path with dots; `guid`: another thing of the same name.
    pub field: String,
    /// In the first; null where it is not there.
    pub before: Value,
    /// In the second.
    pub after: Value,
}

/// Things of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// In the first alone.
    pub missing: u64,
    /// In the second alone.
    pub added: u64,
    /// In both, different.
    pub changed: u64,
    /// In both, the same within the tolerances.
    pub equal: u64,
}

impl Counts {
    /// How many differ.
    pub fn differing(&self) -> u64 {
        self.missing + self.added + self.changed
    }
}

/// A kind that one of the two does not have completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCompared {
    /// Which.
    pub kind: String,
    /// Whether it is the second that lacks what the first has: then something may be lost, and
    /// nobody knows.
    pub unknown: bool,
    /// One sentence.
    pub why: String,
}

/// What [`diff`] found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Differences {
    /// The first inventory's head.
    pub before: Head,
    /// The second's.
    pub after: Head,
    /// By kind and key; the first 50,000.
    pub found: Vec<Difference>,
    /// How many more there are.
    pub more: u64,
    /// By kind, those compared.
    pub counts: BTreeMap<String, Counts>,
    /// By kind.
    pub not_compared: Vec<NotCompared>,
}

impl Differences {
    /// Whether the second inventory has all that the first has, as it was, and nothing else, and
    /// all of it could be compared.
    pub fn is_equal(&self) -> bool {
        self.total().differing() == 0 && !self.not_compared.iter().any(|kind| kind.unknown)
    }

    /// All kinds together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.counts.values() {
            total.missing += counts.missing;
            total.added += counts.added;
            total.changed += counts.changed;
            total.equal += counts.equal;
        }
        total
    }
}

/// Compares two inventories and keeps what differs, up to 50,000 things.
///
/// # Errors
/// When one of them cannot be read.
pub fn diff(
    before: impl BufRead,
    after: impl BufRead,
    tolerances: impl FnOnce(&Head, &Head) -> Tolerances,
) -> Result<Differences, Error> {
    let (mut before, mut after) = (Reader::open(before)?, Reader::open(after)?);
    let tolerances = tolerances(before.head(), after.head());
    let (mut found, mut more) = (Vec::new(), 0);
    let mut all = compare(
        &mut before,
        &mut after,
        &tolerances,
        &mut |difference| match found.len() < MOST {
            true => found.push(difference),
            false => more += 1,
        },
    )?;
    (all.found, all.more) = (found, more);
    Ok(all)
}

/// Compares two inventories; `each` is given what differs, by kind and key. The result has all but
/// that.
///
/// # Errors
/// When one of them cannot be read.
pub fn compare(
    before: &mut Reader<impl BufRead>,
    after: &mut Reader<impl BufRead>,
    tolerances: &Tolerances,
    each: &mut dyn FnMut(Difference),
) -> Result<Differences, Error> {
    let mut all = Differences {
        before: before.head().clone(),
        after: after.head().clone(),
        ..Differences::default()
    };
    all.not_compared = not_compared(&all.before, &all.after, tolerances);
    let (first, second) = (all.before.kinds(), all.after.kinds());
    let both: BTreeSet<&str> = first.intersection(&second).copied().collect();
    let compared = |kind: &str| both.contains(kind) && !tolerances.of_kind(kind);
    let mut counts: BTreeMap<String, Counts> = both
        .iter()
        .filter(|kind| compared(kind))
        .map(|kind| ((*kind).to_owned(), Counts::default()))
        .collect();
    let (mut a, mut b) = (before.next()?, after.next()?);
    loop {
        let order = match (&a, &b) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => (&a.kind, &a.key).cmp(&(&b.kind, &b.key)),
        };
        let (old, new) = (
            a.take_if(|_| order != Ordering::Greater),
            b.take_if(|_| order != Ordering::Less),
        );
        if old.is_some() {
            a = before.next()?;
        }
        if new.is_some() {
            b = after.next()?;
        }
        let change = match (&old, &new) {
            (Some(old), Some(new)) => {
                let fields = changed(old, new, tolerances);
                (!fields.is_empty()).then_some(Change::Changed(fields))
            }
            (Some(_), None) => Some(Change::Missing),
            _ => Some(Change::Added),
        };
        let Some(item) = new.or(old).filter(|item| compared(&item.kind)) else {
            continue;
        };
        let count = counts.entry(item.kind.clone()).or_default();
        match &change {
            None => count.equal += 1,
            Some(Change::Missing) => count.missing += 1,
            Some(Change::Added) => count.added += 1,
            Some(Change::Changed(_)) => count.changed += 1,
        }
        if let Some(change) = change {
            each(Difference {
                name: item.name(),
                kind: item.kind,
                key: item.key,
                org: item.org,
                space: item.space,
                change,
            });
        }
    }
    all.counts = counts;
    Ok(all)
}

/// Kinds that one of the two has and the other has not, or not completely.
fn not_compared(before: &Head, after: &Head, tolerances: &Tolerances) -> Vec<NotCompared> {
    let (first, second) = (before.kinds(), after.kinds());
    let only = first.symmetric_difference(&second);
    only.filter(|kind| !tolerances.of_kind(kind))
        .map(|kind| {
            let unknown = first.contains(kind);
            let lacking = if unknown { after } else { before };
            let which = if unknown { "second" } else { "first" };
            NotCompared {
                kind: (*kind).to_owned(),
                unknown,
                why: match lacking.why_not(kind) {
                    Some(why) => format!("the {which} inventory is without: {why}"),
                    None => format!("the {which} inventory was taken without it"),
                },
            }
        })
        .collect()
}

fn changed(old: &Item, new: &Item, tolerances: &Tolerances) -> Vec<FieldChange> {
    let mut found = Vec::new();
    if tolerances.guids && old.guid != new.guid && !tolerances.of_field(&old.kind, "guid") {
        let value = |guid: &Option<String>| guid.clone().map_or(Value::Null, Value::from);
        found.push(FieldChange {
            field: "guid".to_owned(),
            before: value(&old.guid),
            after: value(&new.guid),
        });
    }
    let mut at = |field: &str, before: &Value, after: &Value| {
        if !same(before, after) && !tolerances.of_field(&old.kind, field) {
            found.push(FieldChange {
                field: field.to_owned(),
                before: before.clone(),
                after: after.clone(),
            });
        }
    };
    walk("", &old.fields, &new.fields, &mut at);
    found
}

/// Every leaf of either; maps are gone into, whatever else is a leaf.
fn walk(
    above: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    at: &mut dyn FnMut(&str, &Value, &Value),
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let path = match above {
            "" => name.clone(),
            above => format!("{above}.{name}"),
        };
        let empty = Map::new();
        match (old.get(name), new.get(name)) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => walk(&path, old, new, at),
            (Some(Value::Object(old)), None) => walk(&path, old, &empty, at),
            (None, Some(Value::Object(new))) => walk(&path, &empty, new, at),
            (old, new) => at(
                &path,
                old.unwrap_or(&Value::Null),
                new.unwrap_or(&Value::Null),
            ),
        }
    }
}

/// Lists are sets here: nothing in an inventory has an order that counts, but for buildpacks,
/// which are one text.
fn same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len()
                && before.iter().all(|one| after.contains(one))
                && after.iter().all(|one| before.contains(one))
        }
        (before, after) => before == after,
    }
}

#[cfg(test)]
mod tests;
