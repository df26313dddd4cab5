//! The way to Ops Manager's own VM.

use std::sync::Arc;

use super::{Error, Foundation, exactly};
use crate::remote::Remote;
use crate::shutdown::Shutdown;
use crate::ssh;

impl Foundation {
    /// Ops Manager's VM over SSH.
    ///
    /// # Errors
    /// When there is no key for it, or it cannot be reached.
    pub fn ops_manager_vm(&self, shutdown: &Shutdown) -> Result<Arc<dyn Remote>, Error> {
        let place = self.settings.ops_manager.as_ref();
        let (host, vm) = place
            .and_then(|place| Some((place.host.clone(), place.ssh.as_ref()?)))
            .ok_or_else(|| {
                Error::Settings(
                    "ops_manager.ssh_private_key is missing: bosh-state.json can be reached over SSH alone; give the key that the VM was made with".into(),
                )
            })?;
        let host_key = match &vm.host_key {
            Some(line) => exactly(line)?,
            None => ssh::HostKeyPolicy::Any,
        };
        let mut settings = ssh::Settings::new(
            "the Ops Manager VM",
            ssh::Address::new(host, vm.port),
            vm.username.clone(),
            vm.private_key.clone(),
            host_key,
        );
        self.limit(&mut settings);
        let session = ssh::Session::connect(settings, Arc::clone(&self.monitor), shutdown)
            .map_err(|error| Error::Remote(vec![error]))?;
        Ok(session)
    }
}
