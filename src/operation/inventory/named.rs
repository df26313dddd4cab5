//! Inventories by what people call them: a backup's id, `latest`, `now`, or a file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};

use super::FILE;
use crate::operation::Context;
use crate::operation::catalogue::{find, newest, tell_origin};
use crate::operation::fetch::identity_of;
use crate::operation::piped::piped;
use crate::operation::settings::{Settings, is_backup_id};
use crate::operation::stores::Stores;

/// Which inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// That of this backup.
    Backup(String),
    /// That of the newest backup.
    Latest,
    /// One that is taken for this.
    Now,
    /// One that `inventory take` wrote.
    File(PathBuf),
}

impl Named {
    /// Reads what stands on a command line.
    pub fn parse(text: &str) -> Self {
        match text {
            "latest" => Self::Latest,
            "now" => Self::Now,
            id if is_backup_id(id) => Self::Backup(id.to_owned()),
            path => Self::File(path.into()),
        }
    }
}

/// Work with an inventory's text.
///
/// # Errors
/// When it cannot be had; those of the work, with the inventory's name.
pub(super) fn with<T>(
    context: &Context,
    settings: &Settings,
    what: &Named,
    work: impl FnOnce(Box<dyn BufRead + '_>) -> Result<T>,
) -> Result<T> {
    match what {
        Named::Now => {
            let inventory = super::take(context, settings)?;
            work(Box::new(inventory.text()))
        }
        Named::File(path) => {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| {
                format!(
                    "{name} is no backup's id, not `latest`, not `now`, and cannot be opened as a file"
                )
            })?;
            work(Box::new(BufReader::new(file))).context(name)
        }
        Named::Latest => {
            let id = newest(context, settings)?;
            of_backup(context, settings, &id, work)
        }
        Named::Backup(id) => of_backup(context, settings, id, work),
    }
}

fn of_backup<T>(
    context: &Context,
    settings: &Settings,
    id: &str,
    work: impl FnOnce(Box<dyn BufRead + '_>) -> Result<T>,
) -> Result<T> {
    let identity = identity_of(settings)?;
    let stores = Stores::open(context, settings)?;
    let believed = find(&stores, id)?;
    let manifest = &believed.signed.manifest;
    let (component, artifact) = manifest
        .components
        .iter()
        .find_map(|component| {
            let mut artifacts = component.artifacts.iter();
            Some((component, artifacts.find(|artifact| artifact.name == FILE)?))
        })
        .ok_or_else(|| {
            anyhow!("backup {id} holds no inventory; `lifeboat show {id}` says why in its notes")
        })?;
    tell_origin(context, &believed, id);
    let reader = stores.reader(manifest, &identity)?;
    let root = reader.root(component, artifact)?;
    piped(&reader, &root, work).with_context(|| format!("the inventory of backup {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_is_called_by_id_word_or_path() {
        for (text, named) in [
            ("latest", Named::Latest),
            ("now", Named::Now),
            (
                "20261122T010203Z-7f3a09bc",
                Named::Backup("20261122T010203Z-7f3a09bc".into()),
            ),
            ("./now", Named::File("./now".into())),
            ("east.jsonl", Named::File("east.jsonl".into())),
        ] {
            assert_eq!(Named::parse(text), named, "{text}");
        }
    }
}
