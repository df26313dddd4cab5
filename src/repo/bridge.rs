//! The one place where blocking code meets async: waits for a store's answer, gives up when
//! a signal comes.

use std::future::Future;

use tokio::runtime::Handle;

use crate::artifact::Digest;
use crate::shutdown::{LOOK, Shutdown, Stopped};

/// Something that [`Bridge::spawn`] or [`Bridge::spawn_blocking`] started.
pub type Task<T> = tokio::task::JoinHandle<T>;

/// How much may run side by side.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// At most so many at once.
    pub most: usize,
    /// At most so many bytes of them at once, or one alone.
    pub bytes: u64,
}

/// The digest of many bytes, made where waiting disturbs nobody.
pub async fn digest(bytes: bytes::Bytes) -> Digest {
    let again = bytes.clone();
    let hashed = tokio::task::spawn_blocking(move || Digest::of(&bytes)).await;
    // It ends early with the runtime alone.
    hashed.unwrap_or_else(|_ended| Digest::of(&again))
}

/// Runs futures for blocking callers.
#[derive(Clone, Debug)]
pub struct Bridge {
    handle: Handle,
    shutdown: Shutdown,
}

impl Bridge {
    /// Waits on this runtime, and gives up when this flag is raised. Must not be used from
    /// the runtime's own threads.
    pub fn new(handle: Handle, shutdown: Shutdown) -> Self {
        Self { handle, shutdown }
    }

    /// The same bridge for work that a signal must not interrupt.
    #[must_use]
    pub fn uninterrupted(&self) -> Self {
        Self::new(self.handle.clone(), Shutdown::never())
    }

    /// The same bridge for work that a signal must not interrupt, and that gives up after this time.
    #[must_use]
    pub fn limited(&self, time: std::time::Duration) -> Self {
        Self::new(self.handle.clone(), Shutdown::never().limited(time))
    }

    /// Waits for a future's end.
    ///
    /// # Errors
    /// When a signal comes first; the future is dropped then.
    pub fn wait<F: Future>(&self, future: F) -> Result<F::Output, Stopped> {
        self.handle.block_on(async {
            tokio::pin!(future);
            loop {
                tokio::select! {
                    output = &mut future => return Ok(output),
                    () = tokio::time::sleep(LOOK) => self.shutdown.check()?,
                }
            }
        })
    }

    /// Runs what `start` makes of each item side by side, within `load`, and hands `each` what
    /// came of it, as it ends. An item for which `start` makes nothing is passed over. Neither
    /// may wait by a bridge.
    ///
    /// # Errors
    /// When a signal comes first; what runs is dropped then.
    pub fn side_by_side<I, F>(
        &self,
        items: impl IntoIterator<Item = I>,
        load: Load,
        weigh: impl Fn(&I) -> u64,
        mut start: impl FnMut(I) -> Option<F>,
        mut each: impl FnMut(F::Output),
    ) -> Result<(), Stopped>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.wait(async {
            let mut running = tokio::task::JoinSet::new();
            let mut items = items.into_iter().peekable();
            let mut bytes = 0;
            loop {
                while running.len() < load.most
                    && let Some(item) = items
                        .next_if(|next| running.is_empty() || bytes + weigh(next) <= load.bytes)
                {
                    let weight = weigh(&item);
                    if let Some(future) = start(item) {
                        bytes += weight;
                        running.spawn(async move { (weight, future.await) });
                    }
                }
                match running.join_next().await {
                    None => return,
                    Some(Ok((weight, output))) => {
                        bytes -= weight;
                        each(output);
                    }
                    Some(Err(ended)) => {
                        if ended.is_panic() {
                            std::panic::resume_unwind(ended.into_panic());
                        }
                    }
                }
            }
        })
    }

    /// Starts a future that nobody waits for.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Starts work on a thread that may block.
    pub fn spawn_blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> tokio::task::JoinHandle<R> {
        self.handle.spawn_blocking(work)
    }

    /// The flag that ends waits.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }
}
