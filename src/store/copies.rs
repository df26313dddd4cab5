//! The stores of one run, and which of them hold all of it.
//!
//! A store is *whole* until it misses an object. One that does not take an object within
//! its retries is given up for the rest of the run; one that lacks what the base has gets
//! objects but no manifest. The manifest goes to whole stores only, so that it never names
//! what is not beside it. The rules are those of `docs/design.md`, "Order and copies".

mod probe;
mod read;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Semaphore, watch};

use super::{Error, Kind, Store};
use crate::monitor::Monitor;

pub use probe::CLOCK_TOLERANCE;
pub use read::{Found, StoreSet, Union};

/// How many objects one store is sent at once.
pub const UPLOADS_PER_STORE: usize = 8;
/// More stores than anybody has; a [`StoreSet`] is one machine word.
const MOST_STORES: usize = 64;

/// Where a store stands in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has every object so far.
    Whole,
    /// It gets objects but no manifest, because of this.
    ObjectsOnly(String),
    /// It is read, but gets nothing more, because of this.
    ReadOnly(String),
    /// It gets nothing more, because of this.
    GivenUp(String),
}

impl Standing {
    /// Why it gets nothing more; `None` while it does.
    pub fn closed(&self) -> Option<&str> {
        match self {
            Self::Whole | Self::ObjectsOnly(_) => None,
            Self::ReadOnly(reason) | Self::GivenUp(reason) => Some(reason),
        }
    }
}

/// The stores of one run, in the configured order.
pub struct Copies {
    places: Vec<Arc<Place>>,
    min_copies: usize,
    monitor: Arc<dyn Monitor>,
    faults: Mutex<Vec<Error>>,
    /// Until when the chain written to takes backups.
    chain_end: OnceLock<SystemTime>,
}

struct Place {
    store: Arc<dyn Store>,
    uploads: Semaphore,
    standing: watch::Sender<Standing>,
    /// Whether it did not answer a read in this run; it is then asked last.
    silent: std::sync::atomic::AtomicBool,
    /// Whether people know that it failed a read that another store could answer.
    told: std::sync::atomic::AtomicBool,
}

/// Where a manifest was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The stores that have it, in the configured order.
    pub written: Vec<String>,
    /// Why each other store does not have it, as sentences for people.
    pub without: Vec<String>,
}

/// A commit that reached fewer stores than asked for.
#[derive(Debug, Clone)]
pub struct NotCommitted {
    /// The stores that have the manifest all the same: there the backup exists, and is
    /// complete. Empty when nothing was committed.
    pub written: Vec<String>,
    /// What happened.
    pub error: Error,
}

impl fmt::Display for NotCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for NotCommitted {}

impl Copies {
    /// The stores of one run; wrap each in [`super::retry::Retry`] before.
    ///
    /// # Errors
    /// When there is no store, two have one name, or `min_copies` is not between one and
    /// their number.
    pub fn new(
        stores: Vec<Arc<dyn Store>>,
        min_copies: usize,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self, Error> {
        let refused = |message: String| Err(Error::new(Kind::Other, "", "", message));
        if stores.is_empty() || stores.len() > MOST_STORES {
            return refused(format!(
                "stores: 1 to {MOST_STORES} are needed, there are {}",
                stores.len()
            ));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = stores.iter().find(|store| !names.insert(store.name())) {
            return refused(format!("stores: two have the name {}", twice.name()));
        }
        if !(1..=stores.len()).contains(&min_copies) {
            return refused(format!(
                "min_copies: {min_copies} is not between 1 and the number of stores, {}",
                stores.len()
            ));
        }
        let places = stores
            .into_iter()
            .map(|store| {
                Arc::new(Place {
                    store,
                    uploads: Semaphore::new(UPLOADS_PER_STORE),
                    standing: watch::Sender::new(Standing::Whole),
                    silent: false.into(),
                    told: false.into(),
                })
            })
            .collect();
        Ok(Self {
            places,
            min_copies,
            monitor,
            faults: Mutex::default(),
            chain_end: OnceLock::new(),
        })
    }

    /// In how many stores a backup must be.
    pub fn min_copies(&self) -> usize {
        self.min_copies
    }

    /// The stores, in the configured order.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<dyn Store>> {
        self.places.iter().map(|place| &place.store)
    }

    /// The names of the stores, in the configured order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| place.store.name())
    }

    /// The store of this name.
    pub fn store(&self, name: &str) -> Option<&Arc<dyn Store>> {
        self.stores().find(|store| store.name() == name)
    }

    /// The stores that have every object of this run, in the configured order.
    pub fn whole(&self) -> Vec<String> {
        self.places
            .iter()
            .filter(|place| *place.standing.borrow() == Standing::Whole)
            .map(|place| place.store.name().to_owned())
            .collect()
    }

    /// Where each store stands, in the configured order.
    pub fn standings(&self) -> Vec<(String, Standing)> {
        self.places
            .iter()
            .map(|place| {
                (
                    place.store.name().to_owned(),
                    place.standing.borrow().clone(),
                )
            })
            .collect()
    }

    /// Sends this store nothing more in this run, and says so. Uploads to it that are on
    /// their way are dropped. `reason` is part of a sentence.
    pub fn give_up(&self, store: &str, reason: &str) {
        let what = "is given up for this run, and this backup will not be in it";
        self.lower(store, Standing::GivenUp(reason.to_owned()), what, reason);
    }

    /// Asks this store nothing more in this run, and says so: for what reads and mends, which
    /// goes on with the others. `reason` is part of a sentence.
    pub fn leave_out(&self, store: &str, reason: &str) {
        let what = "is left out from here on";
        self.lower(store, Standing::GivenUp(reason.to_owned()), what, reason);
    }

    /// Puts nothing more into this store in this run, and says so: for what reads and mends, which
    /// still reads and lists it. `reason` is part of a sentence.
    pub fn only_read(&self, store: &str, reason: &str) {
        let what = "is only read from here on";
        self.lower(store, Standing::ReadOnly(reason.to_owned()), what, reason);
    }

    /// Says so where the store stood better before.
    fn lower(&self, store: &str, to: Standing, what: &str, reason: &str) {
        let mut of_name = self.places.iter().filter(|one| one.store.name() == store);
        if of_name.any(|place| place.set(to.clone())) {
            self.monitor
                .warn(&format!("store {store} {what}: {reason}"));
        }
    }

    /// Sends this store objects but no manifest, and says so. `reason` is part of a sentence.
    pub fn exclude_from_commit(&self, store: &str, reason: &str) {
        for place in self
            .places
            .iter()
            .filter(|place| place.store.name() == store)
        {
            if place.set(Standing::ObjectsOnly(reason.to_owned())) {
                self.monitor.warn(&format!(
                    "store {store} gets this backup's objects but no manifest: {reason}; run lifeboat replicate"
                ));
            }
        }
    }

    /// Whether at least `min_copies` stores are whole.
    ///
    /// # Errors
    /// When fewer are, with the reason of each other.
    pub fn check_enough(&self, object: &str) -> Result<(), Error> {
        if self.whole().len() >= self.min_copies {
            return Ok(());
        }
        Err(Error::new(
            Kind::Other,
            "",
            object,
            format!(
                "cannot be in {}, as min_copies asks: {}",
                stores(self.min_copies),
                // The object is named already.
                self.reasons()
                    .join("; ")
                    .replace(&format!("{object}: "), "")
            ),
        ))
    }

    /// Why each store that is not whole is not.
    fn reasons(&self) -> Vec<String> {
        self.standings()
            .into_iter()
            .filter_map(|(name, standing)| match standing {
                Standing::Whole => None,
                Standing::ObjectsOnly(reason) => {
                    Some(format!("{name} gets no manifest ({reason})"))
                }
                Standing::ReadOnly(reason) => Some(format!("{name} is only read ({reason})")),
                Standing::GivenUp(reason) => Some(format!("{name} was given up ({reason})")),
            })
            .collect()
    }

    fn faults_locked(&self) -> MutexGuard<'_, Vec<Error>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Changes the standing for the worse; whether it did.
    fn set(&self, new: Standing) -> bool {
        self.standing.send_if_modified(|standing| {
            let worse = match (&*standing, &new) {
                (Standing::Whole, _) => new != Standing::Whole,
                (Standing::ObjectsOnly(_), Standing::ReadOnly(_) | Standing::GivenUp(_))
                | (Standing::ReadOnly(_), Standing::GivenUp(_)) => true,
                _ => false,
            };
            if worse {
                *standing = new;
            }
            worse
        })
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies")
            .field("standings", &self.standings())
            .field("min_copies", &self.min_copies)
            .finish_non_exhaustive()
    }
}

fn stores(number: usize) -> String {
    if number == 1 {
        "1 store".to_owned()
    } else {
        format!("{number} stores")
    }
}

#[cfg(test)]
mod tests;
