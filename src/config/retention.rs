//! What may be deleted, and when.

use std::time::Duration;

use super::Fault;
use super::leaf::Count;
use super::model::Model;
use crate::operation::settings::Retention;

/// What nothing names is swept when it is older than this; a backup runs for half of it at most.
const GRACE: Duration = Duration::from_secs(7 * 86_400);
/// A shorter one would leave a backup less than a day.
const SHORTEST_GRACE: Duration = Duration::from_secs(48 * 3600);

/// The grace.
pub(super) fn grace(model: &Model) -> Result<Duration, Fault> {
    match model.grace {
        None => Ok(GRACE),
        Some(span) if span.0 < SHORTEST_GRACE || span.0 > Duration::from_secs(366 * 86_400) => {
            Err(Fault::new("grace", "must be between 48h and 366d"))
        }
        Some(span) => Ok(span.0),
    }
}

/// What prune keeps, when it is asked or told.
pub(super) fn policy(model: &Model, prunes: bool) -> Result<Option<Retention>, Fault> {
    let Some(given) = &model.retention else {
        return if prunes {
            let why = "; prune keeps what it says and drops the rest: {keep_last: 7, …}";
            Err(Fault::not_asked("retention", why))
        } else {
            Ok(None)
        };
    };
    let count = |count: Option<Count>| count.map_or(0, |Count(count)| count);
    if given.keep_minimum.is_some_and(|Count(least)| least == 0) {
        return Err(Fault::new("retention.keep_minimum", "must be at least 1"));
    }
    let policy = Retention {
        last: count(given.keep_last),
        within: given.keep_within.map(|span| span.0),
        periods: [
            given.keep_hourly,
            given.keep_daily,
            given.keep_weekly,
            given.keep_monthly,
            given.keep_yearly,
        ]
        .map(count),
        minimum: count(given.keep_minimum).max(1),
    };
    if policy.is_empty() {
        return Err(Fault::new(
            "retention",
            "keeps nothing; give at least one of keep_last, keep_within, keep_hourly, keep_daily, \
             keep_weekly, keep_monthly and keep_yearly more than 0",
        ));
    }
    Ok(Some(policy))
}
