//! One artifact on its way from or to its instance: what a drain and an upload share, which is how
//! their commands are run and how their failures are told.

use super::commands::DrainPaths;
use super::error::{Error, Phase, Trouble};
use super::target::Artifact;
use super::workflow::Run;
use crate::remote::{self, Command, Output, Remote, Running};
use crate::shutdown::Shutdown;

/// See the module.
pub(super) struct Transfer<'a> {
    pub(super) remote: &'a dyn Remote,
    pub(super) paths: DrainPaths,
    pub(super) artifact: &'a Artifact,
    pub(super) shutdown: &'a Shutdown,
    phase: Phase,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        run: &'a Run,
        artifact: &'a Artifact,
        phase: Phase,
        shutdown: &'a Shutdown,
    ) -> Self {
        Self {
            remote: run.target().instance(artifact.job).remote.as_ref(),
            paths: DrainPaths::new(&run.target().settings, &artifact.place.directory),
            artifact,
            shutdown,
            phase,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Starts a command that is told nothing. `doing` names it in errors.
    pub(super) fn start(&self, doing: &str, command: &Command) -> Result<Running, Error> {
        let mut running = self
            .remote
            .start(command, self.shutdown)
            .map_err(|error| self.lost(doing, error))?;
        drop(running.stdin.take());
        Ok(running)
    }

    /// Runs a command to a good end.
    pub(super) fn run(&self, doing: &str, command: &Command) -> Result<Output, Error> {
        let output = self
            .remote
            .run(command, self.shutdown)
            .map_err(|error| self.lost(doing, error))?;
        if !output.exit.ok() {
            return Err(self.failed(doing, output.exit));
        }
        Ok(output)
    }

    /// Lists the artifact on the instance, so that it can be hashed and archived. Gives the sum of
    /// the files' sizes, in bytes.
    pub(super) fn list(&self) -> Result<u64, Error> {
        let output = self.run("listing", &self.paths.list())?;
        String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .nth(1)
            .and_then(|bytes| bytes.parse().ok())
            .ok_or_else(|| self.said("the listing does not end with its size"))
    }

    /// A command that ended badly.
    pub(super) fn failed(&self, doing: &str, exit: remote::Exit) -> Error {
        Error {
            phase: self.phase,
            trouble: Trouble::Command {
                instance: self.artifact.instance.clone(),
                doing: self.doing(doing),
                status: exit.status,
                stderr: exit.stderr,
            },
        }
    }

    /// A command whose end nobody knows.
    pub(super) fn lost(&self, doing: &str, error: remote::Error) -> Error {
        Error::remote(self.phase, &self.doing(doing), error)
    }

    /// A sentence about the artifact.
    pub(super) fn said(&self, text: &str) -> Error {
        let text = format!("{}: {text}", self.whose());
        Error::said(self.phase, text)
    }

    /// Instance and artifact, for people.
    pub(super) fn whose(&self) -> String {
        format!(
            "{}, artifact {}",
            self.artifact.instance, self.artifact.place.file_name
        )
    }

    fn doing(&self, doing: &str) -> String {
        format!("{doing} of artifact {}", self.artifact.place.file_name)
    }
}
