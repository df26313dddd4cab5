//! The command line: flags in, use cases called, results on standard output, the log on
//! standard error.
//!
//! Secrets never come as flags: a process list shows those. The only place with clap.

mod alerts;
mod arguments;
mod backup;
mod cleanup;
mod drill;
mod fetch;
mod hold;
mod inventory;
mod keygen;
mod list;
mod pre_backup_check;
mod prune;
mod recipients;
mod release;
mod repair;
mod replicate;
mod report;
mod restore;
mod show;
mod stage;
mod verify;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser as _};
use serde_json::Value;

use self::arguments::{Arguments, Command, asked, door};
use crate::clock::SystemClock;
use crate::config::environment::Environment;
use crate::config::{self, Configuration, Invalid, Layer, Layers, document};
use crate::monitor::Monitor;
use crate::operation;
use crate::operation::settings::{Settings, is_backup_id};
use crate::report::bars::Bars;
use crate::report::console::{Console, Look, PACE};
use crate::report::failure;
use crate::secret::Mask;
use crate::shutdown::Shutdown;

/// The edges of the process.
pub struct Edges<'a> {
    /// With the program's name first.
    pub arguments: Vec<OsString>,
    /// Results.
    pub stdout: &'a mut dyn Write,
    /// The log.
    pub stderr: Box<dyn Write + Send>,
    /// Whether standard error is a terminal.
    pub terminal: bool,
    /// The configuration, or a part of it.
    pub environment: Environment,
    /// Raised by signals.
    pub shutdown: Shutdown,
}

impl std::fmt::Debug for Edges<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edges").finish_non_exhaustive()
    }
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    ProblemsFound,
}

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;
const PROBLEMS_FOUND: u8 = 3;
const MAY_BE_LOCKED: u8 = 4;

/// The names of all commands, for the manual's test.
pub fn commands() -> Vec<String> {
    let command = Arguments::command();
    command
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .collect()
}

/// Runs one command.
pub fn run(edges: Edges<'_>) -> ExitCode {
    let Edges {
        arguments,
        stdout,
        mut stderr,
        terminal,
        environment,
        shutdown,
    } = edges;
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.render().to_string();
            let out: &mut dyn Write = if error.use_stderr() {
                &mut stderr
            } else {
                stdout
            };
            // Whoever closed the stream does not want the text.
            drop(out.write_all(text.as_bytes()));
            return ExitCode::from(if error.use_stderr() { BAD_USAGE } else { 0 });
        }
    };
    let mask = Arc::new(Mask::default());
    let clock = Arc::new(SystemClock);
    let in_concourse = environment.is_concourse();
    let setup = Setup::read(&arguments, environment, &mask);
    let look = Look {
        colour: terminal || in_concourse,
        debug: arguments.debug || setup.as_ref().is_ok_and(Setup::wants_debug),
        pace: PACE,
    };
    // A Concourse task has a terminal, but its log shows no bars.
    let monitor: Arc<dyn Monitor> = if terminal && !in_concourse {
        Arc::new(Bars::new(clock.clone(), Arc::clone(&mask), look))
    } else {
        Arc::new(Console::new(stderr, clock.clone(), Arc::clone(&mask), look))
    };
    let context = operation::Context {
        monitor: Arc::clone(&monitor),
        shutdown,
        clock,
        mask: Arc::clone(&mask),
    };
    match setup.and_then(|setup| dispatch(arguments.command, setup.0, &context, stdout)) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::ProblemsFound) => ExitCode::from(PROBLEMS_FOUND),
        Err(error) => {
            for line in failure::lines(&error, &mask) {
                monitor.error(&line);
            }
            ExitCode::from(if failure::may_be_locked(&error) {
                MAY_BE_LOCKED
            } else {
                FAILED
            })
        }
    }
}

/// A configuration, for those commands that need one.
struct Setup(Option<Configuration>);

impl Setup {
    fn read(arguments: &Arguments, environment: Environment, mask: &Mask) -> Result<Self> {
        let Some(door) = door(&arguments.command) else {
            return Ok(Self(None));
        };
        environment.register(mask);
        let mut layers = environment.layers()?;
        if let Some(file) = &arguments.config {
            if environment.has_document() {
                return Err(Invalid {
                    place: "--config".to_owned(),
                    message: "stands beside LIFEBOAT_CONFIG; give one".to_owned(),
                }
                .into());
            }
            // Single variables win over the file, the file over those of bosh.
            layers.insert(1, document::read(file)?);
        }
        layers.push(Layer::of_single_keys(
            "command line: ",
            Value::Object(asked(&arguments.command)),
        ));
        let layers = Layers::new(layers);
        layers.register(mask);
        Ok(Self(Some(config::resolve(layers, &door, &environment)?)))
    }

    fn wants_debug(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|configuration| configuration.debug)
    }
}

fn dispatch(
    command: Command,
    configuration: Option<Configuration>,
    context: &operation::Context,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Some(configuration) = configuration else {
        return match command {
            Command::Keygen { out_dir } => {
                keygen::run(out_dir.as_deref(), context.clock.now(), stdout)
            }
            _ => print(stdout, VERSION),
        };
    };
    for warning in &configuration.warnings {
        context.monitor.warn(warning);
    }
    let settings = &configuration.settings;
    match command {
        Command::Backup { .. } => backup::run(context, &configuration, stdout),
        Command::PreBackupCheck { json, .. } => {
            pre_backup_check::run(context, &configuration, json, stdout)
        }
        Command::Cleanup { .. } | Command::RestoreCleanup { .. } => {
            cleanup::run(context, &configuration, stdout)
        }
        Command::Restore { json, .. } => restore::run(context, &configuration, json, stdout),
        Command::Drill { json, .. } => drill::run(context, &configuration, json, stdout),
        Command::DrillCleanup { .. } => drill::run(context, &configuration, false, stdout),
        Command::Stage(asked) => stage::run(context, &configuration, &asked, stdout),
        Command::List { all, limit, json } => {
            let most = (!all).then_some(limit);
            list::run(context, settings, most, json, stdout)
        }
        Command::Recipients { asked } => recipients::run(context, settings, &asked, stdout),
        Command::Replicate { json } => replicate::run(context, settings, json, stdout),
        Command::Verify { json, .. } => verify::run(context, &configuration, json, stdout),
        Command::Inventory { asked } => inventory::run(context, settings, &asked, stdout),
        Command::Repair { read, part, json } => {
            repair::run(context, settings, read, part.as_deref(), json, stdout)
        }
        Command::Report {
            html,
            json,
            metrics,
            to_store,
        } => {
            let outputs = report::Outputs {
                html,
                json,
                metrics,
                to_store,
            };
            report::run(context, settings, &outputs, stdout)
        }
        Command::Alerts { json } => alerts::run(context, settings, json, stdout),
        Command::Show { id, json } => show::run(context, settings, &id, json, stdout),
        Command::Fetch { id, into, .. } => fetch::run(context, &configuration, &id, &into, stdout),
        Command::Prune { dry_run, json } => prune::run(context, settings, dry_run, json, stdout),
        Command::Hold { id, why } => hold::run(context, settings, &id, &why, stdout),
        Command::Release { id } => release::run(context, settings, &id, stdout),
        Command::Keygen { .. } | Command::Version => Ok(Ended::Done),
    }
}

const VERSION: &str = concat!(
    "lifeboat ",
    env!("CARGO_PKG_VERSION"),
    ", repository format 1\n"
);

fn print(stdout: &mut dyn Write, text: &str) -> Result<Ended> {
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        // `lifeboat list | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Ended::Done),
        outcome => {
            outcome.context("standard output cannot be written")?;
            Ok(Ended::Done)
        }
    }
}

fn print_json(stdout: &mut dyn Write, value: &Value) -> Result<Ended> {
    let text = serde_json::to_string_pretty(value).context("the result cannot be made JSON")?;
    print(stdout, &format!("{text}\n"))
}

/// `latest`, or an id as it is.
fn backup_id(context: &operation::Context, settings: &Settings, id: &str) -> Result<String> {
    if id == "latest" {
        return operation::newest(context, settings);
    }
    if !is_backup_id(id) {
        return Err(Invalid {
            place: "ID".to_owned(),
            message: "is not a backup's id (such as 20261122T010203Z-7f3a09bc) and not `latest`"
                .to_owned(),
        }
        .into());
    }
    Ok(id.to_owned())
}
