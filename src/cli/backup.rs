//! `lifeboat backup`.

use std::io::Write;

use anyhow::{Result, bail};

use super::{Ended, print};
use crate::config::{Action, Configuration};
use crate::operation::{self, Context};
use crate::report::text;

/// The summary goes to the log, the id alone to standard output: scripts read it.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let settings = &configuration.settings;
    let backup = match &configuration.action {
        Action::Backup(components) => operation::backup(context, settings, components)?,
        Action::FromDirectories(directories) => {
            operation::from_directories(context, settings, directories)?
        }
        _ => bail!("there is nothing to back up"),
    };
    context.monitor.info(text::backup(&backup).trim_end());
    if configuration.prune {
        operation::prune::behind_a_backup(context, settings);
    }
    print(stdout, &format!("{}\n", backup.id))
}
