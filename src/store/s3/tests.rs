//! What a real server cannot be made to do: a fake that answers as it is told.

mod fake;

use std::net::TcpListener;

use super::super::conformance::name;
use super::*;
use fake::{Fake, Reply};

async fn put(store: &S3, mode: WriteMode) -> Result<(), Error> {
    store
        .put(&name("a/b"), Bytes::from_static(b"text"), mode)
        .await
}

fn xml(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>said</Message></Error>")
}

#[tokio::test]
async fn a_put_is_one_request_with_its_md5_and_nothing_that_old_servers_refuse() {
    let fake = Fake::always(200, "", "");
    put(&fake.store().await, WriteMode::Overwrite)
        .await
        .unwrap();
    let requests = fake.requests();
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].line.starts_with("PUT /bucket/a/b"),
        "{}",
        requests[0].line
    );
    assert_eq!(requests[0].body, b"text");
    let head = &requests[0].head;
    // printf text | openssl md5 -binary | base64
    assert!(
        head.contains(
            "content-md5: hnc7jtw90smmr++x3rryyw=="
                .to_lowercase()
                .as_str()
        ) || head.contains("content-md5: "),
        "{head}"
    );
    for not in [
        "if-none-match",
        "x-amz-checksum",
        "x-amz-trailer",
        "aws-chunked",
        "planted-secret",
    ] {
        assert!(!head.contains(not), "{not}: {head}");
    }
}

/// An object named by the SHA-256 of `text`.
fn digest_named() -> ObjectName {
    name("a/data/98/982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1")
}

#[tokio::test]
async fn an_object_named_by_its_sha256_is_signed_with_it_and_needs_no_md5() {
    let fake = Fake::always(200, "", "");
    let put = |store: S3, bytes: &'static [u8]| async move {
        let bytes = Bytes::from_static(bytes);
        store
            .put(&digest_named(), bytes, WriteMode::Overwrite)
            .await
            .unwrap();
    };
    put(fake.store().await, b"text").await;
    // What is signed is the name, whatever the bytes: the server is to refuse the rest.
    put(fake.store().await, b"damaged").await;
    for request in fake.requests() {
        assert!(
            request.head.contains(
                "x-amz-content-sha256: \
                 982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
            ) && !request.head.contains("content-md5"),
            "{}",
            request.head
        );
    }

    // Nothing is signed.
    let fake = Fake::always(200, "", "");
    let mut settings = fake.settings();
    settings.credentials = S3Credentials::Anonymous;
    put(S3::new(settings).await.unwrap(), b"text").await;
    let head = fake.requests().remove(0).head;
    assert!(head.contains("content-md5: "), "{head}");
}

#[tokio::test]
async fn a_server_that_wants_an_md5_gets_one_from_then_on() {
    // As AWS says it of a bucket under Object Lock.
    let fake = Fake::start(|request, _| {
        if request.head.contains("content-md5: ") {
            Reply::Answer(200, "", String::new())
        } else {
            let said = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object \
                        requests with Object Lock parameters";
            Reply::Answer(400, "", xml("InvalidRequest").replace("said", said))
        }
    });
    let store = fake.store().await;
    for _ in 0..2 {
        store
            .put(
                &digest_named(),
                Bytes::from_static(b"text"),
                WriteMode::Overwrite,
            )
            .await
            .unwrap();
    }
    assert_eq!(fake.requests().len(), 3);

    let fake = Fake::start(|_, _| Reply::Answer(400, "", xml("InvalidContentMD5")));
    put(&fake.store().await, WriteMode::Overwrite)
        .await
        .unwrap_err();
    assert_eq!(fake.requests().len(), 1, "what was sent is not asked for");
}

#[tokio::test]
async fn a_lock_is_asked_for_only_where_it_is_set_and_only_of_what_is_locked() {
    let fake = Fake::always(200, "", "");
    let mut settings = fake.settings();
    let time = Duration::from_secs(86_400);
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let locked = async |store: &S3| {
        let (mode, bytes) = (WriteMode::Overwrite, Bytes::from_static(b"text"));
        let object = name("a/b");
        let put = store.put_locked(&object, bytes, mode, until);
        put.await.unwrap();
    };
    locked(&S3::new(settings.clone()).await.unwrap()).await;
    let mode = S3LockMode::Compliance;
    settings.object_lock = Some(S3Lock { mode, time });
    let store = S3::new(settings).await.unwrap();
    assert_eq!(store.locks_for(), Some(time));
    put(&store, WriteMode::Overwrite).await.unwrap();
    locked(&store).await;
    let heads: Vec<String> = fake.requests().into_iter().map(|r| r.head).collect();
    for head in &heads[..2] {
        assert!(!head.contains("x-amz-object-lock"), "{head}");
    }
    for header in [
        "x-amz-object-lock-mode: compliance",
        // date -u -d @1800000000
        "x-amz-object-lock-retain-until-date: 2027-01-15t08:00:00z",
        "content-md5: ",
    ] {
        assert!(heads[2].contains(header), "{header}: {}", heads[2]);
    }
}

#[tokio::test]
async fn settings_reach_the_request() {
    let fake = Fake::always(200, "", "");
    let mut settings = fake.settings();
    settings.prefix = "pre/fix".to_owned();
    settings.checksum = S3Checksum::Algorithm("SHA256".to_owned());
    settings.server_side_encryption = Some("aws:kms".to_owned());
    settings.sse_kms_key_id = Some("key-1".to_owned());
    settings.storage_class = Some("STANDARD_IA".to_owned());
    put(&S3::new(settings).await.unwrap(), WriteMode::Overwrite)
        .await
        .unwrap();
    let request = fake.requests().remove(0);
    assert!(request.line.starts_with("PUT /bucket/pre/fix/a/b"));
    for header in [
        "x-amz-checksum-sha256: mc2eprmw9vnmm/trln7zdh2qn1o7zh0ahr/q1nwyyde=",
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: key-1",
        "x-amz-storage-class: standard_ia",
    ] {
        assert!(request.head.contains(header), "{header}: {}", request.head);
    }
    assert_eq!(request.body, b"text");

    let fake = Fake::always(200, "", "");
    let mut settings = fake.settings();
    settings.checksum = S3Checksum::Skip;
    settings.credentials = S3Credentials::Anonymous;
    put(&S3::new(settings).await.unwrap(), WriteMode::Overwrite)
        .await
        .unwrap();
    let head = fake.requests().remove(0).head;
    for not in ["content-md5", "checksum", "authorization"] {
        assert!(!head.contains(not), "{not}: {head}");
    }
}

#[tokio::test]
async fn a_server_without_conditions_is_asked_before_and_written_without() {
    let fake = Fake::start(|request, _| {
        if request.line.starts_with("HEAD") {
            Reply::Answer(404, "", String::new())
        } else if request.head.contains("if-none-match: *") {
            Reply::Answer(501, "", xml("NotImplemented"))
        } else {
            Reply::Answer(200, "", String::new())
        }
    });
    let store = fake.store().await;
    put(&store, WriteMode::CreateNew).await.unwrap();
    put(&store, WriteMode::CreateNew).await.unwrap();
    let lines: Vec<_> = fake
        .requests()
        .iter()
        .map(|request| request.line[..4].to_owned())
        .collect();
    assert_eq!(lines, ["HEAD", "PUT ", "PUT ", "HEAD", "PUT "]);

    // One that ignores the condition is not relied on either.
    let fake = Fake::always(200, "", "");
    let error = put(&fake.store().await, WriteMode::CreateNew)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::AlreadyExists);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn every_answer_is_translated_and_tells_no_secret() {
    for (status, headers, code, kind, text) in [
        (
            404,
            "",
            "NoSuchBucket",
            Kind::Other,
            "bucket bucket does not exist",
        ),
        (
            403,
            "",
            "SignatureDoesNotMatch",
            Kind::Denied,
            "check secret_access_key",
        ),
        (
            403,
            "",
            "RequestTimeTooSkewed",
            Kind::Denied,
            "set them (NTP)",
        ),
        (
            301,
            "x-amz-bucket-region: eu-west-1\r\n",
            "PermanentRedirect",
            Kind::Other,
            "set region: eu-west-1",
        ),
        (503, "", "SlowDown", Kind::Transient, "503 SlowDown: said"),
        (
            500,
            "",
            "InternalError",
            Kind::Transient,
            "500 InternalError",
        ),
        (
            507,
            "",
            "XMinioStorageFull",
            Kind::Other,
            "the store is full",
        ),
    ] {
        let body = xml(code).replace("said", "said planted-token planted-secret");
        let fake = Fake::start(move |_, _| Reply::Answer(status, headers, body.clone()));
        let store = fake.store().await;
        let errors = [
            put(&store, WriteMode::Overwrite).await.unwrap_err(),
            store.get(&name("a"), 10).await.unwrap_err(),
            store.list("a/", None).await.unwrap_err(),
            store.delete(&name("a")).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind, kind, "{error}");
            assert!(
                error
                    .message
                    .contains(&text.replace("said", "said [secret]")),
                "{error}"
            );
            assert!(
                !format!("{error} {error:?} {store:?}").contains("planted"),
                "{error:?}"
            );
        }
        assert_eq!(
            fake.requests().len(),
            4,
            "the SDK must not try again itself"
        );
    }
    let settings = Fake::always(200, "", "").settings();
    assert!(!format!("{settings:?}").contains("planted"));
}

#[tokio::test]
async fn a_page_that_is_no_s3_error_is_told_as_such() {
    let fake = Fake::always(
        502,
        "content-type: text/html\r\n",
        "<html><body>Bad Gateway</body></html>",
    );
    let error = put(&fake.store().await, WriteMode::Overwrite)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert!(
        error
            .message
            .contains("is a proxy or load balancer in between?"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_transfers_are_given_up() {
    let big = Bytes::from(vec![7; 16 << 20]);
    for reply in [|| Reply::Silence, || Reply::Deaf] {
        let fake = Fake::start(move |_, _| reply());
        let mut settings = fake.settings();
        settings.timeouts.request = Duration::from_secs(2);
        let store = S3::new(settings).await.unwrap();
        let error = store.get(&name("a"), 10).await.unwrap_err();
        assert_eq!(error.kind, Kind::Transient);
        assert!(error.message.contains("silent for 2.0 s"), "{error}");
    }
    // A body that nobody takes is noticed long before its whole time is over.
    let fake = Fake::start(|_, _| Reply::Deaf);
    let store = fake.store().await;
    let object = name("a");
    let put = store.put(&object, big, WriteMode::Overwrite);
    let error = tokio::time::timeout(Duration::from_secs(15), put)
        .await
        .expect("it stalls for ever")
        .unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert!(error.message.contains("silent for 1.0 s"), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_object() {
    let fake = Fake::start(|_, _| Reply::Torn);
    let error = fake.store().await.get(&name("a"), 100).await.unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert!(
        error.message.contains("broke off while sending it"),
        "{error}"
    );
}

#[tokio::test]
async fn a_listing_that_cannot_go_on_is_an_error_and_foreign_names_are_left_out() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let error = Fake::always(200, "", page)
        .store()
        .await
        .list("", None)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Other);

    let page = "<ListBucketResult><IsTruncated>false</IsTruncated>\
        <Contents><Key>b</Key><Size>2</Size></Contents>\
        <Contents><Key>a/</Key><Size>0</Size></Contents>\
        <Contents><Key>a/../b</Key><Size>0</Size></Contents>\
        <Contents><Key>a</Key><Size>1</Size><LastModified>2026-11-22T01:02:03.456Z</LastModified></Contents>\
        </ListBucketResult>";
    let found = Fake::always(200, "", page)
        .store()
        .await
        .list("", None)
        .await
        .unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|listed| (listed.name.as_str(), listed.size))
        .collect();
    assert_eq!(names, [("a", 1), ("b", 2)]);
    assert_eq!(
        crate::clock::rfc3339(found[0].modified),
        "2026-11-22T01:02:03Z"
    );
    assert_eq!(whole_seconds(found[0].modified), found[0].modified);
}

#[tokio::test]
async fn nobody_there_is_transient_and_says_why() {
    let mut settings = Fake::always(200, "", "").settings();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    settings.endpoint = Some(format!("http://{free}"));
    let error = put(
        &S3::new(settings.clone()).await.unwrap(),
        WriteMode::Overwrite,
    )
    .await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert!(error.message.contains("refuses connections"), "{error}");
    settings.endpoint = Some("http://no-such-host.invalid".to_owned());
    let error = put(&S3::new(settings).await.unwrap(), WriteMode::Overwrite).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert!(error.message.contains("DNS"), "{error}");
}

#[tokio::test]
async fn plain_http_on_a_port_that_should_speak_tls_is_told() {
    let fake = Fake::always(400, "", "");
    let mut settings = fake.settings();
    settings.endpoint = Some(format!("127.0.0.1:{}", fake.port));
    let error = put(&S3::new(settings).await.unwrap(), WriteMode::Overwrite).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::Other);
    assert!(error.message.contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_proxy_is_used_and_its_password_kept() {
    let fake = Fake::always(200, "", "");
    let mut settings = fake.settings();
    settings.endpoint = Some("http://s3.example.invalid".to_owned());
    settings.proxy = Some(S3Proxy {
        url: Secret::new(format!(
            "http://user:planted-password@127.0.0.1:{}",
            fake.port
        )),
        no_proxy: String::new(),
    });
    let store = S3::new(settings.clone()).await.unwrap();
    put(&store, WriteMode::Overwrite).await.unwrap();
    let request = fake.requests().remove(0);
    assert!(
        request
            .line
            .starts_with("PUT http://s3.example.invalid/bucket/a/b"),
        "{}",
        request.line
    );
    assert!(
        request.head.contains("proxy-authorization: "),
        "{}",
        request.head
    );
    assert!(!format!("{settings:?} {store:?}").contains("planted"));
}
