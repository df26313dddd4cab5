//! `lifeboat fetch`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Ended, backup_id, print};
use crate::config::{Action, Configuration};
use crate::operation::{self, Context};
use crate::report::text;

/// Never writes into a directory that holds anything.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    id: &str,
    into: &Path,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Action::Fetch(selection) = &configuration.action else {
        bail!("there is nothing to fetch");
    };
    let shown = into.display();
    std::fs::create_dir_all(into).with_context(|| format!("{shown} cannot be made"))?;
    let mut entries = std::fs::read_dir(into).with_context(|| format!("{shown} cannot be read"))?;
    if entries.next().is_some() {
        bail!("{shown} is not empty; name an empty or a new directory");
    }
    let settings = &configuration.settings;
    let id = backup_id(context, settings, id)?;
    let fetched = operation::fetch(context, settings, &id, selection, into)?;
    print(stdout, &text::fetched(&fetched))
}
