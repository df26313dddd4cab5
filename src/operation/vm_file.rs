//! Files on the Ops Manager VM.

use anyhow::{Context as _, Result, bail};

use crate::remote::{Command, Remote};
use crate::shutdown::Shutdown;

/// The exit status that says: there is no such file. No program ends so by itself.
const ABSENT: i32 = 44;

/// What a file holds; `None` when it is not there.
///
/// # Errors
/// When it cannot be read; a signal.
pub(super) fn read(
    remote: &dyn Remote,
    doing: &str,
    path: &str,
    shutdown: &Shutdown,
) -> Result<Option<Vec<u8>>> {
    let script = format!(r#"if [ -e "$1" ]; then exec cat -- "$1"; else exit {ABSENT}; fi"#);
    let command = Command::as_root(doing, ["sh", "-c", &script, "sh", path]);
    let output = remote
        .run(&command, shutdown)
        .context("the Ops Manager VM")?;
    match output.exit.status {
        0 => Ok(Some(output.stdout)),
        ABSENT => Ok(None),
        status => bail!(
            "{path} on the Ops Manager VM cannot be read (status {status}): {}",
            output.exit.stderr
        ),
    }
}
