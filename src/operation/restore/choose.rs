//! Which backup is restored, and the keys to it.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Deserialize;

use crate::operation::Context;
use crate::operation::catalogue::{self, find};
use crate::operation::fetch::identity_of;
use crate::operation::settings::{Origin, Settings};
use crate::operation::stores::Stores;
use crate::repo::catalogue::Believed;
use crate::repo::format::Manifest;
use crate::repo::reader::Reader;

/// A backup that can be read.
#[derive(Debug)]
pub(super) struct Chosen {
    believed: Believed,
    pub(super) reader: Reader,
}

impl Chosen {
    pub(super) fn manifest(&self) -> &Manifest {
        &self.believed.signed.manifest
    }
}

/// Finds the backup and opens its chain.
pub(super) fn open(
    context: &Context,
    settings: &Settings,
    stores: &Stores,
    origin: &Origin,
) -> Result<Chosen> {
    let identity = identity_of(settings)?;
    let id = match origin {
        Origin::Backup(id) => id.clone(),
        Origin::File(path) => named_by(path, &settings.repository.foundation)?,
        Origin::Latest => catalogue::check(context, settings, None)?
            .pop()
            .context("there is no backup yet")?,
        Origin::Directory(_) => return Err(anyhow!("a directory is no backup")),
    };
    let believed = find(stores, &id)?;
    catalogue::tell_origin(context, &believed, &id);
    let manifest = &believed.signed.manifest;
    let fetcher = stores.fetcher();
    let keys = fetcher.keys(manifest, &identity)?;
    // With another store at hand nobody waits long for one that fails.
    if settings.repository.stores.len() == 1 {
        stores.patience.stream();
    }
    let reader = Reader::new(fetcher, manifest.chain.id.clone(), keys);
    Ok(Chosen { believed, reader })
}

/// The part of a `backup.json` that counts here.
#[derive(Debug, Deserialize)]
struct BackupFile {
    id: String,
    foundation: String,
}

fn named_by(path: &Path, foundation: &str) -> Result<String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("id_file: {shown} cannot be read; give the backup.json that a get wrote")
    })?;
    let file: BackupFile = serde_json::from_str(&text).map_err(|_may_quote| {
        anyhow!("id_file: {shown} is not a backup.json as a get writes it")
    })?;
    ensure!(
        file.foundation == foundation,
        "id_file: {shown} names a backup of another foundation"
    );
    Ok(file.id)
}
