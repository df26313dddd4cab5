use std::collections::BTreeSet;
use std::fs;

use super::super::testing::{Fault, World};
use super::super::{Cleaned, Direction, Errors, Leftovers, cleanup, left_over_users};
use super::{at, before, manifest, never};
use crate::monitor::Silent;
use crate::shutdown::Shutdown;

fn clean(world: &World, run: &str, leftovers: &Leftovers) -> Result<Cleaned, Errors> {
    let target = world.discover().unwrap();
    let (cleaned, errors) = cleanup(
        &target,
        Direction::Backup,
        run,
        leftovers,
        &world.monitor,
        &never(),
    );
    errors.map_or(Ok(cleaned), Err)
}

fn two_hosts() -> World {
    let mut world = World::new();
    world.manifest = manifest("g", &["a", "b"]);
    for index in 0..2 {
        world.instance("g", index);
    }
    world.script("g/u0", "a", "metadata", &before(&["b"]));
    world.script("g/u0", "a", "pre-backup-lock", "");
    world.script(
        "g/u0",
        "a",
        "post-backup-unlock",
        "test $BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL = false",
    );
    world.script("g/u1", "b", "backup", "");
    world.script("g/u1", "b", "post-backup-unlock", "");
    world
}

#[test]
fn without_leftovers_nothing_is_touched() {
    let world = two_hosts();
    let cleaned = clean(&world, "c1", &Leftovers::default()).unwrap();
    assert_eq!(cleaned, Cleaned::default());
    assert!(world.journal().is_empty());
    assert!(world.monitor.text().contains("nothing is left of a backup"));
}

#[test]
fn a_killed_run_is_undone_in_reverse_order_and_only_once() {
    let world = two_hosts();
    let run = world.run();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    drop(run);
    let cleaned = clean(&world, "c1", &Leftovers::default()).unwrap();
    assert_eq!(cleaned.instances, ["g/u0", "g/u1"]);
    assert_eq!(cleaned.unlocked, 2);
    assert!(
        at(&world, "end g/u1 b post-backup-unlock") < at(&world, "start g/u0 a post-backup-unlock")
    );
    assert!(world.leftovers("g/u0").is_empty() && world.leftovers("g/u1").is_empty());
    let text = world.monitor.text();
    assert!(
        text.contains("left behind by run run-1 of prod, started 1970-01-01T00:00:00Z"),
        "{text}"
    );
    assert_eq!(
        clean(&world, "c2", &Leftovers::default()).unwrap(),
        Cleaned::default()
    );
}

#[test]
fn scripts_that_still_run_are_ended_first_and_an_unlock_is_awaited() {
    let world = two_hosts();
    world.script("g/u1", "b", "backup", "sleep 30");
    let run = world.run();
    let signal = Shutdown::new();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.await_journal("start g/u1 b backup");
            signal.raise();
        });
        run.backup(&Silent, &signal).unwrap_err();
    });
    // The unlock of an earlier attempt goes on when we look.
    world.script("g/u0", "a", "post-backup-unlock", "sleep 0.5");
    let signal = Shutdown::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.await_journal("start g/u0 a post-backup-unlock");
            signal.raise();
        });
        run.unlock(false, &Silent, &signal).unwrap_err();
    });
    let cleaned = clean(&world, "c1", &Leftovers::default()).unwrap();
    assert_eq!(cleaned.unlocked, 2);
    assert!(cleaned.ended.is_empty(), "{cleaned:?}");
    let journal = world.journal();
    assert!(!journal.iter().any(|line| line == "end g/u1 b backup"));
    let of_a: Vec<_> = journal
        .iter()
        .filter(|line| line.contains("a post-backup-unlock"))
        .collect();
    assert!(
        of_a[1].starts_with("end") && of_a[2].starts_with("start"),
        "{of_a:?}"
    );
    assert!(world.leftovers("g/u1").is_empty());
}

#[test]
fn a_leftover_backup_script_is_ended_by_cleanup() {
    let world = two_hosts();
    // It ignores the polite signal, and has a child in a process group of its own.
    world.script(
        "g/u1",
        "b",
        "backup",
        "trap '' TERM; timeout 30 sleep 29 & sleep 30; sleep 30",
    );
    let run = world.run();
    let signal = Shutdown::new();
    run.mark(&never()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.await_journal("start g/u1 b backup");
            signal.raise();
        });
        run.backup(&Silent, &signal).unwrap_err();
    });
    let cleaned = clean(&world, "c1", &Leftovers::default()).unwrap();
    assert_eq!(cleaned.ended, ["backup--b--run-1 on g/u1"]);
    assert!(world.leftovers("g/u1").is_empty());
    let root = world.dir("g/u1").to_str().unwrap();
    for entry in fs::read_dir("/proc").unwrap() {
        let line = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&line).contains(root),
            "{}",
            String::from_utf8_lossy(&line)
        );
    }
}

#[test]
fn an_artifact_directory_of_bbrs_unlocks_every_instance() {
    let world = two_hosts();
    fs::create_dir_all(world.store("g/u1", "bbr-backup/b")).unwrap();
    let cleaned = clean(&world, "c1", &Leftovers::default()).unwrap();
    assert_eq!(cleaned.unlocked, 2);
    assert!(world.leftovers("g/u0").is_empty() && world.leftovers("g/u1").is_empty());
}

#[test]
fn only_what_is_marked_is_unlocked_when_it_is_ours() {
    let world = two_hosts();
    let run = world.run();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    run.backup(&Silent, &never()).unwrap();
    world.script("g/u0", "a", "post-backup-unlock", "exit 1");
    run.unlock(true, &Silent, &never()).unwrap_err();
    run.finish(&never()).unwrap();
    world.script("g/u0", "a", "post-backup-unlock", "");
    let before = world.journal().len();
    let cleaned = clean(&world, "c1", &Leftovers::default()).unwrap();
    assert_eq!(
        (cleaned.unlocked, cleaned.instances),
        (1, vec!["g/u0".to_owned()])
    );
    assert_eq!(world.journal().len(), before + 2);
}

#[test]
fn force_and_reported_instances_are_treated_without_a_trace() {
    let world = two_hosts();
    let reported = Leftovers {
        force: false,
        instances: BTreeSet::from(["g/u0".to_owned()]),
    };
    assert_eq!(clean(&world, "c1", &reported).unwrap().unlocked, 1);
    let force = Leftovers {
        force: true,
        ..Leftovers::default()
    };
    assert_eq!(clean(&world, "c2", &force).unwrap().unlocked, 2);
    assert!(world.leftovers("g/u0").is_empty() && world.leftovers("g/u1").is_empty());
}

#[test]
fn a_failed_unlock_does_not_stop_the_removal_and_keeps_the_marker() {
    let world = two_hosts();
    let run = world.run();
    run.mark(&never()).unwrap();
    run.backup(&Silent, &never()).unwrap();
    world.script("g/u1", "b", "post-backup-unlock", "echo why >&2; exit 3");
    let text = clean(&world, "c1", &Leftovers::default())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("post-backup-unlock of job b on g/u1 failed with exit code 3: why"),
        "{text}"
    );
    assert!(world.leftovers("g/u0").is_empty());
    assert_eq!(world.leftovers("g/u1"), ["bbr-backup.lifeboat"]);
    let force = Leftovers {
        force: true,
        ..Leftovers::default()
    };
    clean(&world, "c2", &force).unwrap_err();
    assert!(world.leftovers("g/u1").is_empty());
}

#[test]
fn a_circle_runs_no_unlock_and_removes_all_the_same() {
    let world = two_hosts();
    world.script("g/u1", "b", "metadata", &before(&["b"]));
    let mut world = world;
    world.manifest = manifest("g", &["a", "b"]);
    fs::create_dir(world.store("g/u0", "bbr-backup")).unwrap();
    let text = clean(&world, "c1", &Leftovers::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("locked before each other"), "{text}");
    assert!(world.leftovers("g/u0").is_empty());
    assert!(world.journal().is_empty());
}

#[test]
fn an_instance_that_does_not_answer_does_not_hide_the_others() {
    let world = two_hosts();
    let run = world.run();
    run.mark(&never()).unwrap();
    world.remote("g/u0").fault("leftovers", Fault::Refused, 1);
    let text = clean(&world, "c1", &Leftovers::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("g/u0: the connection was refused"), "{text}");
    assert!(world.leftovers("g/u1").is_empty());
    at(&world, "end g/u1 b post-backup-unlock");
}

#[test]
fn left_over_users_are_told_by_their_names() {
    let world = World::with(&[]);
    fs::write(
        world.dir("g/u0").join("passwd"),
        "root:x:0\nbosh_1feb0a7deadbe01:x:1000\nbosh_123456789abcdef:x:1001\n",
    )
    .unwrap();
    let users = left_over_users(world.remote("g/u0"), &world.settings, &never()).unwrap();
    assert_eq!(users, ["bosh_1feb0a7deadbe01"]);
}

#[test]
fn an_unlock_runs_even_where_nothing_can_be_written() {
    let world = two_hosts();
    // In place of our directory lies something in which no output can be kept.
    fs::write(world.store("g/u0", "bbr-backup.lifeboat"), "").unwrap();
    let force = Leftovers {
        force: true,
        ..Leftovers::default()
    };
    let cleaned = clean(&world, "c1", &force).unwrap();
    assert_eq!(cleaned.unlocked, 2);
    at(&world, "end g/u0 a post-backup-unlock");
    assert!(world.leftovers("g/u0").is_empty());
}
