//! out: a backup, a cleanup, or a prune.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{metadata, version};
use crate::config::{Action, Configuration};
use crate::operation::{self, Context};
use crate::report::{prune, text};

/// Does what the params ask. A put's version is that of the backup it made.
pub(super) fn run(context: &Context, configuration: &Configuration) -> Result<Value> {
    let settings = &configuration.settings;
    let backup = match &configuration.action {
        Action::Backup(components) => operation::backup(context, settings, components)?,
        Action::FromDirectories(directories) => {
            operation::from_directories(context, settings, directories)?
        }
        Action::Cleanup {
            components,
            force,
            direction,
        } => {
            let cleanup = operation::cleanup(context, settings, components, *force, *direction)?;
            context.monitor.info(text::cleanup(&cleanup).trim_end());
            return Ok(newest(context, configuration, "cleaned up", "cleanup"));
        }
        Action::Prune => {
            let pruned = operation::prune::prune(context, settings)?;
            context.monitor.info(prune::text(&pruned).trim_end());
            return Ok(newest(context, configuration, "pruned", "prune"));
        }
        Action::Read
        | Action::Fetch(_)
        | Action::Verify(..)
        | Action::Precheck(_)
        | Action::Inventory
        | Action::RestorePlan(..)
        | Action::Restore(_)
        | Action::Drill(_)
        | Action::Stage(_) => {
            bail!("a put neither reads nor checks nor restores")
        }
    };
    context.monitor.info(text::backup(&backup).trim_end());
    if configuration.prune {
        operation::prune::behind_a_backup(context, settings);
    }
    Ok(json!({"version": version::of(&backup.id), "metadata": metadata::of(&backup)}))
}

/// A put must return a version. The newest backup adds nothing to the history; without
/// metadata Concourse keeps what it has. Only where no backup can be named another version
/// stands in.
fn newest(context: &Context, configuration: &Configuration, done: &str, what: &str) -> Value {
    let newest = if configuration.settings.repository.stores.is_empty() {
        None
    } else {
        match operation::check(context, &configuration.settings, None) {
            Ok(ids) => ids.last().cloned(),
            Err(error) => {
                context.monitor.warn(&format!(
                    "{done}, but the newest backup is unknown: {}",
                    crate::report::failure::chain(&error)
                ));
                None
            }
        }
    };
    match newest {
        Some(id) => json!({"version": version::of(&id)}),
        None => json!({
            "version": version::of(version::NONE),
            "metadata": [metadata::pair("note", &format!("{what}; there was no backup to name"))],
        }),
    }
}
