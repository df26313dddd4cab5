//! `lifeboat keygen`.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::process;

#[test]
fn keys_are_written_for_their_owner_alone_and_never_over_others() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let path = keys.to_str().unwrap();
    let run = process::cli(&["keygen", "--out-dir", path], &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let read = |name: &str| std::fs::read_to_string(keys.join(name)).unwrap();
    for name in ["worker_identity", "recovery_identity"] {
        let mode = std::fs::metadata(keys.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let secret = read("recovery_identity");
    let secret = secret.lines().last().unwrap();
    assert!(secret.starts_with("AGE-SECRET-KEY-1"));
    assert!(!run.stdout.contains(secret));
    let sheet = read("recovery-sheet.txt");
    assert!(run.stdout.starts_with(&sheet));
    for public in ["worker_identity.pub", "recovery_identity.pub"] {
        assert!(sheet.contains(read(public).trim()), "{public}");
    }

    let again = process::cli(&["keygen", "--out-dir", path], &[]);
    assert_eq!(again.code, 1);
    assert!(
        again
            .last_line()
            .contains("is there already; keygen never overwrites a key")
    );
    assert!(read("recovery_identity").contains(secret));
}

#[test]
fn what_keygen_makes_is_accepted_by_the_configuration() {
    let run = process::cli(&["keygen"], &[]);
    let worker: Vec<&str> = run
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .take_while(|line| !line.is_empty())
        .collect();
    let recipient = run
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .unwrap();
    let run = process::cli(
        &["backup", "deployment/x"],
        &[
            ("LIFEBOAT_FOUNDATION", "a"),
            ("LIFEBOAT_STORES", "[{name: a, path: /nowhere}]"),
            ("LIFEBOAT_WORKER_IDENTITY", &worker.join("\n")),
            ("LIFEBOAT_RECIPIENTS", recipient),
        ],
    );
    // Everything about keys was right: the next thing is missed.
    assert!(
        run.last_line().starts_with("failed: bosh: is missing"),
        "{}",
        run.last_line()
    );
}
