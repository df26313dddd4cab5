//! One channel of a connection, from its opening to its close.
//!
//! A [`Conduit`] moves bytes between an ssh2 channel and a local socket (one half of a pair
//! whose other half a reader and a writer hold, or a tunnel's client), a step at a time,
//! never blocking. Back pressure is the kernel's: when the local socket is full the channel is
//! not read, its window stays closed, and the remote side stops; no other channel notices.
//!
//! What libssh2 asks of its user in non-blocking mode, and where it is heeded:
//! - a write that said "not now" is repeated with the same bytes ([`Conduit::write_once`]);
//! - end-of-file and window messages are built on libssh2's stack and could never be finished
//!   when sent half, so nothing is begun while the socket has no room ([`Wire::has_room`]);
//! - any reading call takes in what has arrived for *all* channels, so that the socket falls
//!   silent although another channel has something to do. Hence the order of a turn (see
//!   `driver`): the reading happens first, then [`Conduit::step`] acts only on what it can see
//!   without reading, and whenever a step called something that may have read, there is
//!   another turn before the thread sleeps;
//! - dropping a channel that is not closed would leave a half-sent message behind, so it is
//!   kept until `close` is through.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::Socket;
use ssh2::Channel;

use super::command::Tail;
use super::handshake::{code, number, would_block};
use super::link::{End, Purpose, Request, Task};
use super::verdict::verdict;
use super::wire::{Buffer, Dead, Wire};

/// Writes of at most 32 kB per turn, so that one upload does not hold up the others.
const WRITES_PER_TURN: usize = 4;

/// How often a channel that ended without a completion mark is asked whether the server has
/// said why; its answer makes nothing readable.
const VERDICT_LOOK: Duration = Duration::from_millis(20);

enum Stage {
    /// The request is on its way.
    Asking {
        line: String,
        asked: bool,
    },
    Running,
    /// It ended without a mark; the server's goodbye will tell more.
    Judging,
    /// The end is told; the two sides say goodbye.
    Closing,
    /// It can be dropped.
    Over,
}

/// A channel at work.
pub(super) struct Conduit {
    channel: Channel,
    task: Arc<Task>,
    stage: Stage,
    is_command: bool,
    /// Gone once the other half is told that nothing more comes.
    endpoint: Option<Socket>,
    input: Buffer,
    input_over: bool,
    input_eof_sent: bool,
    write_repeats: bool,
    output: Buffer,
    /// How much libssh2 held of it when it had to wait.
    output_queued: u32,
    /// Whether anyone takes the output.
    output_wanted: bool,
    stderr: Tail,
    silence: Option<Duration>,
    sign_of_life: Instant,
}

impl Conduit {
    /// For a channel that was just opened.
    pub(super) fn new(channel: Channel, request: Request) -> Self {
        let Request {
            purpose,
            endpoint,
            task,
        } = request;
        let (stage, stderr, silence, is_command) = match purpose {
            Purpose::Command {
                line,
                completion,
                silence,
            } => {
                let line = completion.wrap(&line);
                let tail = Tail::new(Some(&completion));
                (Stage::Asking { line, asked: false }, tail, silence, true)
            }
            Purpose::Tunnel { .. } => {
                task.started();
                (Stage::Running, Tail::new(None), None, false)
            }
        };
        Self {
            channel,
            task,
            stage,
            is_command,
            endpoint: Some(endpoint),
            input: Buffer::new(),
            input_over: false,
            input_eof_sent: false,
            write_repeats: false,
            output: Buffer::new(),
            output_queued: 0,
            output_wanted: true,
            stderr,
            silence,
            sign_of_life: Instant::now(),
        }
    }

    /// Whether it uses one of the sessions that a server grants.
    pub(super) fn is_command_at_work(&self) -> bool {
        self.is_command && !matches!(self.stage, Stage::Closing | Stage::Over)
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking { .. })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether [`Conduit::pump`] reads from the connection.
    pub(super) fn pumps(&self) -> bool {
        matches!(self.stage, Stage::Running) && !self.channel.eof()
    }

    /// Whether [`Conduit::say_goodbye`] reads from the connection.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Judging | Stage::Closing)
    }

    /// When it must be looked at even though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running if self.output.is_empty() => Some(self.sign_of_life + self.silence?),
            Stage::Judging => Some(Instant::now() + VERDICT_LOOK),
            _ => None,
        }
    }

    /// The local socket and what to wait for there.
    pub(super) fn interest(&self) -> Option<(&Socket, PollFlags)> {
        let endpoint = self.endpoint.as_ref()?;
        let mut ways = PollFlags::empty();
        if matches!(self.stage, Stage::Running) {
            if !self.input_over && self.input.is_empty() {
                ways |= PollFlags::IN;
            }
            if !self.output.is_empty() && self.output_wanted {
                ways |= PollFlags::OUT;
            }
        }
        (!ways.is_empty()).then_some((endpoint, ways))
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, reason: &str) {
        let end = match self.stage {
            Stage::Asking { asked: false, .. } => End::NotStarted(reason.to_owned()),
            _ => End::Lost(reason.to_owned()),
        };
        self.finish(end);
    }

    /// First the end, then the end-of-file: a reader that sees the latter asks for the former.
    fn finish(&mut self, end: End) {
        self.task.ended(end);
        self.endpoint = None;
    }

    /// Sends the command, and takes the server's answer; reads. Whether it is through.
    pub(super) fn ask(&mut self, wire: &Wire) -> Result<bool, Dead> {
        let Stage::Asking { line, asked } = &mut self.stage else {
            return Ok(false);
        };
        if !*asked && self.task.is_abandoned() {
            self.endpoint = None;
            self.stage = Stage::Closing;
            return Ok(true);
        }
        if !wire.has_room() {
            return Ok(false);
        }
        *asked = true;
        let answer = self.channel.exec(line);
        wire.sent();
        match answer {
            Ok(()) => {
                self.task.started();
                self.sign_of_life = Instant::now();
                self.stage = Stage::Running;
            }
            Err(error) if would_block(&error) => return Ok(false),
            Err(error) if number(&error) == code::CHANNEL_REQUEST_DENIED => {
                self.finish(End::Refused(
                    "the SSH server refused to run a command; check that the user may run any \
                     (ForceCommand, restricted keys)"
                        .to_owned(),
                ));
                self.stage = Stage::Closing;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Takes in what has arrived for all channels, and this one's standard error.
    pub(super) fn pump(&mut self, wire: &Wire) -> Result<bool, Dead> {
        if wire.has_room() {
            self.read_stderr(wire)
        } else {
            Ok(false)
        }
    }

    /// Moves what can be moved. Whether anything was, or something that may have read was
    /// called.
    pub(super) fn step(&mut self, wire: &Wire) -> Result<bool, Dead> {
        if !matches!(self.stage, Stage::Running) {
            return Ok(false);
        }
        if self.task.is_abandoned() {
            self.endpoint = None;
            self.stage = Stage::Closing;
            return Ok(true);
        }
        let mut moved = self.read(wire)?;
        moved |= self.take_input();
        moved |= self.write(wire)?;
        if self.output.is_empty() && self.channel.eof() {
            return Ok(self.output_ended() || moved);
        }
        if !self.is_command && self.input_over && !self.output_wanted {
            // A tunnel's client is gone altogether.
            self.finish(End::Closed);
            self.stage = Stage::Closing;
            return Ok(true);
        }
        if let (Some(deadline), Some(silence)) = (self.deadline(), self.silence)
            && Instant::now() >= deadline
        {
            self.finish(End::Silent(silence.as_secs()));
            self.stage = Stage::Closing;
            moved = true;
        }
        Ok(moved)
    }

    /// A command's end of output is the end of all; a tunnel has two directions.
    fn output_ended(&mut self) -> bool {
        if self.is_command && self.stderr.status().is_none() {
            self.stage = Stage::Judging;
            return true;
        }
        if self.is_command {
            self.finish(verdict(&self.channel, &self.stderr));
            self.stage = Stage::Closing;
            return true;
        }
        if self.input_eof_sent {
            self.finish(End::Closed);
            self.stage = Stage::Closing;
            return true;
        }
        if let Some(endpoint) = self.endpoint.as_ref().filter(|_| self.output_wanted) {
            self.output_wanted = false;
            // Whoever is gone needs no end-of-file.
            drop(endpoint.shutdown(Shutdown::Write));
            return true;
        }
        false
    }

    fn take_input(&mut self) -> bool {
        if self.input_over || !self.input.is_empty() {
            return false;
        }
        let Some(mut endpoint) = self.endpoint.as_ref() else {
            return false;
        };
        match endpoint.read(self.input.space()) {
            Ok(0) => self.input_over = true,
            Ok(count) => self.input.filled(count),
            Err(error) if is_not_now(&error) => return false,
            // The other half is gone, with or without unread bytes.
            Err(_) => self.input_over = true,
        }
        true
    }

    fn write(&mut self, wire: &Wire) -> Result<bool, Dead> {
        let mut moved = false;
        for _ in 0..WRITES_PER_TURN {
            let may =
                self.write_repeats || wire.has_room() && self.channel.write_window().remaining > 0;
            if self.input.is_empty() || !may {
                break;
            }
            // A repeated one only sends.
            moved |= !self.write_repeats;
            if !self.write_once(wire)? {
                break;
            }
            moved = true;
        }
        if self.input_over && self.input.is_empty() && !self.input_eof_sent && wire.has_room() {
            wire.sent();
            match self.channel.send_eof() {
                Ok(()) => {
                    self.input_eof_sent = true;
                    moved = true;
                }
                Err(error) if would_block(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(moved)
    }

    /// Whether it got through; if not, it must be repeated before anything else is sent.
    fn write_once(&mut self, wire: &Wire) -> Result<bool, Dead> {
        let wrote = self.channel.write(self.input.rest());
        wire.sent();
        match wrote {
            Ok(count) => {
                self.write_repeats = false;
                self.input.took(count);
                self.sign_of_life = Instant::now();
                Ok(true)
            }
            Err(error) if is_not_now(&error) => {
                self.write_repeats = true;
                Ok(false)
            }
            Err(error) => Err(Dead::broken(error)),
        }
    }

    /// Takes what is there for this channel, standard error first: it is never held up.
    fn read(&mut self, wire: &Wire) -> Result<bool, Dead> {
        let mut moved = self.give_output();
        let there = self.channel.read_window().available;
        // What was left after the last look at standard error is output that has to wait.
        let waits = !self.output.is_empty() && there == self.output_queued;
        if there == 0 || waits || !wire.has_room() {
            return Ok(moved);
        }
        while self.read_stderr(wire)? {}
        if self.output.is_empty() && wire.has_room() {
            match self.channel.read(self.output.space()) {
                Ok(count) => {
                    self.output.filled(count);
                    self.give_output();
                }
                Err(error) if is_not_now(&error) => {}
                Err(error) => return Err(Dead::broken(error)),
            }
            wire.sent();
            self.output_queued = 0;
        } else {
            self.output_queued = self.channel.read_window().available;
        }
        moved = true;
        self.sign_of_life = Instant::now();
        Ok(moved)
    }

    fn read_stderr(&mut self, wire: &Wire) -> Result<bool, Dead> {
        let mut piece = wire.scratch.borrow_mut();
        let read = self.channel.stderr().read(&mut piece);
        wire.sent();
        match read {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.stderr.push(&piece[..count]);
                self.sign_of_life = Instant::now();
                Ok(true)
            }
            Err(error) if is_not_now(&error) => Ok(false),
            Err(error) => Err(Dead::broken(error)),
        }
    }

    fn give_output(&mut self) -> bool {
        let mut moved = false;
        while !self.output.is_empty() {
            let Some(mut endpoint) = self.endpoint.as_ref().filter(|_| self.output_wanted) else {
                self.output.clear();
                return true;
            };
            match endpoint.write(self.output.rest()) {
                Ok(count) => {
                    self.output.took(count);
                    moved = true;
                }
                Err(error) if is_not_now(&error) => break,
                // Nobody reads any more: take it off the wire and throw it away.
                Err(_) => self.output_wanted = false,
            }
        }
        moved
    }

    /// Ends the channel; reads. Nobody waits for this: it goes on when something else happens.
    pub(super) fn say_goodbye(&mut self, wire: &Wire) -> Result<bool, Dead> {
        if !self.is_leaving() || self.write_repeats && !self.write_once(wire)? || !wire.has_room() {
            return Ok(false);
        }
        let said = if matches!(self.stage, Stage::Judging) && !self.task.is_abandoned() {
            self.channel.wait_close()
        } else {
            self.channel.close()
        };
        wire.sent();
        match said {
            Ok(()) if matches!(self.stage, Stage::Judging) => {
                self.finish(verdict(&self.channel, &self.stderr));
                self.stage = Stage::Closing;
            }
            Ok(()) => self.stage = Stage::Over,
            Err(error) if would_block(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

fn is_not_now(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
