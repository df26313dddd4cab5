//! What lies beside the backups so that they can be recovered without Lifeboat. The only
//! objects that a newer release replaces.

use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use super::bridge::Bridge;
use crate::store::copies::Copies;
use crate::store::{ObjectName, WriteMode};

/// The reader in Python's standard library.
pub const RECOVER_PY: &str = include_str!("../recover/recover.py");
/// How to use it, and how to do without.
pub const RECOVERY_MD: &str = include_str!("../recover/RECOVERY.md");

/// More than either ever has, in bytes.
pub(super) const RECOVERY_LIMIT: u64 = 1 << 20;

/// Puts both files into every store that lacks them or has another release's.
///
/// # Errors
/// When too few stores take them, or a signal comes.
pub fn store_recovery_files(copies: &Arc<Copies>, bridge: &Bridge) -> Result<(), Error> {
    for (name, text) in [("recover.py", RECOVER_PY), ("RECOVERY.md", RECOVERY_MD)] {
        let object = ObjectName::new(name)?;
        let theirs = bridge.wait(copies.get_each(&object, RECOVERY_LIMIT))?;
        let standings = copies.standings();
        let missing = theirs
            .iter()
            .zip(&standings)
            .any(|((_, read), (_, standing))| {
                let same = matches!(read, Ok(bytes) if bytes == text.as_bytes());
                !same && standing.closed().is_none()
            });
        if missing {
            bridge.wait(copies.put_all(
                &object,
                Bytes::from_static(text.as_bytes()),
                WriteMode::Overwrite,
            ))??;
        }
    }
    Ok(())
}
