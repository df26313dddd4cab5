//! A store in an S3 bucket, Amazon's or a compatible one. The only user of the AWS SDK.
//!
//! Objects are small (a sealed chunk is under 17 MiB), so each is one PUT, with a
//! Content-MD5, which every server checks and Object Lock demands. Nothing is tried again
//! here; that is [`super::retry`]'s.

mod client;
mod errors;
mod folders;
mod read;
mod upload;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption, StorageClass};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::patience::Patience;
use super::{
    Error, Kind, Listed, ObjectName, Store, Version, WriteMode, is_segment, whole_seconds,
};
use crate::secret::Secret;
use errors::{Action, Translator};
use upload::Upload;

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
    /// The Content-MD5 header: known to every server.
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
    encryption: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    storage_class: Option<StorageClass>,
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
            encryption: settings.server_side_encryption.as_deref().map(Into::into),
            kms_key: settings.sse_kms_key_id,
            storage_class: settings.storage_class.as_deref().map(Into::into),
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

    async fn put_once(&self, name: &ObjectName, bytes: Bytes, only_new: bool) -> Result<(), Error> {
        let (upload, timeouts) = (Upload::new(bytes.clone()), self.timeouts());
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(name.as_str()))
            .content_type("application/octet-stream")
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .set_storage_class(self.storage_class.clone())
            .set_if_none_match(only_new.then(|| "*".to_owned()));
        let request = match &self.checksum {
            S3Checksum::ContentMd5 => request.content_md5(STANDARD.encode(Md5::digest(&bytes))),
            S3Checksum::Algorithm(name) => {
                request.checksum_algorithm(ChecksumAlgorithm::from(name.as_str()))
            }
            S3Checksum::Skip => request,
        };
        let request = request.body(ByteStream::from(bytes)).customize();
        let object = name.as_str();
        tokio::select! {
            answer = request.interceptor(upload.clone()).send() => match answer {
                Ok(_) => Ok(()),
                Err(failure) => Err(self.translator.translate(Action::Put, object, &failure)),
            },
            limit = upload.stalled(&timeouts) => Err(self.translator.silent(object, limit)),
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
        if mode == WriteMode::Overwrite {
            return self.put_once(name, bytes, false).await;
        }
        // Some servers ignore the condition, so look as well. Who may not look relies on it.
        match self.head(name).await {
            Ok(Some(_)) => {
                return Err(self.error(Kind::AlreadyExists, name.as_str(), "exists already"));
            }
            Ok(None) => {}
            Err(error) if error.kind == Kind::Denied => {}
            Err(error) => return Err(error),
        }
        let conditional = !self.unconditional.load(Ordering::Relaxed);
        match self.put_once(name, bytes.clone(), conditional).await {
            Err(error) if conditional && errors::says_not_implemented(&error) => {
                self.unconditional.store(true, Ordering::Relaxed);
                self.put_once(name, bytes, false).await
            }
            other => other,
        }
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
