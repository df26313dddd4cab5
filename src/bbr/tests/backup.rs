use std::time::Duration;

use super::super::testing::{Fault, World};
use super::super::{Phase, Run};
use super::{at, before, manifest, never};
use crate::monitor::Silent;

fn backup(run: &Run) -> Result<(), super::super::Errors> {
    let never = never();
    run.mark(&never)?;
    run.lock(&Silent, &never)?;
    run.backup(&Silent, &never)?;
    Ok(())
}

#[test]
fn the_phases_run_in_order_with_the_contracts_variables_only() {
    phases(|_| {});
    phases(|run| run.arm(&Silent, &never()).unwrap());
}

fn phases(arm: impl Fn(&Run)) {
    let world = World::with(&[
        ("j", "pre-backup-lock", "env | sort >lock.env"),
        (
            "j",
            "backup",
            "env | sort >backup.env; echo A >\"$BBR_ARTIFACT_DIRECTORY\"a; pwd >cwd; cat >stdin",
        ),
        ("j", "post-backup-unlock", "env | sort >unlock.env"),
    ]);
    let run = world.run();
    run.mark(&never()).unwrap();
    arm(&run);
    run.lock(&Silent, &never()).unwrap();
    run.backup(&Silent, &never()).unwrap();
    assert!(world.store("g/u0", "bbr-backup/j/a").exists());
    assert!(world.store("g/u0", "bbr-backup.lifeboat/marker").exists());
    let report = run.unlock(true, &Silent, &never()).unwrap();
    assert_eq!(report.slowest().unwrap().job, "j");
    assert!(!world.store("g/u0", "bbr-backup.lifeboat/marker").exists());
    run.finish(&never()).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
    assert_eq!(
        world.journal(),
        [
            "start g/u0 j pre-backup-lock",
            "end g/u0 j pre-backup-lock",
            "start g/u0 j backup",
            "end g/u0 j backup",
            "start g/u0 j post-backup-unlock",
            "end g/u0 j post-backup-unlock",
        ]
    );
    let read = |name: &str| std::fs::read_to_string(world.dir("g/u0").join(name)).unwrap();
    // `sh` itself exports PWD to what the test script calls.
    let common = format!(
        "HOME=/root\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nPWD={}\n",
        world.dir("g/u0").display()
    );
    assert_eq!(read("lock.env"), common);
    let directory = world.store("g/u0", "bbr-backup/j/");
    let directory = directory.display();
    assert_eq!(
        read("backup.env"),
        format!("ARTIFACT_DIRECTORY={directory}\nBBR_ARTIFACT_DIRECTORY={directory}\n{common}")
    );
    assert_eq!(
        read("unlock.env"),
        format!("BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL=true\n{common}")
    );
    assert_eq!(read("cwd").trim(), world.dir("g/u0").to_str().unwrap());
    assert_eq!(read("stdin"), "");
}

#[test]
fn locks_follow_the_constraints_and_unlocks_reverse_them() {
    let mut world = World::new();
    world.manifest = manifest("g", &["a", "b", "c"]);
    for index in 0..2 {
        world.instance("g", index);
        for job in ["a", "b", "c"] {
            let instance = format!("g/u{index}");
            world.script(&instance, job, "pre-backup-lock", "sleep 0.05");
            world.script(&instance, job, "post-backup-unlock", "sleep 0.05");
        }
        world.script(&format!("g/u{index}"), "c", "metadata", &before(&["a"]));
        // b has no lock script on one instance, and orders the others all the same.
        world.script(&format!("g/u{index}"), "a", "metadata", &before(&["b"]));
    }
    let run = world.run();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    run.unlock(true, &Silent, &never()).unwrap();
    for one in 0..2 {
        for other in 0..2 {
            for (first, second) in [("c", "a"), ("a", "b")] {
                assert!(
                    at(&world, &format!("end g/u{one} {first} pre-backup-lock"))
                        < at(
                            &world,
                            &format!("start g/u{other} {second} pre-backup-lock")
                        )
                );
                assert!(
                    at(
                        &world,
                        &format!("end g/u{other} {second} post-backup-unlock")
                    ) < at(
                        &world,
                        &format!("start g/u{one} {first} post-backup-unlock")
                    )
                );
            }
        }
    }
}

#[test]
fn a_failed_lock_starts_no_further_level_and_unlocks_all() {
    let mut world = World::with(&[
        ("a", "pre-backup-lock", "echo dear >&2; exit 7"),
        ("a", "metadata", &before(&["b"])),
        ("b", "pre-backup-lock", ""),
        ("a", "post-backup-unlock", ""),
        (
            "b",
            "post-backup-unlock",
            "test $BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL = false",
        ),
        ("b", "backup", ""),
    ]);
    world.manifest = manifest("g", &["a", "b"]);
    let run = world.run();
    let error = backup(&run).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lock: pre-backup-lock of job a on g/u0 failed with exit code 7: dear"
    );
    run.unlock(false, &Silent, &never()).unwrap();
    run.finish(&never()).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
    let journal = world.journal();
    assert!(
        !journal
            .iter()
            .any(|line| line.contains("b pre-backup-lock"))
    );
    assert!(!journal.iter().any(|line| line.contains(" backup")));
    assert!(
        at(&world, "end g/u0 b post-backup-unlock") < at(&world, "start g/u0 a post-backup-unlock")
    );
}

#[test]
fn one_failed_backup_does_not_stop_the_other() {
    let world = World::with(&[
        ("a", "backup", "echo baz >&2; exit 1"),
        ("b", "backup", "sleep 0.1; kill -9 $$"),
        ("c", "backup", "sleep 0.2"),
    ]);
    let run = world.run();
    let error = backup(&run).unwrap_err();
    assert_eq!(error.list().len(), 2);
    let text = error.to_string();
    assert!(
        text.contains("backup of job a on g/u0 failed with exit code 1: baz"),
        "{text}"
    );
    assert!(
        text.contains("backup of job b on g/u0 was ended by signal 9 (exit code 137)"),
        "{text}"
    );
    at(&world, "end g/u0 c backup");
}

#[test]
fn scripts_without_interpreter_line_run_and_those_without_permission_fail() {
    let world = World::with(&[]);
    world.raw_script("g/u0", "empty", "backup", b"");
    world.raw_script(
        "g/u0",
        "plain",
        "backup",
        b"echo x >\"$ARTIFACT_DIRECTORY\"x\n",
    );
    let run = world.run();
    backup(&run).unwrap();
    assert!(world.store("g/u0", "bbr-backup/plain/x").exists());
    run.finish(&never()).unwrap();
    let path = world.dir("g/u0").join("jobs/plain/bin/bbr/backup");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let text = backup(&world.run()).unwrap_err().to_string();
    assert!(text.contains("exit code 126"), "{text}");
    assert!(text.contains("ermission denied"), "{text}");
}

#[test]
fn a_failed_unlock_keeps_the_marker_and_the_others_unlock() {
    let mut world = World::with(&[
        ("a", "backup", ""),
        ("a", "post-backup-unlock", "exit 1"),
        ("b", "post-backup-unlock", "exit 2"),
    ]);
    world.instance("h", 1);
    world.script("h/u1", "c", "post-backup-unlock", "");
    let run = world.run();
    backup(&run).unwrap();
    let error = run.unlock(true, &Silent, &never()).unwrap_err();
    assert_eq!(error.list().len(), 2);
    assert!(
        error
            .list()
            .iter()
            .all(|error| error.phase == Phase::Unlock)
    );
    assert_eq!(run.locked_instances(), ["g/u0"]);
    run.finish(&never()).unwrap();
    assert_eq!(world.leftovers("g/u0"), ["bbr-backup.lifeboat"]);
    assert!(world.store("g/u0", "bbr-backup.lifeboat/marker").exists());
    assert!(world.leftovers("h/u1").is_empty());
}

#[test]
fn an_unlock_whose_connection_breaks_is_asked_after_and_not_run_twice() {
    let world = World::with(&[
        ("a", "pre-backup-lock", ""),
        ("a", "post-backup-unlock", "sleep 0.2; exit 5"),
    ]);
    let run = world.run();
    backup(&run).unwrap();
    world
        .remote("g/u0")
        .fault("post-backup-unlock", Fault::Lost, 1);
    let text = run.unlock(true, &Silent, &never()).unwrap_err().to_string();
    assert!(text.contains("exit code 5"), "{text}");
    let starts = world
        .journal()
        .iter()
        .filter(|line| line.contains("start g/u0 a post"))
        .count();
    assert_eq!(starts, 1);
}

#[test]
fn a_backup_whose_connection_breaks_fails_and_is_ended_before_the_unlock() {
    let world = World::with(&[
        ("a", "backup", "sleep 30"),
        ("a", "pre-backup-lock", ""),
        ("a", "post-backup-unlock", ""),
    ]);
    let run = world.run();
    let never = never();
    run.mark(&never).unwrap();
    run.lock(&Silent, &never).unwrap();
    // What is lost here is us: the script goes on, as it would on an instance.
    let signal = crate::shutdown::Shutdown::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.await_journal("start g/u0 a backup");
            signal.raise();
        });
        assert!(run.backup(&Silent, &signal).unwrap_err().is_stopped());
    });
    run.unlock(false, &world.monitor, &never).unwrap();
    let text = world.monitor.text();
    assert!(text.contains("ended backup--a--run-1"), "{text}");
    assert!(
        !world
            .journal()
            .iter()
            .any(|line| line == "end g/u0 a backup")
    );
    run.finish(&never).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn a_script_that_runs_longer_than_allowed_fails_and_is_ended_before_the_unlock() {
    for armed in [false, true] {
        let mut world = World::with(&[
            ("a", "backup", "sleep 30"),
            ("a", "pre-backup-lock", ""),
            ("a", "post-backup-unlock", ""),
        ]);
        world.settings.limits.script = Some(Duration::from_millis(700));
        let run = world.run();
        let never = never();
        run.mark(&never).unwrap();
        if armed {
            run.arm(&Silent, &never).unwrap();
        }
        run.lock(&Silent, &never).unwrap();
        let error = run.backup(&Silent, &never).unwrap_err();
        assert!(!error.is_stopped(), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(
                "backup of job a on g/u0 still runs after 0.7 s, which limits.script_timeout allows"
            ),
            "{text}"
        );
        run.unlock(false, &world.monitor, &never).unwrap();
        let text = world.monitor.text();
        assert!(text.contains("ended backup--a--run-1"), "{text}");
        run.finish(&never).unwrap();
        assert!(world.leftovers("g/u0").is_empty());
    }
}

#[test]
fn an_unlock_script_that_runs_longer_than_allowed_is_left_to_end() {
    let mut world = World::with(&[
        ("a", "pre-backup-lock", ""),
        ("a", "post-backup-unlock", "sleep 2"),
    ]);
    world.settings.limits.script = Some(Duration::from_millis(500));
    let run = world.run();
    backup(&run).unwrap();
    let text = run.unlock(true, &Silent, &never()).unwrap_err().to_string();
    assert!(
        text.contains("it runs on, and the job may still be locked"),
        "{text}"
    );
    assert_eq!(run.locked_instances(), ["g/u0"]);
    world.await_journal("end g/u0 a post-backup-unlock");
}

#[test]
fn two_runs_cannot_share_an_instance() {
    let mut world = World::with(&[("a", "backup", "")]);
    world.instance("h", 0);
    world.script("h/u0", "b", "backup", "");
    let first = world.run();
    std::fs::create_dir(world.store("h/u0", "bbr-backup.lifeboat")).unwrap();
    std::fs::write(
        world.store("h/u0", "bbr-backup.lifeboat/owner"),
        "{\"run\":\"x\"}",
    )
    .unwrap();
    let error = first.mark(&never()).unwrap_err();
    assert_eq!(error.list()[0].phase, Phase::Mark);
    assert!(
        error.to_string().contains("h/u0 is marked by run x"),
        "{error}"
    );
    assert!(world.leftovers("g/u0").is_empty());
    first.finish(&never()).unwrap();
    assert_eq!(world.leftovers("h/u0"), ["bbr-backup.lifeboat"]);
}

#[test]
fn an_artifact_directory_that_appears_is_not_ours_and_stays() {
    let world = World::with(&[("a", "backup", ""), ("a", "post-backup-unlock", "")]);
    let run = world.run();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    std::fs::create_dir(world.store("g/u0", "bbr-backup")).unwrap();
    let text = run.backup(&Silent, &never()).unwrap_err().to_string();
    assert!(text.contains("appeared on g/u0"), "{text}");
    run.unlock(false, &Silent, &never()).unwrap();
    run.finish(&never()).unwrap();
    assert_eq!(world.leftovers("g/u0"), ["bbr-backup"]);
}

#[test]
fn no_more_scripts_run_at_once_than_may() {
    let mut world = World::new();
    world.instance("g", 0);
    world.settings.limits.parallel = 3;
    for job in 0..8 {
        world.script("g/u0", &format!("j{job}"), "backup", "sleep 0.1");
    }
    backup(&world.run()).unwrap();
    let (mut running, mut most) = (0_i32, 0);
    for line in world.journal() {
        running += if line.starts_with("start") { 1 } else { -1 };
        most = most.max(running);
    }
    assert!((2..=3).contains(&most), "{most}");
}

#[test]
fn without_locks_no_lock_and_no_unlock_runs() {
    let world = World::with(&[
        ("a", "pre-backup-lock", ""),
        ("a", "backup", ""),
        ("a", "post-backup-unlock", ""),
    ]);
    let mark = super::super::Mark {
        run: "r".to_owned(),
        foundation: "f".to_owned(),
        started: std::time::SystemTime::UNIX_EPOCH,
    };
    let run = Run::new(world.discover().unwrap(), mark, true);
    backup(&run).unwrap();
    run.unlock(true, &world.monitor, &never()).unwrap();
    run.finish(&never()).unwrap();
    assert_eq!(world.journal().len(), 2);
    assert!(world.monitor.text().contains("skipped"));
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn a_slow_command_delays_only_its_own_instance() {
    let mut world = World::with(&[("a", "backup", "")]);
    world.instance("h", 1);
    world.script("h/u1", "b", "backup", "");
    let run = world.run();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    world
        .remote("g/u0")
        .fault("backup of job", Fault::Delay(Duration::from_millis(300)), 1);
    let report = run.backup(&Silent, &never()).unwrap();
    assert_eq!(report.slowest().unwrap().instance, "g/u0");
    assert!(at(&world, "end h/u1 b backup") < at(&world, "start g/u0 a backup"));
}
