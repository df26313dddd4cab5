//! What a drill notes on the scratch foundation's Ops Manager VM: that this VM is one, and how far
//! the drill is.
//!
//! A scratch foundation has the original's addresses, credentials and, once restored, even its
//! director's UUID. What it has for itself is the VM of its Ops Manager. The note is written onto a
//! VM that nobody has set up, and from then on a drill works on a VM that carries it and on no
//! other: no foundation that lives can have it. It also says what is done, so that whatever ended a
//! drill the next one goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::operation::vm_file;
use crate::remote::{Command, Remote};
use crate::shutdown::Shutdown;

/// Outside everything that belongs to Ops Manager: an import leaves it alone.
const DIRECTORY: &str = "/var/lib/lifeboat";
const NAME: &str = "drill.json";

/// The note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Marker {
    /// The scratch foundation's name.
    pub(super) scratch: String,
    /// Whose backup.
    pub(super) foundation: String,
    pub(super) backup: String,
    /// When the drill began, RFC 3339.
    pub(super) begun: String,
    /// How often it was run; more than once after a failure or an abort.
    pub(super) runs: u32,
    /// The SSH host key of the director that this drill deployed, as this VM sees it.
    pub(super) director_host_key: Option<String>,
    /// By name.
    pub(super) steps: BTreeMap<String, Noted>,
    /// Whether everything was deleted again.
    pub(super) torn_down: bool,
}

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Noted {
    pub(super) done: bool,
    /// How long it took, milliseconds.
    pub(super) ms: u64,
}

impl Marker {
    /// Whether a step was begun, done or not.
    pub(super) fn begun(&self, step: &str) -> bool {
        self.steps.contains_key(step)
    }

    /// How long a step took that is done.
    pub(super) fn done(&self, step: &str) -> Option<Duration> {
        let noted = self.steps.get(step).filter(|noted| noted.done)?;
        Some(Duration::from_millis(noted.ms))
    }

    /// What the VM carries; `None` where no drill was ever begun.
    pub(super) fn read(remote: &dyn Remote, shutdown: &Shutdown) -> Result<Option<Self>> {
        let path = format!("{DIRECTORY}/{NAME}");
        let text = vm_file::read(remote, "reading the drill's note", &path, shutdown)?;
        text.map(|text| serde_json::from_slice(&text))
            .transpose()
            .map_err(|_may_quote_it| {
                anyhow!("{path} on the Ops Manager VM is no note of a drill; nothing was touched: make the VM anew from its image")
            })
    }

    /// Writes it; whatever happens meanwhile, the whole old one or the whole new one is there.
    pub(super) fn write(&self, remote: &dyn Remote, shutdown: &Shutdown) -> Result<()> {
        let text = serde_json::to_string(self).context("the drill's note cannot be written")?;
        let script = r#"umask 077 && mkdir -p -- "$1" && printf %s "$3" > "$1/$2.new" && mv -- "$1/$2.new" "$1/$2" && sync "$1/$2""#;
        let command = Command::as_root(
            "noting how far the drill is",
            ["sh", "-c", script, "sh", DIRECTORY, NAME, &text],
        );
        let output = remote
            .run(&command, shutdown)
            .context("the Ops Manager VM")?;
        ensure!(
            output.exit.ok(),
            "{DIRECTORY}/{NAME} on the Ops Manager VM cannot be written (status {}): {}; nothing goes on without it",
            output.exit.status,
            output.exit.stderr
        );
        Ok(())
    }
}
