//! `lifeboat prune`.

use std::io::Write;

use anyhow::Result;

use super::{Ended, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::prune;

/// What was kept, dropped and swept, or would be. Something that nobody could judge is a problem
/// found, and so is, in a rehearsal, what would keep the prune from deleting.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    dry_run: bool,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let pruned = if dry_run {
        operation::prune::plan(context, settings)?
    } else {
        operation::prune::prune(context, settings)?
    };
    if json {
        print_json(stdout, &prune::json(&pruned))?;
    } else {
        print(stdout, &prune::text(&pruned))?;
    }
    Ok(if pruned.has_problems() {
        Ended::ProblemsFound
    } else {
        Ended::Done
    })
}
