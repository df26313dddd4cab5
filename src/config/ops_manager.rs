//! `ops_manager`: its address, who asks there, and its VM.

use super::Fault;
use super::environment::Environment;
use super::foundation::{host_key, login_key};
use super::leaf::{Hidden, Text};
use super::model::OpsManagerModel;
use super::place::{self, HostPort};
use super::{foundation, keys};
use crate::operation::settings::{OpsManager, OpsManagerCredentials as Credentials, Vm};
use crate::secret::Secret;

/// The user of every Ops Manager image.
const SSH_USER: &str = "ubuntu";

pub(super) fn of(model: &OpsManagerModel, environment: &Environment) -> Result<OpsManager, Fault> {
    let Some(Text(url)) = &model.url else {
        return Err(Fault::missing("ops_manager.url", ""));
    };
    let HostPort { host, port } =
        place::ops_manager(url).map_err(|why| Fault::new("ops_manager.url", why))?;
    let ca_cert = model
        .ca_cert
        .as_ref()
        .map(|text| keys::certificates(&text.0))
        .transpose()
        .map_err(|why| Fault::new("ops_manager.ca_cert", why))?;
    let skip_ssl_validation = model.skip_ssl_validation.is_some_and(|flag| flag.0);
    if skip_ssl_validation && ca_cert.is_some() {
        return Err(Fault::new(
            "ops_manager.skip_ssl_validation",
            "stands beside ca_cert, which it would make useless; take one out",
        ));
    }
    Ok(OpsManager {
        host,
        port: port.unwrap_or(443),
        credentials: credentials(model)?,
        decryption_passphrase: passphrase(model.decryption_passphrase.as_ref())?,
        ca_cert,
        skip_ssl_validation,
        https_proxy: environment.http_proxy("https"),
        ssh: vm(model)?,
    })
}

fn credentials(model: &OpsManagerModel) -> Result<Credentials, Fault> {
    let user = (&model.username, &model.password);
    let client = (&model.client_id, &model.client_secret);
    match (user, client) {
        ((None, None), (None, None)) => Err(Fault::missing(
            "ops_manager.username",
            "; give a username and password, or a client_id and client_secret",
        )),
        ((Some(Text(username)), Some(password)), (None, None)) => Ok(Credentials::Password {
            username: username.clone(),
            password: filled(password, "ops_manager.password")?,
        }),
        ((None, None), (Some(Text(id)), Some(secret))) => Ok(Credentials::Client {
            id: id.clone(),
            secret: filled(secret, "ops_manager.client_secret")?,
        }),
        ((Some(_), None), (None, None)) => Err(Fault::missing("ops_manager.password", "")),
        ((None, Some(_)), (None, None)) => Err(Fault::missing("ops_manager.username", "")),
        ((None, None), (Some(_), None)) => Err(Fault::missing("ops_manager.client_secret", "")),
        ((None, None), (None, Some(_))) => Err(Fault::missing("ops_manager.client_id", "")),
        _ => Err(Fault::new(
            if model.client_id.is_some() {
                "ops_manager.client_id"
            } else {
                "ops_manager.client_secret"
            },
            "stands beside a user; give username and password, or client_id and client_secret",
        )),
    }
}

fn filled(secret: &Hidden, at: &str) -> Result<Secret, Fault> {
    match secret.0.expose().is_empty() {
        true => Err(Fault::missing(at, "")),
        false => Ok(secret.0.clone()),
    }
}

fn passphrase(text: Option<&Hidden>) -> Result<Option<Secret>, Fault> {
    text.map(|text| filled(text, "ops_manager.decryption_passphrase"))
        .transpose()
}

fn vm(model: &OpsManagerModel) -> Result<Option<Vm>, Fault> {
    let Some(key) = &model.ssh_private_key else {
        let lonely = [
            ("ops_manager.ssh_host_key", model.ssh_host_key.is_some()),
            ("ops_manager.ssh_username", model.ssh_username.is_some()),
            ("ops_manager.ssh_port", model.ssh_port.is_some()),
        ];
        return match lonely.iter().find(|(_, there)| *there) {
            Some((at, _)) => Err(Fault::new(*at, "needs `ssh_private_key` beside it")),
            None => Ok(None),
        };
    };
    Ok(Some(Vm {
        username: match &model.ssh_username {
            None => SSH_USER.to_owned(),
            name => foundation::username(name.as_ref(), "ops_manager.ssh_username")?,
        },
        port: match model.ssh_port {
            None => 22,
            Some(port) => u16::try_from(port.0)
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| Fault::new("ops_manager.ssh_port", "must be between 1 and 65535"))?,
        },
        private_key: login_key(Some(key), "ops_manager.ssh_private_key", "")?,
        host_key: host_key(model.ssh_host_key.as_ref(), "ops_manager.ssh_host_key")?,
    }))
}
