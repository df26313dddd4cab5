//! A real OpenSSH server on loopback, for tests.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Address, HostKeyPolicy, Session, Settings, generate_key};
use crate::monitor::{Level, Monitor};
use crate::remote::Error;
use crate::secret::Secret;
use crate::shutdown::Shutdown;

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<String>>);

impl Monitor for Lines {
    fn say(&self, _: Level, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Lines {
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A server, killed on drop.
#[derive(Debug)]
pub(super) struct Sshd {
    child: Child,
    pub(super) dir: tempfile::TempDir,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) key: Secret,
    /// The public line of its host key.
    pub(super) host_key: String,
}

impl Sshd {
    pub(super) fn start() -> Self {
        Self::with("")
    }

    /// With further lines of configuration.
    pub(super) fn with(config: &str) -> Self {
        let (key, public) = generate_key().unwrap();
        Self::with_keys("ed25519", key, &public, config)
    }

    /// With a host key of this type and a login key.
    pub(super) fn with_keys(kind: &str, key: Secret, public: &str, config: &str) -> Self {
        assert!(
            Path::new("/usr/sbin/sshd").exists(),
            "these tests need an OpenSSH server; install openssh-server"
        );
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap().trim().to_owned();
        if user == "root" {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        keygen(kind, &at.join("host"));
        std::fs::write(at.join("authorized"), public).unwrap();
        let base = format!(
            "ListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n\
             PermitRootLogin yes\nMaxStartups 200\nLogLevel VERBOSE\nPrintMotd no\n",
            at = at.display()
        );
        // The first value of a setting wins.
        std::fs::write(at.join("config"), format!("{config}\n{base}")).unwrap();
        let host_key = std::fs::read_to_string(at.join("host.pub")).unwrap();
        let (child, port) = serve(at);
        Self {
            child,
            dir,
            port,
            user,
            key,
            host_key,
        }
    }

    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::new(
            "group/0",
            Address::new("127.0.0.1", self.port),
            self.user.as_str(),
            self.key.clone(),
            HostKeyPolicy::Exactly(self.host_key.parse().unwrap()),
        );
        settings.retry_pause = Duration::from_millis(10);
        settings
    }

    pub(super) fn session(&self) -> Arc<Session> {
        connect(self.settings()).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Sends a signal to the processes that serve its connections, not to the listener.
    pub(super) fn signal_connections(&self, signal: Signal) {
        for pid in children(self.child.id()) {
            // It may be gone by itself.
            kill_process(pid, signal).ok();
        }
    }

    /// How many connections it serves.
    pub(super) fn connections(&self) -> usize {
        children(self.child.id()).len()
    }

    /// The same port, another server.
    pub(super) fn restart_with_another_host_key(&mut self) {
        self.signal_connections(Signal::KILL);
        self.stop_listening();
        for name in ["host", "host.pub"] {
            std::fs::remove_file(self.dir.path().join(name)).unwrap();
        }
        keygen("ed25519", &self.dir.path().join("host"));
        self.child = try_serve(self.dir.path(), self.port).expect("the port is still free");
    }

    /// Ends the listener; connections go on.
    pub(super) fn stop_listening(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.signal_connections(Signal::KILL);
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(super) fn connect(settings: Settings) -> Result<Arc<Session>, Error> {
    Session::connect(settings, Arc::new(crate::monitor::Silent), &Shutdown::new())
}

/// Waits for a condition, at most half a minute.
pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Makes a key pair with the real tool.
pub(super) fn keygen(kind: &str, path: &PathBuf) {
    let mut words = kind.split_whitespace();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-t", words.next().unwrap()])
        .args(words)
        .arg("-f")
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Another process may take the port between its choice and its use: then the next.
fn serve(at: &Path) -> (Child, u16) {
    for _ in 0..20 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        if let Some(child) = try_serve(at, port) {
            return (child, port);
        }
    }
    let log = std::fs::read_to_string(at.join("log"));
    panic!("sshd does not start: {log:?}");
}

fn try_serve(at: &Path, port: u16) -> Option<Child> {
    let log = std::fs::File::create(at.join("log")).unwrap();
    let mut child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-p", &port.to_string(), "-f"])
        .arg(at.join("config"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut answered = false;
    until("sshd answers or ends", || {
        let mut banner = [0; 4];
        answered = TcpStream::connect(("127.0.0.1", port))
            .and_then(|mut stream| stream.read_exact(&mut banner))
            .is_ok()
            && &banner == b"SSH-";
        answered || child.try_wait().unwrap().is_some()
    });
    if answered && child.try_wait().unwrap().is_none() {
        until("the probe's connection is over", || {
            children(child.id()).is_empty()
        });
        return Some(child);
    }
    child.kill().ok();
    child.wait().ok();
    None
}

fn children(pid: u32) -> Vec<Pid> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}
