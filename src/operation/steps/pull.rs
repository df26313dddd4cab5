//! From a reader that pushes to one that is asked: an artifact's file as it streams out of the
//! stores, for a request's body.

use std::io::{self, Read, Write};

use anyhow::Result;

use crate::repo::index::Root;
use crate::repo::reader::Reader;

/// Reads an artifact's file on a thread of its own while `take` reads what comes. Where the
/// stores fail, that is the error, whatever `take` made of the early end.
pub(super) fn pull<T>(
    reader: &Reader,
    root: &Root,
    take: impl FnOnce(&mut (dyn Read + Send)) -> Result<T>,
) -> Result<T> {
    let (mut out, into) = io::pipe()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut into = Heard { into, deaf: false };
            let written = reader.write_file(root, &mut into, &mut |_| Ok(()));
            // Nobody listens any more: why is known there.
            if into.deaf { Ok(()) } else { written }
        });
        let taken = take(&mut out);
        drop(out);
        let written = match writing.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match (taken, written) {
            (Err(_), Err(cause)) => Err(cause),
            (taken, _) => taken,
        }
    })
}

/// Notes when the other end was closed.
struct Heard {
    into: io::PipeWriter,
    deaf: bool,
}

impl Write for Heard {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.into.write(buffer).inspect_err(|error| {
            self.deaf |= error.kind() == io::ErrorKind::BrokenPipe;
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
