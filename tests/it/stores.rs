//! The stores against what they are made for: a real S3 server, real file systems.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../../src/store/conformance.rs"]
mod conformance;
mod locks;
mod mounts;
pub(crate) mod server;
mod trouble;
mod versions;

use std::sync::Arc;

use lifeboat::clock::{Clock, SystemClock};
use lifeboat::store::s3::{S3, S3Settings};
use lifeboat::store::{Error, Kind, ObjectName, Store, WriteMode};

use server::Server;

async fn open(settings: S3Settings) -> Arc<S3> {
    Arc::new(S3::new(settings).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_a_store() {
    let server = Server::start();
    let store = open(server.settings()).await;
    conformance::all(store.clone(), "scope", SystemClock.now()).await;
    conformance::a_listing_has_many_pages(store, "many", 2500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_a_prefix_is_a_store() {
    let server = Server::start();
    let mut settings = server.settings();
    settings.prefix = "/team a/backups/".to_owned();
    let store = open(settings).await;
    conformance::all(store.clone(), "scope", SystemClock.now()).await;
    assert!(server.bucket().join("team a/backups/scope").is_dir());
    // Neither what is beside the prefix nor the prefix itself is ever listed.
    let beside = open(server.settings()).await;
    let bytes = bytes::Bytes::from_static(b"x");
    let name = conformance::name("beside");
    beside
        .put(&name, bytes, WriteMode::Overwrite)
        .await
        .unwrap();
    for listed in store.list("", None).await.unwrap() {
        assert!(listed.name.starts_with("scope/"), "{listed:?}");
    }
}
