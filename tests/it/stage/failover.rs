//! What a failover costs, and what it does not touch.

use serde_json::json;

use super::{
    COMPONENT, DATA, LOOK, STAGE, backup, restored, restored_beside_another, same, scene, seen,
    sent, shell, spec, stage, without_times,
};
use crate::bbr::Bbr;
use crate::support::scene::{Scene, files};

#[test]
fn a_failover_sends_what_changed_and_finds_what_was_backed_up() {
    let scene = scene();
    let (first, left) = backup(&scene);
    let journal = scene.foundation.journal().len();
    let said = stage(&scene, &[&first]).ok();
    assert!(
        said.stdout.contains(&format!("staged backup {first}")),
        "{}",
        said.stdout
    );
    // Nothing is locked and no script runs but those that say what there is.
    let ran = scene.foundation.journal().split_off(journal);
    assert!(
        ran.iter().all(|line| line.contains(" metadata ")),
        "{ran:?}"
    );
    scene.foundation.assert_clean();
    // Root alone sees it, and the next backup does not.
    assert_eq!(
        shell(&scene, &format!("stat -c '%a %u' {STAGE}")),
        "700 0\n"
    );

    // A second run has nothing to send.
    let again = stage(&scene, &["latest", "--json"]).ok();
    let value = again.json();
    assert_eq!(value["backup"], first.as_str(), "{value}");
    assert_eq!(value["artifacts"][0]["sent_files"], 0, "{value}");
    assert!(value["artifacts"][0]["files"].as_u64().unwrap() > 300);
    let again = again.log();
    assert!(again.contains(", of which 0, 0 B were sent"), "{again}");

    shell(
        &scene,
        &format!(
            "cd {DATA} && echo new >new && echo other >\"$(find . -type f -size -9k | sort | head -1)\""
        ),
    );
    let (second, now) = backup(&scene);
    assert_ne!(left, now);
    assert!(!now.contains("lifeboat-stage"));
    let log = restored(&scene, &second, &now);
    assert_eq!(sent(&log), Some(2), "{log}");
    // It is used up, and a restore without it uploads everything.
    assert_eq!(shell(&scene, &format!("ls {STAGE}/of")), "");
    let log = restored(&scene, &first, &left);
    assert_eq!(sent(&log), None);
    // The next run brings it back, of any backup; an older one than is staged is restored as well.
    stage(&scene, &[&second]).ok();
    let log = restored(&scene, &first, &left);
    assert_eq!(sent(&log), Some(1), "{log}");
}

#[test]
fn chunks_of_unchanged_files_are_not_fetched() {
    let scene = scene();
    backup(&scene);
    let before: Vec<_> = files(&scene.store("one")).into_keys().collect();
    stage(&scene, &[]).ok();
    shell(&scene, &format!("echo new >{DATA}/new"));
    let (second, left) = backup(&scene);
    // Whatever held the unchanged files is gone, and nobody misses it.
    let lost = before
        .iter()
        .filter(|name| name.to_str().unwrap().contains("/data/"));
    for name in lost.clone() {
        std::fs::remove_file(scene.store("one").join(name)).unwrap();
    }
    assert!(lost.count() > 3);
    let staged = stage(&scene, &[&second]).ok().log();
    assert!(staged.contains(", of which 1, 4 B were sent"), "{staged}");
    let log = restored(&scene, &second, &left);
    assert_eq!(sent(&log), Some(0), "{log}");
}

#[test]
fn what_is_spoilt_or_strange_in_a_staged_tree_is_mended() {
    let scene = scene();
    let (id, left) = backup(&scene);
    for spoil in [
        "f=$(find . -type f -size +1000k | head -1); t=$(stat -c %Y \"$f\"); printf x | dd of=\"$f\" conv=notrunc status=none; touch -d @$t \"$f\"",
        "rm -rf ./*",
        "mkdir -p strange/a strange-b; ln -s / strange/link; mkfifo strange/pipe; echo x >strange/a/f",
        "f=$(find . -type f | sort | head -1); rm \"$f\"; mkdir \"$f\"; echo x >\"$f/inside\"",
        "f=$(find . -type f | sort | head -1); rm \"$f\"; ln -s /etc/passwd \"$f\"",
        "d=$(find . -mindepth 1 -type d | sort | head -1); mv \"$d\" /var/vcap/store/aside; ln -s /var/vcap/store/aside \"$d\"",
        "chmod 777 .; touch -d @5 .; chown 5:6 .",
        "find . -exec chown 7:8 {} +; find . -exec touch -d @9 {} +",
    ] {
        stage(&scene, &[&id]).ok();
        shell(&scene, &format!("cd {STAGE}/of/j/tree && {{ {spoil}; }}"));
        let aside = "find /var/vcap/store/aside -type f 2>/dev/null | wc -l";
        let before = shell(&scene, aside);
        let log = restored(&scene, &id, &left);
        assert!(sent(&log).is_some(), "{spoil}: {log}");
        // A link that leads out of the tree is not followed.
        assert_eq!(shell(&scene, aside), before, "{spoil}");
        assert_eq!(shell(&scene, "head -c 5 /etc/passwd"), "root:");
        shell(&scene, "rm -rf /var/vcap/store/aside");
    }
}

#[test]
fn an_upload_that_fails_leaves_what_is_staged_for_the_next() {
    let scene = scene();
    backup(&scene);
    stage(&scene, &[]).ok();
    let before: Vec<_> = files(&scene.store("one")).into_keys().collect();
    shell(&scene, &format!("head -c 9000000 /dev/urandom >{DATA}/new"));
    let (second, left) = backup(&scene);
    let store = scene.store("one");
    let added = files(&store).into_keys();
    let lost: Vec<_> = added
        .filter(|name| !before.contains(name) && name.to_str().unwrap().contains("/data/"))
        .collect();
    let aside = scene.scratch.path().join("aside");
    std::fs::rename(store.join(&lost[0]), &aside).unwrap();
    let last = scene.restore(COMPONENT, &[&second]).fails(1).last_line();
    assert!(last.contains("no restore script ran"), "{last}");
    scene.foundation.assert_clean();
    std::fs::rename(&aside, store.join(&lost[0])).unwrap();
    let log = restored(&scene, &second, &left);
    assert_eq!(sent(&log), Some(1), "{log}");
}

#[test]
fn a_restore_that_fails_before_its_scripts_leaves_what_is_staged_for_the_next() {
    let mut spec = spec();
    spec["deployments"][0]["groups"][0]["jobs"]["j"]["scripts"]["pre-restore-lock"] =
        "test ! -e /var/vcap/store/refuse".into();
    let scene = Scene::with_stores(&spec, &["one"]);
    let (id, left) = backup(&scene);
    stage(&scene, &[]).ok();
    shell(&scene, "touch /var/vcap/store/refuse");
    let last = scene.restore(COMPONENT, &[&id]).fails(1).last_line();
    assert!(last.contains("no restore script ran"), "{last}");
    scene.foundation.assert_clean();
    shell(
        &scene,
        &format!("rm /var/vcap/store/refuse; test -d {STAGE}/of/j/tree"),
    );
    let log = restored(&scene, &id, &left);
    assert_eq!(sent(&log), Some(0), "{log}");
}

#[test]
fn the_real_bbr_neither_sees_nor_touches_what_is_staged() {
    let mut tame = spec();
    // bbr's own sums are no good for some names.
    tame["deployments"][0]["groups"][0]["instances"][0]["files"][DATA]["tree"]["wild"] =
        false.into();
    let scene = Scene::with_stores(&tame, &["one"]);
    let Some(bbr) = Bbr::deployment(&scene, "dep") else {
        return;
    };
    let (id, left) = backup(&scene);
    stage(&scene, &[&id]).ok();
    let look = || shell(&scene, &format!("cd {STAGE} && {LOOK}"));
    let staged = look();
    bbr.backup(&[]);
    assert_eq!(seen(&scene, "backup"), left);
    bbr.restore(&scene.download(&id).join(COMPONENT));
    same(
        &without_times(&seen(&scene, "restore")),
        &without_times(&left),
        "bbr",
    );
    assert_eq!(look(), staged);
    // bbr does not wait for the removal of its users.
    let log = restored_beside_another(&scene, &id, &left);
    assert_eq!(sent(&log), Some(0), "{log}");
}

#[test]
fn staging_does_not_stand_in_the_way_of_a_backup_or_a_cleanup() {
    let scene = scene();
    let (id, left) = backup(&scene);
    stage(&scene, &[]).ok();
    assert_eq!(backup(&scene).1, left);
    for command in ["cleanup", "restore-cleanup", "pre-backup-check"] {
        let run = scene.lifeboat(&[command, COMPONENT], &json!({}));
        crate::support::process::finish(crate::support::process::start(run, "")).ok();
    }
    let forced = scene.lifeboat(&["restore-cleanup", "--force", COMPONENT], &json!({}));
    crate::support::process::finish(crate::support::process::start(forced, "")).ok();
    let log = restored(&scene, &id, &left);
    assert_eq!(sent(&log), Some(0), "{log}");
}
