//! The leaves of the model: what a single value may look like.
//!
//! Concourse's vars, task parameters and YAML disagree about types, so a whole number is
//! taken for a text, and `"true"` for `true`; nothing is guessed beyond that. No error
//! repeats a value: it may be a secret in the wrong place.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;

use crate::secret::Secret;

/// A text; white space at its ends does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(&Value::deserialize(deserializer)?).map(|text| Self(text.trim().to_owned()))
    }
}

/// A secret text; only line breaks at its ends do not count.
#[derive(Debug, Clone)]
pub(crate) struct Hidden(pub(crate) Secret);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(&Value::deserialize(deserializer)?)?;
        Ok(Self(Secret::new(text.trim_matches(['\n', '\r']))))
    }
}

fn text<E: Error>(value: &Value) -> Result<String, E> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        other => Err(E::custom(format!(
            "expected a text, found {}{}",
            kind(other),
            match other {
                Value::Number(_) | Value::Bool(_) => "; put it in quotes",
                _ => "",
            }
        ))),
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(flag) => Ok(Self(flag)),
            Value::String(text) if text.trim() == "true" => Ok(Self(true)),
            Value::String(text) if text.trim() == "false" => Ok(Self(false)),
            Value::String(_) => Err(D::Error::custom(
                "expected true or false, found another text",
            )),
            other => Err(D::Error::custom(format!(
                "expected true or false, found {}",
                kind(&other)
            ))),
        }
    }
}

/// A whole number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count(pub(crate) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let count = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        count.map(Self).ok_or_else(|| {
            D::Error::custom(format!("expected a whole number, found {}", kind(&value)))
        })
    }
}

/// A time with units: `30d`, `12h`, `1h30m`, `45s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        value.as_str().and_then(duration).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "expected a time with its unit (45s, 30m, 12h, 30d), found {}",
                match &value {
                    Value::String(_) => "another text",
                    other => kind(other),
                }
            ))
        })
    }
}

/// One time for all, or a map of times by name.
#[derive(Debug, Clone)]
pub(crate) enum Spans {
    All(Duration),
    Each(BTreeMap<String, Duration>),
}

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let span = |value: &Value| {
            value.as_str().and_then(duration).ok_or_else(|| {
                D::Error::custom(format!(
                    "expected a time with its unit (12h, 35d) or a map of such times, found {}",
                    match value {
                        Value::String(_) => "another text",
                        other => kind(other),
                    }
                ))
            })
        };
        match Value::deserialize(deserializer)? {
            Value::Object(map) => map
                .iter()
                // As in other maps, null takes a key out.
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| Ok((name.clone(), span(value)?)))
                .collect::<Result<_, _>>()
                .map(Self::Each),
            other => span(&other).map(Self::All),
        }
    }
}

/// How many times as much: a number with or without decimals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times(pub(crate) f64);

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let finite = number.filter(|number: &f64| number.is_finite());
        finite.map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "expected a number such as 2 or 1.5, found {}",
                kind(&value)
            ))
        })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(count.checked_mul(factor)?)?;
        rest = rest[digits + 1..].trim_start();
    }
    (!text.trim().is_empty()).then(|| Duration::from_secs(seconds))
}

/// A list of texts, or one text with an item on each line (secret stores hold texts only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Names;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Names, E> {
                let lines = text.lines().map(str::trim);
                Ok(Names(
                    lines.filter(|l| !l.is_empty()).map(str::to_owned).collect(),
                ))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(Text(name)) = items.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(List)
    }
}

/// What a value is, without the value.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_units() {
        for (text, seconds) in [
            ("45s", 45),
            ("30m", 1800),
            ("1h30m", 5400),
            ("30d", 2_592_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "30",
            "d",
            "30w",
            "-1d",
            "1.5h",
            "99999999999999999999d",
            "300000000000000000d",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_may_come_as_lines() {
        let names: Names = serde_json::from_str("\"a\\n\\n  b \\n\"").unwrap();
        assert_eq!(names.0, ["a", "b"]);
    }
}
