//! Sealed objects, fetched from the first store that has them whole, and opened. docs/format.md,
//! *Limits of a reader*.

mod keys;

use std::sync::Arc;

use super::Error;
use super::bridge::Bridge;
use super::format::{ArtifactRecord, ComponentRecord, ROOT_LIMIT, RootHead, SEAL_OVERHEAD};
use super::id::{ChainId, Foundation};
use super::index::Root;
use super::seal::Opener;
use crate::artifact::Digest;
use crate::store::copies::Copies;
use crate::store::{Kind, ObjectName};

/// Fetches sealed objects and checks them against their names.
#[derive(Debug, Clone)]
pub struct Fetcher {
    pub(super) copies: Arc<Copies>,
    pub(super) bridge: Bridge,
    pub(super) foundation: Foundation,
}

impl Fetcher {
    /// Reads from these stores, the first healthy one first.
    pub fn new(copies: Arc<Copies>, bridge: Bridge, foundation: Foundation) -> Self {
        Self {
            copies,
            bridge,
            foundation,
        }
    }

    /// Fetches and opens a root or a page.
    ///
    /// # Errors
    /// When no store has it undamaged.
    pub fn index(
        &self,
        chain: &ChainId,
        name: &Digest,
        opener: &Opener,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let object = self.foundation.index(chain, name);
        self.bridge.wait(open_object(
            Arc::clone(&self.copies),
            object,
            *name,
            opener.clone(),
            limit,
        ))?
    }

    /// Fetches, opens and parses a root, and compares it with the manifest.
    ///
    /// # Errors
    /// As [`Fetcher::index`], and when it is another artifact's.
    pub fn root(
        &self,
        chain: &ChainId,
        component: &ComponentRecord,
        artifact: &ArtifactRecord,
        opener: &Opener,
    ) -> Result<Root, Error> {
        let plain = self.index(chain, &artifact.root, opener, ROOT_LIMIT)?;
        let object = self.foundation.index(chain, &artifact.root).to_string();
        let root = Root::parse(&object, &plain)?;
        let RootHead {
            component: of,
            artifact: name,
            form,
            files,
            bytes,
            ..
        } = &root.head;
        if *of != component.name || *name != artifact.name {
            return Err(Error::damaged(
                object,
                format!("is the root of {name} of {of}; it was swapped"),
            ));
        }
        if *form != artifact.form || *files != artifact.files || *bytes != artifact.bytes {
            return Err(Error::damaged(
                object,
                "states other sums than the manifest",
            ));
        }
        Ok(root)
    }
}

pub(super) async fn open_object(
    copies: Arc<Copies>,
    object: ObjectName,
    name: Digest,
    opener: Opener,
    limit: u64,
) -> Result<Vec<u8>, Error> {
    let check = move |bytes: &bytes::Bytes| {
        if Digest::of(bytes) == name {
            Ok(())
        } else {
            Err("was damaged or replaced: it has another digest than its name states".to_owned())
        }
    };
    let sealed = copies
        .get_first(&object, limit + SEAL_OVERHEAD, check)
        .await
        .map_err(|mut error| {
            if matches!(error.kind, Kind::NotFound | Kind::Other) {
                error.message.push_str(
                    "; choose another version, or copy the object back from where it is whole",
                );
            }
            error
        })?;
    tokio::task::spawn_blocking(move || opener.open(&sealed, limit))
        .await
        .map_err(|error| Error::Other(format!("opening failed: {error}")))?
        .map_err(|problem| Error::damaged(object.as_str(), problem))
}
