//! `lifeboat hold`.

use std::io::Write;

use anyhow::Result;

use super::{Ended, backup_id, print};
use crate::operation::settings::Settings;
use crate::operation::{self, Context};

/// Says where it counts now.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    id: &str,
    why: &str,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let id = backup_id(context, settings, id)?;
    let said = operation::holds::hold(context, settings, &id, why)?;
    print(stdout, &format!("{said}\n"))
}
