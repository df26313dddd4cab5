//! `lifeboat cleanup` and `lifeboat restore-cleanup`.

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
    let Action::Cleanup {
        components,
        force,
        direction,
    } = &configuration.action
    else {
        bail!("there is nothing to clean");
    };
    let settings = &configuration.settings;
    let cleanup = operation::cleanup(context, settings, components, *force, *direction)?;
    print(stdout, &text::cleanup(&cleanup))
}
