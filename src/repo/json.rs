//! JSON that may be hostile: objects only where objects belong, no key twice, whole numbers.
//! docs/format.md, *Index* and *Limits of a reader*.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::clock;

/// The largest number of the format.
const NUMBER_LIMIT: u64 = 1 << 63;
/// Most bytes of a text for people.
const TEXT_LIMIT: usize = 4096;

/// Parses one object.
///
/// # Errors
/// When it is not JSON, not a `T`, or says something twice.
pub(super) fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> serde_json::Result<T> {
    let Once = serde_json::from_slice(line)?;
    let Object(value) = serde_json::from_slice(line)?;
    Ok(value)
}

/// A struct from an object alone: serde's own would take an array for it too.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Map(PhantomData)).map(Self)
    }
}

/// A field that is an object.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// A field that is a list of objects.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|Object(value)| value).collect())
}

/// A field that may be missing, but is not `null`.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// From 0 to 2^63, without fraction or exponent.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > NUMBER_LIMIT {
        return Err(D::Error::custom("a number of more than 2^63"));
    }
    Ok(number)
}

/// The same, of a field that may be missing.
pub(super) fn present_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    number(deserializer).map(Some)
}

/// A text for people, of bounded length.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > TEXT_LIMIT || text.contains('\0') {
        return Err(D::Error::custom("a text that is too long or holds a NUL"));
    }
    Ok(text)
}

/// A time as [`clock::rfc3339`] writes it.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match clock::parse_rfc3339(&text) {
        Some(time) if clock::rfc3339(time) == text => Ok(text),
        _ => Err(D::Error::custom(
            "a time that is none (such as 2026-11-22T01:02:03Z)",
        )),
    }
}

/// Any value in which no object says the same key twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while let Some(Self) = list.next_element()? {}
        Ok(self)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let Self = map.next_value()?;
            if !keys.insert(key) {
                return Err(A::Error::custom("an object says the same key twice"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "only whether it parses matters")]
    struct Line {
        #[serde(deserialize_with = "number")]
        n: u64,
        #[serde(default, deserialize_with = "present")]
        head: Option<String>,
        #[serde(default, deserialize_with = "objects")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "only whether it parses matters")]
    struct Inner {
        a: u64,
    }

    #[test]
    fn only_what_the_format_says_is_understood() {
        for good in [
            r#"{"n":1}"#,
            r#" {"n":9223372036854775808,"new":[1.5,null,1e30,{"x":"y"}]} "#,
            r#"{"n":0,"head":"x","inner":[{"a":1},{"a":1}]}"#,
        ] {
            assert!(parse::<Line>(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "[1]",
            "7",
            "null",
            r#"{"n":1.0}"#,
            r#"{"n":1e3}"#,
            r#"{"n":-1}"#,
            r#"{"n":9223372036854775809}"#,
            r#"{"n":true}"#,
            r#"{"n":"1"}"#,
            r#"{"n":1,"n":1}"#,
            r#"{"n":1,"\u006e":1}"#,
            r#"{"n":1,"new":[{"x":1,"x":2}]}"#,
            r#"{"n":1,"head":null}"#,
            r#"{"n":1,"inner":[[1]]}"#,
            r#"{"n":1,"inner":{}}"#,
            r#"{"n":1} {"n":1}"#,
            r#"{"n":NaN}"#,
        ] {
            assert!(parse::<Line>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_one_text_only() {
        let read = |text: &str| time(serde_json::Value::from(text));
        assert!(read("2026-11-22T01:02:03Z").is_ok());
        for bad in [
            "yesterday",
            "2026-13-22T01:02:03Z",
            "2026-11-22T01:02:03+00:00",
            "2026-11-22T01:02:03.5Z",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
