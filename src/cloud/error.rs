//! What can go wrong between us and these APIs.

use crate::http;
use crate::shutdown::Stopped;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used; nothing was sent.
    #[error("{0}")]
    Setting(String),
    /// UAA gives no token.
    #[error("no token for `{who}` from UAA at {url}: {reason}")]
    Uaa {
        /// The client or user.
        who: String,
        /// Without credentials.
        url: String,
        /// One sentence.
        reason: String,
    },
    /// The credentials are wrong or not enough.
    #[error(
        "{name} refused {what} with status {status}: {body}; check the user or client and its \
         scopes (cloud_controller.global_auditor or cloud_controller.admin_read_only; for UAA \
         scim.read and clients.read, for network policies network.admin, for CredHub credhub.read)"
    )]
    Denied {
        /// `host:port`.
        name: String,
        /// What was asked.
        what: String,
        /// 401 or 403.
        status: u16,
        /// Masked, shortened.
        body: String,
    },
    /// 404.
    #[error("{name} does not know {what}: {body}")]
    NotThere {
        /// `host:port`.
        name: String,
        /// What was asked.
        what: String,
        /// Masked, shortened.
        body: String,
    },
    /// Another status that is not a success.
    #[error("{name} answered {what} with status {status}: {body}; look at its health and log")]
    Status {
        /// `host:port`.
        name: String,
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// Masked, shortened.
        body: String,
    },
    /// 429, and the time set for this work ends before the moment that the server named.
    #[error(
        "{name} asks to wait {seconds} s before {what} (rate limit), longer than is left for this \
         work; raise limits.inventory_timeout, or have the limit raised for this user"
    )]
    Limited {
        /// `host:port`.
        name: String,
        /// What was asked.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// An answer that cannot be read.
    #[error(
        "{name} answered {what} with something unreadable ({reason}); check that the API itself \
         answers there, not a proxy or load balancer"
    )]
    Garbled {
        /// `host:port`.
        name: String,
        /// What was asked.
        what: String,
        /// Where; never the text itself, which may hold a secret.
        reason: String,
    },
    /// A page that leads away from the API.
    #[error(
        "{name} names a next page of {what} at another address; credentials are not sent there"
    )]
    Elsewhere {
        /// `host:port`.
        name: String,
        /// What was asked.
        what: String,
    },
    /// Pages that do not end or go in circles.
    #[error(
        "{name} gives no end of {what}: its pages repeat themselves; look at its health and log"
    )]
    Endless {
        /// `host:port`.
        name: String,
        /// What was asked.
        what: String,
    },
    /// Something else answers.
    #[error("what answers at {name} is not {what}; check the address")]
    NotOne {
        /// `host:port`.
        name: String,
        /// What was expected.
        what: &'static str,
    },
    /// No answer.
    #[error(transparent)]
    Http(http::Error),
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Error {
    /// Whether only what was asked cannot be had, while the API itself is well.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::NotThere { .. })
    }
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        match error {
            http::Error::Stopped(stopped) => Self::Stopped(stopped),
            http::Error::Setting(text) => Self::Setting(text),
            error => Self::Http(error),
        }
    }
}
