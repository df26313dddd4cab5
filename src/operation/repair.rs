//! What is missing or damaged in a store, made whole again.

use anyhow::Result;

use super::Context;
use super::settings::Settings;
use super::stores::Stores;
use super::verify::{look, part_of};
use crate::repo::repair::{self, Repaired};

/// Finds what is missing (and, with `read`, what is damaged) and writes it anew, from another store
/// or an earlier version. `part` as for [`verify`](super::verify()).
///
/// # Errors
/// As for [`verify`](super::verify()). What stays lost is no error: it stands in the result.
pub fn repair(
    context: &Context,
    settings: &Settings,
    read: bool,
    part: Option<&str>,
) -> Result<Repaired> {
    let part = part_of(part, context)?;
    let stores = Stores::open(context, settings)?;
    Ok(repair::repair(
        stores.holdings(settings),
        look(context, &stores, read.then_some(part)),
        || stores.patience.stream(),
    )?)
}
