//! What is not staged, or not used, and what is said then.

use serde_json::json;

use super::{COMPONENT, INSTANCE, STAGE, backup, restored, scene, sent, shell, spec, stage};
use crate::support::process::{finish, start};
use crate::support::scene::Scene;

#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    let scene = scene();
    let (id, left) = backup(&scene);
    for (make, whole) in [
        (
            format!("mkdir -m 700 {STAGE}; echo precious >{STAGE}/file"),
            true,
        ),
        (format!("mkdir -m 755 {STAGE}"), true),
        (
            format!("mkdir /var/vcap/store/else; ln -s else {STAGE}"),
            true,
        ),
        (format!("echo precious >{STAGE}"), true),
        // As a run leaves it that was killed before it could mark it.
        (
            format!("mkdir -m 700 {STAGE}; : >{STAGE}/mark.new.17"),
            false,
        ),
    ] {
        shell(&scene, &make);
        let before = shell(
            &scene,
            &format!("find {STAGE} {STAGE}/ -printf '%p %y %m %u %T@ %l\\n' | sort"),
        );
        if !whole {
            stage(&scene, &[]).ok();
            shell(&scene, &format!("rm -rf {STAGE}"));
            continue;
        }
        let last = stage(&scene, &[]).fails(1).last_line();
        for part in [
            "cannot be staged: /var/vcap/store/lifeboat-stage is not ours",
            "move it away",
            "nothing was locked; 0 artifacts are staged",
        ] {
            assert!(last.contains(part), "{make}: {last}");
        }
        let log = restored(&scene, &id, &left);
        assert!(
            log.contains("what is staged is not used: /var/vcap/store/lifeboat-stage is not ours"),
            "{log}"
        );
        assert_eq!(sent(&log), None);
        let last = stage(&scene, &["--remove"]).fails(1).last_line();
        assert!(last.contains("is not ours"), "{last}");
        assert_eq!(
            shell(
                &scene,
                &format!("find {STAGE} {STAGE}/ -printf '%p %y %m %u %T@ %l\\n' | sort")
            ),
            before
        );
        shell(&scene, &format!("rm -rf {STAGE} /var/vcap/store/else"));
    }
}

#[test]
fn what_is_on_another_file_system_or_of_another_artifact_is_not_used() {
    let scene = scene();
    let (id, left) = backup(&scene);
    shell(
        &scene,
        &format!("mkdir -m 700 {STAGE} && mount -t tmpfs -o size=300m,mode=700 tmpfs {STAGE}"),
    );
    stage(&scene, &[]).ok();
    let log = restored(&scene, &id, &left);
    assert!(
        log.contains("not used: it is on another file system; all of it is uploaded"),
        "{log}"
    );
    shell(&scene, &format!("umount {STAGE}; rmdir {STAGE}"));
    // As if the job had been another when it was staged.
    stage(&scene, &[]).ok();
    shell(
        &scene,
        &format!("sed -i s/g-0-j.tar/g-1-j.tar/ {STAGE}/of/j/note"),
    );
    let log = restored(&scene, &id, &left);
    assert!(
        log.contains("not used: it is of another artifact, or of none"),
        "{log}"
    );
    // The next run begins it anew.
    let log = stage(&scene, &[]).ok().log();
    assert!(!log.contains(", of which 0, 0 B were sent"), "{log}");
    let log = restored(&scene, &id, &left);
    assert_eq!(sent(&log), Some(0), "{log}");
}

#[test]
fn a_tool_that_is_missing_costs_the_upload_of_everything_and_no_more() {
    let scene = scene();
    let (id, left) = backup(&scene);
    for tool in ["perl", "gzip", "flock"] {
        stage(&scene, &[]).ok();
        shell(&scene, &format!("echo more >>{STAGE}/of/j/tree/more"));
        let place = format!("$(readlink -f /usr/bin/{tool})");
        shell(&scene, &format!("mount --bind /dev/null {place}"));
        let last = stage(&scene, &[]).fails(1).last_line();
        let said = format!("g/u0 lacks {tool}, which staging needs there");
        assert!(last.contains(&said), "{last}");
        let log = restored(&scene, &id, &left);
        shell(&scene, &format!("umount {place}"));
        assert!(
            log.contains("what is staged is not used: "),
            "{tool}: {log}"
        );
        assert!(log.contains("all of it is uploaded"), "{tool}: {log}");
        shell(&scene, &format!("test -e {STAGE}/of/j/tree/more"));
    }
}

#[test]
fn what_cannot_be_renamed_at_last_is_uploaded_whole() {
    let scene = scene();
    let (id, left) = backup(&scene);
    stage(&scene, &[]).ok();
    shell(
        &scene,
        &format!("mount --bind {STAGE}/of/j/tree {STAGE}/of/j/tree"),
    );
    let log = restored(&scene, &id, &left);
    assert!(log.contains("taking what was staged"), "{log}");
    assert!(log.contains("all of it is uploaded"), "{log}");
    shell(&scene, &format!("umount {STAGE}/of/j/tree"));
    let log = restored(&scene, &id, &left);
    assert_eq!(sent(&log), Some(0), "{log}");
}

#[test]
fn a_disk_is_never_filled() {
    let scene = scene();
    backup(&scene);
    scene
        .foundation
        .ask(json!({"do": "run", "instance": INSTANCE,
        "script": "mount -t tmpfs -o size=16m tmpfs /var/vcap/store"}));
    let last = stage(&scene, &[]).fails(1).last_line();
    for part in [
        "g/u0, artifact g-0-j.tar: cannot be staged: ",
        " MiB are needed there and 16 MiB are free, of which 1 MiB must stay free; give it a larger disk",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    let used = shell(&scene, "du -sk /var/vcap/store | cut -f1");
    assert!(used.trim().parse::<u64>().unwrap() < 100, "{used}");
    scene.foundation.assert_clean();
}

#[test]
fn what_is_staged_needs_no_room_again() {
    let scene = scene();
    let (id, _) = backup(&scene);
    // Room for it once, not twice.
    shell(&scene, "mount -t tmpfs -o size=30m tmpfs /var/vcap/store");
    stage(&scene, &[]).ok();
    let log = scene.restore(COMPONENT, &[&id]).ok().log();
    assert_eq!(sent(&log), Some(0), "{log}");
    shell(&scene, "umount /var/vcap/store");
}

#[test]
fn artifacts_of_one_instance_share_its_disk() {
    let mut two = spec();
    let jobs = &mut two["deployments"][0]["groups"][0]["jobs"];
    let other = jobs["j"].clone();
    jobs["k"] = other;
    let scene = Scene::with_stores(&two, &["one"]);
    backup(&scene);
    // Room for either of them, not for both.
    shell(&scene, "mount -t tmpfs -o size=28m tmpfs /var/vcap/store");
    let last = stage(&scene, &[]).fails(1).last_line();
    for part in [
        "g/u0, artifact g-0-k.tar: cannot be staged: ",
        " MiB are needed there and ",
        "give it a larger disk",
        "; 1 artifacts are staged",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    let free = "df -P -k /var/vcap/store | awk 'NR == 2 { print $4 }'";
    let free: u64 = shell(&scene, free).trim().parse().unwrap();
    assert!(free > 28 * 1024 / 20, "{free}");
    shell(&scene, "umount /var/vcap/store");
}

#[test]
fn what_cannot_be_compared_with_what_is_staged_has_no_room_beside_it() {
    let scene = scene();
    let (id, _) = backup(&scene);
    let fetched = scene.download(&id).join(COMPONENT);
    let from = ["--from", fetched.to_str().unwrap()];
    shell(&scene, "mount -t tmpfs -o size=24m tmpfs /var/vcap/store");
    stage(&scene, &[]).ok();
    let last = scene.restore(COMPONENT, &from).fails(1).last_line();
    for part in [
        "what is staged there cannot be used for them: remove it with `lifeboat stage deployment/dep --remove --confirm-target ",
        "nothing was locked and nothing was uploaded",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    stage(&scene, &["--remove"]).ok();
    scene.restore(COMPONENT, &from).ok();
    shell(&scene, "umount /var/vcap/store");
}

#[test]
fn a_doubt_does_not_fill_a_disk() {
    let scene = scene();
    let (id, _) = backup(&scene);
    shell(&scene, "mount -t tmpfs -o size=24m tmpfs /var/vcap/store");
    stage(&scene, &[]).ok();
    let place = "$(readlink -f /usr/bin/perl)";
    shell(&scene, &format!("mount --bind /dev/null {place}"));
    let last = scene.restore(COMPONENT, &[&id]).fails(1).last_line();
    shell(&scene, &format!("umount {place}"));
    for part in [
        "g/u0, artifact g-0-j.tar: what is staged is not used, and beside it ",
        "remove what is staged with `lifeboat stage deployment/dep --remove --confirm-target ",
        "no restore script ran, so the data is as it was",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    // Nothing of it is lost, and it is not noted as whole any more.
    let log = scene.restore(COMPONENT, &[&id]).ok().log();
    assert_eq!(sent(&log), Some(0), "{log}");
    shell(&scene, "umount /var/vcap/store");
}

#[test]
fn what_is_staged_is_removed_when_asked() {
    let scene = scene();
    let (id, left) = backup(&scene);
    stage(&scene, &[]).ok();
    let ended = stage(&scene, &["--remove"]).ok();
    assert_eq!(ended.stdout, "removed what was staged on g/u0\n");
    shell(&scene, &format!("test ! -e {STAGE}"));
    let ended = stage(&scene, &["--remove"]).ok();
    assert_eq!(ended.stdout, "nothing was staged\n");
    assert_eq!(sent(&restored(&scene, &id, &left)), None);
}

#[test]
fn a_target_that_is_not_named_is_not_touched() {
    let scene = scene();
    backup(&scene);
    for (more, said) in [
        (
            json!({}),
            "confirm_target: is missing or empty; what is staged takes room",
        ),
        (
            json!({"confirm_target": "prod-west"}),
            "confirm_target: is not the name that `foundation` has; nothing was touched",
        ),
        (
            json!({"confirm_target": "prod-east", "from": "/tmp", "id": null}),
            "from: holds one artifact directory",
        ),
    ] {
        for remove in [&[][..], &["--remove"]] {
            if more["from"].is_string() && !remove.is_empty() {
                continue;
            }
            let run = scene.lifeboat(&[&["stage", COMPONENT], remove].concat(), &more);
            let last = finish(start(run, "")).fails(1).last_line();
            assert!(last.contains(said), "{last}");
        }
    }
    let run = scene.lifeboat(
        &["stage", "ops-manager"],
        &json!({"confirm_target": "prod-east"}),
    );
    let last = finish(start(run, "")).fails(1).last_line();
    assert!(last.contains("stage[0]: has nothing to stage"), "{last}");
    let run = scene.lifeboat(
        &["stage", "service-instances", "--remove"],
        &json!({"confirm_target": "prod-east"}),
    );
    let last = finish(start(run, "")).fails(1).last_line();
    assert!(
        last.contains("stage[0]: is staged deployment by deployment"),
        "{last}"
    );
    let run = scene.lifeboat(
        &["stage", "latest"],
        &json!({"confirm_target": "prod-east"}),
    );
    let last = finish(start(run, "")).fails(1).last_line();
    assert!(
        last.contains("stage: is missing or empty; name at least one of"),
        "{last}"
    );
    shell(&scene, &format!("test ! -e {STAGE}"));
}

#[test]
fn a_backup_that_was_stored_from_a_directory_is_not_staged_but_restored() {
    let scene = scene();
    let (id, left) = backup(&scene);
    let fetched = scene.download(&id);
    let name = fetched.join(COMPONENT);
    std::fs::rename(&name, scene.scratch.path().join("brought")).unwrap();
    stage(&scene, &[]).ok();
    let brought = scene
        .put(&json!({"from": "brought", "backup": [COMPONENT]}))
        .ok()
        .id();
    let last = stage(&scene, &[]).fails(1).last_line();
    assert!(last.contains("it was stored from a directory"), "{last}");
    let log = restored(&scene, &brought, &left);
    assert!(
        log.contains(
            "what is staged of g-0-j.tar is not used: only what Lifeboat itself backed up"
        ),
        "{log}"
    );
    // And what was staged stays.
    assert_eq!(sent(&restored(&scene, &id, &left)), Some(0));
}

#[test]
fn a_process_that_has_the_number_of_another_run_by_chance_is_left_alone() {
    let scene = scene();
    backup(&scene);
    stage(&scene, &[]).ok();
    // Somebody holds the lock, and the number beside it is not his.
    let pid = shell(
        &scene,
        &format!(
            "setsid flock {STAGE}/of/j/lock sleep 100 >/dev/null 2>&1 &
            setsid sleep 101 >/dev/null 2>&1 & echo $! >{STAGE}/of/j/pid
            until ! flock -n {STAGE}/of/j/lock true; do sleep 0.1; done; cat {STAGE}/of/j/pid"
        ),
    );
    let alive = format!("kill -0 -- -{0} && test -e /proc/{0}", pid.trim());
    shell(&scene, &alive);
    let last = stage(&scene, &[]).fails(1).last_line();
    assert!(last.contains("another run"), "{last}");
    shell(&scene, &alive);
    stage(&scene, &["--remove"]).ok();
    shell(&scene, &format!("{alive} && test ! -e {STAGE}"));
    shell(&scene, "pkill -f 'sleep 10[01]'");
}
