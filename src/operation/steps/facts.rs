//! What steps and plans need of a foundation record.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::operation) struct Facts {
    pub(in crate::operation) ops_manager_version: String,
    pub(in crate::operation) iaas: String,
    /// What the IaaS calls the director's VM.
    pub(in crate::operation) director_vm_cid: Option<String>,
    pub(in crate::operation) products: Vec<Product>,
    /// Name and range.
    pub(in crate::operation) networks: Vec<String>,
    pub(in crate::operation) domains: Vec<String>,
    /// Databases and blobstores outside the foundation, as texts.
    pub(in crate::operation) external: Vec<String>,
    /// Name and end of each certificate.
    pub(in crate::operation) certificates: Vec<(String, String)>,
    /// Operating system and version.
    pub(in crate::operation) stemcells: Vec<(String, String)>,
    /// How many the director knew.
    pub(in crate::operation) deployments: usize,
    /// How many of them were on-demand service instances.
    pub(in crate::operation) on_demand: usize,
    /// Runs of Apply Changes that succeeded.
    pub(in crate::operation) runs: Vec<Run>,
}

/// A product of the foundation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::operation) struct Product {
    pub(in crate::operation) guid: String,
    pub(in crate::operation) kind: String,
    /// Group and staged number of instances, a number or `automatic`.
    pub(in crate::operation) groups: Vec<(String, Value)>,
}

/// An Apply Changes that succeeded.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::operation) struct Run {
    pub(in crate::operation) director_only: bool,
    /// The GUIDs of what it deployed beside the director.
    pub(in crate::operation) products: Vec<String>,
    pub(in crate::operation) took: Duration,
}

impl Facts {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is not one.
    pub(in crate::operation) fn parse(text: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(text).context("is not JSON")?;
        let version = value["ops_manager"]["version"]
            .as_str()
            .context("does not name the version of Ops Manager")?;
        let products = list(&value["products"]).map(|product| Product {
            guid: string(&product["guid"]),
            kind: string(&product["type"]),
            groups: list(&product["jobs"])
                .map(|job| (string(&job["name"]), job["instances"].clone()))
                .collect(),
        });
        Ok(Self {
            ops_manager_version: version.to_owned(),
            director_vm_cid: value["director"]["vm_cid"].as_str().map(str::to_owned),
            products: products.collect(),
            ..Self::default()
        })
    }

    /// The product of a type.
    pub(in crate::operation) fn of_kind(&self, kind: &str) -> Option<&Product> {
        self.products.iter().find(|one| one.kind == kind)
    }

    /// How many instances a group had.
    pub(in crate::operation) fn instances(&self, product: &str, group: &str) -> Option<&Value> {
        let product = self.products.iter().find(|one| one.guid == product)?;
        let found = product.groups.iter().find(|(name, _)| name == group)?;
        Some(&found.1).filter(|count| !count.is_null())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
