//! The files of one artifact as they are read: counted, and where that is asked for followed to their
//! end.
//!
//! A file that is recognised by its first bytes is followed by a thread of its own, a megabyte behind the
//! reader at most: parsers read, readers write.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};

use super::findings::Told;
use crate::artifact::dump::{self, Broken, Seen};
use crate::artifact::name::shown;
use crate::monitor::Meter;
use crate::opsman;
use crate::repo::format::{ArtifactRecord, ComponentRecord};
use crate::repo::reader::{EntryReceiver, ReadEntry, Reader};
use crate::shutdown::Shutdown;

/// Bytes that are handed to a parser at once, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;
/// More bytes than an artifact has that is read whole, such as the foundation record.
const SMALL: u64 = 64 << 20;
/// Sentences kept of one artifact.
const MOST: usize = 20;

/// How the files of an artifact are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// Their digests alone.
    Nothing,
    /// Their digests alone: somebody else reads them.
    Read,
    /// Whatever is recognised.
    Dumps,
    /// It is Ops Manager's export.
    Installation,
}

/// What was found in one artifact.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Files read.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files that were recognised.
    pub(super) known: Vec<Told>,
    /// How many were recognised.
    pub(super) recognised: u64,
    /// Files that are of no form that is known.
    pub(super) unknown: u64,
    /// What is wrong.
    pub(super) wrong: Vec<Told>,
    /// How many files hold nothing.
    pub(super) hollow: u64,
    /// Files that hold nothing: those of them that should, by their names.
    pub(super) empty: Vec<Told>,
    /// Dumps of databases that hold nothing.
    pub(super) bare: Vec<Told>,
}

/// Takes the entries of one artifact.
pub(super) struct Files<'a> {
    follow: Follow,
    shutdown: &'a Shutdown,
    meter: &'a Arc<Meter>,
    file: Option<File>,
    pub(super) looked: Looked,
}

/// The file that is being read.
struct File {
    name: String,
    size: u64,
    state: State,
}

enum State {
    /// Its first bytes.
    Head(Vec<u8>),
    Unknown,
    Followed(Follower),
    Installation(Box<opsman::Checker>),
    Wrong,
}

impl<'a> Files<'a> {
    pub(super) fn new(follow: Follow, shutdown: &'a Shutdown, meter: &'a Arc<Meter>) -> Self {
        Self {
            follow,
            shutdown,
            meter,
            file: None,
            looked: Looked::default(),
        }
    }
}

impl EntryReceiver for Files<'_> {
    fn begin(&mut self, entry: &ReadEntry<'_>) -> Result<()> {
        self.shutdown.check()?;
        let Some((size, _)) = entry.content else {
            return Ok(());
        };
        self.looked.files += 1;
        let name = entry.described.map(|described| shown(&described.name));
        self.file = Some(File {
            name: name.unwrap_or_default(),
            size,
            state: match self.follow {
                Follow::Nothing | Follow::Read => State::Unknown,
                Follow::Dumps => State::Head(Vec::new()),
                Follow::Installation => State::Installation(Box::default()),
            },
        });
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        self.shutdown.check()?;
        self.looked.bytes += bytes.len() as u64;
        self.meter.add(bytes.len() as u64);
        if let Some(file) = &mut self.file {
            file.take(bytes, &mut self.looked);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some(file) = self.file.take() {
            file.finish(self.follow, &mut self.looked);
        }
        Ok(())
    }
}

impl File {
    fn take(&mut self, bytes: &[u8], looked: &mut Looked) {
        match &mut self.state {
            State::Unknown | State::Wrong => {}
            State::Followed(follower) => follower.take(bytes),
            State::Installation(checker) => {
                if let Err(broken) = checker.take(bytes) {
                    looked.wrong(&self.name, &not_whole(&broken));
                    self.state = State::Wrong;
                }
            }
            State::Head(head) => {
                head.extend_from_slice(bytes);
                if head.len() < dump::HEAD {
                    return;
                }
                let head = std::mem::take(head);
                self.state = match dump::is_known(&head[..dump::HEAD]) {
                    false => State::Unknown,
                    true => {
                        let mut follower = Follower::begin();
                        follower.take(&head);
                        State::Followed(follower)
                    }
                };
            }
        }
    }

    fn finish(self, follow: Follow, looked: &mut Looked) {
        let seen = match self.state {
            State::Wrong => return,
            State::Installation(checker) => match checker.finish() {
                Ok(checked) => {
                    let entries = checked.entries;
                    let export = format!("an export of {entries} entries");
                    looked.known(&self.name, &export, export.clone());
                    return;
                }
                Err(broken) => Err(not_whole(&broken)),
            },
            State::Unknown => Ok(None),
            State::Head(bytes) => dump::follow(&mut Cursor::new(bytes)),
            State::Followed(follower) => follower.finish(),
        };
        match seen {
            Err(broken) => looked.wrong(&self.name, &broken),
            Ok(Some(seen)) => looked.seen(&self.name, &seen),
            Ok(None) if matches!(follow, Follow::Nothing | Follow::Read) => {}
            Ok(None) if self.size == 0 => {
                looked.hollow += 1;
                if should_hold_something(&self.name) {
                    keep(
                        &mut looked.empty,
                        Told {
                            here: format!("{} holds nothing", quoted(&self.name)),
                            stored: "a file of it that should be a dump holds nothing".to_owned(),
                        },
                    );
                }
            }
            Ok(None) => looked.unknown += 1,
        }
    }
}

impl Looked {
    fn seen(&mut self, name: &str, seen: &Seen) {
        self.known(name, &seen.what, seen.brief.clone());
        for within in &seen.empty {
            let within = match within.is_empty() {
                true => String::new(),
                false => format!(": {within}"),
            };
            keep(
                &mut self.bare,
                Told {
                    here: format!("{}{within} is a dump of an empty database", quoted(name)),
                    stored: "one of its dumps is of an empty database".to_owned(),
                },
            );
        }
    }

    fn known(&mut self, name: &str, what: &str, stored: String) {
        self.recognised += 1;
        let here = match name.is_empty() {
            true => what.to_owned(),
            false => format!("{name}: {what}"),
        };
        keep(&mut self.known, Told { here, stored });
    }

    fn wrong(&mut self, name: &str, broken: &Broken) {
        let told = Told {
            here: format!("{} {broken}", quoted(name)),
            stored: format!("a file of it {}", broken.what),
        };
        keep(&mut self.wrong, told);
    }
}

/// Whether a file of this name is a dump or what one is packed in. The BBR SDK's jobs call theirs
/// `…artifact…` or `…dump…` as a rule.
fn should_hold_something(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let ends = [
        ".sql", ".dump", ".rdb", ".gz", ".tgz", ".tar", ".zip", ".bak",
    ];
    let words = ["artifact", "backup", "dump"];
    ends.iter().any(|end| name.ends_with(end)) || words.iter().any(|word| name.contains(word))
}

fn quoted(name: &str) -> String {
    match name.is_empty() {
        true => "it".to_owned(),
        false => format!("`{name}`"),
    }
}

fn keep(sentences: &mut Vec<Told>, sentence: Told) {
    if sentences.len() < MOST {
        sentences.push(sentence);
    }
}

fn not_whole(broken: &opsman::Broken) -> Broken {
    format!("is not a whole export: {broken}").into()
}

/// All of a small artifact.
pub(super) fn read_small(
    reader: &Reader,
    component: &ComponentRecord,
    artifact: &ArtifactRecord,
) -> Result<Vec<u8>> {
    ensure!(
        artifact.bytes <= SMALL,
        "{} is too large to be one",
        artifact.name
    );
    let root = reader
        .root(component, artifact)
        .with_context(|| artifact.name.clone())?;
    let mut bytes = Vec::new();
    reader.write_file(&root, &mut bytes, &mut |_| Ok(()))?;
    Ok(bytes)
}

/// A parser at work.
struct Follower {
    pieces: Option<SyncSender<Vec<u8>>>,
    thread: JoinHandle<Result<Option<Seen>, Broken>>,
}

impl Follower {
    fn begin() -> Self {
        let (pieces, incoming) = sync_channel(PIECES);
        let thread = std::thread::spawn(move || dump::follow(&mut Incoming::new(incoming)));
        Self {
            pieces: Some(pieces),
            thread,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let taken = match &self.pieces {
                Some(pieces) => pieces.send(piece.to_vec()).is_ok(),
                None => return,
            };
            if !taken {
                // It reads to the end but when it panics: `finish` tells.
                self.pieces = None;
            }
        }
    }

    fn finish(mut self) -> Result<Option<Seen>, Broken> {
        self.pieces = None;
        let ended = self.thread.join();
        ended.unwrap_or_else(|_panicked| Err("could not be followed to its end".to_owned().into()))
    }
}

/// The pieces as one stream.
struct Incoming {
    pieces: Receiver<Vec<u8>>,
    waiting: VecDeque<u8>,
}

impl Incoming {
    fn new(pieces: Receiver<Vec<u8>>) -> Self {
        Self {
            pieces,
            waiting: VecDeque::new(),
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waiting.is_empty() {
            match self.pieces.recv() {
                Ok(piece) => self.waiting = piece.into(),
                // The end of the file; or of the reading, and then nobody asks what came of it.
                Err(_ended) => return Ok(0),
            }
        }
        self.waiting.read(buffer)
    }
}
