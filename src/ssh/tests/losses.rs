//! Connections that end when they should not.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::testing::{Sshd, until};
use crate::remote::{Command, Error, Remote};
use crate::shutdown::Shutdown;

fn sh(script: &str) -> Command {
    Command::as_root(script, ["sh", "-c", script]).as_login_user()
}

fn assert_lost<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Lost { message, .. }) => message,
        other => panic!("not lost: {other:?}"),
    }
}

#[test]
fn a_connection_killed_in_the_middle_loses_all_its_commands() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    let mut reading = session
        .start(&sh("echo begun; exec sleep 60"), &shutdown)
        .unwrap();
    reading.stdout.read_exact(&mut [0; 6]).unwrap();
    let waiting = session.start(&sh("exec sleep 60"), &shutdown).unwrap();
    let mut writing = session.start(&sh("exec sleep 60"), &shutdown).unwrap();
    sshd.signal_connections(Signal::KILL);
    // Never an end-of-file that could pass for the end of an artifact.
    let error = reading.stdout.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert_lost((reading.wait)());
    assert_lost(waiting.finish());
    let mut stdin = writing.stdin.take().unwrap();
    let error = loop {
        if let Err(error) = stdin.write(&[0; 1000]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert_lost(writing.finish());
}

#[test]
fn a_connection_lost_between_commands_is_made_anew() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    for _ in 0..3 {
        let output = session.run(&sh("echo x"), &shutdown).unwrap();
        assert_eq!(output.stdout, b"x\n");
        sshd.signal_connections(Signal::KILL);
        until("the connection is gone", || sshd.connections() == 0);
    }
}

#[test]
fn a_connection_that_cannot_be_made_anew_says_so() {
    let mut sshd = Sshd::start();
    let session = sshd.session();
    sshd.signal_connections(Signal::KILL);
    until("the connection is gone", || sshd.connections() == 0);
    sshd.stop_listening();
    let error = session.run(&sh("true"), &Shutdown::new()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}

#[test]
fn a_command_killed_as_it_starts_is_never_run_twice() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let journal = sshd.path("journal");
    // The command itself cuts the connection: it was started, so it is lost, not repeated.
    // Its parents are the login shell, and the server's process for the connection.
    let script = format!("echo ran >>{journal}; kill -9 $(ps -o ppid= -p $PPID); exec sleep 60");
    assert_lost(session.run(&sh(&script), &Shutdown::new()));
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), "ran\n");
}

#[test]
fn a_frozen_peer_is_given_up_after_its_keepalives() {
    let sshd = Sshd::start();
    let mut settings = sshd.settings();
    settings.keepalive = Duration::from_millis(200);
    let session = super::super::testing::connect(settings).unwrap();
    let shutdown = Shutdown::new();
    // Longer than all keepalives together: answered ones keep it alive.
    let long = session.run(&sh("sleep 1.2; echo x"), &shutdown).unwrap();
    assert_eq!(long.stdout, b"x\n");
    let running = session.start(&sh("exec sleep 60"), &shutdown).unwrap();
    sshd.signal_connections(Signal::STOP);
    let frozen = Instant::now();
    let message = assert_lost(running.finish());
    assert!(message.contains("keepalives"), "{message}");
    assert!(frozen.elapsed() < Duration::from_secs(10));
    assert_eq!(sshd.connections(), 1);
}

#[test]
fn an_idle_connection_answers_the_servers_own_keepalives() {
    let sshd = Sshd::with("ClientAliveInterval 1\nClientAliveCountMax 1");
    let connect = |keepalive| {
        let mut settings = sshd.settings();
        settings.keepalive = keepalive;
        super::super::testing::connect(settings).unwrap()
    };
    // One that says nothing for an hour, to see when the server has lost its patience.
    let mute = connect(Duration::from_secs(3600));
    let session = connect(Duration::from_millis(200));
    until("the mute one is dropped", || sshd.connections() < 2);
    let output = session.run(&sh("true"), &Shutdown::new());
    assert!(output.unwrap().exit.ok());
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 2);
    drop(mute);
}

#[test]
fn a_full_pipe_to_a_frozen_peer_is_given_up_too() {
    let sshd = Sshd::start();
    let mut settings = sshd.settings();
    settings.keepalive = Duration::from_millis(200);
    let session = super::super::testing::connect(settings).unwrap();
    let mut running = session
        .start(&sh("cat >/dev/null"), &Shutdown::new())
        .unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(&[0; 100_000]).unwrap();
    sshd.signal_connections(Signal::STOP);
    let frozen = Instant::now();
    let error = loop {
        if let Err(error) = stdin.write(&[0; 100_000]) {
            break error;
        }
    };
    assert_eq!(
        error.kind(),
        std::io::ErrorKind::ConnectionAborted,
        "{error}"
    );
    assert_lost(running.finish());
    assert!(frozen.elapsed() < Duration::from_secs(10));
}
