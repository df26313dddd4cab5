//! From settings to reachable instances: the director over plain SSH, deployments through the
//! Director's API. Composes `bosh`, `ssh` and `bbr`; knows nothing of repositories or stores.

mod settings;
mod vm;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use settings::{
    Bosh, Credentials, Director, Given, HttpProxy, Limits, OpsManager, Proxy, Settings, Vm,
};

use crate::bbr;
use crate::bosh;
use crate::http;
use crate::monitor::Monitor;
use crate::remote::Remote;
use crate::secret::Mask;
use crate::shutdown::Shutdown;
use crate::ssh;

/// How long the removal of SSH users may take after everything else: a Director's task
/// queue may be long.
const CLEANUP_TIME: Duration = Duration::from_secs(300);
/// The same after a signal, from when it came: Concourse kills after 10 s. A Director that has
/// been asked goes on without us.
const SIGNAL_TIME: Duration = Duration::from_millis(9300);

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

/// The hosts of one aim, connected. Whoever has it calls [`Reached::close`] in any case.
#[derive(Debug)]
pub struct Reached {
    /// For bbr.
    pub hosts: Vec<bbr::Host>,
    /// The deployment manifest, as the Director gave it.
    pub manifest: Option<String>,
    access: Option<Access>,
}

#[derive(Debug)]
struct Access {
    ssh: bosh::SshAccess,
    director: Arc<bosh::Director>,
    deployment: String,
    vms: Vec<bosh::Vm>,
    parallel: usize,
    shutdown: Shutdown,
}

impl Access {
    fn patience(&self) -> http::Wait {
        http::Wait::at_most(CLEANUP_TIME).hurried(&self.shutdown, SIGNAL_TIME)
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
            Aim::Deployment(name) => self.reach_deployment(name, shutdown),
        }
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

    fn reach_deployment(&self, name: &str, shutdown: &Shutdown) -> Result<Reached, Error> {
        let director = self.director()?;
        let wait = http::Wait::unless(shutdown);
        let vms = director.vms(name, &wait)?;
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
        let opened =
            access
                .ssh
                .open(&access.vms, access.parallel, &http::Wait::unless(shutdown))?;
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
        for result in side_by_side(&opened.hosts, access.parallel, connect) {
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
        let bosh = self.settings.bosh.as_ref().ok_or_else(|| {
            Error::Settings(
                "bosh is missing: give bosh.environment, bosh.client, bosh.client_secret and bosh.ca_cert".into(),
            )
        })?;
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
        let settings = bosh::Settings::new(
            format!("https://{}:{}", bracketed(&bosh.host), bosh.port),
            bosh.client.clone(),
            bosh.client_secret.clone(),
            http::Settings {
                ca_cert: bosh.ca_cert.clone(),
                proxy,
                ..http::Settings::default()
            },
        );
        let director = Arc::new(bosh::Director::new(settings, Arc::clone(&self.monitor))?);
        *kept = Some(Arc::clone(&director));
        Ok(director)
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

impl Reached {
    /// Removes the SSH users of this run, also after a signal, in the time that it leaves.
    /// Gives what went wrong, as sentences; empty when all is clean.
    pub fn close(&self) -> Vec<String> {
        let Some(access) = &self.access else {
            return Vec::new();
        };
        match access.ssh.cleanup(access.parallel, &access.patience()) {
            Ok(()) => Vec::new(),
            Err(bosh::Failures(errors)) => errors
                .iter()
                .map(|error| {
                    format!(
                        "SSH user {} may remain: {error}",
                        access.ssh.user().as_str()
                    )
                })
                .collect(),
        }
    }

    /// Removes the SSH users of all runs of ours, this one's too. Gives what went wrong.
    pub fn close_all(&self) -> Vec<String> {
        let Some(access) = &self.access else {
            return Vec::new();
        };
        let removed = bosh::cleanup_leftovers(
            &access.director,
            &access.deployment,
            &access.vms,
            access.parallel,
            &access.patience(),
        );
        match removed {
            Ok(()) => Vec::new(),
            Err(bosh::Failures(errors)) => errors
                .iter()
                .map(|error| format!("SSH users of earlier runs may remain: {error}"))
                .collect(),
        }
    }

    /// The user of this run, which a search for left-over users must not count.
    pub fn user(&self) -> Option<&str> {
        self.access
            .as_ref()
            .map(|access| access.ssh.user().as_str())
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

/// Does the same with each item, at most `parallel` at a time; results in the items' order.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    parallel: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..parallel.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
