//! The command line.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use lifeboat::cli::{self, Edges};
use lifeboat::config::environment::Environment;
use lifeboat::process;

fn main() -> ExitCode {
    process::run(|shutdown| {
        cli::run(Edges {
            arguments: std::env::args_os().collect(),
            stdout: &mut std::io::stdout().lock(),
            stderr: Box::new(std::io::stderr()),
            terminal: std::io::stderr().is_terminal(),
            environment: Environment::of_process(),
            shutdown,
        })
    })
}
