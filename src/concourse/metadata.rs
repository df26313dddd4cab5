//! Metadata pairs: texts that Concourse shows under a step.

use serde_json::{Value, json};

use crate::report::{Backup, text};

/// What an operator asks first about a backup.
pub(super) fn of(backup: &Backup) -> Value {
    let mut pairs: Vec<Value> = vec![pair("foundation", &backup.foundation)];
    pairs.extend(
        text::facts(backup)
            .iter()
            .map(|(name, value)| pair(name, value)),
    );
    Value::Array(pairs)
}

/// One pair.
pub(super) fn pair(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_a_text_and_every_name_usable_in_a_var() {
        let metadata = of(&crate::report::testing::sample());
        for pair in metadata.as_array().unwrap() {
            assert!(pair["value"].is_string(), "{pair}");
            let name = pair["name"].as_str().unwrap();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
        }
    }
}
