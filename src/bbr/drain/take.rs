//! Gives the sink what was planned: pages and files of the base, and from tar what it lacks.

use std::io::{BufReader, Read};
use std::sync::Arc;

use flate2::read::GzDecoder;

use super::incremental::Planned;
use super::pages::read_packed;
use super::plan::{Action, Fate, Step, Wanted, blocks};
use super::{Broken, Drain, Drained, TAR_BUFFER, note_unrestorable};
use crate::artifact::base::{BaseFile, Continued};
use crate::artifact::listing::Listed;
use crate::artifact::name;
use crate::artifact::tar::{BLOCK, EntryKind, TarReader};
use crate::bbr::commands::Ask;
use crate::bbr::error::Error;

/// Blocks of a record: GNU tar ends with one that is full.
const RECORD: u64 = 20;

/// Blocks of zeros that end a tar.
const END: u64 = 2;

impl Drain<'_> {
    /// Takes what is planned. From here on nothing can be begun anew.
    pub(super) fn take_planned(
        &self,
        planned: &Planned,
        sink: &mut dyn Continued,
    ) -> Result<Drained, Error> {
        let bytes = planned.plan.wanted().map(|file| file.size);
        self.meter.set_total(bytes.fold(0, u64::saturating_add));
        let lines: Vec<u32> = planned.plan.wanted().map(|file| file.line).collect();
        let mut taking = Taking {
            drain: self,
            planned,
            drained: Drained::default(),
            blocks: planned.listing.blocks,
            last: Vec::new(),
            open: None,
        };
        let mut running = if lines.is_empty() {
            None
        } else {
            let command = self.it.paths.ask(Ask::Take);
            let mut running = self
                .it
                .remote
                .start(&command, self.it.shutdown)
                .map_err(|error| self.it.lost("tar", error))?;
            if let Err(error) = self.numbers(running.stdin.take(), &lines) {
                return Err(self.explain(Broken::Tar(error), "tar", running));
            }
            Some(running)
        };
        self.others(&mut taking, sink)?;
        let taken = match &mut running {
            None => taking.files(&mut TarReader::new(std::io::empty()), sink),
            Some(running) => {
                let counted = self.wire.count(&mut running.stdout);
                let stream = BufReader::with_capacity(TAR_BUFFER, counted);
                taking.files(&mut TarReader::new(stream), sink)
            }
        };
        match (taken, running) {
            (Ok(()), None) => {}
            (Ok(()), Some(running)) => self.tar_ended(running, &mut taking.drained)?,
            (Err(broken @ Broken::Tar(_)), Some(running)) => {
                return Err(self.explain(broken, "tar", running));
            }
            (Err(broken), _) => return Err(self.broken(broken)),
        }
        let end = (taking.blocks + END).next_multiple_of(RECORD);
        sink.end((end - taking.blocks) * BLOCK)
            .map_err(|error| self.broken(Broken::Sink(error)))?;
        Ok(taking.drained)
    }

    /// Directories, links and devices: all of them, each time.
    fn others(&self, taking: &mut Taking<'_>, sink: &mut dyn Continued) -> Result<(), Error> {
        let mut running = self.it.start("tar", &self.it.paths.ask(Ask::Others))?;
        let read = {
            let counted = self.wire.count(&mut running.stdout);
            taking.others(&mut BufReader::new(GzDecoder::new(counted)), sink)
        };
        match read {
            Ok(()) => self.tar_ended(running, &mut taking.drained),
            Err(broken @ Broken::Tar(_)) => Err(self.explain(broken, "tar", running)),
            Err(broken) => Err(self.broken(broken)),
        }
    }
}

struct Taking<'a> {
    drain: &'a Drain<'a>,
    planned: &'a Planned,
    drained: Drained,
    /// Of the whole tar, as a full drain would have it.
    blocks: u64,
    /// The name of the file before.
    last: Vec<u8>,
    /// The page of the base that is open.
    open: Option<(usize, Arc<[BaseFile]>)>,
}

impl Taking<'_> {
    fn others(&mut self, from: &mut impl Read, sink: &mut dyn Continued) -> Result<(), Broken> {
        let mut ats = Vec::new();
        for _ in 0..self.planned.listing.others {
            ats.push(read_packed(from).map_err(Broken::Tar)?);
        }
        let mut entries = TarReader::new(from);
        let mut at = 0;
        for since in ats {
            let Ok(entry) = entries.next_entry().map_err(Broken::Tar)? else {
                return Err(moved());
            };
            at += u64::from(since);
            if entry.kind == EntryKind::File || at > self.planned.listing.files {
                return Err(moved());
            }
            safe(&entry.name)?;
            note_unrestorable(&entry, &mut self.drained.unrestorable);
            self.blocks += blocks(entry.head.len(), 0);
            sink.other_at(&entry.head, at).map_err(Broken::Sink)?;
        }
        match entries.next_entry().map_err(Broken::Tar)? {
            Ok(_) => Err(moved()),
            Err(_) => Ok(()),
        }
    }

    fn files(
        &mut self,
        tar: &mut TarReader<impl Read>,
        sink: &mut dyn Continued,
    ) -> Result<(), Broken> {
        sink.expect(&self.planned.plan.opened);
        let mut changed = self.planned.plan.changed.iter();
        for step in &self.planned.plan.steps {
            match step {
                Step::Whole(pages) => {
                    for page in pages.clone() {
                        let known = &sink.pages()[page];
                        let (files, bytes) = (known.files, known.bytes);
                        self.drained.kept(files, bytes);
                        sink.take_page(page).map_err(Broken::Sink)?;
                    }
                }
                Step::Files(actions) => {
                    for action in actions {
                        match *action {
                            Action::Same { page, file } => {
                                self.same(page as usize, file.into(), sink)?;
                            }
                            Action::Changed => match changed.next() {
                                Some(Fate::Want(wanted)) => self.wanted(*wanted, tar, sink)?,
                                Some(Fate::Render(rendered)) => {
                                    let (page, file) = rendered.source();
                                    let listed = &rendered.listed;
                                    let head = listed.head(&self.planned.listing.root);
                                    self.ascend(&listed.path)?;
                                    self.drained.kept(1, listed.size);
                                    sink.take_file(&head, page, file).map_err(Broken::Sink)?;
                                }
                                None => return Err(moved()),
                            },
                        }
                    }
                }
            }
        }
        match tar.next_entry().map_err(Broken::Tar)? {
            Ok(_) => Err(moved()),
            Err(_) => Ok(()),
        }
    }

    fn same(&mut self, page: usize, file: usize, sink: &mut dyn Continued) -> Result<(), Broken> {
        let files = match self.open.take() {
            Some((open, files)) if open == page => files,
            _ => sink.open(page).map_err(Broken::Sink)?,
        };
        self.open = Some((page, Arc::clone(&files)));
        let base = files.get(file).ok_or_else(moved)?;
        let listed = Listed::of_head(&base.head).ok_or_else(moved)?;
        self.ascend(&listed.path)?;
        self.drained.kept(1, base.size);
        sink.take_file(&base.head, page, file).map_err(Broken::Sink)
    }

    fn wanted(
        &mut self,
        wanted: Wanted,
        tar: &mut TarReader<impl Read>,
        sink: &mut dyn Continued,
    ) -> Result<(), Broken> {
        let entry = match tar.next_entry().map_err(Broken::Tar)? {
            Ok(entry) if entry.kind == EntryKind::File => entry,
            // How tar ended may say which.
            _ => return Err(Broken::Tar(std::io::Error::other(MOVED))),
        };
        safe(&entry.name)?;
        self.ascend(&entry.name)?;
        self.check_rendering(&entry.head)?;
        note_unrestorable(&entry, &mut self.drained.unrestorable);
        let digest = self.drain.store(&entry, tar.content(), sink)?;
        let listed = Some(wanted.digest);
        let size = self
            .drain
            .settle(&entry, digest, listed, sink, &mut self.drained)?;
        let blocks = blocks(entry.head.len(), size);
        self.blocks = self
            .blocks
            .saturating_sub(wanted.blocks)
            .saturating_add(blocks);
        Ok(())
    }

    fn ascend(&mut self, path: &[u8]) -> Result<(), Broken> {
        if self.last.as_slice() >= path {
            return Err(moved());
        }
        self.last.clear();
        self.last.extend_from_slice(path);
        Ok(())
    }

    /// A sample was compared before; this is every head that there is.
    fn check_rendering(&self, head: &[u8]) -> Result<(), Broken> {
        let root = &self.planned.listing.root;
        let same = Listed::of_head(head).is_some_and(|listed| listed.head(root) == head);
        if same || !self.planned.plan.renders {
            return Ok(());
        }
        Err(Broken::Said(
            "its tar does not write headers as they were rendered for files taken over from the base; \
             start a new chain and tell the makers of Lifeboat"
                .to_owned(),
        ))
    }
}

fn safe(path: &[u8]) -> Result<(), Broken> {
    if name::is_safe(path) {
        return Ok(());
    }
    Err(super::outside(path))
}

const MOVED: &str = "its files changed while it was drained: other ones arrived than were listed";

fn moved() -> Broken {
    Broken::Said(MOVED.to_owned())
}
