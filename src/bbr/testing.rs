//! A remote made of local processes below a temporary root, a target built from it, and a
//! monitor that remembers; so that scripts, drain, abort and cleanup are tried with the real tools.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::{Host, Kind, Limits, Mark, Paths, Run, Settings, Target, discover};
use crate::artifact::{Digest, EntrySink};
use crate::monitor::{Level, Monitor};
use crate::remote::{Command, Error, Exit, Remote, Running, stopped_io};
use crate::shutdown::{LOOK, Shutdown};

/// What goes wrong with a command whose label contains a text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It cannot be started.
    Refused,
    /// It runs, but its exit status never arrives.
    Lost,
    /// It is started later.
    Delay(Duration),
}

/// Stands for the root of whichever instance a command is sent to.
const ROOT: &str = "/root-of-the-instance";

type Hook = Box<dyn FnMut() + Send>;

/// One "instance".
pub(crate) struct LocalRemote {
    name: String,
    root: PathBuf,
    faults: Mutex<Vec<(String, Fault, u32)>>,
    hooks: Mutex<Vec<(String, Hook)>>,
    labels: Mutex<Vec<String>>,
}

impl std::fmt::Debug for LocalRemote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl LocalRemote {
    pub(crate) fn fault(&self, label: &str, fault: Fault, times: u32) {
        self.faults
            .lock()
            .unwrap()
            .push((label.to_owned(), fault, times));
    }

    /// Calls this before each command whose label contains the text.
    pub(crate) fn before(&self, label: &str, hook: impl FnMut() + Send + 'static) {
        self.hooks
            .lock()
            .unwrap()
            .push((label.to_owned(), Box::new(hook)));
    }

    /// How many commands with this text in their label were asked for.
    pub(crate) fn count(&self, label: &str) -> usize {
        let labels = self.labels.lock().unwrap();
        labels.iter().filter(|known| known.contains(label)).count()
    }

    fn rooted(&self, word: &[u8]) -> std::ffi::OsString {
        use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
        let mut rest = word;
        let mut rooted = Vec::new();
        while let Some(at) = rest
            .windows(ROOT.len())
            .position(|part| part == ROOT.as_bytes())
        {
            rooted.extend_from_slice(&rest[..at]);
            rooted.extend_from_slice(self.root.as_os_str().as_bytes());
            rest = &rest[at + ROOT.len()..];
        }
        rooted.extend_from_slice(rest);
        std::ffi::OsString::from_vec(rooted)
    }

    fn take_fault(&self, label: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let found = faults
            .iter_mut()
            .find(|(text, _, left)| label.contains(text.as_str()) && *left > 0)?;
        found.2 -= 1;
        Some(found.1)
    }
}

impl Remote for LocalRemote {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self, command: &Command, shutdown: &Shutdown) -> Result<Running, Error> {
        self.labels.lock().unwrap().push(command.label.clone());
        for (text, hook) in self.hooks.lock().unwrap().iter_mut() {
            if command.label.contains(text.as_str()) {
                hook();
            }
        }
        shutdown.check()?;
        let fault = self.take_fault(&command.label);
        match fault {
            Some(Fault::Refused) => {
                return Err(Error::Connect {
                    remote: self.name.clone(),
                    message: "the connection was refused".to_owned(),
                });
            }
            Some(Fault::Delay(time)) => shutdown.sleep(time)?,
            _ => {}
        }
        // As sudo does: an own environment, files without `#!` run, the login user's home.
        let mut process = std::process::Command::new("/usr/bin/env");
        process
            .arg("-i")
            .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"])
            .args(command.environment.iter().map(|(name, value)| {
                let value = value.replace(ROOT, self.root.to_str().unwrap());
                format!("{name}={value}")
            }))
            .args(command.words.iter().map(|word| self.rooted(word)))
            .current_dir(&self.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            drop(stderr.read_to_end(&mut text));
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            let skip = text.len().saturating_sub(16 * 1024);
            text[text.ceil_char_boundary(skip)..].to_owned()
        });
        let (name, label, flag) = (self.name.clone(), command.label.clone(), shutdown.clone());
        Ok(Running {
            stdin: Some(Box::new(stdin)),
            stdout: Box::new(Pipe::new(stdout, shutdown.clone())),
            wait: Box::new(move || {
                let status = wait(&mut child, &flag)?;
                if matches!(fault, Some(Fault::Lost)) {
                    return Err(Error::Lost {
                        remote: name,
                        command: label,
                        message: "cut".to_owned(),
                    });
                }
                let stderr = errors.join().unwrap();
                Ok(Exit { status, stderr })
            }),
        })
    }
}

fn wait(child: &mut Child, shutdown: &Shutdown) -> Result<i32, Error> {
    use std::os::unix::process::ExitStatusExt as _;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Ok(status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap()));
        }
        shutdown.sleep(Duration::from_millis(5))?;
    }
}

/// Standard output that gives up when the flag is raised.
struct Pipe {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    shutdown: Shutdown,
}

impl Pipe {
    fn new(mut stdout: ChildStdout, shutdown: Shutdown) -> Self {
        let (sender, pieces) = sync_channel(4);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read) = stdout.read(&mut buffer) {
                if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            pieces,
            piece: Vec::new(),
            shutdown,
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.shutdown.is_raised() {
                return Err(stopped_io());
            }
            match self.pieces.recv_timeout(LOOK) {
                Ok(piece) => self.piece = piece,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece[..count]);
        self.piece.drain(..count);
        Ok(count)
    }
}

/// Several instances below one temporary root. All share one root directory per instance, and
/// one journal that scripts append to.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) settings: Settings,
    pub(crate) monitor: Notes,
    pub(crate) manifest: String,
    places: Vec<Place>,
}

struct Place {
    host: Host,
    remote: Arc<LocalRemote>,
    dir: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            settings: Settings {
                paths: Paths {
                    jobs: format!("{ROOT}/jobs"),
                    store: format!("{ROOT}/store"),
                    passwd: format!("{ROOT}/passwd"),
                },
                limits: Limits::default(),
                tool_version: "9.9.9".to_owned(),
            },
            monitor: Notes::default(),
            manifest: "{}".to_owned(),
            places: Vec::new(),
        }
    }

    /// Adds an instance; its id is `u` and its index.
    pub(crate) fn instance(&mut self, group: &str, index: usize) -> &Self {
        let dir = self.root.path().join(format!("{group}-{index}"));
        fs::create_dir_all(dir.join("jobs")).unwrap();
        fs::create_dir_all(dir.join("store")).unwrap();
        fs::write(dir.join("passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        let id = format!("u{index}");
        let remote = Arc::new(LocalRemote {
            name: format!("{group}/{id}"),
            root: dir.clone(),
            faults: Mutex::default(),
            hooks: Mutex::default(),
            labels: Mutex::default(),
        });
        self.places.push(Place {
            host: Host {
                group: group.to_owned(),
                id,
                index: Some(index.to_string()),
                bootstrap: index == 0,
                remote: remote.clone(),
            },
            remote,
            dir,
        });
        self
    }

    /// One instance with these jobs, `J: {SCRIPT: BODY}`.
    pub(crate) fn with(jobs: &[(&str, &str, &str)]) -> Self {
        let mut world = Self::new();
        world.instance("g", 0);
        for (job, script, body) in jobs {
            world.script("g/u0", job, script, body);
        }
        world
    }

    pub(crate) fn script(&self, instance: &str, job: &str, script: &str, body: &str) {
        let dir = self.dir(instance).join("jobs").join(job).join("bin/bbr");
        fs::create_dir_all(&dir).unwrap();
        let journal = self.journal_path();
        let journal = journal.to_str().unwrap();
        let text = format!(
            "#!/bin/sh\njournal() {{ echo \"$@\" >>{journal}; }}\n\
             journal start {instance} {job} {script}\n{body}\n\
             s=$?\njournal end {instance} {job} {script}\nexit $s\n"
        );
        // A metadata script's output is its result; it stays out of the journal.
        let text = match script {
            "metadata" => format!("#!/bin/sh\n{body}\n"),
            _ => text,
        };
        self.raw_script(instance, job, script, text.as_bytes());
    }

    pub(crate) fn raw_script(&self, instance: &str, job: &str, script: &str, text: &[u8]) {
        let dir = self.dir(instance).join("jobs").join(job).join("bin/bbr");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(script);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn dir(&self, instance: &str) -> &Path {
        &self.place(instance).dir
    }

    pub(crate) fn remote(&self, instance: &str) -> &LocalRemote {
        &self.place(instance).remote
    }

    fn place(&self, instance: &str) -> &Place {
        self.places
            .iter()
            .find(|place| place.remote.name == instance)
            .unwrap()
    }

    pub(crate) fn hosts(&self) -> Vec<Host> {
        self.places.iter().map(|place| place.host.clone()).collect()
    }

    pub(crate) fn host_mut(&mut self, instance: &str) -> &mut Host {
        let place = self
            .places
            .iter_mut()
            .find(|place| place.remote.name == instance);
        &mut place.unwrap().host
    }

    /// The artifact directory, our own, or a file in the store.
    pub(crate) fn store(&self, instance: &str, name: &str) -> PathBuf {
        self.dir(instance).join("store").join(name)
    }

    pub(crate) fn leftovers(&self, instance: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir(instance).join("store"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn journal_path(&self) -> PathBuf {
        self.root.path().join("journal")
    }

    pub(crate) fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.journal_path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the journal has a line.
    pub(crate) fn await_journal(&self, line: &str) {
        for _ in 0..2000 {
            if self.journal().iter().any(|known| known == line) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no `{line}` in the journal: {:?}", self.journal());
    }

    pub(crate) fn discover(&self) -> Result<Target, super::Errors> {
        let kind = Kind::Deployment {
            manifest: &self.manifest,
        };
        let never = Shutdown::never();
        discover(
            "dep",
            self.hosts(),
            kind,
            &self.settings,
            &self.monitor,
            &never,
        )
    }

    pub(crate) fn run(&self) -> Run {
        let mark = Mark {
            run: "run-1".to_owned(),
            foundation: "prod".to_owned(),
            started: SystemTime::UNIX_EPOCH,
        };
        Run::new(self.discover().unwrap(), mark, false)
    }
}

/// Remembers lines.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<String>);

impl Monitor for Notes {
    fn say(&self, level: Level, text: &str) {
        writeln!(self.0.lock().unwrap(), "{level:?} {text}").unwrap();
    }
}

impl Notes {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// Keeps what was drained.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Content by the name in the head, as the `tar` crate reads it.
    pub(crate) files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Names in order.
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) again: usize,
    pub(crate) zeros: Option<u64>,
}

impl Kept {
    fn name(head: &[u8]) -> Vec<u8> {
        let entry = crate::artifact::tar::TarReader::new(head)
            .next_entry()
            .unwrap();
        entry.unwrap().name
    }
}

impl EntrySink for Kept {
    fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        let name = Self::name(head);
        self.names.push(name.clone());
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        anyhow::ensure!(bytes.len() as u64 == size, "size");
        let digest = Digest::of(&bytes);
        self.files.insert(name, bytes);
        Ok(digest)
    }

    fn again(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        self.again += 1;
        anyhow::ensure!(self.names.pop() == Some(Self::name(head)), "another file");
        self.file(head, size, content)
    }

    fn other(&mut self, head: &[u8]) -> anyhow::Result<()> {
        self.names.push(Self::name(head));
        Ok(())
    }

    fn end(&mut self, zeros: u64) -> anyhow::Result<()> {
        self.zeros = Some(zeros);
        Ok(())
    }
}
