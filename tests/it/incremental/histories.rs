//! Random histories of a file tree: after each step, what an incremental drain gives is compared
//! with what a full one gives.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lifeboat::bbr::How;
use proptest::prelude::*;

use super::content;
use super::instance::Instance;
use super::model::Model;

/// One thing that happens to a tree. Places are indices into [`names`].
#[derive(Debug, Clone)]
enum Change {
    Write(usize, usize),
    Sneak(usize),
    Truncate(usize, u64),
    Sparse(usize, u64),
    Rename(usize, usize),
    Delete(usize),
    HardLink(usize, usize),
    SymbolicLink(usize, usize),
    Fifo(usize),
    Mode(usize, u32),
    Time(usize, i64),
    Owner(usize, u32, u32),
    /// So many small files in a directory of this number.
    Many(usize, usize),
    DeleteMany(usize),
}

/// Names that have gone wrong elsewhere.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"a"[..],
        b"a-b",
        b"a.b/c",
        b"a/b",
        b"x y ",
        b" z",
        b"new\nline",
        b"quote'\"",
        b"back\\1slash\\n",
        b"\xff\xfe/\x01",
        b"-n/--version",
        b"co:lon:1:2:3:4:5:6:7",
        b"*/?[a]",
        b"~/$HOME",
    ]
    .iter()
    .map(|name| name.to_vec())
    .collect();
    // With "./" 100 and 101 bytes, then more than 255 and more than 512.
    names.push([b'h'; 98].to_vec());
    names.push([b'h'; 99].to_vec());
    names.push([&[b'l'; 200][..], b"/", &[b'm'; 200], b"/n"].concat());
    names.push([&[b'l'; 200][..], b"/", &[b'm'; 200], b"/", &[b'o'; 250]].concat());
    names
}

fn change() -> impl Strategy<Value = Change> {
    let place = || 0..names().len();
    prop_oneof![
        6 => (place(), 0_usize..200_000).prop_map(|(a, size)| Change::Write(a, size)),
        2 => place().prop_map(Change::Sneak),
        1 => (place(), 0_u64..3_000).prop_map(|(a, size)| Change::Truncate(a, size)),
        1 => (place(), 0_u64..2_000_000).prop_map(|(a, size)| Change::Sparse(a, size)),
        3 => (place(), place()).prop_map(|(a, b)| Change::Rename(a, b)),
        2 => place().prop_map(Change::Delete),
        1 => (place(), place()).prop_map(|(a, b)| Change::HardLink(a, b)),
        1 => (place(), place()).prop_map(|(a, b)| Change::SymbolicLink(a, b)),
        1 => place().prop_map(Change::Fifo),
        2 => (place(), 0_u32..=0o7777).prop_map(|(a, mode)| Change::Mode(a, mode)),
        2 => (place(), -9_000_000_000_i64..99_000_000_000).prop_map(|(a, time)| Change::Time(a, time)),
        2 => (place(), 0_u32..5_000_000, 0_u32..5_000_000)
            .prop_map(|(a, user, group)| Change::Owner(a, user, group)),
        2 => (0_usize..4, 1_usize..1_500).prop_map(|(a, files)| Change::Many(a, files)),
        1 => (0_usize..4).prop_map(Change::DeleteMany),
    ]
}

/// What cannot be done to the tree as it is (a file where a directory is needed, no right to give
/// files away) is not done.
fn apply(dir: &Path, change: &Change, step: usize) -> std::io::Result<()> {
    let names = names();
    let path = |place: &usize| -> PathBuf { dir.join(OsStr::from_bytes(&names[*place])) };
    let fresh = |place: &usize| {
        let path = path(place);
        fs::create_dir_all(path.parent().unwrap()).map(|()| path)
    };
    let writable = |path: &Path| fs::File::options().write(true).open(path);
    // Only files are opened: a FIFO would wait for its reader.
    let file = |place: &usize| {
        let path = path(place);
        let is_file = fs::symlink_metadata(&path)?.is_file();
        is_file
            .then_some(path)
            .ok_or(std::io::Error::from(std::io::ErrorKind::NotFound))
    };
    match change {
        Change::Write(a, size) => {
            let path = fresh(a)?;
            if path.exists() {
                file(a)?;
            }
            fs::write(path, content(step, *size))
        }
        Change::Sneak(a) => {
            let path = file(a)?;
            let before = fs::metadata(&path)?;
            let size = usize::try_from(before.size()).unwrap();
            fs::write(&path, content(step, size))?;
            writable(&path)?.set_modified(before.modified()?)
        }
        Change::Truncate(a, size) | Change::Sparse(a, size) => writable(&file(a)?)?.set_len(*size),
        Change::Rename(a, b) => fs::rename(path(a), fresh(b)?),
        Change::Delete(a) => fs::remove_file(path(a)),
        Change::HardLink(a, b) => fs::hard_link(file(a)?, fresh(b)?),
        Change::SymbolicLink(a, b) => symlink(path(a), fresh(b)?),
        Change::Fifo(a) => {
            let made = std::process::Command::new("mkfifo").arg(fresh(a)?).output();
            made.map(drop)
        }
        // The owner must be able to read it.
        Change::Mode(a, mode) => {
            fs::set_permissions(file(a)?, fs::Permissions::from_mode(mode | 0o400))
        }
        Change::Time(a, time) => {
            let span = Duration::from_secs(time.unsigned_abs());
            let time = match time {
                ..0 => SystemTime::UNIX_EPOCH - span,
                _ => SystemTime::UNIX_EPOCH + span + Duration::from_millis(700),
            };
            fs::File::open(file(a)?)?.set_modified(time)
        }
        Change::Owner(a, user, group) => chown(file(a)?, Some(*user), Some(*group)),
        Change::Many(number, files) => {
            let sub = dir.join(format!("many{number}"));
            fs::create_dir_all(&sub)?;
            for place in 0..*files {
                fs::write(sub.join(format!("{place:04}")), place.to_string())?;
            }
            Ok(())
        }
        Change::DeleteMany(number) => fs::remove_dir_all(dir.join(format!("many{number}"))),
    }
}

/// How many histories are tried; more on demand, see CONTRIBUTING.md.
fn cases() -> u32 {
    let wanted = std::env::var("LIFEBOAT_HISTORIES").ok();
    wanted.map_or(4, |number| number.parse().unwrap())
}

#[test]
fn full_and_incremental_drains_give_the_same_bytes() {
    let runner = ProptestConfig {
        cases: cases(),
        max_shrink_iters: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let steps = proptest::collection::vec(change(), 1..12);
    let history = (proptest::collection::vec(steps, 2..6), 0_usize..3);
    let mut runner = proptest::test_runner::TestRunner::new(runner);
    let result = runner.run(&history, |(steps, early)| {
        try_history(&steps, early * 137);
        Ok(())
    });
    result.unwrap();
}

fn try_history(steps: &[Vec<Change>], early: usize) {
    let instance = Instance::new();
    let dir = instance.artifact();
    // Something to begin with, so that there is a base.
    fs::write(dir.join("zero"), "").unwrap();
    let mut base = instance.full().0;
    let mut count = 0;
    for changes in steps {
        for change in changes {
            count += 1;
            // What is impossible is left out.
            drop(apply(&dir, change, count));
        }
        let mut model = Model::on(&base, early);
        let drained = instance.drain(&mut model).unwrap();
        let said = instance.said();
        assert_eq!(drained.how, How::Incremental, "{said}");
        let (full, all) = instance.full();
        assert!(model.tar() == full.tar(), "the tars differ");
        assert_eq!((drained.files, drained.bytes), (all.files, all.bytes));
        assert_eq!(
            drained.kept_files + model.sent as u64,
            drained.files,
            "{said}"
        );
        base = Arc::new(model);
    }
    instance.finish();
}
