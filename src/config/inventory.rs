//! Inventories: whether they are taken, and whom they are asked of.

use super::environment::Environment;
use super::leaf::{Flag, Hidden, Text};
use super::model::{CloudControllerModel, CredHubModel, Model};
use super::place::{self, HostPort};
use super::{Fault, keys};
use crate::operation::settings::{Api, ApiCredentials, Inventory};
use crate::secret::Secret;

/// `known`: an Ops Manager is named, which tells what is left out here.
pub(super) fn of(
    model: &Model,
    known: bool,
    environment: &Environment,
) -> Result<Inventory, Fault> {
    let cloud_controller = model.cloud_controller.as_ref();
    let credhub = model.credhub.as_ref();
    Ok(Inventory {
        on: model.inventory.map(|Flag(on)| on),
        cloud_controller: cloud_controller
            .map(|model| controller(model, known))
            .transpose()?,
        credhub: credhub.map(|model| of_credhub(model, known)).transpose()?,
        https_proxy: environment.http_proxy("https"),
    })
}

fn controller(model: &CloudControllerModel, known: bool) -> Result<Api, Fault> {
    const AT: &str = "cloud_controller";
    let api = Api {
        url: url(model.api.as_ref(), "cloud_controller.api", known)?,
        credentials: credentials(model)?,
        ca_cert: ca_cert(model.ca_cert.as_ref(), AT)?,
        skip_ssl_validation: model.skip_ssl_validation.is_some_and(|flag| flag.0),
    };
    if api.credentials.is_none() && !known {
        return Err(Fault::missing(
            "cloud_controller.username",
            "; give a username and password, or a client and client_secret",
        ));
    }
    if api.skip_ssl_validation && api.ca_cert.is_some() {
        return Err(Fault::new(
            "cloud_controller.skip_ssl_validation",
            "stands beside ca_cert, which it would make useless; take one out",
        ));
    }
    Ok(api)
}

fn of_credhub(model: &CredHubModel, known: bool) -> Result<Api, Fault> {
    let credentials = pair(
        (model.client.as_ref(), "credhub.client"),
        (model.client_secret.as_ref(), "credhub.client_secret"),
    )?;
    if credentials.is_none() && !known {
        return Err(Fault::missing("credhub.client", ""));
    }
    Ok(Api {
        url: url(model.url.as_ref(), "credhub.url", known)?,
        credentials: credentials.map(|(id, secret)| ApiCredentials::Client { id, secret }),
        ca_cert: ca_cert(model.ca_cert.as_ref(), "credhub")?,
        skip_ssl_validation: false,
    })
}

fn url(text: Option<&Text>, at: &str, known: bool) -> Result<Option<String>, Fault> {
    let Some(Text(text)) = text else {
        return match known {
            true => Ok(None),
            false => Err(Fault::missing(at, "")),
        };
    };
    let HostPort { host, port } = place::api(text).map_err(|why| Fault::new(at, why))?;
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    Ok(Some(match port {
        Some(port) => format!("https://{host}:{port}"),
        None => format!("https://{host}"),
    }))
}

fn credentials(model: &CloudControllerModel) -> Result<Option<ApiCredentials>, Fault> {
    let user = pair(
        (model.username.as_ref(), "cloud_controller.username"),
        (model.password.as_ref(), "cloud_controller.password"),
    )?;
    let client = pair(
        (model.client.as_ref(), "cloud_controller.client"),
        (
            model.client_secret.as_ref(),
            "cloud_controller.client_secret",
        ),
    )?;
    match (user, client) {
        (Some(_), Some(_)) => Err(Fault::new(
            "cloud_controller.client",
            "stands beside a user; give username and password, or client and client_secret",
        )),
        (Some((name, password)), None) => Ok(Some(ApiCredentials::user(name, password))),
        (None, Some((id, secret))) => Ok(Some(ApiCredentials::Client { id, secret })),
        (None, None) => Ok(None),
    }
}

type Found<'a, T> = (Option<&'a T>, &'static str);

/// Both or none.
fn pair(
    (name, name_at): Found<'_, Text>,
    (secret, secret_at): Found<'_, Hidden>,
) -> Result<Option<(String, Secret)>, Fault> {
    match (name, secret) {
        (Some(Text(name)), Some(Hidden(secret))) if !secret.expose().is_empty() => {
            Ok(Some((name.clone(), secret.clone())))
        }
        (Some(_), _) => Err(Fault::missing(secret_at, "")),
        (None, Some(_)) => Err(Fault::missing(name_at, "")),
        (None, None) => Ok(None),
    }
}

fn ca_cert(text: Option<&Text>, section: &str) -> Result<Option<String>, Fault> {
    text.map(|text| keys::certificates(&text.0))
        .transpose()
        .map_err(|why| Fault::new(format!("{section}.ca_cert"), why))
}
