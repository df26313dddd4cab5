//! Writing to several stores: an object side by side, a manifest one after the other.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::super::{Error, Kind, ObjectName, WriteMode};
use super::{Committed, Copies, NotCommitted, Place, Standing, stores};

impl Copies {
    /// From here on [`Copies::put_kept`] and [`Copies::commit`] lock what they put, where a store
    /// is told to lock, until its days after this time. Set once in a run.
    pub fn lock_from(&self, chain_end: SystemTime) {
        self.chain_end.get_or_init(|| chain_end);
    }

    /// [`Copies::put_all`] of an object of the chain, which is locked where a store locks.
    ///
    /// # Errors
    /// As [`Copies::put_all`].
    pub async fn put_kept(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
    ) -> Result<(), Error> {
        self.put_each(name, bytes, mode, self.chain_end.get().copied())
            .await
    }

    /// Stores an object in every store that is not given up, side by side, and waits for all
    /// of them. A store that fails is given up.
    ///
    /// # Errors
    /// When fewer than `min_copies` whole stores remain. [`Kind::AlreadyExists`] with
    /// [`WriteMode::CreateNew`] when a store has one already, [`Kind::Stopped`] after a
    /// signal; neither counts against a store, others may have the object now.
    pub async fn put_all(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
    ) -> Result<(), Error> {
        self.put_each(name, bytes, mode, None).await
    }

    async fn put_each(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        chain_end: Option<SystemTime>,
    ) -> Result<(), Error> {
        let mut uploads = JoinSet::new();
        for place in &self.places {
            let (place, name, bytes) = (Arc::clone(place), name.clone(), bytes.clone());
            uploads.spawn(async move {
                let result = place.put(&name, bytes, mode, chain_end).await;
                (place, result)
            });
        }
        let mut refused = None;
        while let Some(ended) = uploads.join_next().await {
            let (place, result) = ended.map_err(|failed| {
                Error::new(
                    Kind::Other,
                    "",
                    name.as_str(),
                    format!("was not stored: an upload ended abnormally: {failed}"),
                )
            })?;
            match result {
                Ok(()) => {}
                Err(error) if matches!(error.kind, Kind::AlreadyExists | Kind::Stopped) => {
                    refused = Some(error);
                }
                Err(error) => self.give_up(place.store.name(), &error.message),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => self.check_enough(name.as_str()),
        }
    }

    /// Writes a manifest to each whole store, one after the other, in the configured order.
    /// A store that fails is told of and the next one is tried; nothing is undone.
    ///
    /// # Errors
    /// When fewer than `min_copies` stores have it in the end. Nothing is written when that
    /// is so from the beginning, nor once it cannot be reached any more.
    pub async fn commit(&self, name: &ObjectName, bytes: Bytes) -> Result<Committed, NotCommitted> {
        let mut written = Vec::new();
        self.check_enough(name.as_str())
            .map_err(|error| NotCommitted {
                written: Vec::new(),
                error,
            })?;
        for place in &self.places {
            if *place.standing.borrow() != Standing::Whole {
                continue;
            }
            let chain_end = self.chain_end.get().copied();
            let put = place.put_now(name, bytes.clone(), WriteMode::CreateNew, chain_end);
            match put.await {
                Ok(()) => written.push(place.store.name().to_owned()),
                Err(error) => self.give_up(place.store.name(), &error.message),
            }
            if written.is_empty() {
                self.check_enough(name.as_str())
                    .map_err(|error| NotCommitted {
                        written: Vec::new(),
                        error,
                    })?;
            }
        }
        let without = self.reasons();
        if written.len() >= self.min_copies {
            return Ok(Committed { written, without });
        }
        let error = Error::new(
            Kind::Other,
            "",
            name.as_str(),
            format!(
                "is only in {} and not in {} as asked for: {}",
                written.join(", "),
                stores(self.min_copies),
                without.join("; ")
            ),
        );
        Err(NotCommitted { written, error })
    }
}

impl Place {
    /// `Ok` as well when the store is or becomes given up: that is already said.
    async fn put(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        chain_end: Option<SystemTime>,
    ) -> Result<(), Error> {
        let mut standing = self.standing.subscribe();
        let given_up = standing.wait_for(|standing| standing.closed().is_some());
        let put = async {
            // The semaphore is never closed.
            let _turn = self.uploads.acquire().await;
            self.put_now(name, bytes, mode, chain_end).await
        };
        tokio::select! {
            biased;
            _ = given_up => Ok(()),
            result = put => result,
        }
    }

    /// A chain that a run writes to takes backups still: its lock is never over.
    async fn put_now(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        chain_end: Option<SystemTime>,
    ) -> Result<(), Error> {
        match (chain_end, self.store.locks_for()) {
            (Some(end), Some(time)) => self.store.put_locked(name, bytes, mode, end + time).await,
            _ => self.store.put(name, bytes, mode).await,
        }
    }
}
