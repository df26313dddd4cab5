//! A real S3 server (versitygw) on a directory and a port of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lifeboat::secret::Secret;
use lifeboat::store::s3::{S3Credentials, S3Settings};

pub(crate) const ACCESS_KEY_ID: &str = "AKLIFEBOATTEST";
/// The bucket with Object Lock.
pub(crate) const LOCKED: &str = "locked";
pub(crate) const SECRET_ACCESS_KEY: &str = "planted-secret-access-key";

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    tls: bool,
    place: tempfile::TempDir,
    process: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::launch(None, false)
    }

    /// With TLS: certificate and key files.
    pub(crate) fn start_with(tls: Option<(&Path, &Path)>) -> Self {
        Self::launch(tls, false)
    }

    /// With a bucket that keeps versions.
    pub(crate) async fn with_versions() -> Self {
        let server = Self::launch(None, true);
        let client = server.client();
        let on = aws_sdk_s3::types::VersioningConfiguration::builder()
            .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
            .build();
        let request = client.put_bucket_versioning().bucket("bucket");
        request.versioning_configuration(on).send().await.unwrap();
        server
    }

    /// Writes an object behind Lifeboat's back, or deletes it.
    pub(crate) async fn spoil(&self, key: &str, bytes: Option<&[u8]>) {
        let client = self.client();
        match bytes {
            Some(bytes) => {
                let body = aws_sdk_s3::primitives::ByteStream::from(bytes.to_vec());
                let put = client.put_object().bucket("bucket").key(key);
                put.body(body).send().await.unwrap();
            }
            None => {
                let delete = client.delete_object().bucket("bucket").key(key);
                delete.send().await.unwrap();
            }
        }
    }

    /// This bucket as one of a source's stores.
    pub(crate) fn source(&self) -> serde_json::Value {
        serde_json::json!({
            "name": "s3", "bucket": "bucket", "use_path_style": true,
            "endpoint": format!("http://localhost:{}", self.port),
            "access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY,
        })
    }

    /// With a bucket `locked` that has Object Lock (and so keeps versions), beside the plain one.
    pub(crate) async fn with_locks() -> Self {
        let server = Self::launch(None, true);
        let request = server.client().create_bucket().bucket(LOCKED);
        let request = request.object_lock_enabled_for_bucket(true);
        request.send().await.unwrap();
        server
    }

    /// The SDK's own client, for what Lifeboat does not ask.
    pub(crate) fn client(&self) -> aws_sdk_s3::Client {
        let keys = aws_sdk_s3::config::Credentials::new(
            ACCESS_KEY_ID,
            SECRET_ACCESS_KEY,
            None,
            None,
            "test",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .endpoint_url(format!("http://localhost:{}", self.port))
            .force_path_style(true)
            .credentials_provider(keys);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    fn launch(tls: Option<(&Path, &Path)>, versions: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        for part in ["data/bucket", "sidecar", "versions"] {
            fs::create_dir_all(place.path().join(part)).unwrap();
        }
        for attempt in 0.. {
            // Somebody else may take the port between here and the server's start.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let mut command = Command::new(program());
            command
                .args(["--port", &format!("127.0.0.1:{port}"), "--quiet"])
                .args(["--access", ACCESS_KEY_ID, "--secret", SECRET_ACCESS_KEY])
                .args(["--region", "us-east-1", "--keep-alive"]);
            if let Some((certificate, key)) = tls {
                command.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
            command.arg("posix");
            // Behind a delete marker this server shows nothing new when it keeps attributes in files.
            if !versions {
                command.arg("--sidecar").arg(place.path().join("sidecar"));
            }
            if versions {
                let kept = place.path().join("versions");
                command.arg("--versioning-dir").arg(kept);
            }
            command
                .arg(place.path().join("data"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(place.path().join("log")).unwrap());
            let mut process = command.spawn().unwrap();
            if answers(port, &mut process) {
                return Self {
                    port,
                    tls: tls.is_some(),
                    place,
                    process,
                };
            }
            let log = fs::read_to_string(place.path().join("log")).unwrap_or_default();
            assert!(attempt < 3, "the S3 server did not start: {log}");
        }
        unreachable!("the loop ends by its assertion")
    }

    /// Where it keeps the objects of the bucket, as files.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.place.path().join("data/bucket")
    }

    pub(crate) fn settings(&self) -> S3Settings {
        let scheme = if self.tls { "https" } else { "http" };
        let mut settings = S3Settings::new("dc2", "bucket");
        settings.endpoint = Some(format!("{scheme}://localhost:{}", self.port));
        settings.use_path_style = true;
        settings.credentials = S3Credentials::Static {
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: Secret::new(SECRET_ACCESS_KEY),
            session_token: None,
        };
        settings
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn answers(port: u16, process: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && process.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(process.kill());
    drop(process.wait());
    false
}

/// `$FOUNDATION_S3`, else what `ci/setup` built, else one on the PATH.
#[allow(
    clippy::disallowed_methods,
    reason = "the tests' own environment says where their tools are"
)]
fn program() -> PathBuf {
    if let Ok(given) = std::env::var("FOUNDATION_S3") {
        return PathBuf::from(given);
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/versitygw");
    if built.exists() {
        return built;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("versitygw"))
        .find(|program| program.exists())
        .expect("the S3 server is missing: run ci/setup, or name versitygw in FOUNDATION_S3")
}
