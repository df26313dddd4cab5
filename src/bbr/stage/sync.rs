//! Makes a staged tree what an artifact is: lists, compares, prepares, sends, hashes.

use std::io::{self, BufRead, BufReader, BufWriter, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Stage;
use super::compare::{Difference, compare, unknown};
use crate::artifact::base::{Order, Selection, Wanted};
use crate::artifact::listing::TAG;
use crate::artifact::sums::{SumSet, Sums};
use crate::artifact::tar::{Entry, EntryKind};
use crate::bbr::commands::{Ask, Pace};
use crate::bbr::drain::{Listing, Unusable, Wire, known, take};
use crate::bbr::error::{Error, Trouble};
use crate::bbr::upload::{BUFFER, Counted};
use crate::bbr::workflow::stopped;
use crate::monitor::{Meter, Monitor};
use crate::remote::Command;

/// What a file takes on the disk beside its content, at most.
const PER_FILE: u64 = 4096;

/// For people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Of the disk, so many parts in a hundred stay free.
const RESERVE: u64 = 5;

/// What was done to make a staged tree what an artifact is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    /// Regular files of the artifact.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Files that were there.
    pub kept_files: u64,
    /// Bytes of their content.
    pub kept_bytes: u64,
    /// Files that were sent.
    pub sent_files: u64,
    /// Bytes of their content.
    pub sent_bytes: u64,
    /// Files that had to go; what was sent in their place counts above.
    pub gone_files: u64,
    /// Bytes that went through the connection either way.
    pub wire_bytes: u64,
}

/// Why a tree is not what the artifact is.
#[derive(Debug)]
pub(super) enum NoSync {
    /// A doubt about what is there: a sentence.
    Unusable(String),
    /// Nothing can go on.
    Failed(Error),
}

impl From<Unusable> for NoSync {
    fn from(why: Unusable) -> Self {
        Self::Unusable(match why {
            Unusable::Said(why) => why,
            Unusable::Stream(error) => error.to_string(),
        })
    }
}

/// One pass.
pub(super) struct Sync<'a> {
    stage: &'a Stage<'a>,
    meter: &'a Meter,
    monitor: &'a dyn Monitor,
    wire: Wire,
}

impl<'a> Sync<'a> {
    pub(super) fn new(stage: &'a Stage<'a>, meter: &'a Meter, monitor: &'a dyn Monitor) -> Self {
        Self {
            stage,
            meter,
            monitor,
            wire: Wire::default(),
        }
    }

    pub(super) fn all(&self, wanted: &mut dyn Wanted) -> Result<Synced, NoSync> {
        let listing = self.ask(Ask::List, &[], |mut from| Ok(Listing::read(&mut from)?))?;
        if listing.files > u32::MAX.into() {
            return Err(NoSync::Unusable("it has too many files".to_owned()));
        }
        let Difference { gone, sent } = self.compare(&listing, wanted)?;
        let files: u64 = wanted.pages().iter().map(|page| page.files).sum();
        let bytes: u64 = wanted.pages().iter().map(|page| page.bytes).sum();
        let mut synced = Synced {
            files,
            bytes,
            kept_files: files.saturating_sub(sent.files),
            kept_bytes: bytes.saturating_sub(sent.bytes),
            sent_files: sent.files,
            sent_bytes: sent.bytes,
            gone_files: gone.len() as u64,
            wire_bytes: 0,
        };
        self.tell(&synced);
        self.room(&listing, &synced)?;
        // Of a tree that holds nothing of it, all that lies there in the end is hashed.
        let all = synced.kept_files == 0;
        self.prepare(&gone, if all { None } else { Some(&sent) }, wanted)?;
        let sums = self.files(&sent, wanted)?;
        self.others(wanted)?;
        self.verify(sums, all)?;
        synced.wire_bytes = self.wire.bytes();
        Ok(synced)
    }

    fn tell(&self, synced: &Synced) {
        self.monitor.debug(&format!(
            "{}: of {} files {} lie there already; {} go, {} are sent, {}",
            self.stage.it.whose(),
            synced.files,
            synced.kept_files,
            synced.gone_files,
            synced.sent_files,
            mib(synced.sent_bytes)
        ));
        self.meter.set_total(synced.sent_bytes);
    }

    fn compare(&self, listing: &Listing, wanted: &mut dyn Wanted) -> Result<Difference, NoSync> {
        let known = known(&listing.pages, wanted.pages());
        let asked = unknown(&known);
        if asked.is_empty() {
            let mut none = || Err(io::Error::other("no tags were asked for"));
            return Ok(compare(listing, &known, wanted, &mut none)?);
        }
        self.ask(Ask::Tags, &asked, |mut from| {
            let mut tag = || take::<TAG>(&mut from);
            compare(listing, &known, wanted, &mut tag)
        })
    }

    /// Nothing is begun that the disk might not hold. Listing may have taken hours: only what is free
    /// now counts.
    fn room(&self, listing: &Listing, synced: &Synced) -> Result<(), NoSync> {
        let look = self.stage.look(false)?;
        let (Some(free), Some(size)) = (look.free, look.size) else {
            return Err(NoSync::Unusable(
                "how much room its disk has cannot be told".to_owned(),
            ));
        };
        let goes = listing.bytes.saturating_sub(synced.kept_bytes);
        let comes = synced
            .sent_bytes
            .saturating_add(synced.sent_files.saturating_mul(PER_FILE));
        let needed = comes.saturating_sub(goes);
        // Whoever is in a hurry has no use for what stays free.
        let reserve = match self.stage.paths.pace {
            Pace::Gentle => size / 100 * RESERVE,
            Pace::Hurry => 0,
        };
        if needed == 0 || free >= needed.saturating_add(reserve) {
            return Ok(());
        }
        let mut text = format!(
            "{} are needed there and {} are free",
            mib(needed),
            mib(free)
        );
        if reserve > 0 {
            text.push_str(&format!(", of which {} must stay free", mib(reserve)));
        }
        Err(NoSync::Unusable(text + "; give it a larger disk"))
    }

    /// Removes what is not of the artifact and makes its directories; says which files come, so that they
    /// can be hashed.
    fn prepare(
        &self,
        gone: &[u32],
        sent: Option<&Selection>,
        wanted: &mut dyn Wanted,
    ) -> Result<(), NoSync> {
        let command = self.stage.paths.prepare();
        self.give("preparing", &command, None, &mut |to| {
            let mut to = GzEncoder::new(to, Compression::fast());
            let count = u32::try_from(gone.len())?;
            to.write_all(&count.to_be_bytes())?;
            to.write_all(&sent.map_or(0, |sent| sent.bytes).to_be_bytes())?;
            for number in gone {
                to.write_all(&number.to_be_bytes())?;
            }
            wanted.others(Order::Forward, &mut |entry| {
                to.write_all(&[letter(entry)?])?;
                to.write_all(bare(&entry.name))?;
                Ok(to.write_all(b"\0")?)
            })?;
            if let Some(sent) = sent {
                let pages = sent.pages();
                wanted.expect(&pages);
                for page in pages {
                    let files = wanted.open(page)?;
                    for (at, file) in files.iter().enumerate() {
                        if sent.has(page, at) {
                            let (path, _) =
                                crate::artifact::listing::stored_line(&file.head, &file.digest);
                            to.write_all(b"f")?;
                            to.write_all(&path)?;
                            to.write_all(b"\0")?;
                        }
                    }
                }
            }
            to.write_all(b"e\0")?;
            to.finish()?.flush()?;
            Ok(())
        })
    }

    /// Sends files; gives the sums that the instance must find.
    fn files(&self, sent: &Selection, wanted: &mut dyn Wanted) -> Result<SumSet, NoSync> {
        let mut sums = Sums::with_room(sent.files);
        if sent.files > 0 {
            let command = self.stage.paths.files();
            self.give("unpacking", &command, Some(self.meter), &mut |to| {
                wanted.write_files(sent, to, &mut |entry, digest| {
                    sums.add_entry(entry, digest);
                })?;
                Ok(to.flush()?)
            })?;
        }
        Ok(sums.finish())
    }

    /// Sends all directories and links: their times are set when nothing comes into them any more.
    fn others(&self, wanted: &mut dyn Wanted) -> Result<(), NoSync> {
        let command = self.stage.paths.others();
        self.give("unpacking", &command, None, &mut |to| {
            let mut to = GzEncoder::new(to, Compression::fast());
            wanted.others(Order::Backward, &mut |entry| Ok(to.write_all(&entry.head)?))?;
            to.write_all(&[0; 1024])?;
            to.finish()?.flush()?;
            Ok(())
        })
    }

    fn verify(&self, sums: SumSet, all: bool) -> Result<(), NoSync> {
        if sums.is_empty() && !all {
            return Ok(());
        }
        let it = &self.stage.it;
        if all {
            it.list()?;
        }
        Ok(it.compare_listed(sums, self.stage.paths.pace)?)
    }

    /// Gives a command its input and waits for a good end. A meter counts what is sent.
    fn give(
        &self,
        doing: &str,
        command: &Command,
        meter: Option<&Meter>,
        write: &mut dyn FnMut(&mut dyn Write) -> anyhow::Result<()>,
    ) -> Result<(), NoSync> {
        let it = &self.stage.it;
        let lost = |error| NoSync::from(it.lost(doing, error));
        let mut running = it.remote.start(command, it.shutdown).map_err(lost)?;
        let Some(stdin) = running.stdin.take() else {
            return Err(it.said("the connection takes no input").into());
        };
        let silent = Meter::new("", None);
        let mut counted = Counted::new(stdin, meter.unwrap_or(&silent));
        let given = {
            let mut to = BufWriter::with_capacity(BUFFER, &mut counted);
            let given = write(&mut to).and_then(|()| Ok(to.flush()?));
            // What is left in it must not be tried again.
            drop(to.into_parts());
            given
        };
        self.wire.add(counted.bytes);
        let failed = counted.failed;
        drop(counted);
        match given {
            Ok(()) => {}
            Err(_) if it.shutdown.is_raised() => {
                return Err(NoSync::Failed(stopped(it.phase())));
            }
            // How the command ended says why.
            Err(error) if failed => {
                let exit = running.finish().map_err(lost)?;
                self.stage.ended(doing, exit)?;
                return Err(NoSync::Unusable(format!("it took no more ({error})")));
            }
            Err(source) => {
                // Dropped without its end, the command is ended with its connection.
                return Err(match source.downcast::<Refused>() {
                    Ok(Refused(why)) => NoSync::Unusable(why),
                    Err(source) => NoSync::Failed(Error {
                        phase: it.phase(),
                        trouble: Trouble::Source {
                            artifact: it.artifact.place.file_name.clone(),
                            source,
                        },
                    }),
                });
            }
        }
        let exit = running.finish().map_err(lost)?;
        self.stage.ended(doing, exit)
    }

    /// Has the listing's program do something, tells it these numbers, and reads all of its output.
    fn ask<T>(
        &self,
        ask: Ask,
        numbers: &[u32],
        read: impl FnOnce(&mut dyn BufRead) -> Result<T, Unusable>,
    ) -> Result<T, NoSync> {
        let it = &self.stage.it;
        let doing = "listing";
        let lost = |error| NoSync::from(it.lost(doing, error));
        let command = it.paths.ask(ask);
        let mut running = it.remote.start(&command, it.shutdown).map_err(lost)?;
        let told = self.tell_numbers(running.stdin.take(), numbers);
        let result = {
            let counted = self.wire.count(&mut running.stdout);
            let mut from = BufReader::with_capacity(BUFFER, counted);
            told.map_err(Unusable::Stream)
                .and_then(|()| read(&mut from))
                .and_then(|value| match from.fill_buf()? {
                    [] => Ok(value),
                    _ => Err("the listing holds more than was asked for".into()),
                })
        };
        if it.shutdown.is_raised() {
            return Err(NoSync::Failed(stopped(it.phase())));
        }
        // Where it broke of itself, how the command ended is the reason.
        if matches!(result, Err(Unusable::Said(_))) {
            return Ok(result?);
        }
        let exit = running.finish().map_err(lost)?;
        self.stage.ended(doing, exit)?;
        Ok(result?)
    }

    fn tell_numbers(
        &self,
        stdin: Option<Box<dyn Write + Send>>,
        numbers: &[u32],
    ) -> io::Result<()> {
        let Some(mut stdin) = stdin else {
            return Err(io::Error::other("the connection takes no input"));
        };
        for number in numbers {
            stdin.write_all(&number.to_be_bytes())?;
        }
        self.wire.add(4 * numbers.len() as u64);
        stdin.flush()
    }
}

/// An entry that cannot be staged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// Tar's word for what an entry is.
fn letter(entry: &Entry) -> anyhow::Result<u8> {
    let flag = entry
        .head
        .len()
        .checked_sub(512)
        .map(|at| entry.head[at + 156]);
    let letter = match (entry.kind, flag) {
        (EntryKind::Directory, _) => b'd',
        (EntryKind::SymbolicLink, _) => b'l',
        (EntryKind::Special, Some(b'6')) => b'p',
        (EntryKind::Special, Some(b'3')) => b'c',
        (EntryKind::Special, Some(b'4')) => b'b',
        _ => {
            let name = crate::artifact::name::shown(&entry.name);
            return Err(Refused(format!(
                "{name} is a hard link or something rarer, which no listing shows"
            ))
            .into());
        }
    };
    Ok(letter)
}

/// As a listing has it: a directory's name without the slash at its end, but for the first of all.
fn bare(name: &[u8]) -> &[u8] {
    match name {
        b"./" => name,
        name => name.strip_suffix(b"/").unwrap_or(name),
    }
}
