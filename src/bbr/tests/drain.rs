use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::super::testing::{Alone, Fault, Kept, World};
use super::super::{Drained, Errors, Run};
use super::never;
use crate::artifact::{Digest, EntrySink};
use crate::monitor::{Meter, Silent};

/// A run up to its drain; the artifact holds what `fill` puts there.
fn drained_world(fill: impl FnOnce(&PathBuf)) -> (World, Run) {
    let world = World::with(&[("j", "backup", "")]);
    let run = world.run();
    run.mark(&never()).unwrap();
    run.lock(&Silent, &never()).unwrap();
    run.backup(&Silent, &never()).unwrap();
    run.unlock(true, &Silent, &never()).unwrap();
    fill(&world.store("g/u0", "bbr-backup/j"));
    (world, run)
}

fn drain(world: &World, run: &Run) -> (Kept, Meter, Result<Drained, Errors>) {
    let mut kept = Kept::default();
    let meter = Meter::new("j", None);
    let artifact = &run.artifacts()[0];
    let result = run.drain(
        artifact,
        &mut Alone(&mut kept),
        &meter,
        &world.monitor,
        &never(),
    );
    (kept, meter, result)
}

fn finish(world: &World, run: &Run) {
    run.remove_artifact(&run.artifacts()[0], &never()).unwrap();
    assert!(!world.store("g/u0", "bbr-backup/j").exists());
    run.finish(&never()).unwrap();
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn an_empty_artifact_is_one_directory() {
    let (world, run) = drained_world(|_| {});
    let (kept, meter, result) = drain(&world, &run);
    let drained = result.unwrap();
    assert!((10_240..11_000).contains(&drained.wire_bytes));
    let wire_bytes = drained.wire_bytes;
    let nothing = Drained {
        wire_bytes,
        ..Drained::default()
    };
    assert_eq!(drained, nothing);
    assert_eq!(kept.names, [b"./".to_vec()]);
    assert!(kept.zeros.unwrap() >= 1024);
    assert_eq!(meter.total(), Some(0));
    finish(&world, &run);
}

#[test]
fn names_of_any_bytes_links_and_holes_survive() {
    let names: [&[u8]; 10] = [
        b"a",
        b"a-b",
        b"x y",
        b"quote'\"",
        b"back\\slash",
        b"new\nline",
        b"-n",
        b"\xff\xfe",
        b"end ",
        b"*",
    ];
    let (world, run) = drained_world(|dir| {
        for (place, name) in names.iter().enumerate() {
            fs::write(
                dir.join(std::ffi::OsStr::from_bytes(name)),
                vec![b'x'; place],
            )
            .unwrap();
        }
        fs::create_dir_all(dir.join("d/empty")).unwrap();
        fs::write(dir.join("d/f"), "f").unwrap();
        fs::hard_link(dir.join("a-b"), dir.join("hard")).unwrap();
        symlink("a", dir.join("soft")).unwrap();
        fs::File::create(dir.join("sparse"))
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        let long = dir.join("l".repeat(200)).join("m".repeat(200));
        fs::create_dir_all(&long).unwrap();
        fs::write(long.join("n"), "n").unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(dir.join("pipe"))
                .status()
                .unwrap()
                .success()
        );
    });
    let (kept, meter, result) = drain(&world, &run);
    let drained = result.unwrap();
    let mut sorted = kept.names.clone();
    // Directories end in a slash in a tar, and not in the order.
    sorted.sort_by_key(|name| name.strip_suffix(b"/").map_or(name.clone(), <[u8]>::to_vec));
    assert_eq!(kept.names[1..], sorted[1..]);
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (place, name) in names.iter().enumerate() {
        expected.insert([b"./", *name].concat(), vec![b'x'; place]);
    }
    expected.insert(b"./d/f".to_vec(), b"f".to_vec());
    expected.insert(b"./hard".to_vec(), b"x".to_vec());
    expected.insert(b"./sparse".to_vec(), vec![0; 1 << 20]);
    let long = format!("./{}/{}/n", "l".repeat(200), "m".repeat(200));
    expected.insert(long.into_bytes(), b"n".to_vec());
    assert_eq!(kept.files, expected);
    assert_eq!(drained.files, 14);
    assert_eq!(meter.total(), Some(drained.bytes));
    assert_eq!(meter.done(), drained.bytes);
    assert_eq!(drained.unrestorable.count, 7, "{:?}", drained.unrestorable);
    assert!(
        drained
            .unrestorable
            .examples
            .contains(&"./soft (link)".to_owned())
    );
    assert!(
        drained
            .unrestorable
            .examples
            .contains(&"./pipe (device)".to_owned())
    );
    assert!(
        world
            .monitor
            .text()
            .contains("7 entries are kept but not restorable by bbr")
    );
    finish(&world, &run);
}

#[test]
fn many_files_in_many_ranges_keep_their_order() {
    let (world, run) = drained_world(|dir| {
        for place in 0..20_000 {
            let sub = dir.join(format!("d{}", place % 7));
            fs::create_dir_all(&sub).unwrap();
            fs::write(sub.join(format!("f{place}")), place.to_string()).unwrap();
        }
    });
    let (kept, _, result) = drain(&world, &run);
    assert_eq!(result.unwrap().files, 20_000);
    assert_eq!(kept.files[&b"./d0/f19999"[..]], b"19999");
    finish(&world, &run);
}

#[test]
fn a_file_that_changed_between_sum_and_tar_is_taken_again() {
    let (world, run) = drained_world(|dir| {
        fs::write(dir.join("a"), "a").unwrap();
        fs::write(dir.join("b\\1"), "b1").unwrap();
        fs::write(dir.join("c"), "c").unwrap();
    });
    // The sums are there before tar starts.
    let (file, sums) = (
        world.store("g/u0", "bbr-backup/j/b\\1"),
        world.store("g/u0", "bbr-backup.lifeboat/drain/j"),
    );
    world.remote("g/u0").before("tar the artifact", move || {
        for _ in 0..1000 {
            if fs::read_dir(&sums).unwrap().all(|entry| {
                !entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .starts_with("part.")
            }) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        fs::write(&file, "longer than before").unwrap();
    });
    let (kept, _, result) = drain(&world, &run);
    let drained = result.unwrap();
    assert_eq!((drained.files, drained.again, kept.again), (3, 1, 1));
    assert_eq!(kept.files[&b"./b\\1"[..]], b"longer than before");
    assert_eq!(kept.names.len(), 4);
    assert!(
        world
            .monitor
            .text()
            .contains("./b\\\\1 changed while it was read")
    );
}

#[test]
fn a_file_that_does_not_stop_changing_fails_and_is_named() {
    let (world, run) = drained_world(|dir| fs::write(dir.join("b"), "b").unwrap());
    let sums = world.store("g/u0", "bbr-backup.lifeboat/drain/j");
    let file = world.store("g/u0", "bbr-backup/j/b");
    let mut count = 0;
    let mut grow = move || {
        count += 1;
        fs::write(&file, "x".repeat(count)).unwrap();
    };
    let grow_again = {
        let file = world.store("g/u0", "bbr-backup/j/b");
        let mut count = 100;
        move || {
            count += 1;
            fs::write(&file, "x".repeat(count)).unwrap();
        }
    };
    world.remote("g/u0").before("tar the artifact", move || {
        while fs::read_dir(&sums).unwrap().any(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .starts_with("part.")
        }) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        grow();
    });
    world
        .remote("g/u0")
        .before("tar one file again", grow_again);
    let (kept, _, result) = drain(&world, &run);
    let text = result.unwrap_err().to_string();
    assert!(text.contains("./b does not stop changing"), "{text}");
    assert_eq!(kept.again, 2);
    run.finish(&never()).unwrap();
}

#[test]
fn a_file_that_vanished_is_named() {
    let (world, run) = drained_world(|dir| {
        fs::write(dir.join("a"), "a").unwrap();
        fs::write(dir.join("b"), "b").unwrap();
        fs::write(dir.join("c"), "c").unwrap();
    });
    let file = world.store("g/u0", "bbr-backup/j/b");
    world
        .remote("g/u0")
        .before("hash the artifact", move || drop(fs::remove_file(&file)));
    let text = drain(&world, &run).2.unwrap_err().to_string();
    assert!(text.contains("artifact g-0-j.tar"), "{text}");
    assert!(text.contains("./b"), "{text}");
    run.finish(&never()).unwrap();
}

#[test]
fn an_artifact_that_is_gone_is_an_error() {
    let (world, run) = drained_world(|dir| fs::remove_dir(dir).unwrap());
    let text = drain(&world, &run).2.unwrap_err().to_string();
    assert!(
        text.contains("listing of artifact g-0-j.tar failed"),
        "{text}"
    );
    run.finish(&never()).unwrap();
}

#[test]
fn a_stream_without_exit_status_is_an_error() {
    for label in ["tar the artifact", "hash the artifact", "list the artifact"] {
        let (world, run) = drained_world(|dir| fs::write(dir.join("a"), "a").unwrap());
        world.remote("g/u0").fault(label, Fault::Lost, 1);
        let text = drain(&world, &run).2.unwrap_err().to_string();
        assert!(text.contains("before `"), "{label}: {text}");
        run.finish(&never()).unwrap();
    }
}

#[test]
fn a_signal_ends_a_drain() {
    let (world, run) = drained_world(|dir| fs::write(dir.join("a"), "a").unwrap());
    let signal = crate::shutdown::Shutdown::new();
    let flag = signal.clone();
    world
        .remote("g/u0")
        .before("tar the artifact", move || flag.raise());
    let mut kept = Kept::default();
    let meter = Meter::new("j", None);
    let error = run
        .drain(
            &run.artifacts()[0],
            &mut Alone(&mut kept),
            &meter,
            &Silent,
            &signal,
        )
        .unwrap_err();
    assert!(error.is_stopped(), "{error}");
    run.finish(&never()).unwrap();
}

#[test]
fn a_file_that_grows_under_tar_is_a_warning_and_comes_whole() {
    struct Slow(Kept, PathBuf);
    impl EntrySink for Slow {
        fn file(
            &mut self,
            head: &[u8],
            size: u64,
            content: &mut dyn Read,
        ) -> anyhow::Result<Digest> {
            let mut first = vec![0; 1 << 20];
            content.read_exact(&mut first)?;
            let mut file = fs::OpenOptions::new().append(true).open(&self.1)?;
            file.write_all(b"more")?;
            self.0.file(head, size, &mut (&first[..]).chain(content))
        }
        fn again(
            &mut self,
            head: &[u8],
            size: u64,
            content: &mut dyn Read,
        ) -> anyhow::Result<Digest> {
            self.0.again(head, size, content)
        }
        fn other(&mut self, head: &[u8]) -> anyhow::Result<()> {
            self.0.other(head)
        }
        fn end(&mut self, zeros: u64) -> anyhow::Result<()> {
            self.0.end(zeros)
        }
    }
    let (world, run) = drained_world(|dir| fs::write(dir.join("big"), vec![7; 16 << 20]).unwrap());
    let mut slow = Slow(Kept::default(), world.store("g/u0", "bbr-backup/j/big"));
    let meter = Meter::new("j", None);
    let drained = run
        .drain(
            &run.artifacts()[0],
            &mut Alone(&mut slow),
            &meter,
            &world.monitor,
            &never(),
        )
        .unwrap();
    // Whether the sum was taken before or after it grew: what is kept is what was summed.
    let kept = slow.0.files[&b"./big"[..]].len();
    assert!(kept == 16 << 20 || kept == (16 << 20) + 4, "{kept}");
    assert!(
        drained
            .warnings
            .iter()
            .any(|line| line.contains("file changed as we read it")),
        "{drained:?}"
    );
    run.finish(&never()).unwrap();
}

#[test]
fn what_the_sink_says_is_passed_on() {
    struct Full;
    impl EntrySink for Full {
        fn file(&mut self, _: &[u8], _: u64, _: &mut dyn Read) -> anyhow::Result<Digest> {
            anyhow::bail!("the store is full")
        }
        fn again(&mut self, _: &[u8], _: u64, _: &mut dyn Read) -> anyhow::Result<Digest> {
            anyhow::bail!("never")
        }
        fn other(&mut self, _: &[u8]) -> anyhow::Result<()> {
            Ok(())
        }
        fn end(&mut self, _: u64) -> anyhow::Result<()> {
            Ok(())
        }
    }
    let (world, run) = drained_world(|dir| fs::write(dir.join("a"), vec![0; 1 << 22]).unwrap());
    let meter = Meter::new("j", None);
    let error = run
        .drain(
            &run.artifacts()[0],
            &mut Alone(&mut Full),
            &meter,
            &world.monitor,
            &never(),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "drain: artifact g-0-j.tar could not be stored: the store is full"
    );
    run.finish(&never()).unwrap();
}
