//! What can go wrong, in one sentence with what to do.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

use super::Request;
use crate::shutdown::Stopped;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used; nothing was sent.
    #[error("{0}")]
    Setting(String),
    /// No connection; nothing was sent.
    #[error("{url} cannot be reached: {cause}")]
    Unreachable {
        /// Without credentials and query.
        url: String,
        /// Why, and what to do.
        cause: Cause,
    },
    /// The request may have been carried out, its answer did not come.
    #[error("{url} gave no complete answer: {cause}")]
    Lost {
        /// Without credentials and query.
        url: String,
        /// Why, and what to do.
        cause: Cause,
    },
    /// The answer is longer than the limit.
    #[error(
        "{url} answered more than {limit} bytes, which no proper answer has; check the address"
    )]
    TooLong {
        /// Without credentials and query.
        url: String,
        /// In bytes.
        limit: u64,
    },
    /// What was to be sent could not be read; the server has only a part of it.
    #[error("{url} was not sent all: {source}")]
    Source {
        /// Without credentials and query.
        url: String,
        /// Of the reader.
        source: io::Error,
    },
    /// The wait's deadline passed.
    #[error("{url} was given up: the time set for this work is over")]
    Deadline {
        /// Without credentials and query.
        url: String,
    },
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Error {
    /// Whether the server cannot have carried out the request.
    pub fn nothing_was_sent(&self) -> bool {
        matches!(self, Self::Setting(_) | Self::Unreachable { .. })
    }

    /// Whether another attempt may succeed and does no harm.
    pub(super) fn worth_repeating(&self, repeatable: bool) -> bool {
        match self {
            Self::Unreachable { cause, .. } => !cause.is_lasting(),
            Self::Lost { .. } => repeatable,
            Self::Setting(_)
            | Self::TooLong { .. }
            | Self::Source { .. }
            | Self::Deadline { .. }
            | Self::Stopped(_) => false,
        }
    }
}

/// Why a connection failed, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No server at that port.
    Refused,
    /// The name has no address.
    UnknownName,
    /// No route, or nobody answers.
    NoRoute,
    /// No connection within the limit.
    ConnectTimeout,
    /// The certificate comes from another CA.
    UnknownCa {
        /// Whether a CA of the caller's was in use.
        own_ca: bool,
    },
    /// The certificate is for other names.
    WrongName,
    /// The certificate has run out, or the clock is wrong.
    Expired,
    /// No TLS version or cipher in common.
    TlsVersion,
    /// What answers does not speak TLS.
    NotTls,
    /// The server wants a client certificate or refuses for a reason of its own.
    TlsOther(String),
    /// The proxy refused.
    Proxy(String),
    /// The forwarder has no way.
    Forward(String),
    /// Nothing came for that long.
    Silent(Duration),
    /// The connection ended in the middle.
    BrokenOff(String),
}

impl Cause {
    /// Whether the next attempt would fail alike.
    fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::UnknownCa { .. }
                | Self::WrongName
                | Self::Expired
                | Self::TlsVersion
                | Self::NotTls
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str(
                "the connection was refused; check host and port, and that the server runs",
            ),
            Self::UnknownName => f.write_str("the host name has no address; check it, and the DNS"),
            Self::NoRoute => f.write_str(
                "the network has no way there; check routes, firewalls, and whether a jumpbox or \
                 proxy is needed",
            ),
            Self::ConnectTimeout => f.write_str(
                "no connection in time; check the address, firewalls, and whether a jumpbox or \
                 proxy is needed",
            ),
            Self::UnknownCa { own_ca: true } => f.write_str(
                "its certificate was not issued by the given CA; give the CA that issued it as ca_cert",
            ),
            Self::UnknownCa { own_ca: false } => f.write_str(
                "its certificate was not issued by a CA of this system; give its CA as ca_cert",
            ),
            Self::WrongName => f.write_str(
                "its certificate is for another name; use the name or address that the \
                 certificate was issued for",
            ),
            Self::Expired => f.write_str(
                "its certificate is not valid at this time; renew it, or set this machine's clock",
            ),
            Self::TlsVersion => f.write_str(
                "no TLS version or cipher in common; the server must offer TLS 1.2 or 1.3",
            ),
            Self::NotTls => f.write_str("what answers there does not speak TLS; check the port"),
            Self::TlsOther(text) => write!(f, "the TLS handshake failed ({text})"),
            Self::Proxy(text) => {
                write!(
                    f,
                    "the proxy gave no connection ({text}); check all_proxy, its address \
                     and its rules"
                )
            }
            Self::Forward(text) => write!(f, "the tunnel gave no connection ({text})"),
            Self::Silent(time) => write!(
                f,
                "nothing came for {:.0} s; check the server's health and load",
                time.as_secs_f64().max(1.0)
            ),
            Self::BrokenOff(text) => write!(f, "the connection ended early ({text})"),
        }
    }
}

/// Sorts an error of sending a request.
pub(super) fn of_request(request: &Request, error: reqwest::Error, own_ca: bool) -> Error {
    let error = error.without_url();
    let url = request.shown();
    if error.is_builder() {
        return Error::Setting(format!("{url}: {}", chain(&error)));
    }
    if error.is_connect() {
        let cause = of_connection(&error, own_ca);
        return Error::Unreachable { url, cause };
    }
    Error::Lost {
        url,
        cause: broken_off(&error),
    }
}

/// The cause of an answer that broke off.
pub(super) fn broken_off(error: &reqwest::Error) -> Cause {
    Cause::BrokenOff(innermost(error))
}

fn of_connection(error: &reqwest::Error, own_ca: bool) -> Cause {
    let text = chain(error);
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if error.is_timeout() {
        return Cause::ConnectTimeout;
    }
    // rustls reaches us only as text, since reqwest keeps its types to itself.
    if has(&[
        "UnknownIssuer",
        "BadSignature",
        "CaUsedAsEndEntity",
        "UnsupportedCertVersion",
    ]) {
        return Cause::UnknownCa { own_ca };
    }
    if has(&["NotValidForName", "not valid for name"]) {
        return Cause::WrongName;
    }
    if has(&[
        "Expired",
        "NotValidYet",
        "certificate expired",
        "not valid yet",
    ]) {
        return Cause::Expired;
    }
    if has(&[
        "peer is incompatible",
        "ProtocolVersion",
        "HandshakeFailure",
    ]) {
        return Cause::TlsVersion;
    }
    if has(&["InvalidContentType", "corrupt message"]) {
        return Cause::NotTls;
    }
    if has(&["socks", "SOCKS", "tunnel", "proxy"]) {
        return Cause::Proxy(of_proxy(innermost(error)));
    }
    if error.is_dns() || has(&["dns error", "failed to lookup address"]) {
        return Cause::UnknownName;
    }
    match io_kind(error) {
        Some(io::ErrorKind::ConnectionRefused) => Cause::Refused,
        Some(io::ErrorKind::TimedOut) => Cause::ConnectTimeout,
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => Cause::NoRoute,
        _ if has(&[
            "received fatal alert",
            "invalid peer certificate",
            "handshake",
        ]) =>
        {
            Cause::TlsOther(innermost(error))
        }
        _ => Cause::BrokenOff(innermost(error)),
    }
}

/// A proxy's client names its own steps where people need to know what is wrong.
fn of_proxy(said: String) -> String {
    if said.contains("underlying connection") {
        return "nothing listens there, or its name has no address".to_owned();
    }
    if said.contains("parsing server response") {
        return "what answers there is no SOCKS5 proxy".to_owned();
    }
    said
}

fn links<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let link = next?;
        next = link.source();
        Some(link)
    })
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    links(error)
        .filter_map(|link| link.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .last()
}

fn innermost(error: &reqwest::Error) -> String {
    links(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// An error and its sources on one line.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for link in links(error) {
        let separator = if text.is_empty() { "" } else { ": " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{link}");
    }
    text
}
