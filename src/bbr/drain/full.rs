//! A drain of all that there is: the instance's sums and its tar side by side.

use std::io::{BufReader, Read};

use super::sums::{Sums, missing};
use super::{Broken, Drain, Drained, TAR_BUFFER, note_unrestorable, outside};
use crate::artifact::tar::{EntryKind, TarReader};
use crate::artifact::{EntrySink, name};
use crate::bbr::commands::Pace;
use crate::bbr::error::Error;

impl Drain<'_> {
    /// Takes every file.
    pub(super) fn full(&self, sink: &mut dyn EntrySink) -> Result<Drained, Error> {
        self.meter.set_total(self.it.list()?);
        let mut sums = self
            .it
            .start("hashing", &self.it.paths.sums(Pace::Gentle))?;
        let mut tar = self.it.start("tar", &self.it.paths.all())?;
        let counted = self.wire.count(&mut tar.stdout);
        let mut entries = TarReader::new(BufReader::with_capacity(TAR_BUFFER, counted));
        let mut records = Sums::new(self.wire.count(&mut sums.stdout));
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
        self.tar_ended(tar, &mut drained)?;
        Ok(drained)
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
                return Err(outside(&entry.name));
            }
            note_unrestorable(&entry, &mut drained.unrestorable);
            if entry.kind != EntryKind::File {
                sink.other(&entry.head).map_err(Broken::Sink)?;
                continue;
            }
            let digest = self.store(&entry, entries.content(), sink)?;
            // The listing may name files that are gone; it cannot lack one, unless its type
            // changed.
            let listed = sums.of(&entry.name)?;
            self.settle(&entry, digest, listed, sink, drained)?;
        }
    }
}
