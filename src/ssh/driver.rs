//! The thread that owns a connection: opens channels, steps them, watches the peer's health.
//!
//! One thread, one poll(2), no blocking call. Three things end a connection: an error on it,
//! the peer's silence, and [`Link`](super::link::Link) being dropped.
//!
//! Keepalive: after an interval in which nothing was received, a channel of a type that no
//! server knows is asked for. Every server must answer that with a refusal (RFC 4254, 5.1),
//! which proves it alive. libssh2's own `keepalive_send` is not used: it builds its message on
//! its stack, so that one sent half stalls the connection, keeps every reply in memory for
//! good, and does not read; while an open request reads what has come in, and so answers the
//! server's own keepalives even when no channel is open.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::Shutdown as Half;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::Socket;
use ssh2::Session;

use super::channel::Conduit;
use super::dial::timespec;
use super::handshake::{code, directions, number, would_block};
use super::link::{End, Mailbox, Purpose, Request};
use super::wire::{Dead, Wire};
use super::{MIN_KEEPALIVE, Settings};

/// Keepalives that may stay unanswered.
const UNANSWERED: u32 = 3;
/// The pause between two refused attempts.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);
/// What may be under way to us per channel, as OpenSSH's own client has it.
const WINDOW: u32 = 2 * 1024 * 1024;
const PACKET: u32 = 32 * 1024;

enum Opening {
    Probe,
    Channel(Request),
}

/// See the module.
pub(super) struct Driver {
    session: Session,
    socket: Arc<Socket>,
    wire: Wire,
    mailbox: Arc<Mailbox>,
    woken: UnixStream,
    /// How many commands may run at once.
    limit: usize,
    keepalive: Duration,
    waiting: VecDeque<Request>,
    opening: Option<Opening>,
    conduits: Vec<Conduit>,
    heard: Instant,
    probed: Instant,
    unanswered: u32,
    /// How long a server without any command of ours may refuse one before we believe it:
    /// processes of channels that were given up keep their place until they end.
    refusals: Duration,
    refused_since: Option<Instant>,
    not_before: Instant,
    /// Why it ends.
    reason: String,
}

/// Also when its thread panics: nobody may wait for ever.
impl Drop for Driver {
    fn drop(&mut self) {
        // From here on no request gets in; then all that did is told.
        self.mailbox.close(&self.reason);
        if let Some(Opening::Channel(request)) = self.opening.take() {
            self.waiting.push_back(request);
        }
        for request in self.waiting.drain(..) {
            request.task.ended(End::NotStarted(self.reason.clone()));
        }
        for conduit in &mut self.conduits {
            conduit.lost(&self.reason);
        }
        drop(self.session.disconnect(None, "done", None));
        // Without this, dropping the channels would try to say goodbye to a peer that may
        // not listen.
        drop(self.socket.shutdown(Half::Both));
        self.conduits.clear();
    }
}

impl Driver {
    /// For a session that is logged in and never blocks.
    pub(super) fn new(
        session: Session,
        socket: Arc<Socket>,
        (mailbox, woken): (Arc<Mailbox>, UnixStream),
        settings: &Settings,
    ) -> Self {
        let now = Instant::now();
        Self {
            session,
            wire: Wire::new(Arc::clone(&socket)),
            socket,
            mailbox,
            woken,
            limit: settings.sessions.max(1),
            keepalive: settings.keepalive.max(MIN_KEEPALIVE),
            waiting: VecDeque::new(),
            opening: None,
            conduits: Vec::new(),
            heard: now,
            probed: now,
            unanswered: 0,
            refusals: settings.connect_timeout,
            refused_since: None,
            not_before: now,
            reason: "the thread of the connection failed".to_owned(),
        }
    }

    /// Works until the connection ends.
    pub(super) fn run(mut self) {
        self.reason = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break "the connection was closed by us".to_owned(),
                Err(Dead(reason)) => break reason,
            }
        };
    }

    /// One look at everything, then a wait; false when asked to stop.
    fn turn(&mut self) -> Result<bool, Dead> {
        let Some(requests) = self.mailbox.take() else {
            return Ok(false);
        };
        self.waiting.extend(requests);
        self.waiting.retain(|request| !request.task.is_abandoned());
        self.check_health()?;
        self.wire.sent();
        let mut moved = false;
        for conduit in &mut self.conduits {
            moved |= conduit.say_goodbye(&self.wire)?;
        }
        self.conduits.retain(|conduit| !conduit.is_over());
        moved |= self.pump()?;
        for conduit in &mut self.conduits {
            moved |= conduit.step(&self.wire)?;
        }
        self.wait(moved)?;
        Ok(true)
    }

    /// The one call of a quiet turn that reads from the connection after which everything is
    /// looked at: the start of one channel or command at a time, else any running one's.
    fn pump(&mut self) -> Result<bool, Dead> {
        if let Some(conduit) = self.conduits.iter_mut().find(|it| it.is_asking()) {
            return conduit.ask(&self.wire);
        }
        if self.opening.is_none() {
            self.opening = self.next().map(|request| {
                request.task.opening();
                self.mailbox.opening(Some(Instant::now()));
                Opening::Channel(request)
            });
        }
        if self.opening.is_some() {
            return self.open();
        }
        match self.conduits.iter_mut().find(|it| it.pumps()) {
            Some(conduit) => conduit.pump(&self.wire),
            None => Ok(false),
        }
    }

    fn commands(&self) -> usize {
        self.conduits
            .iter()
            .filter(|conduit| conduit.is_command_at_work())
            .count()
    }

    /// The next request that may be opened now. Tunnels need no session of the server's few.
    fn next(&mut self) -> Option<Request> {
        let free = self.commands() < self.limit && Instant::now() >= self.not_before;
        let at = self
            .waiting
            .iter()
            .position(|request| free || matches!(request.purpose, Purpose::Tunnel { .. }))?;
        self.waiting.remove(at)
    }

    /// libssh2 opens one channel at a time.
    fn open(&mut self) -> Result<bool, Dead> {
        let Some(opening) = self.opening.as_ref().filter(|_| self.wire.has_room()) else {
            return Ok(false);
        };
        let opened = match opening {
            Opening::Probe => self
                .session
                .channel_open("probe@lifeboat", WINDOW, PACKET, None),
            Opening::Channel(request) => match &request.purpose {
                Purpose::Command { .. } => {
                    self.session.channel_open("session", WINDOW, PACKET, None)
                }
                Purpose::Tunnel { host, port } => {
                    self.session.channel_direct_tcpip(host, *port, None)
                }
            },
        };
        self.wire.sent();
        match opened {
            Err(error) if would_block(&error) => return Ok(false),
            Err(error) if number(&error) == code::CHANNEL_FAILURE => {
                self.mailbox.opening(None);
                self.alive();
                if let Some(Opening::Channel(request)) = self.opening.take() {
                    self.refused(request, error.message());
                }
            }
            Err(error) => return Err(error.into()),
            Ok(channel) => {
                self.mailbox.opening(None);
                self.alive();
                self.refused_since = None;
                if let Some(Opening::Channel(request)) = self.opening.take() {
                    self.conduits.push(Conduit::new(channel, request));
                }
            }
        }
        Ok(true)
    }

    /// The server opens no channel now. With others at work it may when one of them ends
    /// (MaxSessions); alone, it may when the process of one given up has ended.
    fn refused(&mut self, request: Request, said: &str) {
        let now = Instant::now();
        let since = *self.refused_since.get_or_insert(now);
        match &request.purpose {
            Purpose::Tunnel { host, port } => {
                self.refused_since = None;
                request.task.ended(End::Refused(format!(
                    "the SSH server cannot connect to {host} port {port} ({said}); check that it \
                     may (AllowTcpForwarding) and that the port is open from there"
                )));
            }
            Purpose::Command { .. } if self.commands() == 0 && now > since + self.refusals => {
                self.refused_since = None;
                request.task.ended(End::Refused(format!(
                    "the SSH server opens no session ({said}); too many are in use: end what \
                     still runs there from earlier runs, or raise MaxSessions in sshd_config"
                )));
            }
            Purpose::Command { .. } => {
                if self.commands() > 0 {
                    self.refused_since = None;
                }
                self.not_before = now + REFUSED_PAUSE;
                self.waiting.push_front(request);
            }
        }
    }

    fn alive(&mut self) {
        self.heard = Instant::now();
        self.unanswered = 0;
    }

    fn next_probe(&self) -> Instant {
        self.heard.max(self.probed) + self.keepalive
    }

    fn check_health(&mut self) -> Result<(), Dead> {
        let now = Instant::now();
        if now < self.next_probe() {
            return Ok(());
        }
        if self.unanswered >= UNANSWERED {
            return Err(Dead(format!(
                "the peer answered none of {UNANSWERED} keepalives in {} s",
                (now - self.heard).as_secs()
            )));
        }
        self.probed = now;
        self.unanswered += 1;
        // A channel being opened already is as good a question.
        self.opening.get_or_insert(Opening::Probe);
        Ok(())
    }

    /// Waits for a socket, a deadline or a request. After a turn that moved something only a
    /// look is taken: libssh2 may have read something that a channel has not seen yet.
    fn wait(&mut self, moved: bool) -> Result<(), Dead> {
        let has_room = {
            self.wire.sent();
            self.wire.has_room()
        };
        let pumps = self.opening.is_some()
            || self
                .conduits
                .iter()
                .any(|it| it.pumps() || it.is_asking() || it.is_leaving());
        let mut ways = match (has_room, pumps) {
            (false, _) => PollFlags::OUT,
            (true, true) => PollFlags::IN,
            // Nothing would read, so "readable" would never end; the peer's end is seen.
            (true, false) => PollFlags::RDHUP,
        };
        if has_room && pumps {
            ways |= directions(&self.session) & PollFlags::OUT;
        }
        let time = if moved {
            Duration::ZERO
        } else {
            self.patience()
        };
        let mut fds = vec![
            PollFd::new(&*self.socket, ways),
            PollFd::new(&self.woken, PollFlags::IN),
        ];
        fds.extend(
            self.conduits
                .iter()
                .filter_map(Conduit::interest)
                .map(|(endpoint, ways)| PollFd::new(endpoint, ways)),
        );
        match poll(&mut fds, Some(&timespec(time))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Dead(format!("poll failed: {error}"))),
        }
        let seen = fds[0].revents();
        let woken = !fds[1].revents().is_empty();
        drop(fds);
        if woken {
            let mut bytes = [0; 64];
            while matches!((&self.woken).read(&mut bytes), Ok(count) if count > 0) {}
        }
        if seen.contains(PollFlags::IN) {
            self.alive();
        }
        if !pumps && seen.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) {
            return Err(Dead("the server closed the connection".to_owned()));
        }
        Ok(())
    }

    /// Until when nothing needs a look.
    fn patience(&self) -> Duration {
        let mut until = self.next_probe();
        if !self.waiting.is_empty() && self.not_before > Instant::now() {
            until = until.min(self.not_before);
        }
        for deadline in self.conduits.iter().filter_map(Conduit::deadline) {
            until = until.min(deadline);
        }
        until.saturating_duration_since(Instant::now())
    }
}
