//! The ways to the target: its Ops Manager, that VM, and the director, with all rights.

use std::sync::{Arc, OnceLock};

use anyhow::Result;

use super::super::Context;
use super::super::discovery::{self, Rights};
use super::super::settings::{Component, Settings};
use crate::bosh;
use crate::foundation::Foundation;
use crate::http::Wait;
use crate::opsman::OpsManager;
use crate::remote::Remote;

/// The ways, opened when needed.
pub(in crate::operation) struct Reach<'a> {
    pub(in crate::operation) context: &'a Context,
    settings: &'a Settings,
    director: OnceLock<Arc<bosh::Director>>,
}

impl<'a> Reach<'a> {
    /// Nothing is sent yet.
    pub(in crate::operation) fn new(context: &'a Context, settings: &'a Settings) -> Self {
        Self {
            context,
            settings,
            director: OnceLock::new(),
        }
    }

    pub(in crate::operation) fn wait(&self) -> Wait {
        Wait::unless(&self.context.shutdown)
    }

    /// The target's Ops Manager. Its calls are made one after another: no two of these at once.
    pub(in crate::operation) fn ops_manager(&self) -> Result<OpsManager> {
        discovery::client(self.context, self.settings)
    }

    /// The target's director, as a client with all rights. Keys are asked for anew.
    pub(in crate::operation) fn director(&self) -> Result<Arc<bosh::Director>> {
        if let Some(director) = self.director.get() {
            return Ok(Arc::clone(director));
        }
        let wanted = [Component::Director];
        let found = discovery::find(self.context, self.settings, &wanted, Rights::All)?;
        let director = self.foundation(&found.settings).director()?;
        Ok(Arc::clone(self.director.get_or_init(|| director)))
    }

    /// Ops Manager's VM over SSH.
    pub(in crate::operation) fn ops_manager_vm(&self) -> Result<Arc<dyn Remote>> {
        let vm = self
            .foundation(self.settings)
            .ops_manager_vm(&self.context.shutdown)?;
        Ok(vm)
    }

    fn foundation(&self, settings: &Settings) -> Foundation {
        Foundation::new(
            settings.foundation.clone(),
            "",
            Arc::clone(&self.context.monitor),
            Arc::clone(&self.context.mask),
        )
    }
}
