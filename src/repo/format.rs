//! Every stored type, parsed and written. Pure. Governed by `docs/format.md`, whose section
//! names the types carry.
#![warn(missing_docs)]

mod index;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Error;
use super::id::{BackupId, ChainId, ComponentName, Foundation};
use super::json::{number, object, objects, text, time};
use super::lines::{check_format, from_json};
use crate::artifact::{Digest, Form};
use crate::secret::Secret;
use crate::store::is_segment;

pub use self::index::{
    ChunkRecord, ChunkTable, FileLine, OtherLine, PageKind, PageRecord, Part, RootHead,
};
pub use super::bbr_name::BbrName;

/// The format this release reads and writes.
pub const FORMAT: u64 = 1;
/// Most bytes of a manifest.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// Most bytes of an opened root.
pub const ROOT_LIMIT: u64 = 64 << 20;
/// Most bytes of an opened page.
pub const PAGE_LIMIT: u64 = 8 << 20;
/// Most bytes of a line of an index.
pub const LINE_LIMIT: usize = 1 << 20;
/// Most bytes of an opened chunk.
pub const CHUNK_LIMIT: u64 = 16 << 20;
/// What sealing may add to any of them.
pub const SEAL_OVERHEAD: u64 = 64 << 10;
/// Most bytes of `recovery.age` and `worker.age`: a recipient takes about 200 bytes.
pub const KEYS_LIMIT: u64 = 1 << 20;
/// Most bytes that either opens to.
pub const OPENED_KEYS_LIMIT: u64 = 64 << 10;

/// Ends of certificates that a manifest states.
pub const MOST_ENDS: usize = 20;

/// A manifest's first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    #[serde(deserialize_with = "number")]
    pub format: u64,
    /// The backup.
    pub id: BackupId,
    /// Whose.
    pub foundation: Foundation,
    /// Whether everything asked for is in it.
    pub outcome: Outcome,
    /// RFC 3339, UTC.
    #[serde(deserialize_with = "time")]
    pub started: String,
    /// RFC 3339, UTC.
    #[serde(deserialize_with = "time")]
    pub finished: String,
    /// The writer, for people.
    #[serde(deserialize_with = "text")]
    pub release: String,
    /// The Concourse build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// The backup this one continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BackupId>,
    /// Why there is no base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_because: Option<String>,
    /// The chain and the digests of its key files.
    #[serde(deserialize_with = "object")]
    pub chain: ChainRecord,
    /// The text of `recovery.age`.
    pub recovery_age: String,
    /// In the order taken.
    #[serde(deserialize_with = "objects")]
    pub components: Vec<ComponentRecord>,
    /// Bytes that came over SSH or out of a directory.
    pub drained_bytes: u64,
    /// Plain bytes of the chunks this run added.
    pub new_bytes: u64,
    /// Sealed bytes this run added.
    pub stored_bytes: u64,
    /// Objects this run added.
    pub new_objects: u64,
    /// The stores that had everything at the commit.
    pub stores: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything asked for is in it.
    Complete,
    /// Only under `dropped/`: what a failed run had finished.
    Partial,
}

/// The Concourse build that took a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// `ATC_EXTERNAL_URL`.
    pub atc: String,
    /// `BUILD_ID`.
    pub id: String,
    /// Team.
    #[serde(default)]
    pub team: String,
    /// Pipeline.
    #[serde(default)]
    pub pipeline: String,
    /// Job.
    #[serde(default)]
    pub job: String,
    /// The build's name, a number as a rule.
    #[serde(default)]
    pub name: String,
}

/// A chain, as a manifest states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRecord {
    /// Its id.
    pub id: ChainId,
    /// RFC 3339, UTC.
    pub started: String,
    /// SHA-256 of `recovery.age`.
    pub recovery: Digest,
    /// SHA-256 of what it opens to.
    pub keys: Digest,
    /// SHA-256 of `worker.age`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Digest>,
}

/// One component of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRecord {
    /// Which.
    pub name: ComponentName,
    /// RFC 3339, UTC.
    #[serde(deserialize_with = "time")]
    pub started: String,
    /// RFC 3339, UTC.
    #[serde(deserialize_with = "time")]
    pub finished: String,
    /// In the order run.
    #[serde(default, deserialize_with = "objects")]
    pub phases: Vec<PhaseRecord>,
    /// In the order taken.
    #[serde(deserialize_with = "objects")]
    pub artifacts: Vec<ArtifactRecord>,
    /// What a restorer must know of it: what it does not hold, what changed while it was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What users lost while it was locked, as probes saw it from outside.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub downtime: Vec<DowntimeRecord>,
    /// Of `ops-manager`: what reports need of the sealed foundation record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<FoundationFacts>,
}

/// What of a foundation record is not sealed: numbers and dates, no names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundationFacts {
    /// How many deployed products and deployments are of each class of coverage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub coverage: BTreeMap<String, u64>,
    /// How many certificates have an end.
    #[serde(default)]
    pub certificates: u64,
    /// The first end, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_end: Option<String>,
    /// The first ends, [`MOST_ENDS`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<String>,
}

impl ComponentRecord {
    /// Milliseconds in which the API was not available: lock, backup and unlock together.
    pub fn unavailable_ms(&self) -> u64 {
        self.phases
            .iter()
            .filter(|phase| ["lock", "backup", "unlock"].contains(&phase.name.as_str()))
            .map(|phase| phase.ms)
            .sum()
    }
}

/// How long a phase took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// `check`, `lock`, `backup`, `unlock`, `drain`, `cleanup`.
    pub name: String,
    /// Milliseconds.
    pub ms: u64,
}

/// What one probe saw from the lock on, until it answered again after the unlock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DowntimeRecord {
    /// Its name.
    #[serde(deserialize_with = "text")]
    pub probe: String,
    /// How often it asked, about once a second.
    #[serde(default, deserialize_with = "number")]
    pub asked: u64,
    /// How many answers were not right, or did not come in time.
    #[serde(default, deserialize_with = "number")]
    pub failed: u64,
    /// Milliseconds from each first failed question to the next that was answered, together.
    #[serde(default, deserialize_with = "number")]
    pub ms: u64,
    /// When the first failed question was asked, RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// When the last failed question was asked, RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Whether it had not answered again when the component was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still: bool,
}

/// One artifact of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Its file name.
    pub name: String,
    /// What a reader makes of it.
    pub form: Form,
    /// The root's object name.
    pub root: Digest,
    /// Number of regular files.
    #[serde(deserialize_with = "number")]
    pub files: u64,
    /// Bytes of their content.
    #[serde(deserialize_with = "number")]
    pub bytes: u64,
}

/// A manifest as stored: the signed line, and the signature if there is one.
#[derive(Debug, Clone)]
pub struct Signed {
    /// What the first line says.
    pub manifest: Manifest,
    /// The first line with its newline: what is signed.
    pub line: Vec<u8>,
    /// The SSHSIG of the second line.
    pub signature: Option<String>,
}

/// The second line of a manifest or a proof.
#[derive(Serialize, Deserialize)]
pub(super) struct SignatureLine {
    pub(super) signature: String,
}

impl Signed {
    /// Writes the first line; the signature is added by [`Signed::with_signature`].
    pub fn new(manifest: Manifest) -> Self {
        let mut line = serde_json::to_vec(&manifest).expect("a manifest has string keys only");
        line.push(b'\n');
        Self {
            manifest,
            line,
            signature: None,
        }
    }

    /// The same with a signature.
    #[must_use]
    pub fn with_signature(mut self, signature: String) -> Self {
        self.signature = Some(signature);
        self
    }

    /// The object's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.line.clone();
        if let Some(signature) = &self.signature {
            let line = SignatureLine {
                signature: signature.clone(),
            };
            serde_json::to_writer(&mut bytes, &line).expect("writing to memory");
            bytes.push(b'\n');
        }
        bytes
    }

    /// Takes the bytes of a manifest or a proof apart: the first line with its newline, and the signature
    /// over it. Nothing is understood yet.
    ///
    /// # Errors
    /// When it is anything but one or two whole lines, or the second holds no signature.
    pub fn split(object: &str, bytes: &[u8]) -> Result<(Vec<u8>, Option<String>), Error> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return Err(Error::damaged(object, "has no complete first line"));
        };
        let (line, rest) = bytes.split_at(end + 1);
        if rest.is_empty() {
            return Ok((line.to_vec(), None));
        }
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 == rest.len() => {}
            _ => {
                return Err(Error::damaged(
                    object,
                    "does not have the two lines of a manifest or a proof",
                ));
            }
        }
        let signature: SignatureLine = from_json(object, rest)?;
        Ok((line.to_vec(), Some(signature.signature)))
    }

    /// Reads the lines of the object called `id` of `foundation`.
    ///
    /// # Errors
    /// When it is not a manifest, of a newer format, or not of this name.
    pub fn parse(
        foundation: &Foundation,
        id: &BackupId,
        line: Vec<u8>,
        signature: Option<String>,
    ) -> Result<Self, Error> {
        let object = foundation.manifest(id).to_string();
        check_format(&object, &line)?;
        let manifest: Manifest = from_json(&object, &line)?;
        manifest
            .check_names()
            .map_err(|problem| Error::damaged(&object, problem))?;
        if manifest.id != *id || manifest.foundation != *foundation {
            return Err(Error::Refused {
                id: id.to_string(),
                problem: format!(
                    "its manifest says that it is {} of {}; it was renamed or replayed",
                    manifest.id, manifest.foundation
                ),
            });
        }
        Ok(Self {
            manifest,
            line,
            signature,
        })
    }
}

impl Manifest {
    fn check_names(&self) -> Result<(), String> {
        let mut components = HashSet::new();
        for component in &self.components {
            if !components.insert(component.name.as_str()) {
                return Err(format!("holds the component {} twice", component.name));
            }
            let mut artifacts = HashSet::new();
            for artifact in &component.artifacts {
                if !is_segment(&artifact.name) {
                    return Err("names an artifact that is not one name segment".into());
                }
                if !artifacts.insert(artifact.name.as_str()) {
                    return Err(format!(
                        "holds the artifact {} of {} twice",
                        artifact.name, component.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What `worker.age` opens to.
#[derive(Serialize, Deserialize)]
pub struct WorkerKeys {
    /// 1.
    pub format: u64,
    /// Whose chain.
    pub foundation: Foundation,
    /// The chain.
    pub chain: ChainId,
    /// RFC 3339, UTC.
    pub started: String,
    /// `age1…`: chunks are sealed to it.
    pub data_recipient: String,
    /// `AGE-SECRET-KEY-1…`: opens the index.
    #[serde(serialize_with = "expose")]
    pub index_identity: Secret,
    /// 32 hex digits.
    pub seed: String,
    /// Who can recover, in the order configured when the chain began.
    pub recipients: Vec<String>,
}

impl std::fmt::Debug for WorkerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkerKeys({}/{})", self.foundation, self.chain)
    }
}

/// `worker.age` is where this secret belongs; the text is sealed at once.
fn expose<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}
