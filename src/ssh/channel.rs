//! One channel of a connection, from its opening to its close.
//!
//! A [`Conduit`] moves bytes between an ssh2 channel and a local socket (one half of a pair
//! whose other half a reader and a writer hold, or a tunnel's client), a step at a time,
//! never blocking. Back pressure is the kernel's: when the local socket is full the channel is
//! not read, its window stays closed, and the remote side stops; no other channel notices.
//!
//! What libssh2 asks of its user in non-blocking mode, and where it is heeded:
//! - a write that said "not now" is repeated with the same bytes ([`Conduit::write`]);
//! - end-of-file and window messages are built on libssh2's stack and could never be finished
//!   when sent half, so nothing is sent while the socket has no room ([`Wire::has_room`]);
//! - reading any stream takes in what has arrived for all channels, which is wanted; window
//!   space is given back only for bytes that were read out;
//! - a `close` that said yes only means "sent"; the exit status is there after `wait_close`,
//!   which is therefore called first;
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
use crate::remote::Exit;

/// Writes of at most 32 kB per turn, so that one upload does not hold up the others.
const WRITES_PER_TURN: usize = 4;

enum Stage {
    /// The request is on its way.
    Asking {
        line: String,
        asked: bool,
    },
    Running,
    /// No more bytes; the two sides say goodbye.
    Closing,
    /// It can be dropped.
    Over,
}

/// What its end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A line that reports its completion.
    Command,
    /// A line that cannot.
    Bare,
    Tunnel,
}

/// A channel at work.
pub(super) struct Conduit {
    channel: Channel,
    task: Arc<Task>,
    stage: Stage,
    kind: Kind,
    /// Gone once the other half is told that nothing more comes.
    endpoint: Option<Socket>,
    input: Buffer,
    input_over: bool,
    input_eof_sent: bool,
    write_repeats: bool,
    output: Buffer,
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
        let (stage, stderr, silence, kind) = match purpose {
            Purpose::Command {
                line,
                completion,
                silence,
            } => {
                let tail = Tail::new(completion.as_ref());
                let kind = completion.as_ref().map_or(Kind::Bare, |_| Kind::Command);
                let line = completion.map_or(line.clone(), |completion| completion.wrap(&line));
                (Stage::Asking { line, asked: false }, tail, silence, kind)
            }
            Purpose::Tunnel { .. } => {
                task.started();
                (Stage::Running, Tail::new(None), None, Kind::Tunnel)
            }
        };
        Self {
            channel,
            task,
            stage,
            kind,
            endpoint: Some(endpoint),
            input: Buffer::new(),
            input_over: false,
            input_eof_sent: false,
            write_repeats: false,
            output: Buffer::new(),
            output_wanted: true,
            stderr,
            silence,
            sign_of_life: Instant::now(),
        }
    }

    pub(super) fn is_command(&self) -> bool {
        self.kind != Kind::Tunnel
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether its steps read from the connection.
    pub(super) fn pumps(&self) -> bool {
        match self.stage {
            Stage::Asking { .. } | Stage::Closing => true,
            Stage::Running => !self.channel.eof(),
            Stage::Over => false,
        }
    }

    /// When it must be looked at even though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running if self.output.is_empty() => Some(self.sign_of_life + self.silence?),
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

    /// Moves what can be moved; whether anything was.
    pub(super) fn step(&mut self, wire: &Wire) -> Result<bool, Dead> {
        match &mut self.stage {
            Stage::Asking { line, asked } => {
                if !*asked && self.task.is_abandoned() {
                    self.endpoint = None;
                    self.stage = Stage::Closing;
                    return Ok(true);
                }
                if !*asked && !wire.has_room() {
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
                            "the SSH server refused to run a command; check that the user may \
                             run any (ForceCommand, restricted keys)"
                                .to_owned(),
                        ));
                        self.stage = Stage::Closing;
                    }
                    Err(error) => return Err(error.into()),
                }
                Ok(true)
            }
            Stage::Running => self.carry(wire),
            Stage::Closing => self.close(wire),
            Stage::Over => Ok(false),
        }
    }

    fn carry(&mut self, wire: &Wire) -> Result<bool, Dead> {
        if self.task.is_abandoned() {
            self.endpoint = None;
            self.stage = Stage::Closing;
            return Ok(true);
        }
        let mut moved = self.take_input();
        moved |= self.write(wire)?;
        moved |= self.read_stderr(wire)?;
        moved |= self.read_output(wire)?;
        if moved {
            self.sign_of_life = Instant::now();
        } else if let Some(deadline) = self.deadline()
            && Instant::now() >= deadline
        {
            let seconds = self.silence.unwrap_or_default().as_secs();
            self.finish(End::Silent(seconds));
            self.stage = Stage::Closing;
            return Ok(true);
        }
        if self.output.is_empty() && self.channel.eof() {
            moved |= self.output_ended();
        }
        Ok(moved)
    }

    /// A command's end of output is the end of all; a tunnel has two directions.
    fn output_ended(&mut self) -> bool {
        if self.is_command() || self.input_eof_sent {
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
            if self.input.is_empty() {
                break;
            }
            if !self.write_repeats
                && (!wire.has_room() || self.channel.write_window().remaining == 0)
            {
                break;
            }
            let wrote = self.channel.write(self.input.rest());
            wire.sent();
            match wrote {
                Ok(count) => {
                    self.write_repeats = false;
                    self.input.took(count);
                    moved = true;
                }
                Err(error) if is_not_now(&error) => {
                    self.write_repeats = true;
                    break;
                }
                Err(error) => return Err(Dead::broken(error)),
            }
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

    fn read_stderr(&mut self, wire: &Wire) -> Result<bool, Dead> {
        if !wire.has_room() {
            return Ok(false);
        }
        let mut piece = wire.scratch.borrow_mut();
        match self.channel.stderr().read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.stderr.push(&piece[..count]);
                Ok(true)
            }
            Err(error) if is_not_now(&error) => Ok(false),
            Err(error) => Err(Dead::broken(error)),
        }
    }

    fn read_output(&mut self, wire: &Wire) -> Result<bool, Dead> {
        let mut moved = self.give_output();
        if self.output.is_empty() && wire.has_room() {
            match self.channel.read(self.output.space()) {
                Ok(0) => {}
                Ok(count) => {
                    self.output.filled(count);
                    moved = true;
                    self.give_output();
                }
                Err(error) if is_not_now(&error) => {}
                Err(error) => return Err(Dead::broken(error)),
            }
        }
        Ok(moved)
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

    fn close(&mut self, wire: &Wire) -> Result<bool, Dead> {
        if self.write_repeats {
            // A message that was begun must be ended before any other can be sent.
            self.write(wire)?;
            if self.write_repeats {
                return Ok(false);
            }
        }
        if !wire.has_room() {
            return Ok(false);
        }
        // The server sends the exit status before its goodbye, so that is waited for before
        // ours is said, unless nobody wants to know.
        if self.endpoint.is_some() {
            match self.channel.wait_close() {
                Ok(()) => {}
                Err(error) if would_block(&error) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            let end = match self.kind {
                Kind::Command => verdict(&self.channel, &self.stderr),
                Kind::Bare => End::Exit(Exit {
                    status: self.channel.exit_status().unwrap_or_default(),
                    stderr: self.stderr.text(),
                }),
                Kind::Tunnel => End::Closed,
            };
            self.finish(end);
        }
        wire.sent();
        match self.channel.close() {
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
