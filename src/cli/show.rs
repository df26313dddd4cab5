//! `lifeboat show`.

use std::io::Write;

use anyhow::Result;

use super::{Ended, backup_id, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::{json as rendered, text};

/// One backup as a table, or as `backup.json` has it.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    id: &str,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let id = backup_id(context, settings, id)?;
    let backup = operation::show(context, settings, &id)?;
    if json {
        print_json(stdout, &rendered::backup(&backup))
    } else {
        print(stdout, &text::backup(&backup))
    }
}
