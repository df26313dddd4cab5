//! `lifeboat alerts`.

use std::io::Write;

use anyhow::Result;

use super::{Ended, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::alerts;

/// A crossed threshold is a problem found.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let overview = operation::overview(context, settings)?;
    if json {
        print_json(stdout, &alerts::json(&overview))?;
    } else {
        print(stdout, &alerts::text(&overview))?;
    }
    Ok(if overview.good {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
