//! What all channels of a connection share: its socket, pieces of bytes, and its death.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::Socket;

use super::dial::wait_for;

/// The connection cannot go on; why.
#[derive(Debug)]
pub(super) struct Dead(pub(super) String);

impl From<ssh2::Error> for Dead {
    fn from(error: ssh2::Error) -> Self {
        Self::broken(error.message())
    }
}

impl Dead {
    pub(super) fn broken(said: impl std::fmt::Display) -> Self {
        Self(format!("the connection broke: {said}"))
    }
}

/// The same size for every read: libssh2 derives the window it gives back from it.
const PIECE: usize = 64 * 1024;
/// The socket below all channels.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<Socket>,
    room: Cell<Option<bool>>,
    /// A place for bytes that are looked at and dropped.
    pub(super) scratch: RefCell<Vec<u8>>,
}

impl Wire {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            room: Cell::new(None),
            scratch: RefCell::new(vec![0; PIECE]),
        }
    }

    /// Whether small messages can be sent whole: a socket is "writable" for poll(2) only when a
    /// third of its buffer is free. Asked anew after [`Wire::sent`].
    pub(super) fn has_room(&self) -> bool {
        if self.room.get().is_none() {
            let room = wait_for(&*self.socket, PollFlags::OUT, Duration::ZERO);
            // A broken socket has room: the attempt to use it tells what is wrong.
            self.room.set(Some(room.unwrap_or(true)));
        }
        self.room.get() == Some(true)
    }

    /// Something was, or may have been, sent.
    pub(super) fn sent(&self) {
        self.room.set(None);
    }
}

/// Bytes on their way.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            from: 0,
            to: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    pub(super) fn took(&mut self, count: usize) {
        self.from += count;
    }

    pub(super) fn clear(&mut self) {
        self.from = 0;
        self.to = 0;
    }

    /// So many bytes of the space are filled.
    pub(super) fn filled(&mut self, count: usize) {
        self.to = count;
    }

    /// Room for the next piece; only when empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.clear();
        self.bytes.resize(PIECE, 0);
        &mut self.bytes
    }
}
