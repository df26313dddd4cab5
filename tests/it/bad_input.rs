//! Bad input: each case ends with exit code 1, nothing on standard output, and one sentence
//! that names the field.

mod keys;
mod ops_manager;
mod restore;
mod sections;
mod values;

use serde_json::{Value, json};

use crate::support::process::{self, Ended};
use crate::support::request::{RECIPIENT, RECOVERY, put, with, without};

fn run(script: &str, request: &Value) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("artifact")).unwrap();
    process::script(
        script,
        Some(directory.path()),
        request.to_string().as_bytes(),
    )
}

/// Runs all cases and reports all that differ: a table is read as a whole.
fn assert_all(script: &str, cases: Vec<(Value, &str)>) {
    let mut wrong = Vec::new();
    for (request, sentence) in cases {
        let run = run(script, &request);
        let expected = format!("failed: {sentence}");
        if run.code != 1 || run.last_line() != expected || !run.stdout.is_empty() {
            wrong.push(format!(
                "exit code {}\n  said     {}\n  expected {expected}",
                run.code,
                run.last_line()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A change of `source`, or of a part of it.
fn source(key: &str, value: Value) -> Value {
    with(put(), &format!("/source/{key}"), value)
}

fn no_source(key: &str) -> Value {
    without(put(), &format!("/source/{key}"))
}

fn store(key: &str, value: Value) -> Value {
    source(&format!("stores/1/{key}"), value)
}

fn params(value: Value) -> Value {
    with(put(), "/params", value)
}

#[test]
fn a_request_that_is_none_is_refused() {
    let cases: [(&[u8], &str); 8] = [
        (
            b"",
            "the request on standard input is empty; Concourse sends one JSON object",
        ),
        (
            b" \n",
            "the request on standard input is empty; Concourse sends one JSON object",
        ),
        (
            b"{",
            "the request on standard input is not one JSON object (line 1, column 1)",
        ),
        (
            b"{} {}",
            "the request on standard input is not one JSON object (line 1, column 4)",
        ),
        (
            b"\xff",
            "the request on standard input is not one JSON object (line 1, column 1)",
        ),
        (
            b"[]",
            "the request on standard input is JSON, but not an object",
        ),
        (
            br#"{"source": {}, "parms": {}}"#,
            "parms: is not a part of a request (source, params, version)",
        ),
        (
            br#"{"source": {}, "version": "1"}"#,
            "version: expected a map of texts",
        ),
    ];
    for (request, sentence) in cases {
        let run = process::script("check", None, request);
        assert_eq!(run.last_line(), format!("failed: {sentence}"));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    }
    let huge = vec![b' '; 5 << 20];
    let run = process::script("check", None, &huge);
    assert_eq!(
        run.last_line(),
        "failed: the request on standard input is larger than 4 MiB"
    );
}

#[test]
fn copies_in_the_foundations_own_place_are_warned_of() {
    let place = |place: &str| json!([{"name": "nas", "path": "/nowhere", "location": place}]);
    let near = with(
        source("stores", place("dc1")),
        "/source/location",
        json!("dc1"),
    );
    let log = run("out", &near).log();
    assert!(
        log.contains("in no place other than the foundation's (dc1)"),
        "{log}"
    );
    assert!(log.contains("met by nas alone"), "{log}");
    let far = with(
        source("stores", place("dc2")),
        "/source/location",
        json!("dc1"),
    );
    let log = run("out", &far).log();
    assert!(log.contains("in one place other than"), "{log}");
    assert!(!log.contains("met by nas alone"), "{log}");
    assert_all(
        "out",
        vec![(
            source("stores", place("dc2")),
            "source.location: is missing or empty; stores[0].location means nothing without the foundation's own",
        )],
    );
}

#[test]
fn a_script_without_its_directory_is_refused() {
    for name in ["in", "out"] {
        let run = process::script(name, None, put().to_string().as_bytes());
        assert_eq!(
            run.last_line(),
            format!(
                "failed: `{name}` is started by Concourse with a directory as its argument; there is none"
            )
        );
    }
}

#[test]
fn a_get_is_checked_before_a_store_is_asked() {
    let get = |params: Value, version: Value| json!({"source": put()["source"], "params": params, "version": version});
    let id = json!({"id": "20261122T010203Z-7f3a09bc"});
    assert_all(
        "in",
        vec![
            (
                get(json!({}), Value::Null),
                "version: is missing; Concourse names the backup to get in it",
            ),
            (
                get(json!({}), json!({"id": "../x"})),
                "version.id: is not a backup's id (such as 20261122T010203Z-7f3a09bc)",
            ),
            (
                get(json!({}), json!({"id": 5})),
                "version.id: expected a text",
            ),
            (
                get(json!({}), json!({"path": "x"})),
                "version.id: is missing; a version is {\"id\": \"20261122T010203Z-7f3a09bc\"}",
            ),
            (
                get(json!({"download": true}), id.clone()),
                "source.recovery_identity: is missing or empty; without it nothing can be decrypted (a worker identity reads no contents)",
            ),
            (
                get(json!({"components": ["tas"]}), id.clone()),
                "params.components: narrows a download; set download: true with it",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": RECOVERY, "artifacts": ["a/b"]}),
                    id.clone(),
                ),
                "params.artifacts[0]: must be an artifact's file name, with * and ? where needed; it has no slash",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": RECIPIENT}),
                    id.clone(),
                ),
                "params.recovery_identity: is a public key; the recovery key's private half belongs here",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": "AGE-PLUGIN-YUBIKEY-1"}),
                    id.clone(),
                ),
                "params.recovery_identity: is a plugin's identity; only AGE-SECRET-KEY-1… and OpenSSH Ed25519 keys open backups",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": &RECOVERY[..50]}),
                    id,
                ),
                "params.recovery_identity: is neither an age identity (AGE-SECRET-KEY-1…) nor an OpenSSH Ed25519 private key, or not a whole one",
            ),
        ],
    );
}

#[test]
fn the_command_line_names_the_document() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yml");
    let path = file.to_str().unwrap();
    let cases = [
        ("foundation: A\n", "c.yml: foundation: must be 1 to 63"),
        ("foundation: [\n", "c.yml: is not valid YAML"),
        ("- a\n", "c.yml: expected a map, found a list"),
        ("", "c.yml: foundation: is missing or empty"),
        (
            "foundaton: a\n",
            "c.yml: foundaton: is not a key of Lifeboat; did you mean `foundation`?",
        ),
    ];
    for (text, sentence) in cases {
        std::fs::write(&file, text).unwrap();
        let run = process::cli(&["--config", path, "list"], &[]);
        assert!(run.last_line().contains(sentence), "{}", run.last_line());
        assert_eq!(run.code, 1);
    }
    let run = process::cli(&["list", "--config", "/nowhere/c.yml"], &[]);
    assert_eq!(
        run.last_line(),
        "failed: /nowhere/c.yml: there is no such file"
    );
    let run = process::cli(&["list"], &[("LIFEBOAT_FOUNDATION", "A")]);
    assert!(
        run.last_line()
            .starts_with("failed: LIFEBOAT_FOUNDATION: must be"),
        "{}",
        run.last_line()
    );
    let run = process::cli(&["backup", "tas", "TAS"], &[("LIFEBOAT_FOUNDATION", "a")]);
    assert!(
        run.last_line()
            .starts_with("failed: command line: backup[1]: is not a component"),
        "{}",
        run.last_line()
    );
}

#[test]
fn bad_usage_ends_with_2() {
    for arguments in [
        &["no-such-command"][..],
        &["show"],
        &["list", "--no-such-flag"],
        &[],
    ] {
        let run = process::cli(arguments, &[]);
        assert_eq!(run.code, 2, "{arguments:?}");
        assert!(run.stdout.is_empty() && !run.stderr.is_empty());
    }
    assert_eq!(process::cli(&["--help"], &[]).code, 0);
}
