//! All sources, one inventory. A source that fails is told in the head; the others still count.

use std::sync::Arc;

use anyhow::{Result, bail};

use super::access::{Access, Source as Place};
use super::{cloud, director};
use crate::clock;
use crate::cloud::{CredHub, Settings as CloudSettings, Uaa};
use crate::foundation::Foundation;
use crate::http::Wait;
use crate::inventory::{Head, Inventory, Item, Rows, Source, Spool, Without};
use crate::operation::Context;
use crate::operation::discovery::Asked;
use crate::operation::settings::Settings;
use crate::opsman::DeployedProduct;

/// What is gathered so far.
pub(super) struct Gathered {
    pub(super) head: Head,
    spool: Spool,
}

impl Gathered {
    /// Keeps the rows of a kind that a source told completely.
    pub(super) fn keep(&mut self, source: &str, kind: &str, rows: Rows) -> Result<()> {
        self.spool.add(rows)?;
        if let Some(source) = self.head.sources.iter_mut().find(|one| one.name == source) {
            source.kinds.push(kind.to_owned());
        }
        Ok(())
    }

    /// Names a source; its kinds follow.
    pub(super) fn asked(&mut self, name: &str, address: &str, version: &str) {
        self.head.sources.push(Source {
            name: name.to_owned(),
            address: address.to_owned(),
            version: version.to_owned(),
            kinds: Vec::new(),
        });
    }

    /// Says that kinds are not here, and why.
    pub(super) fn lacks(&mut self, source: &str, kinds: &[&str], why: String) {
        self.head.without.push(Without {
            source: source.to_owned(),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            why,
        });
    }
}

/// Takes an inventory.
///
/// # Errors
/// When nobody can be asked, or a signal came.
pub(super) fn gather(
    context: &Context,
    settings: &Settings,
    foundation: &Foundation,
    asked: Option<&mut Asked>,
    wait: &Wait,
) -> Result<Inventory> {
    let has_api = settings.foundation.bosh.is_some();
    let api = has_api.then(|| foundation.director()).transpose()?;
    let near = has_api.then(|| foundation.director_http()).transpose()?;
    let mut gathered = Gathered {
        head: Head {
            foundation: settings.repository.foundation.clone(),
            taken: clock::rfc3339(context.clock.now()),
            lifeboat: env!("CARGO_PKG_VERSION").to_owned(),
            ..Head::default()
        },
        spool: Spool::default(),
    };
    let access = Access::find(context, settings, near.as_ref(), asked, wait);
    context.shutdown.check()?;
    let unknown = matches!(access.cloud_controller, Place::Unknown);
    if unknown && api.is_none() && access.ops_manager.is_none() {
        bail!(
            "there is nobody to ask for an inventory: give ops_manager, or cloud_controller (its api, and a username and password or a client and client_secret), or bosh"
        );
    }
    if let Some(name) = &access.ops_manager {
        products(&mut gathered, name, &access.products)?;
    }
    if let Some(api) = &api {
        director::rows(&mut gathered, api, wait)?;
    }
    if let (Some(api), Some(credentials), Some(http)) = (&api, access.director_uaa, near) {
        let url = api.info(wait).map(|info| info.uaa().to_owned());
        if let Some(url) = url.ok().filter(|url| !url.is_empty()) {
            let place = CloudSettings {
                url,
                credentials,
                http,
            };
            uaa(context, &mut gathered, "director-uaa", place, wait)?;
        }
    }
    match access.credhub {
        Place::Unknown => {}
        Place::Lacking(why) => gathered.lacks("credhub", &["credhub-name"], why),
        Place::Known(place) => credhub(context, &mut gathered, *place, wait)?,
    }
    match access.cloud_controller {
        Place::Unknown => {}
        Place::Lacking(why) => gathered.lacks("cloud-controller", &cloud::KINDS, why),
        Place::Known(place) => {
            let found = cloud::rows(context, &mut gathered, (*place).clone(), wait)?;
            if let Some(url) = found {
                let place = CloudSettings {
                    url,
                    credentials: access.uaa.unwrap_or(place.credentials),
                    http: place.http,
                };
                uaa(context, &mut gathered, "uaa", place, wait)?;
            }
        }
    }
    context.shutdown.check()?;
    Ok(gathered.spool.finish(gathered.head))
}

/// Ops Manager's products.
fn products(gathered: &mut Gathered, name: &str, all: &[DeployedProduct]) -> Result<()> {
    gathered.asked("ops-manager", name, "");
    let mut rows = Rows::of("product");
    for product in all {
        rows.push(
            &Item::new("product", &[&product.kind])
                .guid(&product.guid)
                .with("version", product.product_version.as_str())
                .with("label", product.label.as_str()),
        );
    }
    gathered.keep("ops-manager", "product", rows)
}

/// The clients and users of a UAA.
fn uaa(
    context: &Context,
    gathered: &mut Gathered,
    source: &str,
    place: CloudSettings,
    wait: &Wait,
) -> Result<()> {
    let kinds = [format!("{source}-client"), format!("{source}-user")];
    let opened = Uaa::new(
        place,
        Arc::clone(&context.monitor),
        Arc::clone(&context.clock),
        Arc::clone(&context.mask),
    );
    let uaa = match opened {
        Ok(uaa) => uaa,
        Err(error) => {
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            gathered.lacks(source, &kinds, error.to_string());
            return Ok(());
        }
    };
    gathered.asked(source, uaa.name(), "");
    let mut clients = Rows::of(&kinds[0]);
    let told = uaa.clients(wait, &mut |client| {
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        clients.push(
            &Item::new(&kinds[0], &[&client.client_id])
                .with("grant_types", sorted(client.authorized_grant_types))
                .with("scopes", sorted(client.scope))
                .with("authorities", sorted(client.authorities)),
        );
    });
    end(context, gathered, source, &kinds[0], told, clients)?;
    let mut users = Rows::of(&kinds[1]);
    let told = uaa.users(wait, &mut |user| {
        users.push(
            &Item::new(&kinds[1], &[&user.origin, &user.username])
                .guid(&user.id)
                .with("active", user.active),
        );
    });
    end(context, gathered, source, &kinds[1], told, users)
}

/// Keeps what was told completely; a signal ends all.
fn end(
    context: &Context,
    gathered: &mut Gathered,
    source: &str,
    kind: &str,
    told: Result<(), crate::cloud::Error>,
    rows: Rows,
) -> Result<()> {
    context.shutdown.check()?;
    match told {
        Ok(()) => gathered.keep(source, kind, rows),
        Err(error) => {
            gathered.lacks(source, &[kind], error.to_string());
            Ok(())
        }
    }
}

fn credhub(
    context: &Context,
    gathered: &mut Gathered,
    place: CloudSettings,
    wait: &Wait,
) -> Result<()> {
    const KIND: &str = "credhub-name";
    let opened = CredHub::open(
        place,
        Arc::clone(&context.monitor),
        Arc::clone(&context.clock),
        Arc::clone(&context.mask),
        wait,
    );
    let told = opened.and_then(|credhub| Ok((credhub.name().to_owned(), credhub.names(wait)?)));
    context.shutdown.check()?;
    match told {
        Ok((name, names)) => {
            gathered.asked("credhub", &name, "");
            let mut rows = Rows::of(KIND);
            for one in names {
                rows.push(
                    &Item::new(KIND, &[&one.name]).with("since", one.version_created_at.as_str()),
                );
            }
            gathered.keep("credhub", KIND, rows)
        }
        Err(error) => {
            gathered.lacks("credhub", &[KIND], error.to_string());
            Ok(())
        }
    }
}
