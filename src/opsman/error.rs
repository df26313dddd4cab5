//! What can go wrong between us and an Ops Manager, in one sentence with what to do.

use crate::http;
use crate::shutdown::Stopped;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used; nothing was sent.
    #[error("{0}")]
    Setting(String),
    /// It was rebooted, and nobody has sent the passphrase since.
    #[error(
        "the Ops Manager at {ops_manager} is locked: needs the decryption passphrase; give it as \
         decryption_passphrase, or unlock it in its web page"
    )]
    Locked {
        /// `host` or `host:port`.
        ops_manager: String,
    },
    /// The passphrase was refused.
    #[error(
        "the Ops Manager at {ops_manager} does not accept the decryption passphrase; correct \
         decryption_passphrase"
    )]
    WrongPassphrase {
        /// `host` or `host:port`.
        ops_manager: String,
    },
    /// A fresh VM.
    #[error(
        "the Ops Manager at {ops_manager} is not set up; there is nothing on it to read or change \
         before an installation is imported"
    )]
    NotSetUp {
        /// `host` or `host:port`.
        ops_manager: String,
    },
    /// An import into an Ops Manager that has something to lose.
    #[error(
        "the Ops Manager at {ops_manager} is set up already, so nothing was imported; an import \
         needs a new Ops Manager VM that nobody has set up"
    )]
    AlreadySetUp {
        /// `host` or `host:port`.
        ops_manager: String,
    },
    /// It did not come up in time.
    #[error(
        "the Ops Manager at {ops_manager} is not up after {seconds} s ({last}); look at its VM and \
         its log, /var/log/opsmanager/production.log"
    )]
    NotUp {
        /// `host` or `host:port`.
        ops_manager: String,
        /// How long it was waited for.
        seconds: u64,
        /// What it said last.
        last: String,
    },
    /// An answer to the question after its state that nobody knows.
    #[error(
        "{ops_manager} is in an unknown state: /login/ensure_availability answered {status}{location}; \
         check that the address is an Ops Manager's"
    )]
    UnknownState {
        /// `host` or `host:port`.
        ops_manager: String,
        /// The status.
        status: u16,
        /// Where it redirects to.
        location: String,
    },
    /// No token.
    #[error("the Ops Manager at {ops_manager} gives {who} no token: {reason}")]
    NoToken {
        /// `host` or `host:port`.
        ops_manager: String,
        /// `user admin`, `client ci`.
        who: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The credentials are not enough.
    #[error(
        "the Ops Manager at {ops_manager} refused {what} with status {status}: {body}; the user or \
         client needs the role opsman.admin or opsman.full_control"
    )]
    Denied {
        /// `host` or `host:port`.
        ops_manager: String,
        /// What was asked.
        what: String,
        /// 401 or 403.
        status: u16,
        /// Masked, shortened.
        body: String,
    },
    /// 404.
    #[error("the Ops Manager at {ops_manager} has no {what}: {body}")]
    NotThere {
        /// `host` or `host:port`.
        ops_manager: String,
        /// What was asked.
        what: String,
        /// Masked, shortened.
        body: String,
    },
    /// 422: not in this state.
    #[error(
        "the Ops Manager at {ops_manager} cannot do {what} in its present state (422): {body}; wait \
         until Apply Changes has ended, and look at its pending changes"
    )]
    Refused {
        /// `host` or `host:port`.
        ops_manager: String,
        /// What was asked.
        what: String,
        /// Masked, shortened.
        body: String,
    },
    /// Any other status that is no success.
    #[error("the Ops Manager at {ops_manager} answered {what} with status {status}: {body}")]
    Status {
        /// `host` or `host:port`.
        ops_manager: String,
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// Masked, shortened.
        body: String,
    },
    /// An answer that cannot be read.
    #[error(
        "the Ops Manager at {ops_manager} answered {what} with something unreadable ({reason}); \
         check that the address leads to Ops Manager itself, and its version"
    )]
    Garbled {
        /// `host` or `host:port`.
        ops_manager: String,
        /// What was asked.
        what: String,
        /// Where it is wrong; never a value.
        reason: String,
    },
    /// Apply Changes ended otherwise than it should.
    #[error(
        "Apply Changes {id} on the Ops Manager at {ops_manager} ended as {status}; its log is in \
         Ops Manager's change log"
    )]
    Failed {
        /// `host` or `host:port`.
        ops_manager: String,
        /// Its number.
        id: u64,
        /// `failed`, or a word that nobody knows.
        status: String,
    },
    /// The transport failed.
    #[error(transparent)]
    Http(http::Error),
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        match error {
            http::Error::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Http(other),
        }
    }
}

impl Error {
    /// Whether Ops Manager says that it has no such thing.
    pub fn is_not_there(&self) -> bool {
        matches!(self, Self::NotThere { .. })
    }
}
