//! Rows of the Cloud Controller, as far as an inventory tells of them. Everything else in an
//! answer is dropped while it is read: annotations, commands, drains, dashboards, credentials.
//! A null counts as absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::pages::Row;

/// A link.
#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    pub(super) href: String,
    #[serde(default)]
    pub(super) meta: Option<Meta>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Meta {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Root {
    pub(super) links: RootLinks,
}

#[derive(Debug, Deserialize)]
pub(super) struct RootLinks {
    #[serde(default)]
    pub(super) uaa: Option<Link>,
    #[serde(default)]
    pub(super) login: Option<Link>,
    #[serde(default)]
    pub(super) cloud_controller_v3: Option<Link>,
}

/// What one row says of another.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct To {
    #[serde(default)]
    data: Option<Guid>,
}

impl To {
    /// The GUID of the other row, where there is one.
    pub fn guid(&self) -> Option<&str> {
        self.data.as_ref().map(|data| data.guid.as_str())
    }
}

/// What one row says of many others.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ToMany {
    #[serde(default, deserialize_with = "or_default")]
    data: Vec<Guid>,
}

impl ToMany {
    /// Their GUIDs.
    pub fn guids(&self) -> impl Iterator<Item = &str> {
        self.data.iter().map(|one| one.guid.as_str())
    }
}

/// A GUID.
#[derive(Debug, Clone, Deserialize)]
pub struct Guid {
    /// Itself.
    pub guid: String,
}

/// Labels; annotations are not kept, for people write anything into them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Metadata {
    /// By key.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// Defines rows: each field by its name, null and absence as its default.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[allow(missing_docs, reason = "the fields are the API's")]
        pub struct $name {
            $($(#[$attr])* #[serde(default, deserialize_with = "or_default")] pub $field: $kind,)*
        }
    )*};
}

rows! {
    /// An org.
    Organization { guid: String, name: String, suspended: bool, metadata: Metadata, relationships: InOrg }
    /// A space.
    Space { guid: String, name: String, metadata: Metadata, relationships: InOrg }
    /// Which quota an org or space has, and the org.
    InOrg { organization: To, quota: To }
    /// An app.
    App { guid: String, name: String, state: String, lifecycle: Lifecycle, metadata: Metadata, relationships: OfApp }
    /// How an app becomes runnable.
    Lifecycle { #[serde(rename = "type")] kind: String, data: LifecycleData }
    /// With what.
    LifecycleData { buildpacks: Vec<String>, stack: String }
    /// Where an app is.
    OfApp { space: To, current_droplet: Option<To> }
    /// A process of an app.
    Process {
        guid: String, #[serde(rename = "type")] kind: String, instances: u64, memory_in_mb: u64, disk_in_mb: u64,
        health_check: HealthCheck, relationships: ToApp,
    }
    /// How it is found to live.
    HealthCheck { #[serde(rename = "type")] kind: String }
    /// Whose it is.
    ToApp { app: To }
    /// Source of an app.
    Package { guid: String, #[serde(rename = "type")] kind: String, state: String, data: PackageData, relationships: ToApp }
    /// Of bits the checksum, of Docker the image.
    PackageData { checksum: Checksum, image: String }
    /// A checksum.
    Checksum { #[serde(rename = "type")] kind: String, value: String }
    /// What an app runs.
    Droplet {
        guid: String, state: String, checksum: Checksum, stack: String, image: String, relationships: ToApp,
        links: DropletLinks,
    }
    /// Of which package, and, in older APIs, of which app.
    DropletLinks { package: Option<Link>, app: Option<Link> }
    /// A route.
    Route {
        guid: String, url: String, protocol: String, destinations: Vec<Destination>, metadata: Metadata,
        relationships: OfRoute,
    }
    /// Where it is.
    OfRoute { space: To, domain: To }
    /// Where it leads.
    Destination { app: DestinationApp, port: Option<u64>, protocol: String, weight: Option<u64> }
    /// To which process of which app.
    DestinationApp { guid: String, process: DestinationProcess }
    /// Its type.
    DestinationProcess { #[serde(rename = "type")] kind: String }
    /// A domain.
    Domain {
        guid: String, name: String, internal: bool, router_group: Option<Guid>, supported_protocols: Vec<String>,
        relationships: OfDomain,
    }
    /// Whose it is.
    OfDomain { organization: To, shared_organizations: ToMany }
    /// A service broker. Its URL may hold a password and is shortened to the host.
    Broker { guid: String, name: String, url: String, relationships: InSpace }
    /// In which space.
    InSpace { space: To }
    /// What a broker offers.
    Offering { guid: String, name: String, available: bool, relationships: OfOffering }
    /// Of which broker.
    OfOffering { service_broker: To }
    /// In which shape.
    ServicePlan {
        guid: String, name: String, available: bool, free: bool, visibility_type: String, relationships: OfPlan,
    }
    /// Of which offering.
    OfPlan { service_offering: To }
    /// Who sees a plan.
    Visibility { organizations: Vec<Named> }
    /// A GUID with a name.
    Named { guid: String, name: String }
    /// A service instance.
    ServiceInstance {
        guid: String, name: String, #[serde(rename = "type")] kind: String, tags: Vec<String>,
        last_operation: LastOperation, relationships: OfInstance,
    }
    /// What a broker did last.
    LastOperation { #[serde(rename = "type")] kind: String, state: String }
    /// Where it is and of which plan.
    OfInstance { space: To, service_plan: To }
    /// An app's or a key's credentials: that they are, not what.
    Binding {
        guid: String, name: String, #[serde(rename = "type")] kind: String, last_operation: LastOperation,
        relationships: OfBinding,
    }
    /// Of what.
    OfBinding { service_instance: To, app: To, route: To }
    /// A security group.
    SecurityGroup {
        guid: String, name: String, rules: Vec<Rule>, globally_enabled: Enabled, relationships: OfGroup,
    }
    /// Where traffic may go.
    Rule {
        protocol: String, destination: String, ports: String, #[serde(rename = "type")] kind: Option<i64>,
        code: Option<i64>, log: bool,
    }
    /// For all.
    Enabled { running: bool, staging: bool }
    /// For these spaces.
    OfGroup { running_spaces: ToMany, staging_spaces: ToMany }
    /// A quota of orgs or spaces: its limits by part.
    Quota { guid: String, name: String, apps: Limits, services: Limits, routes: Limits, domains: Limits, relationships: InOrg }
    /// A user.
    User { guid: String, username: String, presentation_name: String, origin: String }
    /// A role.
    Role { guid: String, #[serde(rename = "type")] kind: String, relationships: OfRole }
    /// Whose, where.
    OfRole { user: To, organization: To, space: To }
    /// An isolation segment.
    Segment { guid: String, name: String }
    /// A buildpack.
    Buildpack {
        guid: String, name: String, stack: String, position: u64, filename: String, enabled: bool, locked: bool,
    }
    /// A stack.
    Stack { guid: String, name: String }
    /// A feature flag. It has no GUID.
    Flag { name: String, enabled: bool }
    /// From which app to which.
    NetworkPolicy { source: PolicyEnd, destination: PolicyEnd }
    /// One end; protocol and ports of the destination.
    PolicyEnd { id: String, protocol: String, ports: Ports }
    /// From and to.
    Ports { start: u64, end: u64 }
    /// A router group.
    RouterGroup { guid: String, name: String, #[serde(rename = "type")] kind: String, reservable_ports: String }
}

/// Numbers, switches and nothing, by name.
pub type Limits = BTreeMap<String, Value>;

macro_rules! by_guid {
    ($($name:ident),*) => {$(impl Row for $name {
        fn id(&self) -> &str {
            &self.guid
        }
    })*};
}

by_guid!(
    Organization,
    Space,
    App,
    Process,
    Package,
    Droplet,
    Route,
    Domain,
    Broker,
    Offering,
    ServicePlan,
    ServiceInstance,
    Binding,
    SecurityGroup,
    Quota,
    User,
    Role,
    Segment,
    Buildpack,
    Stack
);

impl Row for Flag {
    fn id(&self) -> &str {
        &self.name
    }
}

impl Droplet {
    /// The GUID of its app.
    pub fn app(&self) -> Option<&str> {
        let link = self.links.app.as_ref();
        let linked = || link.and_then(|link| last_part(&link.href));
        self.relationships.app.guid().or_else(linked)
    }

    /// The GUID of the package that it was made from.
    pub fn package(&self) -> Option<&str> {
        let link = self.links.package.as_ref();
        link.and_then(|link| last_part(&link.href))
    }
}

fn last_part(href: &str) -> Option<&str> {
    href.rsplit('/').next().filter(|part| !part.is_empty())
}

/// What is null or absent counts as empty.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
