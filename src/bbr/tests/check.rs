use super::super::testing::{Fault, World};
use super::{manifest, never};

fn errors(world: &World) -> String {
    let error = world.run().check(&world.monitor, &never()).unwrap_err();
    error.to_string()
}

#[test]
fn a_sound_target_passes_and_nothing_is_changed() {
    let world = World::with(&[
        ("j", "backup", ""),
        ("j", "metadata", "echo 'restore_name: x'"),
    ]);
    let checked = world.run().check(&world.monitor, &never()).unwrap();
    assert_eq!(checked.artifacts, 1);
    assert!(checked.space[0].free.is_some());
    assert!(world.leftovers("g/u0").is_empty());
    assert!(world.monitor.text().contains("bbr will refuse to restore"));
}

#[test]
fn a_target_without_backup_scripts_is_named() {
    let world = World::with(&[("j", "pre-backup-lock", "")]);
    let text = errors(&world);
    assert!(text.contains("dep cannot be backed up"), "{text}");
}

#[test]
fn all_instances_with_leftovers_are_in_one_error() {
    let mut world = World::new();
    for index in 0..3 {
        world.instance("g", index);
        world.script(&format!("g/u{index}"), "j", "backup", "");
    }
    std::fs::create_dir(world.store("g/u0", "bbr-backup")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.store("g/u1", "bbr-backup")).unwrap();
    std::fs::create_dir(world.store("g/u2", "bbr-backup.lifeboat")).unwrap();
    let text = errors(&world);
    assert!(
        text.contains("bbr-backup exists on g/u0, g/u1, and"),
        "{text}"
    );
    assert!(
        text.contains("bbr-backup.lifeboat exists on g/u2"),
        "{text}"
    );
    assert!(text.contains("run the cleanup"), "{text}");
    assert!(world.store("g/u0", "bbr-backup").exists());
}

#[test]
fn an_instance_that_cannot_be_asked_is_not_taken_for_clean() {
    let world = World::with(&[("j", "backup", "")]);
    let run = world.run();
    world.remote("g/u0").fault("leftovers", Fault::Refused, 1);
    let error = run.check(&world.monitor, &never()).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn a_circle_is_refused_also_for_one_job() {
    let mut world = World::with(&[
        ("a", "backup", ""),
        (
            "a",
            "metadata",
            "echo 'backup_should_be_locked_before: [{job_name: a, release: r}]'",
        ),
    ]);
    world.manifest = manifest("g", &["a"]);
    let text = errors(&world);
    assert!(
        text.contains("locked before each other: a on g/u0"),
        "{text}"
    );
}

const SHARED: &str =
    "jobs: [{name: j, release: r, properties: {bbr: {backup_one_restore_all: true}}}]";

#[test]
fn shared_artifacts_need_one_group_and_a_bootstrap_instance() {
    let mut world = World::new();
    for (group, index) in [("g", 0), ("g", 1), ("h", 0)] {
        world.instance(group, index);
        world.script(&format!("{group}/u{index}"), "j", "backup", "");
    }
    world.manifest = format!("instance_groups: [{{name: g, {SHARED}}}]");
    world.run().check(&world.monitor, &never()).unwrap();
    let names: Vec<String> = world
        .run()
        .artifacts()
        .into_iter()
        .map(|artifact| artifact.place.file_name)
        .collect();
    assert_eq!(
        names,
        ["g-1-j.tar", "h-0-j.tar", "j-r-backup-one-restore-all.tar"]
    );
    world.manifest = format!("instance_groups: [{{name: g, {SHARED}}}, {{name: h, {SHARED}}}]");
    let text = errors(&world);
    assert!(text.contains("groups g and h would all write"), "{text}");
    assert_eq!(text.matches("would").count(), 1, "{text}");
    world.manifest = format!("instance_groups: [{{name: g, {SHARED}}}]");
    world.host_mut("g/u0").bootstrap = false;
    let text = errors(&world);
    assert!(
        text.contains("no instance of group g is its bootstrap instance"),
        "{text}"
    );
    world.host_mut("g/u0").bootstrap = true;
    world.host_mut("g/u1").bootstrap = true;
    let text = errors(&world);
    assert!(
        text.contains("j on g/u0 and j on g/u1 would write the same"),
        "{text}"
    );
}

#[test]
fn two_names_that_meet_in_one_file_are_refused() {
    let mut world = World::new();
    world.instance("a", 0);
    world.instance("a-0", 1);
    world.script("a/u0", "1-b", "backup", "");
    world.script("a-0/u1", "b", "backup", "");
    let text = errors(&world);
    assert!(text.contains("the same artifact a-0-1-b.tar"), "{text}");
}
