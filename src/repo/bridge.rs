//! The one place where blocking code meets async: waits for a store's answer, gives up when
//! a signal comes.

use std::future::Future;

use tokio::runtime::Handle;

use crate::shutdown::{LOOK, Shutdown, Stopped};

/// Something that [`Bridge::spawn`] or [`Bridge::spawn_blocking`] started.
pub type Task<T> = tokio::task::JoinHandle<T>;

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
