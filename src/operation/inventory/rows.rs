//! Rows of the Cloud Controller as things of an inventory: names in place of GUIDs, nothing that
//! may be a secret.

use serde_json::{Map, Value};

use super::tables::{Tables, host, labels};
use crate::cloud::types::{
    Binding, Broker, Buildpack, Destination, Domain, Limits, NetworkPolicy, Offering, Organization,
    Quota, Role, Route, RouterGroup, Rule, SecurityGroup, Segment, ServiceInstance, ServicePlan,
    Space, ToMany,
};
use crate::inventory::{Item, joined};

pub(super) fn org(tables: &Tables, org: Organization) -> Item {
    let quota = org.relationships.quota.guid();
    let quota = quota.and_then(|guid| tables.org_quotas.get(guid));
    Item::new("org", &[&org.name])
        .guid(&org.guid)
        .within(Some(&org.name), None)
        .with("suspended", org.suspended.then_some(true))
        .with("quota", quota.map(|name| name.to_string()))
        .with("labels", labels(org.metadata.labels))
}

pub(super) fn space(tables: &Tables, space: Space) -> Option<Item> {
    let org = tables.orgs.get(space.relationships.organization.guid()?)?;
    let quota = space.relationships.quota.guid();
    let quota = quota.and_then(|guid| tables.space_quotas.get(guid));
    Some(
        Item::new("space", &[org, &space.name])
            .guid(&space.guid)
            .within(Some(org), Some(&space.name))
            .with("quota", quota.map(|name| name.to_string()))
            .with("labels", labels(space.metadata.labels)),
    )
}

pub(super) fn domain(tables: &Tables, domain: Domain) -> Item {
    let owner = domain.relationships.organization.guid();
    let owner = owner
        .and_then(|guid| tables.orgs.get(guid))
        .map(|name| &**name);
    let group = domain.router_group.as_ref().map(|group| {
        let known = tables.router_groups.get(group.guid.as_str());
        known.map_or_else(|| group.guid.clone(), ToString::to_string)
    });
    Item::new("domain", &[&domain.name])
        .guid(&domain.guid)
        .within(owner, None)
        .with("internal", domain.internal.then_some(true))
        .with("router_group", group)
        .with("protocols", domain.supported_protocols)
        .with(
            "shared_with",
            orgs(tables, &domain.relationships.shared_organizations),
        )
}

pub(super) fn org_quota(quota: Quota) -> Item {
    Item::new("org-quota", &[&quota.name])
        .guid(&quota.guid)
        .with("limits", limits(quota))
}

pub(super) fn space_quota(tables: &Tables, quota: Quota) -> Option<Item> {
    let org = tables.orgs.get(quota.relationships.organization.guid()?)?;
    Some(
        Item::new("space-quota", &[org, &quota.name])
            .guid(&quota.guid)
            .within(Some(org), None)
            .with("limits", limits(quota)),
    )
}

/// Limits by part; what is not limited is left out.
fn limits(quota: Quota) -> Map<String, Value> {
    let parts = [
        ("apps", quota.apps),
        ("services", quota.services),
        ("routes", quota.routes),
        ("domains", quota.domains),
    ];
    let set = |limits: Limits| -> Map<String, Value> {
        let limits = limits.into_iter();
        limits
            .filter(|(_, limit)| limit.is_number() || limit.is_boolean())
            .collect()
    };
    parts
        .into_iter()
        .map(|(part, limits)| (part.to_owned(), set(limits)))
        .filter(|(_, limits)| !limits.is_empty())
        .map(|(part, limits)| (part, Value::Object(limits)))
        .collect()
}

pub(super) fn broker(tables: &Tables, broker: &Broker) -> Item {
    let place = tables.place(broker.relationships.space.guid());
    let (org, space) = place.unzip();
    let mut parts: Vec<&str> = [org, space].into_iter().flatten().collect();
    parts.push(&broker.name);
    Item::new("service-broker", &parts)
        .guid(&broker.guid)
        .within(org, space)
        .with("host", host(&broker.url))
}

pub(super) fn offering(tables: &Tables, offering: &Offering) -> Option<Item> {
    let broker = offering.relationships.service_broker.guid()?;
    let broker = tables.brokers.get(broker)?;
    Some(
        Item::new("service-offering", &[broker, &offering.name])
            .guid(&offering.guid)
            .with("available", offering.available),
    )
}

pub(super) fn plan(tables: &Tables, plan: &ServicePlan, mut seen_by: Vec<String>) -> Option<Item> {
    let (broker, offering, name) = tables.plan(&plan.guid)?;
    seen_by.sort();
    Some(
        Item::new("service-plan", &[broker, offering, name])
            .guid(&plan.guid)
            .with("available", plan.available)
            .with("free", plan.free)
            .with("visibility", plan.visibility_type.as_str())
            .with("orgs", seen_by),
    )
}

pub(super) fn segment(
    tables: &Tables,
    segment: &Segment,
    entitled: &ToMany,
    used: &ToMany,
) -> Item {
    Item::new("isolation-segment", &[&segment.name])
        .guid(&segment.guid)
        .with("orgs", orgs(tables, entitled))
        .with("spaces", spaces(tables, used))
}

pub(super) fn buildpack(pack: Buildpack) -> Item {
    let parts = [pack.name.as_str(), pack.stack.as_str()];
    let named = parts.iter().filter(|part| !part.is_empty());
    Item::new("buildpack", &named.copied().collect::<Vec<_>>())
        .guid(&pack.guid)
        .with("position", pack.position)
        .with("filename", pack.filename)
        .with("enabled", pack.enabled)
        .with("locked", pack.locked)
}

pub(super) fn router_group(group: RouterGroup) -> Item {
    Item::new("router-group", &[&group.name])
        .guid(&group.guid)
        .with("type", group.kind)
        .with("ports", group.reservable_ports)
}

pub(super) fn role(tables: &Tables, role: &Role) -> Option<Item> {
    let to = &role.relationships;
    let (user, origin) = tables.users.get(to.user.guid()?)?;
    let kind = role.kind.as_str();
    let item = match (to.space.guid(), to.organization.guid()) {
        (Some(space), _) => {
            let (org, space) = tables.place(Some(space))?;
            Item::new("role", &[org, space, kind, origin, user]).within(Some(org), Some(space))
        }
        (None, Some(org)) => {
            let org = tables.orgs.get(org)?;
            Item::new("role", &[org, kind, origin, user]).within(Some(org), None)
        }
        (None, None) => return None,
    };
    Some(item.guid(&role.guid).with("role", kind))
}

pub(super) fn route(tables: &Tables, route: Route) -> Option<Item> {
    let (org, space) = tables.place(route.relationships.space.guid())?;
    let mut to: Vec<String> = route
        .destinations
        .iter()
        .filter_map(|one| destination(tables, one, (org, space)))
        .collect();
    to.sort();
    Some(
        Item::new("route", &[org, space, &route.url])
            .guid(&route.guid)
            .within(Some(org), Some(space))
            .with("protocol", route.protocol)
            .with("destinations", to)
            .with("labels", labels(route.metadata.labels)),
    )
}

/// `app`, with process, port and weight where they are not the usual ones; an app in another
/// space with its place.
fn destination(tables: &Tables, one: &Destination, here: (&str, &str)) -> Option<String> {
    let (org, space, app) = tables.app(&one.app.guid)?;
    let mut text = match (org, space) == here {
        true => app.to_owned(),
        false => joined(&[org, space, app]),
    };
    if !["", "web"].contains(&one.app.process.kind.as_str()) {
        text.push_str(&format!(" process {}", one.app.process.kind));
    }
    if let Some(port) = one.port {
        text.push_str(&format!(" port {port}"));
    }
    if let Some(weight) = one.weight {
        text.push_str(&format!(" weight {weight}"));
    }
    if !["", "http1", "tcp"].contains(&one.protocol.as_str()) {
        text.push_str(&format!(" {}", one.protocol));
    }
    Some(text)
}

pub(super) fn instance(tables: &Tables, instance: ServiceInstance) -> Option<Item> {
    let (org, space) = tables.place(instance.relationships.space.guid())?;
    let plan = instance.relationships.service_plan.guid();
    let plan = plan.and_then(|guid| tables.plan(guid));
    let mut tags = instance.tags;
    tags.sort();
    let mut item = Item::new("service-instance", &[org, space, &instance.name])
        .guid(&instance.guid)
        .within(Some(org), Some(space))
        .with("type", instance.kind)
        .with("tags", tags)
        .with("last_operation", operation(&instance.last_operation));
    if let Some((broker, offering, plan)) = plan {
        item = item
            .with("broker", broker)
            .with("offering", offering)
            .with("plan", plan);
    }
    Some(item)
}

fn operation(last: &crate::cloud::types::LastOperation) -> String {
    format!("{} {}", last.kind, last.state).trim().to_owned()
}

/// An app's binding, or a key.
pub(super) fn binding(tables: &Tables, binding: &Binding) -> Option<Item> {
    let (instance, space) = tables
        .instances
        .get(binding.relationships.service_instance.guid()?)?;
    let (org, space) = tables.place(Some(space))?;
    let last = operation(&binding.last_operation);
    let item = match binding.kind.as_str() {
        "key" => Item::new("service-key", &[org, space, instance, &binding.name]),
        _ => {
            let (its_org, its_space, app) = tables.app(binding.relationships.app.guid()?)?;
            // A shared instance is bound in the app's space.
            let mut parts = vec![its_org, its_space, &**instance, app];
            let from = joined(&[org, space]);
            if (its_org, its_space) != (org, space) {
                parts.insert(2, &from);
            }
            let item = Item::new("service-binding", &parts).within(Some(its_org), Some(its_space));
            return Some(
                item.guid(&binding.guid)
                    .with("name", binding.name.as_str())
                    .with("last_operation", last),
            );
        }
    };
    Some(
        item.guid(&binding.guid)
            .within(Some(org), Some(space))
            .with("last_operation", last),
    )
}

pub(super) fn route_binding(tables: &Tables, binding: &Binding) -> Option<Item> {
    let (instance, _) = tables
        .instances
        .get(binding.relationships.service_instance.guid()?)?;
    let (url, space) = tables.routes.get(binding.relationships.route.guid()?)?;
    let (org, space) = tables.place(Some(space))?;
    Some(
        Item::new("route-binding", &[org, space, url, instance])
            .guid(&binding.guid)
            .within(Some(org), Some(space))
            .with("last_operation", operation(&binding.last_operation)),
    )
}

pub(super) fn security_group(tables: &Tables, group: &SecurityGroup) -> Item {
    Item::new("security-group", &[&group.name])
        .guid(&group.guid)
        .with("rules", group.rules.iter().map(rule).collect::<Vec<_>>())
        .with("running_default", group.globally_enabled.running)
        .with("staging_default", group.globally_enabled.staging)
        .with(
            "running_spaces",
            spaces(tables, &group.relationships.running_spaces),
        )
        .with(
            "staging_spaces",
            spaces(tables, &group.relationships.staging_spaces),
        )
}

/// `tcp 10.0.0.0/24 443`; descriptions are people's own words and do not count.
fn rule(rule: &Rule) -> String {
    let mut text = format!("{} {}", rule.protocol, rule.destination);
    if !rule.ports.is_empty() {
        text.push_str(&format!(" {}", rule.ports));
    }
    if let (Some(kind), Some(code)) = (rule.kind, rule.code) {
        text.push_str(&format!(" type {kind} code {code}"));
    }
    if rule.log {
        text.push_str(" log");
    }
    text
}

pub(super) fn network_policy(tables: &Tables, policy: &NetworkPolicy) -> Option<Item> {
    let (org, space, from) = tables.app(&policy.source.id)?;
    let (to_org, to_space, to) = tables.app(&policy.destination.id)?;
    let to = match (to_org, to_space) == (org, space) {
        true => to.to_owned(),
        false => joined(&[to_org, to_space, to]),
    };
    let end = &policy.destination;
    let ports = match end.ports.start == end.ports.end {
        true => end.ports.start.to_string(),
        false => format!("{}-{}", end.ports.start, end.ports.end),
    };
    let how = format!("{} {ports}", end.protocol);
    Some(Item::new("network-policy", &[org, space, from, &to, &how]).within(Some(org), Some(space)))
}

fn orgs(tables: &Tables, to: &ToMany) -> Vec<String> {
    let names = to.guids().filter_map(|guid| tables.orgs.get(guid));
    let mut names: Vec<String> = names.map(ToString::to_string).collect();
    names.sort();
    names
}

fn spaces(tables: &Tables, to: &ToMany) -> Vec<String> {
    let places = to.guids().filter_map(|guid| tables.place(Some(guid)));
    let mut names: Vec<String> = places.map(|(org, space)| joined(&[org, space])).collect();
    names.sort();
    names
}
