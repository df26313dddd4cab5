//! `lifeboat cleanup`.

use std::io::Write;

use anyhow::{Result, bail};

use super::{Ended, print};
use crate::config::{Action, Configuration};
use crate::operation::{self, Context};
use crate::report::text;

/// Says what was done, or that nothing had to be.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Action::Cleanup { components, force } = &configuration.action else {
        bail!("there is nothing to clean");
    };
    let cleanup = operation::cleanup(context, &configuration.settings, components, *force)?;
    print(stdout, &text::cleanup(&cleanup))
}
