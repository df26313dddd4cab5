//! Who is asked for an inventory, and as whom: what the configuration says, and for the rest what
//! Ops Manager knows. Its calls are made here, one after another, before the others begin.

use crate::cloud::{self, Credentials};
use crate::http::{self, Proxy, Wait};
use crate::operation::Context;
use crate::operation::addresses;
use crate::operation::discovery::{Asked, TAS};
use crate::operation::settings::{Api, Settings};
use crate::opsman::{DeployedProduct, OpsManager};
use crate::secret::Secret;

/// Where each source is, or why it cannot be asked.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) cloud_controller: Source,
    /// As whom TAS' UAA is asked, where that is another one.
    pub(super) uaa: Option<Credentials>,
    pub(super) credhub: Source,
    /// As whom the director's UAA is asked; the Director tells where it is.
    pub(super) director_uaa: Option<Credentials>,
    pub(super) products: Vec<DeployedProduct>,
    pub(super) ops_manager: Option<String>,
}

/// One API.
#[derive(Debug, Default)]
pub(super) enum Source {
    /// Nobody said anything of it.
    #[default]
    Unknown,
    /// It can be asked.
    Known(Box<cloud::Settings>),
    /// It is meant, and something is missing.
    Lacking(String),
}

impl Access {
    /// Asks Ops Manager for what the configuration leaves out.
    pub(super) fn find(
        context: &Context,
        settings: &Settings,
        near: Option<&http::Settings>,
        asked: Option<&mut Asked>,
        wait: &Wait,
    ) -> Self {
        let given = &settings.foundation.inventory;
        let mut access = Self::default();
        let (mut client, products) = match asked {
            Some(asked) => (Some(&mut asked.client), asked.products.clone()),
            None => (None, Vec::new()),
        };
        access.ops_manager = client.as_ref().map(|client| client.name().to_owned());
        let tas = products.iter().find(|product| product.kind == TAS);
        access.cloud_controller = match (&given.cloud_controller, tas) {
            (None, None) => Source::Unknown,
            (given, tas) => controller(settings, given.as_ref(), client.as_deref_mut(), tas, wait),
        };
        if let (Some(client), Some(tas)) = (client.as_deref_mut(), tas)
            && given
                .cloud_controller
                .as_ref()
                .is_none_or(|api| api.credentials.is_none())
        {
            access.uaa = admin_client(client, tas, wait);
        }
        access.credhub = credhub(settings, near, client.as_deref_mut(), wait);
        access.director_uaa = client.and_then(|client| director_admin(client, wait));
        access.products = products;
        if let Source::Lacking(why) = &access.cloud_controller {
            context.monitor.debug(&format!("inventory: {why}"));
        }
        access
    }
}

/// The system domain's API, and the administrator of TAS.
fn controller(
    settings: &Settings,
    given: Option<&Api>,
    mut client: Option<&mut OpsManager>,
    tas: Option<&DeployedProduct>,
    wait: &Wait,
) -> Source {
    let api = given.cloned().unwrap_or_default();
    let url = addresses::cloud_controller(&api, client.as_deref_mut(), tas, wait);
    let credentials = api.credentials.clone().or_else(|| {
        let admin = client?.product_credential(&tas?.guid, ".uaa.admin_credentials", wait);
        let (name, password) = admin.ok()?.pair()?;
        Some(Credentials::user(name, password))
    });
    match (url, credentials) {
        (Some(url), Some(credentials)) => {
            Source::Known(Box::new(reached(settings, &api, url, credentials)))
        }
        (None, _) => Source::Lacking(
            "the Cloud Controller's address is not known: give cloud_controller.api".to_owned(),
        ),
        (_, None) => Source::Lacking(
            "who asks the Cloud Controller is not known: give cloud_controller.username and password, or client and client_secret".to_owned(),
        ),
    }
}

/// The administrator's client lists clients and users; the administrator cannot.
fn admin_client(
    client: &mut OpsManager,
    tas: &DeployedProduct,
    wait: &Wait,
) -> Option<Credentials> {
    let reference = ".uaa.admin_client_credentials";
    let credential = client.product_credential(&tas.guid, reference, wait).ok()?;
    let (id, secret) = credential.pair()?;
    Some(Credentials::Client { id, secret })
}

/// As whom the director's UAA is asked: its administrator, through the login client.
fn director_admin(client: &mut OpsManager, wait: &Wait) -> Option<Credentials> {
    let mut pair = |name: &str| client.director_credential(name, wait).ok()?.pair();
    let (client, client_secret) = pair("uaa_login_client_credentials")?;
    let (username, password) = pair("uaa_admin_user_credentials")?;
    Some(Credentials::User {
        username,
        password,
        client,
        client_secret,
    })
}

/// Beside the Director's API, as the client with all rights, unless the configuration says
/// otherwise.
fn credhub(
    settings: &Settings,
    near: Option<&http::Settings>,
    client: Option<&mut OpsManager>,
    wait: &Wait,
) -> Source {
    let given = &settings.foundation.inventory.credhub;
    let api = given.clone().unwrap_or_default();
    let url = addresses::credhub(settings, client.is_some());
    let credentials = api.credentials.clone().or_else(|| {
        let line = client?.bosh_command_line(wait).ok()?;
        Some(Credentials::Client {
            id: line.client,
            secret: line.client_secret,
        })
    });
    match (url, credentials) {
        (Some(url), Some(credentials)) => {
            let own = reached(settings, &api, url, credentials);
            let mut http = near.cloned().unwrap_or_else(|| own.http.clone());
            if api.ca_cert.is_some() {
                http.ca_cert = api.ca_cert;
            }
            Source::Known(Box::new(cloud::Settings { http, ..own }))
        }
        _ if given.is_none() => Source::Unknown,
        _ => Source::Lacking("credhub: give its url, client and client_secret".to_owned()),
    }
}

/// How to reach an API by the worker's own way.
fn reached(
    settings: &Settings,
    api: &Api,
    url: String,
    credentials: Credentials,
) -> cloud::Settings {
    let proxy = settings.foundation.inventory.https_proxy.as_ref();
    let proxy = proxy.map_or(Proxy::Direct, |proxy| Proxy::Server {
        url: Secret::new(proxy.url.expose()),
        except: proxy.no_proxy.clone(),
    });
    cloud::Settings {
        url,
        credentials,
        http: http::Settings {
            ca_cert: api.ca_cert.clone(),
            skip_validation: api.skip_ssl_validation,
            proxy,
            ..http::Settings::default()
        },
    }
}
