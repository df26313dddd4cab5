//! `lifeboat repair`.

use std::io::Write;

use anyhow::{Context as _, Result};

use super::{Ended, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::copies;

/// What cannot be restored is a problem found, and so is a store that was left out.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    read: bool,
    part: Option<&str>,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let repaired = operation::repair(context, settings, read, part)?;
    if json {
        let value = serde_json::to_value(&repaired).context("the result cannot be made JSON")?;
        print_json(stdout, &value)?;
    } else {
        print(stdout, &copies::repaired(&repaired))?;
    }
    Ok(if repaired.is_good() {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
