//! Host keys, logins, and what is said when they fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::testing::{Lines, Sshd, connect, keygen, until};
use super::super::{HostKeyPolicy, Session, generate_key};
use crate::remote::{Command, Error, Remote};
use crate::secret::Secret;
use crate::shutdown::Shutdown;

fn message(error: Result<Arc<Session>, Error>) -> String {
    match error {
        Err(Error::Connect { remote, message }) => {
            assert_eq!(remote, "group/0");
            message
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_type_of_host_key_and_login_key_works() {
    for (host, login) in [
        ("ed25519", "ed25519"),
        ("ecdsa -b 256", "ecdsa -b 256"),
        ("ecdsa -b 521", "ecdsa -b 384"),
        ("rsa -b 2048", "rsa -b 2048"),
        // The older forms, as BOSH directors and Ops Manager hand them out.
        ("rsa -b 2048", "rsa -b 2048 -m PEM"),
        ("rsa -b 2048", "rsa -b 2048 -m PKCS8"),
        ("ecdsa -b 384", "ecdsa -b 256 -m PEM"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        keygen(login, &path);
        let key = Secret::new(std::fs::read_to_string(&path).unwrap());
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let sshd = Sshd::with_keys(host, key, &public, "");
        let session = sshd.session();
        let command = Command::as_root("true", ["true"]).as_login_user();
        let output = session.run(&command, &Shutdown::new());
        assert!(output.unwrap().exit.ok(), "{host} {login}");
    }
}

#[test]
fn a_wrong_host_key_runs_nothing() {
    let sshd = Sshd::start();
    let other = Sshd::start();
    let mut settings = sshd.settings();
    settings.host_key = HostKeyPolicy::Exactly(other.host_key.parse().unwrap());
    let said = message(connect(settings));
    for part in [
        super::super::fingerprint(&sshd.host_key).unwrap(),
        super::super::fingerprint(&other.host_key).unwrap(),
        "nothing was run".to_owned(),
    ] {
        assert!(said.contains(&part), "{said}");
    }
    assert!(!sshd.log().contains("Accepted"));
    assert!(!sshd.log().contains("Starting session"));
}

#[test]
fn a_host_key_of_another_type_is_never_taken() {
    let sshd = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    keygen("rsa -b 2048", &dir.path().join("k"));
    let line = std::fs::read_to_string(dir.path().join("k.pub")).unwrap();
    let mut settings = sshd.settings();
    settings.host_key = HostKeyPolicy::Exactly(line.parse().unwrap());
    let said = message(connect(settings));
    assert!(said.contains("no host key of type ssh-rsa"), "{said}");
}

#[test]
fn an_unpinned_host_key_is_shown_with_the_line_that_pins_it() {
    let sshd = Sshd::start();
    let mut settings = sshd.settings();
    settings.host_key = HostKeyPolicy::Any;
    let lines = Arc::new(Lines::default());
    Session::connect(settings, Arc::clone(&lines) as _, &Shutdown::new()).unwrap();
    let said = lines.all().join("\n");
    let key: super::super::HostKey = sshd.host_key.parse().unwrap();
    assert!(said.contains(&key.fingerprint()), "{said}");
    assert!(said.contains(&key.to_string()), "{said}");
}

#[test]
fn an_unpinned_server_may_not_change_its_key_later() {
    let mut sshd = Sshd::start();
    let mut settings = sshd.settings();
    settings.host_key = HostKeyPolicy::Any;
    let session = connect(settings).unwrap();
    let command = Command::as_root("true", ["true"]).as_login_user();
    sshd.restart_with_another_host_key();
    until("it is gone", || {
        // Dead or not yet known to be: nothing runs on the impostor.
        let error = session.run(&command, &Shutdown::new()).unwrap_err();
        error.to_string().contains("expected was")
    });
    assert!(!sshd.log().contains("Accepted"));
}

#[test]
fn a_refused_login_is_not_repeated_and_names_the_user() {
    let sshd = Sshd::start();
    let mut settings = sshd.settings();
    settings.key = generate_key().unwrap().0;
    let said = message(connect(settings));
    assert!(
        said.contains(&format!("refused user `{}`", sshd.user)),
        "{said}"
    );
    assert_eq!(
        sshd.log().matches("Connection from").count(),
        2,
        "{}",
        sshd.log()
    );
}

#[test]
fn a_refused_connection_is_tried_three_times() {
    let mut sshd = Sshd::start();
    sshd.stop_listening();
    let lines = Arc::new(Lines::default());
    let monitor = Arc::clone(&lines);
    let said = message(Session::connect(sshd.settings(), monitor, &Shutdown::new()));
    assert!(said.contains("connection refused"), "{said}");
    assert_eq!(lines.all().len(), 2);
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sshd = Sshd::start();
    let mut settings = sshd.settings();
    settings.address.port = listener.local_addr().unwrap().port();
    settings.connect_timeout = Duration::from_millis(200);
    let said = message(connect(settings.clone()));
    assert!(said.contains("did not greet us"), "{said}");
    settings.connect_timeout = Duration::from_secs(60);
    let shutdown = Shutdown::new();
    let flag = shutdown.clone();
    let connecting = std::thread::spawn(move || {
        Session::connect(settings, Arc::new(crate::monitor::Silent), &flag)
    });
    listener.accept().unwrap();
    let raised = Instant::now();
    shutdown.raise();
    assert!(matches!(connecting.join().unwrap(), Err(Error::Stopped(_))));
    assert!(raised.elapsed() < Duration::from_secs(1));
}

#[test]
fn windows_is_known_by_its_greeting() {
    assert!(!Sshd::start().session().is_windows());
    let sshd = Sshd::with("VersionAddendum for_Windows_8.1");
    let session = sshd.session();
    assert!(session.is_windows());
    let command = Command::as_root("true", ["true"]);
    let error = session.run(&command, &Shutdown::new()).unwrap_err();
    assert!(error.to_string().contains("runs Windows"), "{error}");
}

#[test]
fn a_key_is_never_printed() {
    let sshd = Sshd::start();
    let secret = sshd.key.expose().lines().nth(2).unwrap().to_owned();
    let session = sshd.session();
    for text in [
        format!("{:?}", sshd.settings()),
        format!("{session:?}"),
        message(connect({
            let mut settings = sshd.settings();
            settings.key = Secret::new(format!("{secret}\n{secret}"));
            settings
        })),
    ] {
        assert!(!text.contains(&secret), "{text}");
    }
}
