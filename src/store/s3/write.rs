//! Putting an object: one request, and a look before it where it must be new.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::ChecksumAlgorithm;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::super::{Error, Kind, ObjectName, Store, WriteMode};
use super::digest::Stated;
use super::errors::{self, Action};
use super::upload::Upload;
use super::{S3, S3Checksum};

impl S3 {
    async fn put_once(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        only_new: bool,
        until: Option<SystemTime>,
    ) -> Result<(), Error> {
        let with_md5 = self.sends_md5(name, until);
        let again = bytes.clone();
        match self
            .put_checked(name, bytes, only_new, until, with_md5)
            .await
        {
            Err(error) if !with_md5 && self.asked_for_md5(&error) => {
                self.put_checked(name, again, only_new, until, true).await
            }
            other => other,
        }
    }

    async fn put_checked(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        only_new: bool,
        until: Option<SystemTime>,
        with_md5: bool,
    ) -> Result<(), Error> {
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
            .set_object_lock_mode(self.lock_mode(until))
            .set_object_lock_retain_until_date(until.map(DateTime::from))
            .set_if_none_match(only_new.then(|| "*".to_owned()));
        let request = match &self.checksum {
            S3Checksum::ContentMd5 if with_md5 => {
                request.content_md5(STANDARD.encode(Md5::digest(&bytes)))
            }
            S3Checksum::Algorithm(name) => {
                request.checksum_algorithm(ChecksumAlgorithm::from(name.as_str()))
            }
            S3Checksum::ContentMd5 | S3Checksum::Skip => request,
        };
        let mut request = request.body(ByteStream::from(bytes)).customize();
        if let Some(stated) = Stated::by_name(name) {
            request = request.interceptor(stated);
        }
        let object = name.as_str();
        tokio::select! {
            answer = request.interceptor(upload.clone()).send() => match answer {
                Ok(_) => Ok(()),
                Err(failure) => Err(self.translator.translate(Action::Put, object, &failure)),
            },
            limit = upload.stalled(&timeouts) => Err(self.translator.silent(object, limit)),
        }
    }

    /// A lock whose day is past, as that of a chain copied later, is none: the server tells.
    pub(super) async fn put_until(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        until: Option<SystemTime>,
    ) -> Result<(), Error> {
        match self.put_as_asked(name, bytes.clone(), mode, until).await {
            Err(error) if until.is_some() && errors::says_lock_is_over(&error) => {
                self.put_as_asked(name, bytes, mode, None).await
            }
            other => other,
        }
    }

    async fn put_as_asked(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        mode: WriteMode,
        until: Option<SystemTime>,
    ) -> Result<(), Error> {
        if mode == WriteMode::Overwrite {
            return self.put_once(name, bytes, false, until).await;
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
        match self.put_once(name, bytes.clone(), conditional, until).await {
            Err(error) if conditional && errors::says_not_implemented(&error) => {
                self.unconditional.store(true, Ordering::Relaxed);
                self.put_once(name, bytes, false, until).await
            }
            other => other,
        }
    }
}
