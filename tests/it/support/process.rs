//! Runs the shipped programs in a cleared environment.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the program succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// Fails unless the program failed with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// The last line of standard error without its colours, time and level: what an operator
    /// reads first.
    pub fn last_line(&self) -> String {
        let line = plain(self.stderr.trim_end().lines().last().unwrap_or_default());
        line.get(15..).unwrap_or(&line).to_owned()
    }

    /// Standard error without its colours.
    pub fn log(&self) -> String {
        plain(&self.stderr)
    }

    /// The id of the version that `in` or `out` printed.
    #[track_caller]
    pub fn id(&self) -> String {
        self.json()["version"]["id"]
            .as_str()
            .expect("a version with an id")
            .to_owned()
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

/// `check`, `in`, `out` or `lifeboat`: those of `LIFEBOAT_RESOURCE` (the image's
/// `/opt/resource`) when it is set, else those just built.
pub fn program(name: &str) -> PathBuf {
    if let Some(resource) = std::env::var_os("LIFEBOAT_RESOURCE") {
        return Path::new(&resource).join(name);
    }
    match name {
        "check" => env!("CARGO_BIN_EXE_check"),
        "in" => env!("CARGO_BIN_EXE_in"),
        "out" => env!("CARGO_BIN_EXE_out"),
        "lifeboat" => env!("CARGO_BIN_EXE_lifeboat"),
        other => panic!("there is no program {other}"),
    }
    .into()
}

/// A program about to run, with nothing in its environment but PATH.
pub fn command<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program(name));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts a command and gives it its input.
pub fn start(mut command: Command, input: &str) -> Child {
    let mut child = command.spawn().unwrap();
    // A program that refuses its arguments may not read its input.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child
}

/// Waits for the end.
pub fn finish(child: Child) -> Ended {
    Ended::new(child.wait_with_output().unwrap())
}

/// Runs one of the resource's programs with a request, as Concourse does.
pub fn resource(
    name: &str,
    directory: Option<&Path>,
    build: Option<&str>,
    request: &Value,
) -> Ended {
    finish(start_resource(name, directory, build, request))
}

/// The same, started only.
pub fn start_resource(
    name: &str,
    directory: Option<&Path>,
    build: Option<&str>,
    request: &Value,
) -> Child {
    let mut command = command(name, directory);
    if let Some(build) = build {
        command
            .env("ATC_EXTERNAL_URL", "https://ci.example.com")
            .env("BUILD_ID", build)
            .env("BUILD_TEAM_NAME", "main")
            .env("BUILD_PIPELINE_NAME", "backup")
            .env("BUILD_JOB_NAME", "nightly")
            .env("BUILD_NAME", "7");
    }
    start(command, &request.to_string())
}

/// One of the resource's programs with whatever bytes on standard input.
pub fn script(name: &str, directory: Option<&Path>, request: &[u8]) -> Ended {
    let mut child = command(name, directory).spawn().unwrap();
    drop(child.stdin.take().unwrap().write_all(request));
    finish(child)
}

/// The command line.
pub fn cli(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = command("lifeboat", arguments);
    command.envs(environment.iter().copied());
    finish(start(command, ""))
}
