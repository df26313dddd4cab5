use super::super::WriteMode;
use super::super::conformance::name;
use super::super::faulty::{Fault, Faulty, Lines};
use super::super::memory::Memory;
use bytes::Bytes;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::monitor::Silent;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;

struct Setup {
    memories: Vec<Arc<Memory>>,
    faulty: Vec<Arc<Faulty>>,
    copies: Copies,
    lines: Arc<Lines>,
}

fn setup(names: &[&str], min_copies: usize) -> Setup {
    let clock = Arc::new(SystemClock);
    let memories: Vec<_> = names
        .iter()
        .map(|name| Arc::new(Memory::new(name, clock.clone())))
        .collect();
    let faulty: Vec<_> = memories
        .iter()
        .map(|memory| Arc::new(Faulty::new(Arc::clone(memory) as Arc<dyn Store>)))
        .collect();
    let stores = faulty
        .iter()
        .map(|store| Arc::clone(store) as Arc<dyn Store>)
        .collect();
    let lines = Arc::new(Lines::default());
    let copies = Copies::new(stores, min_copies, Arc::clone(&lines) as Arc<dyn Monitor>).unwrap();
    Setup {
        memories,
        faulty,
        copies,
        lines,
    }
}

async fn put(copies: &Copies, object: &str) -> Result<(), Error> {
    copies
        .put_all(
            &name(object),
            Bytes::from_static(b"text"),
            WriteMode::Overwrite,
        )
        .await
}

async fn get(copies: &Copies, object: &str) -> Result<Bytes, Error> {
    let check = |bytes: &Bytes| {
        if bytes == "text" {
            Ok(())
        } else {
            Err("its digest is not its name".to_owned())
        }
    };
    copies.get_first(&name(object), 100, check).await
}

#[test]
fn impossible_settings_are_refused() {
    let store = |name: &str| Arc::new(Memory::new(name, Arc::new(SystemClock))) as Arc<dyn Store>;
    let new = |stores, min| {
        Copies::new(stores, min, Arc::new(Silent))
            .unwrap_err()
            .to_string()
    };
    assert!(new(vec![], 1).contains("1 to 64 are needed"));
    assert!(new(vec![store("a"), store("a")], 1).contains("two have the name a"));
    assert!(new(vec![store("a")], 2).contains("min_copies: 2 is not between 1 and"));
    assert!(new(vec![store("a")], 0).contains("min_copies"));
}

#[tokio::test]
async fn a_store_that_vanishes_is_given_up_and_the_run_goes_on_when_one_copy_is_enough() {
    let Setup {
        memories,
        faulty,
        copies,
        lines,
    } = setup(&["dc2", "nas"], 1);
    put(&copies, "a").await.unwrap();
    faulty[1].always(Fault::Fail(Kind::Transient));
    put(&copies, "b").await.unwrap();
    let calls = faulty[1].calls();
    put(&copies, "c").await.unwrap();
    assert_eq!(
        faulty[1].calls(),
        calls,
        "a store given up is asked nothing more"
    );
    assert_eq!(copies.whole(), ["dc2"]);
    faulty[1].always(Fault::None);
    let committed = copies
        .commit(&name("m"), Bytes::from_static(b"m"))
        .await
        .unwrap();
    assert_eq!(committed.written, ["dc2"]);
    assert_eq!(
        committed.without,
        ["nas was given up (fails as it was told)"]
    );
    assert_eq!(memories[0].names(), ["a", "b", "c", "m"]);
    assert_eq!(memories[1].names(), ["a"]);
    let lines = lines.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("store nas is given up for this run"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_store_that_vanishes_ends_the_run_when_two_copies_are_asked_for() {
    let Setup {
        memories,
        faulty,
        copies,
        ..
    } = setup(&["dc2", "nas"], 2);
    put(&copies, "a").await.unwrap();
    faulty[1].always(Fault::Fail(Kind::Transient));
    let error = put(&copies, "b").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "b cannot be in 2 stores, as min_copies asks: nas was given up (fails as it was told)"
    );
    let refused = copies.commit(&name("m"), Bytes::new()).await.unwrap_err();
    assert!(refused.written.is_empty());
    assert_eq!(memories[0].names(), ["a", "b"]);
}

#[tokio::test]
async fn a_store_without_the_base_gets_objects_but_no_manifest() {
    let Setup {
        memories, copies, ..
    } = setup(&["dc2", "nas"], 1);
    copies.exclude_from_commit("nas", "it lacks the manifest of the base");
    put(&copies, "a").await.unwrap();
    let committed = copies.commit(&name("m"), Bytes::new()).await.unwrap();
    assert_eq!(committed.written, ["dc2"]);
    assert_eq!(memories[1].names(), ["a"]);
    assert_eq!(
        copies.standings()[1].1,
        Standing::ObjectsOnly("it lacks the manifest of the base".to_owned())
    );
}

#[tokio::test]
async fn a_commit_that_fails_midway_is_told_and_not_undone() {
    let Setup {
        memories,
        faulty,
        copies,
        ..
    } = setup(&["dc2", "nas"], 2);
    faulty[1].always(Fault::Fail(Kind::Denied));
    let failed = copies.commit(&name("m"), Bytes::new()).await.unwrap_err();
    assert_eq!(failed.written, ["dc2"]);
    assert!(
        failed
            .to_string()
            .contains("is only in dc2 and not in 2 stores as asked for: nas")
    );
    assert_eq!(memories[0].names(), ["m"]);

    // With the first store failing the second is not written: two cannot be reached.
    let Setup {
        memories,
        faulty,
        copies,
        ..
    } = setup(&["dc2", "nas"], 2);
    faulty[0].always(Fault::Fail(Kind::Denied));
    let failed = copies.commit(&name("m"), Bytes::new()).await.unwrap_err();
    assert!(failed.written.is_empty());
    assert!(memories[1].names().is_empty());

    let Setup {
        memories,
        faulty,
        copies,
        ..
    } = setup(&["dc2", "nas"], 1);
    faulty[0].always(Fault::Fail(Kind::Denied));
    let committed = copies.commit(&name("m"), Bytes::new()).await.unwrap();
    assert_eq!(committed.written, ["nas"]);
    assert_eq!(memories[1].names(), ["m"]);
}

#[tokio::test]
async fn giving_up_a_store_frees_the_uploads_that_wait_for_it() {
    let Setup { faulty, copies, .. } = setup(&["dc2", "nas"], 1);
    let copies = Arc::new(copies);
    faulty[1].always(Fault::Stall);
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        copies.give_up("nas", "it stalls");
    };
    // More than it is sent at once.
    let uploads = async {
        let names: Vec<_> = (0..3 * UPLOADS_PER_STORE)
            .map(|n| format!("a{n}"))
            .collect();
        let mut all = JoinSet::new();
        for object in names {
            let copies = Arc::clone(&copies);
            all.spawn(async move { put(&copies, &object).await });
        }
        for ended in all.join_all().await {
            ended.unwrap();
        }
    };
    tokio::join!(waiting, uploads);
    assert!(faulty[1].calls() <= UPLOADS_PER_STORE);
}

#[tokio::test]
async fn an_existing_object_or_a_signal_is_not_the_stores_fault() {
    let Setup { faulty, copies, .. } = setup(&["dc2", "nas"], 2);
    put(&copies, "a").await.unwrap();
    let again = copies
        .put_all(&name("a"), Bytes::new(), WriteMode::CreateNew)
        .await;
    assert_eq!(again.unwrap_err().kind, Kind::AlreadyExists);
    faulty[0].next([Fault::Fail(Kind::Stopped)]);
    assert_eq!(put(&copies, "b").await.unwrap_err().kind, Kind::Stopped);
    assert_eq!(copies.whole(), ["dc2", "nas"]);
}

#[tokio::test]
async fn reading_goes_on_until_a_copy_is_good() {
    let Setup {
        memories,
        faulty,
        copies,
        ..
    } = setup(&["dc2", "nas", "s3"], 1);
    put(&copies, "a").await.unwrap();
    memories[0].damage("a", |bytes| bytes[0] ^= 1);
    memories[1].delete(&name("a")).await.unwrap();
    assert_eq!(get(&copies, "a").await.unwrap(), "text");
    let faults: Vec<_> = copies.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "store dc2: a: its digest is not its name",
            "store nas: a: is not there"
        ]
    );
    memories[2].damage("a", Vec::clear);
    let error = get(&copies, "a").await.unwrap_err();
    assert_eq!(error.kind, Kind::Other);
    for part in ["dc2: its digest", "nas: is not there", "s3: its digest"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!(get(&copies, "none").await.unwrap_err().kind, Kind::NotFound);
    faulty[0].next([Fault::Fail(Kind::Transient)]);
    assert_eq!(
        get(&copies, "none").await.unwrap_err().kind,
        Kind::Transient
    );
}

#[tokio::test]
async fn a_silent_store_is_asked_last() {
    let Setup { faulty, copies, .. } = setup(&["dc2", "nas"], 1);
    put(&copies, "a").await.unwrap();
    faulty[0].next([Fault::Fail(Kind::Transient)]);
    get(&copies, "a").await.unwrap();
    let calls = faulty[0].calls();
    get(&copies, "a").await.unwrap();
    assert_eq!(faulty[0].calls(), calls);
}

#[tokio::test]
async fn a_union_tells_who_has_what() {
    let Setup {
        memories,
        faulty,
        copies,
        ..
    } = setup(&["dc2", "nas", "s3"], 1);
    put(&copies, "b/1").await.unwrap();
    memories[1]
        .put(&name("b/0"), Bytes::new(), WriteMode::Overwrite)
        .await
        .unwrap();
    faulty[2].always(Fault::Fail(Kind::Transient));
    let union = copies.list_union("b/", None).await.unwrap();
    let found: Vec<_> = union
        .objects
        .iter()
        .map(|found| {
            (
                found.listed.name.as_str(),
                copies.names_of(found.stores).join(" "),
            )
        })
        .collect();
    assert_eq!(
        found,
        [("b/0", "nas".to_owned()), ("b/1", "dc2 nas".to_owned())]
    );
    assert!(union.objects[1].stores.contains_all(union.answered));
    assert!(!union.objects[0].stores.contains_all(union.answered));
    assert_eq!(union.silent.len(), 1);
    for store in &faulty {
        store.always(Fault::Fail(Kind::Transient));
    }
    let error = copies.list_union("b/", None).await.unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    let each = copies.get_each(&name("b/1"), 10).await;
    assert_eq!(each.len(), 3);
}

/// A clock that is off.
#[derive(Debug)]
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> SystemTime {
        let off = Duration::from_secs(self.0.unsigned_abs());
        if self.0 < 0 {
            SystemClock.now() - off
        } else {
            SystemClock.now() + off
        }
    }
}

#[tokio::test]
async fn a_probe_finds_what_would_fail_later() {
    let Setup {
        faulty,
        memories,
        copies,
        ..
    } = setup(&["dc2", "nas", "s3"], 1);
    faulty[1].always(Fault::Fail(Kind::Denied));
    faulty[2].always(Fault::Tear);
    let results = copies
        .probe("east", Arc::new(SystemClock), "abc")
        .await
        .unwrap();
    assert_eq!(results[0], ("dc2".to_owned(), Ok(())));
    assert_eq!(results[1].1.as_ref().unwrap_err().kind, Kind::Denied);
    assert!(
        results[2]
            .1
            .as_ref()
            .unwrap_err()
            .message
            .contains("other bytes are read back")
    );
    assert_eq!(memories[0].names(), ["east/probe"]);
    assert!(
        copies
            .probe("../east", Arc::new(SystemClock), "abc")
            .await
            .is_err()
    );

    let Setup { copies, .. } = setup(&["dc2"], 1);
    for (seconds, text) in [(900, "behind ours"), (-900, "ahead of ours")] {
        let results = copies
            .probe("east", Arc::new(Off(seconds)), "abc")
            .await
            .unwrap();
        let error = results[0].1.as_ref().unwrap_err().to_string();
        assert!(
            error.contains(text) && error.contains("5 min 00 s"),
            "{error}"
        );
    }
    assert_eq!(
        copies.probe("east", Arc::new(Off(200)), "x").await.unwrap()[0].1,
        Ok(())
    );
}
