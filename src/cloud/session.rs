//! Authorized requests to one API: tokens renewed, rate limits waited for, outages bridged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Error;
use super::auth::{Auth, Credentials};
use super::gate::Gate;
use crate::clock::Clock;
use crate::http::{self, Client, Request, Response, Url, Wait, excerpt, https_address};
use crate::monitor::Monitor;
use crate::secret::Mask;

/// Pauses between rounds of an API that is not there: the HTTP client has tried five times
/// within each by then.
const PAUSES: [Duration; 4] = if cfg!(test) {
    [Duration::from_millis(5); 4]
} else {
    [
        Duration::from_secs(1),
        Duration::from_secs(3),
        Duration::from_secs(8),
        Duration::from_secs(20),
    ]
};
/// Tokens that are tried before a 401 is believed. Not two: on a busy worker a new one may be used
/// up or outlived before this thread's turn comes.
const TOKENS: u32 = 3;
/// The router's word for "nobody has registered this name": an API that restarts.
const NO_ROUTE: &str = "x-cf-routererror";

/// How to reach an API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://HOST`, with a port and a path where there are such.
    pub url: String,
    /// Who asks.
    pub credentials: Credentials,
    /// CA, proxy and time-outs, for the API and its UAA.
    pub http: http::Settings,
}

/// One API and who asks there.
pub struct Session {
    base: Url,
    name: String,
    uaa: Option<Url>,
    client: Client,
    auth: Auth,
    gate: Gate,
    mask: Arc<Mask>,
    monitor: Arc<dyn Monitor>,
    clock: Arc<dyn Clock>,
    requests: AtomicU64,
}

impl Session {
    /// Checks the settings; sends nothing.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(
        settings: Settings,
        monitor: Arc<dyn Monitor>,
        clock: Arc<dyn Clock>,
        mask: Arc<Mask>,
    ) -> Result<Self, Error> {
        let base = https_address(&settings.url, &["https"]).ok_or_else(|| {
            Error::Setting("the address of an API is not a URL of the form https://HOST".to_owned())
        })?;
        let host = base.host_str().unwrap_or_default();
        let name = match base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        settings.credentials.register(&mask);
        Ok(Self {
            base,
            name,
            uaa: None,
            client: Client::new(settings.http, Arc::clone(&monitor))?,
            auth: Auth::new(settings.credentials),
            gate: Gate::default(),
            mask,
            monitor,
            clock,
            requests: AtomicU64::new(0),
        })
    }

    /// Says which UAA gives tokens.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn log_in_at(&mut self, uaa: &str) -> Result<(), Error> {
        let url = https_address(uaa, &["https"]).ok_or_else(|| Error::NotOne {
            name: self.name.clone(),
            what: "an API that names its UAA",
        })?;
        self.uaa = Some(url);
        Ok(())
    }

    /// `host` or `host:port`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where tokens come from.
    pub fn uaa(&self) -> Option<&Url> {
        self.uaa.as_ref()
    }

    /// Requests made so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// A URL of this API; `path` may have a query.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let before = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{before}/{path}"));
        url.set_query(query);
        url
    }

    /// A link that the server gave, when it leads to this API.
    pub(super) fn own(&self, link: &str) -> Option<Url> {
        let url = Url::parse(link).ok()?;
        let same = url.scheme() == "https"
            && url.host_str() == self.base.host_str()
            && url.port_or_known_default() == self.base.port_or_known_default();
        same.then_some(url)
    }

    /// A document that everybody may read.
    pub(super) fn open_json<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
        wait: &Wait,
    ) -> Result<T, Error> {
        // An API that is not there at the beginning is told of at once.
        let request = Request::get(self.url(path));
        let response = self.judged(self.limited(&request, false, what, wait)?, what)?;
        self.read(&response, what)
    }

    pub(super) fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
        wait: &Wait,
    ) -> Result<T, Error> {
        self.json_at(self.url(path), what, wait)
    }

    pub(super) fn json_at<T: DeserializeOwned>(
        &self,
        url: Url,
        what: &str,
        wait: &Wait,
    ) -> Result<T, Error> {
        let response = self.bridged(&Request::get(url), what, wait)?;
        self.read(&response, what)
    }

    /// Asks until there is a lasting answer.
    fn bridged(&self, request: &Request, what: &str, wait: &Wait) -> Result<Response, Error> {
        let mut pauses = PAUSES.iter();
        loop {
            let outcome = self.limited(request, true, what, wait);
            let away = match &outcome {
                Ok(response) => is_away(response),
                // A page that broke off five times may come whole after a while.
                Err(Error::Http(http::Error::Lost { .. } | http::Error::Unreachable { .. })) => {
                    true
                }
                Err(_) => false,
            };
            match pauses.next() {
                Some(pause) if away && !wait.is_over() => wait.pause(*pause)?,
                _ => return self.judged(outcome?, what),
            }
        }
    }

    /// One answer that is no refusal for asking too often.
    fn limited(
        &self,
        request: &Request,
        authorized: bool,
        what: &str,
        wait: &Wait,
    ) -> Result<Response, Error> {
        loop {
            if let Err(left) = self.gate.pass(wait)? {
                return Err(Error::Limited {
                    name: self.name.clone(),
                    what: what.to_owned(),
                    seconds: left.as_secs() + 1,
                });
            }
            let response = self.sent(request, authorized, wait)?;
            if response.status != 429 {
                return Ok(response);
            }
            let time = self.gate.close(&response, self.clock.now());
            self.monitor.debug(&format!(
                "{}: rate limit reached, going on in {} s",
                self.name,
                time.as_secs() + 1
            ));
        }
    }

    fn sent(&self, request: &Request, authorized: bool, wait: &Wait) -> Result<Response, Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Some(uaa) = self.uaa.as_ref().filter(|_| authorized) else {
            return Ok(self.client.send(request, wait)?);
        };
        let mut tries = TOKENS;
        loop {
            let header = self.auth.header(uaa, &self.client, &self.mask, wait)?;
            let with_token = request.clone().with("authorization", &header);
            let response = self.client.send(&with_token, wait)?;
            tries -= 1;
            if response.status != 401 || tries == 0 {
                return Ok(response);
            }
            // It expired on the way, or the server's keys were changed.
            self.auth.forget(&header);
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn judged(&self, response: Response, what: &str) -> Result<Response, Error> {
        if response.status == 200 {
            return Ok(response);
        }
        let (name, what, status) = (self.name.clone(), what.to_owned(), response.status);
        let body = excerpt(&self.mask, &response.body);
        Err(match status {
            401 | 403 => Error::Denied {
                name,
                what,
                status,
                body,
            },
            404 if !is_away(&response) => Error::NotThere { name, what, body },
            _ => Error::Status {
                name,
                what,
                status,
                body,
            },
        })
    }

    fn read<T: DeserializeOwned>(&self, response: &Response, what: &str) -> Result<T, Error> {
        serde_json::from_slice(&response.body).map_err(|error| Error::Garbled {
            name: self.name.clone(),
            what: what.to_owned(),
            reason: format!("line {}, column {}", error.line(), error.column()),
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.name)
    }
}

/// Whether nobody is behind the address just now.
fn is_away(response: &Response) -> bool {
    matches!(response.status, 500 | 502..=504)
        || response.status == 404 && response.header(NO_ROUTE).is_some()
}
