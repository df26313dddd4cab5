//! The way through a [`Forwarder`].
//!
//! A forwarder changes where a connection goes, not who the server is: TLS must still check the
//! original name. `reqwest` can connect to a Unix socket and does TLS for the URL's host over
//! it. So each server gets a [`Passage`]: an abstract socket (no file) of this process, each of
//! whose connections is joined to a fresh one to the forwarder's loopback address.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Knows a loopback address that leads to a server.
pub trait Forwarder: Send + Sync + fmt::Debug {
    /// Where to connect instead of `host` (a name or an address, IPv6 without brackets) and
    /// `port`. Asked for every new connection, so that a broken tunnel can be renewed.
    ///
    /// # Errors
    /// When there is no way at present; the text is shown to people.
    fn address(&self, host: &str, port: u16) -> io::Result<SocketAddr>;

    /// Why the last connection to such an address led nowhere; told once, shown to people.
    fn take_failure(&self) -> Option<String> {
        None
    }
}

/// The door to one server.
pub(super) struct Passage {
    name: String,
    shared: Arc<Shared>,
}

struct Shared {
    forwarder: Arc<dyn Forwarder>,
    host: String,
    port: u16,
    closed: AtomicBool,
    error: Mutex<Option<String>>,
}

impl Passage {
    pub(super) fn open(forwarder: Arc<dyn Forwarder>, host: &str, port: u16) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("lifeboat-{}", hex::encode(random));
        let listener = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name)?)?;
        let shared = Arc::new(Shared {
            forwarder,
            host: host.to_owned(),
            port,
            closed: AtomicBool::new(false),
            error: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::Builder::new()
            .name("passage".to_owned())
            .spawn(move || serve(&listener, &serving))?;
        Ok(Self { name, shared })
    }

    /// The socket as a path: a first byte of 0 means an abstract name.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("\0{}", self.name))
    }

    /// Why the last connection could not be joined, once.
    pub(super) fn take_error(&self) -> Option<String> {
        let mut error = self
            .shared
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        error.take()
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the listener, which then ends.
        if let Ok(address) = UnixAddr::from_abstract_name(&self.name) {
            drop(UnixStream::connect_addr(&address));
        }
    }
}

fn serve(listener: &UnixListener, shared: &Arc<Shared>) {
    for near in listener.incoming() {
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
        let Ok(near) = near else { continue };
        let shared = Arc::clone(shared);
        // Without a thread the connection is dropped, which the client sees as a hang-up.
        drop(thread::Builder::new().spawn(move || {
            if let Err(error) = join(&near, &shared) {
                let mut slot = shared.error.lock().unwrap_or_else(PoisonError::into_inner);
                *slot = Some(error.to_string());
                drop(slot);
                // Only now may the client's handshake end.
                drop(near.shutdown(Shutdown::Both));
            }
        }));
    }
}

fn join(near: &UnixStream, shared: &Shared) -> io::Result<()> {
    let address = shared.forwarder.address(&shared.host, shared.port)?;
    let far = TcpStream::connect(address)?;
    far.set_nodelay(true)?;
    let (mut near_in, mut far_out) = (near.try_clone()?, far.try_clone()?);
    let outward = thread::Builder::new().spawn(move || {
        // Either side's end is for TLS to judge.
        drop(io::copy(&mut near_in, &mut far_out));
        drop(far_out.shutdown(Shutdown::Write));
    })?;
    let carried = io::copy(&mut &far, &mut &*near);
    if !matches!(carried, Ok(1..))
        && let Some(why) = shared.forwarder.take_failure()
    {
        return Err(io::Error::other(why));
    }
    drop(near.shutdown(Shutdown::Both));
    drop(far.shutdown(Shutdown::Both));
    drop(outward.join());
    Ok(())
}
