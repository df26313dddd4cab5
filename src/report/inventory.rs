//! Inventories in words: what one holds, what differs between two, what it takes to make one anew.

use std::fmt::Write as _;

use serde_json::Value;

use crate::inventory::{Change, Difference, Differences, FieldChange, Head, Plan, Step, word};
use crate::report::units;

/// The longest part of a value that is shown, in characters.
const SHOWN: usize = 120;

/// What an inventory holds.
pub fn head(head: &Head) -> String {
    let mut text = format!(
        "inventory of {}, taken {}: {} things\n",
        head.foundation,
        head.taken,
        units::count(head.total())
    );
    for source in &head.sources {
        let version = match source.version.as_str() {
            "" => String::new(),
            version => format!(", version {version}"),
        };
        line(
            &mut text,
            1,
            &format!("{} at {}{version}", source.name, source.address),
        );
        for kind in &source.kinds {
            let count = head.counts.get(kind).copied().unwrap_or_default();
            line(
                &mut text,
                2,
                &format!("{}: {}", word(kind), units::count(count)),
            );
        }
    }
    for without in &head.without {
        let kinds: Vec<_> = without.kinds.iter().map(|kind| word(kind)).collect();
        let said = format!(
            "without {} ({}): {}",
            without.source,
            kinds.join(", "),
            without.why
        );
        line(&mut text, 1, &said);
    }
    text
}

/// What differs, by org and space.
pub fn differences(all: &Differences, before: &str, after: &str) -> String {
    let mut text = String::new();
    for (letter, name, head) in [("A", before, &all.before), ("B", after, &all.after)] {
        let _ = writeln!(
            text,
            "{letter}: {name}, of {}, taken {}, {} things",
            head.foundation,
            head.taken,
            units::count(head.total())
        );
    }
    let mut found: Vec<&Difference> = all.found.iter().collect();
    found.sort_by_key(|one| (&one.org, &one.space, &one.kind, &one.key));
    let mut place = None;
    for one in found {
        let here = (&one.org, &one.space);
        if place != Some(here) {
            text.push('\n');
            let at = match here {
                (None, _) => "foundation".to_owned(),
                (Some(org), None) => format!("org {org}"),
                (Some(org), Some(space)) => format!("org {org}, space {space}"),
            };
            line(&mut text, 0, &at);
            place = Some(here);
        }
        difference(&mut text, one);
    }
    if all.more > 0 {
        let more = units::count(all.more);
        let _ = writeln!(text, "\n… and {more} more differences");
    }
    text.push('\n');
    for kind in &all.not_compared {
        let what = word(&kind.kind);
        line(&mut text, 0, &format!("not compared: {what}: {}", kind.why));
    }
    for (kind, counts) in all
        .counts
        .iter()
        .filter(|(_, counts)| counts.differing() > 0)
    {
        let said = format!(
            "{}: {} missing in B, {} only in B, {} changed, {} equal",
            word(kind),
            units::count(counts.missing),
            units::count(counts.added),
            units::count(counts.changed),
            units::count(counts.equal)
        );
        line(&mut text, 0, &said);
    }
    let total = all.total();
    let said = match total.differing() {
        0 => format!(
            "no difference: {} things of {} kinds are equal",
            units::count(total.equal),
            all.counts.len()
        ),
        _ => format!(
            "in all: {} missing in B, {} only in B, {} changed, {} equal",
            units::count(total.missing),
            units::count(total.added),
            units::count(total.changed),
            units::count(total.equal)
        ),
    };
    line(&mut text, 0, &said);
    text
}

/// How many things of each kind differ, and which kinds could not be compared, in one sentence that names
/// none of them and quotes nobody: it may be stored as plain text. A is what should be.
pub fn by_kind(all: &Differences) -> String {
    let mut said = Vec::new();
    for (kind, counts) in &all.counts {
        let parts: Vec<_> = [
            (counts.missing, "missing"),
            (counts.added, "too many"),
            (counts.changed, "changed"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, how)| format!("{} {how}", units::count(count)))
        .collect();
        if !parts.is_empty() {
            said.push(format!("{}: {}", word(kind), parts.join(", ")));
        }
    }
    let unknown = all.not_compared.iter().filter(|kind| kind.unknown);
    let unknown: Vec<_> = unknown.map(|kind| word(&kind.kind)).collect();
    if !unknown.is_empty() {
        said.push(format!(
            "not compared, for reasons that the log gives: {}",
            unknown.join(", ")
        ));
    }
    said.join("; ")
}

fn difference(text: &mut String, one: &Difference) {
    let what = format!("{} {}", word(&one.kind), one.name);
    match &one.change {
        Change::Missing => line(text, 1, &format!("{what}: missing in B")),
        Change::Added => line(text, 1, &format!("{what}: only in B")),
        Change::Changed(fields) => {
            line(text, 1, &format!("{what}:"));
            for field in fields {
                line(text, 2, &changed(field));
            }
        }
    }
}

/// `instances: 2 instead of 3`.
fn changed(field: &FieldChange) -> String {
    let name = &field.field;
    match (&field.before, &field.after) {
        _ if name == "guid" => "another one of the same name (its GUID differs)".to_owned(),
        (Value::Array(before), Value::Array(after)) => {
            let only = |these: &[Value], those: &[Value]| {
                let own = these.iter().filter(|one| !those.contains(one)).map(shown);
                own.collect::<Vec<_>>().join(", ")
            };
            let (gone, new) = (only(before, after), only(after, before));
            let parts = [("without ", gone), ("also ", new)];
            let parts = parts.iter().filter(|(_, names)| !names.is_empty());
            let parts: Vec<_> = parts
                .map(|(word, names)| format!("{word}{names}"))
                .collect();
            format!("{name}: {}", cut(&parts.join("; ")))
        }
        (Value::Null, after) => format!("{name}: {}, was not set", cut(&shown(after))),
        (before, Value::Null) => format!("{name}: not set, was {}", cut(&shown(before))),
        (before, after) => format!(
            "{name}: {} instead of {}",
            cut(&shown(after)),
            cut(&shown(before))
        ),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What it takes, as a list that can be worked off.
pub fn plan(plan: &Plan) -> String {
    let mut text = format!(
        "# what {} had at {}: {} steps\n# passwords, environment variables and credentials are in no inventory\n",
        plan.head.foundation,
        plan.head.taken,
        units::count(plan.len() as u64)
    );
    let steps = |text: &mut String, title: String, steps: &[Step]| {
        if !steps.is_empty() {
            text.push('\n');
            line(text, 0, &format!("# {title}"));
            for step in steps {
                line(text, 0, &step.text);
            }
        }
    };
    steps(&mut text, "foundation".to_owned(), &plan.foundation);
    for org in &plan.orgs {
        steps(&mut text, format!("org {}", org.name), &org.steps);
        for space in &org.spaces {
            steps(
                &mut text,
                format!("org {}, space {}", org.name, space.name),
                &space.steps,
            );
        }
    }
    text
}

/// One line; names come from people and may hold anything.
fn line(text: &mut String, depth: usize, words: &str) {
    text.push_str(&"  ".repeat(depth));
    text.extend(words.chars().map(|c| if c.is_control() { ' ' } else { c }));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_told_in_peoples_words() {
        let told = |field: &str, before: Value, after: Value| {
            changed(&FieldChange {
                field: field.to_owned(),
                before,
                after,
            })
        };
        for (said, words) in [
            (
                told("state", json!("STARTED"), json!("STOPPED")),
                "state: STOPPED instead of STARTED",
            ),
            (
                told("quota", Value::Null, json!("small")),
                "quota: small, was not set",
            ),
            (
                told("quota", json!("small"), Value::Null),
                "quota: not set, was small",
            ),
            (
                told("orgs", json!(["a", "b"]), json!(["b", "c"])),
                "orgs: without a; also c",
            ),
            (
                told("guid", json!("1"), json!("2")),
                "another one of the same name (its GUID differs)",
            ),
        ] {
            assert_eq!(said, words);
        }
        assert!(told("x", json!("y".repeat(500)), json!(1)).len() < 200);
    }

    #[test]
    fn no_name_breaks_a_line() {
        let mut text = String::new();
        line(&mut text, 1, "a\nb\u{1b}[31m");
        assert_eq!(text, "  a b [31m\n");
    }
}
