//! What the use cases are told, as plain validated values. `config` makes them, whatever
//! door the input came through; nothing here reads files, flags or the environment.

mod drill;
mod restoration;

use std::path::PathBuf;
use std::time::Duration;

pub use self::drill::{Check, Drill, End, Page, Question};
pub use self::restoration::{Choices, Origin, Restoration, Staging, Step};
pub use crate::foundation::{
    Api, ApiCredentials, Bosh, Credentials as OpsManagerCredentials, Director, Given, HttpProxy,
    Inventory, Limits, OpsManager, Proxy, Settings as Foundation, Vm,
};
pub use crate::repo::proof::Level;
pub use crate::repo::retention::Policy as Retention;
pub use crate::report::Build;
pub use crate::report::alerts::{MaxAge, Thresholds};
use crate::secret::Secret;

/// Everything that does not depend on what is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where backups are kept and who can open them.
    pub repository: Repository,
    /// How to reach what is backed up.
    pub foundation: Foundation,
    /// When to alert.
    pub alerts: Thresholds,
    /// The Concourse build that asks, if one does.
    pub build: Option<Build>,
    /// Pages that are watched while components are locked, beside those that Ops Manager leads to; not
    /// even those where it is empty.
    pub probes: Option<Vec<Probe>>,
}

/// A page that users need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// For people: `api`, `uaa`, `credhub`, `app`.
    pub name: String,
    /// Which.
    pub page: Page,
    /// What its answer must contain.
    pub contains: Option<String>,
    /// Whether nobody named it: Ops Manager led there.
    pub found: bool,
}

/// Where backups are kept and who can open them.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `[a-z0-9][a-z0-9.-]{0,62}`.
    pub foundation: String,
    /// In the order in which they are read. Empty only for a cleanup.
    pub stores: Vec<Store>,
    /// How many stores must hold a backup before it counts: `1..=stores.len()`.
    pub min_copies: usize,
    /// `age1…` and `ssh-ed25519 …`, without comments.
    pub recipients: Vec<String>,
    /// `ssh-ed25519 …`, without comments; the worker identity's own public half is not added.
    pub trusted_workers: Vec<String>,
    /// Signs manifests and continues chains.
    pub worker_identity: Option<WorkerIdentity>,
    /// Opens backups: an age identity file's text or an OpenSSH Ed25519 private key.
    pub recovery_identity: Option<Secret>,
    /// A chain older than this is not continued.
    pub new_chain_every: Duration,
    /// How old what no manifest names must be before it is swept; a backup that runs for more
    /// than half of it does not commit.
    pub grace: Duration,
    /// What prune keeps.
    pub retention: Option<Retention>,
    /// How long a backup waits for a store that fails while artifacts stream. Whatever is only
    /// a look waits no longer than 20 s.
    pub store_timeout: Duration,
}

/// How closely what is stored is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Any but [`Level::Drilled`].
    pub level: Level,
    /// The backup, for levels that look at one; the newest without it.
    pub backup: Option<String>,
    /// `3/7`, or `today/7`.
    pub part: Option<String>,
    /// From 1 to 100.
    pub percent: Option<u8>,
    /// Whether the result is stored.
    pub report: bool,
}

/// One unencrypted OpenSSH Ed25519 key.
#[derive(Debug, Clone)]
pub struct WorkerIdentity {
    /// The whole private key in OpenSSH's format.
    pub private_key: Secret,
    /// `ssh-ed25519 AAAA…`, without a comment.
    pub public: String,
}

/// One place that keeps objects.
#[derive(Debug, Clone)]
pub enum Store {
    /// A bucket.
    S3(Box<S3>),
    /// A directory.
    Directory {
        /// For people and for `min_copies`.
        name: String,
        /// Absolute.
        path: PathBuf,
    },
}

impl Store {
    /// The configured name.
    pub fn name(&self) -> &str {
        match self {
            Self::S3(s3) => &s3.name,
            Self::Directory { name, .. } => name,
        }
    }
}

/// A bucket and how to speak to it.
#[derive(Debug, Clone)]
pub struct S3 {
    /// For people and for `min_copies`.
    pub name: String,
    /// The bucket.
    pub bucket: String,
    /// `a/b`, without slashes at its ends; empty for none.
    pub prefix: String,
    /// The region to sign for.
    pub region: String,
    /// `http://…` or `https://…`; `None` for AWS.
    pub endpoint: Option<String>,
    /// `https://ENDPOINT/BUCKET/…` in place of `https://BUCKET.ENDPOINT/…`.
    pub use_path_style: bool,
    /// Who we are.
    pub credentials: Credentials,
    /// A role to assume with them.
    pub aws_role_arn: Option<String>,
    /// PEM certificates that replace the system's roots.
    pub ca_cert: Option<String>,
    /// The worker's HTTP proxy.
    pub proxy: Option<HttpProxy>,
    /// What is sent along to detect damage on the way.
    pub checksums: Checksums,
    /// What the server is asked to encrypt with.
    pub encryption: Option<Encryption>,
    /// How long nobody can delete what a chain is made of.
    pub object_lock: Option<ObjectLock>,
}

/// Object Lock of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Who may still delete.
    pub mode: LockMode,
    /// How long beyond the end of a chain its objects stay locked.
    pub time: Duration,
}

/// Who may still delete what is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has the right to bypass it.
    Governance,
    /// Nobody.
    Compliance,
}

/// Who speaks to a bucket.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Keys from the configuration.
    Keys {
        /// Half a secret.
        access_key_id: Secret,
        /// The secret.
        secret_access_key: Secret,
        /// With temporary keys.
        session_token: Option<Secret>,
    },
    /// The SDK's own chain: environment, web identity, container, instance profile.
    Chain,
}

/// S3 checksums beyond those of the request signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksums {
    /// What the SDK does by itself.
    Default,
    /// None, for servers that refuse them.
    Skip,
    /// This one.
    Use(Algorithm),
}

/// A checksum that S3 knows.
#[allow(missing_docs, reason = "the names are S3's")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// Server-side encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// `AES256`.
    Aes256,
    /// `aws:kms`, with the account's default key or this one.
    Kms(Option<String>),
    /// `aws:kms:dsse`, likewise.
    KmsDsse(Option<String>),
}

/// One part of a foundation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Ops Manager's settings.
    OpsManager,
    /// The BOSH Director with its CredHub and UAA.
    Director,
    /// TAS for VMs.
    Tas,
    /// Every on-demand service instance.
    ServiceInstances,
    /// Any other deployment.
    Deployment(String),
}

impl Component {
    /// Reads a component's name; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ops-manager" => Some(Self::OpsManager),
            "director" => Some(Self::Director),
            "tas" => Some(Self::Tas),
            "service-instances" => Some(Self::ServiceInstances),
            _ => text
                .strip_prefix("deployment/")
                .filter(|name| crate::store::is_segment(name))
                .map(|name| Self::Deployment(name.to_owned())),
        }
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OpsManager => f.write_str("ops-manager"),
            Self::Director => f.write_str("director"),
            Self::Tas => f.write_str("tas"),
            Self::ServiceInstances => f.write_str("service-instances"),
            Self::Deployment(name) => write!(f, "deployment/{name}"),
        }
    }
}

/// Whether a text is a backup's id.
pub fn is_backup_id(text: &str) -> bool {
    crate::repo::id::BackupId::parse(text).is_ok()
}

/// What of a backup is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Empty: all.
    pub components: Vec<Component>,
    /// Names of artifacts, `*` and `?` as in a shell. Empty: all.
    pub artifacts: Vec<String>,
}

impl Selection {
    /// Whether an artifact of a component is wanted.
    pub fn wants(&self, component: &str, artifact: &str) -> bool {
        // A component means what belongs to it too: `service-instances/NAME`.
        let is_of = |wanted: &Component| {
            let wanted = wanted.to_string();
            component == wanted
                || (*"service-instances" == wanted && component.starts_with("service-instances/"))
        };
        let component_wanted = self.components.is_empty() || self.components.iter().any(is_of);
        component_wanted
            && (self.artifacts.is_empty()
                || self
                    .artifacts
                    .iter()
                    .any(|glob| glob_matches(glob.as_bytes(), artifact.as_bytes())))
    }
}

fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                retry = Some((g + 1, t));
                g += 1;
            }
            Some(b'?') => (g, t) = (g + 1, t + 1),
            Some(byte) if *byte == text[t] => (g, t) = (g + 1, t + 1),
            _ => match retry {
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    (g, t) = (after_star, taken + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_as_in_a_shell() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("*.tar", "redis-0-redis.tar", true),
            ("redis-?-*", "redis-0-redis.tar", true),
            ("redis-?-*", "redis-10-redis.tar", false),
            ("*a*b", "xaxxbxb", true),
            ("a", "ab", false),
            ("", "a", false),
        ] {
            let matched = glob_matches(glob.as_bytes(), text.as_bytes());
            assert_eq!(matched, expected, "{glob} {text}");
        }
    }

    #[test]
    fn a_component_survives_its_name() {
        for name in [
            "ops-manager",
            "director",
            "tas",
            "service-instances",
            "deployment/p-mysql_1.x",
        ] {
            assert_eq!(Component::parse(name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "TAS",
            "deployment/",
            "deployment/a/b",
            "deployment/../a",
        ] {
            assert_eq!(Component::parse(name), None, "{name}");
        }
    }
}
