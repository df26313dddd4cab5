//! Inventories taken, kept in a backup, and read back from wherever they are.
//!
//! With a backup one is taken just before the lock of the component that it tells most of (`tas`,
//! else `director`, else `ops-manager`): the API is up then, nothing is held still for it, and
//! what is locked a moment later is what it names. It is a plain file among that component's
//! artifacts. Whatever goes wrong with it is a warning and a note of the backup, never the
//! backup's end.

mod access;
mod cloud;
mod director;
mod gather;
mod kept;
mod named;
mod rows;
mod tables;

use anyhow::Result;

pub(super) use kept::Kept;
pub use named::Named;

use super::discovery::Rights;
use super::settings::Settings;
use super::{Context, backup, discovery};
use crate::http::Wait;
use crate::inventory::{self, Differences, Inventory, Plan, Reader, Tolerances};

/// The artifact's name.
pub const FILE: &str = "inventory.jsonl";

/// Takes one now, of whatever the settings lead to.
///
/// # Errors
/// When they lead to nothing, or a signal came. What a source refuses stands in the head.
pub fn take(context: &Context, settings: &Settings) -> Result<Inventory> {
    let found = discovery::find(context, settings, &[], Rights::All)?;
    let (settings, mut asked) = (&found.settings, found.asked);
    let foundation = backup::open_foundation(context, settings);
    let limit = settings.foundation.limits.inventory_timeout;
    let wait = Wait::unless(&context.shutdown).no_longer_than(limit);
    gather::gather(context, settings, &foundation, asked.as_mut(), &wait)
}

/// What differs between two inventories. Each is a backup's id, `latest`, `now` or a file.
///
/// # Errors
/// When one of them cannot be had or read.
pub fn diff(
    context: &Context,
    settings: &Settings,
    (before, after): (&Named, &Named),
    ignored: &[String],
) -> Result<Differences> {
    let mut more = Tolerances::none();
    for one in ignored {
        more.ignore(one)
            .map_err(|why| anyhow::anyhow!("--ignore {one} {why}"))?;
    }
    let usual = |before: &inventory::Head, after: &inventory::Head| {
        Tolerances::between(before, after).with(&more)
    };
    named::with(context, settings, before, |first| {
        named::with(context, settings, after, |second| {
            Ok(inventory::diff(first, second, usual)?)
        })
    })
}

/// Work with the text of an inventory.
///
/// # Errors
/// When it cannot be had, and those of the work.
pub fn read<T>(
    context: &Context,
    settings: &Settings,
    what: &Named,
    work: impl FnOnce(Box<dyn std::io::BufRead + '_>) -> Result<T>,
) -> Result<T> {
    named::with(context, settings, what, work)
}

/// What it takes to make anew what an inventory tells of, or of one org.
///
/// # Errors
/// When it cannot be had or read, or knows no such org.
pub fn plan(
    context: &Context,
    settings: &Settings,
    what: &Named,
    org: Option<&str>,
) -> Result<Plan> {
    named::with(context, settings, what, |text| {
        let mut reader = Reader::open(text)?;
        let plan = inventory::plan(&mut reader, org)?;
        if let Some(org) = org {
            anyhow::ensure!(
                plan.orgs.iter().any(|one| one.name == org),
                "this inventory knows no org `{org}`"
            );
        }
        Ok(plan)
    })
}
