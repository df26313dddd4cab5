//! `lifeboat keygen`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use super::{Ended, print};
use crate::artifact::Digest;
use crate::clock;
use crate::operation;
use crate::operation::keygen::{self, Keys};
use crate::report::sheet::{self, Sheet};

/// Prints keys and sheet, or writes them and prints the sheet.
pub(super) fn run(
    out_dir: Option<&Path>,
    now: SystemTime,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let keys = keygen::generate("lifeboat-worker")?;
    let sheet = sheet::render(&Sheet {
        recovery_recipient: &keys.recovery_recipient,
        worker_public: &keys.worker_public,
        recover_py: Digest::of(operation::recover_py().as_bytes()).to_string(),
        release: concat!("lifeboat ", env!("CARGO_PKG_VERSION")),
        date: clock::rfc3339(now).chars().take(10).collect(),
    });
    let Some(directory) = out_dir else {
        return print(stdout, &printed(&keys, &sheet));
    };
    write_all(directory, &keys, &sheet)?;
    let shown = directory.display();
    print(
        stdout,
        &format!(
            "{sheet}\nWritten to {shown}: worker_identity (for the pipeline), worker_identity.pub, \
             recovery_identity (for the safe; take it off this machine), recovery_identity.pub, \
             recovery-sheet.txt\n"
        ),
    )
}

fn recovery_file(keys: &Keys) -> String {
    format!(
        "# lifeboat recovery key, an ordinary age identity file\n# public key: {}\n{}\n",
        keys.recovery_recipient,
        keys.recovery_identity.expose()
    )
}

fn printed(keys: &Keys, sheet: &str) -> String {
    format!(
        "# worker_identity: for the pipeline's secrets, nowhere else\n{}\n\
         # recovery_identity: for the safe, never for the pipeline that backs up\n{}\n{sheet}",
        keys.worker_identity.expose(),
        recovery_file(keys),
    )
}

/// All or nothing as far as names are concerned: no file is begun while one is in the way.
fn write_all(directory: &Path, keys: &Keys, sheet: &str) -> Result<()> {
    let recovery = recovery_file(keys);
    let files = [
        ("worker_identity", 0o600, keys.worker_identity.expose()),
        (
            "worker_identity.pub",
            0o644,
            &format!("{}\n", keys.worker_public),
        ),
        ("recovery_identity", 0o600, &recovery),
        (
            "recovery_identity.pub",
            0o644,
            &format!("{}\n", keys.recovery_recipient),
        ),
        ("recovery-sheet.txt", 0o644, sheet),
    ];
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    for (name, ..) in &files {
        if directory.join(name).symlink_metadata().is_ok() {
            bail!(
                "{} is there already; keygen never overwrites a key, name another directory",
                directory.join(name).display()
            );
        }
    }
    for (name, mode, text) in files {
        let path = directory.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
