//! Keeps one link per server: dials when there is none, again when it has died, once for all
//! who ask at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Settings;
use super::dial::{self, Failure};
use super::driver::Driver;
use super::handshake::{self, Known};
use super::link::{Link, Mailbox};
use crate::monitor::Monitor;
use crate::shutdown::{LOOK, Shutdown};

/// Attempts to connect, where another may do better.
const ATTEMPTS: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) settings: Settings,
    monitor: Arc<dyn Monitor>,
    known: Known,
    slot: Mutex<Slot>,
    changed: Condvar,
    /// Whether the server called itself OpenSSH for Windows.
    windows: AtomicBool,
}

#[derive(Debug, Default)]
struct Slot {
    link: Option<Arc<Link>>,
    dialing: bool,
    /// Counts the dials that are over.
    dials: u64,
    /// Why the last one failed, for those who waited for it.
    failure: Option<Failure>,
}

impl Connector {
    /// Connectors to the same server share what is `known` of it.
    pub(super) fn new(settings: Settings, monitor: Arc<dyn Monitor>, known: Known) -> Self {
        Self {
            settings,
            monitor,
            known,
            slot: Mutex::default(),
            changed: Condvar::new(),
            windows: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last greeting said.
    pub(super) fn is_windows(&self) -> bool {
        self.windows.load(Ordering::Relaxed)
    }

    /// Whether its link has been opening one channel for so long that others should not queue
    /// behind it.
    pub(super) fn is_held_up(&self, patience: Duration) -> bool {
        let link = self.lock().link.clone();
        link.is_some_and(|link| link.is_alive() && link.is_held_up(patience))
    }

    /// The living link, dialled if need be.
    pub(super) fn link(&self, shutdown: &Shutdown) -> Result<Arc<Link>, Failure> {
        let mut slot = self.lock();
        let mut seen = slot.dials;
        loop {
            if let Some(link) = slot.link.as_ref().filter(|link| link.is_alive()) {
                return Ok(Arc::clone(link));
            }
            shutdown.check()?;
            if !slot.dialing {
                if slot.dials != seen
                    && let Some(failure) = &slot.failure
                {
                    return Err(failure.clone());
                }
                break;
            }
            seen = seen.min(slot.dials);
            slot = self
                .changed
                .wait_timeout(slot, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        slot.dialing = true;
        // The dead one's thread is joined outside the lock.
        let dead = slot.link.take();
        drop(slot);
        drop(dead);
        let dialled = self.dial(shutdown);
        let mut slot = self.lock();
        slot.dialing = false;
        slot.dials += 1;
        match dialled {
            Ok(link) => {
                let link = Arc::new(link);
                slot.link = Some(Arc::clone(&link));
                slot.failure = None;
                self.changed.notify_all();
                Ok(link)
            }
            Err(failure) => {
                // One caller's signal is not the others' failure.
                slot.failure = Some(failure.clone()).filter(|it| !matches!(it, Failure::Stopped));
                self.changed.notify_all();
                Err(failure)
            }
        }
    }

    fn dial(&self, shutdown: &Shutdown) -> Result<Link, Failure> {
        let Settings { name, address, .. } = &self.settings;
        let mut pause = self.settings.retry_pause;
        let mut attempt = 1;
        loop {
            match self.dial_once(shutdown) {
                Err(Failure::Passing(why)) if attempt < ATTEMPTS => {
                    self.monitor.info(&format!(
                        "{name}: {why}; trying again ({attempt} of {ATTEMPTS} attempts failed)"
                    ));
                    shutdown.sleep(pause)?;
                    pause *= 2;
                    attempt += 1;
                }
                Ok(link) => {
                    self.monitor
                        .debug(&format!("{name}: connected to {address}"));
                    return Ok(link);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn dial_once(&self, shutdown: &Shutdown) -> Result<Link, Failure> {
        let Settings {
            name,
            address,
            connect_timeout,
            ..
        } = &self.settings;
        let socket = Arc::new(match &self.settings.route {
            None => dial::tcp(address, *connect_timeout, shutdown)?,
            Some(route) => route.dial_failing(address, *connect_timeout, shutdown)?,
        });
        dial::guard(&socket, self.settings.keepalive);
        let session = handshake::establish(
            &self.settings,
            &socket,
            &self.known,
            &*self.monitor,
            shutdown,
        )?;
        let windows = session
            .banner_bytes()
            .is_some_and(|banner| String::from_utf8_lossy(banner).contains("for_Windows"));
        self.windows.store(windows, Ordering::Relaxed);
        let odd = |error: std::io::Error| {
            Failure::Passing(format!("cannot use the connection to {address}: {error}"))
        };
        let mailbox = Mailbox::new().map_err(odd)?;
        let driver = Driver::new(
            session,
            socket,
            (Arc::clone(&mailbox.0), mailbox.1),
            &self.settings,
        );
        Link::spawn(name, driver, mailbox.0).map_err(odd)
    }
}
