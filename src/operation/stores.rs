//! From settings to stores that can be spoken to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::Context;
use super::settings::{
    Algorithm, Checksums, Credentials, Encryption, LockMode, S3, Settings, Store as Place,
};
use crate::repo;
use crate::repo::bridge::Bridge;
use crate::repo::catalogue::Catalogue;
use crate::repo::format::Manifest;
use crate::repo::holdings::Holdings;
use crate::repo::id::{BackupId, Foundation};
use crate::repo::proof::Proofs;
use crate::repo::reader::{Fetcher, Reader};
use crate::repo::seal::{Identity, Recipients};
use crate::repo::sign::{Signers, WorkerIdentity};
use crate::store::Store;
use crate::store::copies::Copies;
use crate::store::directory::{Directory, DirectorySettings};
use crate::store::patience::Patience;
use crate::store::retry::{Retry, RetrySettings};
use crate::store::s3::{
    S3Checksum, S3Credentials, S3Lock, S3LockMode, S3Proxy, S3Role, S3Settings,
};

/// Threads that speak to stores: they wait far more than they work.
const THREADS: usize = 2;
/// How long the end of a run waits for a file system call that hangs.
const LINGER: Duration = Duration::from_millis(500);

/// The stores of one use case, and the runtime that speaks to them.
#[derive(Debug)]
pub(super) struct Stores {
    pub(super) copies: Arc<Copies>,
    pub(super) bridge: Bridge,
    pub(super) foundation: Foundation,
    /// As that of a look, until artifacts stream.
    pub(super) patience: Patience,
    signers: Signers,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Stores {
    /// Opens what the settings name. Nothing is sent yet.
    pub(super) fn open(context: &Context, settings: &Settings) -> Result<Self> {
        let repository = &settings.repository;
        let foundation = Foundation::parse(&repository.foundation)
            .map_err(|problem| anyhow!("foundation: {problem}"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .context("no threads to speak to stores with")?;
        let patience = Patience::new(repository.store_timeout);
        let mut stores = Vec::new();
        for place in &repository.stores {
            let store: Arc<dyn Store> = match place {
                Place::Directory { name, path } => Arc::new(Directory::new(
                    DirectorySettings {
                        name: name.clone(),
                        path: path.clone(),
                    },
                    Arc::clone(&context.clock),
                )),
                Place::S3(s3) => s3_store(&runtime, s3, &patience)?,
            };
            stores.push(Arc::new(Retry::new(
                store,
                RetrySettings::default(),
                patience.clone(),
                Arc::clone(&context.monitor),
                context.shutdown.clone(),
            )) as Arc<dyn Store>);
        }
        let copies = Copies::new(stores, repository.min_copies, Arc::clone(&context.monitor))?;
        let worker = worker(settings)?;
        let signers = Signers::parse(&repository.trusted_workers)
            .map_err(|problem| anyhow!("trusted_workers{problem}"))?
            .and(worker.as_ref());
        Ok(Self {
            copies: Arc::new(copies),
            bridge: Bridge::new(runtime.handle().clone(), context.shutdown.clone()),
            foundation,
            patience,
            signers,
            runtime: Some(runtime),
        })
    }

    /// What a prune works with.
    pub(super) fn prune(
        &self,
        context: &Context,
        settings: &Settings,
    ) -> Result<repo::prune::Prune> {
        let recovery = settings.repository.recovery_identity.as_ref();
        Ok(repo::prune::Prune {
            copies: Arc::clone(&self.copies),
            bridge: self.bridge.clone(),
            foundation: self.foundation.clone(),
            signers: self.signers.clone(),
            worker: worker(settings)?,
            recovery: recovery
                .map(Identity::parse)
                .transpose()
                .map_err(|problem| anyhow!("recovery_identity {problem}"))?,
            grace: settings.repository.grace,
            clock: Arc::clone(&context.clock),
            at_once: repo::prune::AT_ONCE,
        })
    }

    /// What lies where.
    pub(super) fn holdings(&self, settings: &Settings) -> Holdings {
        Holdings::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
            settings.repository.new_chain_every,
            settings.repository.grace,
        )
    }

    /// Manifests that the settings' signers vouch for.
    pub(super) fn catalogue(&self) -> Catalogue {
        Catalogue::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
            self.signers.clone(),
        )
    }

    /// Results of verifications and drills.
    pub(super) fn proofs(&self) -> Proofs {
        Proofs::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
            self.signers.clone(),
        )
    }

    /// Sealed objects.
    pub(super) fn fetcher(&self) -> Fetcher {
        Fetcher::new(
            Arc::clone(&self.copies),
            self.bridge.clone(),
            self.foundation.clone(),
        )
    }

    /// Reads what a backup holds.
    ///
    /// # Errors
    /// When the identity does not open its chain.
    pub(super) fn reader(&self, manifest: &Manifest, identity: &Identity) -> Result<Reader> {
        let fetcher = self.fetcher();
        let keys = fetcher.keys(manifest, identity)?;
        Ok(Reader::new(fetcher, manifest.chain.id.clone(), keys))
    }

    /// From now on a store that fails is waited for, unless there is another: with one at hand nobody
    /// waits long.
    pub(super) fn stream_if_alone(&self) {
        if self.copies.stores().count() == 1 {
            self.patience.stream();
        }
    }

    /// What a run that writes needs.
    pub(super) fn repo_settings(&self, settings: &Settings) -> Result<repo::Settings> {
        let repository = &settings.repository;
        ensure!(
            !repository.recipients.is_empty(),
            "recipients: name at least one (age1… or ssh-ed25519 …), or nobody could recover"
        );
        Ok(repo::Settings {
            foundation: self.foundation.clone(),
            recipients: Recipients::parse(&repository.recipients)
                .map_err(|problem| anyhow!("recipients{problem}"))?,
            worker: worker(settings)?,
            signers: self.signers.clone(),
            new_chain_every: repository.new_chain_every,
            grace: repository.grace,
        })
    }

    /// The fingerprint of the own worker identity's public half.
    pub(super) fn own_fingerprint(&self, settings: &Settings) -> Result<String> {
        Ok(worker(settings)?
            .map(|worker| worker.fingerprint())
            .unwrap_or_default())
    }

    /// Writes to, reads back and lists every store, and compares clocks. A store that fails
    /// is given up; too few left is an error.
    pub(super) fn probe(&self, context: &Context) -> Result<()> {
        let probed = self.probe_each(context)?;
        for (store, result) in probed {
            if let Err(error) = result {
                self.copies.give_up(&store, &error.message);
            }
        }
        self.copies.check_enough("the backup")?;
        context.monitor.info(&format!(
            "stores that answer and hold what they are given: {}",
            self.copies.whole().join(", ")
        ));
        Ok(())
    }

    /// Writes to, reads back and lists every store, and compares clocks: what each of them said.
    pub(super) fn probe_each(
        &self,
        context: &Context,
    ) -> Result<Vec<(String, Result<(), crate::store::Error>)>> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| anyhow!("no random bytes: {error}"))?;
        let text = hex::encode(random);
        Ok(self.bridge.wait(self.copies.probe(
            self.foundation.as_str(),
            Arc::clone(&context.clock),
            &text,
        ))??)
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LINGER);
        }
    }
}

/// Reads an id that a person or Concourse gave.
pub(super) fn backup_id(text: &str) -> Result<BackupId> {
    BackupId::parse(text).map_err(|problem| anyhow!("{problem}"))
}

/// An id from which on a listing begins that should start a day before `id`: clocks of
/// workers differ, and a run that ends late commits late.
pub(super) fn a_day_before(id: &BackupId) -> BackupId {
    let time = id.time().checked_sub(Duration::from_secs(86_400));
    BackupId::new(time.unwrap_or(SystemTime::UNIX_EPOCH), None, [0; 4])
}

pub(super) fn worker(settings: &Settings) -> Result<Option<WorkerIdentity>> {
    settings
        .repository
        .worker_identity
        .as_ref()
        .map(|worker| {
            WorkerIdentity::parse(&worker.private_key)
                .map_err(|problem| anyhow!("worker_identity {problem}"))
        })
        .transpose()
}

/// Also checks what only the S3 client knows, such as the CA.
fn s3_store(
    runtime: &tokio::runtime::Runtime,
    s3: &S3,
    patience: &Patience,
) -> Result<Arc<dyn Store>> {
    let mut settings = S3Settings::new(&s3.name, &s3.bucket);
    settings.patience = patience.clone();
    settings.prefix.clone_from(&s3.prefix);
    settings.region.clone_from(&s3.region);
    settings.endpoint.clone_from(&s3.endpoint);
    settings.use_path_style = s3.use_path_style;
    settings.ca_cert.clone_from(&s3.ca_cert);
    settings.proxy = s3.proxy.as_ref().map(|proxy| S3Proxy {
        url: proxy.url.clone(),
        no_proxy: proxy.no_proxy.clone(),
    });
    settings.credentials = match &s3.credentials {
        Credentials::Keys {
            access_key_id,
            secret_access_key,
            session_token,
        } => S3Credentials::Static {
            access_key_id: access_key_id.expose().to_owned(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.clone(),
        },
        Credentials::Chain => S3Credentials::DefaultChain,
    };
    settings.role = s3.aws_role_arn.as_ref().map(|arn| S3Role {
        arn: arn.clone(),
        external_id: None,
        session_name: "lifeboat".into(),
    });
    settings.checksum = match s3.checksums {
        Checksums::Default => S3Checksum::ContentMd5,
        Checksums::Skip => S3Checksum::Skip,
        Checksums::Use(algorithm) => S3Checksum::Algorithm(
            match algorithm {
                Algorithm::Crc32 => "CRC32",
                Algorithm::Crc32c => "CRC32C",
                Algorithm::Crc64Nvme => "CRC64NVME",
                Algorithm::Sha1 => "SHA1",
                Algorithm::Sha256 => "SHA256",
            }
            .into(),
        ),
    };
    (settings.server_side_encryption, settings.sse_kms_key_id) = match &s3.encryption {
        None => (None, None),
        Some(Encryption::Aes256) => (Some("AES256".into()), None),
        Some(Encryption::Kms(key)) => (Some("aws:kms".into()), key.clone()),
        Some(Encryption::KmsDsse(key)) => (Some("aws:kms:dsse".into()), key.clone()),
    };
    settings.object_lock = s3.object_lock.map(|lock| S3Lock {
        mode: match lock.mode {
            LockMode::Governance => S3LockMode::Governance,
            LockMode::Compliance => S3LockMode::Compliance,
        },
        time: lock.time,
    });
    Ok(Arc::new(
        runtime.block_on(crate::store::s3::S3::new(settings))?,
    ))
}
