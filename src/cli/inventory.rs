//! `lifeboat inventory`.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Subcommand;

use super::arguments::help;
use super::{Ended, print, print_json};
use crate::inventory::Reader;
use crate::operation::Context;
use crate::operation::inventory::{self, Named};
use crate::operation::settings::Settings;
use crate::report::inventory as words;

/// What is asked of inventories. Each is named by a backup's id, `latest`, `now`, or a file that
/// `take` wrote.
#[derive(Debug, Subcommand)]
pub(super) enum Asked {
    /// Takes one now: JSON lines, the head first.
    #[command(after_help = help!("  lifeboat --config prod.yml inventory take --out prod.jsonl"))]
    Take {
        /// Writes it into this file, which must not be there, in place of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Shows what an inventory holds.
    #[command(after_help = help!("  lifeboat --config prod.yml inventory show latest\n  lifeboat --config prod.yml inventory show latest --lines | jq -c 'select(.kind == \"app\")'"))]
    Show {
        /// A backup's id, `latest`, `now` or a file.
        #[arg(value_name = "WHICH")]
        which: String,
        /// Prints all of it, as JSON lines.
        #[arg(long)]
        lines: bool,
    },
    /// Says what differs between two inventories. Exits with 3 when something does.
    #[command(after_help = help!("  lifeboat --config prod.yml inventory diff latest now\n  lifeboat --config prod.yml inventory diff east.jsonl west.jsonl --ignore role"))]
    Diff {
        /// What should be: a backup's id, `latest`, `now` or a file.
        #[arg(value_name = "A")]
        before: String,
        /// What is: likewise.
        #[arg(value_name = "B")]
        after: String,
        /// Leaves out a kind or a field: app, app.droplet, role; may be repeated.
        #[arg(long = "ignore", value_name = "KIND[.FIELD]")]
        ignored: Vec<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints what it takes to make orgs, spaces and all in them anew.
    #[command(after_help = help!("  lifeboat --config prod.yml inventory plan latest --org sales"))]
    Plan {
        /// A backup's id, `latest`, `now` or a file.
        #[arg(value_name = "WHICH")]
        which: String,
        /// Only of this org.
        #[arg(long, value_name = "NAME")]
        org: Option<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(
    context: &Context,
    settings: &Settings,
    asked: &Asked,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    match asked {
        Asked::Take { out } => take(context, settings, out.as_ref(), stdout),
        Asked::Show { which, lines } => show(context, settings, which, *lines, stdout),
        Asked::Diff {
            before,
            after,
            ignored,
            json,
        } => {
            let named = (&Named::parse(before), &Named::parse(after));
            let found = inventory::diff(context, settings, named, ignored)?;
            if *json {
                let value =
                    serde_json::to_value(&found).context("the result cannot be made JSON")?;
                print_json(stdout, &value)?;
            } else {
                print(stdout, &words::differences(&found, before, after))?;
            }
            Ok(match found.is_equal() {
                true => Ended::Done,
                false => Ended::ProblemsFound,
            })
        }
        Asked::Plan { which, org, json } => {
            let plan = inventory::plan(context, settings, &Named::parse(which), org.as_deref())?;
            if *json {
                let value =
                    serde_json::to_value(&plan).context("the result cannot be made JSON")?;
                return print_json(stdout, &value);
            }
            print(stdout, &words::plan(&plan))
        }
    }
}

/// What could not be had is a problem found.
fn take(
    context: &Context,
    settings: &Settings,
    out: Option<&PathBuf>,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let inventory = inventory::take(context, settings)?;
    let mut text = inventory.text();
    match out {
        None => copied(std::io::copy(&mut text, stdout))?,
        Some(path) => {
            let failed = || format!("{} cannot be written", path.display());
            let mut file = BufWriter::new(File::create_new(path).with_context(failed)?);
            std::io::copy(&mut text, &mut file).with_context(failed)?;
            file.flush().with_context(failed)?;
        }
    }
    for without in &inventory.head.without {
        context.monitor.warn(&format!(
            "inventory: without {} ({}): {}",
            without.source,
            without.kinds.join(", "),
            without.why
        ));
    }
    Ok(match inventory.head.without.is_empty() {
        true => Ended::Done,
        false => Ended::ProblemsFound,
    })
}

fn show(
    context: &Context,
    settings: &Settings,
    which: &str,
    lines: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let named = Named::parse(which);
    if lines {
        inventory::read(context, settings, &named, |mut text| {
            copied(std::io::copy(&mut text, stdout))
        })?;
        return Ok(Ended::Done);
    }
    let head = inventory::read(context, settings, &named, |mut text| {
        let mut reader = Reader::open(&mut text)?;
        // To its end: what is damaged must not be shown as whole.
        while reader.next()?.is_some() {}
        Ok(reader.head().clone())
    })?;
    print(stdout, &words::head(&head))
}

/// `lifeboat inventory show latest --lines | head` is no failure.
fn copied(outcome: std::io::Result<u64>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => {
            outcome.context("the inventory cannot be printed")?;
            Ok(())
        }
    }
}
