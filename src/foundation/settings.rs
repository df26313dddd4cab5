//! How to reach a foundation, as plain validated values; `config` makes them.

use std::time::Duration;

use crate::secret::Secret;

/// How to reach what is backed up.
#[derive(Debug, Clone)]
pub struct Settings {
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
    /// Bounds.
    pub limits: Limits,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: 10,
            script_timeout: None,
            silence: Duration::from_secs(60),
        }
    }
}
