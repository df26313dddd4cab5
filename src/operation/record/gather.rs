//! Asking Ops Manager and the Director for what a foundation record holds.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::storage::storage_of;
use super::{
    Broker, Certificate, Certificates, DeployedGroup, Deployment, DirectorFacts, Domains, Group,
    OpsManagerFacts, Pending, Product, Record, Run, TileBackups,
};
use crate::bbr;
use crate::bosh;
use crate::clock;
use crate::http::Wait;
use crate::operation::Context;
use crate::operation::discovery::{Asked, TAS};
use crate::operation::service_instances::PREFIX;
use crate::operation::settings::Settings;
use crate::opsman::{
    DeployedProduct, Error, Installation, OpsManager, RunState, Stemcell, StemcellAssociation,
};

/// The runs of Apply Changes that are kept.
const RUNS: usize = 20;

/// The record, and what must be at hand when Ops Manager's export is lost.
#[derive(Debug)]
pub(in crate::operation) struct Gathered {
    pub(in crate::operation) record: Record,
    /// Credentials. For a sealed file alone.
    pub(in crate::operation) break_glass: Value,
    /// What was missing.
    pub(in crate::operation) warnings: Vec<String>,
}

/// Asks for everything. What an older Ops Manager does not know stays empty.
///
/// # Errors
/// When Ops Manager or the Director cannot be asked.
pub(in crate::operation) fn gather(
    context: &Context,
    settings: &Settings,
    asked: &mut Asked,
    api: Option<&bosh::Director>,
    wait: &Wait,
) -> Result<Gathered> {
    let products = asked.products.clone();
    let client = &mut asked.client;
    let mut warnings = Vec::new();
    let deployments = match api {
        Some(api) => deployments(api, &products, wait)?,
        None => Vec::new(),
    };
    let report = client.diagnostic_report(wait)?.unwrap_or_default();
    let stemcells = optional(client.stemcell_associations(wait))?;
    let mut kept = Vec::new();
    let mut tas = Map::new();
    for product in &products {
        let properties = match product.is_director() {
            true => Map::new(),
            false => optional(client.product_properties(&product.guid, wait))?,
        };
        let mut one = facts_of(client, product, &properties, wait)?;
        one.stemcells = deployed_stemcells(&stemcells, &product.guid);
        if product.kind == TAS {
            tas = properties;
        }
        kept.push(one);
    }
    let record = Record {
        format: super::FORMAT,
        foundation: settings.repository.foundation.clone(),
        taken: clock::rfc3339(context.clock.now()),
        lifeboat: env!("CARGO_PKG_VERSION").to_owned(),
        bbr_contract: "1".to_owned(),
        ops_manager: OpsManagerFacts {
            address: client.name().to_owned(),
            version: asked.version.clone(),
            iaas: text(&report, "infrastructure_type").unwrap_or_default(),
        },
        director: director(client, settings, &products, api, wait)?,
        networks: optional(client.director_networks(wait))?,
        domains: Domains {
            system: property(&tas, ".cloud_controller.system_domain"),
            apps: property(&tas, ".cloud_controller.apps_domain"),
        },
        storage: storage_of(&tas, &optional(client.director_properties(wait))?),
        on_demand: brokers(&deployments),
        deployments,
        certificates: certificates(client, wait)?,
        apply_changes: client
            .installations(wait)?
            .iter()
            .filter(|run| !run.may_run())
            .take(RUNS)
            .map(run)
            .collect(),
        pending_changes: optional(client.pending_changes(wait))?
            .into_iter()
            .map(|change| Pending {
                product: change.guid,
                action: change.action,
            })
            .collect(),
        products: kept,
        ..Record::default()
    };
    let break_glass = break_glass(client, &products, &mut warnings, wait)?;
    Ok(Gathered {
        record,
        break_glass,
        warnings,
    })
}

/// The products with their own backups alone, for a table without a record.
///
/// # Errors
/// When Ops Manager cannot be asked.
pub(in crate::operation) fn products(
    client: &mut OpsManager,
    products: &[DeployedProduct],
    wait: &Wait,
) -> Result<Vec<Product>> {
    let mut found = Vec::new();
    let stemcells = optional(client.stemcell_associations(wait))?;
    for product in products.iter().filter(|product| !product.is_director()) {
        let properties = optional(client.product_properties(&product.guid, wait))?;
        found.push(Product {
            guid: product.guid.clone(),
            kind: product.kind.clone(),
            label: product.label.clone(),
            stemcells: deployed_stemcells(&stemcells, &product.guid),
            backups: backups(&properties),
            ..Product::default()
        });
    }
    Ok(found)
}

fn deployed_stemcells(all: &[StemcellAssociation], guid: &str) -> Vec<Stemcell> {
    let of = all.iter().find(|association| association.guid == guid);
    of.map(|association| association.deployed_stemcells.clone())
        .unwrap_or_default()
}

/// What a version does not know is nothing; what was refused is an error.
pub(super) fn optional<T: Default>(found: Result<T, Error>) -> Result<T> {
    match found {
        Err(Error::NotThere { .. }) => Ok(T::default()),
        found => Ok(found?),
    }
}

pub(super) fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// A property as text: a selector's choice, a text, a number; never a credential.
pub(super) fn property(properties: &Map<String, Value>, name: &str) -> Option<String> {
    let property = properties.get(name)?;
    if property.get("credential").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    ["selected_option", "value"]
        .iter()
        .find_map(|key| match property.get(*key)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
}

fn facts_of(
    client: &mut OpsManager,
    product: &DeployedProduct,
    properties: &Map<String, Value>,
    wait: &Wait,
) -> Result<Product> {
    let mut one = Product {
        guid: product.guid.clone(),
        kind: product.kind.clone(),
        label: product.label.clone(),
        version: product.product_version.clone(),
        deployment: (!product.is_director()).then(|| product.installation_name.clone()),
        backups: backups(properties),
        ..Product::default()
    };
    for job in optional(client.product_jobs(&product.guid, wait))? {
        let config = optional(client.resource_config(&product.guid, &job.guid, wait))?;
        let disk = config
            .get("persistent_disk")
            .and_then(|disk| disk.get("size_mb"));
        one.groups.push(Group {
            name: job.name,
            instances: config.get("instances").cloned().unwrap_or_default(),
            persistent_disk: disk.cloned().unwrap_or_default(),
        });
    }
    one.networks = optional(client.product_networks(&product.guid, wait))?;
    one.errands = optional(client.product_errands(&product.guid, wait))?
        .iter()
        .filter_map(|errand| text(errand, "name"))
        .collect();
    Ok(one)
}

/// The selector of a tile's own backups, and what stands under its choice.
fn backups(properties: &Map<String, Value>) -> Option<TileBackups> {
    const SELECTOR: &str = ".properties.backups_selector";
    let selector = property(properties, SELECTOR)?;
    let off = ["disabled", "disable", "no backups", "none", "no", "off"];
    let under = |names: &[&str]| {
        properties
            .keys()
            .filter(|key| key.starts_with(SELECTOR) && key.contains('.'))
            .find(|key| names.iter().any(|name| key.ends_with(&format!(".{name}"))))
            .and_then(|key| property(properties, key))
    };
    let on = !off.contains(&selector.to_lowercase().as_str());
    Some(TileBackups {
        on,
        schedule: under(&["cron_schedule"]).filter(|_| on),
        target: under(&["bucket_name", "container", "bucket", "server", "host"]).filter(|_| on),
        selector,
    })
}

fn director(
    client: &mut OpsManager,
    settings: &Settings,
    products: &[DeployedProduct],
    api: Option<&bosh::Director>,
    wait: &Wait,
) -> Result<DirectorFacts> {
    let mut facts = DirectorFacts {
        address: settings
            .foundation
            .director
            .as_ref()
            .map(|director| director.host.clone())
            .unwrap_or_default(),
        ..DirectorFacts::default()
    };
    if let Some(tile) = products.iter().find(|product| product.is_director()) {
        let status = optional(client.product_status(&tile.guid, wait))?;
        facts.vm_cid = status
            .get("status")
            .and_then(Value::as_array)
            .and_then(|lines| lines.iter().find_map(|line| text(line, "cid")));
    }
    if let Some(api) = api {
        let info = api.info(wait)?;
        facts.version = info.version.clone();
        facts.name = info.name.clone();
        facts.uuid = info.uuid.clone();
    }
    Ok(facts)
}

fn certificates(client: &mut OpsManager, wait: &Wait) -> Result<Certificates> {
    let mut all: Vec<_> = optional(client.deployed_certificates(wait))?
        .into_iter()
        .map(|certificate| Certificate {
            product: certificate.product_guid,
            name: match certificate.property_reference.is_empty() {
                true => certificate.variable_path,
                false => certificate.property_reference,
            },
            valid_until: certificate.valid_until,
        })
        .collect();
    for authority in optional(client.certificate_authorities(wait))? {
        all.push(Certificate {
            product: "ops-manager".to_owned(),
            name: format!("certificate authority {}", authority.guid),
            valid_until: authority.expires_on,
        });
    }
    all.sort_by(|a, b| a.valid_until.cmp(&b.valid_until));
    let mut ends = all.iter().map(|certificate| &certificate.valid_until);
    let first_end = ends.find(|end| !end.is_empty()).cloned();
    Ok(Certificates { first_end, all })
}

fn run(installation: &Installation) -> Run {
    let time = |text: &Option<String>| text.as_deref().and_then(clock::parse_rfc3339);
    let took = time(&installation.finished_at)
        .zip(time(&installation.started_at))
        .and_then(|(end, begin)| end.duration_since(begin).ok());
    let changes = || {
        let lists = [
            &installation.additions,
            &installation.updates,
            &installation.unchanged,
        ];
        lists.into_iter().flatten()
    };
    let products: Vec<String> = changes()
        .filter(|change| change.identifier != "p-bosh" && change.deployment_status != "skipped")
        .map(|change| change.guid.clone())
        .collect();
    Run {
        id: installation.id,
        status: match installation.state() {
            RunState::Succeeded => "succeeded".to_owned(),
            _ => installation.status.clone(),
        },
        started: installation.started_at.clone().unwrap_or_default(),
        finished: installation.finished_at.clone().unwrap_or_default(),
        seconds: took.map(|took| took.as_secs()),
        director_only: products.is_empty(),
        products,
    }
}

/// Every deployment of the Director with its groups, as its manifest says.
pub(in crate::operation) fn deployments(
    api: &bosh::Director,
    products: &[DeployedProduct],
    wait: &Wait,
) -> Result<Vec<Deployment>> {
    let mut found = Vec::new();
    for deployment in api.deployments(wait)? {
        let manifest = match api.manifest(&deployment.name, wait) {
            // Gone since the list.
            Err(bosh::Error::UnknownDeployment { .. }) => continue,
            manifest => manifest?,
        };
        let product = products
            .iter()
            .find(|product| product.installation_name == deployment.name);
        let on_demand = deployment.name.starts_with(PREFIX);
        // The broker's team stands with the deployments that it made.
        let maker = products.iter().find(|product| {
            let is_of =
                |team: &String| team.contains(&product.guid) || team.contains(&product.kind);
            on_demand && !product.is_director() && deployment.teams.iter().any(is_of)
        });
        let named = |items: &[bosh::NameVersion]| -> Vec<String> {
            let names = items
                .iter()
                .map(|item| format!("{}/{}", item.name, item.version));
            names.collect()
        };
        found.push(Deployment {
            kind: match (product.is_some(), on_demand) {
                (true, _) => "product",
                (false, true) => "on-demand",
                (false, false) => "other",
            }
            .to_owned(),
            product: product.or(maker).map(|product| product.guid.clone()),
            releases: named(&deployment.releases),
            stemcells: named(&deployment.stemcells),
            groups: bbr::deployed_groups(&manifest)
                .into_iter()
                .map(|group| DeployedGroup {
                    name: group.name,
                    instances: group.instances,
                    persistent_disk: group.persistent_disk,
                })
                .collect(),
            name: deployment.name,
        });
    }
    Ok(found)
}

fn brokers(deployments: &[Deployment]) -> Vec<Broker> {
    let mut brokers: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    for deployment in deployments.iter().filter(|one| one.kind == "on-demand") {
        brokers
            .entry(deployment.product.clone())
            .or_default()
            .push(deployment.name.clone());
    }
    brokers
        .into_iter()
        .map(|(product, deployments)| Broker {
            product,
            deployments,
        })
        .collect()
}

/// What support asks for when the export is lost, above all the key of the Cloud Controller's
/// database.
fn break_glass(
    client: &mut OpsManager,
    products: &[DeployedProduct],
    warnings: &mut Vec<String>,
    wait: &Wait,
) -> Result<Value> {
    const KEYS: [&str; 2] = [
        ".cloud_controller.db_encryption_credentials",
        ".cloud_controller.encrypt_key",
    ];
    let mut kept = Map::new();
    for product in products.iter().filter(|product| product.kind == TAS) {
        let names = client.product_credentials(&product.guid, wait)?;
        let wanted = |name: &&String| {
            KEYS.contains(&name.as_str())
                || name.contains("credhub_key_encryption")
                || [".uaa.admin_credentials", ".uaa.admin_client_credentials"]
                    .contains(&name.as_str())
        };
        let mut credentials = Map::new();
        for name in names.iter().filter(wanted) {
            let credential = client.product_credential(&product.guid, name, wait)?;
            credentials.insert(
                name.clone(),
                json!({"type": credential.kind, "value": credential.value()}),
            );
        }
        if !KEYS.iter().any(|key| credentials.contains_key(*key)) {
            warnings.push(format!(
                "{} names no encryption key of the Cloud Controller's database: write it down yourself, support asks for it when Ops Manager's export is lost",
                product.guid
            ));
        }
        kept.insert(product.guid.clone(), Value::Object(credentials));
    }
    Ok(json!({
        "about": "For the day when Ops Manager's export cannot be imported: the key that the Cloud Controller's database is encrypted with, those of runtime CredHub, and the administrators of UAA. By product GUID and credential reference, as Ops Manager gives them.",
        "products": kept,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiles_own_backups_are_on_or_off() {
        let of = |value: Value| backups(value.as_object().unwrap());
        let on = of(json!({
            ".properties.backups_selector": {"value": "s3", "selected_option": "s3"},
            ".properties.backups_selector.s3.cron_schedule": {"value": "0 * * * *"},
            ".properties.backups_selector.s3.bucket_name": {"value": "b"},
            ".properties.backups_selector.s3.secret_access_key": {"credential": true, "value": {"secret": "x"}},
        }))
        .unwrap();
        assert!(on.on);
        assert_eq!(on.schedule.as_deref(), Some("0 * * * *"));
        assert_eq!(on.target.as_deref(), Some("b"));
        for off in ["disabled", "No Backups"] {
            let off = of(json!({".properties.backups_selector": {"value": off}})).unwrap();
            assert!(!off.on);
        }
        assert_eq!(of(json!({})), None);
    }
}
