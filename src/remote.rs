//! A machine on which commands run: the port that `bbr` speaks to and `ssh` implements.
//!
//! The contract of every implementation (one conformance suite checks all of them):
//! - several commands may run at once over one [`Remote`];
//! - standard output and error are read side by side, neither can stall the other;
//! - a command that ends without an exit status is an [`Error`], never success;
//! - when the [`Shutdown`] that a command was started with is raised, reads, writes and
//!   waits return [`Error::Stopped`] (as `io::Error` where the trait asks for one) within
//!   a second; what the remote process then does is the caller's to mend.

use std::fmt;
use std::io::{Read, Write};
use std::time::Duration;

use crate::shutdown::{Shutdown, Stopped};

/// Something that runs commands on one instance.
pub trait Remote: Send + Sync + fmt::Debug {
    /// `group/id`, for people.
    fn name(&self) -> &str;

    /// Whether it is known to run Windows, where there is no POSIX shell to run anything with.
    fn is_windows(&self) -> bool {
        false
    }

    /// Starts a command.
    ///
    /// # Errors
    /// When the connection is gone or the channel cannot be opened.
    fn start(&self, command: &Command, shutdown: &Shutdown) -> Result<Running, Error>;

    /// Runs a command to its end with empty input, keeping at most [`OUTPUT_LIMIT`] of output.
    ///
    /// # Errors
    /// As [`Remote::start`], and when the output is longer than that, or the connection ends
    /// without an exit status. An exit status other than 0 is not an error here.
    fn run(&self, command: &Command, shutdown: &Shutdown) -> Result<Output, Error> {
        let mut running = self.start(command, shutdown)?;
        drop(running.stdin.take());
        let mut stdout = Vec::new();
        let read = (&mut running.stdout)
            .take(OUTPUT_LIMIT + 1)
            .read_to_end(&mut stdout);
        if stdout.len() as u64 > OUTPUT_LIMIT {
            return Err(Error::TooMuchOutput {
                remote: self.name().to_owned(),
                command: command.label.clone(),
            });
        }
        if let Err(error) = read {
            // The wait knows better than the read why there is no more output.
            running.finish()?;
            return Err(Error::Io {
                remote: self.name().to_owned(),
                source: error,
            });
        }
        let exit = running.finish()?;
        Ok(Output { stdout, exit })
    }
}

/// The most output in bytes that [`Remote::run`] keeps: a listing of every BBR script of an
/// instance is a few kilobytes, a metadata script's YAML likewise.
pub const OUTPUT_LIMIT: u64 = 16 * 1024 * 1024;

/// A command: words, never a shell line; the implementation quotes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// For errors and the debug log: what it does, without secrets.
    pub label: String,
    /// The words. Bytes, since file names are.
    pub words: Vec<Vec<u8>>,
    /// Environment, set through `sudo` (or `env` without).
    pub environment: Vec<(String, String)>,
    /// Whether it runs as root, through `sudo -n`.
    pub as_root: bool,
    /// How long it may stay without any output before it is given up; `None`: for ever
    /// (a BBR script may be silent for hours; the connection's keepalives still guard it).
    pub silence: Option<Duration>,
}

impl Command {
    /// A command run as root through `sudo`.
    pub fn as_root<W: AsRef<[u8]>>(label: &str, words: impl IntoIterator<Item = W>) -> Self {
        Self {
            label: label.to_owned(),
            words: words
                .into_iter()
                .map(|word| word.as_ref().to_vec())
                .collect(),
            environment: Vec::new(),
            as_root: true,
            silence: None,
        }
    }

    /// The same as the login user.
    #[must_use]
    pub fn as_login_user(mut self) -> Self {
        self.as_root = false;
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Limits the silence.
    #[must_use]
    pub fn silent_for(mut self, time: Duration) -> Self {
        self.silence = Some(time);
        self
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.label)
    }
}

/// A command that runs.
pub struct Running {
    /// Its standard input; dropping it sends end-of-file.
    pub stdin: Option<Box<dyn Write + Send>>,
    /// Its standard output, until end-of-file.
    pub stdout: Box<dyn Read + Send>,
    /// Waits for its end.
    pub wait: Box<dyn FnOnce() -> Result<Exit, Error> + Send>,
}

impl Running {
    /// Waits for the end; standard output that nobody read is thrown away.
    ///
    /// # Errors
    /// When the connection ended without an exit status, or a signal stopped the wait.
    pub fn finish(mut self) -> Result<Exit, Error> {
        drop(self.stdin.take());
        // A failed read is the wait's to explain.
        drop(std::io::copy(&mut self.stdout, &mut std::io::sink()));
        (self.wait)()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit status; 128 + number for a process that a signal ended.
    pub status: i32,
    /// The end of its standard error, trimmed, at most 16 KiB, undecodable bytes replaced.
    pub stderr: String,
}

impl Exit {
    /// Whether the status is 0.
    pub fn ok(&self) -> bool {
        self.status == 0
    }
}

/// What [`Remote::run`] kept.
#[derive(Debug, Clone)]
pub struct Output {
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// How it ended.
    pub exit: Exit,
}

/// Why a command could not be run to an exit status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The instance cannot be reached or refuses us; the text says why and what to do.
    #[error("{remote}: {message}")]
    Connect {
        /// `group/id`.
        remote: String,
        /// One sentence.
        message: String,
    },
    /// The connection ended, or fell silent, before the command's exit status came.
    #[error(
        "{remote}: the connection ended before `{command}` reported an exit status ({message}); \
         look for a network failure or a restarted sshd"
    )]
    Lost {
        /// `group/id`.
        remote: String,
        /// The command's label.
        command: String,
        /// What was seen.
        message: String,
    },
    /// The command said nothing for longer than it may.
    #[error("{remote}: `{command}` gave no sign of life for {seconds} s and was given up")]
    Silent {
        /// `group/id`.
        remote: String,
        /// The command's label.
        command: String,
        /// The limit.
        seconds: u64,
    },
    /// More output than [`OUTPUT_LIMIT`].
    #[error("{remote}: `{command}` printed more than 16 MiB and was given up")]
    TooMuchOutput {
        /// `group/id`.
        remote: String,
        /// The command's label.
        command: String,
    },
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Reading or writing failed.
    #[error("{remote}: the stream failed")]
    Io {
        /// `group/id`.
        remote: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The instance it is about, as [`Remote::name`] gives it.
    pub fn remote(&self) -> Option<&str> {
        match self {
            Self::Connect { remote, .. }
            | Self::Lost { remote, .. }
            | Self::Silent { remote, .. }
            | Self::TooMuchOutput { remote, .. }
            | Self::Io { remote, .. } => Some(remote),
            Self::Stopped(_) => None,
        }
    }
}

/// [`Stopped`] as an `io::Error`, for readers and writers.
pub fn stopped_io() -> std::io::Error {
    std::io::Error::other(Stopped)
}
