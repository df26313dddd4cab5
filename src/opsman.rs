//! Ops Manager as an API: its states, its settings and credentials, the export and import of an
//! installation, Apply Changes.
//!
//! It knows nothing of backups, of BOSH or of SSH. Ops Manager does not bear two calls at a time:
//! every call takes the client by `&mut`, an export keeps it until it is read, so that a second
//! call cannot even be written. Several clients of one Ops Manager are their owners' concern.
//!
//! Tokens are kept and renewed, also in the middle of a long run; a locked Ops Manager is
//! unlocked where the passphrase is known. Mutating calls are never repeated once they may have
//! been carried out.

mod apply;
mod auth;
mod credential;
mod director;
mod error;
mod installation;
mod multipart;
mod products;
mod state;
#[cfg(test)]
mod tests;
mod types;
mod zip;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use apply::{ApplyChanges, Deploy, LogLines};
pub use credential::{CommandLine, Credential, pem};
pub use error::Error;
pub use installation::Export;
pub use state::{Availability, Info};
pub use types::{
    CertificateAuthority, DeployedCertificate, DeployedProduct, DirectorNetwork, Installation, Job,
    PendingChange, ProductChange, RunState, StagedProduct, StaticIps, Stemcell,
    StemcellAssociation, Subnet,
};
pub use zip::{Broken, Checked, Checker};

use crate::http::{self, Client, Method, Request, Response, Url, Wait, excerpt};
use crate::monitor::Monitor;
use crate::secret::{Mask, Secret};
use auth::Auth;

/// How to reach an Ops Manager.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// 443 unless said otherwise.
    pub port: u16,
    /// Who asks. Not needed to import.
    pub credentials: Credentials,
    /// Unlocks an Ops Manager that was rebooted.
    pub decryption_passphrase: Option<Secret>,
    /// CA, proxy and time-outs.
    pub http: http::Settings,
    /// The longest pause between two looks at something that takes long; the first are shorter.
    pub poll: Duration,
    /// How long a start (after a reboot, an unlocking or an import) may take.
    pub start_timeout: Duration,
}

impl Settings {
    /// The usual limits: a look every ten seconds, an hour for a start.
    pub fn new(
        host: impl Into<String>,
        port: u16,
        credentials: Credentials,
        http: http::Settings,
    ) -> Self {
        Self {
            host: host.into(),
            port,
            credentials,
            decryption_passphrase: None,
            http,
            poll: Duration::from_secs(10),
            start_timeout: Duration::from_secs(3600),
        }
    }
}

/// Who asks: one of two, never both.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// An internal or LDAP user.
    Password {
        /// Its name.
        username: String,
        /// Its password.
        password: Secret,
    },
    /// A UAA client; the only unattended way with SAML.
    Client {
        /// Its name.
        id: String,
        /// Its secret.
        secret: Secret,
    },
}

/// The pause after the first look at something that takes long; each further one is half as
/// long again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long Ops Manager may think about one answer.
const PATIENCE: Duration = Duration::from_secs(1800);

/// An Ops Manager.
pub struct OpsManager {
    base: Url,
    name: String,
    client: Client,
    auth: Auth,
    passphrase: Option<Secret>,
    monitor: Arc<dyn Monitor>,
    mask: Arc<Mask>,
    poll: Duration,
    start_timeout: Duration,
}

impl OpsManager {
    /// Checks the settings; sends nothing yet. Secrets that are learnt go to `mask`.
    ///
    /// # Errors
    /// When the host, the CA or the proxy cannot be used.
    pub fn new(
        settings: Settings,
        monitor: Arc<dyn Monitor>,
        mask: Arc<Mask>,
    ) -> Result<Self, Error> {
        let bracketed = match settings.host.contains(':') {
            true => format!("[{}]", settings.host),
            false => settings.host.clone(),
        };
        let name = match settings.port {
            443 => bracketed,
            port => format!("{bracketed}:{port}"),
        };
        let base = Url::parse(&format!("https://{name}/")).map_err(|_says_less| {
            Error::Setting(format!("{name} is not an address of an Ops Manager"))
        })?;
        let client = Client::new(
            http::Settings {
                response_timeout: PATIENCE.max(settings.http.response_timeout),
                ..settings.http
            },
            Arc::clone(&monitor),
        )
        .map_err(Error::Http)?;
        if let Some(passphrase) = &settings.decryption_passphrase {
            mask.add(passphrase.expose());
        }
        Ok(Self {
            base,
            name,
            client,
            auth: Auth::new(settings.credentials, &mask),
            passphrase: settings.decryption_passphrase,
            monitor,
            mask,
            poll: settings.poll,
            start_timeout: settings.start_timeout,
        })
    }

    /// `host` or `host:port`, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The decryption passphrase that it was given.
    pub fn passphrase(&self) -> Option<&Secret> {
        self.passphrase.as_ref()
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        url.set_path(path);
        url.set_query(query);
        url
    }

    /// An authorized GET of JSON.
    fn get<T: DeserializeOwned>(
        &mut self,
        path: &str,
        what: &str,
        wait: &Wait,
    ) -> Result<T, Error> {
        let response = self.call(Request::get(self.url(path)), what, wait)?;
        self.json(&response.body, what)
    }

    /// An authorized request with a JSON body.
    fn put_json(
        &mut self,
        method: Method,
        path: &str,
        body: &Value,
        what: &str,
        wait: &Wait,
    ) -> Result<Response, Error> {
        let request = Request::new(method, self.url(path)).json(body.to_string());
        self.call(request, what, wait)
    }

    /// An authorized request; any status but a success is an error.
    fn call(&mut self, request: Request, what: &str, wait: &Wait) -> Result<Response, Error> {
        let header = self.ticket(wait)?;
        let response = self
            .client
            .send(&request.clone().with("authorization", &header), wait)?;
        let response = match response.status {
            // Expired while it was used, or the server was restarted: nothing was done.
            401 => {
                self.auth.forget();
                let header = self.ticket(wait)?;
                self.client
                    .send(&request.with("authorization", &header), wait)?
            }
            _ => response,
        };
        self.judged(response, what)
    }

    /// Turns a refusal into its error.
    fn judged(&self, response: Response, what: &str) -> Result<Response, Error> {
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        Err(self.refusal(response.status, &response.body, what))
    }

    fn refusal(&self, status: u16, body: &[u8], what: &str) -> Error {
        let (ops_manager, what) = (self.name.clone(), what.to_owned());
        let body = self.excerpt(body);
        match status {
            401 | 403 => Error::Denied {
                ops_manager,
                what,
                status,
                body,
            },
            404 => Error::NotThere {
                ops_manager,
                what,
                body,
            },
            422 => Error::Refused {
                ops_manager,
                what,
                body,
            },
            _ => Error::Status {
                ops_manager,
                what,
                status,
                body,
            },
        }
    }

    fn json<T: DeserializeOwned>(&self, body: &[u8], what: &str) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| Error::Garbled {
            ops_manager: self.name.clone(),
            what: what.to_owned(),
            // Not serde's own words: they may quote a secret.
            reason: format!("line {}, column {}", error.line(), error.column()),
        })
    }

    /// An answer's beginning on one line, without secrets.
    fn excerpt(&self, body: &[u8]) -> String {
        excerpt(&self.mask, body)
    }
}

impl fmt::Debug for OpsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpsManager({})", self.name)
    }
}
