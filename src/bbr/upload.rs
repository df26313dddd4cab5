//! Moves one artifact onto an instance: a tar through the connection into `tar`, and then the
//! instance's own sums, compared with what was sent.

use std::io::{self, BufWriter, Write};

use super::commands::Pace;
use super::drain::{Broken, Sums as Listing};
use super::error::{Error, Errors, Phase, Trouble};
use super::target::Artifact;
use super::transfer::Transfer;
use super::workflow::{Run, stopped};
use crate::artifact::TarSource;
use crate::artifact::sums::{SumSet, Sums};
use crate::monitor::Meter;
use crate::remote::Running;
use crate::shutdown::Shutdown;

/// What is gathered before the connection is asked to take it.
pub(super) const BUFFER: usize = 256 * 1024;

/// What was uploaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Regular files, as the instance has them now.
    pub files: u64,
    /// Bytes of the tar.
    pub bytes: u64,
}

impl Run {
    /// Makes the artifact directories on all instances that restore something.
    ///
    /// # Errors
    /// When one is there already, or cannot be made; a signal.
    pub fn prepare(&self, shutdown: &Shutdown) -> Result<(), Errors> {
        self.make_directories(Phase::Upload, shutdown)
    }

    /// Uploads one artifact into its directory, which [`Run::prepare`] made, and compares what
    /// the instance then has. The meter counts the bytes of the tar.
    ///
    /// # Errors
    /// When the source cannot be read whole, the instance does not take it, or has
    /// something else afterwards; a signal.
    pub fn upload(
        &self,
        artifact: &Artifact,
        files: u64,
        source: &mut dyn TarSource,
        meter: &Meter,
        shutdown: &Shutdown,
    ) -> Result<Uploaded, Errors> {
        let upload = Transfer::new(self, artifact, Phase::Upload, shutdown);
        let (sent, bytes) = upload.send(files, source, meter)?;
        let files = sent.len() as u64;
        upload.compare(sent)?;
        Ok(Uploaded { files, bytes })
    }
}

impl Transfer<'_> {
    fn send(
        &self,
        files: u64,
        source: &mut dyn TarSource,
        meter: &Meter,
    ) -> Result<(SumSet, u64), Error> {
        let doing = "unpacking";
        let mut running = self
            .remote
            .start(&self.paths.unpack(), self.shutdown)
            .map_err(|error| self.lost(doing, error))?;
        let Some(stdin) = running.stdin.take() else {
            return Err(self.said("the connection takes no input"));
        };
        let mut counted = Counted::new(stdin, meter);
        let mut sums = Sums::with_room(files);
        let given = {
            let mut to = BufWriter::with_capacity(BUFFER, &mut counted);
            let given = source.write_tar(&mut to, &mut |entry, digest| {
                sums.add_entry(entry, digest);
            });
            let given = given.and_then(|()| Ok(to.flush()?));
            // What is left in it must not be tried again.
            drop(to.into_parts());
            given
        };
        let Counted {
            to, bytes, failed, ..
        } = counted;
        if let Err(source) = given {
            if self.shutdown.is_raised() {
                return Err(stopped(Phase::Upload));
            }
            if failed {
                drop(to);
                return Err(self.explain(doing, running, &source));
            }
            // A tar that is cut off between two entries unpacks well: it is our word that counts.
            return Err(Error {
                phase: Phase::Upload,
                trouble: Trouble::Source {
                    artifact: self.artifact.place.file_name.clone(),
                    source,
                },
            });
        }
        drop(to);
        let exit = running.finish().map_err(|error| self.lost(doing, error))?;
        if !exit.ok() {
            return Err(self.failed(doing, exit));
        }
        Ok((sums.finish(), bytes))
    }

    /// What could not be written any more: how the command ended says why.
    fn explain(&self, doing: &str, running: Running, error: &anyhow::Error) -> Error {
        match running.finish() {
            Ok(exit) if exit.ok() => self.said(&format!("it took no more ({error})")),
            Ok(exit) => self.failed(doing, exit),
            Err(error) => self.lost(doing, error),
        }
    }

    fn compare(&self, sent: SumSet) -> Result<(), Error> {
        self.list()?;
        self.compare_listed(sent, Pace::Hurry)
    }

    /// Compares with what was sent the sums of those files that are listed on the instance.
    pub(super) fn compare_listed(&self, mut sent: SumSet, pace: Pace) -> Result<(), Error> {
        let mut running = self.start("hashing", &self.paths.sums(pace))?;
        let mut listing = Listing::new(&mut running.stdout);
        let read = loop {
            match listing.next() {
                Ok(Some((digest, name))) => sent.compare(&name, digest),
                Ok(None) => break Ok(()),
                Err(broken) => break Err(broken),
            }
        };
        drop(listing);
        let exit = running.finish();
        if self.shutdown.is_raised() {
            return Err(stopped(self.phase()));
        }
        let exit = exit.map_err(|error| self.lost("hashing", error))?;
        if !exit.ok() {
            return Err(self.failed("hashing", exit));
        }
        match read {
            Ok(()) => {}
            Err(Broken::Sums(error)) => return Err(self.said(&error.to_string())),
            Err(_) => return Err(self.said("its sums cannot be read")),
        }
        match sent.differences() {
            None => Ok(()),
            Some(differences) => Err(self.said(&format!(
                "what arrived on the instance is not what was sent: {differences}; look for a full or \
                 failing disk there"
            ))),
        }
    }
}

/// Counts what is written, and whether writing failed.
pub(super) struct Counted<'a, W> {
    to: W,
    meter: &'a Meter,
    pub(super) bytes: u64,
    pub(super) failed: bool,
}

impl<'a, W> Counted<'a, W> {
    pub(super) fn new(to: W, meter: &'a Meter) -> Self {
        Self {
            to,
            meter,
            bytes: 0,
            failed: false,
        }
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.to.write(buffer) {
            Ok(written) => {
                self.bytes += written as u64;
                self.meter.add(written as u64);
                Ok(written)
            }
            Err(error) => {
                self.failed |= error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
