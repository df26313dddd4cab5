//! What S3 servers, TLS and the network say, in sentences that an operator can act on.
//!
//! Only codes, statuses and short messages are passed on, never a request, a URL or a
//! header; known secrets are blanked out of what others wrote.

mod network;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::super::{Error, Kind};
use super::{S3Credentials, S3Settings};
use crate::clock::spoken;
use crate::secret::Mask;
use network::chain;

/// A failed request of the SDK's.
pub(super) type Failure<E> = SdkError<E, HttpResponse>;

/// An error that the SDK has parsed from an answer.
pub(super) trait Described: ProvideErrorMetadata + StdError + 'static {}
impl<E: ProvideErrorMetadata + StdError + 'static> Described for E {}

/// No message of a server's is passed on beyond this.
const LONGEST_MESSAGE: usize = 200;
/// How the only error is marked that is answered by trying otherwise.
const NOT_IMPLEMENTED: &str = "the server does not implement this";

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Put,
    Get,
    Head,
    List,
    Versions,
    Delete,
}

impl Action {
    fn is_reading(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Delete)
    }

    fn permission(self, locks: bool) -> &'static str {
        match self {
            Self::Put if locks => "s3:PutObject and s3:PutObjectRetention",
            Self::Put => "s3:PutObject",
            Self::Get | Self::Head => "s3:GetObject and s3:ListBucket",
            Self::List => "s3:ListBucket",
            Self::Versions => "s3:ListBucketVersions (and s3:GetObjectVersion)",
            Self::Delete => "s3:DeleteObject",
        }
    }
}

/// What an answer says about a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Answer {
    status: u16,
    code: String,
    message: String,
    /// Where the bucket is, when the server tells.
    region: Option<String>,
}

/// Knows of the store what its sentences need.
pub(super) struct Translator {
    store: String,
    bucket: String,
    region: String,
    server: String,
    role: Option<String>,
    own_ca: bool,
    locks: bool,
    mask: Mask,
}

/// Whether a server lacks what was asked of it.
pub(super) fn says_not_implemented(error: &Error) -> bool {
    error.kind == Kind::Other && error.message.starts_with(NOT_IMPLEMENTED)
}

/// Whether a put was refused because its lock would have ended already: "The retain until date must
/// be in the future!" (Amazon, versitygw, MinIO, Ceph).
pub(super) fn says_lock_is_over(error: &Error) -> bool {
    let message = error.message.to_ascii_lowercase();
    error.kind == Kind::Other && message.contains("date must be in the future")
}

impl Translator {
    pub(super) fn new(settings: &S3Settings) -> Self {
        let mask = Mask::default();
        if let S3Credentials::Static {
            secret_access_key,
            session_token,
            ..
        } = &settings.credentials
        {
            mask.add(secret_access_key.expose());
            if let Some(token) = session_token {
                mask.add(token.expose());
            }
        }
        if let Some(proxy) = &settings.proxy {
            mask.add(proxy.url.expose());
        }
        Self {
            store: settings.name.clone(),
            bucket: settings.bucket.clone(),
            region: settings.region.clone(),
            server: settings
                .endpoint
                .clone()
                .unwrap_or_else(|| format!("Amazon S3 in {}", settings.region)),
            role: settings.role.as_ref().map(|role| role.arn.clone()),
            own_ca: settings.ca_cert.is_some(),
            locks: settings.object_lock.is_some(),
            mask,
        }
    }

    /// A failed request.
    pub(super) fn translate<E: Described>(
        &self,
        action: Action,
        object: &str,
        failure: &Failure<E>,
    ) -> Error {
        let (kind, message) = match failure {
            SdkError::ServiceError(failed) => {
                let header = |name| failed.raw().headers().get(name).map(str::to_owned);
                let answer = Answer {
                    status: failed.raw().status().as_u16(),
                    code: failed.err().code().unwrap_or_default().to_owned(),
                    message: self.clean(failed.err().message().unwrap_or_default()),
                    region: header("x-amz-bucket-region"),
                };
                self.answered(action, &answer)
            }
            SdkError::ResponseError(failed) => {
                let status = failed.raw().status().as_u16();
                if (200..300).contains(&status) {
                    let text = self.clean(&chain(failure));
                    let server = &self.server;
                    (
                        Kind::Transient,
                        format!("{server} broke off its answer: {text}"),
                    )
                } else {
                    let answer = Answer {
                        status,
                        ..Answer::default()
                    };
                    self.answered(action, &answer)
                }
            }
            _ => self.not_reached(&chain(failure)),
        };
        Error::new(kind, &self.store, object, message)
    }

    /// A request or a transfer in which nothing came for this time.
    pub(super) fn silent(&self, object: &str, limit: Duration) -> Error {
        let message = format!("{} has been silent for {}", self.server, spoken(limit));
        Error::new(Kind::Transient, &self.store, object, message)
    }

    /// A body that broke off.
    pub(super) fn torn(&self, object: &str, error: &(dyn StdError + 'static)) -> Error {
        let text = self.clean(&chain(error));
        let message = format!("{} broke off while sending it: {text}", self.server);
        Error::new(Kind::Transient, &self.store, object, message)
    }

    /// The server answered, with an error.
    fn answered(&self, action: Action, answer: &Answer) -> (Kind, String) {
        let Self { bucket, server, .. } = self;
        let (code, said) = (answer.code.as_str(), answer.message.as_str());
        let status = answer.status;
        match (code, status) {
            ("NoSuchBucket", _) => (
                Kind::Other,
                format!(
                    "bucket {bucket} does not exist on {server}; create it, or correct bucket, endpoint and region"
                ),
            ),
            ("NoSuchKey", _) => (Kind::NotFound, "is not there".to_owned()),
            ("PreconditionFailed", _) | (_, 412) => {
                (Kind::AlreadyExists, "exists already".to_owned())
            }
            ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed", _)
            | ("IncorrectEndpoint" | "IllegalLocationConstraintException", _)
            | (_, 301 | 307 | 308) => (Kind::Other, self.elsewhere(answer)),
            (
                "InvalidAccessKeyId"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "XAdminUserNotFound",
                _,
            ) => (
                Kind::Denied,
                format!("{server} does not know this access_key_id; check it, and the endpoint"),
            ),
            ("SignatureDoesNotMatch", _) => (
                Kind::Denied,
                format!(
                    "{server} refuses the signature; check secret_access_key and region, and this worker's clock"
                ),
            ),
            ("RequestTimeTooSkewed" | "RequestExpired", _) => (
                Kind::Denied,
                format!(
                    "the clocks of this worker and of {server} differ too much; set them (NTP)"
                ),
            ),
            ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => (
                Kind::Denied,
                "the session_token has expired; get new credentials".to_owned(),
            ),
            ("InvalidToken", _) => (
                Kind::Denied,
                "the session_token does not belong to these credentials".to_owned(),
            ),
            ("InvalidObjectState", _) => (
                Kind::Other,
                "is archived in a cold storage class; restore it in the bucket first".to_owned(),
            ),
            ("QuotaExceeded" | "QuotaExceededException" | "BucketQuotaExceeded", _)
            | (
                "XMinioStorageFull"
                | "XMinioAdminBucketQuotaExceeded"
                | "XMinioStorageQuotaExceeded",
                _,
            )
            | ("InsufficientStorage" | "InsufficientCapacity" | "NoSpaceLeft" | "DiskFull", _)
            | (_, 507) => (
                Kind::Other,
                format!(
                    "the store is full ({}); make room or raise its quota",
                    answer.brief()
                ),
            ),
            (
                "SlowDown" | "ServiceUnavailable" | "Throttling" | "RequestTimeout"
                | "InternalError",
                _,
            )
            | (
                "OperationAborted" | "ConditionalRequestConflict" | "BadDigest" | "IncompleteBody",
                _,
            )
            | ("XAmzContentSHA256Mismatch" | "TooManyRequests" | "ThrottlingException", _)
            | (_, 408 | 425 | 429 | 500 | 502..=504 | 520..=599) => (
                Kind::Transient,
                format!("{server} answered {}", answer.brief()),
            ),
            ("NotImplemented" | "NotSupported", _) | (_, 501) => (
                Kind::Other,
                format!("{NOT_IMPLEMENTED}: {}", answer.brief()),
            ),
            (_, 400..=409) if action == Action::Put && self.locks && cannot_lock(said) => (
                Kind::Other,
                format!(
                    "bucket {bucket} has no Object Lock, which object_lock asks for; switch it on in the bucket, or take object_lock out of this store{}",
                    answer.in_brackets()
                ),
            ),
            (_, status) if locked(status, code, said) => (
                Kind::Locked,
                "is under Object Lock and cannot be deleted or replaced yet".to_owned(),
            ),
            ("AccessDenied" | "AllAccessDisabled" | "Forbidden", _) | (_, 401 | 403 | 407) => (
                Kind::Denied,
                format!(
                    "access denied; these credentials need {} on bucket {bucket}{}",
                    action.permission(self.locks),
                    answer.in_brackets()
                ),
            ),
            // A HEAD has no body to say more. Any other 404 is not about the object.
            ("NotFound" | "", 404) if action.is_reading() => {
                (Kind::NotFound, "is not there".to_owned())
            }
            _ => (
                Kind::Other,
                format!("{server} refused it: {}", answer.brief()),
            ),
        }
    }

    fn elsewhere(&self, answer: &Answer) -> String {
        let bucket = &self.bucket;
        // expecting 'eu-west-1', or in the other quotes
        let expected = answer.region.clone().or_else(|| {
            let (_, rest) = answer.message.split_once("expecting ")?;
            let region = rest.strip_prefix(['\'', '"'])?.split(['\'', '"']).next()?;
            Some(region.to_owned())
        });
        match expected.filter(|region| *region != self.region) {
            Some(region) => format!("bucket {bucket} is in region {region}; set region: {region}"),
            None => format!(
                "bucket {bucket} is not in region {} or not at {}; correct region or endpoint{}",
                self.region,
                self.server,
                answer.in_brackets()
            ),
        }
    }

    /// Others' text: one line, short, without our secrets and a dot at its end.
    fn clean(&self, text: &str) -> String {
        let masked = self.mask.apply(text);
        let line = masked.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = line.chars().take(LONGEST_MESSAGE).collect();
        short.trim_end_matches('.').to_owned()
    }
}

impl Answer {
    fn brief(&self) -> String {
        let Self {
            status,
            code,
            message,
            ..
        } = self;
        match (code.as_str(), message.as_str()) {
            ("", "") => {
                format!("{status} without an S3 error; is a proxy or load balancer in between?")
            }
            (code, "") => format!("{status} {code}"),
            (code, message) => format!("{status} {code}: {message}"),
        }
    }

    fn in_brackets(&self) -> String {
        if self.message.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.message)
        }
    }
}

impl fmt::Debug for Translator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Translator({})", self.store)
    }
}

/// Whether a put was refused because the bucket knows no locks: "Bucket is missing
/// ObjectLockConfiguration", "… Object Lock Configuration" (Amazon, MinIO, Ceph, versitygw).
fn cannot_lock(message: &str) -> bool {
    let message = message.to_ascii_lowercase().replace(' ', "");
    message.contains("objectlockconfig") || message.contains("objectlocknotconfigured")
}

fn locked(status: u16, code: &str, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    match status {
        401 | 403 | 405 => {}
        // MinIO: "Object is WORM protected and cannot be overwritten"
        400 => return message.contains("worm protected"),
        _ => return false,
    }
    // "… not authorized to perform: s3:PutObjectRetention": a right is missing, nothing is locked.
    if message.contains("not authorized") {
        return false;
    }
    ["ObjectLocked", "InvalidRetentionPeriod"].contains(&code)
        || ["object lock", "worm", "legal hold", "retention"]
            .iter()
            .any(|text| message.contains(text))
}

#[cfg(test)]
mod tests;
