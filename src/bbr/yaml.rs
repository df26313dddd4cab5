//! YAML 1.1 as BOSH's world writes it: `yes` is a boolean, a quoted `"true"` is not, the last
//! of two equal keys wins, only the first document counts. The only file that knows the parser.

use std::fmt;
use std::io::Read;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

/// Parses the first document; `None` when there is none, or it is empty.
///
/// # Errors
/// One sentence, without a code snippet: the text may hold credentials.
pub(super) fn first_document<T: DeserializeOwned>(text: &str) -> Result<Option<T>, String> {
    let options = serde_saphyr::options! {
        // A deployment manifest comes from the director that we trust with far more.
        budget: None,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    let mut reader = text.as_bytes();
    let mut documents = serde_saphyr::read_with_options::<_, Option<T>>(&mut reader, options);
    match documents.next() {
        None => Ok(None),
        Some(Ok(document)) => Ok(document),
        Some(Err(error)) => Err(error.to_string().trim().replace('\n', " ")),
    }
}

/// Reads one document piece by piece; an empty one is nothing. A `!!binary` text stays base64.
///
/// # Errors
/// One sentence, without a code snippet.
pub(super) fn stream<S>(from: impl Read, seed: S) -> Result<(), String>
where
    S: for<'de> DeserializeSeed<'de, Value = ()>,
{
    let options = serde_saphyr::options! {
        // It may hold a line for each of millions of files.
        budget: None,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    };
    serde_saphyr::with_deserializer_from_reader_with_options(from, options, |document| {
        seed.deserialize(document)
    })
    .map_err(|error| error.to_string().trim().replace('\n', " "))
}

/// A boolean, and nothing that merely looks like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boolean(pub(super) bool);

impl<'de> serde::Deserialize<'de> for Boolean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Bool(value) => Ok(Self(value)),
            Node::Null => Ok(Self(false)),
            other => Err(D::Error::custom(format!(
                "expected true or false without quotes, found {}",
                other.kind()
            ))),
        }
    }
}

/// Any value, for documents of which only a few places matter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// A number, as text.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The value of a key; the last of several.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .rev()
            .find(|(name, _)| matches!(name, Self::Text(text) if text == key))
            .map(|(_, value)| value)
    }

    /// The one element of a list whose `name` is this; `None` too when there are several.
    pub(super) fn named(&self, name: &str) -> Option<&Self> {
        let Self::List(items) = self else { return None };
        let mut found = items
            .iter()
            .filter(|item| matches!(item.get("name"), Some(Self::Text(text)) if text == name));
        found.next().filter(|_| found.next().is_none())
    }

    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl<'de> serde::Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }
    fn visit_bytes<E>(self, value: &[u8]) -> Result<Node, E> {
        Ok(Node::Text(String::from_utf8_lossy(value).into_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_yaml_1_1() {
        for text in ["true", "True", "yes", "y", "on", "YES", "Y"] {
            assert_eq!(first_document(text), Ok(Some(Boolean(true))), "{text}");
        }
        for text in ["false", "no", "n", "off"] {
            assert_eq!(first_document(text), Ok(Some(Boolean(false))), "{text}");
        }
        for text in ["\"true\"", "'yes'", "1", "[]", "maybe"] {
            assert!(first_document::<Boolean>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_is_nothing() {
        for text in ["", "---\n", "# only a comment\n", "--- ~\n", "---\n...\n"] {
            assert_eq!(first_document::<Node>(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn the_first_document_and_the_last_of_equal_keys_count() {
        let node: Node = first_document("a: 1\na: 2\n---\n{{{ not yaml")
            .unwrap()
            .unwrap();
        assert_eq!(node.get("a"), Some(&Node::Number("2".to_owned())));
    }

    #[test]
    fn what_manifests_hold_can_be_read() {
        let text =
            "a: &x {k: .inf, 8080: 1e400, 0x1F: 017}\nb: *x\nc: !custom {<<: *x, d: |\n  x\n  }\n";
        let text = text.replace(", d: |\n  x\n  }", "}");
        let node: Node = first_document(&text).unwrap().unwrap();
        assert_eq!(node.get("b"), node.get("a"));
    }
}
