//! Commands on instances over SSH: the [`Remote`] of the real world.
//!
//! Owns: SSH connections, host keys, logging in, quoting, keepalives, routes through proxies.
//! Does not know: what a command means, which instances there are, where a key came from.
//!
//! One [`Session`] is one instance: a connection that is made once, carries any number of
//! commands at a time, and is made again when it has died, for the next command; a command that
//! was running then is lost and never run again by itself. How a command's end is told from a
//! lost connection is explained in `ssh/command.rs`, what libssh2 needs in `ssh/channel.rs`,
//! how a dead peer is noticed in `ssh/driver.rs`.

mod channel;
mod command;
mod connector;
mod dial;
mod driver;
mod handshake;
mod jumpbox;
mod keys;
mod link;
mod proxy_url;
mod route;
mod socks;
mod streams;
mod verdict;
mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::dial::{Address, AddressError};
pub use self::keys::{HostKey, HostKeyPolicy, KeyError, fingerprint, generate_key, public_of};
pub use self::proxy_url::ProxyUrl;
pub use self::route::{Route, RouteError, RouteOptions, Stream};

use self::command::Completion;
use self::connector::Connector;
use self::dial::Failure;
use self::handshake::Known;
use self::link::Purpose;
use self::streams::{Start, Title};
use crate::monitor::Monitor;
use crate::remote::{Command, Error, Remote, Running};
use crate::secret::Secret;
use crate::shutdown::{Shutdown, Stopped};

/// The shortest keepalive interval.
const MIN_KEEPALIVE: Duration = Duration::from_millis(100);

/// How to reach one instance.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `group/id`, for messages.
    pub name: String,
    /// Where its SSH server listens.
    pub address: Address,
    /// Who to log in as.
    pub user: String,
    /// The private key, as text, without a passphrase.
    pub key: Secret,
    /// Which host key is right.
    pub host_key: HostKeyPolicy,
    /// The limit of one attempt to connect, of the greeting and login after it, and of a
    /// server's refusal of all sessions.
    pub connect_timeout: Duration,
    /// How long the peer may send nothing before it is asked whether it lives. After three
    /// unanswered questions the connection is given up.
    pub keepalive: Duration,
    /// How many commands run at once; further ones wait. OpenSSH's `MaxSessions` is 10.
    pub sessions: usize,
    /// The pause after a first failed attempt to connect; doubled after the second.
    pub retry_pause: Duration,
    /// Through which proxy, if any.
    pub route: Option<Route>,
}

impl Settings {
    /// Settings with the default limits and no proxy.
    pub fn new(
        name: impl Into<String>,
        address: Address,
        user: impl Into<String>,
        key: Secret,
        host_key: HostKeyPolicy,
    ) -> Self {
        Self {
            name: name.into(),
            address,
            user: user.into(),
            key,
            host_key,
            connect_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(15),
            sessions: 8,
            retry_pause: Duration::from_secs(1),
            route: None,
        }
    }
}

/// One instance, reached over SSH.
#[derive(Debug)]
pub struct Session {
    connector: Connector,
}

impl Session {
    /// Connects and logs in.
    ///
    /// Tried three times where that can help; a wrong host key or a refused login ends it at
    /// once.
    ///
    /// # Errors
    /// [`Error::Connect`] with what happened and what to do, [`Error::Stopped`] on a signal.
    pub fn connect(
        settings: Settings,
        monitor: Arc<dyn Monitor>,
        shutdown: &Shutdown,
    ) -> Result<Arc<Self>, Error> {
        let session = Self {
            connector: Connector::new(settings, monitor, Known::default()),
        };
        session.link(shutdown)?;
        Ok(Arc::new(session))
    }

    fn link(&self, shutdown: &Shutdown) -> Result<Arc<link::Link>, Error> {
        self.connector
            .link(shutdown)
            .map_err(|failure| match failure {
                Failure::Stopped => Error::Stopped(Stopped),
                Failure::Passing(why) | Failure::Lasting(why) => self.connect_error(why),
            })
    }

    fn connect_error(&self, message: String) -> Error {
        Error::Connect {
            remote: self.name().to_owned(),
            message,
        }
    }
}

impl Remote for Session {
    fn name(&self) -> &str {
        &self.connector.settings.name
    }

    /// By the server's own greeting.
    fn is_windows(&self) -> bool {
        self.connector.is_windows()
    }

    /// Returns once the server has begun the command, which may have to wait for another to
    /// end. A connection found dead before the server was asked for anything is made anew.
    fn start(&self, command: &Command, shutdown: &Shutdown) -> Result<Running, Error> {
        shutdown.check()?;
        let label = &command.label;
        let line = command::render(command)
            .map_err(|why| self.connect_error(format!("`{label}` cannot be sent: it {why}")))?;
        let mut redialled = false;
        loop {
            let link = self.link(shutdown)?;
            if self.is_windows() {
                return Err(self.connect_error(format!(
                    "cannot run `{label}`: the instance runs Windows, where BBR scripts do not exist"
                )));
            }
            let completion = Completion::random().map_err(|error| {
                self.connect_error(format!("the system gave no random bytes: {error}"))
            })?;
            let title = Title {
                remote: self.name().to_owned(),
                user: self.connector.settings.user.clone(),
                command: label.clone(),
                as_root: command.as_root,
            };
            let purpose = Purpose::Command {
                line: line.clone(),
                completion,
                silence: command.silence,
            };
            match streams::start(&link, title, purpose, shutdown)? {
                Start::Running(running) => return Ok(running),
                Start::NotStarted(_) if !redialled => redialled = true,
                Start::NotStarted(reason) => {
                    return Err(Error::Lost {
                        remote: self.name().to_owned(),
                        command: label.clone(),
                        message: reason,
                    });
                }
            }
        }
    }
}
