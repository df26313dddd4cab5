//! A command's two ends on our side: what [`Running`] is made of.
//!
//! Both streams are the local half of a socket pair; its buffers are the bounded queue between
//! the driver and whoever reads or writes. Reads and writes wait in short slices, so that a
//! raised [`Shutdown`] ends them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown as Half;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use socket2::Socket;

use super::link::{End, Link, Purpose, Task};
use crate::remote::{Error, Exit, Running, stopped_io};
use crate::shutdown::{LOOK, Shutdown, Stopped};

/// Interest in a task; when the last holder is gone the channel is closed.
#[derive(Debug)]
struct Interest {
    task: Arc<Task>,
    link: Arc<Link>,
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.link.abandon(&self.task);
    }
}

/// Who a command belongs to, for errors.
#[derive(Debug, Clone)]
pub(super) struct Title {
    pub(super) remote: String,
    pub(super) user: String,
    pub(super) command: String,
    pub(super) as_root: bool,
}

/// What a start came to.
pub(super) enum Start {
    Running(Running),
    /// The connection was gone before anything was asked of the server.
    NotStarted(String),
}

/// Starts a command over a link.
pub(super) fn start(
    link: &Arc<Link>,
    title: Title,
    purpose: Purpose,
    shutdown: &Shutdown,
) -> Result<Start, Error> {
    let (ours, theirs) = pair().map_err(|error| Error::Connect {
        remote: title.remote.clone(),
        message: format!("cannot start `{}`: {error}", title.command),
    })?;
    let interest = Arc::new(Interest {
        task: link.ask(purpose, theirs),
        link: Arc::clone(link),
    });
    match interest.task.wait_started(shutdown)? {
        None => {}
        Some(End::NotStarted(reason)) => return Ok(Start::NotStarted(reason)),
        Some(end) => return Err(unhappy(&title, end)),
    }
    let end = Arc::new(LocalEnd {
        socket: ours,
        interest: Arc::clone(&interest),
        shutdown: shutdown.clone(),
    });
    let shutdown = shutdown.clone();
    Ok(Start::Running(Running {
        stdin: Some(Box::new(Stdin(Arc::clone(&end)))),
        stdout: Box::new(Stdout(end)),
        wait: Box::new(move || match interest.task.wait_ended(&shutdown)? {
            End::Exit(exit) => sudo_ran(&title, exit),
            end => Err(unhappy(&title, end)),
        }),
    }))
}

/// Our half, which waits in slices, and the driver's, which never waits.
fn pair() -> io::Result<(UnixStream, Socket)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(LOOK))?;
    ours.set_write_timeout(Some(LOOK))?;
    theirs.set_nonblocking(true)?;
    Ok((ours, Socket::from(std::os::fd::OwnedFd::from(theirs))))
}

fn unhappy(title: &Title, end: End) -> Error {
    let Title {
        remote, command, ..
    } = title.clone();
    match end {
        End::Refused(why) => Error::Connect {
            remote,
            message: format!("cannot run `{command}`: {why}"),
        },
        End::Silent(seconds) => Error::Silent {
            remote,
            command,
            seconds,
        },
        End::Lost(message) | End::NotStarted(message) => Error::Lost {
            remote,
            command,
            message,
        },
        // Neither is an end of a command that anyone waits for.
        End::Exit(_) | End::Closed => Error::Lost {
            remote,
            command,
            message: "the channel was closed".to_owned(),
        },
    }
}

/// sudo's own refusal must not pass for the command's exit status: "1" of `stat` means "absent".
/// It is known by the last line, since a login shell may have its own to say before.
fn sudo_ran(title: &Title, exit: Exit) -> Result<Exit, Error> {
    let last = exit.stderr.lines().next_back().unwrap_or_default();
    let says = |part: &str| last.starts_with("sudo: ") && last.contains(part);
    let denies = |part: &str| last.contains(&title.user) && last.contains(part);
    let cure = match exit.status {
        _ if !title.as_root => return Ok(exit),
        127 if last.ends_with("sudo: command not found") || last.ends_with("sudo: not found") => {
            "install sudo there"
        }
        1 if says("password is required") => "give it `NOPASSWD: ALL` in sudoers",
        1 if says("must have a tty") || says("terminal is required") => {
            "give it `NOPASSWD: ALL` and remove `requiretty` in sudoers"
        }
        1 if says("not allowed to set") => "give it `SETENV: NOPASSWD: ALL` in sudoers",
        1 if denies("is not in the sudoers file")
            || denies("is not allowed to execute")
            || denies("may not run sudo") =>
        {
            "give it `ALL=(ALL) NOPASSWD: ALL` in sudoers"
        }
        _ => return Ok(exit),
    };
    Err(Error::Connect {
        remote: title.remote.clone(),
        message: format!(
            "user `{}` may not run `{}` through sudo ({last}); {cure}",
            title.user, title.command
        ),
    })
}

#[derive(Debug)]
struct LocalEnd {
    socket: UnixStream,
    interest: Arc<Interest>,
    shutdown: Shutdown,
}

impl LocalEnd {
    /// Repeats a read or write until it does something or the flag is raised.
    fn attempt(&self, mut act: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            if self.shutdown.is_raised() {
                return Err(stopped_io());
            }
            match act() {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                other => return other,
            }
        }
    }

    /// Why the other half is closed: `Ok` when the command ran to its end.
    fn verdict(&self) -> io::Result<()> {
        match self.interest.task.wait_ended(&self.shutdown) {
            Ok(End::Exit(_) | End::Closed) => Ok(()),
            Ok(End::Lost(reason) | End::NotStarted(reason) | End::Refused(reason)) => {
                Err(io::Error::new(ErrorKind::ConnectionAborted, reason))
            }
            Ok(End::Silent(seconds)) => Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("no sign of life for {seconds} s"),
            )),
            Err(Stopped) => Err(stopped_io()),
        }
    }
}

struct Stdin(Arc<LocalEnd>);

impl Write for Stdin {
    /// [`ErrorKind::BrokenPipe`] once the command has ended; whether that is right is for its
    /// exit status to say.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.attempt(|| (&self.0.socket).write(bytes)) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ) =>
            {
                self.0.verdict()?;
                Err(ErrorKind::BrokenPipe.into())
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // The other half is gone: then nobody waits for the end-of-file.
        drop(self.0.socket.shutdown(Half::Write));
    }
}

struct Stdout(Arc<LocalEnd>);

impl Read for Stdout {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if space.is_empty() {
            return Ok(0);
        }
        match self.0.attempt(|| (&self.0.socket).read(space)) {
            Ok(0) => self.0.verdict().map(|()| 0),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.0.verdict().map(|()| 0)
            }
            other => other,
        }
    }
}

impl Drop for Stdout {
    fn drop(&mut self) {
        // As above.
        drop(self.0.socket.shutdown(Half::Read));
    }
}
