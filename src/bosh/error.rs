//! What can go wrong between us and a Director.

use std::fmt;

use super::SshTarget;
use crate::http;
use crate::shutdown::Stopped;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the Director cannot be used.
    #[error(
        "the BOSH environment `{environment}` is not usable: {reason}; give a host, host:port or \
         https://host:port"
    )]
    Environment {
        /// As given, without credentials.
        environment: String,
        /// Why.
        reason: &'static str,
    },
    /// `/info` has no proper answer.
    #[error("the BOSH Director at {director} is unreachable or unhealthy: {reason}")]
    Down {
        /// `host:port`.
        director: String,
        /// One sentence.
        reason: String,
    },
    /// UAA gives no token.
    #[error("no token for client `{client}` from UAA at {url}: {reason}")]
    Uaa {
        /// Whose.
        client: String,
        /// As the Director names it.
        url: String,
        /// One sentence.
        reason: String,
    },
    /// The credentials are wrong or not enough.
    #[error(
        "the BOSH Director at {director} refused {what} with status {status}: {body}; check the \
         client, its secret and its authorities"
    )]
    Denied {
        /// `host:port`.
        director: String,
        /// What was asked.
        what: String,
        /// 401 or 403.
        status: u16,
        /// Masked, shortened.
        body: String,
    },
    /// 404 where a deployment was named.
    #[error(
        "the BOSH Director at {director} does not know deployment `{deployment}`: {body}; compare \
         with `bosh deployments`"
    )]
    UnknownDeployment {
        /// `host:port`.
        director: String,
        /// Its name as asked.
        deployment: String,
        /// Masked, shortened.
        body: String,
    },
    /// Any other status that is not a success.
    #[error(
        "{url} answered {what} with status {status}: {body}; look at the Director's health and log"
    )]
    Status {
        /// Without query.
        url: String,
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// Masked, shortened.
        body: String,
    },
    /// An answer that cannot be read.
    #[error(
        "the BOSH Director at {director} answered {what} with something unreadable ({reason}): \
         {body}; check that the Director itself answers there, and its health"
    )]
    Garbled {
        /// `host:port`.
        director: String,
        /// What was asked.
        what: String,
        /// Why.
        reason: String,
        /// Masked, shortened.
        body: String,
    },
    /// A task ended otherwise than `done`.
    #[error(
        "task {id} of the BOSH Director ({what}) ended as {state}: {reason}; see `bosh task {id} --debug`"
    )]
    Task {
        /// Its number.
        id: u64,
        /// What it was to do.
        what: String,
        /// `error`, `cancelled`, `timeout`, …
        state: String,
        /// As the Director tells it, masked, shortened.
        reason: String,
    },
    /// A task took longer than it may. It goes on in the Director.
    #[error(
        "task {id} of the BOSH Director ({what}) is still {state} after {seconds} s; look at \
         `bosh tasks`, and end it with `bosh cancel-task {id}` if it hangs"
    )]
    TaskTimeout {
        /// Its number.
        id: u64,
        /// What it was to do.
        what: String,
        /// Its last state.
        state: String,
        /// The limit.
        seconds: u64,
    },
    /// An errand ended otherwise than well.
    #[error(
        "{what} ended with status {status}: {said}; see `bosh task --debug` and mend the cause"
    )]
    Errand {
        /// Which.
        what: String,
        /// Its exit status.
        status: i64,
        /// The end of what it said, masked.
        said: String,
    },
    /// What the Director says about a deployment's instances does not fit together.
    #[error("{0}")]
    Instances(String),
    /// The task was begun before that.
    #[error(transparent)]
    Begun(Box<Error>),
    /// The transport failed.
    #[error(transparent)]
    Http(http::Error),
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Error {
    /// The same error of a later request about a task: the task goes on.
    pub(super) fn of_begun(self) -> Self {
        if self.nothing_was_done() {
            Self::Begun(Box::new(self))
        } else {
            self
        }
    }

    /// Whether the Director cannot have begun what was asked.
    pub fn nothing_was_done(&self) -> bool {
        match self {
            Self::Environment { .. }
            | Self::Down { .. }
            | Self::Uaa { .. }
            | Self::Denied { .. }
            | Self::UnknownDeployment { .. } => true,
            Self::Status { status, .. } => (400..500).contains(status),
            Self::Http(error) => error.nothing_was_sent(),
            _ => false,
        }
    }
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        match error {
            http::Error::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Http(other),
        }
    }
}

/// Errors, the first cause first; never empty as an `Err`.
#[derive(Debug)]
pub struct Failures(pub Vec<Error>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failures {}

impl Failures {
    pub(super) fn of_cleanup(left: Vec<Vec<(SshTarget, Error)>>) -> Result<(), Self> {
        let errors: Vec<_> = left.into_iter().flatten().map(|(_, error)| error).collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self(errors))
        }
    }

    /// Whether a signal is all that went wrong.
    pub fn stopped(&self) -> Option<Stopped> {
        let all = self
            .0
            .iter()
            .all(|error| matches!(error, Error::Stopped(_)));
        all.then_some(Stopped)
    }
}
