use super::super::testing::{Fault, World};
use super::super::{Kind, Phase, Script, discover};
use super::{before, manifest, never};

#[test]
fn scripts_are_found_by_name_and_place_and_metadata_is_run_with_the_version() {
    let mut world = World::with(&[
        ("j", "backup", ""),
        ("j", "metadata", "echo \"x: $BBR_VERSION\"; env >seen"),
        ("a", "post-backup-unlock", ""),
    ]);
    world.manifest = manifest("g", &["a", "j"]);
    let dir = world.dir("g/u0").join("jobs");
    std::fs::create_dir_all(dir.join("deep/bin/bbr/sub")).unwrap();
    std::fs::write(dir.join("deep/bin/bbr/sub/backup"), "").unwrap();
    std::fs::write(dir.join("deep/bin/bbr/other"), "").unwrap();
    std::fs::create_dir_all(dir.join("linked/bin/bbr")).unwrap();
    std::os::unix::fs::symlink("/bin/true", dir.join("linked/bin/bbr/backup")).unwrap();
    std::os::unix::fs::symlink("gone", dir.join("vanished")).unwrap();
    let target = world.discover().unwrap();
    let jobs = &target.instances[0].jobs;
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["a", "j"]);
    assert_eq!(jobs[1].release, "r");
    assert!(jobs[1].has(Script::Backup));
    assert!(
        world
            .monitor
            .text()
            .contains("Info g/u0/j: metadata, backup\n")
    );
    let seen = std::fs::read_to_string(world.dir("g/u0").join("seen")).unwrap();
    assert!(seen.contains("BBR_VERSION=9.9.9"), "{seen}");
    assert!(world.journal().is_empty());
    assert!(world.leftovers("g/u0").is_empty());
}

#[test]
fn a_symlinked_job_directory_is_followed() {
    let world = World::with(&[("real", "backup", "")]);
    let jobs = world.dir("g/u0").join("jobs");
    let data = world.dir("g/u0").join("data");
    std::fs::rename(jobs.join("real"), &data).unwrap();
    std::os::unix::fs::symlink(&data, jobs.join("job")).unwrap();
    assert_eq!(world.discover().unwrap().instances[0].jobs[0].name, "job");
}

#[test]
fn every_host_is_visited_and_the_order_is_ours() {
    let mut world = World::new();
    for index in [10, 2, 1] {
        world.instance("b", index);
    }
    world.instance("a", 0);
    world.script("b/u2", "j", "backup", "");
    let target = world.discover().unwrap();
    let names: Vec<String> = target.instances.iter().map(|host| host.name()).collect();
    assert_eq!(names, ["a/u0", "b/u1", "b/u2", "b/u10"]);
    assert!(target.instances[0].jobs.is_empty());
    assert_eq!(
        target.artifacts(super::super::Direction::Backup)[0]
            .place
            .file_name,
        "b-2-j.tar"
    );
}

#[test]
fn a_host_without_a_jobs_directory_has_no_scripts() {
    let world = World::with(&[]);
    std::fs::remove_dir(world.dir("g/u0").join("jobs")).unwrap();
    assert!(world.discover().unwrap().instances[0].jobs.is_empty());
}

#[test]
fn a_search_without_exit_status_does_not_mean_that_there_are_no_scripts() {
    let world = World::with(&[("j", "backup", "")]);
    world
        .remote("g/u0")
        .fault("search for scripts", Fault::Lost, 1);
    let error = world.discover().unwrap_err();
    assert_eq!(error.list()[0].phase, Phase::Discovery);
    assert!(error.to_string().contains("search for scripts"), "{error}");
}

#[test]
fn windows_hosts_are_left_out_of_deployments_only() {
    let world = World::with(&[("j", "backup", "")]);
    let target = discover(
        "director",
        world.hosts(),
        Kind::Director,
        &world.settings,
        &world.monitor,
        &never(),
    )
    .unwrap();
    assert_eq!(target.instances.len(), 1);
    assert_eq!(world.remote("g/u0").count("Windows test"), 0);
    world
        .remote("g/u0")
        .fault("Windows test", Fault::Says("Windows_NT\r"), 1);
    assert!(world.discover().unwrap().instances.is_empty());
    assert!(world.monitor.text().contains("Warn g/u0 runs Windows"));
    assert_eq!(world.remote("g/u0").count("search"), 1);
}

#[test]
fn disabled_and_ignored_jobs_are_left_out_and_said() {
    let world = World::with(&[
        ("off", "backup", ""),
        ("off", "metadata", "echo 'skip_bbr_scripts: yes'"),
        ("mysql-backup", "backup", ""),
        ("mysql-backup", "metadata", "touch ran; exit 1"),
        ("old", "backup", ""),
        ("old", "metadata", "echo 'backup_name: x'"),
    ]);
    let target = world.discover().unwrap();
    assert_eq!(target.instances[0].jobs.len(), 1);
    assert!(!world.dir("g/u0").join("ran").exists());
    let text = world.monitor.text();
    assert!(
        text.contains("Debug g/u0: left out by skip_bbr_scripts: off"),
        "{text}"
    );
    assert!(text.contains("job mysql-backup are ignored"), "{text}");
    assert!(
        text.contains("Warn g/u0: metadata of job old has backup_name"),
        "{text}"
    );
}

#[test]
fn a_failing_metadata_script_is_told_once_with_what_it_said() {
    let world = World::with(&[("j", "metadata", "echo boom >&2; exit 3")]);
    let error = world.discover().unwrap_err().to_string();
    assert_eq!(
        error,
        "discovery: metadata of job j on g/u0 failed with exit code 3: boom"
    );
}

#[test]
fn bad_metadata_names_the_job_and_the_instance() {
    for (output, says) in [
        ("echo nonsense", "as the contract wants it"),
        ("echo 'skip_bbr_scripts: \"true\"'", "without quotes"),
        (
            "echo 'backup_should_be_locked_before: [{job_name: a}]'",
            "no release",
        ),
    ] {
        let world = World::with(&[("j", "metadata", output)]);
        let error = world.discover().unwrap_err().to_string();
        assert!(error.contains("metadata of job j on g/u0"), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_instance_without_index_and_a_host_that_refuses_are_both_told() {
    let mut world = World::new();
    world.instance("g", 0);
    world.instance("g", 1);
    world.host_mut("g/u0").index = None;
    world.remote("g/u1").fault("", Fault::Refused, 1);
    let error = world.discover().unwrap_err();
    assert_eq!(error.list().len(), 2, "{error}");
    assert!(
        error.to_string().contains("no index for instance g/u0"),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("g/u1: the connection was refused"),
        "{error}"
    );
}

#[test]
fn add_ons_have_no_release_and_directors_need_none() {
    let world = World::with(&[("a", "metadata", &before(&["b"])), ("b", "backup", "")]);
    let target = world.discover().unwrap();
    assert!(
        world
            .monitor
            .text()
            .contains("job b of group g is not in the deployment manifest")
    );
    let order = target.lock_order(super::super::Direction::Backup).unwrap();
    assert_eq!(order.levels().len(), 1);
    let target = discover(
        "director",
        world.hosts(),
        Kind::Director,
        &world.settings,
        &world.monitor,
        &never(),
    )
    .unwrap();
    let order = target.lock_order(super::super::Direction::Backup).unwrap();
    assert_eq!(order.levels(), [[0], [1]]);
    assert!(
        world
            .monitor
            .text()
            .contains("at backup, a is locked before b")
    );
}

#[test]
fn a_manifest_that_is_no_yaml_ends_it_before_any_host_is_asked() {
    let mut world = World::with(&[("j", "backup", "")]);
    world.manifest = "a: [".to_owned();
    assert!(
        world
            .discover()
            .unwrap_err()
            .to_string()
            .contains("not YAML")
    );
    assert_eq!(world.remote("g/u0").count(""), 0);
}
