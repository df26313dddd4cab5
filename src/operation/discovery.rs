//! From Ops Manager to the settings that an operator would otherwise write by hand: the director's
//! address and key, its API's client and CAs, the TAS deployment. What the configuration says
//! itself wins. Asked anew at each run: keys rotate, addresses move.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};

use super::Context;
use super::settings::{
    Bosh, Component, Director, Foundation, OpsManager as OpsManagerSettings, Settings,
};
use crate::bosh::Address;
use crate::http::{self, Wait};
use crate::opsman::{self, DeployedProduct, OpsManager};
use crate::secret::Secret;

/// Who logs in at the director's VM with the key that Ops Manager gives.
const DIRECTOR_USER: &str = "bbr";
/// The Director's API.
const API_PORT: u16 = 25_555;
/// TAS for VMs, and Small Footprint TAS.
pub const TAS: &str = "cf";

/// What Ops Manager told.
#[derive(Debug)]
pub struct Found {
    /// The settings with nothing missing that Ops Manager knows.
    pub settings: Settings,
    /// The client it was asked with; `None` where the configuration names no Ops Manager.
    pub asked: Option<Asked>,
}

/// An Ops Manager that is up and unlocked.
#[derive(Debug)]
pub struct Asked {
    pub client: OpsManager,
    /// Its version.
    pub version: String,
    pub products: Vec<DeployedProduct>,
}

/// With what rights the Director's API is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// `bbr`'s: deployments, manifests, SSH.
    Backup,
    /// All: repairs, stemcells, errands.
    All,
}

/// The settings with everything that Ops Manager knows filled in; as they are without one.
///
/// # Errors
/// When Ops Manager cannot be asked, or lacks what a component needs.
pub fn discovered(
    context: &Context,
    settings: &Settings,
    components: &[Component],
) -> Result<Settings> {
    Ok(find(context, settings, components, Rights::Backup)?.settings)
}

/// A client for the Ops Manager of the settings. Sends nothing.
///
/// # Errors
/// When the configuration names none, or it cannot be used.
pub fn client(context: &Context, settings: &Settings) -> Result<OpsManager> {
    let Some(given) = &settings.foundation.ops_manager else {
        bail!("ops_manager is missing: give its url, and who asks there");
    };
    Ok(OpsManager::new(
        client_settings(given),
        Arc::clone(&context.monitor),
        Arc::clone(&context.mask),
    )?)
}

fn client_settings(given: &OpsManagerSettings) -> opsman::Settings {
    let proxy = given
        .https_proxy
        .as_ref()
        .map_or(http::Proxy::Direct, |proxy| http::Proxy::Server {
            url: proxy.url.clone(),
            except: proxy.no_proxy.clone(),
        });
    let http = http::Settings {
        ca_cert: given.ca_cert.clone(),
        skip_validation: given.skip_ssl_validation,
        proxy,
        ..http::Settings::default()
    };
    opsman::Settings {
        decryption_passphrase: given.decryption_passphrase.clone(),
        ..opsman::Settings::new(
            given.host.clone(),
            given.port,
            given.credentials.clone(),
            http,
        )
    }
}

/// Asks Ops Manager for all that is not given.
///
/// # Errors
/// As [`discovered`].
pub fn find(
    context: &Context,
    settings: &Settings,
    components: &[Component],
    rights: Rights,
) -> Result<Found> {
    let mut settings = settings.clone();
    if settings.foundation.ops_manager.is_none() {
        return Ok(Found {
            settings,
            asked: None,
        });
    }
    let wait = Wait::unless(&context.shutdown);
    let mut client = client(context, &settings)?;
    let info = client.ready(&wait)?;
    let products = client.deployed_products(&wait)?;
    let needed = components.iter().any(|c| *c != Component::OpsManager);
    let filled = fill(
        context,
        &mut client,
        &products,
        &mut settings.foundation,
        rights,
        &wait,
    );
    match filled {
        // An export needs no director that answers.
        Err(error) if !needed && !context.shutdown.is_raised() => {
            context.monitor.debug(&format!("no director: {error:#}"));
        }
        filled => filled?,
    }
    tas(&mut settings.foundation, &products, components)?;
    Ok(Found {
        settings,
        asked: Some(Asked {
            client,
            version: info.version,
            products,
        }),
    })
}

fn fill(
    context: &Context,
    client: &mut OpsManager,
    products: &[DeployedProduct],
    foundation: &mut Foundation,
    rights: Rights,
    wait: &Wait,
) -> Result<()> {
    if foundation.director.is_none() {
        let director = director(client, products, foundation, wait)?;
        context.monitor.info(&format!(
            "Ops Manager: the director is at {}, user {}",
            director.host, director.username
        ));
        foundation.director = Some(director);
    }
    if foundation.bosh.is_none() {
        let bosh = api(client, foundation, rights, wait)?;
        context.monitor.info(&format!(
            "Ops Manager: the Director's API is at {}:{}, client {}",
            bosh.host, bosh.port, bosh.client
        ));
        foundation.bosh = Some(bosh);
    }
    Ok(())
}

/// Address and key of the director's VM.
fn director(
    client: &mut OpsManager,
    products: &[DeployedProduct],
    foundation: &Foundation,
    wait: &Wait,
) -> Result<Director> {
    let given = &foundation.given;
    let (host, port) = match &given.director_host {
        Some(place) => place.clone(),
        None => director_address(client, products, wait)?,
    };
    let private_key = match &given.director_key {
        Some(key) => key.clone(),
        None => client.bbr_ssh_key(wait)?,
    };
    Ok(Director {
        host,
        port,
        username: given
            .director_username
            .clone()
            .unwrap_or_else(|| DIRECTOR_USER.to_owned()),
        private_key,
        host_key: given.director_host_key.clone(),
        proxy: given.proxy.clone(),
    })
}

/// The first static address of the director's tile; where there is none, what a `bosh` client
/// would be told.
fn director_address(
    client: &mut OpsManager,
    products: &[DeployedProduct],
    wait: &Wait,
) -> Result<(String, u16)> {
    let tile = products.iter().find(|product| product.is_director());
    let Some(tile) = tile else {
        bail!(
            "Ops Manager has no deployed director (no product of type p-bosh): Apply Changes has not deployed one yet"
        );
    };
    let ips = client.static_ips(&tile.guid, wait)?;
    let first = ips.into_iter().flat_map(|group| group.ips).next();
    let text = match first {
        Some(text) => text,
        None => client.bosh_command_line(wait)?.environment,
    };
    let address = Address::parse(&text).with_context(
        || "Ops Manager names no usable address of the director; give director.host",
    )?;
    Ok((address.host, address.port))
}

/// The Director's API: its address and all CAs, and a client that has the rights.
fn api(
    client: &mut OpsManager,
    foundation: &Foundation,
    rights: Rights,
    wait: &Wait,
) -> Result<Bosh> {
    let given = &foundation.given;
    let (host, port) = match &given.bosh_host {
        Some(place) => place.clone(),
        None => api_address(&client.bosh_command_line(wait)?.environment)?,
    };
    let (name, client_secret) = match &given.bosh_client {
        Some(pair) => pair.clone(),
        None => api_client(client, rights, wait)?,
    };
    let ca_cert = match &given.bosh_ca_cert {
        Some(ca) => Some(ca.clone()),
        None => Some(client.trusted_certificates(wait)?).filter(|ca| !ca.is_empty()),
    };
    Ok(Bosh {
        host,
        port,
        client: name,
        client_secret,
        ca_cert,
        proxy: given.proxy.clone(),
        https_proxy: given.https_proxy.clone(),
    })
}

fn api_client(client: &mut OpsManager, rights: Rights, wait: &Wait) -> Result<(String, Secret)> {
    if rights == Rights::Backup {
        match client.bbr_client(wait) {
            // Old Ops Managers have no client for bbr.
            Err(error) if error.is_not_there() => {}
            found => return Ok(found?),
        }
    }
    let line = client.bosh_command_line(wait)?;
    Ok((line.client, line.client_secret))
}

fn api_address(environment: &str) -> Result<(String, u16)> {
    let authority = environment
        .trim_start_matches("https://")
        .split('/')
        .next()
        .unwrap_or_default();
    let address = Address::parse(authority).with_context(
        || "Ops Manager names no usable address of the Director's API; give bosh.environment",
    )?;
    // Without a port of its own it is the usual one, not that of SSH.
    let bare = authority.parse::<std::net::Ipv6Addr>().is_ok();
    let own = !bare
        && authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port == address.port.to_string());
    let port = if own { address.port } else { API_PORT };
    Ok((address.host, port))
}

/// Which deployment is TAS.
fn tas(
    foundation: &mut Foundation,
    products: &[DeployedProduct],
    components: &[Component],
) -> Result<()> {
    if foundation.tas_deployment.is_none() {
        let found: Vec<_> = products.iter().filter(|p| p.kind == TAS).collect();
        match found.as_slice() {
            [one] => foundation.tas_deployment = Some(one.installation_name.clone()),
            _ if !components.contains(&Component::Tas) => {}
            [] => bail!(
                "tas: Ops Manager has no deployed TAS (no product of type {TAS}); take the component tas out"
            ),
            several => bail!(
                "tas: Ops Manager has {} deployed products of type {TAS}; say which as tas.deployment: {}",
                several.len(),
                several
                    .iter()
                    .map(|product| product.installation_name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
    check_once(foundation, components)
}

/// Nothing may be locked twice, under whatever names it was asked for.
fn check_once(foundation: &Foundation, components: &[Component]) -> Result<()> {
    for component in components {
        let Component::Deployment(name) = component else {
            continue;
        };
        let again = match foundation.tas_deployment.as_deref() == Some(name.as_str()) {
            true => Component::Tas,
            false if name.starts_with(super::service_instances::PREFIX) => {
                Component::ServiceInstances
            }
            false => continue,
        };
        if components.contains(&again) {
            return Err(anyhow!(
                "deployment/{name} is also asked for as {again}; it would be locked twice, take one out"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_has_its_usual_port_unless_another_is_named() {
        for (text, host, port) in [
            ("10.0.0.5", "10.0.0.5", 25_555),
            ("10.0.0.5:22", "10.0.0.5", 22),
            ("https://bosh.example:443/", "bosh.example", 443),
            ("fd00::5", "fd00::5", 25_555),
            ("fd00::1:22", "fd00::1:22", 25_555),
            ("[fd00::5]:1234", "fd00::5", 1234),
            ("[fd00::5]", "fd00::5", 25_555),
        ] {
            assert_eq!(
                api_address(text).unwrap(),
                (host.to_owned(), port),
                "{text}"
            );
        }
        assert!(api_address("").is_err());
    }
}
