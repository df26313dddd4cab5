//! The repository: chains, chunks, index, manifests. Governed by `docs/format.md`.
//!
//! Knows names, digests, keys and order of writing; speaks to stores through
//! [`Copies`](crate::store::copies::Copies). Knows nothing of foundations, instances, S3 or
//! Concourse: an artifact arrives and leaves as entries.

pub mod base;
mod bbr_name;
pub mod bridge;
pub mod catalogue;
pub mod chain;
pub mod chunker;
mod chunks;
pub mod error;
mod fetcher;
pub mod format;
pub mod holdings;
pub mod id;
pub mod index;
mod json;
mod known;
mod lines;
pub mod objects;
pub mod pipeline;
pub mod proof;
pub mod prune;
pub mod reader;
pub mod recipients;
pub mod recovery;
pub mod repair;
pub mod replicate;
pub mod retention;
pub mod run;
pub mod scrub;
pub mod seal;
pub mod sign;
mod survey;
#[cfg(test)]
mod testing;
mod transfer;
pub mod writer;

pub use error::Error;

/// What the repository itself is told; `config` fills it in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose repository it is: the first segment of every name.
    pub foundation: id::Foundation,
    /// Who can recover: `age1…` or `ssh-ed25519 …` texts, checked by [`seal::Recipients`].
    pub recipients: seal::Recipients,
    /// Signs manifests and continues chains.
    pub worker: Option<sign::WorkerIdentity>,
    /// Whose signatures count; the own worker identity's public half is added.
    pub signers: sign::Signers,
    /// A chain older than this is not continued.
    pub new_chain_every: std::time::Duration,
    /// How old what no manifest names must be before prune sweeps it; a run longer than half of it
    /// does not commit, so that nothing it took over can have been swept.
    pub grace: std::time::Duration,
}
