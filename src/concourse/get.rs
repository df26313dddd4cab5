//! in: what is known of a backup, and its contents when asked for.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Map, Value, json};

use super::version::Named;
use super::{metadata, version};
use crate::config::{Action, Configuration};
use crate::operation::settings::{Level, Verification};
use crate::operation::{self, Context};
use crate::report::{json as rendered, text};

/// Writes `backup.json`, and below it the components when downloading.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    version: &Map<String, Value>,
    directory: &Path,
) -> Result<Value> {
    let id = match version::parse(version).map_err(|why| anyhow!(why))? {
        Named::Backup(id) => id,
        Named::Nothing => {
            context.monitor.warn(
                "this version stands for a cleanup without any backup; nothing is written \
                 (use `no_get: true` on such a put)",
            );
            let note = metadata::pair("note", "cleanup; there was no backup to name");
            return Ok(json!({"version": version, "metadata": [note]}));
        }
    };
    let settings = &configuration.settings;
    let backup = match &configuration.action {
        Action::Fetch(selection) => {
            let fetched = operation::fetch(context, settings, &id, selection, directory)?;
            context.monitor.info(text::fetched(&fetched).trim_end());
            fetched.backup
        }
        Action::Verify(asked, selection) => {
            verify(context, configuration, asked, &id)?;
            match selection {
                Some(selection) => {
                    let fetched = operation::fetch(context, settings, &id, selection, directory)?;
                    context.monitor.info(text::fetched(&fetched).trim_end());
                    fetched.backup
                }
                None => operation::show(context, settings, &id)?,
            }
        }
        _ => operation::show(context, settings, &id)?,
    };
    let file = directory.join("backup.json");
    let mut document = serde_json::to_string_pretty(&rendered::backup(&backup))
        .context("backup.json could not be made")?;
    document.push('\n');
    std::fs::write(&file, document)
        .with_context(|| format!("{} could not be written", file.display()))?;
    Ok(json!({"version": version, "metadata": metadata::of(&backup)}))
}

/// A get that finds something wrong fails, and what it found stands in its log.
fn verify(
    context: &Context,
    configuration: &Configuration,
    asked: &Verification,
    id: &str,
) -> Result<()> {
    let one = matches!(asked.level, Level::Contents | Level::Restorable);
    let asked = Verification {
        backup: one.then(|| id.to_owned()),
        ..asked.clone()
    };
    let verified = operation::verify(context, &configuration.settings, &asked)?;
    for line in verified.text().lines() {
        context.monitor.info(line);
    }
    ensure!(
        verified.is_good(),
        "verification of level {} failed; what is wrong stands above",
        asked.level
    );
    Ok(())
}
