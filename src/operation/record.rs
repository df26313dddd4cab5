//! The foundation record: everything that must be known of a foundation to plan its restore, as
//! one JSON document that people can read too. `docs/foundation-record.md` explains each field.
//!
//! It is sealed like everything else in a backup, and holds no secret all the same.

mod gather;
mod storage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use gather::{deployments, gather, products};
pub(super) use storage::{is_external, storage};

use crate::opsman::{DirectorNetwork, Stemcell};
use crate::repo::format::{FoundationFacts, MOST_ENDS};

/// The artifact's name.
pub(super) const FILE: &str = "foundation-record.json";
/// What this release writes.
pub(super) const FORMAT: u64 = 1;

/// The whole record. A reader ignores what it does not know; a field that is not there is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// 1.
    pub(super) format: u64,
    /// The foundation's name in the configuration.
    pub(super) foundation: String,
    /// When it was gathered, RFC 3339.
    pub(super) taken: String,
    /// The release of Lifeboat that wrote it, and of `bbr` whose contract it follows.
    pub(super) lifeboat: String,
    pub(super) bbr_contract: String,
    pub(super) ops_manager: OpsManagerFacts,
    pub(super) director: DirectorFacts,
    pub(super) products: Vec<Product>,
    pub(super) networks: Vec<DirectorNetwork>,
    pub(super) domains: Domains,
    pub(super) storage: Storage,
    pub(super) deployments: Vec<Deployment>,
    pub(super) on_demand: Vec<Broker>,
    pub(super) certificates: Certificates,
    pub(super) apply_changes: Vec<Run>,
    pub(super) pending_changes: Vec<Pending>,
    /// What was asked before, while and after.
    pub(super) guards: Vec<super::guards::Outcome>,
    /// What changed between the beginning and the last unlock; empty is good.
    pub(super) changed_meanwhile: Vec<String>,
    pub(super) coverage: Vec<super::coverage::Line>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OpsManagerFacts {
    pub(super) address: String,
    pub(super) version: String,
    /// `vsphere`, `aws`, …; empty where Ops Manager does not tell.
    pub(super) iaas: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DirectorFacts {
    pub(super) address: String,
    pub(super) version: String,
    pub(super) name: String,
    /// Not to be trusted to tell one director from another: a restore brings it along.
    pub(super) uuid: String,
    /// What the IaaS calls its VM.
    pub(super) vm_cid: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Product {
    pub(super) guid: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) label: String,
    pub(super) version: String,
    /// Its BOSH deployment; `None` for the director.
    pub(super) deployment: Option<String>,
    pub(super) stemcells: Vec<Stemcell>,
    /// Staged sizes: what MySQL is scaled back to.
    pub(super) groups: Vec<Group>,
    pub(super) networks: Value,
    pub(super) errands: Vec<String>,
    pub(super) backups: Option<TileBackups>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Group {
    pub(super) name: String,
    /// A number, or `automatic`.
    pub(super) instances: Value,
    /// In MiB, a number or `automatic`; nothing without one.
    pub(super) persistent_disk: Value,
}

/// A tile's own backups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TileBackups {
    /// As the tile calls it.
    pub(super) selector: String,
    pub(super) on: bool,
    pub(super) schedule: Option<String>,
    /// Bucket, host or container.
    pub(super) target: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Domains {
    pub(super) system: Option<String>,
    pub(super) apps: Option<String>,
}

/// Which kinds of databases and blobstores there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Storage {
    pub(super) tas_blobstore: Option<String>,
    pub(super) tas_blobstore_versioned: Option<bool>,
    pub(super) tas_backup_level: Option<String>,
    pub(super) tas_database: Option<String>,
    pub(super) uaa_database: Option<String>,
    pub(super) credhub_database: Option<String>,
    pub(super) director_blobstore: Option<String>,
    pub(super) director_blobstore_strategy: Option<String>,
    pub(super) director_database: Option<String>,
    /// What lies outside the foundation, in sentences: it must be there before a restore.
    pub(super) external: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Deployment {
    pub(super) name: String,
    /// `product`, `on-demand`, `other`.
    pub(super) kind: String,
    /// The GUID of the product that it is, or that made it.
    pub(super) product: Option<String>,
    pub(super) releases: Vec<String>,
    pub(super) stemcells: Vec<String>,
    pub(super) groups: Vec<DeployedGroup>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DeployedGroup {
    pub(super) name: String,
    pub(super) instances: usize,
    pub(super) persistent_disk: bool,
}

/// An on-demand broker and its instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Broker {
    /// The product's GUID; `None` for instances whose broker is not known.
    pub(super) product: Option<String>,
    pub(super) deployments: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Certificates {
    /// From this day on a restored foundation does not come up by itself.
    pub(super) first_end: Option<String>,
    pub(super) all: Vec<Certificate>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Certificate {
    pub(super) product: String,
    pub(super) name: String,
    pub(super) valid_until: String,
}

/// An Apply Changes that ended, newest first: how long such a thing takes here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) status: String,
    pub(super) started: String,
    pub(super) finished: String,
    pub(super) seconds: Option<u64>,
    /// The GUIDs that it changed or left alone: all that it went through.
    pub(super) products: Vec<String>,
    pub(super) director_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pending {
    pub(super) product: String,
    pub(super) action: String,
}

impl Record {
    /// What the manifest says of it in the open.
    pub(super) fn facts(&self) -> FoundationFacts {
        let mut coverage = BTreeMap::new();
        for line in &self.coverage {
            *coverage.entry(line.class.clone()).or_default() += 1;
        }
        let mut ends: Vec<String> = self
            .certificates
            .all
            .iter()
            .map(|certificate| certificate.valid_until.clone())
            .filter(|end| !end.is_empty())
            .collect();
        ends.sort();
        let certificates = ends.len() as u64;
        ends.truncate(MOST_ENDS);
        FoundationFacts {
            coverage,
            certificates,
            first_end: ends.first().cloned(),
            ends,
        }
    }

    /// The document, readable on its own.
    pub(super) fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_else(|_| "{}".to_owned());
        text + "\n"
    }

    /// Reads one.
    ///
    /// # Errors
    /// A sentence, when it is none or a newer one.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(text)
            .map_err(|error| format!("is no foundation record ({error})"))?;
        match record.format {
            FORMAT => Ok(record),
            other => Err(format!(
                "has format {other}; this release reads {FORMAT}, use a newer one"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_newer_ones_are_refused() {
        let record = Record {
            format: FORMAT,
            products: vec![Product {
                groups: vec![Group {
                    name: "mysql".into(),
                    instances: 3.into(),
                    persistent_disk: "automatic".into(),
                }],
                ..Product::default()
            }],
            ..Record::default()
        };
        assert_eq!(Record::parse(record.text().as_bytes()), Ok(record.clone()));
        let with_more = record.text().replacen('{', "{\"later\": 1,", 1);
        assert_eq!(Record::parse(with_more.as_bytes()), Ok(record));
        assert!(
            Record::parse(b"{\"format\": 2}")
                .unwrap_err()
                .contains("format 2")
        );
        assert!(Record::parse(b"{}").is_err());
        assert!(Record::parse(b"x").is_err());
    }
}
