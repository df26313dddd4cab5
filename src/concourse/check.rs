//! check: the committed backups, oldest first.

use anyhow::Result;
use serde_json::{Map, Value};

use super::version::{self, Named};
use crate::config::Configuration;
use crate::operation::{self, Context};

/// All of them without a version, else from about the given one on. A version that names no
/// backup is none: a check must go on whatever history it is handed.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    version: Option<&Map<String, Value>>,
) -> Result<Value> {
    let after = match version.map(version::parse) {
        Some(Ok(Named::Backup(id))) => Some(id),
        Some(Err(why)) => {
            context.monitor.warn(&format!("{why}; listing all backups"));
            None
        }
        Some(Ok(Named::Nothing)) | None => None,
    };
    let ids = operation::check(context, &configuration.settings, after.as_deref())?;
    Ok(ids.iter().map(|id| version::of(id)).collect())
}
