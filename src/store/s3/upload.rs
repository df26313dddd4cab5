//! Watching an upload, so that one in which nothing moves is given up early.
//!
//! The SDK hands a body that is in memory to the connection in one piece, and then nobody
//! sees whether it goes anywhere. Here it is handed over in slices after the request has
//! been signed; the connection takes the next one when it has room.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use super::S3Timeouts;

const SLICE: usize = 64 * 1024;

/// Cuts one upload into slices and knows how far it is.
#[derive(Clone)]
pub(super) struct Upload {
    bytes: Bytes,
    progress: Arc<Mutex<Progress>>,
}

#[derive(Debug)]
struct Progress {
    phase: Phase,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Sending,
    Sent,
}

impl Upload {
    pub(super) fn new(bytes: Bytes) -> Self {
        let progress = Progress {
            phase: Phase::Connecting,
            since: Instant::now(),
        };
        Self {
            bytes,
            progress: Arc::new(Mutex::new(progress)),
        }
    }

    /// Ends when nothing has moved for too long, and says for how long.
    pub(super) async fn stalled(&self, timeouts: &S3Timeouts) -> Duration {
        loop {
            let (limit, since) = {
                let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
                let limit = match progress.phase {
                    Phase::Sending => timeouts.stall,
                    Phase::Connecting | Phase::Sent => timeouts.request,
                };
                (limit, progress.since)
            };
            if since.elapsed() >= limit {
                return limit;
            }
            sleep_until(since + limit).await;
        }
    }

    fn moved(&self, phase: Phase) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.phase = phase;
        progress.since = Instant::now();
    }
}

impl Intercept for Upload {
    fn name(&self) -> &'static str {
        "Upload"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.request_mut().body_mut();
        // The same bytes, so that not a second copy of them is held.
        if body
            .bytes()
            .is_some_and(|bytes| bytes.len() == self.bytes.len())
        {
            let left = self.bytes.clone();
            let upload = self.clone();
            *body = SdkBody::from_body_1_x(Slices { left, upload });
        }
        Ok(())
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.bytes.len())
    }
}

struct Slices {
    left: Bytes,
    upload: Upload,
}

impl Body for Slices {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let size = SLICE.min(self.left.len());
        let slice = self.left.split_to(size);
        let phase = if self.left.is_empty() {
            Phase::Sent
        } else {
            Phase::Sending
        };
        self.upload.moved(phase);
        Poll::Ready((!slice.is_empty()).then(|| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
