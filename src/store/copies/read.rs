//! Reading from several stores: the first good copy, every name, all copies.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::super::{Error, Kind, Listed, ObjectName, Store};
use super::{Copies, Standing};

/// Remembered damage beyond this is not kept, only the first of it helps.
const MOST_FAULTS: usize = 1000;

/// Some of the stores of a run, by their place in the configured order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSet(u64);

impl StoreSet {
    /// Whether the store at this place is one of them.
    pub fn contains(self, place: usize) -> bool {
        place < 64 && self.0 >> place & 1 == 1
    }

    /// How many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of the others are among them.
    pub fn contains_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }
}

/// An object of a listing over all stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As the first of the stores lists it.
    pub listed: Listed,
    /// The stores that have it.
    pub stores: StoreSet,
}

/// A listing over all stores that answered, at least one.
#[derive(Debug, Clone)]
pub struct Union {
    /// In byte order of their names.
    pub objects: Vec<Found>,
    /// The stores that answered.
    pub answered: StoreSet,
    /// Why each other did not.
    pub silent: Vec<Error>,
}

impl Copies {
    /// The names of these stores, in the configured order.
    pub fn names_of(&self, stores: StoreSet) -> Vec<String> {
        self.names()
            .enumerate()
            .filter(|(place, _)| stores.contains(*place))
            .map(|(_, name)| name.to_owned())
            .collect()
    }

    /// Reads an object from the first store, in the configured order, that has it and whose
    /// bytes pass `check` (which says what is wrong with them otherwise). A store that did
    /// not answer before in this run is asked last. Bad bytes are remembered in
    /// [`Copies::faults`].
    ///
    /// # Errors
    /// When no store has good bytes, with every store's reason: [`Kind::NotFound`] when all
    /// answered that there is none, [`Kind::Transient`] when one that did not answer may
    /// have it.
    pub async fn get_first(
        &self,
        name: &ObjectName,
        limit: u64,
        check: impl Fn(&Bytes) -> Result<(), String> + Send,
    ) -> Result<Bytes, Error> {
        let mut order: Vec<_> = self.places.iter().collect();
        order.sort_by_cached_key(|place| {
            place.silent.load(Ordering::Relaxed)
                || matches!(*place.standing.borrow(), Standing::GivenUp(_))
        });
        let mut errors: Vec<Error> = Vec::new();
        for place in order {
            let error = match place.store.get(name, limit).await {
                Ok(bytes) => match check(&bytes) {
                    Ok(()) => {
                        self.tell_changeover(&errors, place.store.name());
                        self.remember(errors);
                        return Ok(bytes);
                    }
                    Err(wrong) => Error::new(Kind::Other, place.store.name(), name.as_str(), wrong),
                },
                Err(error) if error.kind == Kind::Stopped => return Err(error),
                Err(error) => error,
            };
            if error.kind == Kind::Transient {
                place.silent.store(true, Ordering::Relaxed);
            }
            errors.push(error);
        }
        // That nobody has it is an answer, not a fault.
        if errors.iter().any(|error| error.kind != Kind::NotFound) {
            self.remember(errors.clone());
        }
        Err(summary(
            name.as_str(),
            "cannot be read from any store",
            &errors,
        ))
    }

    /// What each store has under a name, side by side, in the configured order.
    pub async fn get_each(
        &self,
        name: &ObjectName,
        limit: u64,
    ) -> Vec<(String, Result<Bytes, Error>)> {
        let (wanted, object) = (name.clone(), name.as_str());
        self.each(object, move |store| {
            let name = wanted.clone();
            async move { store.get(&name, limit).await }
        })
        .await
    }

    /// Size and time that each store has under a name, side by side, in the configured order.
    pub async fn head_each(
        &self,
        name: &ObjectName,
    ) -> Vec<(String, Result<Option<Listed>, Error>)> {
        let (wanted, object) = (name.clone(), name.as_str());
        self.each(object, move |store| {
            let name = wanted.clone();
            async move { store.head(&name).await }
        })
        .await
    }

    /// What each store lists, side by side, in the configured order.
    pub async fn list_each(&self, prefix: &str) -> Vec<(String, Result<Vec<Listed>, Error>)> {
        let wanted = prefix.to_owned();
        self.each(prefix, move |store| {
            let prefix = wanted.clone();
            async move { store.list(&prefix, None).await }
        })
        .await
    }

    /// What [`Store::folders`] gives for each store, side by side, in the configured order.
    pub async fn folders_each(&self, prefix: &str) -> Vec<(String, Result<Vec<String>, Error>)> {
        let wanted = prefix.to_owned();
        self.each(prefix, move |store| {
            let prefix = wanted.clone();
            async move { store.folders(&prefix).await }
        })
        .await
    }

    /// The union of all stores' listings, as [`Store::list`] gives them.
    ///
    /// # Errors
    /// When no store answers, with every store's reason.
    pub async fn list_union(&self, prefix: &str, after: Option<&str>) -> Result<Union, Error> {
        let (wanted, start) = (prefix.to_owned(), after.map(str::to_owned));
        let listings = self
            .each(prefix, move |store| {
                let (prefix, after) = (wanted.clone(), start.clone());
                async move { store.list(&prefix, after.as_deref()).await }
            })
            .await;
        let mut every = Vec::new();
        let mut answered = StoreSet::default();
        let mut silent = Vec::new();
        for (place, (_, listing)) in listings.into_iter().enumerate() {
            match listing {
                Err(error) => silent.push(error),
                Ok(listing) => {
                    answered.insert(place);
                    every.extend(listing.into_iter().map(|listed| (listed, place)));
                }
            }
        }
        if answered.is_empty() {
            return Err(summary(prefix, "cannot be listed in any store", &silent));
        }
        Ok(Union {
            objects: merge(every),
            answered,
            silent,
        })
    }

    /// Objects that a store had lost, damaged or refused when they were read in this run (the
    /// first thousand), for the report and for `replicate`.
    pub fn faults(&self) -> Vec<Error> {
        self.faults_locked().clone()
    }

    /// Says once for each store that another had to do its work.
    fn tell_changeover(&self, errors: &[Error], instead: &str) {
        for error in errors {
            let mut places = self.places.iter();
            let failed = places.find(|place| place.store.name() == error.store);
            if failed.is_some_and(|place| !place.told.swap(true, Ordering::Relaxed)) {
                self.monitor.warn(&format!(
                    "{error}; it is read from store {instead}, and so is whatever else this store cannot give"
                ));
            }
        }
    }

    fn remember(&self, errors: Vec<Error>) {
        let mut faults = self.faults_locked();
        let room = MOST_FAULTS.saturating_sub(faults.len());
        let found = errors
            .into_iter()
            .filter(|error| error.kind != Kind::Transient);
        faults.extend(found.take(room));
    }

    /// The same question to every store, side by side; answers in the configured order. A
    /// store that was given up is not waited for again.
    pub(super) async fn each<T, F>(
        &self,
        object: &str,
        ask: impl Fn(Arc<dyn Store>) -> F,
    ) -> Vec<(String, Result<T, Error>)>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut asked = JoinSet::new();
        let mut answers: Vec<Option<Result<T, Error>>> = Vec::new();
        answers.resize_with(self.places.len(), || None);
        for (place, known) in self.places.iter().enumerate() {
            if let Standing::GivenUp(reason) = &*known.standing.borrow() {
                let message = format!("was given up ({reason})");
                let name = known.store.name();
                answers[place] = Some(Err(Error::new(Kind::Transient, name, object, message)));
                continue;
            }
            let answer = ask(Arc::clone(&known.store));
            asked.spawn(async move { (place, answer.await) });
        }
        while let Some(ended) = asked.join_next().await {
            if let Ok((place, answer)) = ended {
                answers[place] = Some(answer);
            }
        }
        self.names()
            .zip(answers)
            .map(|(name, answer)| {
                let ended =
                    || Error::new(Kind::Other, name, object, "the question ended abnormally");
                (name.to_owned(), answer.unwrap_or_else(|| Err(ended())))
            })
            .collect()
    }
}

/// One entry per name, in byte order; without a second copy of the names, there are many.
fn merge(mut every: Vec<(Listed, usize)>) -> Vec<Found> {
    every.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let mut objects: Vec<Found> = Vec::new();
    for (listed, place) in every {
        if objects
            .last()
            .is_none_or(|last| last.listed.name != listed.name)
        {
            objects.push(Found {
                listed,
                stores: StoreSet::default(),
            });
        }
        if let Some(last) = objects.last_mut() {
            last.stores.insert(place);
        }
    }
    objects
}

/// One error of several stores'.
fn summary(object: &str, what: &str, errors: &[Error]) -> Error {
    let all = |kind| errors.iter().all(|error| error.kind == kind);
    let kind = if all(Kind::NotFound) {
        Kind::NotFound
    } else if errors.iter().any(|error| error.kind == Kind::Transient) {
        Kind::Transient
    } else if all(Kind::Denied) {
        Kind::Denied
    } else {
        Kind::Other
    };
    let reasons: Vec<_> = errors
        .iter()
        .map(|error| format!("{}: {}", error.store, error.message))
        .collect();
    let object = if object.is_empty() {
        "everything"
    } else {
        object
    };
    Error::new(kind, "", object, format!("{what} ({})", reasons.join("; ")))
}
