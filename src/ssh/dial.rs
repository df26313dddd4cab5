//! From an address to a connected TCP socket, interruptibly, and the words for what goes wrong.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use crate::shutdown::{LOOK, Shutdown, Stopped};

/// Why no connection came about; each text is one sentence that says what to do.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Another try may do better.
    Passing(String),
    /// Trying again is useless, or harmful (an account may be locked).
    Lasting(String),
    /// A signal.
    Stopped,
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// A host (name, IPv4 or IPv6) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Without brackets.
    pub host: String,
    /// TCP.
    pub port: u16,
}

impl Address {
    /// Puts the two together.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Reads `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
    ///
    /// # Errors
    /// A sentence, when there is no host or no port where one must be.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(wrong()),
            }
        } else if text.matches(':').count() == 1 {
            let (host, port) = text.split_once(':').ok_or_else(wrong)?;
            (host, Some(port))
        } else {
            (text, None)
        };
        let port = match port {
            Some(port) => Some(port.parse::<u16>().map_err(|_parse| wrong())?),
            None => default_port,
        };
        let unfit = |byte: u8| byte.is_ascii_whitespace() || b"/@?#".contains(&byte);
        match port {
            Some(port) if port > 0 && !host.is_empty() && !host.bytes().any(unfit) => {
                Ok(Self::new(host, port))
            }
            _ => Err(wrong()),
        }
    }
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address; write host:port, or [address]:port for IPv6")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text, Some(22))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Connects, trying every address of the name within the time.
pub(super) fn tcp(
    address: &Address,
    time: Duration,
    shutdown: &Shutdown,
) -> Result<Socket, Failure> {
    let deadline = Instant::now() + time;
    let mut last = None;
    for found in resolve(address, deadline, shutdown)? {
        match connect_one(found, deadline, shutdown)? {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(Failure::Passing(match last {
        Some(error) => explain(address, &error, time),
        None => format!("cannot find an address of `{}`", address.host),
    }))
}

fn explain(address: &Address, error: &io::Error, time: Duration) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "cannot connect to {address}: connection refused; check that the VM is up and that \
             the service listens on this port"
        ),
        io::ErrorKind::TimedOut => format!(
            "cannot connect to {address}: no answer within {} s; check that the VM is up and \
             that firewall and security groups let the worker in",
            time.as_secs_f32()
        ),
        _ => format!(
            "cannot connect to {address}: {error}; check the network between the worker and it"
        ),
    }
}

/// The C library's resolver cannot be interrupted, so it works in a thread of its own, which
/// may outlive the wait.
fn resolve(
    address: &Address,
    deadline: Instant,
    shutdown: &Shutdown,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(ip) = address.host.parse() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let (send, receive) = mpsc::channel();
    let (host, port) = (address.host.clone(), address.port);
    std::thread::spawn(move || {
        let found = (host.as_str(), port)
            .to_socket_addrs()
            .map(|found| found.collect::<Vec<_>>());
        // Nobody waits any more: nothing to do.
        drop(send.send(found));
    });
    loop {
        match receive.recv_timeout(LOOK) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => {
                return Err(Failure::Passing(format!(
                    "cannot resolve `{}`: {error}; check the name and the worker's DNS",
                    address.host
                )));
            }
            Err(_) if Instant::now() >= deadline => {
                return Err(Failure::Passing(format!(
                    "cannot resolve `{}`: DNS gave no answer in time; check the worker's DNS",
                    address.host
                )));
            }
            Err(_) => shutdown.check()?,
        }
    }
}

fn connect_one(
    address: SocketAddr,
    deadline: Instant,
    shutdown: &Shutdown,
) -> Result<io::Result<Socket>, Failure> {
    let begin = || -> io::Result<(Socket, bool)> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => Ok((socket, true)),
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
            {
                Ok((socket, false))
            }
            Err(error) => Err(error),
        }
    };
    let (socket, mut done) = match begin() {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error)),
    };
    while !done {
        shutdown.check()?;
        let now = Instant::now();
        if now >= deadline {
            return Ok(Err(io::ErrorKind::TimedOut.into()));
        }
        match wait_for(&socket, PollFlags::OUT, (deadline - now).min(LOOK)) {
            Ok(ready) => done = ready,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(match socket.take_error() {
        Ok(None) => Ok(socket),
        Ok(Some(error)) | Err(error) => Err(error),
    })
}

/// Has the kernel notice a dead peer too, in about the time that the SSH keepalives take.
pub(super) fn guard(socket: &Socket, keepalive: Duration) {
    let give_up = u32::try_from(keepalive.as_millis())
        .unwrap_or(u32::MAX)
        .saturating_mul(4);
    let whole = Duration::from_secs(keepalive.as_secs().max(1));
    // Only the second line of defence, and a tunnel's end is no TCP socket: errors don't matter.
    sockopt::set_tcp_nodelay(socket, true).ok();
    sockopt::set_socket_keepalive(socket, true).ok();
    sockopt::set_tcp_keepidle(socket, whole).ok();
    sockopt::set_tcp_keepintvl(socket, whole).ok();
    sockopt::set_tcp_keepcnt(socket, 3).ok();
    sockopt::set_tcp_user_timeout(socket, give_up).ok();
}

/// Waits until a socket is ready in one of the ways; false when the time is over.
pub(super) fn wait_for(socket: impl AsFd, ways: PollFlags, time: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(&socket, ways)];
    match poll(&mut fds, Some(&timespec(time))) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A time as poll(2) takes it, at most an hour.
pub(super) fn timespec(time: Duration) -> Timespec {
    let time = time.min(Duration::from_secs(3600));
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(3600),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_ipv6() {
        let read = |text: &str| text.parse::<Address>();
        assert_eq!(read("10.0.0.5").unwrap(), Address::new("10.0.0.5", 22));
        assert_eq!(read("vm:2222").unwrap(), Address::new("vm", 2222));
        assert_eq!(read("[fd00::1]:23").unwrap(), Address::new("fd00::1", 23));
        assert_eq!(read("fd00::1").unwrap(), Address::new("fd00::1", 22));
        assert_eq!(read("[fd00::1]:23").unwrap().to_string(), "[fd00::1]:23");
        for wrong in ["", ":22", "a:b", "a:0", "[::1", "a b", "u@h:1", "[::1]x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(Address::parse("host", None).is_err());
    }

    #[test]
    fn refusal_and_unknown_names_say_what_to_check() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let refused = Address::new("127.0.0.1", closed.port());
        let unknown = Address::new("no-such-host.invalid", 22);
        for (address, said) in [(refused, "refused"), (unknown, "resolve")] {
            match tcp(&address, Duration::from_secs(5), &Shutdown::new()) {
                Err(Failure::Passing(text)) => assert!(text.contains(said), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_signal_ends_a_hanging_connect() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let port = listener.local_addr().unwrap().as_socket().unwrap().port();
        let address = Address::new("127.0.0.1", port);
        // Fill the backlog until a connect hangs; it is then ended by the flag or the time.
        let shutdown = Shutdown::new();
        let mut held = Vec::new();
        loop {
            match tcp(&address, Duration::from_millis(300), &shutdown) {
                Ok(socket) => held.push(socket),
                Err(Failure::Passing(text)) => {
                    assert!(text.contains("no answer within"), "{text}");
                    break;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        shutdown.raise();
        let began = Instant::now();
        let stopped = tcp(&address, Duration::from_secs(60), &shutdown);
        assert!(matches!(stopped, Err(Failure::Stopped)));
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
