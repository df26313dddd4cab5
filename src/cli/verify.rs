//! `lifeboat verify`.

use std::io::Write;

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::{Ended, print, print_json};
use crate::config::{Action, Configuration};
use crate::operation::{self, Context};

/// How closely to look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Level {
    /// Names and sizes; bytes of manifests and key files
    Listed,
    /// Every stored byte against its object's name
    Scrub,
    /// One backup: what is stored opens, and every file has its digest
    Contents,
    /// The same, and it is what a restore needs: artifacts, metadata, dumps to their end
    Restorable,
}

impl Level {
    /// As the configuration has it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Scrub => "scrub",
            Self::Contents => "contents",
            Self::Restorable => "restorable",
        }
    }
}

/// Whatever is wrong is a problem found, and so is a store that was left out.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Action::Verify(asked, _) = &configuration.action else {
        bail!("verify was not asked for");
    };
    let verified = operation::verify(context, &configuration.settings, asked)?;
    if json {
        print_json(stdout, &verified.json())?;
    } else {
        print(stdout, &verified.text())?;
    }
    Ok(if verified.is_good() {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
