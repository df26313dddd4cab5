use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::conformance::{self, name};
use super::*;
use crate::clock::SystemClock;

fn open(path: &Path) -> Arc<Directory> {
    let settings = DirectorySettings {
        name: "nas".to_owned(),
        path: path.to_owned(),
    };
    Arc::new(Directory::new(settings, Arc::new(SystemClock)))
}

async fn put(store: &Directory, object: &str, mode: WriteMode) -> Result<(), Error> {
    store
        .put(&name(object), Bytes::from_static(b"text"), mode)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_a_store() {
    let place = tempfile::tempdir().unwrap();
    conformance::all(open(place.path()), "scope", SystemClock.now()).await;
    conformance::a_listing_has_many_pages(open(place.path()), "many", 2500).await;
    assert_eq!(fs::read_dir(place.path().join(".tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_not_created() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("mnt");
    for error in [
        put(&open(&path), "a/b", WriteMode::Overwrite)
            .await
            .unwrap_err(),
        open(&path).list("", None).await.unwrap_err(),
        open(&path).get(&name("a"), 1).await.unwrap_err(),
        open(&path).head(&name("a")).await.unwrap_err(),
        open(&path).delete(&name("a")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, Kind::Other);
        assert!(
            error.to_string().contains("does not exist; is it mounted?"),
            "{error}"
        );
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn a_killed_writer_leaves_nothing_that_is_listed() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let root = store.files.open_root().unwrap();
    // What a kill between writing and naming leaves: the file, and nobody to remove it.
    std::mem::forget(store.files.write_temporary(&root, b"half").unwrap());
    let leftover = fs::read_dir(place.path().join(".tmp"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(store.list("", None).await.unwrap(), []);
    // A young one may belong to another worker that is writing it.
    put(&store, "a", WriteMode::Overwrite).await.unwrap();
    assert!(leftover.exists());
    let old = SystemClock.now() - LEFTOVER_AGE - Duration::from_secs(60);
    fs::File::open(&leftover)
        .unwrap()
        .set_modified(old)
        .unwrap();
    put(&open(place.path()), "b", WriteMode::Overwrite)
        .await
        .unwrap();
    assert!(!leftover.exists());
}

#[tokio::test]
async fn links_and_strangers_are_neither_followed_nor_listed() {
    let place = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), "outside").unwrap();
    symlink(outside.path(), place.path().join("link")).unwrap();
    symlink(outside.path().join("x"), place.path().join("x")).unwrap();
    fs::write(place.path().join("lost+found"), "").unwrap();
    fs::create_dir(place.path().join(".snapshot")).unwrap();
    fs::write(place.path().join(".snapshot/x"), "").unwrap();
    let store = open(place.path());
    assert_eq!(store.list("", None).await.unwrap(), []);
    assert_eq!(store.list("link/", None).await.unwrap(), []);
    for object in ["link/x", "x"] {
        let error = store.get(&name(object), 100).await.unwrap_err();
        assert_eq!(error.kind, Kind::Other, "{error}");
        assert!(error.message.contains("links are not followed"), "{error}");
    }
    assert!(put(&store, "link/y", WriteMode::Overwrite).await.is_err());
    assert!(put(&store, "x", WriteMode::CreateNew).await.is_err());
    put(&store, "x", WriteMode::Overwrite).await.unwrap();
    assert_eq!(
        fs::read_to_string(outside.path().join("x")).unwrap(),
        "outside"
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn empty_directories_go_with_their_last_object() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    put(&store, "a/b/c", WriteMode::Overwrite).await.unwrap();
    put(&store, "a/d", WriteMode::Overwrite).await.unwrap();
    store.delete(&name("a/b/c")).await.unwrap();
    assert!(!place.path().join("a/b").exists());
    assert!(place.path().join("a/d").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_and_deleters_of_one_directory_do_not_disturb_each_other() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let deleting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..300 {
                store.delete(&name("a/b/x")).await.unwrap();
            }
        })
    };
    for _ in 0..300 {
        put(&store, "a/b/x", WriteMode::Overwrite).await.unwrap();
        put(&store, "a/b/y", WriteMode::Overwrite).await.unwrap();
        store.delete(&name("a/b/y")).await.unwrap();
    }
    deleting.await.unwrap();
}

#[test]
fn every_failure_of_the_file_system_is_a_sentence() {
    use rustix::io::Errno;
    let files = Files::new("nas", "/mnt/nas".into());
    for (errno, kind, text) in [
        (Errno::NOSPC, Kind::Other, "the store is full"),
        (Errno::DQUOT, Kind::Other, "the store is full"),
        (Errno::ROFS, Kind::Denied, "/mnt/nas is mounted read-only"),
        (
            Errno::ACCESS,
            Kind::Denied,
            "no permission to write in /mnt/nas",
        ),
        (Errno::XDEV, Kind::Other, "another file system"),
        (Errno::STALE, Kind::Transient, "cannot write in /mnt/nas"),
        (Errno::IO, Kind::Transient, "cannot write in /mnt/nas"),
    ] {
        let error = files.failed("a/b", "write", errno);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().starts_with("store nas: a/b: "), "{error}");
        assert!(error.message.contains(text), "{error}");
    }
}
