//! The preflight of every store, before anything is locked: a store that cannot be written,
//! read or listed, or whose clock is off, is found while it costs nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::super::{Error, Kind, ObjectName, Store, WriteMode, whole_seconds};
use super::Copies;
use crate::clock::{Clock, rfc3339, spoken};

/// How far a store's clock may be from ours.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// How long a store that is told to lock locks the probe, to show that it can: longer than clocks
/// may differ.
const PROBE_LOCK: Duration = Duration::from_secs(600);
/// More than a probe ever has.
const PROBE_LIMIT: u64 = 4096;

impl Copies {
    /// Writes `FOUNDATION/probe` to each store, reads it back, lists it and compares the
    /// store's clock with ours; side by side. The object stays, the next probe replaces it.
    /// `random` makes the text of this probe differ from that of any other.
    ///
    /// Gives each store's result, in the configured order, and changes no standing.
    ///
    /// # Errors
    /// When the foundation is no valid segment of a name.
    pub async fn probe(
        &self,
        foundation: &str,
        clock: Arc<dyn Clock>,
        random: &str,
    ) -> Result<Vec<(String, Result<(), Error>)>, Error> {
        let name = ObjectName::new(format!("{foundation}/probe"))?;
        let text = format!("{} {random}\n", rfc3339(clock.now()));
        let bytes = Bytes::from(text);
        let (object, wanted) = (name.clone(), bytes);
        Ok(self
            .each(name.as_str(), move |store| {
                probe(store, object.clone(), wanted.clone(), Arc::clone(&clock))
            })
            .await)
    }
}

async fn probe(
    store: Arc<dyn Store>,
    name: ObjectName,
    bytes: Bytes,
    clock: Arc<dyn Clock>,
) -> Result<(), Error> {
    let failed = |message: String| Error::new(Kind::Other, store.name(), name.as_str(), message);
    let before = clock.now();
    if store.locks_for().is_some() {
        let until = whole_seconds(before + PROBE_LOCK);
        store
            .put_locked(&name, bytes.clone(), WriteMode::Overwrite, until)
            .await?;
    } else {
        store
            .put(&name, bytes.clone(), WriteMode::Overwrite)
            .await?;
    }
    let after = clock.now();
    let read = match store.get(&name, PROBE_LIMIT).await {
        Err(error) if error.kind == Kind::NotFound => {
            return Err(failed(
                "was written, but is not there when read back".to_owned(),
            ));
        }
        other => other?,
    };
    if read != bytes {
        return Err(failed(
            "was written, but other bytes are read back (is something else writing there?)"
                .to_owned(),
        ));
    }
    let listing = store.list(name.as_str(), None).await?;
    let Some(listed) = listing
        .into_iter()
        .find(|listed| listed.name == name.as_str())
    else {
        return Err(failed("was written, but is not listed".to_owned()));
    };
    match difference(listed.modified, before, after) {
        Some((off, direction)) if off > CLOCK_TOLERANCE => Err(failed(format!(
            "the store's clock is {} {direction} ours; at most {} are allowed; set the clocks of this \
             worker and of the store (NTP)",
            spoken(off),
            spoken(CLOCK_TOLERANCE),
        ))),
        _ => Ok(()),
    }
}

/// How far a time is outside a span of ours, and on which side.
fn difference(
    theirs: SystemTime,
    before: SystemTime,
    after: SystemTime,
) -> Option<(Duration, &'static str)> {
    if let Ok(behind) = before.duration_since(theirs) {
        return Some((behind, "behind"));
    }
    theirs
        .duration_since(after)
        .ok()
        .map(|ahead| (ahead, "ahead of"))
}
