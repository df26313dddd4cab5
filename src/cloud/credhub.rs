//! A CredHub's names. Values are never asked for.

use std::sync::Arc;

use serde::Deserialize;

use super::types::or_default;
use super::{Error, Session, Settings};
use crate::clock::Clock;
use crate::http::Wait;
use crate::monitor::Monitor;
use crate::secret::Mask;

/// A credential's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Name {
    /// `/a/b`.
    pub name: String,
    /// When the version in use was made, RFC 3339: another time means another value.
    #[serde(default, deserialize_with = "or_default")]
    pub version_created_at: String,
}

/// A CredHub.
#[derive(Debug)]
pub struct CredHub {
    session: Session,
}

impl CredHub {
    /// Asks it for its UAA.
    ///
    /// # Errors
    /// When it does not answer as a CredHub.
    pub fn open(
        settings: Settings,
        monitor: Arc<dyn Monitor>,
        clock: Arc<dyn Clock>,
        mask: Arc<Mask>,
        wait: &Wait,
    ) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(rename = "auth-server")]
            auth: Server,
        }
        #[derive(Deserialize)]
        struct Server {
            url: String,
        }
        let mut session = Session::new(settings, monitor, clock, mask)?;
        let info: Info = session.open_json("info", "its UAA", wait)?;
        session.log_in_at(&info.auth.url)?;
        Ok(Self { session })
    }

    /// `host` or `host:port`.
    pub fn name(&self) -> &str {
        self.session.name()
    }

    /// All names that this client may see. They come in one answer.
    ///
    /// # Errors
    /// Those of any call.
    pub fn names(&self, wait: &Wait) -> Result<Vec<Name>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            credentials: Vec<Name>,
        }
        let path = "api/v1/data?path=/";
        let answer: Answer = self.session.json(path, "its names", wait)?;
        Ok(answer.credentials)
    }
}
