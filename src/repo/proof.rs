//! Proofs: the stored results of verifications and drills. docs/format.md, *Proofs*.
//!
//! What one says is here, how it is stored and found again in [`store`]. A proof decides nothing: no
//! backup is kept, dropped or read because of one.
#![warn(missing_docs)]

mod name;
mod store;

use serde::{Deserialize, Serialize};

use super::Error;
use super::format::{FORMAT, SignatureLine};
use super::id::{BackupId, Foundation};
use super::json::{number, object, objects, text, time};
use super::lines::{check_format, from_json};
use super::sign::WorkerIdentity;

pub use name::ProofName;
pub use store::{Believed, Latest, Proofs, Written};

/// Most bytes of a proof.
pub const PROOF_LIMIT: u64 = 1 << 20;
/// Findings that a proof names; of the rest it has the number.
pub const MOST_FINDINGS: usize = 100;
/// Bad backups that a proof over all backups names.
pub const MOST_BAD: usize = 10_000;
/// Most characters of a text in a proof that is written.
const TEXT_WRITTEN: usize = 1000;

/// What was looked at, and so what a result proves. From the cheapest to the dearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Names and sizes of all, bytes of manifests and key files.
    Listed,
    /// Every stored byte against its object's name. No identity.
    Scrub,
    /// What is stored opens, and every file has its digest.
    Contents,
    /// What a restore needs is there, belongs together, and ends where it should.
    Restorable,
    /// It was restored in a scratch foundation.
    Drilled,
}

impl Level {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Listed,
        Self::Scrub,
        Self::Contents,
        Self::Restorable,
        Self::Drilled,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Scrub => "scrub",
            Self::Contents => "contents",
            Self::Restorable => "restorable",
            Self::Drilled => "drilled",
        }
    }

    /// Reads [`Level::as_str`] back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing was wrong, as far as the level sees.
    Passed,
    /// Something was.
    Failed,
}

impl Outcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }

    /// Reads [`Outcome::as_str`] back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Passed, Self::Failed]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }

    /// By whether all was well.
    pub fn of(good: bool) -> Self {
        match good {
            true => Self::Passed,
            false => Self::Failed,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which backups a proof is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Covers {
    /// The one that it names.
    Backup,
    /// That one and every one before it.
    All,
}

/// How much of it was looked at; empty for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `3/30`: the third of thirty parts that together are all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// A sample of about so many of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
}

impl Scope {
    /// Whether nothing was left out.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.part, self.percent) {
            (Some(part), _) => write!(f, "part {part}"),
            (None, Some(percent)) => write!(f, "{percent} %"),
            (None, None) => f.write_str("all"),
        }
    }
}

/// What was looked at, as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Stored objects that were read, or listed where nothing is read.
    #[serde(default, deserialize_with = "number")]
    pub objects: u64,
    /// Files whose content was compared with its digest.
    #[serde(default, deserialize_with = "number")]
    pub files: u64,
    /// Bytes: of objects, or of files where files were read.
    #[serde(default, deserialize_with = "number")]
    pub bytes: u64,
}

/// What was found in one store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InStore {
    /// Its name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Objects looked at.
    #[serde(default, deserialize_with = "number")]
    pub objects: u64,
    /// Objects that should be there and are not.
    #[serde(default, deserialize_with = "number")]
    pub missing: u64,
    /// Objects that are not what they should be.
    #[serde(default, deserialize_with = "number")]
    pub damaged: u64,
    /// Why it was left out from some point on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A sentence: what is wrong, and what to do.
    #[serde(deserialize_with = "text")]
    pub what: String,
    /// In which store, when not in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The component's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The artifact's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// The backup, in a proof over all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
}

/// One step of a drill, or a stage of its verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// How long it took, in milliseconds.
    #[serde(deserialize_with = "number")]
    pub ms: u64,
    /// Whether it took longer than that, nobody knows how much: a run of it was killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// Whether it went well.
    pub ok: bool,
    /// What there is to say of it: why it failed, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

/// The result of one verification or drill: the first line of the object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// 1.
    #[serde(deserialize_with = "number")]
    pub format: u64,
    /// Whose.
    pub foundation: Foundation,
    /// The backup it is about; for one over all, the newest that it covers.
    pub backup: BackupId,
    /// What was looked at.
    pub level: Level,
    /// How it went.
    pub result: Outcome,
    /// Whether older backups are meant too.
    pub covers: Covers,
    /// RFC 3339, UTC.
    #[serde(deserialize_with = "time")]
    pub started: String,
    /// RFC 3339, UTC; also in the object's name.
    #[serde(deserialize_with = "time")]
    pub finished: String,
    /// The writer's name and release, for people.
    #[serde(deserialize_with = "text")]
    pub release: String,
    /// How much of it.
    #[serde(default, deserialize_with = "object")]
    pub scope: Scope,
    /// What was looked at, as numbers.
    #[serde(default, deserialize_with = "object")]
    pub checked: Checked,
    /// Store by store, where stores were looked at.
    #[serde(default, deserialize_with = "objects")]
    pub stores: Vec<InStore>,
    /// What is wrong: the first hundred.
    #[serde(default, deserialize_with = "objects")]
    pub findings: Vec<Finding>,
    /// How many more there are.
    #[serde(default, deserialize_with = "number")]
    pub more: u64,
    /// Of a failed one over all backups, when it is known that it failed because of these alone:
    /// which. Absent: all that it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<Vec<BackupId>>,
    /// What was recognised or left unproven, as sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Of a drill, in the order run.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub steps: Vec<Step>,
    /// Of a drill: how long it took to have the foundation back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_ms: Option<u64>,
    /// Of a drill: how old what came back was, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_ms: Option<u64>,
    /// What probes saw from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime: Option<serde_json::Value>,
}

impl Proof {
    /// One of this level and result, over one backup and all of it, with nothing found. Times are
    /// RFC 3339.
    pub fn new(
        foundation: &Foundation,
        backup: &BackupId,
        level: Level,
        result: Outcome,
        started: String,
        finished: String,
    ) -> Self {
        Self {
            format: FORMAT,
            foundation: foundation.clone(),
            backup: backup.clone(),
            level,
            result,
            covers: Covers::Backup,
            started,
            finished,
            release: concat!("lifeboat ", env!("CARGO_PKG_VERSION")).to_owned(),
            scope: Scope::default(),
            checked: Checked::default(),
            stores: Vec::new(),
            findings: Vec::new(),
            more: 0,
            bad: None,
            notes: Vec::new(),
            steps: Vec::new(),
            rto_ms: None,
            rpo_ms: None,
            downtime: None,
        }
    }

    /// What it says of one backup: of one over all, which may have failed because of others.
    /// `None` when it does not cover it.
    pub fn result_for(&self, id: &BackupId) -> Option<Outcome> {
        match self.covers {
            Covers::Backup => (*id == self.backup).then_some(self.result),
            Covers::All if *id > self.backup => None,
            Covers::All => Some(match &self.bad {
                Some(bad) if !bad.contains(id) => Outcome::Passed,
                _ => self.result,
            }),
        }
    }

    /// The object's bytes: this line, and its signature when there is a worker identity. Findings
    /// and texts beyond what a proof bears are cut.
    ///
    /// # Errors
    /// When it cannot be signed, or is too large all the same.
    pub fn to_bytes(&self, worker: Option<&WorkerIdentity>) -> Result<Vec<u8>, String> {
        let mut bytes = serde_json::to_vec(&self.bounded()).expect("a proof has string keys only");
        bytes.push(b'\n');
        if let Some(worker) = worker {
            let signature = worker.sign(&bytes)?;
            serde_json::to_writer(&mut bytes, &SignatureLine { signature })
                .expect("writing to memory");
            bytes.push(b'\n');
        }
        match bytes.len() as u64 <= PROOF_LIMIT {
            true => Ok(bytes),
            false => Err("the result is larger than a proof may be".to_owned()),
        }
    }

    /// Reads the first line of the object of this name, and compares the two.
    ///
    /// # Errors
    /// When it is not a proof, of a newer format, or not of this name.
    pub fn parse(foundation: &Foundation, name: &ProofName, line: &[u8]) -> Result<Self, Error> {
        let object = name.object(foundation).to_string();
        check_format(&object, line)?;
        let proof: Self = from_json(&object, line)?;
        if proof.foundation != *foundation || proof.name(name.random) != Some(name.clone()) {
            return Err(Error::damaged(
                object,
                format!(
                    "says that it is of level {}, {}, about backup {} of {}, of {}; it was renamed or moved",
                    proof.level, proof.result, proof.backup, proof.foundation, proof.finished
                ),
            ));
        }
        Ok(proof)
    }

    fn bounded(&self) -> Self {
        let mut proof = self.clone();
        let over = proof.findings.len().saturating_sub(MOST_FINDINGS);
        proof.findings.truncate(MOST_FINDINGS);
        proof.more += over as u64;
        // Who is not named would count as good.
        proof.bad = proof.bad.filter(|bad| bad.len() <= MOST_BAD);
        for finding in &mut proof.findings {
            cut(&mut finding.what);
        }
        let left_out = proof
            .stores
            .iter_mut()
            .flat_map(|store| &mut store.left_out);
        left_out.for_each(cut);
        proof.notes.truncate(MOST_FINDINGS);
        proof.notes.iter_mut().for_each(cut);
        proof.steps.truncate(MOST_FINDINGS);
        proof
            .steps
            .iter_mut()
            .flat_map(|step| &mut step.said)
            .for_each(cut);
        proof
    }
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(TEXT_WRITTEN) {
        text.truncate(at);
        text.push('…');
    }
    if text.contains('\0') {
        *text = text.replace('\0', " ");
    }
}

#[cfg(test)]
mod tests;
