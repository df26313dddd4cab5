//! A UAA's clients and users: names and rights, no secrets, no mails.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::pages::{Row, Seen};
use super::types::or_default;
use super::{Error, Session, Settings};
use crate::clock::Clock;
use crate::http::Wait;
use crate::monitor::Monitor;
use crate::secret::Mask;

/// Rows of a page; UAA gives no more than 500 as it is shipped.
const COUNT: usize = 500;

/// A client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Client {
    /// Its name.
    pub client_id: String,
    /// How it gets tokens.
    #[serde(default, deserialize_with = "or_default")]
    pub authorized_grant_types: Vec<String>,
    /// What users may do through it.
    #[serde(default, deserialize_with = "or_default")]
    pub scope: Vec<String>,
    /// What it may do itself.
    #[serde(default, deserialize_with = "or_default")]
    pub authorities: Vec<String>,
}

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Its GUID.
    pub id: String,
    /// Its name.
    #[serde(rename = "userName", default, deserialize_with = "or_default")]
    pub username: String,
    /// `uaa`, `ldap`, or the name of an identity provider.
    #[serde(default, deserialize_with = "or_default")]
    pub origin: String,
    /// Whether it may log in.
    #[serde(default, deserialize_with = "or_default")]
    pub active: bool,
}

impl Row for Client {
    fn id(&self) -> &str {
        &self.client_id
    }
}

impl Row for User {
    fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Deserialize)]
struct Page<T> {
    resources: Vec<T>,
    #[serde(rename = "totalResults")]
    total: usize,
}

/// A UAA.
#[derive(Debug)]
pub struct Uaa {
    session: Session,
}

impl Uaa {
    /// Checks the settings, whose URL is UAA's own; sends nothing.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(
        settings: Settings,
        monitor: Arc<dyn Monitor>,
        clock: Arc<dyn Clock>,
        mask: Arc<Mask>,
    ) -> Result<Self, Error> {
        let url = settings.url.clone();
        let mut session = Session::new(settings, monitor, clock, mask)?;
        session.log_in_at(&url)?;
        Ok(Self { session })
    }

    /// `host` or `host:port`.
    pub fn name(&self) -> &str {
        self.session.name()
    }

    /// All clients.
    ///
    /// # Errors
    /// Those of any call.
    pub fn clients(&self, wait: &Wait, each: &mut dyn FnMut(Client)) -> Result<(), Error> {
        self.list("oauth/clients?", "the list of clients", wait, each)
    }

    /// All users.
    ///
    /// # Errors
    /// Those of any call.
    pub fn users(&self, wait: &Wait, each: &mut dyn FnMut(User)) -> Result<(), Error> {
        let path = "Users?attributes=id,userName,origin,active&";
        self.list(path, "the list of users", wait, each)
    }

    /// As the Cloud Controller's lists: what is deleted meanwhile moves later rows forward.
    fn list<T: Row + DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
        wait: &Wait,
        each: &mut dyn FnMut(T),
    ) -> Result<(), Error> {
        let mut seen = Seen::default();
        let (mut start, mut total) = (0_usize, None);
        loop {
            let path = format!("{path}startIndex={}&count={COUNT}", start + 1);
            let page: Page<T> = self.session.json(&path, what, wait)?;
            let shrank = total.map_or(0, |before: usize| before.saturating_sub(page.total));
            total = Some(page.total);
            if shrank > 0 && start > 0 {
                start = start.saturating_sub(shrank);
                continue;
            }
            start += page.resources.len();
            let ended = page.resources.is_empty() || start >= page.total;
            for row in page.resources {
                if seen.is_new(row.id()) {
                    each(row);
                }
            }
            if ended {
                return Ok(());
            }
        }
    }
}
