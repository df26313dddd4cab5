//! What steps and plans need of a foundation record.

use std::time::Duration;

use serde_json::Value;

use super::super::record::{Deployment, Record};

/// The facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::operation) struct Facts {
    pub(in crate::operation) ops_manager_version: String,
    pub(in crate::operation) iaas: String,
    /// Where the original's Ops Manager was, `host` or `host:port`.
    pub(in crate::operation) ops_manager_address: String,
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
    /// Each with its kind (`product`, `on-demand`, `other`), its groups and their sizes.
    pub(in crate::operation) deployed: Vec<Deployed>,
    /// How many of them were on-demand service instances.
    pub(in crate::operation) on_demand: usize,
    /// Runs of Apply Changes that succeeded.
    pub(in crate::operation) runs: Vec<Run>,
}

/// A deployment as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::operation) struct Deployed {
    pub(in crate::operation) name: String,
    pub(in crate::operation) on_demand: bool,
    pub(in crate::operation) groups: Vec<(String, usize)>,
}

/// A product of the foundation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::operation) struct Product {
    pub(in crate::operation) guid: String,
    pub(in crate::operation) kind: String,
    pub(in crate::operation) version: String,
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
    /// Those of a record.
    pub(in crate::operation) fn of(record: Record) -> Self {
        let mut stemcells: Vec<_> = record
            .products
            .iter()
            .flat_map(|product| &product.stemcells)
            .map(|stemcell| (stemcell.os.clone(), stemcell.version.clone()))
            .collect();
        stemcells.sort();
        stemcells.dedup();
        let networks = record.networks.iter().flat_map(|network| {
            let ranges = network.subnets.iter();
            ranges.map(move |subnet| format!("{} {}", network.name, subnet.cidr))
        });
        let on_demand = |one: &&Deployment| one.kind == "on-demand";
        Self {
            ops_manager_version: record.ops_manager.version,
            iaas: record.ops_manager.iaas,
            ops_manager_address: record.ops_manager.address,
            director_vm_cid: record.director.vm_cid,
            networks: networks.collect(),
            domains: [record.domains.system, record.domains.apps]
                .into_iter()
                .flatten()
                .collect(),
            external: record.storage.external,
            certificates: record
                .certificates
                .all
                .into_iter()
                .map(|one| (format!("{} {}", one.product, one.name), one.valid_until))
                .collect(),
            stemcells,
            deployments: record.deployments.len(),
            deployed: record
                .deployments
                .iter()
                .map(|one| Deployed {
                    name: one.name.clone(),
                    on_demand: on_demand(&one),
                    groups: one
                        .groups
                        .iter()
                        .map(|group| (group.name.clone(), group.instances))
                        .collect(),
                })
                .collect(),
            on_demand: record.deployments.iter().filter(on_demand).count(),
            runs: record
                .apply_changes
                .into_iter()
                .filter(|run| run.status == "succeeded")
                .filter_map(|run| {
                    Some(Run {
                        director_only: run.director_only,
                        took: Duration::from_secs(run.seconds?),
                        products: run.products,
                    })
                })
                .collect(),
            products: record
                .products
                .into_iter()
                .map(|product| Product {
                    guid: product.guid,
                    kind: product.kind,
                    version: product.version,
                    groups: product
                        .groups
                        .into_iter()
                        .map(|group| (group.name, group.instances))
                        .collect(),
                })
                .collect(),
        }
    }

    /// The product of a type.
    pub(in crate::operation) fn of_kind(&self, kind: &str) -> Option<&Product> {
        self.products.iter().find(|one| one.kind == kind)
    }

    /// How many instances a group of TAS had. A standby's TAS has another GUID than the recorded one.
    pub(in crate::operation) fn tas_instances(&self, group: &str) -> Option<&Value> {
        let found = self
            .of_kind("cf")?
            .groups
            .iter()
            .find(|(name, _)| name == group)?;
        Some(&found.1).filter(|count| !count.is_null())
    }
}
