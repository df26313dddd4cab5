//! Where the APIs of a foundation are: what the configuration says, else what Ops Manager knows.

use super::settings::{Api, Settings};
use crate::http::Wait;
use crate::opsman::{DeployedProduct, OpsManager};

/// The director's CredHub.
const CREDHUB_PORT: u16 = 8844;

/// TAS' API, `https://HOST`.
pub(super) fn cloud_controller(
    given: &Api,
    client: Option<&mut OpsManager>,
    tas: Option<&DeployedProduct>,
    wait: &Wait,
) -> Option<String> {
    if let Some(url) = &given.url {
        return Some(url.clone());
    }
    let properties = client?.product_properties(&tas?.guid, wait).ok()?;
    let domain = properties
        .get(".cloud_controller.system_domain")?
        .get("value")?
        .as_str()?;
    Some(format!("https://api.{domain}"))
}

/// The director's CredHub, beside the Director's API where Ops Manager is `known`, for only its
/// directors surely have one.
pub(super) fn credhub(settings: &Settings, known: bool) -> Option<String> {
    let given = settings.foundation.inventory.credhub.as_ref();
    given.and_then(|api| api.url.clone()).or_else(|| {
        let bosh = settings.foundation.bosh.as_ref().filter(|_| known)?;
        let host = match bosh.host.contains(':') {
            true => format!("[{}]", bosh.host),
            false => bosh.host.clone(),
        };
        Some(format!("https://{host}:{CREDHUB_PORT}"))
    })
}
