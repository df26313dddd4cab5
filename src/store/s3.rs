//! A store in an S3 bucket, Amazon's or a compatible one. The only user of the AWS SDK.
//!
//! Objects are small (a sealed chunk is under 17 MiB), so each is one PUT, which the server checks
//! against its signed SHA-256 or a Content-MD5 ([`digest`]). Nothing is tried again
//! here; that is [`super::retry`]'s.

mod client;
mod digest;
mod errors;
mod folders;
mod lock;
mod read;
mod upload;
mod write;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use bytes::Bytes;

use super::patience::Patience;
use super::{
    Error, Kind, Listed, ObjectName, Store, Version, WriteMode, is_segment, whole_seconds,
};
use crate::secret::Secret;
use errors::{Action, Translator};
pub use lock::{S3Lock, S3LockMode};

/// Before AWS says otherwise.
const DEFAULT_REGION: &str = "us-east-1";

/// Which bucket, and how to talk to it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The store's name, for people.
    pub name: String,
    /// The bucket. Must exist.
    pub bucket: String,
    /// Put in front of every object's name, with a `/` between.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Another server than Amazon's: a host or a URL.
    pub endpoint: Option<String>,
    /// Plain HTTP to an endpoint given without a scheme.
    pub disable_ssl: bool,
    /// `endpoint/bucket` instead of `bucket.endpoint`.
    pub use_path_style: bool,
    /// Who we are.
    pub credentials: S3Credentials,
    /// A role to assume with these credentials.
    pub role: Option<S3Role>,
    /// PEM certificates to trust instead of the system's.
    pub ca_cert: Option<String>,
    /// An HTTP proxy.
    pub proxy: Option<S3Proxy>,
    /// What the server is given to check an object with.
    pub checksum: S3Checksum,
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub server_side_encryption: Option<String>,
    /// The KMS key for it.
    pub sse_kms_key_id: Option<String>,
    /// Such as `STANDARD_IA`. Reading must be possible at once.
    pub storage_class: Option<String>,
    /// How objects of a chain are locked.
    pub object_lock: Option<S3Lock>,
    /// When to give up one attempt.
    pub timeouts: S3Timeouts,
    /// No attempt waits longer for an answer.
    pub patience: Patience,
}

impl S3Settings {
    /// A bucket of Amazon's with the default chain of credentials.
    pub fn new(name: &str, bucket: &str) -> Self {
        Self {
            name: name.to_owned(),
            bucket: bucket.to_owned(),
            prefix: String::new(),
            region: DEFAULT_REGION.to_owned(),
            endpoint: None,
            disable_ssl: false,
            use_path_style: false,
            credentials: S3Credentials::DefaultChain,
            role: None,
            ca_cert: None,
            proxy: None,
            checksum: S3Checksum::ContentMd5,
            server_side_encryption: None,
            sse_kms_key_id: None,
            storage_class: None,
            object_lock: None,
            timeouts: S3Timeouts::default(),
            patience: Patience::default(),
        }
    }
}

/// Where the credentials are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// Given.
    Static {
        /// `access_key_id`
        access_key_id: String,
        /// `secret_access_key`
        secret_access_key: Secret,
        /// `session_token`
        session_token: Option<Secret>,
    },
    /// The AWS default: environment, profile, web identity, ECS, instance metadata.
    DefaultChain,
    /// None: requests are not signed.
    Anonymous,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Role {
    /// Its ARN.
    pub arn: String,
    /// As its trust policy demands.
    pub external_id: Option<String>,
    /// What the audit log shows.
    pub session_name: String,
}

/// An HTTP proxy for this store. Metadata addresses (169.254.…) never go through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Proxy {
    /// Its URL, maybe with a user and a password.
    pub url: Secret,
    /// Hosts that it is not for, in the form of `NO_PROXY`.
    pub no_proxy: String,
}

/// What the server is given to check an object with, besides the signed SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Checksum {
    /// The Content-MD5 header: known to every server. Left out where the signed SHA-256 is the
    /// object's name, until the server asks for it.
    ContentMd5,
    /// An `x-amz-checksum-…` of this name: CRC32, CRC32C, CRC64NVME, SHA1 or SHA256.
    Algorithm(String),
    /// Nothing, for a server that stumbles over it (`skip_s3_checksums`).
    Skip,
}

/// When to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Timeouts {
    /// Until there is a connection.
    pub connect: Duration,
    /// Until a request that has been sent is answered.
    pub request: Duration,
    /// Until a transfer in which nothing moves counts as dead. One that moves may take as
    /// long as it needs.
    pub stall: Duration,
}

impl Default for S3Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(60),
            stall: Duration::from_secs(20),
        }
    }
}

/// A store in a bucket.
pub struct S3 {
    name: String,
    bucket: String,
    /// Empty, or ending in `/`.
    prefix: String,
    client: Client,
    timeouts: S3Timeouts,
    patience: Patience,
    checksum: S3Checksum,
    /// Requests are signed, and with them the SHA-256 of their bodies.
    signed: bool,
    /// The server has said that it wants a Content-MD5.
    wants_md5: AtomicBool,
    encryption: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    storage_class: Option<StorageClass>,
    object_lock: Option<S3Lock>,
    /// The server has said that it knows no `If-None-Match` on a PUT.
    unconditional: AtomicBool,
    translator: Translator,
}

impl S3 {
    /// Prepares a client. The bucket is not asked for anything yet.
    ///
    /// # Errors
    /// When a setting cannot be right; the sentence names it.
    pub async fn new(settings: S3Settings) -> Result<Self, Error> {
        let translator = Translator::new(&settings);
        let client = client::build(&settings)
            .await
            .map_err(|message| Error::new(Kind::Other, &settings.name, "", message))?;
        let prefix = match settings.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self {
            name: settings.name,
            bucket: settings.bucket,
            prefix,
            client,
            timeouts: settings.timeouts,
            patience: settings.patience,
            checksum: settings.checksum,
            signed: settings.credentials != S3Credentials::Anonymous,
            wants_md5: AtomicBool::new(false),
            encryption: settings.server_side_encryption.as_deref().map(Into::into),
            kms_key: settings.sse_kms_key_id,
            storage_class: settings.storage_class.as_deref().map(Into::into),
            object_lock: settings.object_lock,
            unconditional: AtomicBool::new(false),
            translator,
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn error(&self, kind: Kind, object: &str, message: impl Into<String>) -> Error {
        Error::new(kind, &self.name, object, message)
    }

    /// Those of the settings, within the patience of the moment.
    fn timeouts(&self) -> S3Timeouts {
        let patience = self.patience.time();
        S3Timeouts {
            connect: self.timeouts.connect.min(patience),
            request: self.timeouts.request.min(patience),
            stall: self.timeouts.stall.min(patience),
        }
    }

    /// A request without a body to speak of, and its error in our words.
    async fn ask<T, E: errors::Described>(
        &self,
        action: Action,
        object: &str,
        request: impl Future<Output = Result<T, errors::Failure<E>>>,
    ) -> Result<T, Error> {
        let limit = self.timeouts().request;
        match tokio::time::timeout(limit, request).await {
            Ok(answer) => {
                answer.map_err(|failure| self.translator.translate(action, object, &failure))
            }
            Err(_elapsed) => Err(self.translator.silent(object, limit)),
        }
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3({}, {}/{})", self.name, self.bucket, self.prefix)
    }
}

#[async_trait]
impl Store for S3 {
    fn name(&self) -> &str {
        &self.name
    }

    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        self.put_until(name, bytes, mode, None).await
    }

    fn locks_for(&self) -> Option<Duration> {
        self.object_lock.map(|lock| lock.time)
    }

    async fn put_locked(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        until: SystemTime,
    ) -> Result<(), Error> {
        let until = self.object_lock.map(|_| until);
        self.put_until(name, bytes, mode, until).await
    }

    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        self.read(name, None, limit).await
    }

    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        let request = self.client.head_object();
        let request = request
            .bucket(&self.bucket)
            .key(self.key(name.as_str()))
            .send();
        match self.ask(Action::Head, name.as_str(), request).await {
            Ok(head) => Ok(Some(Listed {
                name: name.as_str().to_owned(),
                size: size(head.content_length()),
                modified: time(head.last_modified()),
            })),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let mut found: Vec<Listed> = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(self.key(prefix))
                .set_start_after(
                    after
                        .map(|after| self.key(after))
                        .filter(|_| token.is_none()),
                )
                .set_continuation_token(token.take())
                .send();
            let page = self.ask(Action::List, prefix, request).await?;
            for object in page.contents() {
                let Some(name) = object.key().and_then(|key| key.strip_prefix(&self.prefix)) else {
                    continue;
                };
                if name.split('/').all(is_segment) && after.is_none_or(|after| name > after) {
                    found.push(Listed {
                        name: name.to_owned(),
                        size: size(object.size()),
                        modified: time(object.last_modified()),
                    });
                }
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                let message = "the server cut the listing short and does not say how to go on";
                return Err(self.error(Kind::Other, prefix, message));
            }
        }
        if !found.is_sorted_by(|one, next| one.name < next.name) {
            found.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(found)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.common_prefixes(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let request = self.client.delete_object();
        let request = request
            .bucket(&self.bucket)
            .key(self.key(name.as_str()))
            .send();
        match self.ask(Action::Delete, name.as_str(), request).await {
            Err(error) if error.kind != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, Error> {
        self.object_versions(name).await
    }

    async fn get_version(
        &self,
        name: &ObjectName,
        version: &Version,
        limit: u64,
    ) -> Result<Bytes, Error> {
        // The current one has no id that every server takes when the bucket keeps no versions.
        let id = (!version.is_current).then_some(version.id.as_str());
        self.read(name, id, limit).await
    }
}

fn size(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

fn time(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok())
        .map_or(SystemTime::UNIX_EPOCH, whole_seconds)
}

#[cfg(test)]
mod tests;
