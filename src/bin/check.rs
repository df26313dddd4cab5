//! `/opt/resource/check`.

use std::process::ExitCode;

use lifeboat::concourse::{self, Edges, Script};
use lifeboat::config::environment::Environment;
use lifeboat::process;

fn main() -> ExitCode {
    process::run(|shutdown| {
        concourse::run(
            Script::Check,
            Edges {
                directory: std::env::args_os().nth(1).map(Into::into),
                stdin: &mut std::io::stdin().lock(),
                stdout: &mut std::io::stdout().lock(),
                stderr: Box::new(std::io::stderr()),
                environment: Environment::of_process(),
                shutdown,
            },
        )
    })
}
