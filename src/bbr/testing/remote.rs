//! A remote made of local processes below a root.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::remote::{Command, Error, Exit, Remote, Running, stopped_io};
use crate::shutdown::{LOOK, Shutdown};

/// What goes wrong with a command whose label contains a text.
#[derive(Debug, Clone, Copy)]
pub(in crate::bbr) enum Fault {
    /// It cannot be started.
    Refused,
    /// It runs, but its exit status never arrives.
    Lost,
    /// It is started later.
    Delay(Duration),
    /// It prints this, and does nothing.
    Says(&'static str),
}

/// Stands for the root of whichever instance a command is sent to.
pub(super) const ROOT: &str = "/root-of-the-instance";

type Hook = Box<dyn FnMut() + Send>;

/// One "instance".
pub(in crate::bbr) struct LocalRemote {
    pub(super) name: String,
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
    pub(super) fn new(name: String, root: PathBuf) -> Self {
        Self {
            name,
            root,
            faults: Mutex::default(),
            hooks: Mutex::default(),
            labels: Mutex::default(),
        }
    }

    pub(in crate::bbr) fn fault(&self, label: &str, fault: Fault, times: u32) {
        self.faults
            .lock()
            .unwrap()
            .push((label.to_owned(), fault, times));
    }

    /// Calls this before each command whose label contains the text.
    pub(in crate::bbr) fn before(&self, label: &str, hook: impl FnMut() + Send + 'static) {
        self.hooks
            .lock()
            .unwrap()
            .push((label.to_owned(), Box::new(hook)));
    }

    /// How many commands with this text in their label were asked for.
    pub(in crate::bbr) fn count(&self, label: &str) -> usize {
        let labels = self.labels.lock().unwrap();
        labels.iter().filter(|known| known.contains(label)).count()
    }

    fn words(&self, command: &Command, fault: Option<Fault>) -> Vec<std::ffi::OsString> {
        match fault {
            Some(Fault::Says(text)) => vec!["echo".into(), text.into()],
            _ => command.words.iter().map(|word| self.rooted(word)).collect(),
        }
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
            .args(self.words(command, fault))
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
            stdin: Some(Box::new(Rooted {
                stdin,
                root: self.root.to_str().unwrap().to_owned(),
            })),
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

/// Standard input on which [`ROOT`] stands for the root, as in words; a write is a line then.
struct Rooted {
    stdin: ChildStdin,
    root: String,
}

impl Write for Rooted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(ROOT) => {
                self.stdin
                    .write_all(text.replace(ROOT, &self.root).as_bytes())?;
                Ok(bytes.len())
            }
            _ => self.stdin.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdin.flush()
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
