//! The director, the Director's API, and the way to both.

use super::environment::Environment;
use super::leaf::{Hidden, Span, Text};
use super::model::{BoshModel, DirectorModel, LimitsModel, Model};
use super::place::{self, HostPort, ProxyUrl};
use super::{Fault, inventory, keys};
use crate::operation::settings::{
    Bosh, Component, Director, Foundation, Given, Limits, OpsManager, Proxy,
};
use crate::secret::Secret;
use crate::store::is_segment;

/// How to reach the components; what they need must be there.
pub(super) fn of(
    model: &Model,
    components: &[Component],
    environment: &Environment,
) -> Result<Foundation, Fault> {
    let ops_manager = model
        .ops_manager
        .as_ref()
        .map(|ops_manager| super::ops_manager::of(ops_manager, environment))
        .transpose()?;
    let proxy = model
        .bosh
        .as_ref()
        .map(|bosh| proxy(bosh, ops_manager.as_ref()))
        .transpose()?
        .flatten();
    let given = given(model, proxy.clone(), environment)?;
    // What Ops Manager can tell need not be there.
    let known = ops_manager.is_some();
    let needs_director = components.contains(&Component::Director);
    let needs_api = components.iter().find(|c| {
        matches!(
            c,
            Component::Tas | Component::Deployment(_) | Component::ServiceInstances
        )
    });
    let director = match &model.director {
        Some(model) if !known || given.has_director() => Some(director(model, proxy.clone())?),
        _ => None,
    };
    if needs_director && director.is_none() && !known {
        return Err(Fault::missing(
            "director",
            "; the component director needs its host, username and private_key",
        ));
    }
    let bosh = match &model.bosh {
        Some(bosh) if !known && (needs_api.is_some() || speaks_to_api(bosh)) => Some(bosh),
        Some(bosh) if known && given.has_api() => Some(bosh),
        _ => None,
    };
    let bosh = bosh
        .map(|bosh| {
            Ok(Bosh {
                https_proxy: environment.http_proxy("https"),
                ..api(bosh, proxy)?
            })
        })
        .transpose()?;
    if let (Some(component), None, false) = (needs_api, &bosh, known) {
        return Err(Fault::missing(
            "bosh",
            &format!(
                "; the component {component} needs the Director's environment, client and client_secret"
            ),
        ));
    }
    if components.contains(&Component::OpsManager) && !known {
        return Err(Fault::missing(
            "ops_manager",
            "; the component ops-manager needs its url and a username and password, or a client_id \
             and client_secret",
        ));
    }
    let tas_deployment = tas_deployment(model, components.contains(&Component::Tas) && !known)?;
    check_once(components, tas_deployment.as_deref())?;
    Ok(Foundation {
        ops_manager,
        given,
        director,
        bosh,
        tas_deployment,
        with_manifest: model.with_manifest.is_some_and(|flag| flag.0),
        unsafe_lock_free: model.unsafe_lock_free.is_some_and(|flag| flag.0),
        inventory: inventory::of(model, known, environment)?,
        limits: model
            .limits
            .as_ref()
            .map_or(Ok(Limits::default()), limits)?,
    })
}

/// Each part by itself; Ops Manager fills the gaps.
fn given(model: &Model, proxy: Option<Proxy>, environment: &Environment) -> Result<Given, Fault> {
    let mut given = Given {
        proxy,
        https_proxy: environment.http_proxy("https"),
        ..Given::default()
    };
    if let Some(model) = &model.director {
        given.director_host = model
            .host
            .as_ref()
            .map(|host| at(place::host_port(&host.0), "director.host", 22))
            .transpose()?;
        let key = model.private_key.as_ref();
        given.director_username = model
            .username
            .as_ref()
            .map(|name| username(Some(name), "director.username"))
            .transpose()?;
        given.director_key = key
            .map(|key| login_key(Some(key), "director.private_key", ""))
            .transpose()?;
        given.director_host_key = host_key(model.host_key.as_ref(), "director.host_key")?;
    }
    if let Some(model) = &model.bosh {
        given.bosh_host = model
            .environment
            .as_ref()
            .map(|text| at(place::director(&text.0), "bosh.environment", 25_555))
            .transpose()?;
        given.bosh_client = match (&model.client, &model.client_secret) {
            (Some(Text(client)), Some(Hidden(secret))) => Some((client.clone(), secret.clone())),
            (Some(_), None) => return Err(Fault::missing("bosh.client_secret", "")),
            (None, Some(_)) => return Err(Fault::missing("bosh.client", "")),
            (None, None) => None,
        };
        given.bosh_ca_cert = bosh_ca(model)?;
    }
    Ok(given)
}

fn at(
    found: Result<HostPort, &'static str>,
    path: &str,
    port: u16,
) -> Result<(String, u16), Fault> {
    let found = found.map_err(|why| Fault::new(path, why))?;
    Ok((found.host, found.port.unwrap_or(port)))
}

fn check_once(components: &[Component], tas: Option<&str>) -> Result<(), Fault> {
    let twice = components.contains(&Component::Tas)
        && components
            .iter()
            .any(|c| matches!(c, Component::Deployment(name) if Some(name.as_str()) == tas));
    if twice {
        return Err(Fault::new(
            "tas.deployment",
            "is also asked for as deployment/…; it would be locked twice",
        ));
    }
    Ok(())
}

fn speaks_to_api(bosh: &BoshModel) -> bool {
    bosh.environment.is_some() || bosh.client.is_some() || bosh.client_secret.is_some()
}

fn director(model: &DirectorModel, proxy: Option<Proxy>) -> Result<Director, Fault> {
    let Some(Text(host)) = &model.host else {
        return Err(Fault::missing("director.host", ""));
    };
    let HostPort { host, port } =
        place::host_port(host).map_err(|why| Fault::new("director.host", why))?;
    Ok(Director {
        host,
        port: port.unwrap_or(22),
        username: username(model.username.as_ref(), "director.username")?,
        private_key: login_key(model.private_key.as_ref(), "director.private_key", "")?,
        host_key: host_key(model.host_key.as_ref(), "director.host_key")?,
        proxy,
    })
}

pub(super) fn username(text: Option<&Text>, at: &str) -> Result<String, Fault> {
    let Some(Text(name)) = text else {
        return Err(Fault::missing(at, ""));
    };
    let good = name.len() <= 64
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !good {
        return Err(Fault::new(at, "is not a login name"));
    }
    Ok(name.clone())
}

pub(super) fn login_key(key: Option<&Hidden>, at: &str, why: &str) -> Result<Secret, Fault> {
    let Some(Hidden(key)) = key else {
        return Err(Fault::missing(at, why));
    };
    keys::login_key(key).map_err(|why| Fault::new(at, why))
}

pub(super) fn host_key(text: Option<&Text>, at: &str) -> Result<Option<String>, Fault> {
    text.map(|text| keys::host_key(&text.0))
        .transpose()
        .map_err(|why| Fault::new(at, why))
}

fn api(model: &BoshModel, proxy: Option<Proxy>) -> Result<Bosh, Fault> {
    let Some(Text(environment)) = &model.environment else {
        return Err(Fault::missing("bosh.environment", ""));
    };
    let HostPort { host, port } =
        place::director(environment).map_err(|why| Fault::new("bosh.environment", why))?;
    let Some(Text(client)) = &model.client else {
        return Err(Fault::missing("bosh.client", ""));
    };
    let Some(Hidden(client_secret)) = &model.client_secret else {
        return Err(Fault::missing("bosh.client_secret", ""));
    };
    Ok(Bosh {
        host,
        port: port.unwrap_or(25_555),
        client: client.clone(),
        client_secret: client_secret.clone(),
        ca_cert: bosh_ca(model)?,
        proxy,
        https_proxy: None,
    })
}

fn bosh_ca(model: &BoshModel) -> Result<Option<String>, Fault> {
    model
        .ca_cert
        .as_ref()
        .map(|text| keys::certificates(&text.0))
        .transpose()
        .map_err(|why| Fault::new("bosh.ca_cert", why))
}

/// A jumpbox that is the Ops Manager VM may use the keys that stand there.
fn proxy(model: &BoshModel, ops_manager: Option<&OpsManager>) -> Result<Option<Proxy>, Fault> {
    let jumpbox_only = [
        (
            "bosh.all_proxy_private_key",
            model.all_proxy_private_key.is_some(),
        ),
        (
            "bosh.all_proxy_host_key",
            model.all_proxy_host_key.is_some(),
        ),
    ];
    let refuse_rest = |why: &str| match jumpbox_only.iter().find(|(_, there)| *there) {
        Some((key, _)) => Err(Fault::new(*key, why)),
        None => Ok(()),
    };
    let Some(Text(url)) = &model.all_proxy else {
        refuse_rest("needs `all_proxy` beside it")?;
        return Ok(None);
    };
    match place::proxy(url).map_err(|why| Fault::new("bosh.all_proxy", why))? {
        ProxyUrl::Socks5 { host, port } => {
            refuse_rest("belongs to a jumpbox (ssh+socks5://…); this proxy is socks5://")?;
            Ok(Some(Proxy::Socks5 { host, port }))
        }
        ProxyUrl::Jumpbox {
            username,
            host,
            port,
            key_file,
        } => {
            const KEY: &str = "bosh.all_proxy_private_key";
            let own = ops_manager
                .filter(|ops_manager| ops_manager.host == host)
                .and_then(|ops_manager| ops_manager.ssh.as_ref());
            if let (Some(vm), None, None) = (own, &model.all_proxy_private_key, &key_file) {
                let key = host_key(model.all_proxy_host_key.as_ref(), "bosh.all_proxy_host_key")?;
                return Ok(Some(Proxy::Jumpbox {
                    username: username.unwrap_or_else(|| vm.username.clone()),
                    host,
                    port,
                    private_key: vm.private_key.clone(),
                    host_key: key.or_else(|| vm.host_key.clone()),
                }));
            }
            let private_key = match (&model.all_proxy_private_key, key_file) {
                (Some(_), Some(_)) => {
                    return Err(Fault::new(
                        KEY,
                        "stands beside a private-key=… in all_proxy; give one",
                    ));
                }
                (None, Some(path)) => key_in_file(&path)?,
                (key, None) => login_key(key.as_ref(), KEY, "; the jumpbox asks for a key")?,
            };
            Ok(Some(Proxy::Jumpbox {
                username: username.unwrap_or_else(|| "jumpbox".to_owned()),
                host,
                port,
                private_key,
                host_key: host_key(model.all_proxy_host_key.as_ref(), "bosh.all_proxy_host_key")?,
            }))
        }
    }
}

fn key_in_file(path: &str) -> Result<Secret, Fault> {
    let fault = |why: &str| {
        Fault::new(
            "bosh.all_proxy",
            format!(
                "names a private-key file that {why}; in a pipeline give the key itself as all_proxy_private_key"
            ),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fault("is not there"),
        _ => fault("cannot be read"),
    })?;
    keys::login_key(&Secret::new(text)).map_err(fault)
}

fn tas_deployment(model: &Model, needed: bool) -> Result<Option<String>, Fault> {
    let name = model.tas.as_ref().and_then(|tas| tas.deployment.as_ref());
    match name {
        None if needed => Err(Fault::missing(
            "tas.deployment",
            "; name the TAS deployment (cf-…, as `bosh deployments` lists it)",
        )),
        None => Ok(None),
        Some(Text(name)) if is_segment(name) => Ok(Some(name.clone())),
        Some(_) => Err(Fault::new("tas.deployment", "is not a deployment's name")),
    }
}

fn limits(model: &LimitsModel) -> Result<Limits, Fault> {
    let defaults = Limits::default();
    let parallel = match model.parallel {
        None => defaults.parallel,
        Some(count) => usize::try_from(count.0)
            .ok()
            .filter(|count| (1..=100).contains(count))
            .ok_or_else(|| Fault::new("limits.parallel", "must be between 1 and 100"))?,
    };
    let silence = match model.silence {
        None => defaults.silence,
        Some(Span(time)) if time.as_secs() < 10 => {
            return Err(Fault::new("limits.silence", "must be at least 10s"));
        }
        Some(Span(time)) => time,
    };
    Ok(Limits {
        parallel,
        silence,
        idle_timeout: model
            .idle_timeout
            .map_or(defaults.idle_timeout, |Span(time)| time),
        inventory_timeout: model
            .inventory_timeout
            .map_or(defaults.inventory_timeout, |Span(time)| time),
        script_timeout: model.script_timeout.map(|Span(time)| time),
    })
}
