//! Several documents laid over each other: `source` and `params`, or a file, the
//! environment and a command's arguments. Later ones win key by key.
//!
//! Remembers which document a value came from, so that an error can say where it stands.

use serde_json::{Map, Value};

use super::{Fault, Invalid};
use crate::secret::Mask;

/// One document.
#[derive(Clone)]
pub struct Layer {
    /// What stands in front of a path in errors: `source.`, `backup.yml: `.
    prefix: String,
    /// Paths that have another name in this document: an environment variable's.
    names: Vec<(String, String)>,
    /// Whether what no document says is missed here.
    home: bool,
    value: Value,
}

impl Layer {
    /// A document whose paths are shown behind `prefix`. `null` is an empty map.
    pub fn new(prefix: impl Into<String>, value: Value) -> Self {
        let value = match value {
            Value::Null => Value::Object(Map::new()),
            other => other,
        };
        Self {
            prefix: prefix.into(),
            names: Vec::new(),
            home: true,
            value,
        }
    }

    /// A document of single values that nobody expects to hold everything.
    pub(crate) fn of_single_keys(prefix: &str, value: Value) -> Self {
        Self {
            home: false,
            ..Self::new(prefix, value)
        }
    }

    /// Puts a value at a path of at most two keys that has another name for people.
    pub(crate) fn set(&mut self, path: &str, name: &str, value: Value) {
        let Some(top) = self.value.as_object_mut() else {
            return;
        };
        match path.split_once('.') {
            None => drop(top.insert(path.to_owned(), value)),
            Some((outer, inner)) => {
                let outer = top
                    .entry(outer)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Some(outer) = outer.as_object_mut() {
                    outer.insert(inner.to_owned(), value);
                }
            }
        }
        self.names.push((path.to_owned(), name.to_owned()));
    }

    /// What the document says.
    pub(crate) fn into_value(self) -> Value {
        self.value
    }

    /// How a path is called in this document.
    fn shown(&self, path: &str) -> String {
        for (known, name) in &self.names {
            match path.strip_prefix(known.as_str()) {
                Some("") => return name.clone(),
                Some(rest) if rest.starts_with(['.', '[']) => return format!("{name} {rest}"),
                _ => {}
            }
        }
        format!("{}{path}", self.prefix)
    }

    /// How many steps of a path lead somewhere in this document.
    fn depth(&self, path: &str) -> usize {
        let mut here = Some(&self.value);
        let mut depth = 0;
        for step in steps(path) {
            here = here.and_then(|value| match value {
                Value::Object(map) => map.get(step).filter(|value| !value.is_null()),
                Value::Array(list) => step.parse::<usize>().ok().and_then(|at| list.get(at)),
                _ => None,
            });
            if here.is_none() {
                break;
            }
            depth += 1;
        }
        depth
    }
}

/// A document may hold secrets.
impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layer({})", self.prefix)
    }
}

/// `stores[1].bucket` as `stores`, `1`, `bucket`.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty())
}

/// The documents, first the one that counts least.
#[derive(Debug, Clone)]
pub struct Layers(Vec<Layer>);

impl Layers {
    /// In ascending order of weight; at least one.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self(layers)
    }

    /// Registers everything that looks like a secret, wherever it stands.
    pub fn register(&self, mask: &Mask) {
        for layer in &self.0 {
            register(&layer.value, false, mask);
        }
    }

    /// Keeps of several keys only those that the weightiest document names at all: a put
    /// does one thing, whatever `source` says.
    pub(crate) fn only_last(&mut self, keys: &[&str]) {
        let names_one = |layer: &Layer| keys.iter().any(|key| layer.value.get(key).is_some());
        let Some(last) = self.0.iter().rposition(names_one) else {
            return;
        };
        for layer in &mut self.0[..last] {
            if let Some(map) = layer.value.as_object_mut() {
                for key in keys {
                    map.remove(*key);
                }
            }
        }
    }

    /// One document of all.
    pub(crate) fn merged(&self) -> Result<Value, Fault> {
        let mut merged = Value::Object(Map::new());
        for layer in &self.0 {
            if !layer.value.is_object() {
                return Err(Fault::new(
                    "",
                    format!("expected a map, found {}", super::leaf::kind(&layer.value)),
                ));
            }
            find_unresolved(&layer.value, "")?;
            let mut value = layer.value.clone();
            strip(&mut value, true);
            merge(&mut merged, value);
        }
        Ok(merged)
    }

    /// Says where a fault stands: in the weightiest of those documents that know most of
    /// its path; where it would be expected when none does.
    pub(crate) fn locate(&self, fault: Fault) -> Invalid {
        let best = self
            .0
            .iter()
            .max_by_key(|layer| layer.depth(&fault.path))
            .filter(|layer| layer.depth(&fault.path) > 0)
            .or_else(|| self.0.iter().find(|layer| !layer.value.is_object()))
            .or_else(|| {
                let mut homes = self.0.iter().filter(|layer| layer.home);
                if fault.asked {
                    homes.next_back()
                } else {
                    homes.next()
                }
            });
        let place = match best {
            Some(layer) if fault.path.is_empty() => {
                layer.prefix.trim_end_matches([' ', '.', ':']).to_owned()
            }
            Some(layer) => layer.shown(&fault.path),
            None => fault.path,
        };
        Invalid {
            place,
            message: fault.message,
        }
    }

    /// Whether the document with this prefix says anything at a path.
    pub(crate) fn stands_in(&self, prefix: &str, path: &str) -> bool {
        let all = steps(path).count();
        self.0
            .iter()
            .any(|layer| layer.prefix == prefix && layer.depth(path) == all)
    }
}

/// Keys under which secrets stand, also misspelt and misplaced ones.
const SECRET_WORDS: [&str; 8] = [
    "secret",
    "token",
    "password",
    "passphrase",
    "private_key",
    "identity",
    "access_key",
    "credential",
];

fn register(value: &Value, secret: bool, mask: &Mask) {
    match value {
        // A private key is one wherever it was pasted.
        Value::String(text)
            if secret || text.contains("PRIVATE KEY") || text.contains("AGE-SECRET-KEY-") =>
        {
            mask.add(text);
        }
        Value::Number(number) if secret => mask.add(&number.to_string()),
        Value::Array(list) => list.iter().for_each(|item| register(item, secret, mask)),
        Value::Object(map) => {
            for (key, item) in map {
                let hit = SECRET_WORDS.iter().any(|word| key.contains(word));
                register(item, secret || hit, mask);
            }
        }
        _ => {}
    }
}

/// Nothing and empty texts count as missing, except where a missing value would quietly
/// change what a backup is worth.
fn strip(value: &mut Value, top: bool) {
    let keep = |key: &str| {
        (top && matches!(key, "worker_identity" | "recovery_identity"))
            || key == "decryption_passphrase"
    };
    let Value::Object(map) = value else {
        if let Value::Array(list) = value {
            list.iter_mut().for_each(|item| strip(item, false));
        }
        return;
    };
    map.retain(|key, item| match item {
        Value::Null => false,
        Value::String(text) => keep(key) || !text.trim().is_empty(),
        _ => true,
    });
    map.values_mut().for_each(|item| strip(item, false));
}

fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(there) => merge(there, value),
                    None => drop(under.insert(key, value)),
                }
            }
        }
        (under, over) => *under = over,
    }
}

fn find_unresolved(value: &Value, path: &str) -> Result<(), Fault> {
    match value {
        Value::String(text) if holds_variable(text) => {
            Err(Fault::new(path, "holds an unresolved ((variable))"))
        }
        Value::Array(list) => list
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| find_unresolved(item, &format!("{path}[{at}]"))),
        Value::Object(map) => map.iter().try_for_each(|(key, item)| {
            let dot = if path.is_empty() { "" } else { "." };
            find_unresolved(item, &format!("{path}{dot}{key}"))
        }),
        _ => Ok(()),
    }
}

/// Whether Concourse would look for a variable here.
fn holds_variable(text: &str) -> bool {
    text.split("((").skip(1).any(|rest| {
        rest.split_once("))").is_some_and(|(name, _)| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_./:@\" ".contains(c))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn two() -> Layers {
        Layers::new(vec![
            Layer::new(
                "source.",
                json!({"a": 1, "bosh": {"client": "x"}, "stores": [{"name": "s"}]}),
            ),
            Layer::new(
                "params.",
                json!({"b": null, "a": 2, "bosh": {"client_secret": "y"}}),
            ),
        ])
    }

    #[test]
    fn params_win_key_by_key() {
        let merged = two().merged().unwrap();
        assert_eq!(merged["a"], 2);
        assert_eq!(merged["bosh"], json!({"client": "x", "client_secret": "y"}));
        assert_eq!(merged.get("b"), None);
    }

    #[test]
    fn a_fault_is_located_where_its_value_stands() {
        for (path, place) in [
            ("a", "params.a"),
            ("bosh.client", "source.bosh.client"),
            ("bosh.client_secret", "params.bosh.client_secret"),
            ("stores[0].bucket", "source.stores[0].bucket"),
            ("foundation", "source.foundation"),
        ] {
            let invalid = two().locate(Fault::new(path, "x"));
            assert_eq!(invalid.to_string(), format!("{place}: x"));
        }
    }

    #[test]
    fn variables_are_told_from_parentheses() {
        assert!(holds_variable("((a))"));
        assert!(holds_variable("x((vault:a/b.\"c\"))y"));
        assert!(!holds_variable("f(x((1)"));
        assert!(!holds_variable("(())"));
    }
}
