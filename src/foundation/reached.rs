//! Hosts that were reached, and leaving them again.

use std::sync::Arc;
use std::time::Duration;

use crate::bbr;
use crate::bosh;
use crate::http;
use crate::shutdown::Shutdown;

/// How long the removal of SSH users may take after everything else: a Director's task
/// queue may be long.
const CLEANUP_TIME: Duration = Duration::from_secs(300);
/// The same after a signal, from when it came: Concourse kills after 10 s. A Director that has
/// been asked goes on without us.
const SIGNAL_TIME: Duration = Duration::from_millis(9300);

/// The hosts of one aim, connected. Whoever has it calls [`Reached::close`] in any case.
#[derive(Debug)]
pub struct Reached {
    /// For bbr.
    pub hosts: Vec<bbr::Host>,
    /// The deployment manifest, as the Director gave it.
    pub manifest: Option<String>,
    pub(super) access: Option<Access>,
}

#[derive(Debug)]
pub(super) struct Access {
    pub(super) ssh: bosh::SshAccess,
    pub(super) director: Arc<bosh::Director>,
    pub(super) deployment: String,
    pub(super) vms: Vec<bosh::Vm>,
    /// Whether the one VM is all that is asked for, and not its group.
    pub(super) alone: bool,
    pub(super) parallel: usize,
    pub(super) shutdown: Shutdown,
}

impl Access {
    fn patience(&self) -> http::Wait {
        http::Wait::at_most(CLEANUP_TIME).hurried(&self.shutdown, SIGNAL_TIME)
    }
}

impl Reached {
    /// Removes the SSH users of this run, also after a signal, in the time that it leaves.
    /// Gives what went wrong, as sentences; empty when all is clean.
    pub fn close(&self) -> Vec<String> {
        let Some(access) = &self.access else {
            return Vec::new();
        };
        match access.ssh.cleanup(access.parallel, &access.patience()) {
            Ok(()) => Vec::new(),
            Err(bosh::Failures(errors)) => errors
                .iter()
                .map(|error| {
                    format!(
                        "SSH user {} may remain: {error}",
                        access.ssh.user().as_str()
                    )
                })
                .collect(),
        }
    }

    /// Removes the SSH users of all runs of ours, this one's too. Gives what went wrong.
    pub fn close_all(&self) -> Vec<String> {
        let Some(access) = &self.access else {
            return Vec::new();
        };
        let removed = bosh::cleanup_leftovers(
            &access.director,
            &access.deployment,
            &access.vms,
            access.parallel,
            &access.patience(),
        );
        match removed {
            Ok(()) => Vec::new(),
            Err(bosh::Failures(errors)) => errors
                .iter()
                .map(|error| format!("SSH users of earlier runs may remain: {error}"))
                .collect(),
        }
    }

    /// The user of this run, which a search for left-over users must not count.
    pub fn user(&self) -> Option<&str> {
        self.access
            .as_ref()
            .map(|access| access.ssh.user().as_str())
    }
}
