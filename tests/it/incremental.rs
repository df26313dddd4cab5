//! The incremental drain over a real sshd with the real tools: what it gives is what a full drain
//! gives, byte for byte, and what it costs follows what changed.

mod histories;
mod instance;
mod model;
mod whole;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lifeboat::bbr::{Drained, How};

use self::instance::Instance;
use self::model::Model;

/// Files of some kilobytes each.
fn fill(dir: &Path, files: usize) {
    for place in 0..files {
        let sub = dir.join(format!("d{}", place % 7));
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join(format!("f{place:05}")), content(place, 3_000)).unwrap();
    }
}

fn content(seed: usize, size: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    };
    (0..size).map(|_| next()).collect()
}

/// Drains incrementally and in full, and compares.
fn continued(instance: &Instance, base: &Arc<Model>) -> (Model, Drained) {
    let mut model = Model::on(base, 0);
    let drained = instance.drain(&mut model).unwrap();
    let (full, all) = instance.full();
    assert!(model.tar() == full.tar(), "the tars differ");
    assert_eq!((drained.files, drained.bytes), (all.files, all.bytes));
    (model, drained)
}

fn is_full_because(drained: &Drained, part: &str) {
    match &drained.how {
        How::FullBecause(why) => assert!(why.contains(part), "{why}"),
        how => panic!("{how:?}"),
    }
}

#[test]
fn an_unchanged_artifact_costs_a_record_for_each_page() {
    let instance = Instance::new();
    fill(&instance.artifact(), 5_000);
    let (base, first) = instance.full();
    instance.said();
    let (model, second) = continued(&instance, &base);
    assert_eq!((&first.how, &second.how), (&How::Full, &How::Incremental));
    assert_eq!((second.kept_files, model.sent), (5_000, 0));
    assert!(model.opened.is_empty(), "{:?}", model.opened);
    assert!(second.wire_bytes < 2_000, "{}", second.wire_bytes);
    let said = instance.said();
    assert!(said.contains("g/u0, artifact g-0-j.tar: hashed 5000 files, 14.3 MiB, in "));
    assert!(said.contains(" s with openssl, "), "{said}");
    instance.finish();
}

#[test]
fn one_changed_file_in_a_hundred_costs_its_bytes_and_its_pages_tags() {
    let instance = Instance::new();
    let dir = instance.artifact();
    fill(&dir, 5_000);
    let (base, first) = instance.full();
    for place in (0..5_000).step_by(100) {
        let path = dir.join(format!("d{}/f{place:05}", place % 7));
        fs::write(path, content(place + 1, 3_000)).unwrap();
    }
    let (model, second) = continued(&instance, &base);
    assert_eq!((model.sent, second.kept_files), (50, 4_950));
    let share = second.wire_bytes * 100 / first.wire_bytes;
    assert!(share < 3, "{} of {}", second.wire_bytes, first.wire_bytes);
    // Changes in one place open one page.
    let (base, _) = instance.full();
    fs::write(dir.join("d3/f00003"), "other").unwrap();
    let (model, _) = continued(&instance, &base);
    assert_eq!((model.sent, model.opened.len()), (1, 1));
    instance.finish();
}

#[test]
fn what_is_renamed_or_has_other_metadata_is_not_sent_again() {
    let instance = Instance::new();
    let dir = instance.artifact();
    fill(&dir, 40);
    let (base, _) = instance.full();
    fs::rename(dir.join("d0/f00000"), dir.join("d5/moved")).unwrap();
    let long = dir.join("d1").join("l".repeat(150));
    fs::rename(dir.join("d1/f00001"), long).unwrap();
    let mode = fs::Permissions::from_mode(0o4711);
    fs::set_permissions(dir.join("d2/f00002"), mode).unwrap();
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(77);
    let file = fs::File::options().write(true).open(dir.join("d3/f00003"));
    file.unwrap().set_modified(early).unwrap();
    let (model, drained) = continued(&instance, &base);
    assert_eq!((model.sent, drained.kept_files), (0, 40));
    instance.finish();
}

#[test]
fn same_size_and_time_but_other_content_is_noticed() {
    let instance = Instance::new();
    let path = instance.artifact().join("f");
    fs::write(&path, "before").unwrap();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let (base, _) = instance.full();
    fs::write(&path, "behind").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    let (model, _) = continued(&instance, &base);
    assert_eq!(model.sent, 1);
    instance.finish();
}

#[test]
fn empty_artifacts_and_those_without_files_are_continued() {
    let instance = Instance::new();
    let dir = instance.artifact();
    let (empty, _) = instance.full();
    fs::create_dir_all(dir.join("a/b")).unwrap();
    symlink("nowhere", dir.join("soft")).unwrap();
    // There is no page to continue.
    assert_eq!(continued(&instance, &empty).1.how, How::Full);
    fs::write(dir.join("f"), "").unwrap();
    let (base, _) = instance.full();
    fs::remove_file(dir.join("f")).unwrap();
    let (_, drained) = continued(&instance, &base);
    assert_eq!((drained.how, drained.files), (How::Incremental, 0));
    assert_eq!(drained.unrestorable.count, 1);
    instance.finish();
}

#[test]
fn a_file_that_changes_between_listing_and_tar_is_taken_again() {
    let instance = Instance::new();
    let dir = instance.artifact();
    fill(&dir, 10);
    let (base, _) = instance.full();
    let path = dir.join("d4/f00004");
    fs::write(&path, "listed").unwrap();
    instance.before("tar what changed", move || {
        fs::write(&path, "longer than it was listed").unwrap();
    });
    let mut model = Model::on(&base, 0);
    let drained = instance.drain(&mut model).unwrap();
    assert_eq!((drained.again, model.sent), (1, 2));
    assert!(instance.said().contains("./d4/f00004 changed while it was"));
    assert!(model.tar() == instance.full().0.tar());
    assert_eq!(model.tar().len() % 10_240, 0);
    instance.finish();
}

#[test]
fn a_file_that_vanishes_fails_the_drain() {
    let instance = Instance::new();
    let dir = instance.artifact();
    fill(&dir, 10);
    let (base, _) = instance.full();
    let path = dir.join("d4/f00004");
    fs::write(&path, "listed").unwrap();
    instance.before("tar what changed", move || drop(fs::remove_file(&path)));
    let error = instance.drain(&mut Model::on(&base, 0)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("./d4/f00004"), "{text}");
    instance.finish();
}

#[test]
fn each_tool_that_hashes_will_do() {
    for (without, used) in [
        (&["openssl"][..], "with sha256sum"),
        (&["ionice"], "with openssl, "),
    ] {
        let instance = Instance::new();
        fill(&instance.artifact(), 300);
        let (base, _) = instance.full();
        fs::write(instance.artifact().join("d2/f00002"), "other").unwrap();
        instance.tools(without, &[]);
        let mut model = Model::on(&base, 0);
        let drained = instance.drain(&mut model).unwrap();
        assert_eq!(drained.how, How::Incremental, "{without:?}");
        let said = instance.said();
        assert!(said.contains(used), "{said}");
        assert!(model.tar() == instance.full().0.tar());
        instance.finish();
    }
}

#[test]
fn much_is_hashed_with_the_fastest() {
    let instance = Instance::new();
    let dir = instance.artifact();
    for place in 0..3 {
        fs::write(dir.join(format!("big{place}")), vec![place; 40 << 20]).unwrap();
    }
    let (base, first) = instance.full();
    assert_eq!(first.again, 0, "{}", instance.said());
    let slow = "#!/bin/sh\ncase $1 in dgst) sleep 1;; esac\nexec /usr/bin/openssl \"$@\"\n";
    let slower = "#!/bin/sh\nsleep 2\nexec /usr/bin/sha256sum \"$@\"\n";
    instance.tools(&[], &[("openssl", slow), ("sha256sum", slower)]);
    let drained = instance.drain(&mut Model::on(&base, 0)).unwrap();
    assert_eq!((drained.how, drained.kept_files), (How::Incremental, 3));
    let said = instance.said();
    assert!(said.contains("s with perl, "), "{said}");
    instance.finish();
}

#[test]
fn where_the_instance_cannot_tell_all_is_drained_and_it_is_said_why() {
    let no_sha = "#!/bin/sh\nshift\nexec /usr/bin/perl -MNo::Such -e \"$@\"\n";
    for (without, with, why) in [
        (&["perl"][..], &[][..], "perl"),
        (&[], &[("perl", no_sha)], "No/Such.pm"),
        (&["find"], &[], "find"),
    ] {
        let instance = Instance::new();
        fill(&instance.artifact(), 20);
        let (base, _) = instance.full();
        instance.tools(without, with);
        let mut model = Model::on(&base, 0);
        if without.contains(&"find") {
            // Nothing can be drained without it.
            let text = instance.drain(&mut model).unwrap_err().to_string();
            assert!(text.contains("listing of artifact g-0-j.tar"), "{text}");
            assert!(instance.said().contains(why));
            continue;
        }
        is_full_because(&instance.drain(&mut model).unwrap(), why);
        let said = instance.said();
        assert!(said.contains("all of it is drained: "), "{said}");
        assert!(model.tar() == instance.full().0.tar());
        instance.finish();
    }
}

#[test]
fn a_base_that_cannot_be_read_is_not_continued() {
    let instance = Instance::new();
    fill(&instance.artifact(), 20);
    let (base, _) = instance.full();
    fs::write(instance.artifact().join("new"), "new").unwrap();
    let mut model = Model::on(&base, 0);
    model.broken = true;
    let drained = instance.drain(&mut model).unwrap();
    is_full_because(&drained, "the base cannot be read: no store has it");
    assert_eq!((model.sent, model.whole), (21, true));
    instance.finish();
}

#[test]
fn an_instance_that_lies_is_drained_in_full() {
    for (label, script, why) in [
        (
            "list and hash",
            "echo gibberish",
            "something else than pages",
        ),
        ("list and hash", "exit 3", "status 3"),
        ("list and hash", "printf P", "fill whole buffer"),
        (
            "what the base may have",
            "head -c 5 /dev/zero",
            "fill whole buffer",
        ),
        (
            "what the base may have",
            "head -c 900 /dev/zero",
            "more than was asked",
        ),
        (
            "what the base may have",
            "head -c 210 /dev/zero",
            "holds a line",
        ),
        ("tell what changed", "printf 'x\\0'", "a line that is none"),
        ("tell what changed", "cat /dev/zero", "a line that is none"),
        (
            "tell what changed",
            "tr '\\0' x </dev/zero",
            "inside a line",
        ),
        ("how tar writes", "head -c 4 /dev/zero", "in another way"),
        ("how tar writes", "tr '\\0' x </dev/zero", "too long"),
    ] {
        let instance = Instance::new();
        fill(&instance.artifact(), 20);
        let (base, _) = instance.full();
        let dir = instance.artifact();
        fs::rename(dir.join("d0/f00000"), dir.join("moved")).unwrap();
        fs::write(dir.join("new"), "new").unwrap();
        instance.instead(label, script);
        if why == "holds a line" {
            instance.instead("tell what changed", "printf 'x\\0'");
        }
        let mut model = Model::on(&base, 0);
        let drained = instance.drain(&mut model).unwrap();
        is_full_because(&drained, why);
        assert_eq!(model.sent, 21, "{label} {script}");
    }
}

#[test]
fn a_tar_that_writes_other_headers_is_noticed_before_anything_is_taken() {
    let instance = Instance::new();
    fill(&instance.artifact(), 20);
    let (base, _) = instance.full();
    let dir = instance.artifact();
    fs::rename(dir.join("d0/f00000"), dir.join("moved")).unwrap();
    let numeric = "#!/bin/sh\nexec /usr/bin/tar --numeric-owner \"$@\"\n";
    instance.tools(&[], &[("tar", numeric)]);
    let mut model = Model::on(&base, 0);
    let drained = instance.drain(&mut model).unwrap();
    is_full_because(&drained, "its tar writes headers in another way");
    assert!(model.tar() == instance.full().0.tar());
    instance.finish();
}
