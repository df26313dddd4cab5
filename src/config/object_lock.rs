//! A store's Object Lock.

use std::time::Duration;

use super::Fault;
use super::leaf::Text;
use super::model::StoreModel;
use crate::operation::settings::{LockMode, ObjectLock};

/// A century: more is a mistake that nobody can undo.
const MOST_DAYS: u64 = 36_500;

/// What is asked for, if it is.
pub(super) fn of(model: &StoreModel, at: &str) -> Result<Option<ObjectLock>, Fault> {
    let Some(lock) = &model.object_lock else {
        return Ok(None);
    };
    let place = |key: &str| format!("{at}.object_lock.{key}");
    if model.skip_s3_checksums.is_some_and(|flag| flag.0) {
        return Err(Fault::new(
            format!("{at}.skip_s3_checksums"),
            "does not go with object_lock: S3 takes locked objects only with a checksum",
        ));
    }
    let mode = match lock.mode.as_ref().map(|Text(mode)| mode.as_str()) {
        Some("governance") => LockMode::Governance,
        Some("compliance") => LockMode::Compliance,
        Some(_) => {
            return Err(Fault::new(
                place("mode"),
                "must be governance or compliance",
            ));
        }
        None => {
            return Err(Fault::missing(
                place("mode"),
                "; it is governance or compliance",
            ));
        }
    };
    let days = match lock.days.map(|count| count.0) {
        Some(days) if (1..=MOST_DAYS).contains(&days) => days,
        Some(_) => return Err(Fault::new(place("days"), "must be between 1 and 36500")),
        None => {
            return Err(Fault::missing(
                place("days"),
                "; it says how long the last backup of a chain is protected",
            ));
        }
    };
    Ok(Some(ObjectLock {
        mode,
        time: Duration::from_secs(days * 86_400),
    }))
}
