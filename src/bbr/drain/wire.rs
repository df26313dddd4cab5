//! Readers that count what passes.

use std::cell::Cell;
use std::io::{self, Read};

use crate::monitor::Meter;

/// Bytes that went through the connection.
#[derive(Debug, Default)]
pub(in crate::bbr) struct Wire(Cell<u64>);

impl Wire {
    pub(in crate::bbr) fn add(&self, bytes: u64) {
        self.0.set(self.0.get() + bytes);
    }

    pub(in crate::bbr) fn bytes(&self) -> u64 {
        self.0.get()
    }

    pub(in crate::bbr) fn count<R>(&self, inner: R) -> Counted<'_, R> {
        Counted { inner, wire: self }
    }
}

/// Counts what is read.
pub(in crate::bbr) struct Counted<'a, R> {
    inner: R,
    wire: &'a Wire,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.wire.add(read as u64);
        Ok(read)
    }
}

/// Counts what is read, and remembers why reading failed.
pub(super) struct Metered<'a, R> {
    pub(super) inner: R,
    pub(super) meter: &'a Meter,
    pub(super) failed: Option<io::Error>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.meter.add(read as u64);
                Ok(read)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failed = Some(io::Error::new(error.kind(), error.to_string()));
                }
                Err(error)
            }
        }
    }
}
