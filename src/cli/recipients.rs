//! `lifeboat recipients`.

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;

use super::arguments::help;
use super::{Ended, print, print_json};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};
use crate::report::recipients as shown;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Asked {
    /// Lets new recipients open the chains that exist.
    ///
    /// Needs `recovery_identity` in the configuration: a key that opens them already. Writes one
    /// small file for each chain into every store and replaces none; safe to repeat.
    #[command(after_help = help!("  LIFEBOAT_RECOVERY_IDENTITY=\"$(cat recovery_identity)\" \\\n    lifeboat --config prod.yml recipients add age1…"))]
    Add {
        /// `age1…`, or `ssh-ed25519 …` in quotation marks.
        #[arg(value_name = "RECIPIENT", required = true)]
        recipients: Vec<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows the chains and how many files open each.
    ///
    /// With `worker_identity` also for whom the chains that this worker began were begun.
    #[command(after_help = help!("  lifeboat --config prod.yml recipients list"))]
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A chain that was left out is a problem found.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    asked: &Asked,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let whole = match asked {
        Asked::Add { recipients, json } => {
            let added = operation::recipients::add(context, settings, recipients)?;
            if *json {
                print_json(stdout, &shown::added_json(&added))?;
            } else {
                print(stdout, &shown::added_text(&added))?;
            }
            added.problems.is_empty()
        }
        Asked::List { json } => {
            let chains = operation::recipients::list(context, settings)?;
            if *json {
                print_json(stdout, &shown::chains_json(&chains))?;
            } else {
                print(stdout, &shown::chains_text(&chains))?;
            }
            chains.problems.is_empty()
        }
    };
    Ok(if whole {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
