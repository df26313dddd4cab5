//! Tokens of a UAA: kept until shortly before they expire, asked for anew when they were refused.
//!
//! Who asks for what, and what is wrong when there is none, its callers know.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Request, Url};
use crate::secret::{Mask, Secret};

/// A token is renewed this long before it expires, or at a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);

/// The header that carries a token, and when to ask for another. Prints without the token.
#[derive(Debug)]
pub struct Token {
    header: Secret,
    renew: Option<Instant>,
}

#[derive(Deserialize)]
struct Grant {
    #[serde(default)]
    token_type: Option<String>,
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Token {
    /// From UAA's answer to a request that was begun at this moment; `None`: it holds no token. The mask
    /// learns it. `scheme` stands before it in the header; without one, what UAA calls it. Neither the answer nor a parser's words are to be shown: they may hold a token.
    pub fn read(body: &[u8], scheme: Option<&str>, asked: Instant, mask: &Mask) -> Option<Self> {
        let grant: Grant = serde_json::from_slice(body).ok()?;
        mask.add(&grant.access_token);
        let scheme = scheme.or(grant.token_type.as_deref()).unwrap_or("Bearer");
        // A lifetime too long to add is no limit.
        let life = Duration::from_secs(grant.expires_in.unwrap_or(u64::MAX));
        let margin = MARGIN.min(life / 10);
        Some(Self {
            header: Secret::new(format!("{scheme} {}", grant.access_token)),
            renew: asked.checked_add(life.saturating_sub(margin)),
        })
    }

    fn usable(&self) -> Option<Secret> {
        let is_old = self.renew.is_some_and(|renew| Instant::now() >= renew);
        (!is_old).then(|| self.header.clone())
    }
}

/// The token that was got last.
#[derive(Default)]
pub struct Kept(Mutex<Option<Token>>);

impl Kept {
    /// The header for a request; `renew` asks for a token when there is none to be used. One thread asks, the
    /// others wait for what it gets.
    ///
    /// # Errors
    /// Those of `renew`.
    pub fn header<E>(&self, renew: impl FnOnce() -> Result<Token, E>) -> Result<Secret, E> {
        let mut kept = self.lock();
        match kept.as_ref().and_then(Token::usable) {
            Some(header) => Ok(header),
            None => Ok(kept.insert(renew()?).header.clone()),
        }
    }

    /// The header, if there is a token to be used.
    pub fn usable(&self) -> Option<Secret> {
        self.lock().as_ref().and_then(Token::usable)
    }

    /// Keeps a token that was got; its header.
    pub fn keep(&self, token: Token) -> Secret {
        self.lock().insert(token).header.clone()
    }

    /// Drops the token that was refused, unless another thread has already replaced it.
    pub fn forget(&self, refused: &Secret) {
        let mut kept = self.lock();
        if kept.as_ref().is_some_and(|token| token.header == *refused) {
            *kept = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

/// Asks for a token with this form; `url` is that of `oauth/token`.
pub fn request(mut url: Url, form: &[(&str, &str)], authorization: &Secret) -> Request {
    // The URL's own encoder, so that nothing in a password can end its field.
    url.query_pairs_mut().clear().extend_pairs(form);
    let body = Secret::new(url.query().unwrap_or_default());
    url.set_query(None);
    Request::post(url, "application/x-www-form-urlencoded", body.expose())
        .with("accept", &Secret::new("application/json"))
        .with("authorization", authorization)
        .repeatable()
}

/// The header of basic authentication.
pub fn basic(name: &str, secret: &str) -> Secret {
    let pair = Secret::new(format!("{name}:{secret}"));
    Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(expires_in: &str) -> Token {
        let body = format!(r#"{{"access_token":"t"{expires_in}}}"#);
        Token::read(body.as_bytes(), None, Instant::now(), &Mask::default()).unwrap()
    }

    #[test]
    fn a_token_is_kept_until_it_is_old_or_refused() {
        let kept = Kept::default();
        let mut asked = 0;
        let mut header = |life: &str| {
            let got = kept.header(|| {
                asked += 1;
                Ok::<_, ()>(token(life))
            });
            assert_eq!(got.unwrap().expose(), "Bearer t");
            asked
        };
        assert_eq!(header(r#","expires_in":600"#), 1);
        assert_eq!(header(""), 1);
        kept.forget(&Secret::new("Bearer another"));
        assert_eq!(header(""), 1);
        kept.forget(&Secret::new("Bearer t"));
        // One that lives no time is asked for each time, one without an end never again.
        assert_eq!(header(r#","expires_in":0"#), 2);
        assert_eq!(header(""), 3);
        assert_eq!(header(""), 3);
        assert!(kept.header(|| Err::<Token, _>("no")).is_ok());
    }

    #[test]
    fn an_answer_without_a_token_is_none_and_a_token_is_masked() {
        let mask = Mask::default();
        for body in ["", "{}", "<html>", r#"{"access_token":7}"#] {
            assert!(Token::read(body.as_bytes(), None, Instant::now(), &mask).is_none());
        }
        let body = br#"{"access_token":"long-enough-to-mask"}"#;
        let token = Token::read(body, None, Instant::now(), &mask).unwrap();
        assert_eq!(token.header.expose(), "Bearer long-enough-to-mask");
        assert!(!mask.apply("x long-enough-to-mask").contains("long"));
    }
}
