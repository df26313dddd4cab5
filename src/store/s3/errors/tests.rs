use super::*;
use crate::secret::Secret;

fn translator() -> Translator {
    let mut settings = S3Settings::new("dc2", "bk");
    settings.endpoint = Some("s3.example.com".to_owned());
    settings.credentials = S3Credentials::Static {
        access_key_id: "AKIA".to_owned(),
        secret_access_key: Secret::new("planted-secret"),
        session_token: Some(Secret::new("planted-token")),
    };
    Translator::new(&settings)
}

fn answer(status: u16, code: &str, message: &str) -> Answer {
    Answer {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
        region: None,
    }
}

#[test]
fn an_answer_becomes_a_kind_and_a_sentence() {
    use Kind::{AlreadyExists, Denied, Locked, NotFound, Other, Transient};
    for (status, code, kind, text) in [
        (
            404,
            "NoSuchBucket",
            Other,
            "bucket bk does not exist on s3.example.com",
        ),
        (404, "NoSuchKey", NotFound, "is not there"),
        (404, "", Other, "404 without an S3 error"),
        (404, "NoSuchUser", Other, "404 NoSuchUser"),
        (412, "PreconditionFailed", AlreadyExists, "exists already"),
        (409, "ConditionalRequestConflict", Transient, "answered 409"),
        (
            403,
            "AccessDenied",
            Denied,
            "need s3:PutObject on bucket bk",
        ),
        (403, "", Denied, "need s3:PutObject on bucket bk"),
        (
            403,
            "InvalidAccessKeyId",
            Denied,
            "does not know this access_key_id",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            Denied,
            "check secret_access_key and region, and this worker's clock",
        ),
        (
            403,
            "RequestTimeTooSkewed",
            Denied,
            "the clocks of this worker and of s3.example.com differ",
        ),
        (400, "ExpiredToken", Denied, "the session_token has expired"),
        (
            400,
            "RequestTimeout",
            Transient,
            "answered 400 RequestTimeout",
        ),
        (
            500,
            "InternalError",
            Transient,
            "answered 500 InternalError",
        ),
        (503, "SlowDown", Transient, "answered 503 SlowDown"),
        (
            502,
            "",
            Transient,
            "502 without an S3 error; is a proxy or load balancer in between?",
        ),
        (507, "XMinioStorageFull", Other, "the store is full"),
        (403, "QuotaExceeded", Other, "the store is full"),
        (
            501,
            "NotImplemented",
            Other,
            "the server does not implement this",
        ),
        (
            400,
            "InvalidArgument",
            Other,
            "refused it: 400 InvalidArgument",
        ),
        (403, "ObjectLocked", Locked, "is under Object Lock"),
    ] {
        let (got, message) = translator().answered(Action::Put, &answer(status, code, ""));
        assert_eq!(got, kind, "{status} {code}: {message}");
        assert!(message.contains(text), "{status} {code}: {message}");
    }
    let (kind, _) = translator().answered(Action::Head, &answer(404, "", ""));
    assert_eq!(kind, NotFound);
    let denied = answer(
        403,
        "AccessDenied",
        "Access Denied because object protected by object lock",
    );
    assert_eq!(translator().answered(Action::Delete, &denied).0, Locked);
}

#[test]
fn the_right_region_is_told_when_the_server_tells_it() {
    let mut redirect = answer(301, "PermanentRedirect", "");
    redirect.region = Some("eu-west-1".to_owned());
    let malformed = answer(
        400,
        "AuthorizationHeaderMalformed",
        "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
    );
    for answer in [redirect, malformed] {
        let (kind, message) = translator().answered(Action::List, &answer);
        assert_eq!(kind, Kind::Other);
        assert_eq!(
            message,
            "bucket bk is in region eu-west-1; set region: eu-west-1"
        );
    }
    let (_, message) = translator().answered(Action::List, &answer(301, "", ""));
    assert!(message.contains("correct region or endpoint"), "{message}");
}

#[test]
fn what_the_network_says_becomes_a_sentence() {
    for (causes, kind, text) in [
        (
            "dns error: failed to lookup address information: Name or service not known",
            Kind::Transient,
            "is not found; check endpoint and DNS",
        ),
        (
            "tcp connect error: Connection refused (os error 111)",
            Kind::Transient,
            "refuses connections",
        ),
        (
            "HTTP connect timeout occurred after 10s",
            Kind::Transient,
            "no connection to",
        ),
        (
            "invalid peer certificate: UnknownIssuer",
            Kind::Other,
            "not signed by a CA that this system trusts; set ca_cert",
        ),
        (
            "invalid peer certificate: NotValidForName",
            Kind::Other,
            "for another host name",
        ),
        (
            "invalid peer certificate: Expired",
            Kind::Other,
            "not valid now",
        ),
        (
            "received corrupt message of type InvalidContentType",
            Kind::Other,
            "does not speak TLS",
        ),
        (
            "the credential provider was not enabled",
            Kind::Denied,
            "there are no AWS credentials",
        ),
        (
            "tls handshake eof",
            Kind::Transient,
            "no answer from s3.example.com",
        ),
        (
            "connection closed before message completed",
            Kind::Transient,
            "broke off the connection",
        ),
    ] {
        let (got, message) = translator().not_reached(causes);
        assert_eq!(got, kind, "{causes}: {message}");
        assert!(message.contains(text), "{causes}: {message}");
    }
}

#[test]
fn what_others_write_is_shortened_and_our_secrets_are_blanked() {
    let text = format!("key\nplanted-secret and planted-token {}.", "x".repeat(500));
    let clean = translator().clean(&text);
    assert!(
        clean.starts_with("key [secret] and [secret] xxx"),
        "{clean}"
    );
    assert_eq!(clean.len(), LONGEST_MESSAGE);
}

#[test]
fn a_role_that_cannot_be_assumed_is_not_the_stores_silence() {
    let mut settings = S3Settings::new("dc2", "bk");
    settings.role = Some(super::super::S3Role {
        arn: "arn:aws:iam::123:role/x".to_owned(),
        external_id: None,
        session_name: "lifeboat".to_owned(),
    });
    let translator = Translator::new(&settings);
    let loading = "dispatch failure: other: an error occurred while loading credentials: ";
    for (why, kind, text) in [
        (
            "service error: unhandled error (AccessDenied): Error { code: \"AccessDenied\", message: \"not authorized\" }",
            Kind::Denied,
            "role arn:aws:iam::123:role/x cannot be assumed: not authorized",
        ),
        (
            "dispatch failure: tcp connect error: Connection refused (os error 111)",
            Kind::Transient,
            "role arn:aws:iam::123:role/x cannot be assumed: dispatch failure: tcp connect error: \
             Connection refused (os error 111)",
        ),
    ] {
        let (got, message) = translator.not_reached(&format!("{loading}{why}"));
        assert_eq!((got, message.as_str()), (kind, text));
    }
}

#[test]
fn what_object_lock_refuses_is_told_from_what_it_lacks() {
    let locking = || {
        let mut settings = S3Settings::new("dc2", "bk");
        settings.object_lock = Some(super::super::S3Lock {
            mode: super::super::S3LockMode::Governance,
            time: Duration::from_secs(86_400),
        });
        Translator::new(&settings)
    };
    for (status, code, said, kind, text) in [
        // versitygw and Amazon; MinIO; Ceph
        (
            403,
            "AccessDenied",
            "Access Denied because object protected by object lock.",
            Kind::Locked,
            "is under Object Lock",
        ),
        (
            400,
            "InvalidRequest",
            "Object is WORM protected and cannot be overwritten",
            Kind::Locked,
            "is under Object Lock",
        ),
        (
            403,
            "AccessDenied",
            "forbidden by object lock",
            Kind::Locked,
            "is under Object Lock",
        ),
        // versitygw and MinIO; Amazon
        (
            400,
            "InvalidRequest",
            "Bucket is missing ObjectLockConfiguration",
            Kind::Other,
            "bucket bk has no Object Lock, which object_lock asks for",
        ),
        (
            400,
            "InvalidRequest",
            "Bucket is missing Object Lock Configuration",
            Kind::Other,
            "bucket bk has no Object Lock, which object_lock asks for",
        ),
        (
            403,
            "AccessDenied",
            "User: x is not authorized to perform: s3:PutObjectRetention on resource: y",
            Kind::Denied,
            "these credentials need s3:PutObject and s3:PutObjectRetention",
        ),
    ] {
        let (found, message) = locking().answered(Action::Put, &answer(status, code, said));
        assert!(
            found == kind && message.contains(text),
            "{said}: {found:?} {message}"
        );
    }
    // Who was not told to lock is not told of locks.
    let missing = answer(
        400,
        "InvalidRequest",
        "Bucket is missing ObjectLockConfiguration",
    );
    let (_, message) = translator().answered(Action::Put, &missing);
    assert!(message.contains("refused it"), "{message}");
}
