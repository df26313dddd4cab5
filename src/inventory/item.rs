//! The head and the lines.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The first line: what follows, and what does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// [`FORMAT`](super::FORMAT).
    pub format: u64,
    /// The foundation's name in the configuration.
    pub foundation: String,
    /// When it was begun, RFC 3339.
    pub taken: String,
    /// The release that took it.
    pub lifeboat: String,
    /// Who was asked, and the kinds that he told completely.
    pub sources: Vec<Source>,
    /// What could not be had.
    pub without: Vec<Without>,
    /// Lines by kind.
    pub counts: BTreeMap<String, u64>,
}

/// Who was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// `cloud-controller`, `uaa`, `director`, `director-uaa`, `credhub`, `ops-manager`.
    pub name: String,
    /// Where.
    pub address: String,
    /// Its version, where it tells.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What it told completely; a kind may have no line.
    pub kinds: Vec<String>,
}

/// What could not be had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Without {
    /// Of whom.
    pub source: String,
    /// Which kinds.
    pub kinds: Vec<String>,
    /// One sentence.
    pub why: String,
}

impl Head {
    /// The kinds that are here completely.
    pub fn kinds(&self) -> BTreeSet<&str> {
        let kinds = self.sources.iter().flat_map(|source| &source.kinds);
        kinds.map(String::as_str).collect()
    }

    /// Why a kind is not here.
    pub fn why_not(&self, kind: &str) -> Option<&str> {
        let lacks = |without: &&Without| without.kinds.iter().any(|one| one == kind);
        self.without
            .iter()
            .find(lacks)
            .map(|without| without.why.as_str())
    }

    /// How many lines follow.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// One thing on a foundation. Never holds a secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// `app`, `route`, …
    pub kind: String,
    /// What tells it from others of its kind, by names: `org/space/app`. See [`joined`].
    pub key: String,
    /// Its GUID, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// The org that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The space that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// What is compared.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Item {
    /// A thing with this key, made of its parts.
    pub fn new(kind: &str, parts: &[&str]) -> Self {
        Self {
            kind: kind.to_owned(),
            key: joined(parts),
            ..Self::default()
        }
    }

    /// With this GUID.
    #[must_use]
    pub fn guid(mut self, guid: &str) -> Self {
        self.guid = Some(guid.to_owned());
        self
    }

    /// In this org and space.
    #[must_use]
    pub fn within(mut self, org: Option<&str>, space: Option<&str>) -> Self {
        self.org = org.map(str::to_owned);
        self.space = space.map(str::to_owned);
        self
    }

    /// With this field; what is null, empty text or an empty list is left out.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !empty {
            self.fields.insert(field.to_owned(), value);
        }
        self
    }

    /// The key without the org and the space that it is in, for people.
    pub fn name(&self) -> String {
        let own = usize::from(self.org.is_some()) + usize::from(self.space.is_some());
        let parts: Vec<String> = self.key.split('/').map(part).collect();
        // An org's own key is its name, a space's ends with it.
        let from = own.min(parts.len().saturating_sub(1));
        parts[from..].join(" / ")
    }
}

/// A key of parts. Names may hold anything: `/` becomes `%2F`, `%` becomes `%25`.
pub fn joined(parts: &[&str]) -> String {
    let escaped = parts
        .iter()
        .map(|part| part.replace('%', "%25").replace('/', "%2F"));
    escaped.collect::<Vec<_>>().join("/")
}

/// A part of a key as it was.
pub fn part(escaped: &str) -> String {
    escaped.replace("%2F", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_names_apart() {
        assert_ne!(joined(&["a/b", "c"]), joined(&["a", "b/c"]));
        for name in ["a/b", "%2F", "%", "50%/x", ""] {
            assert_eq!(part(&joined(&[name])), name);
        }
        let app = Item::new("app", &["o/1", "s", "a/b"]).within(Some("o/1"), Some("s"));
        assert_eq!(app.name(), "a/b");
        assert_eq!(Item::new("org", &["o"]).within(Some("o"), None).name(), "o");
        let space = Item::new("space", &["o", "s"]).within(Some("o"), Some("s"));
        assert_eq!(space.name(), "s");
        let binding = Item::new("service-binding", &["o", "s", "db", "app"]);
        assert_eq!(binding.within(Some("o"), Some("s")).name(), "db / app");
    }
}
