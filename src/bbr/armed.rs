//! A channel to an instance, opened before the first lock, over which scripts are started: while the
//! API is down a start costs a line, and no login, no `sudo` and no shell.
//!
//! The other end is `sh/armed.sh`, where the lines are described. What cannot be told from them (a
//! channel that ends, a line that makes no sense) loses the channel, and never a script: it is
//! known on the instance by its name, so that whoever asks again over another channel follows the
//! script that runs, or starts the one that was never started.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Settings;
use super::commands::{self, Start, is_plain};
use crate::remote::{Command, Exit, Output, Remote};
use crate::shutdown::{LOOK, Shutdown, Stopped};

/// Bytes of the longest line: what a pipe takes at once is written at once, though several write.
const LONGEST: usize = 4096;

/// Characters of the most that is told of one script: base64 of 4 KiB of output and of 16 KiB of errors.
const MOST: usize = 28 * 1024;

/// See the module. Dropping it gives the channel up; scripts that run go on.
pub(super) struct Armed {
    ends: Arc<Ends>,
    flag: Shutdown,
}

impl std::fmt::Debug for Armed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Armed")
    }
}

/// What the thread that reads and those who wait share.
#[derive(Default)]
struct Ends {
    state: Mutex<State>,
    changed: Condvar,
    stdin: Mutex<Option<Box<dyn Write + Send>>>,
}

#[derive(Default)]
struct State {
    ready: bool,
    lost: Option<String>,
    /// What was heard of the scripts that were asked for.
    heard: BTreeMap<String, Heard>,
}

#[derive(Default)]
struct Heard {
    out: String,
    err: String,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Ended(i32),
    /// It was started before, not over this channel.
    Known,
}

impl Armed {
    /// Opens the channel. Scripts can be started under `names`; returns when that is so.
    pub(super) fn open(
        remote: Arc<dyn Remote>,
        settings: &Settings,
        names: &[String],
        patience: Duration,
        shutdown: &Shutdown,
    ) -> Result<Self, String> {
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        if !names.iter().all(|name| is_plain(name)) {
            return Err("a job has an odd name".to_owned());
        }
        let names: Vec<&str> = names.into_iter().collect();
        let prepare = format!("prepare {}\n", names.join(" "));
        let command = commands::armed(settings);
        let armed = Self {
            ends: Arc::default(),
            flag: shutdown.limited(Duration::MAX),
        };
        let (ends, flag) = (Arc::clone(&armed.ends), armed.flag.clone());
        std::thread::Builder::new()
            .name(format!("scripts {}", remote.name()))
            .spawn(move || {
                let why = ends.serve(&*remote, &command, &prepare, &flag);
                ends.lose(why);
            })
            .map_err(|error| error.to_string())?;
        let until = Instant::now() + patience;
        let mut state = armed.ends.lock();
        loop {
            if let Some(why) = &state.lost {
                return Err(why.clone());
            }
            if state.ready {
                break;
            }
            if Instant::now() >= until || armed.flag.is_raised() {
                return Err(format!("it was not ready within {} s", patience.as_secs()));
            }
            state = armed.ends.wait(state);
        }
        drop(state);
        Ok(armed)
    }

    /// Starts a script and waits for its end. `None`: ask for it over another channel. This one is
    /// given up then, since a server may grant only one.
    pub(super) fn run(
        &self,
        start: &Start,
        environment: &[(String, String)],
        shutdown: &Shutdown,
    ) -> Result<Option<Output>, Stopped> {
        let output = match start.line(environment) {
            Some(line) => self.ask(start, &line, shutdown)?,
            None => None,
        };
        if output.is_none() {
            let why = format!("{} is to be asked for elsewhere", start.name);
            self.ends.lose(why);
        }
        Ok(output)
    }

    fn ask(
        &self,
        start: &Start,
        line: &str,
        shutdown: &Shutdown,
    ) -> Result<Option<Output>, Stopped> {
        {
            let mut state = self.ends.lock();
            if state.lost.is_some() {
                return Ok(None);
            }
            state.heard.insert(start.name.clone(), Heard::default());
        }
        shutdown.check()?;
        if let Err(error) = self.ends.send(line) {
            self.ends.lose(error.to_string());
        }
        let mut state = self.ends.lock();
        loop {
            let end = state.heard.get(&start.name).and_then(|heard| heard.end);
            if let Some(end) = end {
                let heard = state.heard.remove(&start.name).unwrap_or_default();
                return Ok(match end {
                    End::Ended(status) => heard.output(status),
                    End::Known => None,
                });
            }
            if state.lost.is_some() {
                return Ok(None);
            }
            shutdown.check()?;
            state = self.ends.wait(state);
        }
    }

    /// Why it cannot be used any more, if so.
    pub(super) fn lost(&self) -> Option<String> {
        self.ends.lock().lost.clone()
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        // The instance sees the end of input, and the reader the end of the output, or the flag.
        drop(self.ends.stdin().take());
        self.flag.raise();
    }
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stdin(&self) -> MutexGuard<'_, Option<Box<dyn Write + Send>>> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, LOOK)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn send(&self, line: &str) -> std::io::Result<()> {
        match &mut *self.stdin() {
            Some(stdin) => stdin.write_all(line.as_bytes()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The first reason stays. What is begun is not written to its end.
    fn lose(&self, why: String) {
        self.lock().lost.get_or_insert(why);
        self.changed.notify_all();
        drop(self.stdin().take());
    }

    /// Reads until the channel ends; says why it did.
    fn serve(
        &self,
        remote: &dyn Remote,
        command: &Command,
        prepare: &str,
        flag: &Shutdown,
    ) -> String {
        let mut running = match remote.start(command, flag) {
            Ok(running) => running,
            Err(error) => return error.to_string(),
        };
        *self.stdin() = running.stdin.take();
        if let Err(error) = self.send(prepare) {
            return error.to_string();
        }
        if let Err(why) = self.read(&mut running.stdout) {
            return why;
        }
        drop(self.stdin().take());
        match running.finish() {
            Ok(exit) => format!("it ended with status {}: {}", exit.status, exit.stderr),
            Err(error) => error.to_string(),
        }
    }

    fn read(&self, stdout: &mut dyn Read) -> Result<(), String> {
        let mut lines = BufReader::with_capacity(LONGEST, stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut lines)
                .take(LONGEST as u64)
                .read_until(b'\n', &mut line)
                .map_err(|error| error.to_string())?;
            if read == 0 {
                return Ok(());
            }
            let words = line.strip_suffix(b"\n").and_then(|line| {
                let text = std::str::from_utf8(line).ok()?;
                Some(text.split(' ').collect::<Vec<_>>())
            });
            if words.is_none_or(|words| self.hear(&words).is_none()) {
                return Err("it said something that makes no sense".to_owned());
            }
        }
    }

    /// `None`: it makes no sense.
    fn hear(&self, words: &[&str]) -> Option<()> {
        let mut state = self.lock();
        if words == ["ready"] {
            state.ready = true;
            self.changed.notify_all();
            return Some(());
        }
        if !state.ready {
            // A login shell may have its own to say before.
            return Some(());
        }
        let (name, rest) = words.split_first()?;
        let heard = state.heard.get_mut(*name)?;
        match rest {
            ["out", text] => heard.out.push_str(text),
            ["err", text] => heard.err.push_str(text),
            ["known"] => heard.end = Some(End::Known),
            ["ended", status, out, err] => {
                let whole = heard.out.len() == out.parse::<usize>().ok()?
                    && heard.err.len() == err.parse::<usize>().ok()?;
                heard.end = Some(End::Ended(status.parse().ok().filter(|_| whole)?));
            }
            _ => return None,
        }
        if heard.end.is_some() {
            self.changed.notify_all();
        }
        (heard.out.len() + heard.err.len() <= MOST).then_some(())
    }
}

impl Heard {
    /// `None`: it cannot be decoded.
    fn output(&self, status: i32) -> Option<Output> {
        let stderr = STANDARD.decode(&self.err).ok()?;
        Some(Output {
            stdout: STANDARD.decode(&self.out).ok()?,
            exit: Exit {
                status,
                stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
            },
        })
    }
}
