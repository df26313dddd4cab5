//! What an Ops Manager says, as far as we use it. Unknown fields are ignored; a null counts as
//! absent.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A run of Apply Changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// Its number; later ones are greater.
    #[serde(default)]
    pub id: u64,
    /// Who began it.
    #[serde(default, deserialize_with = "or_default")]
    pub user_name: String,
    /// As Ops Manager says it; [`Installation::state`] judges.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// RFC 3339.
    #[serde(default)]
    pub started_at: Option<String>,
    /// RFC 3339; `None` while it runs.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Products that were added.
    #[serde(default, deserialize_with = "or_default")]
    pub additions: Vec<ProductChange>,
    /// Products that were updated.
    #[serde(default, deserialize_with = "or_default")]
    pub updates: Vec<ProductChange>,
    /// Products that were removed.
    #[serde(default, deserialize_with = "or_default")]
    pub deletions: Vec<ProductChange>,
    /// Products that were left alone.
    #[serde(default, deserialize_with = "or_default")]
    pub unchanged: Vec<ProductChange>,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// A word that nobody knows: not safe.
    Unknown(String),
}

impl Installation {
    /// How it stands.
    pub fn state(&self) -> RunState {
        match self.status.as_str() {
            "running" => RunState::Running,
            "succeeded" => RunState::Succeeded,
            "failed" => RunState::Failed,
            other => RunState::Unknown(other.to_owned()),
        }
    }

    /// Whether it cannot be said to have ended: it runs, has no end, or says a word that nobody
    /// knows.
    pub fn may_run(&self) -> bool {
        !matches!(self.state(), RunState::Succeeded | RunState::Failed)
            || self.finished_at.as_deref().is_none_or(str::is_empty)
    }
}

/// What a run did to one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductChange {
    /// The product's type.
    #[serde(default, deserialize_with = "or_default")]
    pub identifier: String,
    /// Its name for people.
    #[serde(default, deserialize_with = "or_default")]
    pub label: String,
    /// Its version.
    #[serde(default, deserialize_with = "or_default")]
    pub product_version: String,
    /// Its GUID.
    #[serde(default, deserialize_with = "or_default")]
    pub guid: String,
    /// `addition`, `update`, …
    #[serde(default, deserialize_with = "or_default")]
    pub change_type: String,
    /// `pending`, `running`, `successful`, `failed`, `skipped`.
    #[serde(default, deserialize_with = "or_default")]
    pub deployment_status: String,
    /// RFC 3339.
    #[serde(default)]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub finished_at: Option<String>,
}

/// What Apply Changes would do to one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingChange {
    /// The product's GUID.
    #[serde(default, deserialize_with = "or_default")]
    pub guid: String,
    /// `unchanged`, `install`, `update`, `delete`.
    #[serde(default, deserialize_with = "or_default")]
    pub action: String,
    /// Its errands with their switches.
    #[serde(default)]
    pub errands: Value,
    /// Whether its configuration is complete.
    #[serde(default)]
    pub completeness_checks: Value,
}

/// A product that is deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedProduct {
    /// The name of its BOSH deployment (but for the director).
    #[serde(default, deserialize_with = "or_default")]
    pub installation_name: String,
    /// Its GUID.
    #[serde(default, deserialize_with = "or_default")]
    pub guid: String,
    /// `p-bosh`, `cf`, `pivotal-mysql`, …
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    /// Its version.
    #[serde(default, deserialize_with = "or_default")]
    pub product_version: String,
    /// Its name for people; empty on older versions.
    #[serde(default, deserialize_with = "or_default")]
    pub label: String,
}

impl DeployedProduct {
    /// Whether it is the director's tile, which is no deployment.
    pub fn is_director(&self) -> bool {
        self.kind == "p-bosh"
    }
}

/// A product that is staged; it has the GUID of the deployed one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedProduct {
    /// Its GUID.
    #[serde(default, deserialize_with = "or_default")]
    pub guid: String,
    /// As [`DeployedProduct::kind`].
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    /// Its version.
    #[serde(default, deserialize_with = "or_default")]
    pub product_version: String,
}

/// Addresses of one group of VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct StaticIps {
    /// Job and availability zone.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its addresses.
    #[serde(default, deserialize_with = "or_default")]
    pub ips: Vec<String>,
}

/// A group of VMs of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The instance group's name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its GUID.
    #[serde(default, deserialize_with = "or_default")]
    pub guid: String,
}

/// A CA of the foundation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct CertificateAuthority {
    /// Its GUID.
    #[serde(default, deserialize_with = "or_default")]
    pub guid: String,
    /// Who issued it.
    #[serde(default, deserialize_with = "or_default")]
    pub issuer: String,
    /// The end of its life.
    #[serde(default, deserialize_with = "or_default")]
    pub expires_on: String,
    /// Whether new certificates come from it.
    #[serde(default, deserialize_with = "or_default")]
    pub active: bool,
    /// The certificate.
    #[serde(default, deserialize_with = "or_default")]
    pub cert_pem: String,
}

/// A certificate in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedCertificate {
    /// The product that uses it.
    #[serde(default, deserialize_with = "or_default")]
    pub product_guid: String,
    /// The property that holds it.
    #[serde(default, deserialize_with = "or_default")]
    pub property_reference: String,
    /// Its path in CredHub.
    #[serde(default, deserialize_with = "or_default")]
    pub variable_path: String,
    /// `ops_manager`, `credhub`, …
    #[serde(default, deserialize_with = "or_default")]
    pub location: String,
    /// Who issued it.
    #[serde(default, deserialize_with = "or_default")]
    pub issuer: String,
    /// RFC 3339.
    #[serde(default, deserialize_with = "or_default")]
    pub valid_until: String,
    /// How it is renewed.
    #[serde(default, deserialize_with = "or_default")]
    pub rotation_procedure_name: String,
}

/// A stemcell.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stemcell {
    /// `ubuntu-jammy`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// `1.465`.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
}

/// The stemcells of one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemcellAssociation {
    /// The product's GUID.
    #[serde(default, deserialize_with = "or_default")]
    pub guid: String,
    /// Its type.
    #[serde(default, deserialize_with = "or_default")]
    pub identifier: String,
    /// What its VMs run on.
    #[serde(default, deserialize_with = "or_default")]
    pub deployed_stemcells: Vec<Stemcell>,
    /// What they would run on after Apply Changes.
    #[serde(default, deserialize_with = "or_default")]
    pub staged_stemcells: Vec<Stemcell>,
}

/// A network of the director.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectorNetwork {
    /// Its name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its ranges.
    #[serde(default, deserialize_with = "or_default")]
    pub subnets: Vec<Subnet>,
}

/// A range of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The IaaS's name for it.
    #[serde(default, deserialize_with = "or_default")]
    pub iaas_identifier: String,
    /// `10.0.0.0/20`.
    #[serde(default, deserialize_with = "or_default")]
    pub cidr: String,
    /// Its gateway.
    #[serde(default, deserialize_with = "or_default")]
    pub gateway: String,
    /// Its name servers.
    #[serde(default, deserialize_with = "or_default")]
    pub dns: String,
    /// What BOSH leaves alone.
    #[serde(default, deserialize_with = "or_default")]
    pub reserved_ip_ranges: String,
    /// Its zones.
    #[serde(default, deserialize_with = "or_default")]
    pub availability_zone_names: Vec<String>,
}
