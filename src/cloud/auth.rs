//! As whom UAA is asked for tokens.

use std::fmt;
use std::time::Instant;

use super::Error;
use crate::http::token::{self, Token};
use crate::http::{Client, Request, Url, Wait, excerpt, with_path};
use crate::secret::{Mask, Secret};

/// Who asks.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A UAA client of its own.
    Client {
        /// Its name.
        id: String,
        /// Its secret.
        secret: Secret,
    },
    /// A user, through a client.
    User {
        /// Its name.
        username: String,
        /// Its password.
        password: Secret,
        /// The client that asks for it: `cf`, which has no secret, for TAS.
        client: String,
        /// That client's secret; mostly empty.
        client_secret: Secret,
    },
}

impl Credentials {
    /// A user as `cf login` takes it.
    pub fn user(username: impl Into<String>, password: Secret) -> Self {
        Self::User {
            username: username.into(),
            password,
            client: "cf".into(),
            client_secret: Secret::new(""),
        }
    }

    /// The client's or user's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Client { id, .. } => id,
            Self::User { username, .. } => username,
        }
    }

    pub(super) fn register(&self, mask: &Mask) {
        match self {
            Self::Client { secret, .. } => mask.add(secret.expose()),
            Self::User {
                password,
                client_secret,
                ..
            } => {
                mask.add(password.expose());
                mask.add(client_secret.expose());
            }
        }
    }

    /// A request for a token.
    fn request(&self, url: Url) -> Request {
        match self {
            Self::Client { id, secret } => token::request(
                url,
                &[("grant_type", "client_credentials")],
                &token::basic(id, secret.expose()),
            ),
            Self::User {
                username,
                password,
                client,
                client_secret,
            } => token::request(
                url,
                &[
                    ("grant_type", "password"),
                    ("username", username),
                    ("password", password.expose()),
                ],
                &token::basic(client, client_secret.expose()),
            ),
        }
    }
}

/// Credentials, and the token they last got.
pub(super) struct Auth {
    credentials: Credentials,
    token: token::Kept,
}

impl Auth {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            token: token::Kept::default(),
        }
    }

    /// The header for a request.
    pub(super) fn header(
        &self,
        uaa: &Url,
        client: &Client,
        mask: &Mask,
        wait: &Wait,
    ) -> Result<Secret, Error> {
        self.token.header(|| self.renewed(uaa, client, mask, wait))
    }

    /// Drops the token that was refused.
    pub(super) fn forget(&self, refused: &Secret) {
        self.token.forget(refused);
    }

    fn renewed(
        &self,
        uaa: &Url,
        client: &Client,
        mask: &Mask,
        wait: &Wait,
    ) -> Result<Token, Error> {
        let url = with_path(uaa.clone(), &["oauth", "token"]);
        let request = self.credentials.request(url);
        let failed = |reason: String| Error::Uaa {
            who: self.credentials.name().to_owned(),
            url: request.shown(),
            reason,
        };
        let asked = Instant::now();
        let response = client
            .send(&request, wait)
            .map_err(|error| match Error::from(error) {
                Error::Http(error) => failed(error.to_string()),
                other => other,
            })?;
        if response.status != 200 {
            let (status, body) = (response.status, excerpt(mask, &response.body));
            let advice = match status {
                400 | 401 | 403 => "check the name and its password or secret",
                _ => "check that UAA runs at that address, and its log",
            };
            return Err(failed(format!("status {status}: {body}; {advice}")));
        }
        Token::read(&response.body, None, asked, mask).ok_or_else(|| {
            failed("the answer holds no token; check that UAA itself answers there".to_owned())
        })
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({})", self.credentials.name())
    }
}
