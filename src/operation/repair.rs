//! What is missing or damaged in a store, made whole again.

use std::sync::Arc;

use anyhow::Result;

use super::Context;
use super::settings::Settings;
use super::stores::Stores;
use super::verify::{bad, hit, looked, part_of};
use crate::repo::repair;
use crate::repo::scrub::Scope;
use crate::report::copies as report;

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
) -> Result<report::Repaired> {
    let part = part_of(part)?;
    let stores = Stores::open(context, settings)?;
    let done = repair::repair(
        Arc::clone(&stores.copies),
        stores.bridge.clone(),
        stores.foundation.clone(),
        settings.repository.new_chain_every,
        stores.catalogue(),
        &*context.monitor,
        Scope {
            read: read.then_some(part),
        },
        context.clock.now(),
        || stores.patience.stream(),
    )?;
    let mended = done.mended.into_iter().map(|mended| report::Mended {
        store: mended.store,
        object: mended.object,
        what: mended.what,
        from: mended.from,
    });
    Ok(report::Repaired {
        stores: looked(done.stores),
        backups: done.backups,
        mended: mended.collect(),
        mended_objects: done.mended_objects,
        lost: bad(done.lost),
        more: done.more,
        hit: hit(done.hit),
    })
}
