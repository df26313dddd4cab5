//! From settings to reachable instances: the director over plain SSH, deployments through the
//! Director's API. Composes `bosh`, `ssh` and `bbr`; knows nothing of repositories or stores.

mod reached;
mod settings;
mod vm;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use reached::Access;
pub use reached::Reached;
pub use settings::{
    Api, ApiCredentials, Bosh, Credentials, Director, Given, HttpProxy, Inventory, Limits,
    OpsManager, Proxy, Settings, Vm,
};

use crate::bbr;
use crate::bosh;
use crate::http;
use crate::monitor::Monitor;
use crate::parallel;
use crate::remote::Remote;
use crate::secret::Mask;
use crate::shutdown::Shutdown;
use crate::ssh;

/// Why instances cannot be reached; each text is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the settings lack or have wrong.
    #[error("{0}")]
    Settings(String),
    /// The Director's, first cause first.
    #[error(transparent)]
    Director(#[from] bosh::Error),
    /// The Director's, several.
    #[error(transparent)]
    Access(#[from] bosh::Failures),
    /// Instances that could not be reached, first cause first.
    #[error("{}", sentences(.0))]
    Remote(Vec<crate::remote::Error>),
}

/// What is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// The director's own VM.
    Director,
    /// A deployment.
    Deployment(String),
}

/// The ways to one foundation, opened when needed and shared by its components.
pub struct Foundation {
    settings: Settings,
    tool_version: String,
    monitor: Arc<dyn Monitor>,
    mask: Arc<Mask>,
    director: Mutex<Option<Arc<bosh::Director>>>,
    route: Mutex<Option<ssh::Route>>,
}

impl std::fmt::Debug for Foundation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Foundation")
    }
}

impl Foundation {
    /// Nothing is sent yet.
    pub fn new(
        settings: Settings,
        tool_version: &str,
        monitor: Arc<dyn Monitor>,
        mask: Arc<Mask>,
    ) -> Self {
        Self {
            settings,
            tool_version: tool_version.to_owned(),
            monitor,
            mask,
            director: Mutex::default(),
            route: Mutex::default(),
        }
    }

    /// What bbr is told of limits.
    pub fn bbr_settings(&self) -> bbr::Settings {
        let limits = &self.settings.limits;
        bbr::Settings {
            limits: bbr::Limits {
                parallel: limits.parallel,
                script: limits.script_timeout,
                ..bbr::Limits::default()
            },
            tool_version: self.tool_version.clone(),
            ..bbr::Settings::default()
        }
    }

    /// Reaches all hosts of an aim. SSH users that were set up before a failure are removed
    /// again before it returns.
    ///
    /// # Errors
    /// All that went wrong.
    pub fn reach(&self, aim: &Aim, shutdown: &Shutdown) -> Result<Reached, Error> {
        match aim {
            Aim::Director => self.reach_director(shutdown),
            Aim::Deployment(name) => self.reach_deployment(name, None, shutdown),
        }
    }

    /// Reaches one instance of a deployment, `group`, `group/index` or `group/id`; of a group the first that
    /// the Director lists. No other has to answer.
    ///
    /// # Errors
    /// All that went wrong.
    pub fn reach_instance(
        &self,
        deployment: &str,
        instance: &str,
        shutdown: &Shutdown,
    ) -> Result<Reached, Error> {
        self.reach_deployment(deployment, Some(instance), shutdown)
    }

    fn reach_director(&self, shutdown: &Shutdown) -> Result<Reached, Error> {
        let director = self.settings.director.as_ref().ok_or_else(|| {
            Error::Settings(
                "director is missing: give director.host, director.username and director.private_key".into(),
            )
        })?;
        let host_key = match &director.host_key {
            Some(line) => exactly(line)?,
            None => ssh::HostKeyPolicy::Any,
        };
        let mut settings = ssh::Settings::new(
            "bosh/0",
            ssh::Address::new(director.host.clone(), director.port),
            director.username.clone(),
            director.private_key.clone(),
            host_key,
        );
        settings.route = self.route(director.proxy.as_ref())?;
        self.limit(&mut settings);
        let session = ssh::Session::connect(settings, Arc::clone(&self.monitor), shutdown)
            .map_err(|error| Error::Remote(vec![error]))?;
        Ok(Reached {
            hosts: vec![bbr::Host {
                group: "bosh".into(),
                id: "0".into(),
                index: Some("0".into()),
                bootstrap: false,
                remote: session,
            }],
            manifest: None,
            access: None,
        })
    }

    fn reach_deployment(
        &self,
        name: &str,
        instance: Option<&str>,
        shutdown: &Shutdown,
    ) -> Result<Reached, Error> {
        let director = self.director()?;
        let wait = http::Wait::unless(shutdown);
        let mut vms = director.vms(name, &wait)?;
        if let Some(instance) = instance {
            let Some(found) = vms.iter().find(|vm| vm.is(instance)) else {
                return Err(Error::Settings(format!(
                    "deployment {name} has no VM of instance {instance}; `bosh -d {name} instances` lists what it has"
                )));
            };
            vms = vec![found.clone()];
        }
        let manifest = director.manifest(name, &wait)?;
        // A manifest that cannot be read ends the run before any user is set up.
        bbr::check_manifest(&manifest).map_err(|problem| {
            Error::Settings(format!(
                "the manifest of deployment {name} cannot be used: {problem}"
            ))
        })?;
        let (private_key, public_key) =
            ssh::generate_key().map_err(|error| Error::Settings(error.to_string()))?;
        self.mask.add(private_key.expose());
        let mut random = [0; 4];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Settings(format!("no random bytes: {error}")))?;
        let ssh = bosh::SshAccess::new(
            Arc::clone(&director),
            name,
            bosh::user_name(random),
            public_key,
        );
        let parallel = self.settings.limits.parallel;
        let access = Access {
            ssh,
            director,
            deployment: name.to_owned(),
            vms,
            alone: instance.is_some(),
            parallel,
            shutdown: shutdown.clone(),
        };
        let mut reached = Reached {
            hosts: Vec::new(),
            manifest: Some(manifest),
            access: Some(access),
        };
        match self.connect_all(&reached, &private_key, shutdown) {
            Ok(hosts) => {
                reached.hosts = hosts;
                Ok(reached)
            }
            Err(error) => {
                for problem in reached.close() {
                    self.monitor.warn(&problem);
                }
                Err(error)
            }
        }
    }

    fn connect_all(
        &self,
        reached: &Reached,
        private_key: &crate::secret::Secret,
        shutdown: &Shutdown,
    ) -> Result<Vec<bbr::Host>, Error> {
        let access = reached.access.as_ref().expect("a deployment has an access");
        let wait = http::Wait::unless(shutdown);
        let opened = match &access.vms[..] {
            [vm] if access.alone => access.ssh.open_instance(vm, &wait)?,
            vms => access.ssh.open(vms, access.parallel, &wait)?,
        };
        if !opened.missing.is_empty() {
            self.monitor.warn(&format!(
                "{}: the Director gave no SSH access to {}; they are not backed up",
                access.deployment,
                opened.missing.join(", ")
            ));
        }
        let proxy = self
            .settings
            .bosh
            .as_ref()
            .and_then(|bosh| bosh.proxy.as_ref());
        let route = self.route(proxy)?;
        let user = access.ssh.user().as_str();
        let connect = |host: &bosh::Host| {
            let key = exactly(&host.host_key).map_err(|error| crate::remote::Error::Connect {
                remote: host.name(),
                message: error.to_string(),
            })?;
            let address = ssh::Address::new(host.address.host.clone(), host.address.port);
            let mut settings =
                ssh::Settings::new(host.name(), address, user, private_key.clone(), key);
            settings.route = route.clone();
            self.limit(&mut settings);
            let session = ssh::Session::connect(settings, Arc::clone(&self.monitor), shutdown)?;
            Ok(bbr::Host {
                group: host.group.clone(),
                id: host.id.clone(),
                index: Some(host.index.to_string()),
                bootstrap: host.bootstrap,
                remote: session as Arc<dyn Remote>,
            })
        };
        let mut hosts = Vec::new();
        let mut errors = Vec::new();
        for result in parallel::all(access.parallel, &opened.hosts, connect) {
            match result {
                Ok(host) => hosts.push(host),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(hosts)
        } else {
            Err(Error::Remote(errors))
        }
    }

    fn limit(&self, settings: &mut ssh::Settings) {
        // Three unanswered keepalives end a connection.
        settings.keepalive = self.settings.limits.silence / 4;
    }

    /// The Director's API.
    ///
    /// # Errors
    /// When the settings do not say how to reach it.
    pub fn director(&self) -> Result<Arc<bosh::Director>, Error> {
        let mut kept = self.director.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(director) = &*kept {
            return Ok(Arc::clone(director));
        }
        let bosh = self.bosh()?;
        let settings = bosh::Settings::new(
            format!("https://{}:{}", bracketed(&bosh.host), bosh.port),
            bosh.client.clone(),
            bosh.client_secret.clone(),
            self.director_http()?,
        );
        let director = Arc::new(bosh::Director::new(settings, Arc::clone(&self.monitor))?);
        *kept = Some(Arc::clone(&director));
        Ok(director)
    }

    fn bosh(&self) -> Result<&Bosh, Error> {
        self.settings.bosh.as_ref().ok_or_else(|| {
            Error::Settings(
                "bosh is missing: give bosh.environment, bosh.client, bosh.client_secret and bosh.ca_cert".into(),
            )
        })
    }

    /// The way to the Director's API, and to its UAA and CredHub beside it; its CA.
    ///
    /// # Errors
    /// When the settings do not say how to reach it, or the jumpbox refuses.
    pub fn director_http(&self) -> Result<http::Settings, Error> {
        let bosh = self.bosh()?;
        let proxy = match &bosh.proxy {
            None => bosh
                .https_proxy
                .as_ref()
                .map_or(http::Proxy::Direct, |proxy| http::Proxy::Server {
                    url: proxy.url.clone(),
                    except: proxy.no_proxy.clone(),
                }),
            Some(Proxy::Socks5 { host, port }) => http::Proxy::Server {
                // h: the proxy resolves names, as it does for the instances.
                url: crate::secret::Secret::new(format!("socks5h://{}:{port}", bracketed(host))),
                except: String::new(),
            },
            Some(jumpbox @ Proxy::Jumpbox { .. }) => {
                let route = self.route(Some(jumpbox))?.expect("a jumpbox is a route");
                http::Proxy::Forwarder(Arc::new(Through(route)))
            }
        };
        Ok(http::Settings {
            ca_cert: bosh.ca_cert.clone(),
            proxy,
            ..http::Settings::default()
        })
    }

    fn route(&self, proxy: Option<&Proxy>) -> Result<Option<ssh::Route>, Error> {
        let Some(proxy) = proxy else { return Ok(None) };
        let mut kept = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = &*kept {
            return Ok(Some(route.clone()));
        }
        let (url, options) = match proxy {
            Proxy::Socks5 { host, port } => (
                ssh::ProxyUrl::Socks5(ssh::Address::new(host.clone(), *port)),
                ssh::RouteOptions::default(),
            ),
            Proxy::Jumpbox {
                username,
                host,
                port,
                private_key,
                host_key,
            } => (
                ssh::ProxyUrl::Jumpbox {
                    address: ssh::Address::new(host.clone(), *port),
                    user: username.clone(),
                    private_key: None,
                },
                ssh::RouteOptions {
                    private_key: Some(private_key.clone()),
                    host_key: match host_key {
                        Some(line) => exactly(line)?,
                        None => ssh::HostKeyPolicy::Any,
                    },
                    ..ssh::RouteOptions::default()
                },
            ),
        };
        let route = ssh::Route::open(url, options, Arc::clone(&self.monitor))
            .map_err(|error| Error::Settings(format!("bosh.all_proxy: {error}")))?;
        *kept = Some(route.clone());
        Ok(Some(route))
    }
}

#[derive(Debug)]
struct Through(ssh::Route);

impl http::Forwarder for Through {
    fn address(&self, host: &str, port: u16) -> std::io::Result<SocketAddr> {
        self.0.forward(host, port).map_err(std::io::Error::other)
    }

    fn take_failure(&self) -> Option<String> {
        self.0.take_failure()
    }
}

fn exactly(line: &str) -> Result<ssh::HostKeyPolicy, Error> {
    line.parse::<ssh::HostKey>()
        .map(ssh::HostKeyPolicy::Exactly)
        .map_err(|error| Error::Settings(error.to_string()))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn sentences(errors: &[crate::remote::Error]) -> String {
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
