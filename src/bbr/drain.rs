//! Moves one artifact off its instance, entry by entry.
//!
//! The instance lists the artifact once, in byte order of the path; then its sums and its tar
//! stream arrive side by side in that order and are compared file by file, in constant
//! memory. A file that arrives with another digest than was summed is summed and asked again.

mod sums;

use std::io::{self, BufReader, Read};

pub(super) use self::sums::Sums;
use super::commands::{DrainPaths, Pace};
use super::error::{Error, Errors, Phase, Trouble};
use super::target::Artifact;
use super::workflow::{Run, stopped};
use crate::artifact::tar::{Entry, EntryKind, TarReader};
use crate::artifact::{EntrySink, name};
use crate::monitor::{Meter, Monitor};
use crate::remote::{self, Command, Remote, Running};
use crate::shutdown::Shutdown;

/// How often a file that changes is asked again.
const AGAIN: u32 = 2;

/// How many names a report gives as examples.
const EXAMPLES: usize = 10;

/// Buffer for the tar stream: large enough that reading costs little per file.
const TAR_BUFFER: usize = 256 * 1024;

/// Bytes after which a broken stream is taken for endless.
const REST: u64 = 1024 * 1024;

/// What was drained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// Regular files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Files that changed meanwhile and were taken again.
    pub again: u64,
    /// What tar found odd, though it went on.
    pub warnings: Vec<String>,
    /// What the real bbr cannot restore.
    pub unrestorable: Unrestorable,
}

/// Entries that Lifeboat keeps and the real bbr cannot restore: links, devices, and names that
/// its remote hashing does not survive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unrestorable {
    /// How many.
    pub count: u64,
    /// The first of them, for people.
    pub examples: Vec<String>,
}

impl Run {
    /// Drains one artifact into the sink. The meter counts content; its total is set once the
    /// artifact is listed. What the listing needs on the instance goes with
    /// [`Run::remove_artifact`] or [`Run::finish`].
    ///
    /// # Errors
    /// When the artifact cannot be read whole, keeps changing, or cannot be stored; a signal.
    /// The sink must then be thrown away.
    pub fn drain(
        &self,
        artifact: &Artifact,
        sink: &mut dyn EntrySink,
        meter: &Meter,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<Drained, Errors> {
        let settings = &self.target().settings;
        let drain = Drain {
            remote: self.target().instance(artifact.job).remote.as_ref(),
            paths: DrainPaths::new(settings, &artifact.place.directory),
            artifact,
            meter,
            monitor,
            shutdown,
        };
        drain.run(sink).map_err(Errors::from)
    }
}

struct Drain<'a> {
    remote: &'a dyn Remote,
    paths: DrainPaths,
    artifact: &'a Artifact,
    meter: &'a Meter,
    monitor: &'a dyn Monitor,
    shutdown: &'a Shutdown,
}

impl Drain<'_> {
    fn run(&self, sink: &mut dyn EntrySink) -> Result<Drained, Error> {
        self.list()?;
        let mut sums = self.start(&self.paths.sums(Pace::Gentle))?;
        let mut tar = self.start(&self.paths.all())?;
        let mut entries = TarReader::new(BufReader::with_capacity(TAR_BUFFER, &mut tar.stdout));
        let mut records = Sums::new(&mut sums.stdout);
        let mut drained = Drained::default();
        let taken = self.take(&mut entries, &mut records, sink, &mut drained);
        drop((entries, records));
        if let Err(broken) = taken {
            return Err(match broken {
                Broken::Sums(_) => self.explain(broken, "hashing", sums),
                Broken::Tar(_) => self.explain(broken, "tar", tar),
                other => self.broken(other),
            });
        }
        let exit = sums.finish().map_err(|error| self.lost("hashing", error))?;
        if !exit.ok() {
            return Err(self.failed("hashing", exit));
        }
        let exit = tar.finish().map_err(|error| self.lost("tar", error))?;
        match exit.status {
            0 => {}
            // GNU tar: "some files differ"; what differs was compared and mended above.
            1 => {
                self.monitor.warn(&format!(
                    "{}, artifact {}: tar says: {}",
                    self.artifact.instance, self.artifact.place.file_name, exit.stderr
                ));
                drained
                    .warnings
                    .extend(exit.stderr.lines().map(str::to_owned));
            }
            _ => return Err(self.failed("tar", exit)),
        }
        self.report(&drained);
        Ok(drained)
    }

    /// A stream that broke: when it is at its end, how its command ended is the reason.
    fn explain(&self, broken: Broken, doing: &str, mut running: Running) -> Error {
        let mut rest = (&mut running.stdout).take(REST);
        if io::copy(&mut rest, &mut io::sink()).is_ok_and(|read| read == REST) {
            return self.broken(broken);
        }
        match running.finish() {
            Ok(exit) if exit.ok() => self.broken(broken),
            Ok(exit) => self.failed(doing, exit),
            Err(error) => self.lost(doing, error),
        }
    }

    fn list(&self) -> Result<(), Error> {
        let output = self
            .remote
            .run(&self.paths.list(), self.shutdown)
            .map_err(|error| self.lost("listing", error))?;
        if !output.exit.ok() {
            return Err(self.failed("listing", output.exit));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let bytes = text
            .split_whitespace()
            .nth(1)
            .and_then(|bytes| bytes.parse().ok())
            .ok_or_else(|| self.said("the listing does not end with its size"))?;
        self.meter.set_total(bytes);
        Ok(())
    }

    /// Reads both streams to their ends.
    fn take(
        &self,
        entries: &mut TarReader<impl Read>,
        sums: &mut Sums<impl Read>,
        sink: &mut dyn EntrySink,
        drained: &mut Drained,
    ) -> Result<(), Broken> {
        loop {
            let entry = match entries.next_entry().map_err(Broken::Tar)? {
                Ok(entry) => entry,
                Err(zeros) => {
                    if let Some((_, path)) = sums.next()? {
                        return Err(missing(&path));
                    }
                    return sink.end(zeros).map_err(Broken::Sink);
                }
            };
            if !name::is_safe(&entry.name) {
                return Err(Broken::Said(format!(
                    "tar sent an entry of the name `{}`, which is outside the artifact",
                    name::shown(&entry.name)
                )));
            }
            note_unrestorable(&entry, &mut drained.unrestorable);
            if entry.kind != EntryKind::File {
                sink.other(&entry.head).map_err(Broken::Sink)?;
                continue;
            }
            let mut content = Metered {
                inner: entries.content(),
                meter: self.meter,
                failed: None,
            };
            let stored = sink.file(&entry.head, entry.size, &mut content);
            let failed = content.failed.take();
            let digest = stored.map_err(|error| blame(error, failed, Broken::Tar))?;
            // The listing may name files that are gone; it cannot lack one, unless its type
            // changed.
            let listed = sums.of(&entry.name)?;
            if listed != Some(digest) {
                self.again(&entry.name, sink)?;
                drained.again += 1;
            }
            drained.files += 1;
            drained.bytes += entry.size;
        }
    }

    /// Sums a file anew and takes it anew, until both agree.
    fn again(&self, path: &[u8], sink: &mut dyn EntrySink) -> Result<(), Broken> {
        let shown = name::shown(path);
        for attempt in 1..=AGAIN {
            self.monitor.warn(&format!(
                "{}, artifact {}: {shown} changed while it was read; it is taken again ({attempt} of {AGAIN})",
                self.artifact.instance, self.artifact.place.file_name
            ));
            let output = self
                .remote
                .run(&self.paths.sum_again(path), self.shutdown)
                .map_err(|error| Broken::Error(self.lost("hashing", error)))?;
            if !output.exit.ok() {
                return Err(Broken::Error(self.failed("hashing", output.exit)));
            }
            let (listed, _) = Sums::new(&output.stdout[..])
                .next()?
                .ok_or_else(|| Broken::Said(format!("no sum came for {shown}")))?;
            let mut tar = self
                .start(&self.paths.file_again(path))
                .map_err(Broken::Error)?;
            let digest = {
                let mut entries = TarReader::new(&mut tar.stdout);
                match entries
                    .next_entry()
                    .map_err(|error| Broken::Said(error.to_string()))?
                {
                    Ok(entry) if entry.kind == EntryKind::File && entry.name == path => {
                        let mut content = entries.content();
                        sink.again(&entry.head, entry.size, &mut content)
                            .map_err(Broken::Sink)?
                    }
                    _ => return Err(Broken::Said(format!("{shown} is no file any more"))),
                }
            };
            let exit = tar
                .finish()
                .map_err(|error| Broken::Error(self.lost("tar", error)))?;
            if exit.status > 1 {
                return Err(Broken::Error(self.failed("tar", exit)));
            }
            if digest == listed {
                return Ok(());
            }
        }
        Err(Broken::Said(format!(
            "{shown} does not stop changing: something still writes to the artifact after the \
             backup script ended; find out what, and take the backup again"
        )))
    }

    fn start(&self, command: &Command) -> Result<Running, Error> {
        let mut running = self
            .remote
            .start(command, self.shutdown)
            .map_err(|error| self.lost(&command.label, error))?;
        drop(running.stdin.take());
        Ok(running)
    }

    fn report(&self, drained: &Drained) {
        let unrestorable = &drained.unrestorable;
        if unrestorable.count > 0 {
            self.monitor.warn(&format!(
                "{}, artifact {}: {} entries are kept but not restorable by bbr, only by Lifeboat \
                 (links, devices, or odd characters in names): {}",
                self.artifact.instance,
                self.artifact.place.file_name,
                unrestorable.count,
                unrestorable.examples.join(", ")
            ));
        }
    }

    fn failed(&self, doing: &str, exit: remote::Exit) -> Error {
        Error {
            phase: Phase::Drain,
            trouble: Trouble::Command {
                instance: self.artifact.instance.clone(),
                doing: self.doing(doing),
                status: exit.status,
                stderr: exit.stderr,
            },
        }
    }

    fn lost(&self, doing: &str, error: remote::Error) -> Error {
        Error::remote(Phase::Drain, &self.doing(doing), error)
    }

    fn doing(&self, doing: &str) -> String {
        format!("{doing} of artifact {}", self.artifact.place.file_name)
    }

    fn said(&self, text: &str) -> Error {
        Error::said(
            Phase::Drain,
            format!(
                "{}, artifact {}: {text}",
                self.artifact.instance, self.artifact.place.file_name
            ),
        )
    }

    fn broken(&self, broken: Broken) -> Error {
        if self.shutdown.is_raised() {
            return stopped(Phase::Drain);
        }
        match broken {
            Broken::Tar(error) | Broken::Sums(error) => self.said(&error.to_string()),
            Broken::Said(text) => self.said(&text),
            Broken::Error(error) => error,
            Broken::Sink(source) => Error {
                phase: Phase::Drain,
                trouble: Trouble::Sink {
                    artifact: self.artifact.place.file_name.clone(),
                    source,
                },
            },
        }
    }
}

/// Where a drain broke; the streams' own failures are explained by how their commands ended.
pub(super) enum Broken {
    Tar(io::Error),
    Sums(io::Error),
    Sink(anyhow::Error),
    Said(String),
    Error(Error),
}

/// A sink fails when its source does; then the source is to blame.
fn blame(
    error: anyhow::Error,
    source: Option<io::Error>,
    as_whose: fn(io::Error) -> Broken,
) -> Broken {
    match source {
        Some(source) => as_whose(source),
        None => Broken::Sink(error),
    }
}

fn missing(path: &[u8]) -> Broken {
    Broken::Said(format!(
        "{} was listed but did not arrive: it was removed or replaced while the artifact was drained",
        name::shown(path)
    ))
}

fn note_unrestorable(entry: &Entry, unrestorable: &mut Unrestorable) {
    let kind = match entry.kind {
        EntryKind::File if name::survives_xargs(&entry.name) => return,
        // Its name never reaches bbr's hashing.
        EntryKind::Directory => return,
        EntryKind::File => "name",
        EntryKind::SymbolicLink | EntryKind::HardLink => "link",
        EntryKind::Special => "device",
    };
    unrestorable.count += 1;
    if unrestorable.examples.len() < EXAMPLES {
        let shown = name::shown(&entry.name);
        unrestorable.examples.push(format!("{shown} ({kind})"));
    }
}

/// Counts what is read, and remembers why reading failed.
struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.meter.add(read as u64);
                Ok(read)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failed = Some(io::Error::new(error.kind(), error.to_string()));
                }
                Err(error)
            }
        }
    }
}
