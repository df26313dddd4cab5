//! Bytes in both directions: all of them, side by side, in bounded memory.

use std::io::Read;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::super::testing::{Sshd, connect};
use crate::remote::{Command, Error, Remote};
use crate::shutdown::{Shutdown, Stopped};

const MIB: usize = 1024 * 1024;

fn sh(script: &str) -> Command {
    Command::as_root(script, ["sh", "-c", script]).as_login_user()
}

/// Bytes that no error could leave the same, made faster than any connection takes them.
fn pattern(length: usize) -> impl Read {
    struct Pattern(u64, usize);
    impl Read for Pattern {
        fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
            let count = space.len().min(self.1);
            for piece in space[..count].chunks_mut(8) {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                piece.copy_from_slice(&self.0.to_le_bytes()[..piece.len()]);
            }
            self.1 -= count;
            Ok(count)
        }
    }
    Pattern(7, length)
}

fn digest(mut from: impl Read) -> (usize, String) {
    let mut hasher = Sha256::new();
    let mut bytes = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        match from.read(&mut bytes).unwrap() {
            0 => return (total, hex::encode(hasher.finalize())),
            count => {
                hasher.update(&bytes[..count]);
                total += count;
            }
        }
    }
}

#[test]
fn large_streams_arrive_whole_in_both_directions() {
    // Rekeying in the middle, as OpenSSH does every few gigabytes.
    let sshd = Sshd::with("RekeyLimit 16M");
    let session = sshd.session();
    let shutdown = Shutdown::new();
    let expected = digest(pattern(200 * MIB));

    let mut upload = session.start(&sh("sha256sum"), &shutdown).unwrap();
    let mut stdin = upload.stdin.take().unwrap();
    let began = Instant::now();
    std::io::copy(&mut pattern(200 * MIB), &mut stdin).unwrap();
    drop(stdin);
    let mut said = String::new();
    upload.stdout.read_to_string(&mut said).unwrap();
    assert!(upload.finish().unwrap().ok());
    assert_eq!(said.split_whitespace().next().unwrap(), expected.1);
    println!("up: {:.0} MB/s", 209.7 / began.elapsed().as_secs_f64());

    let path = sshd.path("large");
    let mut file = std::fs::File::create(&path).unwrap();
    std::io::copy(&mut pattern(200 * MIB), &mut file).unwrap();
    let began = Instant::now();
    let mut download = session
        .start(&sh(&format!("cat {path}")), &shutdown)
        .unwrap();
    assert_eq!(digest(&mut download.stdout), expected);
    assert!(download.finish().unwrap().ok());
    println!("down: {:.0} MB/s", 209.7 / began.elapsed().as_secs_f64());
}

#[test]
fn many_streams_cross_each_other_while_keys_change() {
    let sshd = Sshd::with("RekeyLimit 1M");
    let session = sshd.session();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            let session = &session;
            scope.spawn(move || {
                let mut echo = session.start(&sh("cat"), &Shutdown::new()).unwrap();
                let mut stdin = echo.stdin.take().unwrap();
                scope.spawn(move || {
                    std::io::copy(&mut pattern(6 * MIB), &mut stdin).unwrap();
                });
                assert_eq!(digest(&mut echo.stdout), digest(pattern(6 * MIB)));
                assert!(echo.finish().unwrap().ok());
            });
        }
    });
}

/// What has arrived for one channel is often read while another is looked at. If that were
/// forgotten, work would go on only when a keepalive wakes the connection.
#[test]
fn no_channel_ever_waits_for_a_keepalive() {
    let sshd = Sshd::with("RekeyLimit 4M");
    let mut settings = sshd.settings();
    settings.keepalive = Duration::from_secs(3600);
    let session = connect(settings).unwrap();
    // One upload alone, then many streams that cross each other.
    for (threads, rounds, size) in [(1, 12, 20 * MIB), (6, 6, 4 * MIB)] {
        let (done, all_done) = mpsc::channel();
        for number in 0..threads {
            let (session, done) = (Arc::clone(&session), done.clone());
            std::thread::spawn(move || {
                for round in 0..rounds {
                    let script = ["cat >/dev/null", "cat", "head -c 3000000; cat >&2"];
                    let script = script[(number + round) % script.len().min(threads)];
                    let shutdown = Shutdown::new();
                    let mut running = session.start(&sh(script), &shutdown).unwrap();
                    let mut stdin = running.stdin.take().unwrap();
                    std::thread::spawn(move || {
                        std::io::copy(&mut pattern(size), &mut stdin).unwrap();
                    });
                    digest(&mut running.stdout);
                    assert!(running.finish().unwrap().ok());
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..threads {
            all_done
                .recv_timeout(Duration::from_secs(90))
                .expect("every channel went on by itself");
        }
    }
}

#[test]
fn a_slow_reader_stalls_only_itself() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    let mut slow: Vec<_> = (0..4)
        .map(|_| session.start(&sh("cat /dev/zero"), &shutdown).unwrap())
        .collect();
    for running in &mut slow {
        running.stdout.read_exact(&mut [0; 1000]).unwrap();
    }
    // More than any buffer between would take.
    let output = session.run(&sh("head -c 12000000 /dev/zero"), &shutdown);
    assert_eq!(output.unwrap().stdout.len(), 12_000_000);
    for running in &mut slow {
        running.stdout.read_exact(&mut vec![0; 8 * MIB]).unwrap();
    }
    drop(slow);
    assert!(session.run(&sh("true"), &shutdown).unwrap().exit.ok());
}

#[test]
fn a_flood_of_stderr_neither_stalls_nor_grows() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    let script =
        "echo first; head -c 30000000 /dev/zero | tr '\\0' x >&2; echo last; echo end >&2; exit 4";
    let output = session.run(&sh(script), &shutdown).unwrap();
    assert_eq!(output.stdout, b"first\nlast\n");
    assert_eq!(output.exit.status, 4);
    assert_eq!(output.exit.stderr.len(), 16 * 1024 - 1);
    assert!(output.exit.stderr.ends_with("xend"));
}

#[test]
fn a_command_that_stops_reading_is_judged_by_its_status() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let shutdown = Shutdown::new();
    for (script, status) in [("head -c 10 >/dev/null", 0), ("exit 5", 5)] {
        let mut running = session.start(&sh(script), &shutdown).unwrap();
        let mut stdin = running.stdin.take().unwrap();
        let error = std::io::copy(&mut pattern(64 * MIB), &mut stdin).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(running.finish().unwrap().status, status);
    }
}

#[test]
fn what_nobody_reads_is_thrown_away() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let running = session
        .start(&sh("head -c 20000000 /dev/zero; exit 6"), &Shutdown::new())
        .unwrap();
    let crate::remote::Running { stdout, wait, .. } = running;
    drop(stdout);
    assert_eq!(wait().unwrap().status, 6);
}

#[test]
fn an_abandoned_command_loses_its_channel() {
    let sshd = Sshd::with("MaxSessions 1");
    let session = sshd.session();
    let shutdown = Shutdown::new();
    for _ in 0..3 {
        drop(session.start(&sh("cat"), &shutdown).unwrap());
        drop(session.start(&sh("cat /dev/zero"), &shutdown).unwrap());
    }
    assert!(session.run(&sh("true"), &shutdown).unwrap().exit.ok());
}

#[test]
fn a_signal_ends_reads_writes_and_waits_within_a_second() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let (send, receive) = mpsc::channel();
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let blocked = |script: &str| session.start(&sh(script), &shutdown).unwrap();
        let mut reading = blocked("exec sleep 60");
        let tell = send.clone();
        scope.spawn(move || {
            let error = reading.stdout.read(&mut [0; 10]).unwrap_err();
            tell.send(error.get_ref().is_some_and(|it| it.is::<Stopped>()))
        });
        let mut writing = blocked("exec sleep 60");
        let tell = send.clone();
        scope.spawn(move || {
            let mut stdin = writing.stdin.take().unwrap();
            let error = std::io::copy(&mut pattern(64 * MIB), &mut stdin).unwrap_err();
            let stopped = error.get_ref().is_some_and(|it| it.is::<Stopped>());
            tell.send(stopped && matches!(writing.finish(), Err(Error::Stopped(_))))
        });
        let waiting = blocked("exec sleep 60");
        let tell = send.clone();
        scope.spawn(move || tell.send(matches!((waiting.wait)(), Err(Error::Stopped(_)))));
        let raised = Instant::now();
        shutdown.raise();
        for _ in 0..3 {
            assert!(receive.recv_timeout(Duration::from_secs(1)).unwrap());
        }
        assert!(raised.elapsed() < Duration::from_secs(1));
    });
    // Unlocking goes on over the same connection.
    let command = sh("echo unlocked");
    let output = session.run(&command, &Shutdown::never()).unwrap();
    assert_eq!(output.stdout, b"unlocked\n");
}
