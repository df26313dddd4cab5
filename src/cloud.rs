//! What runs on a foundation, as APIs: the Cloud Controller (v3), UAA and CredHub. Lists only,
//! page by page; nothing here changes anything, and no secret is asked for.
//!
//! It knows nothing of inventories or backups. A [`Session`] is used from several threads at
//! once: they share its token and its patience, so that after a 429 nobody asks before the
//! moment that the server named. Pages are followed by the server's own links, never to
//! another address. What rows hold beyond the types here (environment variables, credentials,
//! URLs with passwords, mails) is dropped while it is read.

mod auth;
mod credhub;
mod error;
mod gate;
mod pages;
mod session;
#[cfg(test)]
mod tests;
pub mod types;
mod uaa;

use std::sync::Arc;

use serde::de::DeserializeOwned;

pub use auth::Credentials;
pub use credhub::{CredHub, Name};
pub use error::Error;
pub use pages::Row;
pub use session::{Session, Settings};
pub use uaa::{Client as UaaClient, Uaa, User as UaaUser};

use crate::clock::Clock;
use crate::http::{Url, Wait};
use crate::monitor::Monitor;
use crate::secret::Mask;
use types::{NetworkPolicy, Root, RouterGroup};

/// Rows of a page. The API gives up to 5,000; a thousand keep an answer at one or two megabytes
/// and its query short.
const PER_PAGE: usize = 1_000;

/// A Cloud Controller.
#[derive(Debug)]
pub struct CloudController {
    session: Session,
    root: Root,
}

impl CloudController {
    /// Asks the API for its links, UAA's among them.
    ///
    /// # Errors
    /// When it does not answer as a Cloud Controller.
    pub fn open(
        settings: Settings,
        monitor: Arc<dyn Monitor>,
        clock: Arc<dyn Clock>,
        mask: Arc<Mask>,
        wait: &Wait,
    ) -> Result<Self, Error> {
        let mut session = Session::new(settings, monitor, clock, mask)?;
        let root: Root = session.open_json("", "its links", wait)?;
        let uaa = [&root.links.uaa, &root.links.login]
            .into_iter()
            .find_map(|link| link.as_ref().map(|link| link.href.clone()));
        let uaa = uaa.ok_or_else(|| Error::NotOne {
            name: session.name().to_owned(),
            what: "a Cloud Controller (it names no UAA)",
        })?;
        session.log_in_at(&uaa)?;
        Ok(Self { session, root })
    }

    /// `host` or `host:port`.
    pub fn name(&self) -> &str {
        self.session.name()
    }

    /// The version of its API; empty where it does not tell.
    pub fn version(&self) -> &str {
        let v3 = self.root.links.cloud_controller_v3.as_ref();
        v3.and_then(|link| link.meta.as_ref())
            .map_or("", |meta| meta.version.as_str())
    }

    /// Where its UAA is.
    pub fn uaa(&self) -> Option<&Url> {
        self.session.uaa()
    }

    /// Requests made so far, refused ones too.
    pub fn requests(&self) -> u64 {
        self.session.requests()
    }

    /// All rows of a list in the order of their creation, each once. A row that others moved to
    /// an earlier page by being deleted meanwhile is not lost.
    ///
    /// # Errors
    /// [`Error::Denied`] and [`Error::NotThere`] of what this user or this release has not; those
    /// of any call.
    pub fn list<T: Row + DeserializeOwned>(
        &self,
        kind: &str,
        wait: &Wait,
        each: &mut dyn FnMut(T),
    ) -> Result<(), Error> {
        pages::list(&self.session, kind, PER_PAGE, wait, each)
    }

    /// One document below `/v3/`.
    ///
    /// # Errors
    /// As [`CloudController::list`].
    pub fn one<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
        wait: &Wait,
    ) -> Result<T, Error> {
        self.session.json(&format!("v3/{path}"), what, wait)
    }

    /// The policies of container networking. They come in one answer.
    ///
    /// # Errors
    /// As [`CloudController::list`].
    pub fn network_policies(&self, wait: &Wait) -> Result<Vec<NetworkPolicy>, Error> {
        #[derive(serde::Deserialize)]
        struct Answer {
            #[serde(default)]
            policies: Vec<NetworkPolicy>,
        }
        let path = "networking/v1/external/policies";
        let answer: Answer = self.session.json(path, "the network policies", wait)?;
        Ok(answer.policies)
    }

    /// The router groups of TCP routing.
    ///
    /// # Errors
    /// As [`CloudController::list`].
    pub fn router_groups(&self, wait: &Wait) -> Result<Vec<RouterGroup>, Error> {
        let path = "routing/v1/router_groups";
        self.session.json(path, "the router groups", wait)
    }
}
