//! Tokens of Ops Manager's UAA, kept until shortly before they expire.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credentials, Error, OpsManager};
use crate::http::{Request, Url, Wait};
use crate::secret::{Mask, Secret};

/// A token is renewed this long before it expires, or at a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);

/// Credentials, and the token they last got.
pub(super) struct Auth {
    credentials: Credentials,
    token: Option<Token>,
}

struct Token {
    header: Secret,
    renew: Option<Instant>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
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
            token: None,
        }
    }

    /// Drops a token that was refused.
    pub(super) fn forget(&mut self) {
        self.token = None;
    }

    fn usable(&self) -> Option<Secret> {
        let token = self.token.as_ref()?;
        token
            .renew
            .is_none_or(|renew| Instant::now() < renew)
            .then(|| token.header.clone())
    }

    fn who(&self) -> String {
        match &self.credentials {
            Credentials::Password { username, .. } => format!("user {username}"),
            Credentials::Client { id, .. } => format!("client {id}"),
        }
    }

    fn request(&self, mut url: Url) -> Request {
        let (basic, form) = match &self.credentials {
            Credentials::Password { username, password } => (
                "opsman:".to_owned(),
                vec![
                    ("grant_type", "password"),
                    ("username", username.as_str()),
                    ("password", password.expose()),
                    ("client_id", "opsman"),
                    ("token_format", "jwt"),
                ],
            ),
            Credentials::Client { id, secret } => (
                format!("{id}:{}", secret.expose()),
                vec![
                    ("grant_type", "client_credentials"),
                    ("token_format", "jwt"),
                ],
            ),
        };
        let basic = Secret::new(basic);
        let header = Secret::new(format!("Basic {}", STANDARD.encode(basic.expose())));
        // The URL's own encoder, so that nothing in a password can end its field.
        url.query_pairs_mut().clear().extend_pairs(form);
        let body = Secret::new(url.query().unwrap_or_default());
        url.set_query(None);
        Request::post(url, "application/x-www-form-urlencoded", body.expose())
            .with("accept", &Secret::new("application/json"))
            .with("authorization", &header)
            .repeatable()
    }
}

impl OpsManager {
    /// The header for a request; asks UAA when there is no usable token. Where Ops Manager turns
    /// out to be locked, unlocks it first, if it knows how.
    pub(super) fn ticket(&mut self, wait: &Wait) -> Result<Secret, Error> {
        if let Some(header) = self.auth.usable() {
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
        let grant: Grant =
            serde_json::from_slice(&response.body).map_err(|_may_show_the_token| {
                failed(
                    "the answer holds no token; check that the address leads to Ops Manager itself"
                        .to_owned(),
                )
            })?;
        self.mask.add(&grant.access_token);
        let life = Duration::from_secs(grant.expires_in.unwrap_or(u64::MAX));
        let margin = MARGIN.min(life / 10);
        let header = Secret::new(format!("Bearer {}", grant.access_token));
        self.auth.token = Some(Token {
            header: header.clone(),
            renew: asked.checked_add(life.saturating_sub(margin)),
        });
        Ok(header)
    }
}
