//! The command line; under the name `check`, `in` or `out`, the resource's script of that name, so that an image
//! holds one program and three links to it.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use lifeboat::cli;
use lifeboat::concourse::{self, Script};
use lifeboat::config::environment::Environment;
use lifeboat::process;

fn main() -> ExitCode {
    process::run(|shutdown| match script() {
        Some(script) => concourse::run(
            script,
            concourse::Edges {
                directory: std::env::args_os().nth(1).map(Into::into),
                stdin: &mut std::io::stdin().lock(),
                stdout: &mut std::io::stdout().lock(),
                stderr: Box::new(std::io::stderr()),
                environment: Environment::of_process(),
                shutdown,
            },
        ),
        None => cli::run(cli::Edges {
            arguments: std::env::args_os().collect(),
            stdout: &mut std::io::stdout().lock(),
            stderr: Box::new(std::io::stderr()),
            terminal: std::io::stderr().is_terminal(),
            environment: Environment::of_process(),
            shutdown,
        }),
    })
}

/// What it was started as.
fn script() -> Option<Script> {
    let name = std::env::args_os().next()?;
    match Path::new(&name).file_name()?.to_str()? {
        "check" => Some(Script::Check),
        "in" => Some(Script::In),
        "out" => Some(Script::Out),
        _ => None,
    }
}
