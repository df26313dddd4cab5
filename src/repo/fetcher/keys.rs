//! A chain's keys, wherever they lie: the manifest, `recovery.age`, later additions.

use zeroize::Zeroizing;

use super::Fetcher;
use crate::repo::Error;
use crate::repo::chain::ChainKeys;
use crate::repo::format::{KEYS_LIMIT, Manifest};
use crate::repo::recipients::file_name;
use crate::repo::seal::Identity;
use crate::store::Kind;

/// More additions than a chain ever gets; where it has them, later ones are not looked for.
const MOST_FILES: u32 = 100;

impl Fetcher {
    /// Opens the chain of a backup: its `recovery.age` out of the manifest, or one of the
    /// chain's files.
    ///
    /// # Errors
    /// When the identity opens none of them.
    pub fn keys(&self, manifest: &Manifest, identity: &Identity) -> Result<ChainKeys, Error> {
        self.keys_with_text(manifest, identity)
            .map(|(keys, _)| keys)
    }

    /// The same, with the text that the file opened to.
    ///
    /// # Errors
    /// As [`Fetcher::keys`].
    pub fn keys_with_text(
        &self,
        manifest: &Manifest,
        identity: &Identity,
    ) -> Result<(ChainKeys, Zeroizing<Vec<u8>>), Error> {
        let chain = &manifest.chain;
        let open = |sealed: &[u8]| ChainKeys::open_text(&self.foundation, chain, sealed, identity);
        let problem = match open(manifest.recovery_age.as_bytes()) {
            Ok(opened) => return Ok(opened),
            Err(problem) => problem,
        };
        for number in 1..MOST_FILES {
            let object = self.foundation.chain_file(&chain.id, &file_name(number));
            let fetched = self.bridge.wait(self.copies.get_first(
                &object,
                KEYS_LIMIT,
                |sealed: &bytes::Bytes| open(sealed).map(drop),
            ))?;
            match fetched.as_deref().map(open) {
                Ok(Ok(opened)) => return Ok(opened),
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
