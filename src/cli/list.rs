//! `lifeboat list`.

use std::io::Write;

use anyhow::Result;

use super::{Ended, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::{json as rendered, text};

/// A store that did not answer is a problem found: the list may lack something.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    most: Option<usize>,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let listing = operation::list(context, settings, most)?;
    if json {
        print_json(stdout, &rendered::listing(&listing))?;
    } else {
        print(stdout, &text::listing(&listing))?;
    }
    let whole = listing.unreadable.is_empty() && listing.silent_stores.is_empty();
    Ok(if whole {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
