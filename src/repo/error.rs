//! Why a repository cannot be read or written.

use crate::shutdown::Stopped;
use crate::store;

/// A failure of the repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store's.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An object is not what its name, its digest or the format says.
    #[error("{object} {problem}")]
    Damaged {
        /// The object's name.
        object: String,
        /// What is wrong with it, and what to do where there is something.
        problem: String,
    },
    /// The origin of a backup is in doubt.
    #[error("backup {id} is refused: {problem}")]
    Refused {
        /// The backup.
        id: String,
        /// Why.
        problem: String,
    },
    /// Written by a newer release.
    #[error("{object} has format {format} and this release reads format 1; use {needed}")]
    Newer {
        /// The object's name.
        object: String,
        /// Its format.
        format: u64,
        /// The release that reads it.
        needed: String,
    },
    /// A key does not fit.
    #[error("{0}")]
    Key(String),
    /// Anything else, in one sentence.
    #[error("{0}")]
    Other(String),
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Error {
    /// Damage of an object.
    pub fn damaged(object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged {
            object: object.into(),
            problem: problem.into(),
        }
    }
}
