//! Serde's complaints in our words: without values, and with the key that was probably meant.

use super::Fault;
use super::model;

/// What serde said about a path.
pub(crate) fn fault(path: &str, said: &str) -> Fault {
    let path = if path == "." { "" } else { path };
    if let Some(rest) = said.strip_prefix("unknown field `") {
        let key = rest.split("`, ").next().unwrap_or_default();
        return unknown(path, key);
    }
    if let Some(rest) = said.strip_prefix("invalid type: ") {
        let expected = rest
            .rsplit(", expected ")
            .next()
            .unwrap_or("something else")
            .replace("a sequence", "a list");
        return Fault::new(path, format!("expected {expected}, found {}", found(rest)));
    }
    Fault::new(path, said)
}

/// Serde quotes the value it found; this is its kind alone.
fn found(rest: &str) -> &'static str {
    let kinds = [
        ("string", "a text"),
        ("integer", "a number"),
        ("floating point", "a number"),
        ("boolean", "true or false"),
        ("map", "a map"),
        ("sequence", "a list"),
        ("unit", "nothing"),
        ("null", "nothing"),
    ];
    kinds
        .iter()
        .find(|(word, _)| rest.starts_with(word))
        .map_or("something else", |(_, kind)| kind)
}

/// Keys of other resources that people bring along.
const ELSEWHERE: [(&str, &str); 8] = [
    ("region_name", "the key is `region`"),
    ("ca_bundle", "the key is `ca_cert`"),
    ("role_arn", "the key is `aws_role_arn`"),
    (
        "skip_ssl_verification",
        "certificates are always verified; give the CA as `ca_cert`",
    ),
    (
        "skip_download",
        "nothing is downloaded unless `download: true`",
    ),
    (
        "versioned_file",
        "one backup is one version; nothing is matched by name",
    ),
    (
        "regexp",
        "one backup is one version; nothing is matched by name",
    ),
    ("opsman", "the key is `ops_manager`"),
];

fn unknown(path: &str, key: &str) -> Fault {
    // The path ends with the key itself.
    let section = path.strip_suffix(key).unwrap_or(path).trim_end_matches('.');
    let shown: String = key.chars().take(60).flat_map(char::escape_debug).collect();
    let full = if section.is_empty() {
        shown.clone()
    } else {
        format!("{section}.{shown}")
    };
    if (section, key) == ("ops_manager", "skip_ssl_verification") {
        return Fault::new(
            path,
            "is not a key of Lifeboat; did you mean `skip_ssl_validation`?",
        );
    }
    let hint = ELSEWHERE
        .iter()
        .find(|(other, _)| *other == key)
        .map(|(_, hint)| format!("; {hint}"))
        .or_else(|| nearest(section, key).map(|near| format!("; did you mean `{near}`?")))
        .unwrap_or_default();
    Fault::new(full, format!("is not a key of Lifeboat{hint}"))
}

/// The known key of a section that differs least, or the right key of another section.
pub(crate) fn nearest(section: &str, key: &str) -> Option<String> {
    let section = match section.split_once('[') {
        Some((list, _)) => format!("{list}[]"),
        None => section.to_owned(),
    };
    let known = model::keys();
    known
        .iter()
        .filter(|(place, _)| *place == section)
        .map(|(_, name)| (distance(key, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min()
        .map(|(_, name)| name.to_owned())
        .or_else(|| {
            known
                .iter()
                .find(|(place, name)| *name == key && !place.is_empty())
                .map(|(place, name)| format!("{place}.{name}"))
        })
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(80).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found() {
        assert_eq!(nearest("", "recipient").as_deref(), Some("recipients"));
        assert_eq!(nearest("stores[3]", "buckt").as_deref(), Some("bucket"));
        assert_eq!(nearest("", "bucket").as_deref(), Some("stores[].bucket"));
        assert_eq!(nearest("bosh", "zzz"), None);
    }

    #[test]
    fn no_value_survives() {
        let fault = fault(
            "stores",
            "invalid type: string \"hunter2, expected x\", expected a sequence",
        );
        assert_eq!(fault.message, "expected a list, found a text");
    }
}
