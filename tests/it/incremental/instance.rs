//! An instance with one job, behind a real sshd, whose artifact a test fills as it likes.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lifeboat::bbr::{self, Drained, Errors, Host, Kind, Mark, Paths, Run};
use lifeboat::monitor::{Level, Meter, Monitor};
use lifeboat::remote::{self, Remote, Running};
use lifeboat::shutdown::Shutdown;
use lifeboat::ssh::{Address, HostKeyPolicy, Session, Settings, generate_key};

use super::model::Model;

type Hook = Box<dyn FnMut() + Send>;

/// A remote over SSH, whose commands a test can meddle with.
pub struct Meddled {
    session: Arc<Session>,
    path: Mutex<Option<PathBuf>>,
    hooks: Mutex<Vec<(&'static str, Hook)>>,
    instead: Mutex<Vec<(&'static str, &'static str)>>,
}

impl std::fmt::Debug for Meddled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddled")
    }
}

impl Remote for Meddled {
    fn name(&self) -> &str {
        self.session.name()
    }

    fn start(
        &self,
        command: &remote::Command,
        shutdown: &Shutdown,
    ) -> Result<Running, remote::Error> {
        for (label, hook) in self.hooks.lock().unwrap().iter_mut() {
            if command.label.contains(*label) {
                hook();
            }
        }
        // Tests run as anybody, where there is no sudo.
        let mut command = command.clone().as_login_user();
        for (label, script) in self.instead.lock().unwrap().iter() {
            if command.label.contains(label) {
                command.words = ["sh", "-c", script].map(|word| word.into()).to_vec();
            }
        }
        if let Some(path) = &*self.path.lock().unwrap() {
            let path = format!("PATH={}", path.display()).into_bytes();
            command.words.splice(0..0, [b"/usr/bin/env".to_vec(), path]);
        }
        self.session.start(&command, shutdown)
    }
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct Notes(Mutex<String>);

impl Monitor for Notes {
    fn say(&self, _: Level, text: &str) {
        let mut notes = self.0.lock().unwrap();
        notes.push_str(text);
        notes.push('\n');
    }
}

pub struct Instance {
    root: tempfile::TempDir,
    sshd: Child,
    remote: Arc<Meddled>,
    run: Run,
    notes: Arc<Notes>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop((self.sshd.kill(), self.sshd.wait()));
    }
}

impl Instance {
    /// Up to its drain; the artifact is empty.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (sshd, settings) = serve(root.path());
        let notes = Arc::new(Notes::default());
        let never = Shutdown::never();
        let session = Session::connect(settings, notes.clone(), &never).unwrap();
        let remote = Arc::new(Meddled {
            session,
            path: Mutex::default(),
            hooks: Mutex::default(),
            instead: Mutex::default(),
        });
        let bin = root.path().join("jobs/j/bin/bbr");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(root.path().join("store")).unwrap();
        fs::write(bin.join("backup"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(bin.join("backup"), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| root.path().join(name).display().to_string();
        let settings = bbr::Settings {
            paths: Paths {
                jobs: at("jobs"),
                store: at("store"),
                passwd: "/etc/passwd".to_owned(),
            },
            ..bbr::Settings::default()
        };
        let host = Host {
            group: "g".to_owned(),
            id: "u0".to_owned(),
            index: Some("0".to_owned()),
            bootstrap: true,
            remote: remote.clone(),
        };
        let kind = Kind::Deployment { manifest: "{}" };
        let target = bbr::discover("dep", vec![host], kind, &settings, &*notes, &never).unwrap();
        let mark = Mark {
            run: "run-1".to_owned(),
            foundation: "prod".to_owned(),
            started: SystemTime::UNIX_EPOCH,
        };
        let run = Run::new(target, mark, false);
        run.mark(&never).unwrap();
        run.lock(&*notes, &never).unwrap();
        run.backup(&*notes, &never).unwrap();
        run.unlock(true, &*notes, &never).unwrap();
        Self {
            root,
            sshd,
            remote,
            run,
            notes,
        }
    }

    /// What the job left.
    pub fn artifact(&self) -> PathBuf {
        self.root.path().join("store/bbr-backup/j")
    }

    pub fn drain(&self, sink: &mut Model) -> Result<Drained, Errors> {
        let meter = Meter::new("j", None);
        let never = Shutdown::never();
        let artifact = &self.run.artifacts()[0];
        self.run.drain(artifact, sink, &meter, &*self.notes, &never)
    }

    /// All of it, as a base.
    pub fn full(&self) -> (Arc<Model>, Drained) {
        let mut model = Model::default();
        let drained = self.drain(&mut model).unwrap();
        (Arc::new(model), drained)
    }

    /// What it was told since it was last asked.
    pub fn said(&self) -> String {
        std::mem::take(&mut *self.notes.0.lock().unwrap())
    }

    /// Calls this before each command whose label contains the text.
    pub fn before(&self, label: &'static str, hook: impl FnMut() + Send + 'static) {
        let mut hooks = self.remote.hooks.lock().unwrap();
        hooks.push((label, Box::new(hook)));
    }

    /// Runs this in place of commands whose label contains the text.
    pub fn instead(&self, label: &'static str, script: &'static str) {
        self.remote.instead.lock().unwrap().push((label, script));
    }

    /// Gives the instance only these programs more or less than it has.
    pub fn tools(&self, without: &[&str], with: &[(&str, &str)]) {
        let bin = self.root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let mut seen: BTreeSet<_> = without.iter().map(|name| (*name).to_owned()).collect();
        for (name, script) in with {
            seen.insert((*name).to_owned());
            fs::write(bin.join(name), script).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for directory in ["/usr/bin", "/bin", "/usr/sbin"] {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if seen.insert(name.clone()) {
                    symlink(entry.path(), bin.join(name)).unwrap();
                }
            }
        }
        *self.remote.path.lock().unwrap() = Some(bin);
    }

    /// What is left beside the artifacts.
    pub fn finish(self) {
        let never = Shutdown::never();
        *self.remote.path.lock().unwrap() = None;
        self.run.finish(&never).unwrap();
        let store = fs::read_dir(self.root.path().join("store")).unwrap();
        assert_eq!(store.count(), 0, "something is left on the instance");
    }
}

/// A server on a free port, and how to reach it.
fn serve(root: &Path) -> (Child, Settings) {
    let sshd = Path::new("/usr/sbin/sshd");
    assert!(sshd.exists(), "these tests need openssh-server");
    let id = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(id).unwrap().trim().to_owned();
    if user == "root" {
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let at = root.join("sshd");
    fs::create_dir(&at).unwrap();
    let keygen = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(at.join("host"))
        .status();
    assert!(keygen.unwrap().success());
    let (key, public) = generate_key().unwrap();
    fs::write(at.join("authorized"), public).unwrap();
    let config = format!(
        "ListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n\
         PermitRootLogin yes\nPrintMotd no\n",
        at = at.display()
    );
    fs::write(at.join("config"), config).unwrap();
    let host_key = fs::read_to_string(at.join("host.pub")).unwrap();
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut child = Command::new(sshd)
            .args(["-D", "-e", "-f"])
            .arg(at.join("config"))
            .args(["-p", &port.to_string()])
            .stderr(Stdio::from(fs::File::create(at.join("log")).unwrap()))
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                let policy = HostKeyPolicy::Exactly(host_key.parse().unwrap());
                let address = Address::new("127.0.0.1", port);
                return (child, Settings::new("g/u0", address, user, key, policy));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Somebody else was given the port meanwhile.
    }
}
