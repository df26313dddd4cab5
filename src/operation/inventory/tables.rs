//! What rows say of each other by GUID, as names. Compact: fifty thousand apps are twenty
//! megabytes.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use crate::cloud::types::{App, Droplet, Package, Process};

/// By GUID.
pub(super) type ByGuid<T> = HashMap<Box<str>, T>;

/// The lookups of one inventory.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) orgs: ByGuid<Box<str>>,
    /// Name, and the GUID of the org.
    pub(super) spaces: ByGuid<(Box<str>, Box<str>)>,
    pub(super) apps: ByGuid<AppRow>,
    /// Name and origin.
    pub(super) users: ByGuid<(Box<str>, Box<str>)>,
    pub(super) org_quotas: ByGuid<Box<str>>,
    pub(super) space_quotas: ByGuid<Box<str>>,
    pub(super) router_groups: ByGuid<Box<str>>,
    pub(super) brokers: ByGuid<Box<str>>,
    /// Name, and the GUID of the broker.
    pub(super) offerings: ByGuid<(Box<str>, Box<str>)>,
    /// Name, and the GUID of the offering.
    pub(super) plans: ByGuid<(Box<str>, Box<str>)>,
    /// Name, and the GUID of the space.
    pub(super) instances: ByGuid<(Box<str>, Box<str>)>,
    /// URL, and the GUID of the space.
    pub(super) routes: ByGuid<(Box<str>, Box<str>)>,
}

/// An app, as far as it is known.
#[derive(Debug)]
pub(super) struct AppRow {
    pub(super) name: Box<str>,
    pub(super) space: Box<str>,
    state: Box<str>,
    lifecycle: Box<str>,
    buildpacks: Box<str>,
    stack: Box<str>,
    labels: Option<Box<Map<String, Value>>>,
    processes: Vec<ProcessRow>,
    /// The GUID of the droplet in use; `Err`: this API does not say which one is, so it is the
    /// newest that is staged.
    wanted: Result<Option<Box<str>>, ()>,
    droplet: Option<(Box<str>, Option<Box<str>>)>,
    package: Option<Box<str>>,
    image: Option<Box<str>>,
}

#[derive(Debug)]
struct ProcessRow {
    kind: Box<str>,
    instances: u64,
    memory_mb: u64,
    disk_mb: u64,
    health_check: Box<str>,
}

impl AppRow {
    pub(super) fn of(app: App) -> Option<(Box<str>, Self)> {
        let space = app.relationships.space.guid()?.into();
        let packs: Vec<_> = app
            .lifecycle
            .data
            .buildpacks
            .iter()
            .map(|pack| bare(pack))
            .collect();
        let wanted = app.relationships.current_droplet.as_ref();
        let labels = labels(app.metadata.labels);
        Some((
            app.guid.into(),
            Self {
                name: app.name.into(),
                space,
                state: app.state.into(),
                lifecycle: app.lifecycle.kind.into(),
                buildpacks: packs.join(", ").into(),
                stack: app.lifecycle.data.stack.into(),
                labels: (!labels.is_empty()).then(|| Box::new(labels)),
                processes: Vec::new(),
                wanted: wanted.map_or(Err(()), |to| Ok(to.guid().map(Into::into))),
                droplet: None,
                package: None,
                image: None,
            },
        ))
    }

    pub(super) fn process(&mut self, process: Process) {
        self.processes.push(ProcessRow {
            kind: process.kind.into(),
            instances: process.instances,
            memory_mb: process.memory_in_mb,
            disk_mb: process.disk_in_mb,
            health_check: process.health_check.kind.into(),
        });
    }

    /// Takes a droplet when it is the one in use.
    pub(super) fn droplet(&mut self, droplet: &Droplet) {
        let mine = match &self.wanted {
            Ok(wanted) => wanted.as_deref() == Some(droplet.guid.as_str()),
            // They come in the order of their creation.
            Err(()) => droplet.state == "STAGED",
        };
        if mine {
            let sum = match droplet.image.as_str() {
                "" => checksum(&droplet.checksum.kind, &droplet.checksum.value),
                image => image.to_owned(),
            };
            self.droplet = Some((sum.into(), droplet.package().map(Into::into)));
        }
    }

    /// Takes a package when its droplet was made from it.
    pub(super) fn package(&mut self, package: &Package) {
        let from = self.droplet.as_ref().and_then(|(_, from)| from.as_deref());
        if from != Some(package.guid.as_str()) {
            return;
        }
        match package.kind.as_str() {
            "docker" => self.image = Some(bare(&package.data.image).into()),
            _ => {
                let sum = &package.data.checksum;
                self.package = Some(checksum(&sum.kind, &sum.value).into());
            }
        }
    }

    /// What is compared.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let processes: Map<String, Value> = self
            .processes
            .iter()
            .map(|one| {
                let about = json!({
                    "instances": one.instances, "memory_mb": one.memory_mb, "disk_mb": one.disk_mb,
                    "health_check": &*one.health_check,
                });
                (one.kind.to_string(), about)
            })
            .collect();
        let texts = [
            ("state", Some(&self.state)),
            ("lifecycle", Some(&self.lifecycle)),
            ("buildpacks", Some(&self.buildpacks)),
            ("stack", Some(&self.stack)),
            ("droplet", self.droplet.as_ref().map(|(sum, _)| sum)),
            ("package", self.package.as_ref()),
            ("image", self.image.as_ref()),
        ];
        let mut fields = Map::new();
        for (name, text) in texts {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                fields.insert(name.to_owned(), text.to_string().into());
            }
        }
        if !processes.is_empty() {
            fields.insert("processes".to_owned(), processes.into());
        }
        if let Some(labels) = &self.labels {
            fields.insert("labels".to_owned(), Value::Object(labels.as_ref().clone()));
        }
        fields
    }
}

impl Tables {
    /// Org and space by the space's GUID.
    pub(super) fn place(&self, space: Option<&str>) -> Option<(&str, &str)> {
        let (name, org) = self.spaces.get(space?)?;
        Some((self.orgs.get(org)?, name))
    }

    /// Org, space and name by an app's GUID.
    pub(super) fn app(&self, guid: &str) -> Option<(&str, &str, &str)> {
        let app = self.apps.get(guid)?;
        let (org, space) = self.place(Some(&app.space))?;
        Some((org, space, &app.name))
    }

    /// Broker, offering and plan by the plan's GUID.
    pub(super) fn plan(&self, guid: &str) -> Option<(&str, &str, &str)> {
        let (name, offering) = self.plans.get(guid)?;
        let (offering, broker) = self.offerings.get(offering)?;
        let broker = self.brokers.get(broker).map_or("", |broker| broker);
        Some((broker, offering, name))
    }
}

/// Labels as a map; those without a value count too.
pub(super) fn labels(labels: BTreeMap<String, Option<String>>) -> Map<String, Value> {
    let pairs = labels.into_iter();
    pairs
        .map(|(name, value)| (name, value.unwrap_or_default().into()))
        .collect()
}

fn checksum(kind: &str, value: &str) -> String {
    match value {
        "" => String::new(),
        value => format!("{kind}:{value}"),
    }
}

/// A name or URL without user, password, query and fragment.
pub(super) fn bare(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The host of a URL.
pub(super) fn host(url: &str) -> String {
    let bare = bare(url);
    let rest = bare
        .split_once("://")
        .map_or(bare.as_str(), |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_kept_of_a_url() {
        for (url, kept) in [
            ("ruby_buildpack", "ruby_buildpack"),
            ("https://git.example/a", "https://git.example/a"),
            (
                "https://u:p@git.example/a?token=x#y",
                "https://git.example/a",
            ),
            ("https://u:p@x@git.example", "https://git.example"),
            ("https://git.example?token=x", "https://git.example"),
            ("https://git.example/a@b", "https://git.example/a@b"),
        ] {
            assert_eq!(bare(url), kept);
        }
        assert_eq!(
            host("https://u:p@broker.example:8080/v2"),
            "broker.example:8080"
        );
    }
}
