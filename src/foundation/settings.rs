//! How to reach a foundation, as plain validated values; `config` makes them.

use std::time::Duration;

pub use crate::cloud::Credentials as ApiCredentials;
pub use crate::opsman::Credentials;
use crate::secret::Secret;

/// How to reach what is backed up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ops Manager, which knows the rest.
    pub ops_manager: Option<OpsManager>,
    /// What the configuration says itself of that rest; wins over what Ops Manager knows.
    pub given: Given,
    /// The director's VM, for the component `director`.
    pub director: Option<Director>,
    /// The Director's API, for deployments.
    pub bosh: Option<Bosh>,
    /// The deployment that the component `tas` means.
    pub tas_deployment: Option<String>,
    /// Whether the deployment manifest becomes part of the artifact.
    pub with_manifest: bool,
    /// bbr's `--unsafe-lock-free`: back up deployments without locking them.
    pub unsafe_lock_free: bool,
    /// What runs on it, asked for an inventory.
    pub inventory: Inventory,
    /// Bounds.
    pub limits: Limits,
}

/// Whether inventories are taken, and whom they are asked of beside what Ops Manager tells.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// As the configuration says; `None`: where a Cloud Controller or an Ops Manager is named.
    pub on: Option<bool>,
    /// TAS' API.
    pub cloud_controller: Option<Api>,
    /// The director's CredHub.
    pub credhub: Option<Api>,
    /// The worker's HTTPS proxy.
    pub https_proxy: Option<HttpProxy>,
}

impl Inventory {
    /// Whether a backup takes one. `asked`: whether an Ops Manager is known.
    pub fn is_on(&self, asked: bool) -> bool {
        self.on.unwrap_or(asked || self.cloud_controller.is_some())
    }
}

/// An API that is asked for an inventory.
#[derive(Debug, Clone, Default)]
pub struct Api {
    /// `https://HOST`; `None`: Ops Manager knows.
    pub url: Option<String>,
    /// Who asks; `None`: Ops Manager knows.
    pub credentials: Option<ApiCredentials>,
    /// PEM certificates that replace the system's roots.
    pub ca_cert: Option<String>,
    /// Whether its certificate may be anybody's.
    pub skip_ssl_validation: bool,
}

/// Ops Manager's API, and its VM over SSH.
#[derive(Debug, Clone)]
pub struct OpsManager {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// 443 unless said otherwise.
    pub port: u16,
    /// Who asks.
    pub credentials: Credentials,
    /// Unlocks it, and opens its export.
    pub decryption_passphrase: Option<Secret>,
    /// PEM certificates that replace the system's roots.
    pub ca_cert: Option<String>,
    /// Whether its certificate may be anybody's.
    pub skip_ssl_validation: bool,
    /// The worker's HTTPS proxy.
    pub https_proxy: Option<HttpProxy>,
    /// Its VM, for what the API cannot do.
    pub ssh: Option<Vm>,
}

/// Ops Manager's VM over SSH.
#[derive(Debug, Clone)]
pub struct Vm {
    /// `ubuntu` unless said otherwise.
    pub username: String,
    /// 22 unless said otherwise.
    pub port: u16,
    /// OpenSSH or PEM, unencrypted.
    pub private_key: Secret,
    /// As [`Director::host_key`].
    pub host_key: Option<String>,
}

/// What the configuration says of the director and its API beside `ops_manager`, each part by
/// itself.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// [`Director::host`] and its port.
    pub director_host: Option<(String, u16)>,
    /// [`Director::username`].
    pub director_username: Option<String>,
    /// [`Director::private_key`].
    pub director_key: Option<Secret>,
    /// [`Director::host_key`].
    pub director_host_key: Option<String>,
    /// [`Bosh::host`] and its port.
    pub bosh_host: Option<(String, u16)>,
    /// [`Bosh::client`] and its secret.
    pub bosh_client: Option<(String, Secret)>,
    /// [`Bosh::ca_cert`].
    pub bosh_ca_cert: Option<String>,
    /// The way to the director, its API and the instances.
    pub proxy: Option<Proxy>,
    /// The worker's HTTPS proxy.
    pub https_proxy: Option<HttpProxy>,
}

impl Given {
    /// Whether it says all of the director.
    pub fn has_director(&self) -> bool {
        self.director_host.is_some()
            && self.director_username.is_some()
            && self.director_key.is_some()
    }

    /// Whether it says all of the Director's API.
    pub fn has_api(&self) -> bool {
        self.bosh_host.is_some() && self.bosh_client.is_some()
    }
}

/// The director's VM over plain SSH.
#[derive(Debug, Clone)]
pub struct Director {
    /// A name or an address.
    pub host: String,
    /// 22 unless said otherwise.
    pub port: u16,
    /// Who logs in; may use `sudo -n`.
    pub username: String,
    /// OpenSSH or PEM, unencrypted.
    pub private_key: Secret,
    /// `ssh-ed25519 AAAA…`, without a comment; `None`: warn, and name the fingerprint to pin.
    pub host_key: Option<String>,
    /// The way there; `bosh.all_proxy` serves the director too.
    pub proxy: Option<Proxy>,
}

/// The Director's API.
#[derive(Debug, Clone)]
pub struct Bosh {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// 25555 unless said otherwise.
    pub port: u16,
    /// A UAA client, or a user of a Director with basic authentication.
    pub client: String,
    /// Its secret.
    pub client_secret: Secret,
    /// PEM certificates that replace the system's roots.
    pub ca_cert: Option<String>,
    /// The way to the API and to the instances.
    pub proxy: Option<Proxy>,
    /// The worker's HTTPS proxy, for the API where `proxy` names no other way.
    pub https_proxy: Option<HttpProxy>,
}

/// An HTTP proxy, as the worker's environment names it.
#[derive(Debug, Clone)]
pub struct HttpProxy {
    /// Its URL, maybe with a user and a password.
    pub url: Secret,
    /// Hosts that it is not for, in the form of `NO_PROXY`.
    pub no_proxy: String,
}

/// The way to the Director and to instances.
#[derive(Debug, Clone)]
pub enum Proxy {
    /// `socks5://HOST:PORT`.
    Socks5 {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// `ssh+socks5://USER@HOST:PORT`: a jumpbox.
    Jumpbox {
        /// Who logs in there; `jumpbox` unless said otherwise.
        username: String,
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
        /// OpenSSH or PEM, unencrypted.
        private_key: Secret,
        /// As [`Director::host_key`].
        host_key: Option<String>,
    },
}

/// Bounds that some foundations need changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instances that are spoken to at the same time.
    pub parallel: usize,
    /// How long one BBR script may run; `None`: as long as it likes.
    pub script_timeout: Option<Duration>,
    /// How long a connection may leave our keepalives unanswered.
    pub silence: Duration,
    /// How long a backup waits for Ops Manager and the Director to be idle.
    pub idle_timeout: Duration,
    /// How long an inventory may take, the waits for a rate limit included.
    pub inventory_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: 10,
            script_timeout: None,
            silence: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            inventory_timeout: Duration::from_secs(900),
        }
    }
}
