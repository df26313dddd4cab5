//! Tokens of Ops Manager's UAA, kept until shortly before they expire.

use std::time::Instant;

use super::{Credentials, Error, OpsManager};
use crate::http::token::{self, Token};
use crate::http::{Request, Url, Wait};
use crate::secret::{Mask, Secret};

/// Credentials, and the token they last got.
pub(super) struct Auth {
    credentials: Credentials,
    token: token::Kept,
}

impl Auth {
    pub(super) fn new(credentials: Credentials, mask: &Mask) -> Self {
        let (Credentials::Password {
            password: secret, ..
        }
        | Credentials::Client { secret, .. }) = &credentials;
        mask.add(secret.expose());
        Self {
            credentials,
            token: token::Kept::default(),
        }
    }

    /// Drops a token that was refused.
    pub(super) fn forget(&mut self) {
        self.token = token::Kept::default();
    }

    fn who(&self) -> String {
        match &self.credentials {
            Credentials::Password { username, .. } => format!("user {username}"),
            Credentials::Client { id, .. } => format!("client {id}"),
        }
    }

    fn request(&self, url: Url) -> Request {
        match &self.credentials {
            Credentials::Password { username, password } => token::request(
                url,
                &[
                    ("grant_type", "password"),
                    ("username", username),
                    ("password", password.expose()),
                    ("client_id", "opsman"),
                    ("token_format", "jwt"),
                ],
                &token::basic("opsman", ""),
            ),
            Credentials::Client { id, secret } => token::request(
                url,
                &[
                    ("grant_type", "client_credentials"),
                    ("token_format", "jwt"),
                ],
                &token::basic(id, secret.expose()),
            ),
        }
    }
}

impl OpsManager {
    /// The header for a request; asks UAA when there is no usable token. Where Ops Manager turns
    /// out to be locked, unlocks it first, if it knows how.
    pub(super) fn ticket(&mut self, wait: &Wait) -> Result<Secret, Error> {
        if let Some(header) = self.auth.token.usable() {
            return Ok(header);
        }
        let refused = match self.grant(wait) {
            Err(error @ (Error::NoToken { .. } | Error::Http(_))) => error,
            other => return other,
        };
        // A locked one has no UAA that could say so.
        if !self.info(wait).is_ok_and(|info| info.locked == Some(true)) {
            return Err(refused);
        }
        self.unlock_if_known(wait)?;
        self.grant(wait)
    }

    fn grant(&mut self, wait: &Wait) -> Result<Secret, Error> {
        let failed = |reason: String| Error::NoToken {
            ops_manager: self.name.clone(),
            who: self.auth.who(),
            reason,
        };
        let asked = Instant::now();
        let request = self.auth.request(self.url("/uaa/oauth/token"));
        let response = self.client.send(&request, wait)?;
        if response.status != 200 {
            let advice = match response.status {
                400 | 401 | 403 => {
                    "check the user and its password, or the client and its secret; with SAML only \
                     a client can log in"
                }
                404 => "check that the address is an Ops Manager's",
                _ => "check that it is up and unlocked",
            };
            return Err(failed(format!(
                "status {}: {}; {advice}",
                response.status,
                self.excerpt(&response.body)
            )));
        }
        let token =
            Token::read(&response.body, Some("Bearer"), asked, &self.mask).ok_or_else(|| {
                failed(
                    "the answer holds no token; check that the address leads to Ops Manager itself"
                        .to_owned(),
                )
            })?;
        Ok(self.auth.token.keep(token))
    }
}
