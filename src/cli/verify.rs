//! `lifeboat verify`.

use std::io::Write;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::{Ended, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::copies;

/// How closely to look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Level {
    /// Names and sizes; bytes of manifests and key files
    Listed,
    /// Every stored byte against its object's name
    Scrub,
}

/// Whatever is wrong is a problem found, and so is a store that was left out.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    level: Level,
    part: Option<&str>,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let level = match level {
        Level::Listed => operation::Level::Listed,
        Level::Scrub => operation::Level::Scrub,
    };
    let verified = operation::verify(context, settings, level, part)?;
    if json {
        let value = serde_json::to_value(&verified).context("the result cannot be made JSON")?;
        print_json(stdout, &value)?;
    } else {
        print(stdout, &copies::verified(&verified))?;
    }
    Ok(if verified.found.is_good() {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
