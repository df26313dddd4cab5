//! How good what is stored is, by levels: what the stores list and hold, what is in a backup, and
//! whether that is what a restore needs. Each result is stored beside the backup as a proof.

mod all;
mod files;
mod findings;
mod one;
pub(super) mod proof;
mod topology;

use anyhow::{Result, anyhow, bail};

use super::Context;
use super::settings::{Settings, Verification};
use super::stores::Stores;
use crate::repo::proof::Level;
use crate::repo::reader::Choice;
use crate::repo::scrub::{Look, Part, Scope};
use crate::report::verified::Verified;

/// A day in seconds.
const DAY: u64 = 86_400;

/// Looks as closely as asked, and stores the result in every store that answers. Changes nothing
/// else.
///
/// # Errors
/// When what is asked cannot be done: no store answers, there is no such backup, the recovery identity
/// does not open it, a signal comes. What is wrong is no error: it stands in the result.
pub fn verify(context: &Context, settings: &Settings, asked: &Verification) -> Result<Verified> {
    let part = part_of(asked.part.as_deref(), context)?;
    match asked.level {
        Level::Listed | Level::Scrub => all::verify(context, settings, asked, part),
        Level::Contents | Level::Restorable => one::verify(context, settings, asked, part),
        Level::Drilled => bail!("level drilled is what a drill proves; run lifeboat drill"),
    }
}

/// The files that are read.
fn chosen(asked: &Verification, part: Part) -> Result<Choice> {
    Ok(match asked.percent {
        None => Choice::part(part),
        Some(percent) => {
            let mut salt = [0; 8];
            getrandom::fill(&mut salt).map_err(|error| anyhow!("no random bytes: {error}"))?;
            Choice::sample(percent, salt)
        }
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

/// Reads `3/7`; or `today/7`, which is another part each day (UTC) and all of them in seven.
pub(super) fn part_of(part: Option<&str>, context: &Context) -> Result<Part> {
    let Some(text) = part else {
        return Ok(Part::WHOLE);
    };
    let parsed = match text.strip_prefix("today/").map(str::parse::<u64>) {
        Some(Ok(of @ 1..)) => {
            let since = context
                .clock
                .now()
                .duration_since(std::time::SystemTime::UNIX_EPOCH);
            let days = since.unwrap_or_default().as_secs() / DAY;
            Part::parse(&format!("{}/{of}", days % of + 1))
        }
        _ => Part::parse(text),
    };
    parsed.map_err(|problem| anyhow!("--part: {problem}"))
}
