//! Runs the programs in a cleared environment.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The last line of the log without its colours, time and level.
    pub(crate) fn last_line(&self) -> String {
        let line = plain(self.stderr.lines().last().unwrap_or_default());
        line.get(15..).unwrap_or(&line).to_owned()
    }
}

fn plain(line: &str) -> String {
    let mut rest = line;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    text + rest
}

fn program(name: &str) -> &'static str {
    match name {
        "check" => env!("CARGO_BIN_EXE_check"),
        "in" => env!("CARGO_BIN_EXE_in"),
        "out" => env!("CARGO_BIN_EXE_out"),
        _ => env!("CARGO_BIN_EXE_lifeboat"),
    }
}

/// One of the resource's scripts with a request.
pub(crate) fn script(name: &str, directory: Option<&Path>, request: &[u8]) -> Run {
    let mut command = Command::new(program(name));
    command.args(directory);
    run(command, request)
}

/// The command line.
pub(crate) fn cli(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let mut command = Command::new(program("lifeboat"));
    command.args(arguments);
    run_in(command, environment, b"")
}

fn run(command: Command, stdin: &[u8]) -> Run {
    run_in(command, &[], stdin)
}

fn run_in(mut command: Command, environment: &[(&str, &str)], stdin: &[u8]) -> Run {
    let mut child = command
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that refuses early may not read all of it.
    drop(child.stdin.take().unwrap().write_all(stdin));
    let output = child.wait_with_output().expect("the program ends");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("standard output is text"),
        stderr: String::from_utf8(output.stderr).expect("the log is text"),
    }
}
