//! A jumpbox: an SSH server that connects onwards for us (`direct-tcpip`).
//!
//! One connection to it carries any number of tunnels, but libssh2 opens them one at a time,
//! and the server answers only when its own connect has succeeded or failed. A host that
//! swallows packets (a VM that is gone) would hold up all others for two minutes; so a tunnel
//! that finds a connection held up goes to the next one, which is made when there is none.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::Settings;
use super::connector::Connector;
use super::dial::{Address, Failure};
use super::handshake::Known;
use super::link::{End, Opened, Purpose};
use crate::monitor::Monitor;
use crate::shutdown::{Shutdown, Stopped};

/// How long a tunnel may take to open before others go another way.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most connections to one jumpbox.
const CONNECTIONS: usize = 16;

/// See the module.
pub(super) struct Jumpbox {
    settings: Settings,
    monitor: Arc<dyn Monitor>,
    known: Known,
    connectors: Mutex<Vec<Arc<Connector>>>,
}

impl Jumpbox {
    pub(super) fn new(settings: Settings, monitor: Arc<dyn Monitor>) -> Self {
        Self {
            settings,
            monitor,
            known: Known::default(),
            connectors: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.settings.address
    }

    /// Has the jumpbox connect to the target within the time, and carry the bytes of
    /// `endpoint` there.
    pub(super) fn tunnel(
        &self,
        target: &Address,
        endpoint: &Socket,
        time: Duration,
        shutdown: &Shutdown,
    ) -> Result<(), Failure> {
        let odd = |error: io::Error| Failure::Passing(format!("no tunnel to {target}: {error}"));
        let failed = |why: &str| {
            Failure::Passing(format!(
                "cannot reach {target} through the jumpbox {}: {why}",
                self.address()
            ))
        };
        endpoint.set_nonblocking(true).map_err(odd)?;
        let deadline = Instant::now() + time;
        let mut lost = false;
        loop {
            let link = self.pick().link(shutdown)?;
            let purpose = Purpose::Tunnel {
                host: target.host.clone(),
                port: target.port,
            };
            let task = link.ask(purpose, endpoint.try_clone().map_err(odd)?);
            let turn = Instant::now() + 2 * PATIENCE;
            match task.wait_started_until(turn.min(deadline), deadline, shutdown) {
                Ok(Opened::Yes) => return Ok(()),
                Ok(Opened::No(End::NotStarted(_))) if !lost => lost = true,
                Ok(Opened::No(End::Refused(why) | End::NotStarted(why))) => {
                    return Err(failed(&why));
                }
                Ok(Opened::No(_)) => return Err(failed("it was closed at once")),
                Ok(Opened::NotYet) if Instant::now() < deadline => link.abandon(&task),
                Ok(Opened::NotYet | Opened::Never) => {
                    link.abandon(&task);
                    return Err(failed(&format!(
                        "no connection within {} s; check that the VM is up and that the jumpbox \
                         may reach it",
                        time.as_secs_f32()
                    )));
                }
                Err(Stopped) => {
                    link.abandon(&task);
                    return Err(Failure::Stopped);
                }
            }
        }
    }

    /// A connection that is not held up, as far as the limit allows.
    fn pick(&self) -> Arc<Connector> {
        let mut connectors = self
            .connectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let free = connectors.iter().find(|it| !it.is_held_up(PATIENCE));
        if let Some(found) = free.or(connectors.get(CONNECTIONS - 1)) {
            return Arc::clone(found);
        }
        let new = Arc::new(Connector::new(
            self.settings.clone(),
            Arc::clone(&self.monitor),
            Arc::clone(&self.known),
        ));
        connectors.push(Arc::clone(&new));
        new
    }
}
