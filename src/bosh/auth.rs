//! Basic authentication, or UAA tokens that are kept until shortly before they expire.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::types::Info;
use super::{Error, excerpt, with_path};
use crate::http::{Client, Request, Url, Wait};
use crate::secret::{Mask, Secret};

/// A token is renewed this long before it expires, or at a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);

/// Credentials, and the token they last got.
pub(super) struct Auth {
    client: String,
    secret: Secret,
    token: Mutex<Option<Token>>,
}

struct Token {
    header: Secret,
    renew: Option<Instant>,
}

/// What one request is sent with.
pub(super) enum Ticket {
    Basic(Secret),
    Token(Secret),
}

impl Ticket {
    pub(super) fn header(&self) -> &Secret {
        match self {
            Self::Basic(header) | Self::Token(header) => header,
        }
    }

    pub(super) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }
}

impl Auth {
    pub(super) fn new(client: String, secret: Secret) -> Self {
        Self {
            client,
            secret,
            token: Mutex::default(),
        }
    }

    /// The header for a request to the Director; asks UAA when there is no usable token. One
    /// thread asks, the others wait for what it gets.
    pub(super) fn ticket(
        &self,
        info: &Info,
        client: &Client,
        mask: &Mask,
        wait: &Wait,
    ) -> Result<Ticket, Error> {
        let authentication = &info.user_authentication;
        if authentication.kind != "uaa" {
            return Ok(Ticket::Basic(self.basic()));
        }
        let mut kept = self.lock();
        let usable = kept
            .as_ref()
            .filter(|token| token.renew.is_none_or(|renew| Instant::now() < renew));
        if let Some(token) = usable {
            return Ok(Ticket::Token(token.header.clone()));
        }
        let token = self.renewed(&authentication.options.url, client, mask, wait)?;
        let header = token.header.clone();
        *kept = Some(token);
        Ok(Ticket::Token(header))
    }

    /// Drops the token that was refused, unless another thread has already replaced it.
    pub(super) fn forget(&self, refused: &Ticket) {
        let mut kept = self.lock();
        if kept
            .as_ref()
            .is_some_and(|token| token.header == *refused.header())
        {
            *kept = None;
        }
    }

    fn renewed(
        &self,
        url: &str,
        client: &Client,
        mask: &Mask,
        wait: &Wait,
    ) -> Result<Token, Error> {
        let failed = |reason: String| Error::Uaa {
            client: self.client.clone(),
            url: shown(url),
            reason,
        };
        let url = token_url(url).ok_or_else(|| {
            failed("the Director names no valid URL of its UAA; check its /info".to_owned())
        })?;
        let asked = Instant::now();
        let form = "application/x-www-form-urlencoded";
        let request = Request::post(url, form, "grant_type=client_credentials")
            .with("accept", &Secret::new("application/json"))
            .with("authorization", &self.basic())
            .repeatable();
        let response = client
            .send(&request, wait)
            .map_err(|error| match Error::from(error) {
                Error::Http(error) => failed(error.to_string()),
                stopped => stopped,
            })?;
        if response.status != 200 {
            let body = excerpt(mask, &response.text());
            let status = response.status;
            let advice = match status {
                400 | 401 | 403 => "check the client and its secret",
                _ => "check that UAA runs at that address, and its log",
            };
            return Err(failed(format!("status {status}: {body}; {advice}")));
        }
        let grant: Grant = serde_json::from_slice(&response.body)
            // The body may hold a token: neither it nor serde's excerpt is shown.
            .map_err(|_may_show_the_token| {
                failed(
                "the answer holds no token; check that UAA itself answers there, not a proxy or \
                 load balancer"
                    .to_owned(),
            )
            })?;
        mask.add(&grant.access_token);
        // A lifetime too long to add is no limit.
        let life = Duration::from_secs(grant.expires_in.unwrap_or(u64::MAX));
        let margin = MARGIN.min(life / 10);
        Ok(Token {
            header: Secret::new(format!("{} {}", grant.token_type, grant.access_token)),
            renew: asked.checked_add(life.saturating_sub(margin)),
        })
    }

    fn basic(&self) -> Secret {
        let pair = Secret::new(format!("{}:{}", self.client, self.secret.expose()));
        Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({})", self.client)
    }
}

#[derive(Deserialize)]
struct Grant {
    token_type: String,
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Where UAA gives tokens. Always HTTPS; a path in front is kept.
fn token_url(uaa: &str) -> Option<Url> {
    let rest = match uaa.trim().split_once("://") {
        Some((scheme, rest)) if ["https", "http"].contains(&scheme) => rest,
        Some(_) => return None,
        None => uaa.trim(),
    };
    // Not for the URL parser, which would take `https:///x` for host `x`.
    if rest.is_empty() || rest.starts_with(['/', ':', '?', '#']) {
        return None;
    }
    let mut url = Url::parse(&format!("https://{rest}")).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(with_path(url, &["oauth", "token"]))
}

fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None if url.is_empty() => "(no URL)".to_owned(),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_front_of_uaa_is_kept_and_nonsense_is_refused() {
        for (uaa, token) in [
            ("https://10.0.0.6:8443", "https://10.0.0.6:8443/oauth/token"),
            (
                "https://10.0.0.6:8443/",
                "https://10.0.0.6:8443/oauth/token",
            ),
            (
                "https://uaa.example/zone/a",
                "https://uaa.example/zone/a/oauth/token",
            ),
            ("http://uaa.example", "https://uaa.example/oauth/token"),
            ("[fd00::6]:8443", "https://[fd00::6]:8443/oauth/token"),
        ] {
            assert_eq!(token_url(uaa).unwrap().as_str(), token);
        }
        for uaa in [
            "",
            " ",
            "https://",
            "https:///x",
            "ftp://uaa",
            "https://:8443",
            "https://u:p@h",
        ] {
            assert!(token_url(uaa).is_none(), "{uaa}");
        }
    }
}
