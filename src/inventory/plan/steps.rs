//! The step of each kind of thing, as `cf` would take it.

use serde_json::Value;

use crate::inventory::{Item, part};

/// The step that makes one thing, and its place in the order; `None` for what makes itself.
pub(super) fn step(item: &Item) -> Option<(u8, String)> {
    let parts: Vec<String> = item.key.split('/').map(part).collect();
    let name = parts.last().map_or("", String::as_str);
    let text = |field: &str| item.fields.get(field).and_then(Value::as_str).unwrap_or("");
    let org = item.org.as_deref().unwrap_or_default();
    let space = item.space.as_deref().unwrap_or_default();
    let list = |field: &str| {
        let found = item.fields.get(field).and_then(Value::as_array);
        found.map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    let option = |flag: &str, value: &str| match value {
        "" => String::new(),
        value => format!(" {flag} {}", quoted(value)),
    };
    Some(match item.kind.as_str() {
        "org-quota" => (
            10,
            format!("cf create-org-quota {}   # {}", quoted(name), limits(item)),
        ),
        "isolation-segment" if name != "shared" => {
            (11, format!("cf create-isolation-segment {}", quoted(name)))
        }
        "buildpack" => (
            12,
            format!(
                "# buildpack {} at position {}: upload {}",
                quoted(&parts[0]),
                value(item, "position"),
                text("filename")
            ),
        ),
        "feature-flag" => {
            let verb = if item.fields.get("enabled") == Some(&Value::Bool(true)) {
                "enable"
            } else {
                "disable"
            };
            (13, format!("cf {verb}-feature-flag {}", quoted(name)))
        }
        "security-group" => (14, security_group(item, name)),
        "service-broker" => (
            15,
            format!(
                "cf create-service-broker {} USER PASSWORD https://{}{}",
                quoted(name),
                text("host"),
                if space.is_empty() {
                    ""
                } else {
                    " --space-scoped"
                }
            ),
        ),
        "service-plan" if text("visibility") == "public" => (
            16,
            format!(
                "cf enable-service-access {} -p {}",
                quoted(&parts[parts.len().saturating_sub(2)]),
                quoted(name)
            ),
        ),
        "service-plan" if text("visibility") == "organization" => (
            16,
            format!(
                "# plan {} of {} for the orgs {}: cf enable-service-access -o",
                quoted(name),
                quoted(&parts[parts.len().saturating_sub(2)]),
                list("orgs").unwrap_or_default().join(", ")
            ),
        ),
        "uaa-user" => (
            17,
            format!(
                "cf create-user {}{}   # a new password",
                quoted(name),
                match parts.first().map(String::as_str) {
                    Some(origin) if origin != "uaa" => format!(" --origin {}", quoted(origin)),
                    _ => String::new(),
                }
            ),
        ),
        "domain"
            if text("router_group").is_empty()
                && org.is_empty()
                && item.fields.get("internal").is_none() =>
        {
            (18, format!("cf create-shared-domain {}", quoted(name)))
        }
        "domain" if org.is_empty() => (
            18,
            format!(
                "cf create-shared-domain {}{}{}",
                quoted(name),
                option("--router-group", text("router_group")),
                if item.fields.get("internal").is_some() {
                    " --internal"
                } else {
                    ""
                }
            ),
        ),
        "org" => (
            20,
            format!(
                "cf create-org {}{}",
                quoted(name),
                option("-q", text("quota"))
            ),
        ),
        "domain" => (
            21,
            format!("cf create-private-domain {} {}", quoted(org), quoted(name)),
        ),
        "space-quota" => (
            22,
            format!(
                "cf create-space-quota {}   # {}",
                quoted(name),
                limits(item)
            ),
        ),
        "role" => (
            if space.is_empty() { 23 } else { 33 },
            role(item, name, org, space),
        ),
        "space" => (
            30,
            format!(
                "cf create-space {} -o {}{}",
                quoted(name),
                quoted(org),
                option("-q", text("quota"))
            ),
        ),
        "service-instance" if text("type") == "user-provided" => (
            40,
            format!(
                "cf create-user-provided-service {}   # credentials are in no inventory",
                quoted(name)
            ),
        ),
        "service-instance" => (
            40,
            format!(
                "cf create-service {} {} {}",
                quoted(text("offering")),
                quoted(text("plan")),
                quoted(name)
            ),
        ),
        "app" => (50, app(item, name)),
        "route" => (60, route(item, name)),
        "service-binding" => (
            70,
            format!(
                "cf bind-service {} {}",
                quoted(name),
                quoted(&parts[parts.len().saturating_sub(2)])
            ),
        ),
        "service-key" => (
            71,
            format!(
                "cf create-service-key {} {}",
                quoted(&parts[parts.len().saturating_sub(2)]),
                quoted(name)
            ),
        ),
        "route-binding" => (
            72,
            format!(
                "# bind the service {} to the route {}: cf bind-route-service",
                quoted(name),
                quoted(&parts[parts.len().saturating_sub(2)])
            ),
        ),
        "network-policy" => (80, format!("cf add-network-policy   # {}", item.name())),
        _ => return None,
    })
}

fn role(item: &Item, user: &str, org: &str, space: &str) -> String {
    let kind = value(item, "role");
    let kind = match kind.as_str() {
        "organization_manager" => "OrgManager",
        "organization_auditor" => "OrgAuditor",
        "organization_billing_manager" => "BillingManager",
        "space_manager" => "SpaceManager",
        "space_developer" => "SpaceDeveloper",
        "space_auditor" => "SpaceAuditor",
        "space_supporter" => "SpaceSupporter",
        // Comes with any other role.
        "organization_user" => return format!("# {} is a user of the org", quoted(user)),
        other => other,
    };
    match space {
        "" => format!("cf set-org-role {} {} {kind}", quoted(user), quoted(org)),
        space => format!(
            "cf set-space-role {} {} {} {kind}",
            quoted(user),
            quoted(org),
            quoted(space)
        ),
    }
}

fn app(item: &Item, name: &str) -> String {
    let mut command = format!("cf push {}", quoted(name));
    let mut about = Vec::new();
    let image = value(item, "image");
    if !image.is_empty() {
        command.push_str(&format!(" --docker-image {}", quoted(&image)));
    }
    for pack in value(item, "buildpacks")
        .split(", ")
        .filter(|pack| !pack.is_empty())
    {
        command.push_str(&format!(" -b {}", quoted(pack)));
    }
    let stack = value(item, "stack");
    if !stack.is_empty() {
        command.push_str(&format!(" -s {}", quoted(&stack)));
    }
    if let Some(Value::Object(processes)) = item.fields.get("processes") {
        for (kind, process) in processes {
            let of = |field: &str| {
                process
                    .get(field)
                    .and_then(Value::as_u64)
                    .unwrap_or_default()
            };
            if kind == "web" {
                command.push_str(&format!(
                    " -i {} -m {}M -k {}M",
                    of("instances"),
                    of("memory_mb"),
                    of("disk_mb")
                ));
            } else {
                about.push(format!(
                    "process {kind}: {} instances, {} MB memory, {} MB disk",
                    of("instances"),
                    of("memory_mb"),
                    of("disk_mb")
                ));
            }
        }
    }
    command.push_str(" --no-route");
    if value(item, "state") == "STOPPED" {
        command.push_str(" --no-start");
    }
    match about.is_empty() {
        true => command,
        false => format!("{command}   # {}", about.join("; ")),
    }
}

fn route(item: &Item, url: &str) -> String {
    let destinations = item.fields.get("destinations").and_then(Value::as_array);
    let to: Vec<_> = destinations
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match to.as_slice() {
        [] => format!("# route {} leads to no app: cf create-route", quoted(url)),
        to => format!("# route {} to {}: cf map-route", quoted(url), to.join(", ")),
    }
}

fn security_group(item: &Item, name: &str) -> String {
    let spaces = item
        .fields
        .get("running_spaces")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let mut about = Vec::new();
    for (field, word) in [
        ("running_default", "bind-running-security-group"),
        ("staging_default", "bind-staging-security-group"),
    ] {
        if item.fields.get(field) == Some(&Value::Bool(true)) {
            about.push(format!("cf {word} {}", quoted(name)));
        }
    }
    if spaces > 0 {
        about.push(format!("cf bind-security-group for {spaces} spaces"));
    }
    let rules = item
        .fields
        .get("rules")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    format!(
        "cf create-security-group {} rules.json   # {rules} rules; {}",
        quoted(name),
        about.join("; ")
    )
}

/// A field as text.
fn value(item: &Item, field: &str) -> String {
    match item.fields.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The limits of a quota, for people.
fn limits(item: &Item) -> String {
    let mut found = Vec::new();
    if let Some(Value::Object(parts)) = item.fields.get("limits") {
        for (part, limits) in parts {
            for (name, limit) in limits.as_object().into_iter().flatten() {
                found.push(format!("{part}.{name} {limit}"));
            }
        }
    }
    found.join(", ")
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.,:/@+=".contains(&b));
    match plain {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
