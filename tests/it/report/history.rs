//! A year of backups as a reader of manifests and proofs sees it: signed by the worker, in two
//! directory stores, without a single chunk, since no report reads one.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lifeboat::artifact::{Digest, Form};
use lifeboat::clock;
use lifeboat::repo::format::{
    self, ArtifactRecord, Build, ChainRecord, ComponentRecord, DowntimeRecord, FoundationFacts,
    Manifest, Outcome, PhaseRecord, Signed,
};
use lifeboat::repo::id::{BackupId, ChainId, ComponentName, Foundation};
use lifeboat::repo::proof::{Covers, Finding, InStore, Level, Proof, Step};
use lifeboat::repo::{proof, sign::WorkerIdentity};
use lifeboat::secret::Secret;

use crate::support::depot::Depot;

const DAY: Duration = Duration::from_secs(86_400);
const GIB: u64 = 1 << 30;

/// Stores with a past.
#[derive(Debug)]
pub struct History {
    pub depot: Depot,
    pub now: SystemTime,
    worker: WorkerIdentity,
}

impl History {
    /// Nothing yet.
    pub fn new() -> Self {
        let depot = Depot::new();
        let worker = WorkerIdentity::parse(&Secret::new(depot.worker_identity.as_str())).unwrap();
        Self {
            depot,
            now: SystemTime::now(),
            worker,
        }
    }

    /// The time so many nights ago, three hours before now.
    pub fn night(&self, ago: u64) -> SystemTime {
        self.now - DAY * u32::try_from(ago).unwrap() - Duration::from_secs(3 * 3600)
    }

    /// Its id.
    pub fn id(&self, ago: u64) -> BackupId {
        let [.., a, b, c, d] = (ago * 2_654_435_761).to_be_bytes();
        BackupId::new(self.night(ago), None, [a, b, c, d])
    }

    /// A nightly backup of a whole foundation, as the worker would have signed it.
    pub fn manifest(&self, ago: u64) -> Manifest {
        let id = self.id(ago);
        let finished = self.night(ago);
        let started = finished - Duration::from_secs(2400);
        let noise = |least: u64, range: u64, of: u64| {
            least + (ago + 1) * 2_654_435_761 * (of * 40_503 + 1) % 65_521 * range / 65_521
        };
        let full = ago.is_multiple_of(30);
        let size = (40 * GIB) - ago % 400 * (GIB / 16);
        let digest = Digest::of(b"x");
        let mut components = vec![
            self.component(
                "ops-manager",
                started,
                &[],
                &[("installation.zip", 3, 48 << 20)],
            ),
            self.component(
                "director",
                started + Duration::from_secs(60),
                &[
                    ("lock", noise(2000, 900, 1)),
                    ("backup", noise(21_000, 5000, 2)),
                    ("unlock", noise(3000, 2000, 3)),
                    ("drain", noise(90_000, 9000, 4)),
                ],
                &[
                    ("bosh-0-blobstore.tar", 1312, 6 * GIB),
                    ("bosh-0-bbr-credhubdb.tar", 1, 3 << 20),
                ],
            ),
            self.component(
                "tas",
                started + Duration::from_secs(300),
                &[
                    ("lock", noise(14_000, 6000, 5)),
                    ("backup", noise(31_000, 12_000, 6)),
                    ("unlock", noise(170_000, 30_000, 7)),
                    ("drain", noise(700_000, 90_000, 8)),
                ],
                &[
                    ("blobstore-backup-restore.tar", 182_345, size),
                    ("mysql-restore.tar", 1, 812 << 20),
                    ("nfs-broker-bbr.tar", 1, 9 << 10),
                ],
            ),
        ];
        components[0].facts = Some(self.facts());
        let down = components[2].unavailable_ms() - 4000;
        components[2].downtime = [("api", down), ("app", 0)]
            .map(|(probe, ms)| DowntimeRecord {
                probe: probe.to_owned(),
                asked: 200,
                failed: ms / 1000,
                ms,
                first: (ms > 0).then(|| clock::rfc3339(started + Duration::from_secs(310))),
                last: (ms > 0).then(|| clock::rfc3339(started + Duration::from_secs(510))),
                still: false,
            })
            .to_vec();
        components[2].notes = vec![
            "its blobs lie in a bucket outside the foundation and are not in this backup"
                .to_owned(),
        ];
        Manifest {
            format: format::FORMAT,
            id,
            foundation: foundation(),
            outcome: Outcome::Complete,
            started: clock::rfc3339(started),
            finished: clock::rfc3339(finished),
            release: "lifeboat 0.1.0".to_owned(),
            build: Some(Build {
                atc: "https://ci.example.com".to_owned(),
                id: ago.to_string(),
                ..Build::default()
            }),
            base: (!full).then(|| self.id(ago + 1)),
            full_because: full.then(|| "the chain is 30 days old".to_owned()),
            chain: ChainRecord {
                id: ChainId::new((ago / 30).to_be_bytes()),
                started: clock::rfc3339(self.night(ago / 30 * 30 + 29)),
                recovery: digest,
                keys: digest,
                worker: Some(digest),
            },
            recovery_age: String::new(),
            components,
            drained_bytes: if full {
                size
            } else {
                noise(GIB / 3, GIB / 4, 9)
            },
            new_bytes: if full {
                size
            } else {
                noise(GIB / 4, GIB / 4, 9)
            },
            stored_bytes: if full {
                size / 2
            } else {
                noise(GIB / 8, GIB / 8, 9)
            },
            new_objects: noise(100, 400, 10),
            stores: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    fn component(
        &self,
        name: &str,
        started: SystemTime,
        phases: &[(&str, u64)],
        artifacts: &[(&str, u64, u64)],
    ) -> ComponentRecord {
        ComponentRecord {
            name: ComponentName::parse(name).unwrap(),
            started: clock::rfc3339(started),
            finished: clock::rfc3339(started + Duration::from_secs(240)),
            phases: phases
                .iter()
                .map(|(name, ms)| PhaseRecord {
                    name: (*name).to_owned(),
                    ms: *ms,
                })
                .collect(),
            artifacts: artifacts
                .iter()
                .map(|(name, files, bytes)| ArtifactRecord {
                    name: (*name).to_owned(),
                    form: Form::Tar,
                    root: Digest::of(name.as_bytes()),
                    files: *files,
                    bytes: *bytes,
                })
                .collect(),
            notes: Vec::new(),
            facts: None,
            downtime: Vec::new(),
        }
    }

    fn facts(&self) -> FoundationFacts {
        let ends: Vec<String> = [21_u32, 180, 400, 700]
            .iter()
            .map(|days| clock::rfc3339(self.now + DAY * *days + Duration::from_secs(600)))
            .collect();
        let classes = [
            ("covered-bbr", 3),
            ("covered-tile", 1),
            ("stateless", 2),
            ("uncovered", 1),
        ];
        FoundationFacts {
            coverage: classes.map(|(class, many)| (class.to_owned(), many)).into(),
            certificates: 4,
            first_end: ends.first().cloned(),
            ends,
        }
    }

    /// Puts a manifest into these stores.
    pub fn store(&self, manifest: &Manifest, stores: &[&str]) {
        let signed = Signed::new(manifest.clone());
        let signature = self.worker.sign(&signed.line).unwrap();
        let bytes = signed.with_signature(signature).to_bytes();
        for store in stores {
            self.write(store, foundation().manifest(&manifest.id).as_str(), &bytes);
        }
    }

    /// Any object of a store.
    pub fn write(&self, store: &str, object: &str, bytes: &[u8]) {
        let path: PathBuf = self.depot.path(store).join(object);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A proof that ended so many nights ago, about the backup of that night.
    pub fn proof(&self, ago: u64, level: Level, passed: bool) -> Proof {
        let ended = self.night(ago) + Duration::from_secs(1800);
        let mut proof = Proof::new(
            &foundation(),
            &self.id(ago),
            level,
            proof::Outcome::of(passed),
            clock::rfc3339(ended - Duration::from_secs(900)),
            clock::rfc3339(ended),
        );
        if matches!(level, Level::Listed | Level::Scrub) {
            proof.covers = Covers::All;
            proof.stores = ["one", "two"]
                .map(|name| InStore {
                    name: name.to_owned(),
                    objects: 41_233,
                    missing: 0,
                    damaged: u64::from(!passed && name == "two") * 2,
                    left_out: None,
                })
                .into();
        }
        if !passed {
            proof.findings.push(Finding {
                what: "chunk 5f2c9a1e has another digest than its name".to_owned(),
                store: Some("two".to_owned()),
                ..Finding::default()
            });
        }
        proof
    }

    /// Both stores get it.
    pub fn store_proof(&self, proof: &Proof) {
        let name = proof.name([7; 4]).unwrap();
        let bytes = proof.to_bytes(Some(&self.worker)).unwrap();
        for store in ["one", "two"] {
            self.write(store, name.object(&foundation()).as_str(), &bytes);
        }
    }

    /// A drill with its steps.
    pub fn drill(&self, ago: u64, passed: bool) -> Proof {
        let mut proof = self.proof(ago, Level::Drilled, passed);
        proof.findings.clear();
        let steps = [
            ("ops-manager", 412_000),
            ("bosh-state", 9_000),
            ("apply-director", 1_103_000),
            ("director", 288_000),
            ("references", 64_000),
            ("stemcells", 131_000),
            ("apply-tas", 3_920_000),
            ("tas", 1_502_000),
            ("verify: components up", 41_000),
            ("verify: canary app answers", 3_200),
        ];
        let until = if passed { steps.len() } else { 8 };
        proof.steps = steps[..until]
            .iter()
            .enumerate()
            .map(|(at, (name, ms))| Step {
                name: (*name).to_owned(),
                ms: ms + ago * 1000,
                at_least: false,
                ok: passed || at + 1 < until,
                said: (!passed && at + 1 == until).then(|| {
                    "the restore script of mysql-restore on backup-restore/0 exited with 1: no space left; enlarge its disk, then run the drill again".to_owned()
                }),
            })
            .collect();
        proof.rto_ms = passed.then(|| proof.steps.iter().map(|step| step.ms).sum());
        proof.rpo_ms = Some(5_400_000);
        proof
    }

    /// Sixty nights with whatever happens to people: nights without a backup, one that a store
    /// missed, one that nobody can read, proofs, drills.
    pub fn sixty_nights(&self) {
        for ago in (0..60).rev() {
            if (17..=19).contains(&ago) {
                continue;
            }
            let mut manifest = self.manifest(ago);
            if ago == 0 {
                // The blobstore has grown overnight, or so it seems.
                for phase in &mut manifest.components[2].phases {
                    phase.ms *= if phase.name == "backup" { 12 } else { 1 };
                }
            }
            let stores: &[&str] = if ago == 25 { &["one"] } else { &["one", "two"] };
            self.store(&manifest, stores);
            if ago == 31 {
                for store in ["one", "two"] {
                    let object = foundation().manifest(&manifest.id);
                    self.write(store, object.as_str(), b"not a manifest\n");
                }
            }
            if ago % 7 == 2 {
                self.store_proof(&self.proof(ago, Level::Scrub, true));
            }
            if ago % 5 == 1 {
                let mut proof = self.proof(ago, Level::Contents, ago != 41);
                proof.scope.part = Some(format!("{}/12", ago / 5 + 1));
                self.store_proof(&proof);
            }
            if ago % 14 == 4 {
                self.store_proof(&self.drill(ago, ago != 32));
            }
        }
    }
}

/// That of a [`Depot`].
pub fn foundation() -> Foundation {
    Foundation::parse("prod-east").unwrap()
}
