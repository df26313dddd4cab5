//! What the server is given to check an upload with.
//!
//! Every signed request states the SHA-256 of its body, and the server refuses any other. Under
//! `data/` and `index/` an object's name is its SHA-256 (docs/format.md, *Names*): there the name is
//! what is stated, so that nothing is hashed again, and no server takes an object under another's
//! name. A Content-MD5 of such an object would prove nothing more and cost more than everything else
//! that is done to a byte; it goes with objects under Object Lock, and with all when the server asks for it.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use super::super::{Error, Kind, ObjectName};
use super::{S3, S3Checksum};

/// A SHA-256 in hex that is stated without looking at the body.
#[derive(Clone)]
pub(super) struct Stated(String);

impl Stated {
    /// The one that is the object's name.
    pub(super) fn by_name(name: &ObjectName) -> Option<Self> {
        let mut segments = name.as_str().rsplit('/');
        let (last, shard, folder) = (segments.next()?, segments.next()?, segments.next()?);
        let is_digest = last.len() == 64
            && last
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_digest && shard == &last[..2] && matches!(folder, "data" | "index"))
            .then(|| Self(last.to_owned()))
    }
}

impl Intercept for Stated {
    fn name(&self) -> &'static str {
        "Stated"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state()
            .store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}

impl fmt::Debug for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl S3 {
    /// Whether an upload carries a Content-MD5.
    pub(super) fn sends_md5(&self, name: &ObjectName, locked_until: Option<SystemTime>) -> bool {
        self.checksum == S3Checksum::ContentMd5
            && (!self.signed
                || locked_until.is_some()
                || Stated::by_name(name).is_none()
                || self.wants_md5.load(Ordering::Relaxed))
    }

    /// Whether the server refused an upload because it carried no Content-MD5; from then on each
    /// does.
    pub(super) fn asked_for_md5(&self, error: &Error) -> bool {
        let said = error.message.to_ascii_lowercase().replace('-', "");
        let asked = self.checksum == S3Checksum::ContentMd5
            && error.kind == Kind::Other
            && said.contains("contentmd5");
        if asked {
            self.wants_md5.store(true, Ordering::Relaxed);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_is_a_digest_is_stated() {
        let digest = "0a".repeat(32);
        let of = |name: &str| Stated::by_name(&ObjectName::new(name).unwrap());
        for folder in ["data", "index"] {
            let name = format!("prod/chains/c/{folder}/0a/{digest}");
            assert_eq!(of(&name).unwrap().0, digest);
        }
        for not in [
            format!("prod/chains/c/data/0b/{digest}"),
            format!("prod/chains/c/other/0a/{digest}"),
            format!("prod/chains/c/data/0A/{}", "0A".repeat(32)),
            format!("prod/chains/c/data/0a/{}", &digest[2..]),
            digest,
        ] {
            assert!(of(&not).is_none(), "{not}");
        }
    }
}
