//! Full and read-only file systems: mounted in a mount namespace of a process of our own.

use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use lifeboat::store::directory::{Directory, DirectorySettings};

use super::conformance::name;
use super::*;

/// Names the directory that has the mounts, in the process that has them.
const PLACE: &str = "LIFEBOAT_TEST_MOUNTS";

/// Runs the test of this name again, with `$LIFEBOAT_TEST_MOUNTS/full` (256 KiB) and `…/ro`.
fn again_with_mounts(test: &str) {
    let place = tempfile::tempdir().unwrap();
    let script = r#"
        set -eu
        cd "$LIFEBOAT_TEST_MOUNTS"
        mkdir full ro
        mount -t tmpfs -o size=256k none full
        mount -t tmpfs none ro
        mkdir ro/a && echo text > ro/a/b
        mount -o remount,ro ro
        exec "$0" --exact --include-ignored --nocapture "$1"
    "#;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(PLACE, place.path())
        .output()
        .expect("unshare (util-linux) is missing");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[allow(clippy::disallowed_methods, reason = "set by the test itself")]
fn mounted(part: &str) -> Option<Directory> {
    let path = PathBuf::from(std::env::var(PLACE).ok()?).join(part);
    let settings = DirectorySettings {
        name: "nas".to_owned(),
        path,
    };
    Some(Directory::new(settings, Arc::new(SystemClock)))
}

async fn put(store: &Directory, object: &str, size: usize) -> Result<(), Error> {
    let bytes = Bytes::from(vec![7; size]);
    store.put(&name(object), bytes, WriteMode::Overwrite).await
}

#[tokio::test]
async fn a_full_disk_is_told_and_shows_no_half_object() {
    let Some(store) = mounted("full") else {
        return again_with_mounts("stores::mounts::a_full_disk_is_told_and_shows_no_half_object");
    };
    put(&store, "a/1", 100 << 10).await.unwrap();
    let error = put(&store, "a/2", 300 << 10).await.unwrap_err();
    assert_eq!(error.kind, Kind::Other);
    assert!(error.message.contains("the store is full"), "{error}");
    let listed = store.list("", None).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].name.as_str(), listed[0].size),
        ("a/1", 100 << 10)
    );
    // The half was removed: there is room for a whole one.
    put(&store, "a/3", 100 << 10).await.unwrap();
    // Nor is the old object lost when a new one has no room.
    put(&store, "a/1", 200 << 10).await.unwrap_err();
    assert_eq!(
        store.get(&name("a/1"), 1 << 20).await.unwrap().len(),
        100 << 10
    );
}

#[tokio::test]
async fn a_read_only_directory_can_be_read_and_says_why_not_written() {
    let Some(store) = mounted("ro") else {
        let test = "stores::mounts::a_read_only_directory_can_be_read_and_says_why_not_written";
        return again_with_mounts(test);
    };
    assert_eq!(store.get(&name("a/b"), 10).await.unwrap(), "text\n");
    for error in [
        put(&store, "a/c", 1).await.unwrap_err(),
        store.delete(&name("a/b")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, Kind::Denied);
        assert!(error.message.contains("is mounted read-only"), "{error}");
    }
}
