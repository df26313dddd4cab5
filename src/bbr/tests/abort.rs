use std::time::{Duration, Instant};

use super::super::testing::{Fault, World};
use super::super::{Aborted, Run};
use super::{at, before, manifest, never};
use crate::monitor::Silent;
use crate::shutdown::Shutdown;

/// Three jobs that are locked in the order a, b, c; c writes the artifact.
fn chain(unlock: &str) -> World {
    let mut world = World::new();
    world.manifest = manifest("g", &["a", "b", "c"]);
    world.settings.limits.grace = Duration::from_millis(300);
    for (index, job) in ["a", "b", "c"].into_iter().enumerate() {
        world.instance("g", index);
        let instance = format!("g/u{index}");
        world.script(&instance, job, "pre-backup-lock", "");
        world.script(&instance, job, "post-backup-unlock", unlock);
    }
    world.script("g/u0", "a", "metadata", &before(&["b"]));
    world.script("g/u1", "b", "metadata", &before(&["c"]));
    world.script("g/u2", "c", "backup", "sleep 60");
    world
}

/// Takes the run up to its backup scripts, where a signal ends it.
fn signalled(world: &World) -> (Run, Aborted, Duration) {
    let run = world.run();
    let signal = Shutdown::new();
    run.mark(&never()).unwrap();
    run.arm(&Silent, &signal).unwrap();
    run.lock(&Silent, &never()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.await_journal("start g/u2 c backup");
            signal.raise();
        });
        assert!(run.backup(&Silent, &signal).unwrap_err().is_stopped());
    });
    let since = signal.since().unwrap();
    let aborted = run.abort(since, &world.monitor);
    (run, aborted, since.elapsed())
}

#[test]
fn a_signal_unlocks_in_order_and_cleans() {
    let world = chain("test $BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL = false");
    let (_, aborted, took) = signalled(&world);
    assert!(aborted.is_clean(), "{aborted:?}");
    assert!(
        !aborted.out_of_order && aborted.errors.is_empty(),
        "{aborted:?}"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        at(&world, "end g/u2 c post-backup-unlock") < at(&world, "start g/u1 b post-backup-unlock")
    );
    assert!(
        at(&world, "end g/u1 b post-backup-unlock") < at(&world, "start g/u0 a post-backup-unlock")
    );
    for index in 0..3 {
        assert!(world.leftovers(&format!("g/u{index}")).is_empty());
    }
    assert!(
        !world
            .journal()
            .iter()
            .any(|line| line == "end g/u2 c backup")
    );
    assert!(
        world
            .monitor
            .text()
            .contains("g/u2: ended backup--c--run-1")
    );
}

#[test]
fn slow_unlocks_are_all_started_in_time_and_end_without_us() {
    let mut world = chain("sleep 4");
    world.settings.limits.orderly = Duration::from_secs(1);
    world.settings.limits.abort = Duration::from_millis(3000);
    let (_, aborted, took) = signalled(&world);
    assert!(took < Duration::from_millis(3700), "{took:?}");
    assert!(aborted.out_of_order);
    assert_eq!(aborted.maybe_locked, ["g/u0", "g/u1", "g/u2"]);
    let text = world.monitor.text();
    assert!(
        text.contains("the unlock scripts of 2 jobs are started at once"),
        "{text}"
    );
    assert!(
        text.contains("may still be locked: g/u0, g/u1, g/u2"),
        "{text}"
    );
    for (index, job) in ["a", "b", "c"].into_iter().enumerate() {
        let instance = format!("g/u{index}");
        assert!(
            world
                .store(&instance, "bbr-backup.lifeboat/marker")
                .exists()
        );
        assert!(!world.store(&instance, "bbr-backup").exists());
        world.await_journal(&format!("end {instance} {job} post-backup-unlock"));
    }
}

#[test]
fn late_unlocks_that_end_in_time_count() {
    let mut world = chain("sleep 0.7");
    world.settings.limits.orderly = Duration::from_millis(500);
    world.settings.limits.abort = Duration::from_millis(6000);
    let (_, aborted, _) = signalled(&world);
    assert!(aborted.out_of_order && aborted.is_clean(), "{aborted:?}");
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn an_unlock_that_was_under_way_is_not_started_twice() {
    let world = chain("sleep 0.5");
    world.script("g/u2", "c", "backup", "");
    let run = world.run();
    let signal = Shutdown::new();
    run.mark(&never()).unwrap();
    run.arm(&Silent, &signal).unwrap();
    run.lock(&Silent, &never()).unwrap();
    run.backup(&Silent, &never()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.await_journal("start g/u1 b post-backup-unlock");
            signal.raise();
        });
        assert!(run.unlock(true, &Silent, &signal).unwrap_err().is_stopped());
    });
    let aborted = run.abort(signal.since().unwrap(), &Silent);
    assert!(aborted.is_clean(), "{aborted:?}");
    let starts = world
        .journal()
        .iter()
        .filter(|line| line.starts_with("start") && line.contains("unlock"))
        .count();
    assert_eq!(starts, 3);
}

#[test]
fn a_signal_before_any_lock_only_takes_the_markers_away() {
    let world = chain("");
    let run = world.run();
    let signal = Shutdown::new();
    let flag = signal.clone();
    run.mark(&never()).unwrap();
    world
        .remote("g/u0")
        .before("backup of", move || flag.raise());
    signal.raise();
    let aborted = run.abort(Instant::now(), &Silent);
    assert!(aborted.is_clean(), "{aborted:?}");
    assert!(world.journal().is_empty());
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn an_instance_that_does_not_answer_is_named_and_the_others_are_clean() {
    let world = chain("");
    let run = world.run();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    world.remote("g/u1").fault("", Fault::Refused, 1000);
    let aborted = run.abort(Instant::now(), &Silent);
    assert_eq!(aborted.maybe_locked, ["g/u1"]);
    assert!(!aborted.errors.is_empty());
    assert!(world.leftovers("g/u0").is_empty() && world.leftovers("g/u2").is_empty());
    at(&world, "end g/u0 a post-backup-unlock");
}

#[test]
fn a_lock_script_under_way_is_ended_and_its_job_unlocked() {
    let world = chain("");
    world.script("g/u1", "b", "pre-backup-lock", "sleep 60");
    let run = world.run();
    let signal = Shutdown::new();
    run.mark(&never()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.await_journal("start g/u1 b pre-backup-lock");
            signal.raise();
        });
        assert!(run.lock(&Silent, &signal).unwrap_err().is_stopped());
    });
    let aborted = run.abort(signal.since().unwrap(), &Silent);
    assert!(aborted.is_clean(), "{aborted:?}");
    at(&world, "end g/u1 b post-backup-unlock");
    assert!(
        !world
            .journal()
            .iter()
            .any(|line| line.contains("c pre-backup-lock"))
    );
}
