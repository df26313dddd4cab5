//! The one HTTPS client: own CA or the system's roots, proxies, time-outs, retries, one
//! sentence per error.
//!
//! It knows nothing of who calls it. Statuses are answers, not errors; redirects are the
//! caller's. A [`Client`] blocks its caller and is used from several threads at once (never
//! from within async code). Every wait ends soon after its [`Wait`] does.
//!
//! Who repeats: an attempt that failed before the request was sent is made again, up to
//! [`ATTEMPTS`] times, whatever the method. One that failed later, or was answered 502, 503
//! or 504, only when the request is repeatable: GET is, anything else when the caller says so.

mod error;
mod forward;
mod request;
mod shown;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod token;
mod upload;
mod wait;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use error::{Cause, Error};
pub use forward::Forwarder;
pub use request::{Method, Request, Response};
pub use reqwest::Url;
pub use shown::{excerpt, https_address, with_path};
pub use stream::Stream;
pub use wait::Wait;

use crate::monitor::Monitor;
use crate::secret::Secret;
use forward::Passage;

/// How often a request is tried at most, as `bbr` does.
pub const ATTEMPTS: usize = 5;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });

/// Kept shorter than any server's own limit (nginx: 75 s, Tomcat: 20 s), so that a request is
/// hardly ever sent into a connection that the server is about to close.
const IDLE: Duration = Duration::from_secs(8);

/// How to reach servers.
#[derive(Clone)]
pub struct Settings {
    /// PEM certificates that replace the system's roots.
    pub ca_cert: Option<String>,
    /// Whether servers are believed without a certificate that proves them. Only for who was
    /// told so by the operator.
    pub skip_validation: bool,
    /// The way to the servers.
    pub proxy: Proxy,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long a server may stay silent, before its answer and within it.
    pub response_timeout: Duration,
    /// The longest answer in bytes that [`Client::send`] keeps.
    pub body_limit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ca_cert: None,
            skip_validation: false,
            proxy: Proxy::Direct,
            connect_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(60),
            body_limit: 64 * 1024 * 1024,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("own_ca", &self.ca_cert.is_some())
            .field("skip_validation", &self.skip_validation)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// The way to the servers.
#[derive(Clone, Debug, Default)]
pub enum Proxy {
    /// None.
    #[default]
    Direct,
    /// `socks5://`, `http://` or `https://`, maybe with credentials.
    Server {
        /// Its URL.
        url: Secret,
        /// Hosts reached directly, in the form of `NO_PROXY`.
        except: String,
    },
    /// Loopback addresses that lead to the servers, say through a jumpbox.
    Forwarder(Arc<dyn Forwarder>),
}

/// The client.
pub struct Client {
    settings: Settings,
    monitor: Arc<dyn Monitor>,
    /// `None` only while it is dropped.
    runtime: Option<Arc<tokio::runtime::Runtime>>,
    direct: reqwest::Client,
    /// Behind a forwarder each server has a client of its own, since each has a door of its own.
    behind: Mutex<HashMap<(String, u16), Behind>>,
}

type Behind = (reqwest::Client, Arc<Passage>);

impl Client {
    /// A client that reports each request to `monitor` at debug level. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] when the CA or the proxy cannot be used.
    pub fn new(settings: Settings, monitor: Arc<dyn Monitor>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|error| Error::Setting(format!("no thread for HTTP: {error}")))?;
        let direct = build(&settings, None)?;
        Ok(Self {
            settings,
            monitor,
            runtime: Some(Arc::new(runtime)),
            direct,
            behind: Mutex::default(),
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When no answer came, or one longer than the limit, or the wait ended. No status is one.
    pub fn send(&self, request: &Request, wait: &Wait) -> Result<Response, Error> {
        let limit = request.limit.unwrap_or(self.settings.body_limit);
        self.attempts(request, wait, |answer| async move {
            let status = answer.status().as_u16();
            let headers = answer.headers().clone();
            let body = stream::whole(request, answer, limit, self.silence(request)).await?;
            Ok(Response {
                status,
                headers,
                body,
            })
        })
    }

    /// Sends a request and hands out the answer while it comes. What fails after the answer
    /// began is not repeated.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn open(&self, request: &Request, wait: &Wait) -> Result<Stream, Error> {
        let silence = self.silence(request);
        let answer = self.attempts(request, wait, |answer| async move { Ok(answer) })?;
        Ok(Stream::new(
            request,
            answer,
            Arc::clone(self.runtime()),
            wait.clone(),
            silence,
        ))
    }

    /// Tries until there is an answer worth returning; `finish` reads what the caller wants.
    fn attempts<T, F, R>(&self, request: &Request, wait: &Wait, finish: F) -> Result<T, Error>
    where
        F: Fn(reqwest::Response) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (client, passage) = self.route(&request.url)?;
        let mut lost = None;
        for attempt in 1.. {
            let began = Instant::now();
            let outcome = self.runtime().block_on(wait.end(request, async {
                let answer = self.attempt(&client, request).await?;
                let status = answer.status().as_u16();
                Ok((status, finish(answer).await?))
            }));
            let outcome = outcome.map_err(|error| explained(error, passage.as_deref()));
            self.note(request, began, &outcome);
            let again = match &outcome {
                Ok((502..=504, _)) => request.repeatable,
                Ok(_) => false,
                Err(error) => error.worth_repeating(request.repeatable),
            };
            if !again || request.once || attempt == ATTEMPTS {
                return match outcome {
                    Ok((_, answer)) => Ok(answer),
                    // Nothing was sent by this attempt, but maybe by an earlier one.
                    Err(error) if error.nothing_was_sent() => Err(lost.unwrap_or(error)),
                    Err(error) => Err(error),
                };
            }
            lost = lost.or(outcome.err().filter(|error| !error.nothing_was_sent()));
            wait.pause(PAUSE)?;
        }
        unreachable!("the last attempt returns")
    }

    async fn attempt(
        &self,
        client: &reqwest::Client,
        request: &Request,
    ) -> Result<reqwest::Response, Error> {
        let silence = self.silence(request);
        let sending = request.build(client)?.send();
        match tokio::time::timeout(silence, sending).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let own_ca = self.settings.ca_cert.is_some();
                Err(error::of_request(request, error, own_ca))
            }
            Err(_elapsed) => Err(Error::Lost {
                url: request.shown(),
                cause: Cause::Silent(silence),
            }),
        }
    }

    fn route(&self, url: &Url) -> Result<(reqwest::Client, Option<Arc<Passage>>), Error> {
        let shown = request::shown(url);
        if url.scheme() != "https" {
            return Err(Error::Setting(format!("{shown} is not an https:// URL")));
        }
        let host = url
            .host_str()
            .ok_or_else(|| Error::Setting(format!("{shown} has no host")))?;
        match &self.settings.proxy {
            Proxy::Direct => Ok((self.direct.clone(), None)),
            // reqwest 0.13 checks the certificate for `[…]`, brackets included, behind a proxy.
            Proxy::Server { except, .. } if host.starts_with('[') && !excepted(except, host) => {
                Err(Error::Setting(format!(
                    "{shown}: an IPv6 address cannot be reached through a proxy; use a host name, \
                     or list the address in NO_PROXY"
                )))
            }
            Proxy::Server { .. } => Ok((self.direct.clone(), None)),
            Proxy::Forwarder(forwarder) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let port = url.port_or_known_default().unwrap_or(443);
                let key = (bare.to_owned(), port);
                let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((client, passage)) = behind.get(&key) {
                    return Ok((client.clone(), Some(Arc::clone(passage))));
                }
                let passage =
                    Passage::open(Arc::clone(forwarder), bare, port).map_err(|error| {
                        Error::Setting(format!("{shown}: no local socket for the tunnel: {error}"))
                    })?;
                let client = build(&self.settings, Some(&passage))?;
                let passage = Arc::new(passage);
                behind.insert(key, (client.clone(), Arc::clone(&passage)));
                Ok((client, Some(passage)))
            }
        }
    }

    fn silence(&self, request: &Request) -> Duration {
        request
            .response_timeout
            .unwrap_or(self.settings.response_timeout)
    }

    fn note<T>(&self, request: &Request, began: Instant, outcome: &Result<(u16, T), Error>) {
        let took = began.elapsed().as_millis();
        let (method, url) = (request.method, request.shown());
        self.monitor.debug(&match outcome {
            Ok((status, _)) => format!("{method} {url}: {status} after {took} ms"),
            Err(error) => format!("{method} failed after {took} ms: {error}"),
        });
    }

    fn runtime(&self) -> &Arc<tokio::runtime::Runtime> {
        self.runtime
            .as_ref()
            .expect("only dropping takes the runtime")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A name resolution that hangs must not hold up the end of the program.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn build(settings: &Settings, passage: Option<&Passage>) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("lifeboat/", env!("CARGO_PKG_VERSION")))
        .https_only(true)
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE)
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_nodelay(true);
    if let Some(pem) = &settings.ca_cert {
        builder = builder.tls_certs_only(certificates(pem)?);
    }
    if settings.skip_validation {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Proxy::Server { url, except } = &settings.proxy
        && !except.split(',').any(|entry| entry.trim() == "*")
    {
        builder = builder.proxy(proxy(url, except)?);
    }
    if let Some(passage) = passage {
        builder = builder.unix_socket(passage.path());
    }
    builder.build().map_err(|error| {
        let what = match settings.ca_cert {
            Some(_) => "the CA certificate cannot be used",
            None => "the system's CA certificates cannot be used; give a ca_cert",
        };
        Error::Setting(format!("{what} ({})", error::chain(&error)))
    })
}

fn certificates(pem: &str) -> Result<Vec<reqwest::Certificate>, Error> {
    let found = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
    if found.is_empty() || found.len() != pem.matches("-----BEGIN ").count() {
        return Err(Error::Setting(
            "the CA certificate is not PEM: expected one or more whole blocks from \
             `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----` and nothing else"
                .to_owned(),
        ));
    }
    Ok(found)
}

fn proxy(url: &Secret, except: &str) -> Result<reqwest::Proxy, Error> {
    let text = url.expose();
    // As every BOSH tool understands it: names are resolved at the proxy's end.
    let text = match text.strip_prefix("socks5://") {
        Some(rest) => format!("socks5h://{rest}"),
        None if ["http://", "https://", "socks5h://"]
            .iter()
            .any(|scheme| text.starts_with(scheme)) =>
        {
            text.to_owned()
        }
        None => return Err(bad_proxy()),
    };
    let proxy = reqwest::Proxy::https(text).map_err(|_without_the_url| bad_proxy())?;
    Ok(proxy.no_proxy(reqwest::NoProxy::from_string(except)))
}

fn excepted(except: &str, host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut entries = except.split(',').map(str::trim);
    entries.any(|entry| entry == "*" || entry == bare)
}

fn bad_proxy() -> Error {
    Error::Setting(
        "the proxy is not a URL of the form socks5://HOST:PORT, http://HOST:PORT or \
         https://HOST:PORT"
            .to_owned(),
    )
}

/// Puts what went wrong behind the door in place of the hang-up that the client saw.
fn explained(error: Error, passage: Option<&Passage>) -> Error {
    match (error, passage.and_then(Passage::take_error)) {
        (Error::Unreachable { url, .. }, Some(reason)) => Error::Unreachable {
            url,
            cause: Cause::Forward(reason),
        },
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod upload_tests;
#[cfg(test)]
mod way_tests;
