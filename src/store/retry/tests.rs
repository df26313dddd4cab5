//! Waiting for a store that fails as it is told.

use super::super::conformance::{self, name};
use super::super::faulty::{Fault, Faulty, Lines};
use super::super::memory::Memory;
use super::*;
use crate::clock::{Clock, SystemClock};

struct Setup {
    faulty: Arc<Faulty>,
    retry: Arc<Retry>,
    patience: Patience,
    lines: Arc<Lines>,
    shutdown: Shutdown,
}

fn setup() -> Setup {
    let memory = Arc::new(Memory::new("dc2", Arc::new(SystemClock)));
    let faulty = Arc::new(Faulty::new(memory));
    let settings = RetrySettings {
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(20),
        attempt: Duration::from_millis(200),
        listing: Duration::from_millis(200),
        after_signal: Duration::from_millis(100),
    };
    let patience = Patience::new(Duration::from_millis(300));
    let lines = Arc::new(Lines::default());
    let shutdown = Shutdown::new();
    let store: Arc<dyn Store> = faulty.clone();
    let retry = Arc::new(Retry::new(
        store,
        settings,
        patience.clone(),
        lines.clone(),
        shutdown.clone(),
    ));
    Setup {
        faulty,
        retry,
        patience,
        lines,
        shutdown,
    }
}

async fn put(store: &dyn Store, mode: WriteMode) -> Result<(), Error> {
    store
        .put(&name("a"), Bytes::from_static(b"text"), mode)
        .await
}

const TRANSIENT: Fault = Fault::Fail(Kind::Transient);

#[tokio::test]
async fn a_store_that_fails_for_a_while_is_waited_for_and_told_of_once() {
    let Setup {
        faulty,
        retry,
        lines,
        ..
    } = setup();
    faulty.next([TRANSIENT; 4]);
    put(&*retry, WriteMode::Overwrite).await.unwrap();
    assert_eq!(faulty.calls(), 5);
    let said = lines.take();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(
        said[0],
        "store dc2 does not answer (fails as it was told), trying again for up to 0 s"
    );
    assert!(said[1].starts_with("store dc2 answers again after "));
    // One failure alone is not worth a line, nor is the next outage soon after.
    for failures in [1, 4] {
        faulty.next(vec![TRANSIENT; failures]);
        put(&*retry, WriteMode::Overwrite).await.unwrap();
        assert!(lines.take().is_empty());
    }
}

#[tokio::test]
async fn a_store_that_stays_away_is_given_up() {
    let Setup { faulty, retry, .. } = setup();
    faulty.always(TRANSIENT);
    let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert!(
        error.message.starts_with("fails as it was told (tried "),
        "{error}"
    );
    assert!(faulty.calls() > 5);
}

#[tokio::test]
async fn a_stalled_call_is_given_up_and_tried_again() {
    let Setup { faulty, retry, .. } = setup();
    faulty.next([Fault::Stall]);
    put(&*retry, WriteMode::Overwrite).await.unwrap();
    faulty.always(Fault::Stall);
    let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
    assert!(
        error.message.contains("did not end within 0.2 s"),
        "{error}"
    );
}

#[tokio::test]
async fn a_look_waits_in_all_and_a_stream_after_each_failure() {
    let Setup {
        faulty,
        retry,
        patience,
        ..
    } = setup();
    faulty.always(Fault::Stall);
    for (streams, least, most) in [(false, 300, 600), (true, 500, 900)] {
        if streams {
            patience.stream();
        }
        let begun = Instant::now();
        let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
        let took = begun.elapsed().as_millis();
        assert!((least..most).contains(&took), "{took} ms: {error}");
    }
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    let Setup { faulty, retry, .. } = setup();
    for kind in [
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Denied,
        Kind::TooLarge,
        Kind::Other,
    ] {
        let calls = faulty.calls();
        faulty.next([Fault::Fail(kind)]);
        assert_eq!(retry.get(&name("a"), 1).await.unwrap_err().kind, kind);
        assert_eq!(faulty.calls(), calls + 1);
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_creation_is_no_conflict() {
    let Setup { faulty, retry, .. } = setup();
    faulty.next([Fault::Lost]);
    put(&*retry, WriteMode::CreateNew).await.unwrap();
    // But somebody else's object is, and so is ours a second time.
    let other = Bytes::from_static(b"other");
    faulty.next([TRANSIENT]);
    let error = retry
        .put(&name("a"), other, WriteMode::CreateNew)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::AlreadyExists);
    let again = put(&*retry, WriteMode::CreateNew).await.unwrap_err();
    assert_eq!(again.kind, Kind::AlreadyExists);
}

#[tokio::test]
async fn a_signal_ends_the_waiting_but_not_what_can_be_done_at_once() {
    let Setup {
        faulty,
        retry,
        shutdown,
        ..
    } = setup();
    shutdown.raise();
    put(&*retry, WriteMode::Overwrite).await.unwrap();
    let calls = faulty.calls();
    for fault in [TRANSIENT, Fault::Stall] {
        faulty.next([fault]);
        let error = put(&*retry, WriteMode::Overwrite).await.unwrap_err();
        assert_eq!(error.kind, Kind::Stopped);
    }
    assert_eq!(faulty.calls(), calls + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_waited_for_is_a_store() {
    let Setup { faulty, retry, .. } = setup();
    faulty.next([Fault::None, TRANSIENT, Fault::Lost, TRANSIENT]);
    conformance::all(retry, "scope", SystemClock.now()).await;
}

#[test]
fn pauses_grow_and_differ() {
    let Setup { retry, .. } = setup();
    for attempts in 1..40 {
        let pause = retry.pause("a", attempts);
        let full =
            Duration::from_millis(20).min(Duration::from_millis(2) * (1 << attempts.min(10)) / 2);
        assert!(pause <= full && pause >= full / 2, "{attempts}: {pause:?}");
    }
    assert_ne!(retry.pause("a", 20), retry.pause("b", 20));
}
