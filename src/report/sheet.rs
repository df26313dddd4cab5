//! The recovery sheet: what must be kept with the recovery key, on paper if need be.

/// What it says.
#[derive(Debug, Clone)]
pub struct Sheet<'a> {
    /// `age1…`.
    pub recovery_recipient: &'a str,
    /// `ssh-ed25519 …`.
    pub worker_public: &'a str,
    /// SHA-256 of `recover.py`, hex.
    pub recover_py: String,
    /// The release that printed it.
    pub release: &'a str,
    /// The day.
    pub date: String,
}

/// The sheet as text.
pub fn render(sheet: &Sheet<'_>) -> String {
    let Sheet {
        recovery_recipient,
        worker_public,
        recover_py,
        release,
        date,
    } = sheet;
    format!(
        "\
LIFEBOAT RECOVERY SHEET                                     {date}, {release}

Keep this sheet with the recovery key: printed, or in a safe that does not depend on the
foundation it recovers. It holds no secret. Give the worker's private key to the pipeline
only, the recovery key to nobody but the people who will restore.

Who can recover (goes into `recipients`):
  {recovery_recipient}

Whose backups are genuine (goes into `trusted_workers` wherever backups are read):
  {worker_public}

SHA-256 of the recover.py that belongs to this release:
  {recover_py}

To recover without Lifeboat: take RECOVERY.md and recover.py from the root of any store,
compare `sha256sum recover.py` with the line above (a newer release stores a newer
recover.py: then take it from that release), and follow RECOVERY.md. You need age, zstd,
python3, the recovery key and this sheet.

Whoever loses the recovery key loses the backups; nobody can help. Make a second recipient
for a second person, in a second place.
"
    )
}
