//! Tokens of a UAA: kept until shortly before they expire, renewed when refused.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Error;
use super::session::excerpt;
use crate::http::{Client, Request, Url, Wait};
use crate::secret::{Mask, Secret};

/// A token is renewed this long before it expires, or at a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);

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

    /// The form and the header of a request for a token.
    fn grant(&self) -> (String, Secret) {
        match self {
            Self::Client { id, secret } => (
                "grant_type=client_credentials".to_owned(),
                basic(id, secret),
            ),
            Self::User {
                username,
                password,
                client,
                client_secret,
            } => (
                format!(
                    "grant_type=password&username={}&password={}",
                    encoded(username),
                    encoded(password.expose())
                ),
                basic(client, client_secret),
            ),
        }
    }
}

fn basic(client: &str, secret: &Secret) -> Secret {
    let pair = Secret::new(format!("{client}:{}", secret.expose()));
    Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))
}

/// For a form.
fn encoded(text: &str) -> String {
    let mut form = String::new();
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => form.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => form.push(char::from(byte)),
            _ => form.push_str(&format!("%{byte:02X}")),
        }
    }
    form
}

/// Credentials, and the token they last got.
pub(super) struct Auth {
    credentials: Credentials,
    token: Mutex<Option<Token>>,
}

struct Token {
    header: Secret,
    renew: Option<Instant>,
}

impl Auth {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            token: Mutex::default(),
        }
    }

    /// The header for a request. One thread asks UAA, the others wait for what it gets.
    pub(super) fn header(
        &self,
        uaa: &Url,
        client: &Client,
        mask: &Mask,
        wait: &Wait,
    ) -> Result<Secret, Error> {
        let mut kept = self.lock();
        let usable = kept
            .as_ref()
            .filter(|token| token.renew.is_none_or(|renew| Instant::now() < renew));
        if let Some(token) = usable {
            return Ok(token.header.clone());
        }
        let token = self.renewed(uaa, client, mask, wait)?;
        let header = token.header.clone();
        *kept = Some(token);
        Ok(header)
    }

    /// Drops the token that was refused, unless another thread has already replaced it.
    pub(super) fn forget(&self, refused: &Secret) {
        let mut kept = self.lock();
        if kept.as_ref().is_some_and(|token| token.header == *refused) {
            *kept = None;
        }
    }

    fn renewed(
        &self,
        uaa: &Url,
        client: &Client,
        mask: &Mask,
        wait: &Wait,
    ) -> Result<Token, Error> {
        let mut url = uaa.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["oauth", "token"]);
        }
        let (form, header) = self.credentials.grant();
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post(url, kind, form)
            .with("accept", &Secret::new("application/json"))
            .with("authorization", &header)
            .repeatable();
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
        let grant: Grant =
            serde_json::from_slice(&response.body).map_err(|_may_show_the_token| {
                failed("the answer holds no token; check that UAA itself answers there".to_owned())
            })?;
        mask.add(&grant.access_token);
        let life = Duration::from_secs(grant.expires_in.unwrap_or(u64::MAX));
        let margin = MARGIN.min(life / 10);
        Ok(Token {
            header: Secret::new(format!("{} {}", grant.token_type, grant.access_token)),
            renew: asked.checked_add(life.saturating_sub(margin)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({})", self.credentials.name())
    }
}

#[derive(Deserialize)]
struct Grant {
    token_type: String,
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}
