//! Moves one artifact off its instance, entry by entry.
//!
//! A full drain: the instance lists the artifact once, in byte order of the path; then its sums and
//! its tar stream arrive side by side in that order and are compared file by file, in constant
//! memory. An incremental one, where the sink continues a base: the listing is compared with the
//! base first ([`plan`]), what the base has is taken over, and tar sends the rest ([`mod@take`]).
//! Either way a file that arrives with another digest than was listed is asked again, and what
//! the sink is given is the same. docs/design.md, *Drain*.

mod full;
mod incremental;
mod pages;
mod plan;
mod sums;
mod take;
mod wire;

use std::io::{self, Read};

use self::incremental::NoPlan;
pub(super) use self::pages::{Listing, Page, take};
pub(super) use self::plan::{Unusable, known};
pub(super) use self::sums::Sums;
use self::wire::Metered;
pub(super) use self::wire::Wire;
use super::error::{Error, Errors, Phase, Trouble};
use super::target::Artifact;
use super::transfer::Transfer;
use super::workflow::{Run, stopped};
use crate::artifact::base::Continued;
use crate::artifact::tar::{Entry, EntryKind, TarReader};
use crate::artifact::{Digest, EntrySink, name};
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
    /// Regular files, those taken over included.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Files that were taken over from the base.
    pub kept_files: u64,
    /// Bytes of their content.
    pub kept_bytes: u64,
    /// Bytes that went through the connection either way: listings, tags, lines and tars.
    pub wire_bytes: u64,
    /// Whether all of it was asked for.
    pub how: How,
    /// Files that changed meanwhile and were taken again.
    pub again: u64,
    /// What tar found odd, though it went on.
    pub warnings: Vec<String>,
    /// What the real bbr cannot restore, among what was not taken over.
    pub unrestorable: Unrestorable,
}

/// Whether all of an artifact was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum How {
    /// There was nothing to continue.
    #[default]
    Full,
    /// There was, but it could not be compared: why.
    FullBecause(String),
    /// Only what the base lacked.
    Incremental,
}

impl Drained {
    /// Taken over from the base.
    fn kept(&mut self, files: u64, bytes: u64) {
        self.files += files;
        self.bytes += bytes;
        self.kept_files += files;
        self.kept_bytes += bytes;
    }
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
    /// Drains one artifact into the sink, incrementally where the sink continues a base and
    /// the instance can tell what changed. The meter counts content that arrives; its total is
    /// set once the artifact is listed. What the listing needs on the instance goes with
    /// [`Run::remove_artifact`] or [`Run::finish`].
    ///
    /// # Errors
    /// When the artifact cannot be read whole, keeps changing, or cannot be stored; a signal.
    /// The sink must then be thrown away.
    pub fn drain(
        &self,
        artifact: &Artifact,
        sink: &mut dyn Continued,
        meter: &Meter,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<Drained, Errors> {
        let drain = Drain {
            it: Transfer::new(self, artifact, Phase::Drain, shutdown),
            meter,
            monitor,
            wire: Wire::default(),
        };
        let mut drained = drain.run(sink)?;
        drained.wire_bytes = drain.wire.bytes();
        drain.report(&drained);
        Ok(drained)
    }
}

struct Drain<'a> {
    it: Transfer<'a>,
    meter: &'a Meter,
    monitor: &'a dyn Monitor,
    wire: Wire,
}

impl Drain<'_> {
    fn run(&self, sink: &mut dyn Continued) -> Result<Drained, Error> {
        if sink.pages().is_empty() {
            return self.full(sink);
        }
        let why = match self.plan(sink) {
            Ok(planned) => {
                let mut drained = self.take_planned(&planned, sink)?;
                drained.how = How::Incremental;
                return Ok(drained);
            }
            Err(NoPlan::Failed(error)) => return Err(error),
            Err(NoPlan::Full(why)) => why,
        };
        let whose = self.it.whose();
        self.monitor
            .warn(&format!("{whose}: all of it is drained: {why}"));
        sink.whole();
        let mut drained = self.full(sink)?;
        drained.how = How::FullBecause(why);
        Ok(drained)
    }

    /// A tar whose stream was read to its end.
    fn tar_ended(&self, tar: Running, drained: &mut Drained) -> Result<(), Error> {
        let exit = tar.finish().map_err(|error| self.it.lost("tar", error))?;
        match exit.status {
            0 => Ok(()),
            // GNU tar: "some files differ"; what differs was compared and mended.
            1 => {
                self.monitor
                    .warn(&format!("{}: tar says: {}", self.it.whose(), exit.stderr));
                let lines = exit.stderr.lines().map(str::to_owned);
                drained.warnings.extend(lines);
                Ok(())
            }
            _ => Err(self.it.failed("tar", exit)),
        }
    }

    /// A stream that broke: when it is at its end, how its command ended is the reason.
    fn explain(&self, broken: Broken, doing: &str, mut running: Running) -> Error {
        if !ends(&mut running.stdout) {
            return self.broken(broken);
        }
        match running.finish() {
            Ok(exit) if exit.ok() => self.broken(broken),
            Ok(exit) => self.it.failed(doing, exit),
            Err(error) => self.it.lost(doing, error),
        }
    }

    /// Gives the sink one file.
    fn store(
        &self,
        entry: &Entry,
        content: impl Read,
        sink: &mut dyn EntrySink,
    ) -> Result<Digest, Broken> {
        let mut content = Metered {
            inner: content,
            meter: self.meter,
            failed: None,
        };
        let stored = sink.file(&entry.head, entry.size, &mut content);
        let failed = content.failed.take();
        stored.map_err(|error| blame(error, failed, Broken::Tar))
    }

    /// Compares a file that was stored with the listing, and has it taken again if need be.
    /// Gives its size in the end.
    fn settle(
        &self,
        entry: &Entry,
        digest: Digest,
        listed: Option<Digest>,
        sink: &mut dyn EntrySink,
        drained: &mut Drained,
    ) -> Result<u64, Broken> {
        let mut size = entry.size;
        if listed != Some(digest) {
            size = self.again(&entry.name, sink)?;
            drained.again += 1;
        }
        drained.files += 1;
        drained.bytes += size;
        Ok(size)
    }

    /// Sums a file anew and takes it anew, until both agree.
    fn again(&self, path: &[u8], sink: &mut dyn EntrySink) -> Result<u64, Broken> {
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
            self.wire.add(output.stdout.len() as u64);
            let (listed, _) = Sums::new(&output.stdout[..])
                .next()?
                .ok_or_else(|| Broken::Said(format!("no sum came for {shown}")))?;
            let mut tar = self
                .it
                .start("tar", &self.it.paths.file_again(path))
                .map_err(Broken::Error)?;
            let (digest, size) = {
                let mut entries = TarReader::new(self.wire.count(&mut tar.stdout));
                match entries
                    .next_entry()
                    .map_err(|error| Broken::Said(error.to_string()))?
                {
                    Ok(entry) if entry.kind == EntryKind::File && entry.name == path => {
                        let mut content = entries.content();
                        let digest = sink
                            .again(&entry.head, entry.size, &mut content)
                            .map_err(Broken::Sink)?;
                        (digest, entry.size)
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
                return Ok(size);
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

/// Whether a stream that broke comes to an end.
fn ends(stdout: &mut impl Read) -> bool {
    let mut rest = stdout.take(REST);
    !io::copy(&mut rest, &mut io::sink()).is_ok_and(|read| read == REST)
}

fn outside(path: &[u8]) -> Broken {
    Broken::Said(format!(
        "tar sent an entry of the name `{}`, which is outside the artifact",
        name::shown(path)
    ))
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
