//! What every store must do: one suite of plain functions, run on each kind.
//!
//! Integration tests include this file too (`#[path]`), so it names the port through `super`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Error, Kind, ObjectName, Store, WriteMode};

/// Everything, below a name that nothing else uses. `now` is our time.
pub(crate) async fn all(store: Arc<dyn Store>, scope: &str, now: SystemTime) {
    let at = |part: &str| format!("{scope}/{part}");
    what_is_put_is_read_back(&*store, &at("put")).await;
    nothing_there_is_not_found(&*store, &at("none")).await;
    create_new_refuses_what_is_there(&*store, &at("new")).await;
    a_limit_is_kept(&*store, &at("limit")).await;
    a_listing_is_in_byte_order(&*store, &at("list")).await;
    a_listing_begins_after_a_name(&*store, &at("after")).await;
    a_prefix_is_text_and_not_a_directory(&*store, &at("prefix")).await;
    folders_are_one_level(&*store, &at("folders")).await;
    head_tells_size_and_time(&*store, &at("head"), now).await;
    delete_can_be_repeated(&*store, &at("delete")).await;
    versions_are_of_one_object(&*store, &at("versions")).await;
    one_of_many_creators_wins(store, &at("race"), 8).await;
}

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

async fn write(store: &dyn Store, object: &str, text: &str) {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    store
        .put(&name(object), bytes, WriteMode::Overwrite)
        .await
        .unwrap();
}

async fn names(store: &dyn Store, prefix: &str, after: Option<&str>) -> Vec<String> {
    let listed = store.list(prefix, after).await.unwrap();
    listed.into_iter().map(|listed| listed.name).collect()
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>, store: &dyn Store) -> Kind {
    let error = result.unwrap_err();
    assert_eq!(error.store, store.name());
    assert!(
        !error.message.is_empty() && !error.message.ends_with('.'),
        "{error}"
    );
    error.kind
}

async fn what_is_put_is_read_back(store: &dyn Store, scope: &str) {
    let big = Bytes::from(
        (0..17 * 1024 * 1024_u32)
            .map(|n| (n % 251) as u8)
            .collect::<Vec<_>>(),
    );
    for (number, bytes) in [Bytes::new(), Bytes::from_static(b"\0\xff"), big]
        .iter()
        .enumerate()
    {
        let object = name(&format!("{scope}/ab/object-{number}_x.age"));
        for _ in 0..2 {
            store
                .put(&object, bytes.clone(), WriteMode::Overwrite)
                .await
                .unwrap();
            assert!(store.get(&object, 20 << 20).await.unwrap() == *bytes);
        }
    }
    let object = name(&format!("{scope}/twice"));
    store
        .put(&object, Bytes::from_static(b"one"), WriteMode::Overwrite)
        .await
        .unwrap();
    store
        .put(&object, Bytes::from_static(b"2"), WriteMode::Overwrite)
        .await
        .unwrap();
    assert_eq!(store.get(&object, 10).await.unwrap(), "2");
}

async fn nothing_there_is_not_found(store: &dyn Store, scope: &str) {
    let object = name(&format!("{scope}/deep/er/x"));
    assert_eq!(kind(store.get(&object, 10).await, store), Kind::NotFound);
    assert_eq!(store.head(&object).await.unwrap(), None);
    assert_eq!(names(store, scope, None).await, Vec::<String>::new());
    assert_eq!(names(store, "../../etc/", None).await, Vec::<String>::new());
}

async fn create_new_refuses_what_is_there(store: &dyn Store, scope: &str) {
    let object = name(&format!("{scope}/x"));
    store
        .put(&object, Bytes::from_static(b"first"), WriteMode::CreateNew)
        .await
        .unwrap();
    let again = store
        .put(&object, Bytes::from_static(b"second"), WriteMode::CreateNew)
        .await;
    assert_eq!(kind(again, store), Kind::AlreadyExists);
    assert_eq!(store.get(&object, 10).await.unwrap(), "first");
}

async fn a_limit_is_kept(store: &dyn Store, scope: &str) {
    let object = name(&format!("{scope}/x"));
    write(store, object.as_str(), "12345").await;
    assert_eq!(kind(store.get(&object, 4).await, store), Kind::TooLarge);
    assert_eq!(store.get(&object, 5).await.unwrap(), "12345");
}

async fn a_listing_is_in_byte_order(store: &dyn Store, scope: &str) {
    // '-' and '.' sort before '/', digits and letters after it, capitals before small ones.
    let mut wanted: Vec<_> = ["a/b", "a-b", "a.b/c", "a0", "a/b0/c", "Z", "a/b-/d", "b"]
        .iter()
        .map(|part| format!("{scope}/{part}x"))
        .collect();
    for object in &wanted {
        write(store, object, object).await;
    }
    wanted.sort();
    assert_eq!(names(store, &format!("{scope}/"), None).await, wanted);
    for listed in store.list(scope, None).await.unwrap() {
        assert_eq!(listed.size, listed.name.len() as u64);
    }
}

async fn a_listing_begins_after_a_name(store: &dyn Store, scope: &str) {
    let objects: Vec<_> = ["a/1", "a/2", "a/3", "b/1", "c"]
        .iter()
        .map(|part| format!("{scope}/{part}"))
        .collect();
    for object in &objects {
        write(store, object, "x").await;
    }
    let prefix = format!("{scope}/");
    for (number, object) in objects.iter().enumerate() {
        assert_eq!(
            names(store, &prefix, Some(object)).await,
            objects[number + 1..]
        );
    }
    // A name that is not there, one before the prefix, one after all.
    let between = format!("{scope}/a/20");
    assert_eq!(names(store, &prefix, Some(&between)).await, objects[2..]);
    assert_eq!(names(store, &prefix, Some("!")).await, objects);
    assert_eq!(names(store, &prefix, Some("~")).await, Vec::<String>::new());
}

async fn a_prefix_is_text_and_not_a_directory(store: &dyn Store, scope: &str) {
    for part in [
        "chain/data/ab/1",
        "chain/data/ac/2",
        "chain2/data/ab/3",
        "chai",
    ] {
        write(store, &format!("{scope}/{part}"), "x").await;
    }
    for (prefix, wanted) in [
        ("chain", 3),
        ("chain/", 2),
        ("chain/data/ab", 1),
        ("chai", 4),
        ("x", 0),
    ] {
        let found = names(store, &format!("{scope}/{prefix}"), None).await;
        assert_eq!(found.len(), wanted, "{prefix}: {found:?}");
    }
}

async fn folders_are_one_level(store: &dyn Store, scope: &str) {
    for part in [
        "chains/b/x",
        "chains/b/y",
        "chains/a/data/ab/1",
        "chains/c",
        "d/x",
    ] {
        write(store, &format!("{scope}/{part}"), "x").await;
    }
    for (prefix, wanted) in [
        ("/chains/", vec!["a", "b"]),
        ("/", vec!["chains", "d"]),
        ("/chains/b/", vec![]),
        ("/chains/none/", vec![]),
    ] {
        let found = store.folders(&format!("{scope}{prefix}")).await.unwrap();
        assert_eq!(found, wanted, "{prefix}");
    }
}

async fn head_tells_size_and_time(store: &dyn Store, scope: &str, now: SystemTime) {
    let object = name(&format!("{scope}/x"));
    write(store, object.as_str(), "12345").await;
    let head = store.head(&object).await.unwrap().unwrap();
    assert_eq!((head.name.as_str(), head.size), (object.as_str(), 5));
    let apart = head
        .modified
        .duration_since(now)
        .or_else(|_| now.duration_since(head.modified));
    assert!(apart.unwrap() < Duration::from_secs(120), "{head:?}");
    let nanos = head
        .modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    assert_eq!(nanos, 0);
    assert_eq!(store.list(object.as_str(), None).await.unwrap(), [head]);
}

async fn delete_can_be_repeated(store: &dyn Store, scope: &str) {
    let object = name(&format!("{scope}/a/x"));
    write(store, object.as_str(), "x").await;
    store.delete(&object).await.unwrap();
    store.delete(&object).await.unwrap();
    assert_eq!(store.head(&object).await.unwrap(), None);
    write(store, object.as_str(), "again").await;
    assert_eq!(store.get(&object, 10).await.unwrap(), "again");
}

/// A store keeps no versions, or tells them whole.
async fn versions_are_of_one_object(store: &dyn Store, scope: &str) {
    let object = name(&format!("{scope}/x"));
    for text in ["one", "three"] {
        write(store, object.as_str(), text).await;
        write(store, &format!("{object}-longer"), "other").await;
    }
    let versions = store.versions(&object).await.unwrap();
    let current = versions.iter().filter(|version| version.is_current).count();
    assert!(versions.is_empty() || current == 1, "{versions:?}");
    for version in &versions {
        let bytes = store.get_version(&object, version, 5).await.unwrap();
        assert_eq!(bytes.len() as u64, version.size);
        assert!(
            ["one", "three"].map(Bytes::from).contains(&bytes),
            "{bytes:?}"
        );
        assert_eq!(version.is_current, bytes == "three");
        let limited = store.get_version(&object, version, 2).await;
        assert_eq!(kind(limited, store), Kind::TooLarge);
    }
    let none = store.versions(&name(&format!("{scope}/none"))).await;
    assert_eq!(none.unwrap(), []);
}

async fn one_of_many_creators_wins(store: Arc<dyn Store>, scope: &str, creators: usize) {
    for round in 0..5 {
        let object = name(&format!("{scope}/{round}/x"));
        let mut racing = JoinSet::new();
        for creator in 0..creators {
            let (store, object) = (Arc::clone(&store), object.clone());
            racing.spawn(async move {
                let bytes = Bytes::from(format!("creator {creator}"));
                (
                    creator,
                    store.put(&object, bytes, WriteMode::CreateNew).await,
                )
            });
        }
        let mut winners = BTreeSet::new();
        while let Some(ended) = racing.join_next().await {
            let (creator, result) = ended.unwrap();
            match result {
                Ok(()) => drop(winners.insert(creator)),
                // A server may ask both to try again.
                Err(error) => assert!(
                    matches!(error.kind, Kind::AlreadyExists | Kind::Transient),
                    "{error}"
                ),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let wanted = format!("creator {}", winners.first().unwrap());
        assert_eq!(store.get(&object, 100).await.unwrap(), wanted);
    }
}

/// More objects than one page of a listing has (1,000 on S3).
pub(crate) async fn a_listing_has_many_pages(store: Arc<dyn Store>, scope: &str, objects: usize) {
    let wanted: Vec<_> = (0..objects)
        .map(|n| format!("{scope}/{:02x}/{n:06}", n % 256))
        .collect();
    let mut writers = JoinSet::new();
    for part in wanted.chunks(objects.div_ceil(8)) {
        let (part, store) = (part.to_vec(), Arc::clone(&store));
        writers.spawn(async move {
            for object in part {
                write(&*store, &object, "x").await;
            }
        });
    }
    writers.join_all().await;
    let mut wanted = wanted;
    wanted.sort();
    assert_eq!(names(&*store, &format!("{scope}/"), None).await, wanted);
    let after = &wanted[objects / 3];
    assert_eq!(
        names(&*store, scope, Some(after)).await,
        wanted[objects / 3 + 1..]
    );
}
