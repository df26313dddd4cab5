//! A living connection as its users see it: ask for a channel, learn how it ended.
//!
//! The thread that owns the connection is in `driver`; this is the mailbox to it. A [`Link`]
//! that has died stays dead; `connector` makes the next one.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::command::Completion;
use super::driver::Driver;
use crate::remote::Exit;
use crate::shutdown::{LOOK, Shutdown, Stopped};

/// What a channel is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A shell line that reports its completion.
    Command {
        line: String,
        completion: Completion,
        silence: Option<Duration>,
    },
    /// A TCP connection made by the server.
    Tunnel { host: String, port: u16 },
}

/// A channel to open, and the local socket whose bytes it carries.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) purpose: Purpose,
    pub(super) endpoint: Socket,
    pub(super) task: Arc<Task>,
}

/// How a channel ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// The command ran to its end.
    Exit(Exit),
    /// A tunnel was closed from the other side.
    Closed,
    /// The connection ended before anything was asked of the server: to ask again is safe.
    NotStarted(String),
    /// The server refused it, or its shell did not run it.
    Refused(String),
    /// The connection ended while it ran.
    Lost(String),
    /// It said nothing for this many seconds.
    Silent(u64),
}

/// What came of asking for a channel.
pub(super) enum Opened {
    Yes,
    No(End),
    /// Others are before it.
    NotYet,
    /// The server does not answer.
    Never,
}

#[derive(Debug)]
enum Phase {
    Waiting,
    Opening,
    Started,
    Ended(End),
}

/// One channel's fate, shared between the driver and those who wait for it.
#[derive(Debug)]
pub(super) struct Task {
    phase: Mutex<Phase>,
    changed: Condvar,
    abandoned: AtomicBool,
}

impl Task {
    fn new() -> Self {
        Self {
            phase: Mutex::new(Phase::Waiting),
            changed: Condvar::new(),
            abandoned: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver: the server has been asked for the channel.
    pub(super) fn opening(&self) {
        let mut phase = self.lock();
        if matches!(*phase, Phase::Waiting) {
            *phase = Phase::Opening;
        }
    }

    /// The driver: it runs.
    pub(super) fn started(&self) {
        let mut phase = self.lock();
        if matches!(*phase, Phase::Waiting | Phase::Opening) {
            *phase = Phase::Started;
        }
        self.changed.notify_all();
    }

    /// The driver: it is over. The first reason stays.
    pub(super) fn ended(&self, end: End) {
        let mut phase = self.lock();
        if !matches!(*phase, Phase::Ended(_)) {
            *phase = Phase::Ended(end);
        }
        self.changed.notify_all();
    }

    /// Whether nobody is interested any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Waits for the start; an end before it comes back as such.
    pub(super) fn wait_started(&self, shutdown: &Shutdown) -> Result<Option<End>, Stopped> {
        self.wait(shutdown, |phase| match phase {
            Phase::Waiting | Phase::Opening => None,
            Phase::Started | Phase::Ended(End::Exit(_) | End::Closed | End::Lost(_)) => Some(None),
            Phase::Ended(end) => Some(Some(end.clone())),
        })
    }

    /// As [`Task::wait_started`], but gives up on a task that is not yet being opened at
    /// `turn`, and on any at `deadline`.
    pub(super) fn wait_started_until(
        &self,
        turn: Instant,
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> Result<Opened, Stopped> {
        self.wait(shutdown, |phase| match phase {
            Phase::Waiting if Instant::now() >= turn => Some(Opened::NotYet),
            Phase::Waiting | Phase::Opening if Instant::now() >= deadline => Some(Opened::Never),
            Phase::Waiting | Phase::Opening => None,
            Phase::Started => Some(Opened::Yes),
            Phase::Ended(end) => Some(Opened::No(end.clone())),
        })
    }

    /// Waits for the end.
    pub(super) fn wait_ended(&self, shutdown: &Shutdown) -> Result<End, Stopped> {
        self.wait(shutdown, |phase| match phase {
            Phase::Waiting | Phase::Opening | Phase::Started => None,
            Phase::Ended(end) => Some(end.clone()),
        })
    }

    fn wait<T>(
        &self,
        shutdown: &Shutdown,
        look: impl Fn(&Phase) -> Option<T>,
    ) -> Result<T, Stopped> {
        let mut phase = self.lock();
        loop {
            if let Some(seen) = look(&phase) {
                return Ok(seen);
            }
            shutdown.check()?;
            phase = self
                .changed
                .wait_timeout(phase, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// The mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<MailboxState>,
    wake: UnixStream,
}

#[derive(Debug, Default)]
struct MailboxState {
    requests: Vec<Request>,
    quit: bool,
    dead: Option<String>,
    /// Since when the same channel is being opened.
    opening: Option<Instant>,
}

impl Mailbox {
    /// The mailbox, and the socket that becomes readable when something is in it.
    pub(super) fn new() -> std::io::Result<(Arc<Self>, UnixStream)> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let mailbox = Self {
            state: Mutex::default(),
            wake,
        };
        Ok((Arc::new(mailbox), woken))
    }

    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the driver look around.
    pub(super) fn wake(&self) {
        // Full: it will wake anyway. Closed: it is gone.
        drop((&self.wake).write(&[1]));
    }

    /// The driver: what has come in; `None` when it is to stop.
    pub(super) fn take(&self) -> Option<Vec<Request>> {
        let mut state = self.lock();
        if state.quit {
            return None;
        }
        Some(std::mem::take(&mut state.requests))
    }

    /// The driver: a channel is being opened, or none.
    pub(super) fn opening(&self, since: Option<Instant>) {
        self.lock().opening = since;
    }

    /// The driver: it ends, and why. Whatever came in meanwhile never started.
    pub(super) fn close(&self, reason: &str) {
        let requests = {
            let mut state = self.lock();
            state.dead = Some(reason.to_owned());
            std::mem::take(&mut state.requests)
        };
        for request in requests {
            request.task.ended(End::NotStarted(reason.to_owned()));
        }
    }
}

/// A connection with its thread; dropping it ends both, and every channel with them.
#[derive(Debug)]
pub(super) struct Link {
    mailbox: Arc<Mailbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Link {
    /// Puts a session to work.
    pub(super) fn spawn(
        name: &str,
        driver: Driver,
        mailbox: Arc<Mailbox>,
    ) -> std::io::Result<Self> {
        let thread = std::thread::Builder::new()
            .name(format!("ssh {name}"))
            .spawn(move || driver.run())?;
        Ok(Self {
            mailbox,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Whether channels can still be asked for.
    pub(super) fn is_alive(&self) -> bool {
        self.mailbox.lock().dead.is_none()
    }

    /// Whether one channel has been in opening for so long. libssh2 opens one at a time, and
    /// the server may be waiting for a host that does not answer.
    pub(super) fn is_held_up(&self, patience: Duration) -> bool {
        self.mailbox
            .lock()
            .opening
            .is_some_and(|since| since.elapsed() > patience)
    }

    /// Asks for a channel. Its bytes go through `endpoint`.
    pub(super) fn ask(&self, purpose: Purpose, endpoint: Socket) -> Arc<Task> {
        let task = Arc::new(Task::new());
        let request = Request {
            purpose,
            endpoint,
            task: Arc::clone(&task),
        };
        let mut state = self.mailbox.lock();
        if let Some(reason) = &state.dead {
            task.ended(End::NotStarted(reason.clone()));
        } else {
            state.requests.push(request);
            drop(state);
            self.mailbox.wake();
        }
        task
    }

    /// Nobody is interested in a task any more; the driver closes its channel.
    pub(super) fn abandon(&self, task: &Task) {
        task.abandoned.store(true, Ordering::Release);
        self.mailbox.wake();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.mailbox.lock().quit = true;
        self.mailbox.wake();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic in there has ended all its tasks, and has been reported.
            drop(thread.join());
        }
    }
}
