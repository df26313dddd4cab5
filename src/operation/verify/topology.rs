//! Whether a backup holds what the foundation record beside it says that there was: artifacts of every
//! instance, and of no other deployment.

use std::collections::{BTreeMap, BTreeSet};

use super::findings::{At, Wrong};
use crate::bbr::PlaceKind;
use crate::operation::discovery::TAS;
use crate::operation::record::{Deployment, Record};
use crate::repo::format::Manifest;

/// A component, and what bbr calls one of its artifacts.
pub(super) type Named = (String, PlaceKind);

const SERVICE_INSTANCE: &str = "service-instances/";
/// Classes of coverage of what is in a backup.
const COVERED: [&str; 2] = ["covered-bbr", "metadata-only"];

/// Compares artifacts with the record; what cannot be compared is noted.
pub(super) fn compare(
    manifest: &Manifest,
    record: &Record,
    names: &[Named],
    notes: &mut Vec<String>,
) -> Vec<Wrong> {
    let mut findings = Vec::new();
    let components: Vec<&str> = manifest
        .components
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    let deployments: BTreeMap<&str, String> = components
        .iter()
        .filter_map(|component| Some((*component, deployment_of(component, record)?)))
        .collect();
    for line in &record.coverage {
        let saved = line.name == "director" && components.contains(&"director")
            || deployments.values().any(|name| *name == line.name);
        if COVERED.contains(&line.class.as_str()) && !saved {
            findings.push(At::default().plain(format!(
                "the foundation record says that {} is in this backup, and it is not; take another backup, and choose another version",
                line.name
            )));
        }
    }
    for (component, deployment) in deployments {
        let known = record.deployments.iter().find(|one| one.name == deployment);
        match known {
            Some(known) => findings.extend(of_deployment(component, known, names)),
            None => notes.push(format!(
                "{component}: the foundation record has no deployment {deployment}, so nothing says of which instances there must be artifacts"
            )),
        }
    }
    findings
}

fn deployment_of(component: &str, record: &Record) -> Option<String> {
    if component == "tas" {
        let mut products = record.products.iter();
        return products
            .find(|product| product.kind == TAS)?
            .deployment
            .clone();
    }
    component
        .strip_prefix("deployment/")
        .or_else(|| component.strip_prefix(SERVICE_INSTANCE))
        .map(str::to_owned)
}

fn of_deployment(component: &str, deployment: &Deployment, names: &[Named]) -> Vec<Wrong> {
    let mut findings = Vec::new();
    // Of each group and job the instances.
    let mut saved: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (of, place) in names {
        // What instances share names none of them.
        let PlaceKind::Instance { group, index, job } = place else {
            continue;
        };
        if of != component {
            continue;
        }
        if !deployment.groups.iter().any(|known| known.name == *group) {
            let artifact = place.file_name();
            let at = At {
                component: Some(component),
                artifact: Some(&artifact),
            };
            findings.push(at.plain(format!(
                "is of the instance group {group}, which deployment {} does not have according to the foundation record: it is \
                 of another deployment; take another backup, and choose another version",
                deployment.name
            )));
            continue;
        }
        saved.entry((group, job)).or_default().insert(index);
    }
    for ((group, job), instances) in saved {
        let mut groups = deployment.groups.iter();
        let there = groups
            .find(|known| known.name == group)
            .map_or(0, |known| known.instances);
        // What is shared names none of its instances: that of the first takes the place of its own.
        let first = format!("{job}-");
        let shared = names.iter().any(|(of, place)| {
            of == component
                && matches!(place, PlaceKind::Custom { name } if name.starts_with(&first))
        });
        if instances.len() + usize::from(shared) < there {
            let indexes: Vec<&str> = instances.into_iter().collect();
            let at = At {
                component: Some(component),
                artifact: None,
            };
            findings.push(at.plain(format!(
                "instance group {group} had {there} instances according to the foundation record, and of the job {job} there are \
                 artifacts of {} alone (index {}); find out why the others have none, and take another backup",
                indexes.len(),
                indexes.join(", ")
            )));
        }
    }
    findings
}
