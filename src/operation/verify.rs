//! What is wrong in the stores, by levels: what they list, and what they hold.

use anyhow::{Result, anyhow};

use super::Context;
use super::settings::Settings;
use super::stores::Stores;
use crate::repo::scrub::{self, Look, Part, Scope};
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
    let read = (level == Level::Scrub).then_some(part);
    let found = scrub::scrub(
        stores.holdings(settings),
        look(context, &stores, read),
        || stores.patience.stream(),
    )?;
    Ok(report::Verified {
        level: level.to_string(),
        found,
    })
}

/// A look by the rules of these settings, that reads this part of what is sealed.
pub(super) fn look<'a>(context: &'a Context, stores: &Stores, read: Option<Part>) -> Look<'a> {
    Look {
        catalogue: stores.catalogue(),
        monitor: &*context.monitor,
        scope: Scope { read },
        now: context.clock.now(),
    }
}

pub(super) fn part_of(part: Option<&str>) -> Result<Part> {
    part.map_or(Ok(Part::WHOLE), Part::parse)
        .map_err(|problem| anyhow!("--part: {problem}"))
}
