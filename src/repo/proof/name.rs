//! `reports/ID/TIME-LEVEL-RESULT-RANDOM.json`.

use std::cmp::Ordering;
use std::time::SystemTime;

use super::{Level, Outcome, Proof};
use crate::clock;
use crate::repo::id::{BackupId, Foundation};
use crate::store::ObjectName;

/// What the name of a proof says; nobody vouches for it until the proof is read. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProofName {
    /// The backup it lies beside.
    pub backup: BackupId,
    /// `20261122T010203Z`: when it ended.
    pub time: String,
    /// What was looked at.
    pub level: Level,
    /// How it went.
    pub result: Outcome,
    /// So that two of one second have two names.
    pub random: [u8; 4],
}

impl ProofName {
    /// Reads a whole object name; `None` for what is no proof of this foundation.
    pub fn parse(foundation: &Foundation, object: &str) -> Option<Self> {
        let (backup, file) = object
            .strip_prefix(&foundation.reports())?
            .split_once('/')?;
        let mut parts = file.strip_suffix(".json")?.split('-');
        let name = Self {
            backup: BackupId::parse(backup).ok()?,
            time: parts.next()?.to_owned(),
            level: Level::parse(parts.next()?)?,
            result: Outcome::parse(parts.next()?)?,
            random: hex::decode(parts.next()?).ok()?.try_into().ok()?,
        };
        let written_so = parts.next().is_none() && name.object(foundation).as_str() == object;
        (written_so && clock::parse_compact(&name.time).is_some()).then_some(name)
    }

    /// The object's name.
    pub fn object(&self, foundation: &Foundation) -> ObjectName {
        let Self {
            backup,
            time,
            level,
            result,
            random,
        } = self;
        let random = hex::encode(random);
        foundation.report(backup, &format!("{time}-{level}-{result}-{random}.json"))
    }

    /// When it ended.
    pub fn finished(&self) -> SystemTime {
        clock::parse_compact(&self.time).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Ord for ProofName {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |name: &Self| {
            let failed = name.result == Outcome::Failed;
            (
                name.time.clone(),
                failed,
                name.backup.clone(),
                name.level,
                name.random,
            )
        };
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for ProofName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Proof {
    /// The name that this proof belongs under; `None` when its end is no time.
    pub fn name(&self, random: [u8; 4]) -> Option<ProofName> {
        Some(ProofName {
            backup: self.backup.clone(),
            time: clock::compact(clock::parse_rfc3339(&self.finished)?),
            level: self.level,
            result: self.result,
            random,
        })
    }
}
