//! What happened, as plain types, and how to show it: lines while work goes on
//! ([`console`]), tables at its end ([`text`]), JSON for programs ([`json`]), and the one
//! sentence of a failure ([`failure`]).
//!
//! Knows nothing of how any of it is done.

pub mod alerts;
pub mod bars;
pub mod console;
pub mod copies;
pub mod drill;
pub mod failure;
pub mod html;
pub mod inventory;
pub mod json;
pub mod metrics;
pub mod overview;
pub mod proofs;
pub mod prune;
pub mod recipients;
pub mod restore;
pub mod sheet;
pub mod stage;
pub mod text;
pub mod units;
pub mod verified;

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::repo::format::FoundationFacts;

/// A committed backup, as far as its manifest, and the run that took it, can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// `20261122T010203Z-7f3a09bc`.
    pub id: String,
    /// Whose backup it is.
    pub foundation: String,
    /// When the run began.
    pub started: SystemTime,
    /// When it was committed.
    pub finished: SystemTime,
    /// In the order taken.
    pub components: Vec<Component>,
    /// What came from the instances, or out of a directory.
    pub drained_bytes: u64,
    /// Plain bytes of chunks that no earlier backup of the chain had.
    pub changed_bytes: u64,
    /// Sealed bytes that this backup added to each store.
    pub stored_bytes: u64,
    /// How many objects those are.
    pub new_objects: u64,
    /// The stores that hold its manifest.
    pub copies: Vec<String>,
    /// How many stores are configured.
    pub stores: usize,
    /// The backup it continued.
    pub base: Option<String>,
    /// Why it continued none.
    pub full_because: Option<String>,
    /// The chain it belongs to.
    pub chain: String,
    /// Who vouches for it.
    pub origin: Origin,
    /// The writer's name and release.
    pub release: String,
    /// The Concourse build that took it.
    pub build: Option<Build>,
    /// It was there already: this build had taken it before.
    pub repeated: bool,
    /// What was proven of it, where that was asked for.
    pub proofs: Option<proofs::Proofs>,
}

impl Backup {
    /// Plain bytes of all artifacts.
    pub fn bytes(&self) -> u64 {
        self.artifacts().map(|artifact| artifact.bytes).sum()
    }

    /// Files in all artifacts.
    pub fn files(&self) -> u64 {
        self.artifacts().map(|artifact| artifact.files).sum()
    }

    /// From its first to its last moment.
    pub fn duration(&self) -> Duration {
        self.finished
            .duration_since(self.started)
            .unwrap_or_default()
    }

    fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.components.iter().flat_map(|part| &part.artifacts)
    }
}

/// Who vouches for a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A known signer; its `ssh-ed25519 …` or fingerprint.
    Signed(String),
    /// Nobody signed it.
    Unsigned,
    /// It may be signed, but no signer is known here.
    NotVerified,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signed(by) => f.write_str(by),
            Self::Unsigned => f.write_str("nobody (no worker identity)"),
            Self::NotVerified => f.write_str("origin not verified (no trusted_workers)"),
        }
    }
}

/// One component of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// `director`, `tas`, `deployment/NAME`, …
    pub name: String,
    /// In the order in which they ran.
    pub phases: Vec<Phase>,
    /// In the order of the manifest.
    pub artifacts: Vec<Artifact>,
    /// What a restorer must know of it.
    pub notes: Vec<String>,
    /// When it was begun: what was changed later may not be in it.
    pub started: SystemTime,
    /// Of `ops-manager`: what the manifest says of the foundation in the open.
    pub facts: Option<FoundationFacts>,
    /// What its users lost while it was locked, by probe.
    pub downtime: Vec<Downtime>,
}

/// What one probe saw while a component was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downtime {
    /// Its name.
    pub probe: String,
    /// How often it asked.
    pub asked: u64,
    /// How many answers were not right.
    pub failed: u64,
    /// How long it was down, all in all.
    pub took: Duration,
    /// The first and the last failed question, RFC 3339.
    pub failures: Option<(String, String)>,
    /// Whether it had not come back when the component was done.
    pub still: bool,
}

impl Component {
    /// How long a phase took; zero when it did not run.
    pub fn phase(&self, name: &str) -> Duration {
        self.phases
            .iter()
            .filter(|phase| phase.name == name)
            .map(|phase| phase.took)
            .sum()
    }

    /// `lock` + `backup` + `unlock`; `None` for a component without scripts.
    pub fn api_unavailable(&self) -> Option<Duration> {
        let counted = ["lock", "backup", "unlock"];
        let ran = self
            .phases
            .iter()
            .any(|phase| counted.contains(&phase.name.as_str()));
        ran.then(|| counted.iter().map(|name| self.phase(name)).sum())
    }
}

/// One phase of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// `check`, `lock`, `backup`, `unlock`, `drain`, `cleanup`.
    pub name: String,
    /// How long.
    pub took: Duration,
}

/// One artifact of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The file's name in bbr's layout.
    pub name: String,
    /// How many files it holds.
    pub files: u64,
    /// Plain bytes.
    pub bytes: u64,
    /// What only the run that took it knows.
    pub run: Option<ArtifactRun>,
}

/// What a run knows of an artifact beyond the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactRun {
    /// Plain bytes of chunks that were new.
    pub changed_bytes: u64,
    /// How long its drain took.
    pub took: Duration,
}

/// The Concourse build that asks, or that took a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Build {
    /// `ATC_EXTERNAL_URL`.
    pub atc: String,
    /// `BUILD_ID`; absent in tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `BUILD_TEAM_NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// `BUILD_PIPELINE_NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// `BUILD_JOB_NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// `BUILD_NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Build {
    /// `team/pipeline/job #name`, as far as known.
    pub fn shown(&self) -> String {
        let path: Vec<&str> = [&self.team, &self.pipeline, &self.job]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        match (&self.name, path.is_empty()) {
            (_, true) => self.atc.clone(),
            (Some(name), false) => format!("{} #{name}", path.join("/")),
            (None, false) => path.join("/"),
        }
    }
}

/// Committed backups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Oldest first.
    pub backups: Vec<Backup>,
    /// Whether there are older ones, which were not asked for.
    pub has_older: bool,
    /// Backups that are there but cannot be read, and why.
    pub unreadable: Vec<Problem>,
    /// Stores that did not answer, and why.
    pub silent_stores: Vec<Problem>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A store, a backup, an instance, a component.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

/// What a pre-backup-check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precheck {
    /// One line per component that can be backed up: instances, jobs with scripts.
    pub ready: Vec<Problem>,
    /// Why others cannot.
    pub problems: Vec<Problem>,
}

/// What a cleanup did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleanup {
    /// One sentence each; empty when nothing had been left behind.
    pub done: Vec<String>,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// From which backup.
    pub backup: Backup,
    /// Files and tars written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// How long.
    pub took: Duration,
}

/// What a step of a restore restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its name.
    pub step: String,
    /// `backup 20261122T010203Z-7f3a09bc`, or `directory DIR`.
    pub origin: String,
    /// In the order in which they were restored.
    pub components: Vec<RestoredComponent>,
    /// How long.
    pub took: Duration,
}

/// One component that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredComponent {
    /// Its name in the backup.
    pub name: String,
    /// In the order in which they ran.
    pub phases: Vec<Phase>,
    /// What was uploaded.
    pub artifacts: Vec<RestoredArtifact>,
    /// Whether every restore script ended well.
    pub complete: bool,
}

/// One artifact that was uploaded to one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredArtifact {
    /// `group/id`.
    pub instance: String,
    /// The file's name in bbr's layout.
    pub name: String,
    /// How many files the instance has of it.
    pub files: u64,
    /// Plain bytes.
    pub bytes: u64,
    /// How long sending and comparing took.
    pub took: Duration,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A backup with something in every field.
    pub(crate) fn sample() -> Backup {
        let finished = crate::clock::parse_compact("20261122T010203Z").unwrap();
        let artifact = |name: &str, files, bytes, run| Artifact {
            name: name.to_owned(),
            files,
            bytes,
            run,
        };
        let phases = [("check", 9), ("lock", 1), ("backup", 3), ("unlock", 1)];
        Backup {
            id: "20261122T010203Z-7f3a09bc".to_owned(),
            foundation: "prod-east".to_owned(),
            started: finished - Duration::from_secs(64),
            finished,
            components: vec![
                Component {
                    notes: Vec::new(),
                    downtime: Vec::new(),
                    started: finished - Duration::from_secs(60),
                    facts: None,
                    name: "director".to_owned(),
                    phases: phases
                        .iter()
                        .map(|(name, seconds)| Phase {
                            name: (*name).to_owned(),
                            took: Duration::from_secs(*seconds),
                        })
                        .collect(),
                    artifacts: vec![
                        artifact(
                            "bosh-0-blobstore.tar",
                            1312,
                            1_288_490_189,
                            Some(ArtifactRun {
                                changed_bytes: 12 << 20,
                                took: Duration::from_millis(5100),
                            }),
                        ),
                        artifact("bosh-0-postgres.tar", 3, 52 << 10, None),
                    ],
                },
                Component {
                    notes: Vec::new(),
                    downtime: Vec::new(),
                    started: finished - Duration::from_secs(30),
                    facts: None,
                    name: "tas".to_owned(),
                    phases: Vec::new(),
                    artifacts: vec![artifact("mysql-0-mysql-restore.tar", 1, 32 << 10, None)],
                },
            ],
            drained_bytes: 1_288_490_189,
            changed_bytes: 12 << 20,
            stored_bytes: 8 << 20,
            new_objects: 41,
            copies: vec!["dc2".to_owned(), "nas".to_owned()],
            stores: 2,
            base: Some("20261121T010203Z-00000000".to_owned()),
            full_because: None,
            chain: "5f2c9a1e0b7d4c38".to_owned(),
            origin: Origin::Signed("ssh-ed25519 AAAA".to_owned()),
            release: "lifeboat 0.1.0".to_owned(),
            build: Some(Build {
                atc: "https://ci.example.com".to_owned(),
                id: Some("4711".to_owned()),
                team: Some("main".to_owned()),
                pipeline: Some("backup".to_owned()),
                job: Some("nightly".to_owned()),
                name: Some("7".to_owned()),
            }),
            repeated: false,
            proofs: None,
        }
    }
}
