//! What goes wrong with a real server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use lifeboat::monitor::{Level, Monitor};
use lifeboat::secret::Secret;
use lifeboat::shutdown::Shutdown;
use lifeboat::store::copies::{Copies, Standing};
use lifeboat::store::memory::Memory;
use lifeboat::store::patience::Patience;
use lifeboat::store::retry::{Retry, RetrySettings};
use lifeboat::store::s3::S3Credentials;

use super::conformance::name;
use super::server::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server};
use super::*;

/// Remembers what is said.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl Monitor for Lines {
    fn say(&self, _: Level, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

async fn put(store: &dyn Store) -> Result<(), Error> {
    let bytes = Bytes::from_static(b"text");
    store.put(&name("a/b"), bytes, WriteMode::Overwrite).await
}

/// The error of writing, which every other call of such a store gives as well.
async fn refused(settings: S3Settings) -> Error {
    let store = open(settings).await;
    let error = put(&*store).await.unwrap_err();
    for other in [
        store.get(&name("a"), 10).await.unwrap_err(),
        store.list("", None).await.unwrap_err(),
    ] {
        assert_eq!(other.kind, error.kind, "{other}");
    }
    assert!(!format!("{error:?} {store:?}").contains(SECRET_ACCESS_KEY));
    error
}

#[tokio::test]
async fn wrong_credentials_and_buckets_are_told_apart() {
    let server = Server::start();
    let mut settings = server.settings();
    settings.bucket = "nowhere".to_owned();
    let error = refused(settings).await;
    assert_eq!(error.kind, Kind::Other);
    assert!(
        error.message.contains("bucket nowhere does not exist"),
        "{error}"
    );

    let as_user = |access_key_id: &str, secret: &str| {
        let mut settings = server.settings();
        settings.credentials = S3Credentials::Static {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: Secret::new(secret),
            session_token: None,
        };
        settings
    };
    let error = refused(as_user("AKNOBODY", SECRET_ACCESS_KEY)).await;
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(
        error.message.contains("does not know this access_key_id"),
        "{error}"
    );
    let error = refused(as_user(ACCESS_KEY_ID, "another-secret-key")).await;
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(error.message.contains("check secret_access_key"), "{error}");
    assert!(!error.to_string().contains("another-secret-key"), "{error}");

    let mut settings = server.settings();
    settings.credentials = S3Credentials::Anonymous;
    assert_eq!(refused(settings).await.kind, Kind::Denied);

    let mut settings = server.settings();
    settings.region = "eu-west-1".to_owned();
    let error = refused(settings).await;
    assert_eq!(error.kind, Kind::Other);
    assert!(error.message.contains("set region: us-east-1"), "{error}");
}

/// A CA and a certificate of it for localhost.
fn certificates(place: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let script = r#"
        set -eu
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj "/CN=test CA" -keyout ca.key -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -subj "/CN=localhost" -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost\n' > ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile ext -out server.pem
    "#;
    let mut shell = Command::new("sh");
    let output = shell
        .args(["-c", script])
        .current_dir(place)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (
        place.join("ca.pem"),
        place.join("server.pem"),
        place.join("server.key"),
    )
}

#[tokio::test]
async fn only_the_given_ca_is_trusted() {
    let (own, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ca, certificate, key) = certificates(own.path());
    let (foreign_ca, ..) = certificates(foreign.path());
    let server = Server::start_with(Some((&certificate, &key)));
    let with = |ca: Option<&Path>| {
        let mut settings = server.settings();
        settings.ca_cert = ca.map(|path| std::fs::read_to_string(path).unwrap());
        settings
    };
    put(&*open(with(Some(&ca))).await).await.unwrap();
    let error = refused(with(Some(&foreign_ca))).await;
    assert_eq!(error.kind, Kind::Other);
    assert!(
        error.message.contains("is not signed by ca_cert"),
        "{error}"
    );
    let error = refused(with(None)).await;
    assert!(error.message.contains("set ca_cert"), "{error}");
    let mut settings = with(Some(&ca));
    settings.endpoint = Some(format!("https://127.0.0.1:{}", server.port));
    let error = refused(settings).await;
    assert!(
        error.message.contains("is for another host name"),
        "{error}"
    );
}

async fn copies(server: &Server, min_copies: usize) -> (Copies, Arc<Memory>, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    let monitor: Arc<dyn Monitor> = lines.clone();
    let settings = RetrySettings {
        first_pause: Duration::from_millis(20),
        ..RetrySettings::default()
    };
    let bucket = open(server.settings()).await;
    let patience = Patience::new(Duration::from_secs(1));
    let bucket = Retry::new(
        bucket,
        settings,
        patience,
        monitor.clone(),
        Shutdown::never(),
    );
    let memory = Arc::new(Memory::new("nas", Arc::new(SystemClock)));
    let stores: Vec<Arc<dyn Store>> = vec![Arc::new(bucket), memory.clone()];
    (
        Copies::new(stores, min_copies, monitor).unwrap(),
        memory,
        lines,
    )
}

async fn put_all(copies: &Copies, object: &str) -> Result<(), Error> {
    let bytes = Bytes::from_static(b"text");
    copies
        .put_all(&name(object), bytes, WriteMode::Overwrite)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_costs_one_copy() {
    for (min_copies, goes_on) in [(1, true), (2, false)] {
        let mut server = Server::start();
        let (copies, memory, lines) = copies(&server, min_copies).await;
        let results = copies
            .probe("east", Arc::new(SystemClock), "1")
            .await
            .unwrap();
        assert!(
            results.iter().all(|(_, result)| result.is_ok()),
            "{results:?}"
        );
        put_all(&copies, "a").await.unwrap();
        server.kill();
        let result = put_all(&copies, "b").await;
        assert_eq!(result.is_ok(), goes_on, "{result:?}");
        let Standing::GivenUp(reason) = &copies.standings()[0].1 else {
            panic!("{copies:?}");
        };
        assert!(
            reason.contains("refuses connections") && reason.contains(" (tried "),
            "{reason}"
        );
        let lines = std::mem::take(&mut *lines.0.lock().unwrap());
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("does not answer") && lines[1].contains("given up"),
            "{lines:?}"
        );
        let committed = copies.commit(&name("m"), Bytes::from_static(b"m")).await;
        assert_eq!(committed.is_ok(), goes_on);
        assert_eq!(memory.names().contains(&"m".to_owned()), goes_on);
        // What is there can still be read, and the union tells who was silent.
        let read = copies.get_first(&name("a"), 10, |_| Ok(())).await.unwrap();
        assert_eq!(read, "text");
        let union = copies.list_union("a", None).await.unwrap();
        assert_eq!(union.silent.len(), 1);
        assert_eq!(copies.names_of(union.answered), ["nas"]);
    }
}
