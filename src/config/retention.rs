//! What may be deleted, and when.

use std::time::Duration;

use super::Fault;
use super::model::Model;

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
