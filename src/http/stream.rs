//! An answer's body, whole or as it comes.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::{Cause, Error, Request, Wait, error};
use crate::shutdown::Stopped;

/// Reads a body of at most `limit` bytes.
pub(super) async fn whole(
    request: &Request,
    mut answer: reqwest::Response,
    limit: u64,
    silence: Duration,
) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(piece) = next(request, &mut answer, silence).await? {
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(Error::TooLong {
                url: request.shown(),
                limit,
            });
        }
        body.extend_from_slice(&piece);
    }
    // hyper puts the connection back into its pool from a task of its own. A request that comes
    // before that opens another one, which costs far more.
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(body)
}

async fn next(
    request: &Request,
    answer: &mut reqwest::Response,
    silence: Duration,
) -> Result<Option<Bytes>, Error> {
    let lost = |cause| Error::Lost {
        url: request.shown(),
        cause,
    };
    match tokio::time::timeout(silence, answer.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(lost(error::broken_off(&error))),
        Err(_elapsed) => Err(lost(Cause::Silent(silence))),
    }
}

/// An answer whose body is read while it comes. A body that breaks off, a long silence and the
/// end of the wait are errors of the reader, never an end-of-file.
pub struct Stream {
    request: Request,
    answer: reqwest::Response,
    runtime: Arc<tokio::runtime::Runtime>,
    wait: Wait,
    silence: Duration,
    piece: Bytes,
}

impl Stream {
    pub(super) fn new(
        request: &Request,
        answer: reqwest::Response,
        runtime: Arc<tokio::runtime::Runtime>,
        wait: Wait,
        silence: Duration,
    ) -> Self {
        Self {
            request: request.clone(),
            answer,
            runtime,
            wait,
            silence,
            piece: Bytes::new(),
        }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.answer.status().as_u16()
    }

    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.answer.headers().get(name)?;
        value.to_str().ok()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            let next = next(&self.request, &mut self.answer, self.silence);
            match self.runtime.block_on(self.wait.end(&self.request, next)) {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => return Ok(0),
                Err(Error::Stopped(stopped)) => return Err(io::Error::other::<Stopped>(stopped)),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} {})", self.request.shown(), self.status())
    }
}
