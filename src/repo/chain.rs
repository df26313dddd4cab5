//! A chain's keys: made, sealed, resumed by a worker, opened by a reader. docs/format.md, *Keys*.

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::chunker::Seed;
use super::format::{ChainRecord, FORMAT, OPENED_KEYS_LIMIT, WorkerKeys};
use super::id::{ChainId, Foundation};
use super::lines::{check_format, from_json};
use super::seal::{Identity, Opener, Sealer, encrypt, encrypt_armoured};
use super::sign::WorkerIdentity;
use super::{Error, Settings};
use crate::artifact::Digest;
use crate::clock;

/// What a run needs of its chain: it can write chunks and read none, write and read the index.
#[derive(Debug, Clone)]
pub struct Chain {
    /// As the manifest will state it.
    pub record: ChainRecord,
    /// The text of `recovery.age`.
    pub recovery_age: String,
    /// Seals chunks.
    pub data: Sealer,
    /// Opens roots and pages; its public half seals them.
    pub index: Opener,
    /// Cuts.
    pub seed: Seed,
}

/// A new chain and the key files to be stored before anything else.
#[derive(Debug)]
pub struct NewChain {
    /// The chain.
    pub chain: Chain,
    /// `worker.age`, when there is a worker identity.
    pub worker_age: Option<Vec<u8>>,
}

impl NewChain {
    /// Makes fresh keys. The data identity is forgotten when this returns.
    ///
    /// # Errors
    /// When the random source or sealing fails.
    pub fn create(settings: &Settings, now: SystemTime) -> Result<Self, Error> {
        let random = |bytes: &mut [u8]| {
            getrandom::fill(bytes)
                .map_err(|error| Error::Other(format!("no random bytes: {error}")))
        };
        let (mut id, mut seed) = ([0; 8], [0; 16]);
        random(&mut id)?;
        random(&mut seed)?;
        let id = ChainId::new(id);
        let started = clock::rfc3339(now);
        let (data, index) = (Opener::generate(), Opener::generate());
        let keys = ChainKeys::text(&settings.foundation, &id, &data, &index);
        let recovery_age = encrypt_armoured(&settings.recipients, keys.as_bytes())?;
        let worker_age = settings
            .worker
            .as_ref()
            .map(|worker| {
                let keys = WorkerKeys {
                    format: FORMAT,
                    foundation: settings.foundation.clone(),
                    chain: id.clone(),
                    started: started.clone(),
                    data_recipient: data.recipient(),
                    index_identity: index.secret(),
                    seed: hex::encode(seed),
                    recipients: settings.recipients.texts().to_vec(),
                };
                let plain = Zeroizing::new(keys.to_json());
                encrypt(&worker.public(), &plain)
            })
            .transpose()?;
        let record = ChainRecord {
            id,
            started,
            recovery: Digest::of(recovery_age.as_bytes()),
            keys: Digest::of(keys.as_bytes()),
            worker: worker_age.as_deref().map(Digest::of),
        };
        Ok(Self {
            chain: Chain {
                record,
                recovery_age,
                data: data.sealer(),
                index,
                seed: Seed::new(seed),
            },
            worker_age,
        })
    }
}

impl Chain {
    /// Resumes the chain of a base whose signature has been verified.
    ///
    /// # Errors
    /// Why it cannot be continued, as a sentence: then a new chain begins.
    pub fn resume(
        settings: &Settings,
        worker: &WorkerIdentity,
        record: &ChainRecord,
        recovery_age: &str,
        worker_age: &[u8],
    ) -> Result<Self, String> {
        let keys = WorkerKeys::open(&settings.foundation, worker, record, worker_age)?;
        if !settings.recipients.same_as(&keys.recipients) {
            return Err("the recipients have changed".into());
        }
        let mut seed = [0; 16];
        hex::decode_to_slice(&keys.seed, &mut seed)
            .map_err(|error| format!("worker.age holds no seed: {error}"))?;
        let problem = |error: Error| error.to_string();
        Ok(Self {
            record: record.clone(),
            recovery_age: recovery_age.to_owned(),
            data: Sealer::parse(&keys.data_recipient).map_err(problem)?,
            index: Opener::parse(keys.index_identity.expose()).map_err(problem)?,
            seed: Seed::new(seed),
        })
    }
}

/// What a worker needs to read the index of a chain that it does not continue.
///
/// # Errors
/// Why `worker_age` does not open it, as a sentence.
pub fn index_opener(
    foundation: &Foundation,
    worker: &WorkerIdentity,
    record: &ChainRecord,
    worker_age: &[u8],
) -> Result<Opener, String> {
    let keys = WorkerKeys::open(foundation, worker, record, worker_age)?;
    Opener::parse(keys.index_identity.expose()).map_err(|error| error.to_string())
}

impl ChainRecord {
    /// Until when the chain takes backups: all its objects are locked from here on for as long as a
    /// store is told.
    pub fn end(&self, new_chain_every: Duration) -> SystemTime {
        let started = clock::parse_rfc3339(&self.started);
        started.unwrap_or(SystemTime::UNIX_EPOCH) + new_chain_every
    }
}

/// What a recovery identity opens: both identities.
#[derive(Debug, Clone)]
pub struct ChainKeys {
    /// Opens chunks.
    pub data: Opener,
    /// Opens roots and pages.
    pub index: Opener,
}

impl ChainKeys {
    /// Opens the text of a `recovery.age` and checks it against the manifest's statement.
    ///
    /// # Errors
    /// What is wrong with it, without a name.
    pub fn open(
        foundation: &Foundation,
        record: &ChainRecord,
        recovery_age: &[u8],
        identity: &Identity,
    ) -> Result<Self, String> {
        Self::open_text(foundation, record, recovery_age, identity).map(|(keys, _)| keys)
    }

    /// The same, with the text that it opened to.
    ///
    /// # Errors
    /// As [`ChainKeys::open`].
    pub fn open_text(
        foundation: &Foundation,
        record: &ChainRecord,
        recovery_age: &[u8],
        identity: &Identity,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), String> {
        let plain = identity.decrypt(recovery_age, OPENED_KEYS_LIMIT)?;
        if Digest::of(&plain) != record.keys {
            return Err("opens to other keys than the manifest states; it was replaced".into());
        }
        let text = std::str::from_utf8(&plain)
            .map_err(|error| format!("does not open to text: {error}"))?;
        let mut identities = Vec::new();
        let mut comments = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix('#') {
                Some(comment) => comments.push(comment),
                None => identities.push(Opener::parse(line).map_err(|error| error.to_string())?),
            }
        }
        for (key, wanted) in [
            ("format", FORMAT.to_string()),
            ("foundation", foundation.to_string()),
            ("chain", record.id.to_string()),
        ] {
            // What is said first counts.
            let stated = comments.iter().find_map(|comment| {
                comment
                    .strip_prefix(' ')?
                    .strip_prefix(key)?
                    .strip_prefix(": ")
            });
            if stated != Some(wanted.as_str()) {
                return Err(format!(
                    "does not say `{key}: {wanted}`; it belongs elsewhere"
                ));
            }
        }
        match <[Opener; 2]>::try_from(identities) {
            Ok([data, index]) => Ok((Self { data, index }, plain)),
            Err(found) => Err(format!(
                "opens to {} identities instead of two",
                found.len()
            )),
        }
    }

    fn text(
        foundation: &Foundation,
        chain: &ChainId,
        data: &Opener,
        index: &Opener,
    ) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "# lifeboat chain keys\n# format: {FORMAT}\n# foundation: {foundation}\n# chain: {chain}\n\
             # data\n{}\n# index\n{}\n",
            data.secret().expose(),
            index.secret().expose()
        ))
    }
}

impl WorkerKeys {
    /// Opens `worker.age` and checks it against the manifest's statement.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn open(
        foundation: &Foundation,
        worker: &WorkerIdentity,
        record: &ChainRecord,
        worker_age: &[u8],
    ) -> Result<Self, String> {
        if record.worker != Some(Digest::of(worker_age)) {
            return Err("worker.age is not the one that the base's manifest names".into());
        }
        let plain = worker
            .identity()
            .decrypt(worker_age, OPENED_KEYS_LIMIT)
            .map_err(|problem| format!("worker.age {problem}"))?;
        let keys: Self = check_format("worker.age", &plain)
            .and_then(|()| from_json("worker.age", &plain))
            .map_err(|error| error.to_string())?;
        if keys.foundation != *foundation || keys.chain != record.id {
            return Err("worker.age belongs to another chain".into());
        }
        Ok(keys)
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("string keys only")
    }
}
