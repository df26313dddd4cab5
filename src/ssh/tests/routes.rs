//! Through a SOCKS5 proxy and through a jumpbox.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::super::testing::{Lines, Sshd, connect, until};
use super::super::{Address, HostKeyPolicy, ProxyUrl, Route, RouteOptions, Session};
use crate::remote::{Command, Error, Remote};
use crate::shutdown::Shutdown;

fn sh(script: &str) -> Command {
    Command::as_root(script, ["sh", "-c", script]).as_login_user()
}

fn route_with(url: &str, options: RouteOptions, lines: &Arc<Lines>) -> Route {
    let monitor = Arc::clone(lines) as Arc<dyn crate::monitor::Monitor>;
    Route::open(ProxyUrl::parse(url).unwrap(), options, monitor).unwrap()
}

fn jumpbox_url(jumpbox: &Sshd) -> String {
    std::fs::write(jumpbox.path("key"), jumpbox.key.expose()).unwrap();
    format!(
        "ssh+socks5://{}@127.0.0.1:{}?private-key={}",
        jumpbox.user,
        jumpbox.port,
        jumpbox.path("key")
    )
}

fn pinned(jumpbox: &Sshd) -> RouteOptions {
    RouteOptions {
        host_key: HostKeyPolicy::Exactly(jumpbox.host_key.parse().unwrap()),
        ..RouteOptions::default()
    }
}

fn jump(jumpbox: &Sshd) -> Route {
    let lines = Arc::new(Lines::default());
    route_with(&jumpbox_url(jumpbox), pinned(jumpbox), &lines)
}

/// The SOCKS5 proxy of OpenSSH's own client.
struct Socks(Child, u16);

impl Socks {
    fn through(sshd: &Sshd) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        std::fs::write(sshd.path("key"), sshd.key.expose()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(sshd.path("key"), mode).unwrap();
        let child = Process::new("ssh")
            .args(["-N", "-D", &format!("127.0.0.1:{port}"), "-i"])
            .arg(sshd.path("key"))
            .args(["-F", "none", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-p"])
            .arg(sshd.port.to_string())
            .arg(format!("{}@127.0.0.1", sshd.user))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the proxy listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self(child, port)
    }
}

impl Drop for Socks {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Answers each connection with what it received until end-of-file, reversed.
fn reverser() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || {
                let mut client = client.unwrap();
                let mut said = Vec::new();
                client.read_to_end(&mut said).unwrap();
                said.reverse();
                client.write_all(&said).unwrap();
            });
        }
    });
    port
}

fn assert_reverses(mut stream: TcpStream) {
    let said: Vec<u8> = (0..3_000_000u32).map(|at| at.to_le_bytes()[1]).collect();
    let mut writer = stream.try_clone().unwrap();
    let to_say = said.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&to_say).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writing.join().unwrap();
    answer.reverse();
    assert!(answer == said);
}

#[test]
fn an_instance_is_reached_through_a_jumpbox_again_and_again() {
    let (jumpbox, target) = (Sshd::start(), Sshd::start());
    let mut settings = target.settings();
    settings.route = Some(jump(&jumpbox));
    let session = connect(settings).unwrap();
    let shutdown = Shutdown::new();
    let output = session.run(&sh("head -c 9000000 /dev/zero"), &shutdown);
    assert_eq!(output.unwrap().stdout.len(), 9_000_000);
    // The jumpbox's connection is made anew too.
    jumpbox.signal_connections(Signal::KILL);
    until("the target's connection is gone", || {
        target.connections() == 0
    });
    let output = session.run(&sh("echo x"), &shutdown).unwrap();
    assert_eq!(output.stdout, b"x\n");
    assert!(jumpbox.log().contains("127.0.0.1 port"));
}

#[test]
fn many_instances_share_one_connection_to_the_jumpbox() {
    let (jumpbox, target) = (Sshd::start(), Sshd::start());
    let route = jump(&jumpbox);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut settings = target.settings();
                settings.route = Some(route.clone());
                let session = connect(settings).unwrap();
                let output = session.run(&sh("head -c 300000 /dev/zero"), &Shutdown::new());
                assert_eq!(output.unwrap().stdout.len(), 300_000);
            });
        }
    });
    assert_eq!(jumpbox.log().matches("Accepted publickey").count(), 1);
}

#[test]
fn an_instance_is_reached_through_socks5() {
    let (proxy, target) = (Sshd::start(), Sshd::start());
    let socks = Socks::through(&proxy);
    let lines = Arc::new(Lines::default());
    let url = format!("socks5://127.0.0.1:{}", socks.1);
    let route = route_with(&url, RouteOptions::default(), &lines);
    for host in ["127.0.0.1", "localhost"] {
        let mut settings = target.settings();
        settings.address = Address::new(host, target.port);
        settings.route = Some(route.clone());
        let session = connect(settings).unwrap();
        let output = session.run(&sh("echo x"), &Shutdown::new()).unwrap();
        assert_eq!(output.stdout, b"x\n");
    }
    let address = route.forward("localhost", reverser()).unwrap();
    assert_reverses(TcpStream::connect(address).unwrap());
}

#[test]
fn a_forward_carries_both_directions_and_dies_with_its_route() {
    let jumpbox = Sshd::start();
    let route = jump(&jumpbox);
    let address = route.forward("localhost", reverser()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert_reverses(TcpStream::connect(address).unwrap()));
        }
    });
    let mut open = TcpStream::connect(address).unwrap();
    open.write_all(b"x").unwrap();
    let mut dialled = route
        .dial(
            "localhost",
            reverser(),
            Duration::from_secs(5),
            &Shutdown::new(),
        )
        .unwrap();
    drop(route);
    // Closed, one way or the other.
    for stream in [&mut open as &mut dyn Read, &mut dialled] {
        assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    }
    until("nobody listens", || TcpStream::connect(address).is_err());
    until("the jumpbox is left", || jumpbox.connections() == 0);
}

#[test]
fn a_jumpbox_with_a_wrong_host_key_leads_nowhere() {
    let (jumpbox, target) = (Sshd::start(), Sshd::start());
    let lines = Arc::new(Lines::default());
    let route = route_with(&jumpbox_url(&jumpbox), pinned(&target), &lines);
    let mut settings = target.settings();
    settings.route = Some(route);
    let error = connect(settings).unwrap_err().to_string();
    assert!(error.contains("the host key of 127.0.0.1"), "{error}");
    assert!(!jumpbox.log().contains("Accepted"));
}

#[test]
fn what_a_proxy_refuses_is_explained() {
    let (jumpbox, target) = (Sshd::with("AllowTcpForwarding no"), Sshd::start());
    let mut settings = target.settings();
    settings.route = Some(jump(&jumpbox));
    let error = connect(settings).unwrap_err().to_string();
    assert!(error.contains("through the jumpbox"), "{error}");
    assert!(error.contains("AllowTcpForwarding"), "{error}");
    let lines = Arc::new(Lines::default());
    let route = route_with(&jumpbox_url(&jumpbox), RouteOptions::default(), &lines);
    let address = route.forward("localhost", 1).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    assert!(matches!(client.read(&mut [0; 10]), Ok(0) | Err(_)));
    let said = lines.all().join("\n");
    assert!(said.contains("jumpbox: the host key of"), "{said}");
    until("the reason is told", || {
        lines.all().join("\n").contains("cannot reach localhost:1")
    });
}

/// A port whose connects hang: a listener with a full backlog.
fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    (listener, held)
}

#[test]
fn a_dead_host_behind_a_jumpbox_holds_up_only_itself() {
    let (jumpbox, target) = (Sshd::start(), Sshd::start());
    let route = jump(&jumpbox);
    let hole = black_hole();
    let port = hole.0.local_addr().unwrap().port();
    let mut dead = target.settings();
    dead.address.port = port;
    dead.connect_timeout = Duration::from_secs(20);
    dead.route = Some(route.clone());
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (dead, shutdown) = (dead.clone(), &shutdown);
            scope.spawn(move || Session::connect(dead, Arc::new(Lines::default()), shutdown));
        }
        until("the jumpbox is asked", || {
            jumpbox.log().contains("Accepted publickey")
        });
        let began = std::time::Instant::now();
        for _ in 0..3 {
            let mut settings = target.settings();
            settings.route = Some(route.clone());
            let session = connect(settings).unwrap();
            assert!(
                session
                    .run(&sh("true"), &Shutdown::new())
                    .unwrap()
                    .exit
                    .ok()
            );
        }
        assert!(began.elapsed() < Duration::from_secs(15));
        shutdown.raise();
    });
    dead.connect_timeout = Duration::from_millis(1500);
    let error = connect(dead).unwrap_err().to_string();
    assert!(error.contains("no connection within 1.5 s"), "{error}");
}

/// Answers the first connection with these bytes, after having read as many as are given.
fn canned(answers: &'static [(usize, &'static [u8])]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            for (count, answer) in answers {
                client.read_exact(&mut vec![0; *count]).unwrap();
                client.write_all(answer).unwrap();
            }
            // Until the client leaves.
            drop(client.read(&mut [0; 10]));
        }
    });
    port
}

#[test]
fn a_socks5_proxys_answers_are_understood() {
    let sshd = Sshd::start();
    for (port, said) in [
        (canned(&[(3, b"HT")]), "no SOCKS5 proxy"),
        (canned(&[(3, &[5, 255])]), "wants authentication"),
        (
            canned(&[(3, &[5, 0]), (10, &[5, 5, 0, 1])]),
            "connection refused",
        ),
        (
            canned(&[(3, &[5, 0]), (10, &[5, 2, 0, 1])]),
            "rules forbid it",
        ),
    ] {
        let lines = Arc::new(Lines::default());
        let url = format!("socks5://127.0.0.1:{port}");
        let mut settings = sshd.settings();
        settings.route = Some(route_with(&url, RouteOptions::default(), &lines));
        let error = connect(settings).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_signal_ends_a_dial_through_a_silent_proxy() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = Arc::new(Lines::default());
    let url = format!("socks5://{}", silent.local_addr().unwrap());
    let mut settings = sshd.settings();
    settings.route = Some(route_with(&url, RouteOptions::default(), &lines));
    let shutdown = Shutdown::new();
    let flag = shutdown.clone();
    let connecting = std::thread::spawn(move || Session::connect(settings, lines, &flag));
    silent.accept().unwrap();
    shutdown.raise();
    assert!(matches!(connecting.join().unwrap(), Err(Error::Stopped(_))));
}
