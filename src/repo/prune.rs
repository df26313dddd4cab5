//! Prune: taking manifests out by a policy (*drop*) and deleting what no manifest names any more
//! (*sweep*). docs/design.md, *Prune*.
//!
//! There is no lock. What makes it safe beside running backups and other prunes is an order of steps
//! and the grace: a dropped backup's objects stay for the grace, and a run commits within half of
//! it or not at all. `model_tests` lets all of them meet in random order.

mod dropping;
mod holds;
mod note;
mod proofs;
mod references;
mod survey;
mod sweep;

#[cfg(test)]
mod model_tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Error;
use super::bridge::Bridge;
use super::id::{BackupId, ChainId, Foundation};
use super::objects::Objects;
use super::reader::Fetcher;
use super::retention::{Decision, Policy, decide};
use super::seal::Identity;
use super::sign::{Signers, WorkerIdentity};
use crate::clock::Clock;
use crate::parallel;
use crate::shutdown::Stopped;
use crate::store::copies::{CLOCK_TOLERANCE, Copies};

pub use holds::{Held, Hold, Holds};
pub use note::DropNote;
pub use survey::Survey;

/// Added to the grace before anything goes: for clocks that differ by 5 minutes each, and for the
/// time between a look at the clock and the end of the write that follows it.
pub const SLACK: Duration = Duration::from_secs(3600);
/// How long a dropped manifest stays after its grace, so that whoever asks for the backup learns
/// when and why it went.
pub const REMEMBERED: Duration = Duration::from_secs(90 * 86_400);
/// Deletes, or reads of pages, at once.
pub const AT_ONCE: usize = 16;

/// Everything that a prune works with.
#[derive(Debug, Clone)]
pub struct Prune {
    /// The stores; all must answer.
    pub copies: Arc<Copies>,
    /// Waits for them.
    pub bridge: Bridge,
    /// Whose repository.
    pub foundation: Foundation,
    /// Whose backups count; none: all.
    pub signers: Signers,
    /// Opens the index of the chains that this worker began.
    pub worker: Option<WorkerIdentity>,
    /// Opens the index of every chain.
    pub recovery: Option<Identity>,
    /// How long what is dropped stays.
    pub grace: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Deletes and reads of pages at once; [`AT_ONCE`] but in tests.
    pub at_once: usize,
}

/// What is to be done, before anything is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One for each committed backup, oldest first.
    pub decisions: Vec<Decision>,
    /// Why nothing may be deleted; empty as a rule.
    pub blockers: Vec<String>,
    /// Whether no signer is known, so that every backup counts.
    pub origin_unknown: bool,
}

impl Plan {
    /// What goes, oldest first.
    pub fn drops(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| !decision.keep)
    }
}

/// A number of objects and their sealed bytes, over all stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects.
    pub objects: u64,
    /// Sealed bytes.
    pub bytes: u64,
}

impl Tally {
    /// One more.
    pub fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// All of another.
    pub fn join(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// How much of a chain could be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// No manifest names it: it goes whole.
    Unnamed,
    /// By its index.
    Inside,
    /// Not at all: nothing at hand opens it, because of this.
    NoKey(String),
    /// Not at all: this is wrong with it.
    Damaged(String),
}

/// What a sweep found in, and took out of, one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSwept {
    /// Which.
    pub id: ChainId,
    /// How.
    pub looked: Looked,
    /// Committed backups of it that stay.
    pub backups: usize,
    /// Went, or would go now.
    pub freed: Tally,
    /// Goes when the grace of what names it, or its own, is over.
    pub later: Tally,
    /// Needed by backups that stay.
    pub needed: Tally,
    /// Of that, sealed bytes that no file needs: they are packed with others that are needed.
    pub waste: u64,
    /// Could not be deleted yet: under Object Lock.
    pub locked: u64,
}

/// What a prune did, or would do.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Backups that were dropped.
    pub dropped: Vec<BackupId>,
    /// Backups that were to go, and that another prune had dropped by then.
    pub gone: Vec<BackupId>,
    /// Backups that a hold kept although they were to go.
    pub held: Vec<BackupId>,
    /// Manifests that could not be taken out of a store yet: under Object Lock.
    pub locked: u64,
    /// Chain by chain.
    pub chains: Vec<ChainSwept>,
    /// Manifests of backups dropped long ago that are forgotten now.
    pub forgotten: u64,
    /// Proofs of backups that are in no store any more, that went or would go.
    pub proofs: u64,
}

impl Prune {
    /// Looks at everything that decides, and changes nothing.
    ///
    /// # Errors
    /// When a signal comes, or no store answers.
    pub fn survey(&self) -> Result<Survey, Error> {
        survey::survey(self)
    }

    /// What a policy asks, given what there is.
    pub fn plan(&self, survey: &Survey, policy: &Policy) -> Plan {
        Plan {
            decisions: decide(
                &survey.candidates(self.copies.min_copies()),
                policy,
                survey.at + CLOCK_TOLERANCE,
            ),
            blockers: survey.blockers.clone(),
            origin_unknown: self.signers.is_empty(),
        }
    }

    /// Drops what the plan lets go, then sweeps what was let go before the grace.
    ///
    /// # Errors
    /// When the plan has blockers, a store fails, or a signal comes. What was done until then
    /// was right; the next prune goes on.
    pub fn run(
        &self,
        survey: &Survey,
        plan: &Plan,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Done, Error> {
        if let Some(blocker) = plan.blockers.first() {
            return Err(Error::Other(format!("nothing was deleted: {blocker}")));
        }
        let mut done = Done::default();
        dropping::drop_all(self, plan, &mut done, tell)?;
        sweep::sweep(self, survey, plan, true, &mut done, tell)?;
        Ok(done)
    }

    /// What [`Prune::run`] would sweep now and later, deleting nothing.
    ///
    /// # Errors
    /// When a store fails, or a signal comes.
    pub fn rehearse(
        &self,
        survey: &Survey,
        plan: &Plan,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Done, Error> {
        let mut done = Done::default();
        sweep::sweep(self, survey, plan, false, &mut done, tell)?;
        Ok(done)
    }

    fn objects(&self) -> Objects {
        Objects::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
        )
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
        )
    }

    fn holds(&self) -> Holds {
        Holds::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
        )
    }

    /// Whether what happened then is longer ago than the grace.
    fn is_over(&self, then: SystemTime, now: SystemTime) -> bool {
        now.duration_since(then)
            .is_ok_and(|age| age > self.grace.saturating_add(SLACK))
    }

    /// Does the same with each of these, a bounded number at once, and gives the results in
    /// their order. The first error ends it.
    fn side_by_side<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<R, Error> + Sync,
    ) -> Result<Vec<R>, Error> {
        let outcomes = parallel::each(self.at_once, items, Result::is_err, work);
        parallel::in_order(outcomes).into_iter().collect()
    }

    fn check_signal(&self) -> Result<(), Stopped> {
        self.bridge.shutdown().check()
    }
}
