//! Proofs in the stores: written to all that answer, found by one listing, believed as manifests are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Level, Outcome, PROOF_LIMIT, Proof, ProofName};
use crate::repo::Error;
use crate::repo::bridge::{Bridge, Load};
use crate::repo::catalogue::Origin;
use crate::repo::format::Signed;
use crate::repo::id::{BackupId, Foundation};
use crate::repo::objects::{Each, judged};
use crate::repo::sign::{Signers, WorkerIdentity};
use crate::shutdown::Stopped;
use crate::store::copies::{Copies, Standing};
use crate::store::{self, WriteMode};

/// Proofs read side by side. One is a few kilobytes.
const LOAD: Load = Load {
    most: 16,
    bytes: u64::MAX,
};
/// Proofs of one level beside one backup that are read at most to find one that is to be believed:
/// whoever can write the bucket can put any number there.
const MOST_TRIED: usize = 40;
/// Refusals that are told for one backup.
const MOST_TOLD: usize = 3;
/// How far back proofs over all backups are looked for first; then eight times as far, and so on.
const FIRST_LOOK_BACK: Duration = Duration::from_secs(32 * 86_400);

/// A proof that may be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Believed {
    /// Its name.
    pub name: ProofName,
    /// What it says.
    pub proof: Proof,
    /// Who wrote it.
    pub origin: Origin,
}

/// The newest proof of each level that covers one backup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latest {
    /// The newest, by level. Several backups share those over all.
    pub newest: BTreeMap<Level, Arc<Believed>>,
    /// An older one that failed, and which no later one of its scope or of all has made good: the
    /// newest passed, but looked at another part.
    pub still_failed: BTreeMap<Level, Arc<Believed>>,
    /// Why others beside the backup do not count, as sentences; the first few.
    pub refused: Vec<String>,
}

impl Latest {
    /// What is to be shown of a level: a failure that still stands before the newest.
    pub fn shown(&self, level: Level) -> Option<&Arc<Believed>> {
        let failed = self.still_failed.get(&level);
        failed.or_else(|| self.newest.get(&level))
    }
}

/// Where a proof was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its name.
    pub name: ProofName,
    /// Each store's answer, in the configured order; that of one given up before is its reason.
    pub stores: Each<()>,
}

impl Written {
    /// The stores that have it.
    pub fn stored(&self) -> impl Iterator<Item = &str> {
        let good = self.stores.iter().filter(|(_, answer)| answer.is_ok());
        good.map(|(store, _)| store.as_str())
    }

    /// Why others do not.
    pub fn problems(&self) -> impl Iterator<Item = &store::Error> {
        self.stores
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err())
    }
}

/// The proofs of a foundation.
#[derive(Debug, Clone)]
pub struct Proofs {
    copies: Arc<Copies>,
    bridge: Bridge,
    foundation: Foundation,
    signers: Signers,
}

impl Proofs {
    /// Believes proofs that one of `signers` signed; all, when there are none.
    pub fn new(
        copies: Arc<Copies>,
        bridge: Bridge,
        foundation: Foundation,
        signers: Signers,
    ) -> Self {
        Self {
            copies,
            bridge,
            foundation,
            signers,
        }
    }

    /// Writes a proof to every store that was not given up, under a name with this randomness.
    /// It is not locked where a store locks: no backup needs it, and the right to write it should be
    /// all that a verification is given.
    ///
    /// # Errors
    /// When it cannot be signed, or a signal comes. What the stores answer is in the result: it may
    /// be that none took it.
    pub fn write(
        &self,
        proof: &Proof,
        worker: Option<&WorkerIdentity>,
        random: [u8; 4],
    ) -> Result<Written, Error> {
        let bytes = Bytes::from(proof.to_bytes(worker).map_err(Error::Other)?);
        let name = proof
            .name(random)
            .ok_or_else(|| Error::Other("a proof ends at no time".to_owned()))?;
        let object = name.object(&self.foundation);
        let mut stores = Vec::new();
        for (store, (_, standing)) in self.copies.stores().zip(self.copies.standings()) {
            let answer = match standing {
                Standing::ReadOnly(reason) | Standing::GivenUp(reason) => Err(store::Error::new(
                    store::Kind::Transient,
                    store.name(),
                    object.as_str(),
                    format!("was not written: {reason}"),
                )),
                _ => {
                    let put = store.put(&object, bytes.clone(), WriteMode::CreateNew);
                    self.bridge.wait(put)?
                }
            };
            stores.push((store.name().to_owned(), answer));
        }
        Ok(Written { name, stores })
    }

    /// Names of all proofs beside backups from `from` on, oldest first. They are asked of the stores
    /// from there on; nothing is read.
    ///
    /// # Errors
    /// When no store answers.
    pub fn names(&self, from: Option<&BackupId>) -> Result<Vec<ProofName>, Error> {
        let prefix = self.foundation.reports();
        let after = from.map(|id| format!("{prefix}{id}"));
        self.listed(&prefix, after.as_deref())
    }

    fn listed(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ProofName>, Error> {
        let union = self.bridge.wait(self.copies.list_union(prefix, after))??;
        let objects = union.objects.iter();
        let mut names: Vec<ProofName> = objects
            .filter_map(|found| ProofName::parse(&self.foundation, &found.listed.name))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads one proof and decides whether to believe it, as a manifest.
    ///
    /// # Errors
    /// When it is not to be believed, cannot be understood, or is in no store any more.
    pub fn read(&self, name: &ProofName) -> Result<Believed, Error> {
        self.bridge.wait(self.clone().believed(name.clone()))?.1
    }

    /// Reads these, several side by side, and hands each over as it comes.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn read_each<'a>(
        &self,
        names: impl IntoIterator<Item = &'a ProofName>,
        mut each: impl FnMut(ProofName, Result<Believed, Error>),
    ) -> Result<(), Stopped> {
        self.bridge.side_by_side(
            names,
            LOAD,
            |_| 1,
            |name| Some(self.clone().believed(name.clone())),
            |(name, read)| each(name, read),
        )
    }

    async fn believed(self, name: ProofName) -> (ProofName, Result<Believed, Error>) {
        let object = name.object(&self.foundation);
        let judge = |bytes: &[u8]| self.judge(&name, bytes);
        let read = judged(&self.copies, &object, PROOF_LIMIT, judge).await;
        (name, read)
    }

    /// The signature first, as of a manifest.
    fn judge(&self, name: &ProofName, bytes: &[u8]) -> Result<Believed, Error> {
        let object = name.object(&self.foundation);
        let (line, signature) = Signed::split(object.as_str(), bytes)?;
        let origin = if self.signers.is_empty() {
            Origin::NotVerified
        } else {
            let refused = |problem: &str| Error::damaged(object.as_str(), problem);
            let signature = signature.ok_or_else(|| {
                refused("is not signed, so whoever can write the bucket may have made it; verify with a worker_identity")
            })?;
            let signer = self.signers.signer(&line, &signature).ok_or_else(|| {
                refused("is signed by none of trusted_workers; it was forged or changed, or the public key of the worker that verified is missing there")
            })?;
            Origin::Verified(signer)
        };
        Ok(Believed {
            name: name.clone(),
            proof: Proof::parse(&self.foundation, name, &line)?,
            origin,
        })
    }

    /// The newest proofs of these backups, by level. It takes one listing (for a single backup two
    /// short ones), and reads what is shown: as a rule one proof for each level and backup that has
    /// any.
    ///
    /// # Errors
    /// When no store answers, or a signal comes.
    pub fn latest(
        &self,
        ids: &[BackupId],
        now: SystemTime,
    ) -> Result<BTreeMap<BackupId, Latest>, Error> {
        let Some(oldest) = ids.iter().min() else {
            return Ok(BTreeMap::new());
        };
        let names = match ids {
            [one] => self.around(one, now)?,
            _ => self.names(Some(oldest))?,
        };
        let found = Found::new(&names, ids);
        let mut read = HashMap::new();
        self.read_each(found.first(), |name, proof| {
            read.insert(name, proof.map(Arc::new));
        })?;
        let mut reader = Reading { proofs: self, read };
        let mut all = BTreeMap::new();
        for id in ids {
            let mut latest = Latest::default();
            for level in Level::ALL {
                reader.level(id, level, &found.of(id, level), &mut latest)?;
            }
            latest.refused.truncate(MOST_TOLD);
            all.insert(id.clone(), latest);
        }
        Ok(all)
    }

    /// The names beside one backup, and those beside later ones that may cover it.
    fn around(&self, id: &BackupId, now: SystemTime) -> Result<Vec<ProofName>, Error> {
        let mut names = self.listed(&format!("{}{id}/", self.foundation.reports()), None)?;
        let mut back = FIRST_LOOK_BACK;
        loop {
            let from = now.checked_sub(back).unwrap_or(SystemTime::UNIX_EPOCH);
            let reaches = from <= id.time();
            let from = match reaches {
                true => id.clone(),
                false => BackupId::new(from, None, [0; 4]),
            };
            let later = self.names(Some(&from))?;
            let later: Vec<_> = later
                .into_iter()
                .filter(|name| over_all(name.level) && name.backup > *id)
                .collect();
            if reaches || !later.is_empty() {
                names.extend(later);
                names.sort_unstable();
                return Ok(names);
            }
            back *= 8;
        }
    }
}

/// Whether proofs of this level cover what is older than the backup they lie beside.
fn over_all(level: Level) -> bool {
    matches!(level, Level::Listed | Level::Scrub)
}

/// What is listed, by backup and level, oldest first.
struct Found<'a> {
    ids: &'a [BackupId],
    beside: HashMap<(&'a BackupId, Level), Vec<&'a ProofName>>,
    over_all: HashMap<Level, Vec<&'a ProofName>>,
}

impl<'a> Found<'a> {
    fn new(names: &'a [ProofName], ids: &'a [BackupId]) -> Self {
        let mut found = Self {
            ids,
            beside: HashMap::new(),
            over_all: HashMap::new(),
        };
        for name in names {
            let list = match over_all(name.level) {
                true => found.over_all.entry(name.level).or_default(),
                false => found.beside.entry((&name.backup, name.level)).or_default(),
            };
            list.push(name);
        }
        found
    }

    /// Those that may cover a backup, newest first, no more than are tried.
    fn of(&self, id: &BackupId, level: Level) -> Vec<ProofName> {
        let list = match over_all(level) {
            true => self.over_all.get(&level),
            false => self.beside.get(&(id, level)),
        };
        let names = list.into_iter().flatten().rev();
        names
            .filter(|name| name.backup >= *id)
            .take(MOST_TRIED)
            .map(|name| (*name).clone())
            .collect()
    }

    /// The newest of each backup and level, each once.
    fn first(&self) -> std::collections::HashSet<&'a ProofName> {
        let mut first = std::collections::HashSet::new();
        for id in self.ids {
            for level in Level::ALL {
                let list = match over_all(level) {
                    true => self.over_all.get(&level),
                    false => self.beside.get(&(id, level)),
                };
                let mut names = list.into_iter().flatten().rev();
                first.extend(names.find(|name| name.backup >= *id));
            }
        }
        first
    }
}

/// What was read already, and the rest when it is needed.
struct Reading<'a> {
    proofs: &'a Proofs,
    read: HashMap<ProofName, Result<Arc<Believed>, Error>>,
}

impl Reading<'_> {
    fn level(
        &mut self,
        id: &BackupId,
        level: Level,
        names: &[ProofName],
        latest: &mut Latest,
    ) -> Result<(), Stopped> {
        let mut passed_since: Vec<Arc<Believed>> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let believed = match self.read(name)? {
                Ok(believed) => believed,
                Err(problem) => {
                    latest.refused.push(problem);
                    continue;
                }
            };
            let Some(result) = believed.proof.result_for(id) else {
                continue;
            };
            latest
                .newest
                .entry(level)
                .or_insert_with(|| Arc::clone(&believed));
            let scope = &believed.proof.scope;
            let made_good = passed_since.iter().any(|later| later.proof.scope == *scope);
            match result {
                Outcome::Failed if made_good => {}
                Outcome::Failed => {
                    if !passed_since.is_empty() {
                        latest.still_failed.insert(level, believed);
                    }
                    return Ok(());
                }
                Outcome::Passed if scope.is_whole() => return Ok(()),
                Outcome::Passed => passed_since.push(believed),
            }
            let failed = |older: &ProofName| older.result == Outcome::Failed;
            if !names[at + 1..].iter().any(failed) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A proof, or why it does not count.
    fn read(&mut self, name: &ProofName) -> Result<Result<Arc<Believed>, String>, Stopped> {
        if !self.read.contains_key(name) {
            let read = self.proofs.read(name).map(Arc::new);
            self.read.insert(name.clone(), read);
        }
        match &self.read[name] {
            Ok(believed) => Ok(Ok(Arc::clone(believed))),
            Err(Error::Stopped(stopped)) => Err(*stopped),
            Err(error) => Ok(Err(error.to_string())),
        }
    }
}
