//! `lifeboat pre-backup-check`.

use std::io::Write;

use anyhow::{Result, bail};

use super::{Ended, print, print_json};
use crate::config::{Action, Configuration};
use crate::operation::{self, Context};
use crate::report::{json as rendered, text};

/// Problems found are a result, not a failure.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Action::Precheck(components) = &configuration.action else {
        bail!("there is nothing to check");
    };
    let found = operation::pre_backup_check(context, &configuration.settings, components)?;
    if json {
        print_json(stdout, &rendered::precheck(&found))?;
    } else {
        print(stdout, &text::precheck(&found))?;
    }
    Ok(if found.problems.is_empty() {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
