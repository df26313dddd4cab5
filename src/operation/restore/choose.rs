//! Which backup is restored, and the keys to it.

use anyhow::Result;

use crate::operation::Context;
use crate::operation::catalogue::chosen;
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
    let believed = chosen(context, settings, stores, origin)?;
    let reader = stores.reader(&believed.signed.manifest, &identity)?;
    stores.stream_if_alone();
    Ok(Chosen { believed, reader })
}
