//! `lifeboat verify`.

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

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

/// What is asked.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// 20261122T010203Z-7f3a09bc, or `latest`, for levels contents and restorable.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// How closely to look; scrub when neither this nor `verify` of the configuration says.
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Reads one part of all sealed objects (scrub) or files (contents), such as 3/7: the same
    /// each time; today/7 is another each day, all in a week.
    #[arg(long, value_name = "N/M")]
    part: Option<String>,
    /// Reads a sample of the files (contents): about so many of a hundred, others each time.
    #[arg(long, value_name = "P", conflicts_with = "part")]
    percent: Option<u64>,
    /// Stores no result.
    #[arg(long)]
    no_report: bool,
}

impl Asked {
    /// The same in the configuration's own keys.
    pub(super) fn keys(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        let level = self.level.map(|level| level.key().to_owned());
        let texts = [
            ("id", &self.id),
            ("verify", &level),
            ("verify_part", &self.part),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                keys.insert(key.to_owned(), value.as_str().into());
            }
        }
        if let Some(percent) = self.percent {
            keys.insert("verify_percent".to_owned(), percent.into());
        }
        if self.no_report {
            keys.insert("verify_report".to_owned(), false.into());
        }
        keys
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
