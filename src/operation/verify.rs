//! What is wrong in the stores, by levels: what they list, and what they hold.

use std::sync::Arc;

use anyhow::{Result, anyhow};

use super::Context;
use super::settings::Settings;
use super::stores::Stores;
use crate::repo::scrub::{self, Part, Scope};
use crate::report::copies as report;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Names and sizes of all, bytes of manifests and key files.
    Listed,
    /// Every stored byte against its object's name. No identity.
    Scrub,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Listed => "listed",
            Self::Scrub => "scrub",
        })
    }
}

/// Looks at every store and changes nothing. `part` (`3/7`) reads one part of what a scrub reads,
/// the same each time.
///
/// # Errors
/// When no store answers, `part` is none, or a signal comes. What is wrong is no error: it stands
/// in the result.
pub fn verify(
    context: &Context,
    settings: &Settings,
    level: Level,
    part: Option<&str>,
) -> Result<report::Verified> {
    let part = part_of(part)?;
    let stores = Stores::open(context, settings)?;
    let found = scrub::scrub(
        Arc::clone(&stores.copies),
        stores.bridge.clone(),
        stores.foundation.clone(),
        settings.repository.new_chain_every,
        stores.catalogue(),
        &*context.monitor,
        Scope {
            read: (level == Level::Scrub).then_some(part),
        },
        context.clock.now(),
        || stores.patience.stream(),
    )?;
    Ok(report::Verified {
        level: level.to_string(),
        stores: looked(found.stores),
        backups: found.backups,
        bad: bad(found.bad),
        more: found.more,
        hit: hit(found.hit),
    })
}

pub(super) fn part_of(part: Option<&str>) -> Result<Part> {
    part.map_or(Ok(Part::WHOLE), Part::parse)
        .map_err(|problem| anyhow!("--part: {problem}"))
}

pub(super) fn looked(stores: Vec<scrub::Looked>) -> Vec<report::Looked> {
    let looked = stores.into_iter().map(|store| report::Looked {
        store: store.store,
        objects: store.objects,
        bytes: store.bytes,
        left_out: store.left_out,
    });
    looked.collect()
}

pub(super) fn bad(bad: Vec<scrub::Bad>) -> Vec<report::Bad> {
    let bad = bad.into_iter().map(|bad| report::Bad {
        store: bad.store,
        object: bad.object,
        what: bad.what,
    });
    bad.collect()
}

pub(super) fn hit(hit: Vec<scrub::Hit>) -> Vec<report::Hit> {
    let hit = hit.into_iter().map(|hit| report::Hit {
        backup: hit.backup.to_string(),
        certain: hit.certain,
    });
    hit.collect()
}
