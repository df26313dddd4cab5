//! A bucket that keeps versions.

use bytes::Bytes;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_keeps_versions_tells_them() {
    let server = Server::with_versions().await;
    let store = open(server.settings()).await;
    conformance::all(store.clone(), "scope", SystemClock.now()).await;
    let object = conformance::name("a/b");
    for text in ["first", "second"] {
        let bytes = Bytes::from(text);
        let mode = WriteMode::Overwrite;
        store.put(&object, bytes, mode).await.unwrap();
    }
    let versions = store.versions(&object).await.unwrap();
    assert_eq!(versions.len(), 2, "{versions:?}");
    let earlier = versions.iter().find(|version| !version.is_current).unwrap();
    let bytes = store.get_version(&object, earlier, 10).await.unwrap();
    assert_eq!(bytes, "first");
    // Behind a delete marker both are still there, and none is current.
    store.delete(&object).await.unwrap();
    let kept = store.versions(&object).await.unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|version| !version.is_current), "{kept:?}");
    let gone = store.get(&object, 10).await.unwrap_err();
    assert_eq!(gone.kind, Kind::NotFound);
}
