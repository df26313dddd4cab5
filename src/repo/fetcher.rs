//! Sealed objects, fetched from the first store that has them whole, and opened. docs/format.md,
//! *Limits of a reader*.

use std::sync::Arc;

use super::Error;
use super::bridge::Bridge;
use super::chain::ChainKeys;
use super::format::{
    ArtifactRecord, ComponentRecord, KEYS_LIMIT, Manifest, ROOT_LIMIT, RootHead, SEAL_OVERHEAD,
};
use super::id::{ChainId, Foundation};
use super::index::Root;
use super::seal::{Identity, Opener};
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

    /// Opens the chain of a backup: its `recovery.age` out of the manifest, or one of the
    /// chain's files.
    ///
    /// # Errors
    /// When the identity opens none of them.
    pub fn keys(&self, manifest: &Manifest, identity: &Identity) -> Result<ChainKeys, Error> {
        let chain = &manifest.chain;
        let from_manifest = ChainKeys::open(
            &self.foundation,
            chain,
            manifest.recovery_age.as_bytes(),
            identity,
        );
        let problem = match from_manifest {
            Ok(keys) => return Ok(keys),
            Err(problem) => problem,
        };
        for number in 1..100 {
            let file = if number == 1 {
                "recovery.age".into()
            } else {
                format!("recovery-{number}.age")
            };
            let object = self.foundation.chain_file(&chain.id, &file);
            let open = |sealed: &[u8]| ChainKeys::open(&self.foundation, chain, sealed, identity);
            let fetched = self.bridge.wait(self.copies.get_first(
                &object,
                KEYS_LIMIT,
                |sealed: &bytes::Bytes| open(sealed).map(drop),
            ))?;
            match fetched.as_deref().map(open) {
                Ok(Ok(keys)) => return Ok(keys),
                // The first may be lost while later ones are there.
                Err(error) if error.kind == Kind::NotFound && number > 1 => break,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(Error::Key(format!(
            "the recovery identity does not open chain {} of backup {}: recovery.age {problem}; use the identity of one of its recipients",
            chain.id, manifest.id
        )))
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
