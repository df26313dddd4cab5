//! A SOCKS5 client: CONNECT without authentication (RFC 1928), nothing else.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::Socket;

use super::dial::{Address, Failure, wait_for};
use crate::shutdown::{LOOK, Shutdown};

/// Asks the proxy at the other end of a non-blocking socket for a connection.
pub(super) fn connect(
    socket: &Socket,
    proxy: &Address,
    target: &Address,
    time: Duration,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let talk = Talk {
        socket,
        proxy,
        target,
        deadline: Instant::now() + time,
        shutdown,
    };
    talk.send(&[5, 1, 0])?;
    let [version, method] = talk.receive::<2>()?;
    if version != 5 {
        return Err(Failure::Lasting(format!(
            "what answers at {proxy} is no SOCKS5 proxy; check the proxy's address"
        )));
    }
    if method != 0 {
        return Err(Failure::Lasting(format!(
            "the SOCKS5 proxy at {proxy} wants authentication, which is not supported; let the \
             worker in without, or use ssh+socks5://"
        )));
    }
    talk.send(&request(target)?)?;
    let [_, reply, _, kind] = talk.receive::<4>()?;
    if reply != 0 {
        return Err(Failure::Passing(format!(
            "the SOCKS5 proxy at {proxy} cannot connect to {target}: {}",
            explain(reply)
        )));
    }
    // The address the proxy speaks from: of no interest, but in the way.
    let rest = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(talk.receive::<1>()?[0]),
    };
    for _ in 0..rest + 2 {
        talk.receive::<1>()?;
    }
    Ok(())
}

fn request(target: &Address) -> Result<Vec<u8>, Failure> {
    let mut request = vec![5, 1, 0];
    match target.host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        // The proxy resolves names: those of a foundation are often known only there.
        Err(_) => {
            let length = u8::try_from(target.host.len()).map_err(|_long| {
                Failure::Lasting(format!("`{}` is too long for a host name", target.host))
            })?;
            request.extend_from_slice(&[3, length]);
            request.extend_from_slice(target.host.as_bytes());
        }
    }
    request.extend_from_slice(&target.port.to_be_bytes());
    Ok(request)
}

fn explain(reply: u8) -> &'static str {
    match reply {
        2 => "its rules forbid it; have the address allowed there",
        3 => "network unreachable; check its routes",
        4 => "host unreachable; check that the VM is up",
        5 => "connection refused; check that the VM is up and that the service listens",
        6 => "the way there is too long (TTL expired)",
        7 | 8 => "it does not know this kind of request",
        _ => "general failure; see the proxy's log",
    }
}

struct Talk<'a> {
    socket: &'a Socket,
    proxy: &'a Address,
    target: &'a Address,
    deadline: Instant,
    shutdown: &'a Shutdown,
}

impl Talk<'_> {
    fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut socket = self.socket;
            let wrote = self.attempt(PollFlags::OUT, || socket.write(rest))?;
            rest = &rest[wrote..];
        }
        Ok(())
    }

    fn receive<const N: usize>(&self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        let mut have = 0;
        while have < N {
            let mut socket = self.socket;
            let read = self.attempt(PollFlags::IN, || socket.read(&mut bytes[have..]))?;
            if read == 0 {
                return Err(self.broken("it closed the connection"));
            }
            have += read;
        }
        Ok(bytes)
    }

    fn attempt(
        &self,
        way: PollFlags,
        mut act: impl FnMut() -> std::io::Result<usize>,
    ) -> Result<usize, Failure> {
        loop {
            match act() {
                Ok(count) => return Ok(count),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(self.broken(&error.to_string())),
            }
            self.shutdown.check()?;
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.broken("no answer in time"));
            }
            wait_for(self.socket, way, left.min(LOOK))
                .map_err(|error| self.broken(&error.to_string()))?;
        }
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::Passing(format!(
            "the SOCKS5 proxy at {} failed on the way to {}: {what}; check the proxy",
            self.proxy, self.target
        ))
    }
}
