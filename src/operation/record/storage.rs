//! Where a foundation keeps its blobs and rows, as its settings say.

use anyhow::Result;
use serde_json::{Map, Value};

use super::Storage;
use super::gather::{optional, property, text};
use crate::http::Wait;
use crate::operation::discovery::TAS;
use crate::opsman::{DeployedProduct, OpsManager};

/// Where TAS and the director keep their blobs and rows.
///
/// # Errors
/// When Ops Manager cannot be asked.
pub(in crate::operation) fn storage(
    client: &mut OpsManager,
    products: &[DeployedProduct],
    wait: &Wait,
) -> Result<Storage> {
    let mut tas = Map::new();
    if let Some(product) = products.iter().find(|product| product.kind == TAS) {
        tas = optional(client.product_properties(&product.guid, wait))?;
    }
    let director = optional(client.director_properties(wait))?;
    Ok(storage_of(&tas, &director))
}

pub(super) fn storage_of(tas: &Map<String, Value>, director: &Value) -> Storage {
    let configuration = director
        .get("director_configuration")
        .cloned()
        .unwrap_or_default();
    let s3 = configuration
        .get("s3_blobstore_options")
        .cloned()
        .unwrap_or_default();
    let mut storage = Storage {
        tas_blobstore: property(tas, ".properties.system_blobstore"),
        tas_blobstore_versioned: property(tas, ".properties.system_blobstore.external.versioning")
            .map(|text| text == "true"),
        tas_backup_level: property(tas, ".properties.system_blobstore_backup_level"),
        tas_database: property(tas, ".properties.system_database"),
        uaa_database: property(tas, ".properties.uaa_database"),
        credhub_database: property(tas, ".properties.credhub_database"),
        director_blobstore: text(&configuration, "blobstore_type"),
        director_blobstore_strategy: text(&s3, "backup_strategy"),
        director_database: text(&configuration, "database_type"),
        external: Vec::new(),
    };
    storage.external = external(&storage);
    storage
}

fn external(storage: &Storage) -> Vec<String> {
    let mut external = Vec::new();
    for (what, kind) in [
        ("the blobstore of TAS", &storage.tas_blobstore),
        ("the database of TAS", &storage.tas_database),
        ("the database of UAA in TAS", &storage.uaa_database),
        ("the database of CredHub in TAS", &storage.credhub_database),
        ("the director's database", &storage.director_database),
        ("the director's blobstore", &storage.director_blobstore),
    ] {
        if let Some(kind) = kind.as_ref().filter(|kind| is_external(kind)) {
            external.push(format!("{what} ({kind})"));
        }
    }
    external
}

/// Whether a kind of storage lies outside the foundation.
pub(in crate::operation) fn is_external(kind: &str) -> bool {
    let kind = kind.to_lowercase();
    kind.starts_with("external") || ["s3", "gcs", "azure"].contains(&kind.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_lies_outside_is_named() {
        let tas = json!({
            ".properties.system_blobstore": {"value": "external_azure"},
            ".properties.system_database": {"value": "internal_pxc"},
        });
        let director = json!({"director_configuration": {
            "database_type": "external", "blobstore_type": "local",
        }});
        let storage = storage_of(tas.as_object().unwrap(), &director);
        assert_eq!(
            storage.external,
            [
                "the blobstore of TAS (external_azure)",
                "the director's database (external)"
            ]
        );
    }
}
