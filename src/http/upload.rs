//! A body that a blocking reader feeds while it is sent.

use std::future::Future;
use std::io::{self, Read};
use std::panic;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::{Cause, Client, Error, Request, Response, Wait, error, explained, stream};
use crate::shutdown::LOOK;

/// The size of one piece.
const PIECE: usize = 256 * 1024;
/// Pieces that wait to be sent.
const WAITING: usize = 8;

/// The end into which the reader's bytes go.
pub(super) struct Source {
    sender: Mutex<Option<mpsc::Sender<io::Result<Bytes>>>>,
    closed: watch::Sender<bool>,
    length: u64,
    progress: Arc<Mutex<Instant>>,
}

/// The end from which the connection takes them.
pub(super) struct Piped {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    progress: Arc<Mutex<Instant>>,
}

/// A body of exactly `length` bytes.
pub(super) fn pipe(length: u64) -> (Source, reqwest::Body) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let progress = Arc::new(Mutex::new(Instant::now()));
    let piped = Piped {
        receiver,
        left: length,
        progress: Arc::clone(&progress),
    };
    let source = Source {
        sender: Mutex::new(Some(sender)),
        closed: watch::Sender::new(false),
        length,
        progress,
    };
    (source, reqwest::Body::wrap(piped))
}

impl Client {
    /// Sends what a reader gives, `length` bytes, as the request's body, without ever holding
    /// more than a few pieces of it. Nothing is tried twice: the reader is used up. The server
    /// may be silent as long as bytes still go out; an answer that comes before the end of
    /// the body is the answer.
    ///
    /// # Errors
    /// [`Error::Source`] when the reader fails or has fewer bytes; else as [`Client::send`].
    pub fn upload(
        &self,
        request: &Request,
        body: &mut (dyn Read + Send),
        length: u64,
        wait: &Wait,
    ) -> Result<Response, Error> {
        let (client, passage) = self.route(&request.url)?;
        let silence = self.silence(request);
        let limit = request.limit.unwrap_or(self.settings.body_limit);
        let began = Instant::now();
        let (source, piped) = pipe(length);
        let builder = request.build(&client)?.body(piped);
        let own_ca = self.settings.ca_cert.is_some();
        let outcome = thread::scope(|scope| {
            let filling = scope.spawn(|| source.fill(self.runtime().handle(), body));
            let outcome = self.runtime().block_on(wait.end(request, async {
                let answer = source
                    .unless_silent(request, silence, builder.send())
                    .await?
                    .map_err(|error| error::of_request(request, error, own_ca))?;
                let status = answer.status().as_u16();
                let headers = answer.headers().clone();
                let body = stream::whole(request, answer, limit, silence).await?;
                Ok((
                    status,
                    Response {
                        status,
                        headers,
                        body,
                    },
                ))
            }));
            source.close();
            let filled = match filling.join() {
                Ok(filled) => filled,
                Err(panic) => panic::resume_unwind(panic),
            };
            match (outcome, filled) {
                // The connection's end is only what the server saw of it.
                (Err(Error::Lost { url, .. }), Err(source)) => Err(Error::Source { url, source }),
                (outcome, _) => outcome,
            }
        });
        let outcome = outcome.map_err(|error| explained(error, passage.as_deref()));
        self.note(request, began, &outcome);
        outcome.map(|(_, answer)| answer)
    }
}

impl Source {
    /// Reads all and hands it on; ends early, without an error, when nobody takes it any more.
    pub(super) fn fill(&self, runtime: &Handle, reader: &mut dyn Read) -> io::Result<()> {
        let Some(sender) = lock(&self.sender).take() else {
            return Ok(());
        };
        let mut left = self.length;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let mut piece = vec![0; wanted];
            let read = match read_some(reader, &mut piece) {
                Ok(0) => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("it ended {left} bytes too early"),
                )),
                other => other,
            };
            let read = match read {
                Ok(read) => read,
                Err(error) => {
                    // Makes the connection break off instead of waiting for the rest.
                    self.hand_on(runtime, &sender, Err(error.kind().into()));
                    return Err(error);
                }
            };
            piece.truncate(read);
            left -= read as u64;
            if !self.hand_on(runtime, &sender, Ok(piece.into())) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether it was taken.
    fn hand_on(
        &self,
        runtime: &Handle,
        sender: &mpsc::Sender<io::Result<Bytes>>,
        piece: io::Result<Bytes>,
    ) -> bool {
        let mut closed = self.closed.subscribe();
        runtime.block_on(async {
            tokio::select! {
                sent = sender.send(piece) => sent.is_ok(),
                _ = closed.wait_for(|closed| *closed) => false,
            }
        })
    }

    /// Says that the request has ended: a server that answered need not take the rest.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        drop(lock(&self.sender).take());
    }

    /// What the work gives, unless for so long neither a byte went out nor an answer came.
    pub(super) async fn unless_silent<T>(
        &self,
        request: &Request,
        silence: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let silent = async {
            while lock(&self.progress).elapsed() < silence {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = silent => Err(Error::Lost {
                url: request.shown(),
                cause: Cause::Silent(silence),
            }),
        }
    }
}

fn read_some(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Poll::Ready(piece) = self.receiver.poll_recv(context) else {
            return Poll::Pending;
        };
        *lock(&self.progress) = Instant::now();
        Poll::Ready(Some(match piece {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(piece))
            }
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
