//! Every store brought to the full set: a new one, one that was away, a raised `min_copies`.

use anyhow::Result;

use super::Context;
use super::settings::Settings;
use super::stores::Stores;
use crate::repo::replicate::Replication;
use crate::report;

/// Copies what a store lacks from another that has it: sealed bytes, no identity needed. What is
/// there is only listed, so it may be run again at any time.
///
/// # Errors
/// When no store answers, or a signal comes. A store that stays incomplete is no error: it stands
/// in the result.
pub fn replicate(context: &Context, settings: &Settings) -> Result<report::copies::Replicated> {
    let stores = Stores::open(context, settings)?;
    let holdings = stores.holdings(settings);
    let catalogue = stores.catalogue();
    let replication = Replication::new(holdings, catalogue, &*context.clock, &*context.monitor);
    let done = replication.run(|| stores.patience.stream())?;
    let refused = done.refused.into_iter().map(|(id, why)| report::Problem {
        what: id.to_string(),
        why,
    });
    Ok(report::copies::Replicated {
        stores: done.stores,
        backups: done.backups,
        refused: refused.collect(),
    })
}
