//! The resource: one JSON request in, one JSON response out, a log for people.
//!
//! Translates requests into use cases and results into versions and metadata. Standard
//! output carries exactly one document, written last, and every value in it is a text:
//! Concourse fails the step *after* the work otherwise.

mod check;
mod get;
mod metadata;
mod put;
mod request;
mod version;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::clock::SystemClock;
use crate::config::environment::Environment;
use crate::config::{self, Configuration, Door};
use crate::monitor::{Level, Monitor as _};
use crate::operation::Context;
use crate::report::console::{Console, Look, PACE};
use crate::report::failure;
use crate::secret::Mask;
use crate::shutdown::Shutdown;
use request::Request;

/// Which of the three scripts runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// `/opt/resource/check`.
    Check,
    /// `/opt/resource/in`.
    In,
    /// `/opt/resource/out`.
    Out,
}

/// The edges of the process.
pub struct Edges<'a> {
    /// The first argument: the directory of `in` and `out`.
    pub directory: Option<PathBuf>,
    /// The request.
    pub stdin: &'a mut dyn Read,
    /// The response.
    pub stdout: &'a mut dyn Write,
    /// The log.
    pub stderr: Box<dyn Write + Send>,
    /// For the build's identity.
    pub environment: Environment,
    /// Raised by signals.
    pub shutdown: Shutdown,
}

impl std::fmt::Debug for Edges<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edges")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Runs one script. The exit code is 0 or 1; the last line of the log says why.
pub fn run(script: Script, edges: Edges<'_>) -> ExitCode {
    let Edges {
        directory,
        stdin,
        stdout,
        stderr,
        environment,
        shutdown,
    } = edges;
    let mask = Arc::new(Mask::default());
    let clock = Arc::new(SystemClock);
    environment.register(&mask);
    let request = Request::read(stdin, &mask);
    let look = Look {
        colour: true,
        debug: request.as_ref().is_ok_and(Request::wants_debug),
        pace: PACE,
    };
    let monitor = Arc::new(Console::new(stderr, clock.clone(), Arc::clone(&mask), look));
    let context = Context {
        monitor: monitor.clone(),
        shutdown,
        clock,
        mask: Arc::clone(&mask),
    };
    let outcome = request
        .and_then(|request| answer(script, request, directory, &environment, &context))
        .and_then(|response| write(&response, stdout));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in failure::lines(&error, &mask) {
                monitor.say(Level::Error, &line);
            }
            ExitCode::FAILURE
        }
    }
}

fn answer(
    script: Script,
    request: Request,
    directory: Option<PathBuf>,
    environment: &Environment,
    context: &Context,
) -> Result<Value> {
    match script {
        Script::Check => {
            let version = request.version.clone();
            let configuration = configuration(request, &Door::Read, environment, context)?;
            check::run(context, &configuration, version.as_ref())
        }
        Script::In => {
            let directory = existing(directory, "in")?;
            let Some(version) = request.version.clone() else {
                bail!("version: is missing; Concourse names the backup to get in it");
            };
            let configuration = configuration(request, &Door::Get, environment, context)?;
            get::run(context, &configuration, &version, &directory)
        }
        Script::Out => {
            let inputs = existing(directory, "out")?;
            let configuration =
                configuration(request, &Door::Put { inputs }, environment, context)?;
            put::run(context, &configuration)
        }
    }
}

fn configuration(
    request: Request,
    door: &Door,
    environment: &Environment,
    context: &Context,
) -> Result<Configuration> {
    let configuration = config::resolve(request.layers(), door, environment)?;
    for warning in &configuration.warnings {
        context.monitor.warn(warning);
    }
    Ok(configuration)
}

fn existing(directory: Option<PathBuf>, script: &str) -> Result<PathBuf> {
    let directory = directory.with_context(|| {
        format!(
            "`{script}` is started by Concourse with a directory as its argument; there is none"
        )
    })?;
    if !directory.is_dir() {
        bail!(
            "{} is not a directory; Concourse makes it before it starts `{script}`",
            directory.display()
        );
    }
    std::path::absolute(&directory).context("the working directory is gone")
}

fn write(response: &Value, stdout: &mut dyn Write) -> Result<()> {
    let mut line = response.to_string();
    line.push('\n');
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .context("the response could not be written to standard output")
}
