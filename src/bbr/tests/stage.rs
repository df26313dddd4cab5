use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::testing::{Fault, World};
use super::super::{Ahead, Mark, Of, Run, Saved, Size};
use super::never;
use crate::artifact::Digest;
use crate::artifact::base::{BaseFile, BasePage, Order, Selection, Wanted};
use crate::artifact::tar::Entry;
use crate::monitor::{Meter, Silent};

const OF: Of<'static> = Of {
    component: "deployment/dep",
    backup: "b",
};

/// An instance that restores something, and nothing else.
fn standby() -> World {
    World::with(&[("j", "restore", "")])
}

fn restoring(world: &World) -> Run {
    let mark = Mark {
        run: "run-1".to_owned(),
        foundation: "prod".to_owned(),
        started: SystemTime::UNIX_EPOCH,
    };
    Run::restoring(world.discover().unwrap(), mark)
}

/// Stages a file of this size, as this run would.
fn staged(world: &World, whole: bool, bytes: usize) {
    let stage = world.store("g/u0", "lifeboat-stage");
    let of = stage.join("of/j");
    fs::create_dir_all(of.join("tree")).unwrap();
    fs::set_permissions(&stage, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(stage.join("mark"), "{\"for\":\"stage\"}\n").unwrap();
    fs::write(of.join("run"), "run-1\n").unwrap();
    fs::write(of.join("tree/file"), vec![b'x'; bytes]).unwrap();
    let note = serde_json::json!({
        "foundation": "prod", "component": OF.component, "artifact": "g-0-j.tar",
        "backup": OF.backup, "whole": whole, "files": 1, "bytes": bytes,
    });
    fs::write(of.join("note"), note.to_string()).unwrap();
}

/// Checks a restore of so many bytes where nothing is free.
fn check(world: &World, bytes: u64, of: Option<Of<'_>>) -> Result<(), String> {
    let run = restoring(world);
    let size = Size { files: 1, bytes };
    let mut saved = Saved::default();
    for artifact in run.artifacts() {
        saved.artifacts.insert(artifact.place.kind, size);
    }
    let full = "artifacts absent\nstate absent\nmarker absent\nsize 9000\nfree 0\nend";
    let remote = world.remote("g/u0");
    remote.fault("look for leftovers", Fault::Says(full), 1);
    let ahead = Ahead {
        of,
        remove: "lifeboat stage deployment/dep --remove",
    };
    let checked = run.check_restore(&saved, ahead, &Silent, &never());
    checked.map_err(|errors| errors.to_string())
}

#[test]
fn what_lies_in_a_tree_that_is_not_whole_needs_no_room() {
    let world = standby();
    for whole in [false, true] {
        staged(&world, whole, 3 << 20);
        check(&world, 3 << 20, Some(OF)).unwrap();
        let text = check(&world, 4 << 20, Some(OF)).unwrap_err();
        assert!(
            text.contains("for artifacts of 1 MiB; make room there"),
            "{text}"
        );
    }
}

#[test]
fn what_cannot_be_used_gives_no_room() {
    let world = standby();
    staged(&world, true, 3 << 20);
    let other = Of {
        component: "director",
        ..OF
    };
    for of in [None, Some(other)] {
        let text = check(&world, 3 << 20, of).unwrap_err();
        assert!(
            text.contains(
                "for artifacts of 3 MiB; what is staged there cannot be used for them: remove it with \
                 `lifeboat stage deployment/dep --remove`"
            ),
            "{text}"
        );
    }
}

/// A restore that has taken what is staged, and is about to lock.
fn adopted(world: &World) -> Run {
    staged(world, true, 10);
    let run = restoring(world);
    run.mark(&never()).unwrap();
    run.prepare(&never()).unwrap();
    let artifacts = run.artifacts();
    let size = Size {
        files: 1,
        bytes: 10,
    };
    let adopted = run.adopt(&artifacts[0], OF, size, &Silent, &never());
    assert!(adopted.unwrap());
    assert!(world.store("g/u0", "bbr-backup/j/file").exists());
    assert!(!world.store("g/u0", "lifeboat-stage/of/j").exists());
    run
}

#[test]
fn a_restore_that_ends_before_its_scripts_gives_back_what_it_took() {
    for signal in [false, true] {
        let world = standby();
        let run = adopted(&world);
        if signal {
            let aborted = run.abort(Instant::now(), &Silent);
            assert!(aborted.is_clean(), "{aborted:?}");
        } else {
            run.finish(&never()).unwrap();
        }
        assert_eq!(world.leftovers("g/u0"), ["lifeboat-stage"]);
        let file = world.store("g/u0", "lifeboat-stage/of/j/tree/file");
        assert_eq!(fs::read(file).unwrap(), [b'x'; 10]);
        // It is known for what it is.
        check(&world, 10, Some(OF)).unwrap();
    }
}

#[test]
fn nothing_is_given_back_once_scripts_had_it_or_somebody_began_anew() {
    let world = standby();
    let run = adopted(&world);
    run.restore(&Silent, &never()).unwrap();
    run.finish(&never()).unwrap();
    assert_eq!(world.leftovers("g/u0"), ["lifeboat-stage"]);
    assert!(!world.store("g/u0", "lifeboat-stage/of/j").exists());

    let world = standby();
    let run = adopted(&world);
    let anew = world.store("g/u0", "lifeboat-stage/of/j");
    fs::create_dir(&anew).unwrap();
    run.finish(&never()).unwrap();
    assert_eq!(fs::read_dir(&anew).unwrap().count(), 0);
    assert_eq!(world.leftovers("g/u0"), ["lifeboat-stage"]);

    // And whoever removed all meanwhile has removed it.
    let world = standby();
    let run = adopted(&world);
    fs::remove_dir_all(world.store("g/u0", "lifeboat-stage")).unwrap();
    run.finish(&never()).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
}

/// An artifact of one page that nobody opens.
struct Unread([BasePage; 1]);

impl Wanted for Unread {
    fn pages(&self) -> &[BasePage] {
        &self.0
    }

    fn expect(&mut self, _: &[usize]) {}

    fn open(&mut self, _: usize) -> anyhow::Result<Arc<[BaseFile]>> {
        unreachable!("nothing of it is there")
    }

    fn others(
        &self,
        _: Order,
        _: &mut dyn FnMut(&Entry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        unreachable!("there is no room")
    }

    fn write_files(
        &mut self,
        _: &Selection,
        _: &mut dyn Write,
        _: &mut dyn FnMut(&Entry, Option<Digest>),
    ) -> anyhow::Result<()> {
        unreachable!("there is no room")
    }
}

#[test]
fn what_is_free_when_the_listing_is_done_counts() {
    let world = standby();
    let run = restoring(&world);
    let remote = world.remote("g/u0");
    for said in [
        "mark none\nsize 9000\nfree 8000\nend",
        "mark ours\ntree there\nsame yes\nsize 9000\nfree 0\nend",
    ] {
        remote.fault("look at what is staged", Fault::Says(said), 1);
    }
    let mut wanted = Unread([BasePage {
        list: String::new(),
        files: 1,
        bytes: 1 << 20,
    }]);
    let artifacts = run.artifacts();
    let meter = Meter::new("", None);
    let staged = run.stage(&artifacts[0], OF, &mut wanted, &meter, &Silent, &never());
    let text = staged.unwrap_err().to_string();
    assert!(
        text.contains("cannot be staged: 2 MiB are needed there and 0 MiB are free"),
        "{text}"
    );
}

#[test]
fn what_is_uploaded_whole_beside_what_is_staged_must_have_room() {
    let world = standby();
    let run = restoring(&world);
    let artifacts = run.artifacts();
    for (said, fits) in [
        ("mark ours\ntree there\nsize 9000\nfree 1024\nend", true),
        ("mark ours\ntree there\nsize 9000\nfree 1023\nend", false),
    ] {
        let remote = world.remote("g/u0");
        remote.fault("look at what is staged", Fault::Says(said), 1);
        let checked = run.check_whole(&artifacts[0], 1 << 20, "remove it", &never());
        assert_eq!(checked.is_ok(), fits, "{said}");
        if let Err(errors) = checked {
            let text = errors.to_string();
            assert!(
                text.contains(
                    "0 MiB are free for all of it, 1 MiB: remove what is staged with `remove it`"
                ),
                "{text}"
            );
        }
    }
}
