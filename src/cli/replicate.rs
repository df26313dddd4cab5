//! `lifeboat replicate`.

use std::io::Write;

use anyhow::{Context as _, Result};

use super::{Ended, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::copies;

/// A store that stays incomplete is a problem found.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let replicated = operation::replicate(context, settings)?;
    if json {
        let value = serde_json::to_value(&replicated).context("the result cannot be made JSON")?;
        print_json(stdout, &value)?;
    } else {
        print(stdout, &copies::replicated(&replicated))?;
    }
    Ok(if replicated.is_complete() {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
