//! The command line: flags in, use cases called, results on standard output, the log on
//! standard error.
//!
//! Secrets never come as flags: a process list shows those. The only place with clap.

mod backup;
mod cleanup;
mod fetch;
mod keygen;
mod list;
mod pre_backup_check;
mod show;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use serde_json::{Map, Value};

use crate::clock::SystemClock;
use crate::config::environment::Environment;
use crate::config::{self, Configuration, Door, Invalid, Layer, Layers, document};
use crate::monitor::Monitor;
use crate::operation;
use crate::operation::settings::{Settings, is_backup_id};
use crate::report::bars::Bars;
use crate::report::console::{Console, Look, PACE};
use crate::report::failure;
use crate::secret::Mask;
use crate::shutdown::Shutdown;

macro_rules! help {
    ($example:literal) => {
        concat!(
            "Example:\n",
            $example,
            "\n\nExit codes: 0 done; 1 failed; 2 bad usage; 3 finished, problems found;\n",
            "4 a human is needed (jobs may still be locked: run `lifeboat cleanup`)."
        )
    };
}

/// Encrypted streaming backups of Tanzu Operations Manager foundations.
///
/// The configuration has the same keys as the Concourse resource (source and params in one
/// map) and comes from --config FILE, or from the environment: LIFEBOAT_CONFIG is such a
/// document, LIFEBOAT_KEY (say LIFEBOAT_WORKER_IDENTITY, LIFEBOAT_BOSH_CLIENT_SECRET) gives
/// one key. README.md explains every key.
#[derive(Debug, Parser)]
#[command(
    name = "lifeboat",
    version,
    arg_required_else_help = false,
    after_help = help!("  lifeboat --config prod.yml backup director tas\n  lifeboat --config prod.yml list")
)]
struct Arguments {
    /// Reads the configuration from FILE (YAML or JSON) in place of LIFEBOAT_CONFIG.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Shows requests, remote commands and other details.
    #[arg(long, global = true)]
    debug: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a worker identity and a recovery key, and prints the recovery sheet.
    ///
    /// Nothing is ever overwritten. Without --out-dir the keys are printed.
    #[command(after_help = help!("  lifeboat keygen --out-dir keys\n  # keys/worker_identity   -> the pipeline's secrets\n  # keys/recovery_identity -> a safe, with recovery-sheet.txt; not the pipeline"))]
    Keygen {
        /// Writes the keys into this directory, readable by you alone.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
    },
    /// Backs up components, or stores a directory as one.
    #[command(after_help = help!("  lifeboat --config prod.yml backup director tas\n  lifeboat --config prod.yml backup --from bbr-artifact deployment/redis"))]
    Backup {
        /// director, tas or deployment/NAME; without any those of `backup` in the configuration.
        #[arg(value_name = "COMPONENT")]
        components: Vec<String>,
        /// Stores this directory (bbr's or any other) in place of a live backup.
        #[arg(long, value_name = "DIR")]
        from: Option<String>,
    },
    /// Finds out whether components could be backed up now. Locks nothing.
    #[command(after_help = help!("  lifeboat --config prod.yml pre-backup-check director tas"))]
    PreBackupCheck {
        /// As for backup.
        #[arg(value_name = "COMPONENT")]
        components: Vec<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Unlocks and cleans what a failed or aborted run left behind. Safe to repeat.
    #[command(after_help = help!("  lifeboat --config prod.yml cleanup director tas"))]
    Cleanup {
        /// As for backup; without any those of `cleanup`, else of `backup` in the configuration.
        #[arg(value_name = "COMPONENT")]
        components: Vec<String>,
        /// Also where nothing seems to be left, as bbr's cleanup does.
        #[arg(long)]
        force: bool,
    },
    /// Lists all backups, oldest first.
    #[command(after_help = help!("  lifeboat --config prod.yml list --json | jq -r '.backups[-1].id'"))]
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one backup.
    #[command(after_help = help!("  lifeboat --config prod.yml show latest"))]
    Show {
        /// 20261122T010203Z-7f3a09bc, or `latest`.
        #[arg(value_name = "ID")]
        id: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetches, decrypts and verifies a backup into a directory, in bbr's own layout.
    ///
    /// Needs `recovery_identity` in the configuration.
    #[command(after_help = help!("  LIFEBOAT_RECOVERY_IDENTITY=\"$(cat recovery_identity)\" \\\n    lifeboat --config prod.yml fetch latest restored --component tas\n  bbr deployment -d cf-1a2b restore --artifact-path restored/tas"))]
    Fetch {
        /// 20261122T010203Z-7f3a09bc, or `latest`.
        #[arg(value_name = "ID")]
        id: String,
        /// An empty directory, or one to be made.
        #[arg(value_name = "DIR")]
        into: PathBuf,
        /// Only this component; may be repeated.
        #[arg(long = "component", value_name = "COMPONENT")]
        components: Vec<String>,
        /// Only artifacts whose file names match, with * and ?; may be repeated.
        #[arg(long = "artifact", value_name = "GLOB")]
        artifacts: Vec<String>,
    },
    /// Prints the release and the format it writes.
    #[command(after_help = help!("  lifeboat version"))]
    Version,
}

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

fn door(command: &Command) -> Option<Door> {
    match command {
        Command::Keygen { .. } | Command::Version => None,
        Command::Backup { .. } => Some(Door::Backup),
        Command::PreBackupCheck { .. } => Some(Door::Precheck),
        Command::Cleanup { .. } => Some(Door::Cleanup),
        Command::List { .. } | Command::Show { .. } => Some(Door::Read),
        Command::Fetch { .. } => Some(Door::Fetch),
    }
}

/// What the arguments say, in the configuration's own keys.
fn asked(command: &Command) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut list = |key: &str, items: &[String]| {
        if !items.is_empty() {
            keys.insert(key.to_owned(), items.into());
        }
    };
    match command {
        Command::Backup { components, from } => {
            list("backup", components);
            if let Some(from) = from {
                keys.insert("from".to_owned(), from.as_str().into());
            }
        }
        Command::PreBackupCheck { components, .. } => list("backup", components),
        Command::Cleanup { components, force } => {
            list("cleanup", components);
            if *force {
                keys.insert("force".to_owned(), true.into());
            }
        }
        Command::Fetch {
            components,
            artifacts,
            ..
        } => {
            list("components", components);
            list("artifacts", artifacts);
        }
        Command::Keygen { .. } | Command::List { .. } | Command::Show { .. } | Command::Version => {
        }
    }
    keys
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
        Command::Cleanup { .. } => cleanup::run(context, &configuration, stdout),
        Command::List { json } => list::run(context, settings, json, stdout),
        Command::Show { id, json } => show::run(context, settings, &id, json, stdout),
        Command::Fetch { id, into, .. } => fetch::run(context, &configuration, &id, &into, stdout),
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
        let ids = operation::check(context, settings, None)?;
        return ids.last().cloned().context("there is no backup yet");
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
