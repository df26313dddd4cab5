//! Requests and whole answers.

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};

use super::{Error, Url};
use crate::secret::Secret;

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        })
    }
}

/// A request. `Debug` shows its method and URL alone.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    headers: Vec<(&'static str, Secret)>,
    body: Vec<u8>,
    pub(super) repeatable: bool,
    pub(super) response_timeout: Option<Duration>,
    pub(super) limit: Option<u64>,
    pub(super) once: bool,
}

impl Request {
    /// GET, which may be repeated.
    pub fn get(url: Url) -> Self {
        Self {
            repeatable: true,
            ..Self::new(Method::Get, url)
        }
    }

    /// POST, not repeated once it may have been sent.
    pub fn post(url: Url, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new(Method::Post, url)
        }
        .with("content-type", &Secret::new(content_type))
    }

    /// PUT, which may be repeated.
    pub fn put(url: Url, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            repeatable: true,
            ..Self::new(Method::Put, url)
        }
        .with("content-type", &Secret::new(content_type))
    }

    /// Any method, without a body. Credentials in the URL are dropped: they belong in a header.
    pub fn new(method: Method, mut url: Url) -> Self {
        // Fails only for URLs without a host, which are refused when sent.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Vec::new(),
            repeatable: false,
            response_timeout: None,
            limit: None,
            once: false,
        }
    }

    /// Gives it a JSON document as its body.
    #[must_use]
    pub fn json(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("content-type", &Secret::new("application/json"))
    }

    /// Sets a header; an earlier one of that name goes.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &Secret) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.clone()));
        self
    }

    /// Says that carrying it out twice does no harm.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Makes a single attempt: for who wants to know how it went, not to have the answer.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Another time-out for the answer than the client's.
    #[must_use]
    pub fn answered_within(mut self, time: Duration) -> Self {
        self.response_timeout = Some(time);
        self
    }

    /// Another limit for the answer than the client's, in bytes.
    #[must_use]
    pub fn limited_to(mut self, bytes: u64) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// The URL as people may see it.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    pub(super) fn build(&self, client: &reqwest::Client) -> Result<reqwest::RequestBuilder, Error> {
        let method = match self.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = client.request(method, self.url.clone());
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_holds_a_secret| {
                Error::Setting(format!(
                    "{}: the value for the header `{name}` has characters that HTTP cannot carry",
                    self.shown()
                ))
            })?;
            value.set_sensitive(true);
            builder = builder.header(*name, value);
        }
        if self.method != Method::Get {
            builder = builder.body(self.body.clone());
        }
        Ok(builder)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {})", self.method, self.shown())
    }
}

/// A URL without credentials, query and fragment.
pub(super) fn shown(url: &Url) -> String {
    let authority = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => String::new(),
    };
    format!("{}://{authority}{}", url.scheme(), url.path())
}

/// A whole answer.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    pub(super) headers: HeaderMap,
    /// The body, within the limit.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text, undecodable bytes replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {} bytes)", self.status, self.body.len())
    }
}
