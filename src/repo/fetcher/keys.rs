//! A chain's keys, wherever they lie: the manifest, `recovery.age`, later additions.

use std::collections::BTreeSet;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Fetcher;
use crate::repo::Error;
use crate::repo::chain::ChainKeys;
use crate::repo::format::{KEYS_LIMIT, Manifest};
use crate::repo::id::ChainId;
use crate::repo::objects::Objects;
use crate::repo::recipients::{file_name, number_of};
use crate::repo::seal::Identity;
use crate::shutdown::Stopped;
use crate::store;

/// More files than a chain ever gets; where it has more, the last are not tried.
const MOST_FILES: usize = 100;

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
        let (numbers, unlisted) = self.numbers(&chain.id)?;
        for number in numbers.into_iter().take(MOST_FILES) {
            let object = self.foundation.chain_file(&chain.id, &file_name(number));
            let fetched = self.bridge.wait(self.copies.get_first(
                &object,
                KEYS_LIMIT,
                |sealed: &bytes::Bytes| open(sealed).map(drop),
            ))?;
            if let Ok(sealed) = fetched
                && let Ok(opened) = open(&sealed)
            {
                return Ok(opened);
            }
        }
        let unlisted: Vec<String> = unlisted
            .iter()
            .map(|error| format!("; what was added later in a store is not known: {error}"))
            .collect();
        Err(Error::Key(format!(
            "the recovery identity does not open chain {} of backup {}: recovery.age {problem}; use the identity of one of its recipients{}",
            chain.id,
            manifest.id,
            unlisted.concat()
        )))
    }

    /// The places of the chain's files in any store, that of `recovery.age` first, and why a store did
    /// not say. There may be gaps: a number is given once for all stores, and the one store that has its
    /// file may be lost.
    fn numbers(&self, chain: &ChainId) -> Result<(BTreeSet<u32>, Vec<store::Error>), Stopped> {
        let objects = Objects::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
        );
        let (mut numbers, mut unlisted) = (BTreeSet::from([1]), Vec::new());
        for (_, listed) in objects.key_files(chain)? {
            match listed {
                Ok(files) => numbers.extend(files.iter().filter_map(|file| number_of(&file.name))),
                Err(error) => unlisted.push(error),
            }
        }
        Ok((numbers, unlisted))
    }
}
