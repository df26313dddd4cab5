//! What is to come: what a prune drops, what it must not, and which certificates end.

use serde::Serialize;

/// What a prune would do now, by the retention of the configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Retention {
    /// The policy, rule by rule: `keep_daily 14`.
    pub policy: Vec<String>,
    /// Backups of the window that stay.
    pub kept: u64,
    /// Those that would be dropped, oldest first, at most 20.
    pub drops: Vec<Drop>,
    /// How many more.
    pub more: u64,
    /// When nothing would be dropped now: what goes when so many more backups are there.
    pub next: Option<NextDrop>,
}

/// A backup that a prune drops.
#[derive(Debug, Clone, Serialize)]
pub struct Drop {
    /// Which.
    pub backup: String,
    /// Why nothing keeps it.
    pub reasons: Vec<String>,
}

/// The next backups to go.
#[derive(Debug, Clone, Serialize)]
pub struct NextDrop {
    /// After how many more backups, taken as often as now.
    pub after_backups: u64,
    /// Which, at most 20.
    pub backups: Vec<String>,
}

/// A hold.
#[derive(Debug, Clone, Serialize)]
pub struct Hold {
    /// Which backup.
    pub backup: String,
    /// Why.
    pub why: Vec<String>,
    /// Whether it is still there to be held.
    pub listed: bool,
}

/// Certificates of the foundation, as the newest backup that asked Ops Manager knows them.
#[derive(Debug, Clone, Serialize)]
pub struct Certificates {
    /// That backup.
    pub backup: String,
    /// How many have an end.
    pub number: u64,
    /// The first end.
    pub first_end: String,
    /// Seconds until then; negative when it is over.
    pub first_end_in_s: i64,
    /// How many of those in `ends` end within the limit or have ended.
    pub soon: u64,
    /// How long before its end a certificate counts as about to end; absent where no limit is set.
    pub limit_s: Option<u64>,
    /// The first twenty to end.
    pub ends: Vec<CertificateEnd>,
}

/// The end of a certificate.
#[derive(Debug, Clone, Serialize)]
pub struct CertificateEnd {
    /// When.
    pub at: String,
    /// Whether that is within the limit, or over.
    pub soon: bool,
    /// Whose it is and what it is called; only with a recovery identity, since the record is sealed.
    pub name: Option<String>,
}
