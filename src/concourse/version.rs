//! A backup's id as a Concourse version, and back.

use serde_json::{Map, Value, json};

use crate::operation::settings::is_backup_id;

/// The version of a put that left no backup to name: a cleanup before the first backup, or
/// while no store answered. `check` never lists it, `in` accepts it and writes nothing.
pub(super) const NONE: &str = "none";

/// `{"id": …}`.
pub(super) fn of(id: &str) -> Value {
    json!({ "id": id })
}

/// What a version names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// A backup.
    Backup(String),
    /// [`NONE`].
    Nothing,
}

/// Reads a version.
///
/// # Errors
/// A sentence with the form of a version.
pub(super) fn parse(version: &Map<String, Value>) -> Result<Named, &'static str> {
    match version.get("id") {
        Some(Value::String(id)) if id == NONE => Ok(Named::Nothing),
        Some(Value::String(id)) if is_backup_id(id) => Ok(Named::Backup(id.clone())),
        Some(Value::String(_)) => {
            Err("version.id: is not a backup's id (such as 20261122T010203Z-7f3a09bc)")
        }
        Some(_) => Err("version.id: expected a text"),
        None => Err("version.id: is missing; a version is {\"id\": \"20261122T010203Z-7f3a09bc\"}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(version: Value) -> Result<Named, &'static str> {
        parse(version.as_object().unwrap())
    }

    #[test]
    fn a_version_survives_its_trip() {
        let id = "20261122T010203Z-7f3a09bc";
        assert_eq!(parsed(of(id)), Ok(Named::Backup(id.to_owned())));
        assert_eq!(parsed(of(NONE)), Ok(Named::Nothing));
    }

    #[test]
    fn anything_else_is_refused() {
        for id in [
            "",
            "20261122T010203Z",
            "20261322T010203Z-7f3a09bc",
            "../20261122T010203Z-7f3a09bc",
            "20261122T010203Z-7F3A09BC",
        ] {
            assert!(parsed(of(id)).is_err(), "{id}");
        }
        assert!(parsed(json!({})).is_err());
        assert!(parsed(json!({"id": 5})).is_err());
    }
}
