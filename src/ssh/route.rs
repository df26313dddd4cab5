//! Ways to a host that cannot be reached directly: a SOCKS5 proxy, or a jumpbox.
//!
//! A [`Route`] makes connections ([`Route::dial`]) and loopback listeners whose connections go
//! through it ([`Route::forward`], for the HTTPS clients of the Director and UAA). Everything it
//! made ends with the last clone of it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown as Half, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use socket2::Socket;

use super::dial::{self, Address, Failure};
use super::jumpbox::Jumpbox;
use super::keys::{self, HostKeyPolicy};
use super::proxy_url::ProxyUrl;
use super::{Settings, socks};
use crate::monitor::Monitor;
use crate::secret::Secret;
use crate::shutdown::{LOOK, Shutdown, Stopped};

/// Why a route cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The proxy's URL is wrong.
    #[error(
        "the proxy URL cannot be used: {0}; write socks5://host:port or \
         ssh+socks5://user@host:port?private-key=/path"
    )]
    Url(String),
    /// The private key for the jumpbox is missing or unusable.
    #[error("the jumpbox {address} cannot be used: {message}")]
    Key {
        /// The jumpbox.
        address: Address,
        /// One sentence.
        message: String,
    },
    /// No connection came about; one sentence says why and what to do.
    #[error("{0}")]
    Failed(String),
    /// A signal.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<Failure> for RouteError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Passing(why) | Failure::Lasting(why) => Self::Failed(why),
            Failure::Stopped => Self::Stopped(Stopped),
        }
    }
}

/// What a proxy's URL does not say.
#[derive(Debug, Clone)]
pub struct RouteOptions {
    /// The jumpbox's private key as text; wins over the URL's path.
    pub private_key: Option<Secret>,
    /// Which host key the jumpbox must have.
    pub host_key: HostKeyPolicy,
    /// As for an instance.
    pub connect_timeout: Duration,
    /// As for an instance.
    pub keepalive: Duration,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            private_key: None,
            host_key: HostKeyPolicy::Any,
            connect_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(15),
        }
    }
}

/// See the module. Clones are the same route.
#[derive(Clone)]
pub struct Route(Arc<Inner>);

struct Inner {
    way: Arc<Way>,
    monitor: Arc<dyn Monitor>,
    /// Raised when the route is dropped.
    over: Shutdown,
    /// A listener's thread ends when the other half of its pair does.
    forwards: Mutex<Vec<UnixStream>>,
    failure: Arc<Mutex<Option<String>>>,
}

enum Way {
    Socks5(Address),
    Jumpbox(Box<Jumpbox>),
}

impl Route {
    /// Reads the key, if the URL names a file. Connects to nothing yet.
    ///
    /// # Errors
    /// When a jumpbox's key is missing, encrypted or malformed.
    pub fn open(
        url: ProxyUrl,
        options: RouteOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self, RouteError> {
        let way = match url {
            ProxyUrl::Socks5(address) => Way::Socks5(address),
            ProxyUrl::Jumpbox {
                address,
                user,
                private_key,
            } => {
                let wrong = |message: String| RouteError::Key {
                    address: address.clone(),
                    message,
                };
                let key = match (options.private_key, private_key) {
                    (Some(key), _) => key,
                    (None, Some(path)) => {
                        Secret::new(std::fs::read_to_string(&path).map_err(|error| {
                            wrong(format!("its private key {} : {error}", path.display()))
                        })?)
                    }
                    (None, None) => {
                        return Err(wrong(
                            "no private key was given; add ?private-key=/path to the URL"
                                .to_owned(),
                        ));
                    }
                };
                keys::usable(&key).map_err(|error| wrong(error.to_string()))?;
                let mut settings = Settings::new("jumpbox", address, user, key, options.host_key);
                settings.connect_timeout = options.connect_timeout;
                settings.keepalive = options.keepalive;
                Way::Jumpbox(Box::new(Jumpbox::new(settings, Arc::clone(&monitor))))
            }
        };
        Ok(Self(Arc::new(Inner {
            way: Arc::new(way),
            monitor,
            over: Shutdown::new(),
            forwards: Mutex::default(),
            failure: Arc::default(),
        })))
    }

    /// Connects through the route. Names are resolved at its far end.
    ///
    /// # Errors
    /// [`RouteError::Failed`] and [`RouteError::Stopped`].
    pub fn dial(
        &self,
        host: &str,
        port: u16,
        time: Duration,
        shutdown: &Shutdown,
    ) -> Result<Stream, RouteError> {
        let socket = self.dial_failing(&Address::new(host, port), time, shutdown)?;
        socket.set_nonblocking(false).map_err(unusable)?;
        Ok(Stream(socket))
    }

    /// As [`Route::dial`], for those who retry; the socket does not block.
    pub(super) fn dial_failing(
        &self,
        target: &Address,
        time: Duration,
        shutdown: &Shutdown,
    ) -> Result<Socket, Failure> {
        match &*self.0.way {
            Way::Socks5(_) => self.0.way.socks(target, time, shutdown),
            Way::Jumpbox(jumpbox) => {
                let odd = |error: io::Error| Failure::Passing(error.to_string());
                let (ours, theirs) = UnixStream::pair().map_err(odd)?;
                let (ours, theirs) = (OwnedFd::from(ours).into(), OwnedFd::from(theirs).into());
                Socket::set_nonblocking(&ours, true).map_err(odd)?;
                jumpbox.tunnel(target, &theirs, time, shutdown)?;
                Ok(ours)
            }
        }
    }

    /// Opens a loopback listener whose connections end at `host` and `port`. It lives as long
    /// as the route; a connection that cannot be made is closed, and the monitor told why.
    ///
    /// # Errors
    /// [`RouteError::Failed`] when no listener can be had.
    pub fn forward(&self, host: &str, port: u16) -> Result<SocketAddr, RouteError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(unusable)?;
        listener.set_nonblocking(true).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let (stop, stopped) = UnixStream::pair().map_err(unusable)?;
        let forward = Forward {
            way: Arc::clone(&self.0.way),
            monitor: Arc::clone(&self.0.monitor),
            over: self.0.over.clone(),
            target: Address::new(host, port),
            failure: Arc::clone(&self.0.failure),
        };
        std::thread::Builder::new()
            .name(format!("forward {port}"))
            .spawn(move || forward.listen(&listener, &stopped))
            .map_err(unusable)?;
        let mut forwards = self
            .0
            .forwards
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        forwards.push(stop);
        Ok(address)
    }

    /// Why the last connection to such a listener led nowhere; told once.
    pub fn take_failure(&self) -> Option<String> {
        let mut failure = self
            .0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

fn unusable(error: io::Error) -> RouteError {
    RouteError::Failed(format!("no socket could be had for the proxy: {error}"))
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.over.raise();
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.way {
            Way::Socks5(address) => write!(f, "Route(socks5 {address})"),
            Way::Jumpbox(jumpbox) => write!(f, "Route(jumpbox {})", jumpbox.address()),
        }
    }
}

impl Way {
    fn socks(
        &self,
        target: &Address,
        time: Duration,
        shutdown: &Shutdown,
    ) -> Result<Socket, Failure> {
        let Self::Socks5(proxy) = self else {
            return Err(Failure::Lasting("this route is no SOCKS5 proxy".to_owned()));
        };
        let socket = dial::tcp(proxy, time, shutdown)?;
        socks::connect(&socket, proxy, target, time, shutdown)?;
        Ok(socket)
    }
}

/// How long a forwarded connection may take to come about.
const FORWARD: Duration = Duration::from_secs(30);

struct Forward {
    way: Arc<Way>,
    monitor: Arc<dyn Monitor>,
    over: Shutdown,
    target: Address,
    failure: Arc<Mutex<Option<String>>>,
}

impl Forward {
    fn listen(self, listener: &TcpListener, stopped: &UnixStream) {
        let this = Arc::new(self);
        loop {
            let mut fds = [
                PollFd::new(listener, PollFlags::IN),
                PollFd::new(stopped, PollFlags::IN),
            ];
            if poll(&mut fds, None).is_ok() && !fds[1].revents().is_empty() {
                return;
            }
            // One that went away again, or too many open files: the next one counts.
            let Ok((client, _)) = listener.accept() else {
                this.over.sleep(Duration::from_millis(1)).ok();
                continue;
            };
            let worker = Arc::clone(&this);
            std::thread::spawn(move || {
                // Open until the reason is known: whoever sees the end asks for it.
                let open = client.try_clone();
                if let Err(Failure::Passing(why) | Failure::Lasting(why)) = worker.carry(client) {
                    worker.monitor.warn(&why);
                    let mut failure = worker
                        .failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *failure = Some(why);
                }
                drop(open);
            });
        }
    }

    fn carry(&self, client: TcpStream) -> Result<(), Failure> {
        // Only latency is lost without it.
        drop(client.set_nodelay(true));
        match &*self.way {
            Way::Jumpbox(jumpbox) => {
                jumpbox.tunnel(&self.target, &Socket::from(client), FORWARD, &self.over)
            }
            Way::Socks5(_) => {
                let server = self.way.socks(&self.target, FORWARD, &self.over)?;
                // Broken in the middle: both ends see it.
                drop(self.splice(&Socket::from(client), &server));
                Ok(())
            }
        }
    }

    /// Copies both ways until both have ended, or the route has.
    fn splice(&self, client: &Socket, server: &Socket) -> io::Result<()> {
        for socket in [client, server] {
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(LOOK))?;
            socket.set_write_timeout(Some(Duration::from_secs(60)))?;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.copy(client, server));
            self.copy(server, client);
        });
        Ok(())
    }

    fn copy(&self, mut from: &Socket, mut to: &Socket) {
        let mut bytes = vec![0; 32 * 1024];
        while !self.over.is_raised() {
            match from.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    if to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Ok(_) => {
                    drop(to.shutdown(Half::Write));
                    return;
                }
                Err(_) => break,
            }
        }
        // Not an orderly end: both directions are over.
        drop(from.shutdown(Half::Both));
        drop(to.shutdown(Half::Both));
    }
}

/// A connection made through a route.
#[derive(Debug)]
pub struct Stream(Socket);

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Stream {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(space)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
