//! What a restore notes down in the restored director itself: a config of a type that nobody
//! else has.
//!
//! Steps look at the world rather than at notes. One thing the world cannot tell: whether the
//! first scan after the restore showed that this director is isolated, for it is gone once the
//! references are cleared. The note lives in the director's database. So it goes when the
//! director is restored again, and a note that came along with a restored database is another
//! backup's and counts for nothing.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bosh::{Director, Stemcell};
use crate::http::Wait;

pub(in crate::operation) const KIND: &str = "lifeboat";
const NAME: &str = "restore";

/// The note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::operation) struct Note {
    /// The backup that was restored.
    backup: String,
    /// Whether its first scan found this director isolated from the original.
    isolated: bool,
    /// Stemcells that were uploaded since: name and version, and what the IaaS calls them.
    stemcells: BTreeMap<String, String>,
}

impl Note {
    /// The note that counts for this backup; an empty one where there is none.
    pub(in crate::operation) fn read(
        director: &Director,
        backup: &str,
        wait: &Wait,
    ) -> Result<Self> {
        let configs = director.configs(wait)?;
        let ours = configs
            .iter()
            .find(|config| config.kind == KIND && config.name == NAME);
        let noted = ours.and_then(|config| serde_json::from_str::<Self>(&config.content).ok());
        Ok(noted
            .filter(|note| note.backup == backup)
            .unwrap_or_else(|| Self {
                backup: backup.to_owned(),
                ..Self::default()
            }))
    }

    /// Whether the guard was passed for this backup.
    pub(in crate::operation) fn isolated(&self) -> bool {
        self.isolated
    }

    /// Notes that the guard was passed.
    pub(in crate::operation) fn pass(&mut self, director: &Director, wait: &Wait) -> Result<()> {
        self.isolated = true;
        self.write(director, wait)
    }

    /// Whether a stemcell, as the director has it now, was uploaded since the restore.
    pub(in crate::operation) fn has(&self, stemcell: &Stemcell) -> bool {
        self.stemcells.get(&key(stemcell)) == Some(&stemcell.cid)
    }

    /// Notes a stemcell as the director has it after its upload.
    pub(in crate::operation) fn uploaded(
        &mut self,
        stemcell: &Stemcell,
        director: &Director,
        wait: &Wait,
    ) -> Result<()> {
        self.stemcells.insert(key(stemcell), stemcell.cid.clone());
        self.write(director, wait)
    }

    fn write(&self, director: &Director, wait: &Wait) -> Result<()> {
        // JSON is YAML, which the director wants.
        let content = serde_json::to_string(self).context("the note cannot be written")?;
        director.put_config(KIND, NAME, &content, wait)?;
        Ok(())
    }
}

/// `NAME/VERSION`, as `bosh` writes it.
pub(in crate::operation) fn key(stemcell: &Stemcell) -> String {
    format!("{}/{}", stemcell.name, stemcell.version)
}
