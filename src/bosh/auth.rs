//! Basic authentication, or UAA tokens that are kept until shortly before they expire.

use std::fmt;
use std::time::Instant;

use super::Error;
use super::types::Info;
use crate::http::token::{self, Token};
use crate::http::{Client, Url, Wait, excerpt, https_address, with_path};
use crate::secret::{Mask, Secret};

/// Credentials, and the token they last got.
pub(super) struct Auth {
    client: String,
    secret: Secret,
    token: token::Kept,
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
            token: token::Kept::default(),
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
        let url = &authentication.options.url;
        self.token
            .header(|| self.renewed(url, client, mask, wait))
            .map(Ticket::Token)
    }

    /// Drops the token that was refused.
    pub(super) fn forget(&self, refused: &Ticket) {
        self.token.forget(refused.header());
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
        let form = [("grant_type", "client_credentials")];
        let request = token::request(url, &form, &self.basic());
        let response = client
            .send(&request, wait)
            .map_err(|error| match Error::from(error) {
                Error::Http(error) => failed(error.to_string()),
                stopped => stopped,
            })?;
        if response.status != 200 {
            let body = excerpt(mask, &response.body);
            let status = response.status;
            let advice = match status {
                400 | 401 | 403 => "check the client and its secret",
                _ => "check that UAA runs at that address, and its log",
            };
            return Err(failed(format!("status {status}: {body}; {advice}")));
        }
        Token::read(&response.body, None, asked, mask).ok_or_else(|| {
            failed(
                "the answer holds no token; check that UAA itself answers there, not a proxy or \
                 load balancer"
                    .to_owned(),
            )
        })
    }

    fn basic(&self) -> Secret {
        token::basic(&self.client, self.secret.expose())
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({})", self.client)
    }
}

/// Where UAA gives tokens. Always HTTPS; a path in front is kept.
fn token_url(uaa: &str) -> Option<Url> {
    let url = https_address(uaa, &["https", "http"])?;
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
