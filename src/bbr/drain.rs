//! Moves one artifact off its instance, entry by entry.
//!
//! The instance lists the artifact once, in byte order of the path; then its sums and its tar
//! stream arrive side by side in that order and are compared file by file, in constant
//! memory. A file that arrives with another digest than was summed is summed and asked again.

mod sums;

use std::io::{self, BufReader, Read};

pub(super) use self::sums::Sums;
use super::commands::Pace;
use super::error::{Error, Errors, Phase, Trouble};
use super::target::Artifact;
use super::transfer::Transfer;
use super::workflow::{Run, stopped};
use crate::artifact::tar::{Entry, EntryKind, TarReader};
use crate::artifact::{EntrySink, name};
use crate::monitor::{Meter, Monitor};
use crate::remote::Running;
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
        let drain = Drain {
            it: Transfer::new(self, artifact, Phase::Drain, shutdown),
            meter,
            monitor,
        };
        drain.run(sink).map_err(Errors::from)
    }
}

struct Drain<'a> {
    it: Transfer<'a>,
    meter: &'a Meter,
    monitor: &'a dyn Monitor,
}

impl Drain<'_> {
    fn run(&self, sink: &mut dyn EntrySink) -> Result<Drained, Error> {
        self.meter.set_total(self.it.list()?);
        let mut sums = self
            .it
            .start("hashing", &self.it.paths.sums(Pace::Gentle))?;
        let mut tar = self.it.start("tar", &self.it.paths.all())?;
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
        let exit = sums
            .finish()
            .map_err(|error| self.it.lost("hashing", error))?;
        if !exit.ok() {
            return Err(self.it.failed("hashing", exit));
        }
        let exit = tar.finish().map_err(|error| self.it.lost("tar", error))?;
        match exit.status {
            0 => {}
            // GNU tar: "some files differ"; what differs was compared and mended above.
            1 => {
                self.monitor
                    .warn(&format!("{}: tar says: {}", self.it.whose(), exit.stderr));
                drained
                    .warnings
                    .extend(exit.stderr.lines().map(str::to_owned));
            }
            _ => return Err(self.it.failed("tar", exit)),
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
            Ok(exit) => self.it.failed(doing, exit),
            Err(error) => self.it.lost(doing, error),
        }
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
                "{}: {shown} changed while it was read; it is taken again ({attempt} of {AGAIN})",
                self.it.whose()
            ));
            let output = self
                .it
                .run("hashing", &self.it.paths.sum_again(path))
                .map_err(Broken::Error)?;
            let (listed, _) = Sums::new(&output.stdout[..])
                .next()?
                .ok_or_else(|| Broken::Said(format!("no sum came for {shown}")))?;
            let mut tar = self
                .it
                .start("tar", &self.it.paths.file_again(path))
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
                .map_err(|error| Broken::Error(self.it.lost("tar", error)))?;
            if exit.status > 1 {
                return Err(Broken::Error(self.it.failed("tar", exit)));
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

    fn report(&self, drained: &Drained) {
        let unrestorable = &drained.unrestorable;
        if unrestorable.count > 0 {
            self.monitor.warn(&format!(
                "{}: {} entries are kept but not restorable by bbr, only by Lifeboat \
                 (links, devices, or odd characters in names): {}",
                self.it.whose(),
                unrestorable.count,
                unrestorable.examples.join(", ")
            ));
        }
    }

    fn broken(&self, broken: Broken) -> Error {
        if self.it.shutdown.is_raised() {
            return stopped(Phase::Drain);
        }
        match broken {
            Broken::Tar(error) | Broken::Sums(error) => self.it.said(&error.to_string()),
            Broken::Said(text) => self.it.said(&text),
            Broken::Error(error) => error,
            Broken::Sink(source) => Error {
                phase: Phase::Drain,
                trouble: Trouble::Sink {
                    artifact: self.it.artifact.place.file_name.clone(),
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
