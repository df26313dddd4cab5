//! Commands, their words, their ends.

use std::time::Duration;

use super::super::testing::{Sshd, connect};
use crate::remote::{Command, Error, Remote};
use crate::shutdown::Shutdown;

fn sh(script: &str) -> Command {
    Command::as_root(script, ["sh", "-c", script]).as_login_user()
}

#[test]
fn a_command_gives_output_status_and_stderr() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    let output = session
        .run(&sh("echo out; echo err >&2; exit 3"), &shutdown)
        .unwrap();
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.exit.status, 3);
    assert_eq!(output.exit.stderr, "err");
    let root = Command::as_root("id", ["sh", "-c", "id -u; echo $A"]).with("A", "it's");
    let output = session.run(&root, &shutdown).unwrap();
    assert_eq!(output.stdout, b"0\nit's\n");
    assert!(output.exit.ok());
    assert_eq!(output.exit.stderr, "");
}

#[test]
fn a_signal_death_is_128_and_the_number() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    for (script, status) in [
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        // The login shell itself: the server reports the signal by name.
        ("kill -KILL $PPID", 137),
        ("kill -HUP $PPID", 129),
    ] {
        let exit = session.run(&sh(script), &shutdown).unwrap().exit;
        assert_eq!(exit.status, status, "{script}");
    }
}

#[test]
fn a_command_that_closes_its_streams_still_reports_its_end() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    let exit = session
        .run(&sh("exec >&- 2>&- <&-; exit 9"), &shutdown)
        .unwrap()
        .exit;
    assert_eq!(exit.status, 9);
}

#[test]
fn file_names_of_any_bytes_arrive_as_they_are() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    for name in [
        &b"caf\xc3\xa9 '\"$HOME`id`\\ *"[..],
        b"latin \xe9\xff\n",
        b"-rf",
        b"a=b",
    ] {
        let command = Command::as_root("echo", [&b"printf"[..], b"%s", name]).as_login_user();
        assert_eq!(session.run(&command, &shutdown).unwrap().stdout, name);
        let command = Command::as_root("echo", [&b"printf"[..], b"%s", name]);
        assert_eq!(session.run(&command, &shutdown).unwrap().stdout, name);
    }
    let too_long = Command::as_root("long", ["true", &"x".repeat(40_000)]);
    let error = session.run(&too_long, &shutdown).unwrap_err().to_string();
    assert!(error.contains("`long` cannot be sent: it is 4"), "{error}");
}

#[test]
fn fifty_commands_run_at_once_over_one_connection() {
    let sshd = Sshd::start();
    let session = sshd.session();
    std::thread::scope(|scope| {
        for number in 0..50 {
            let session = &session;
            scope.spawn(move || {
                let script = format!("sleep 0.0{}; echo {number}; exit {number}", number % 7);
                let output = session.run(&sh(&script), &Shutdown::new()).unwrap();
                assert_eq!(output.stdout, format!("{number}\n").as_bytes());
                assert_eq!(output.exit.status, number);
            });
        }
    });
    assert_eq!(sshd.connections(), 1);
    assert!(sshd.log().matches("Starting session").count() >= 50);
}

#[test]
fn a_server_with_fewer_sessions_than_we_ask_for_makes_us_wait() {
    let sshd = Sshd::with("MaxSessions 2");
    let session = sshd.session();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let output = session.run(&sh("sleep 0.05; echo x"), &Shutdown::new());
                assert_eq!(output.unwrap().stdout, b"x\n");
            });
        }
    });
}

#[test]
fn a_server_that_grants_no_session_at_all_says_so() {
    let sshd = Sshd::with("MaxSessions 0");
    let mut settings = sshd.settings();
    settings.connect_timeout = Duration::from_secs(2);
    let session = connect(settings).unwrap();
    let error = session.run(&sh("true"), &Shutdown::new()).unwrap_err();
    assert!(error.to_string().contains("MaxSessions"), "{error}");
}

#[test]
fn more_output_than_is_kept_is_refused() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let error = session
        .run(&sh("cat /dev/zero"), &Shutdown::new())
        .unwrap_err();
    assert!(matches!(error, Error::TooMuchOutput { .. }), "{error}");
}

#[test]
fn silence_is_limited_only_where_asked() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    let quiet = sh("exec sleep 60").silent_for(Duration::from_millis(300));
    assert!(matches!(
        session.run(&quiet, &shutdown),
        Err(Error::Silent { .. })
    ));
    // Longer than the limit in all; the limit leaves room for a slow login shell.
    let talking = sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 0.5; echo $i >&2; done")
        .silent_for(Duration::from_secs(4));
    assert!(session.run(&talking, &shutdown).unwrap().exit.ok());
}

#[test]
fn a_login_shell_that_runs_nothing_is_no_success() {
    let sshd = Sshd::with("ForceCommand true");
    let session = sshd.session();
    let error = session.run(&sh("echo x"), &Shutdown::new()).unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    let sshd = Sshd::with("ForceCommand echo not available >&2; exit 1");
    let session = sshd.session();
    let error = session.run(&sh("echo x"), &Shutdown::new()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("not available"), "{error}");
}

#[test]
fn a_refusal_of_sudo_is_no_exit_status() {
    // In place of sudo, what it says when it wants a password.
    let sshd = Sshd::with("SetEnv PATH=/nowhere");
    let session = sshd.session();
    let command = Command::as_root("stat", ["stat", "/"]);
    let error = session.run(&command, &Shutdown::new()).unwrap_err();
    assert!(error.to_string().contains("install sudo"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let sudo = dir.path().join("sudo");
    std::fs::write(
        &sudo,
        "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&sudo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sshd = Sshd::with(&format!(
        "SetEnv PATH={}:/usr/bin:/bin",
        dir.path().display()
    ));
    let session = sshd.session();
    let error = session.run(&command, &Shutdown::new()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("NOPASSWD"), "{error}");
}
