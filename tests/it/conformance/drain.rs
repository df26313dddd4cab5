//! What is drained, and what is found in the way of it (§6.4).

use serde_json::json;

use super::{Case, names, never_says, says, tar_file};

const BACKUP: &str = "echo data > \"$BBR_ARTIFACT_DIRECTORY\"f";

// rows 80, 81, 100
#[test]
fn a_drain_that_cannot_be_trusted_commits_nothing() {
    let mut case = Case::s1();
    case.of_j("pre-backup-lock", json!("true"));
    case.of_j("post-backup-unlock", json!("true"));
    case.foundation.ask(json!({
        "do": "set-job", "instance": "g/u0", "job": "k",
        "value": {"release": "r", "scripts": {"backup": BACKUP}}
    }));
    // One bit on the way: the file is asked again.
    let whole = "tar.*bbr-backup/j.*--files-from";
    let again = "tar.*bbr-backup/j -- ";
    case.command_fault("g/u0", whole, "flip", json!({"bytes": 1024}));
    case.backup().ok();
    assert_eq!(tar_file(&case.fetched().join("g-0-j.tar"), "./a"), "A");
    assert_eq!(case.check().len(), 1);

    // The same where only what changed is sent.
    case.of_j(
        "backup",
        json!({"body": "printf B >\"$BBR_ARTIFACT_DIRECTORY\"a"}),
    );
    let changed = " take .*bbr-backup/j ";
    case.command_fault("g/u0", changed, "flip", json!({"bytes": 512}));
    let log = case.backup().ok().log();
    says(&log, &["./a changed while it was read", "from the base"]);
    assert_eq!(tar_file(&case.fetched().join("g-0-j.tar"), "./a"), "B");
    assert_eq!(case.check().len(), 2);

    // Without a worker identity there is no base.
    let params = case.params_mut().as_object_mut().unwrap();
    params.remove("worker_identity");
    case.forget();
    case.command_fault("g/u0", whole, "flip", json!({"bytes": 1024}));
    case.command_fault("g/u0", again, "flip", json!({"bytes": 512}));
    let log = case.backup_fails();
    says(
        log.lines().last().unwrap(),
        &[
            "drain",
            "g-0-j.tar",
            "g/u0",
            "./a",
            "every instance is unlocked",
        ],
    );
    assert_eq!(case.told_unlock("g/u0 j post-backup-unlock"), "true");
    case.clear_command_faults("g/u0");
    case.foundation.assert_clean();

    case.of_j(
        "backup",
        json!({"body": format!("{BACKUP}\nmount --bind /dev/null /usr/bin/sha256sum")}),
    );
    let log = case.backup_fails();
    says(
        log.lines().last().unwrap(),
        &["drain", "g/u0", "no backup was committed"],
    );
    never_says(&log, &["is committed"]);
    assert_eq!(case.check().len(), 2);
    case.shell("g/u0", "umount /usr/bin/sha256sum");
    case.foundation.assert_clean();
}

// rows 82
#[test]
fn what_the_login_user_may_not_read_is_backed_up() {
    let case = Case::s1();
    case.shell("g/u0", "chmod 700 /var/vcap/store");
    case.of_j(
        "backup",
        json!({"files": {"f": "F"}, "body":
            "chmod 600 \"$BBR_ARTIFACT_DIRECTORY\"f; chown -R 1234:1234 \"$BBR_ARTIFACT_DIRECTORY\"; \
             chmod 700 \"$BBR_ARTIFACT_DIRECTORY\""}),
    );
    case.backup().ok();
    assert_eq!(tar_file(&case.fetched().join("g-0-j.tar"), "./f"), "F");
    case.foundation.assert_clean();
}

// rows 84, 85
#[test]
fn odd_names_and_links_survive_and_are_reported() {
    let case = Case::new(
        &json!({"fixture": "S1", "deployments": [{"name": "dep", "groups": [{
            "name": "g", "instances": [{"id": "u0", "files": {"/var/vcap/store/wild": {
                "tree": {"files": 20, "big": 0, "wild": true}}}}],
            "jobs": {"j": {"release": "r", "scripts": {"backup":
                "cp -a /var/vcap/store/wild/. \"$BBR_ARTIFACT_DIRECTORY\"\n\
                 cd \"$BBR_ARTIFACT_DIRECTORY\"; echo 1 > 'x y'; ln 'x y' second; ln -s nowhere link"}}},
        }]}]}),
    );
    let log = case.backup().ok().log();
    says(&log, &["bbr itself cannot restore"]);
    let tar = case.fetched().join("g-0-j.tar");
    assert_eq!(tar_file(&tar, "./second"), "1\n");
    assert_eq!(tar_file(&tar, "./x y"), "1\n");
    let kinds = std::process::Command::new("tar")
        .arg("-tvf")
        .arg(&tar)
        .output()
        .unwrap();
    let kinds = String::from_utf8(kinds.stdout).unwrap();
    says(&kinds, &["./link -> nowhere"]);
    never_says(&kinds, &["link to"]);
    // Each file, whatever its name, has its content.
    let place = tempfile::tempdir().unwrap();
    let done = std::process::Command::new("tar")
        .arg("-xf")
        .arg(&tar)
        .arg("-C")
        .arg(place.path())
        .status()
        .unwrap();
    assert!(done.success());
    let compared = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(format!(
            "{}/var/vcap/store/wild",
            case.foundation.ready["instances"]["dep/g/u0"]["root"]
                .as_str()
                .unwrap()
        ))
        .arg(place.path())
        .output()
        .unwrap();
    let differences = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert_eq!(
        differences.lines().count(),
        3,
        "the three names made later: {differences}"
    );
    assert!(
        differences.lines().all(|line| line.starts_with("Only in ")),
        "{differences}"
    );
}

// rows 86, 87, 162
#[test]
fn an_artifact_directory_in_the_way_is_named_and_left() {
    let case = Case::s2();
    case.shell("g2/u2", "mkdir -p /var/vcap/store/bbr-backup/x");
    let log = case.backup_fails();
    says(
        log.lines().last().unwrap(),
        &[
            "/var/vcap/store/bbr-backup exists on g2/u2",
            "run the cleanup",
            "nothing was locked",
        ],
    );
    assert_eq!(case.started(), [""; 0]);
    assert!(case.has_artifacts("g2/u2") && !case.has_artifacts("g1/u1"));
    case.shell("g1/u1", "mkdir /var/vcap/store/bbr-backup");
    says(
        case.backup_fails().lines().last().unwrap(),
        &["/var/vcap/store/bbr-backup exists on g1/u1, g2/u2"],
    );
    assert_eq!(case.check(), [""; 0]);
    case.cleanup().ok();
    case.foundation.assert_clean();
    case.backup().ok();
}

// rows 91, 92
#[test]
fn the_deployment_manifest_is_kept_byte_for_byte_when_asked() {
    let case = Case::s1();
    case.backup().ok();
    assert_eq!(names(&case.fetched()), ["g-0-j.tar", "metadata"]);
    let text = format!(
        "# umlaut \u{fc}, tab\t, no newline at the end\n{}",
        "---\nname: dep\ninstance_groups: [{name: g, jobs: [{name: j, release: r}]}]"
    );
    case.foundation
        .ask(json!({"do": "set-manifest", "deployment": "dep", "text": text}));
    case.backup_with(&json!({"with_manifest": true})).ok();
    let got = std::fs::read_to_string(case.fetched().join("manifest.yml")).unwrap();
    assert_eq!(got, text);
    // It is asked for once, before anything else.
    case.forget();
    case.clear_requests();
    case.director_fault(json!({
        "action": "status", "status": 500, "method": "GET", "path": "^/deployments/dep$", "body": "no manifest"
    }));
    says(
        &case.backup_fails_with(&json!({"with_manifest": true})),
        &["no manifest"],
    );
    assert_eq!(case.lines(), []);
    case.foundation.assert_clean();
    assert_eq!(case.check().len(), 2);
}
