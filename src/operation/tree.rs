//! A directory as entries, and entries as a directory again: `from` with something other than
//! bbr's artifacts. Links are kept and never followed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, fchmod, futimens, linkat, mkdirat, openat,
    statvfs, symlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{EntryType, Header};

use crate::artifact::tar::{Entry, EntryKind};
use crate::artifact::{EntrySink, name};
use crate::monitor::{Meter, Monitor};
use crate::repo::reader::{EntryReceiver, ReadEntry};
use crate::shutdown::Shutdown;

/// Gives a directory's entries to a sink, in byte order of their names, and counts the
/// bytes.
///
/// # Errors
/// When something cannot be read.
pub(super) fn read_tree(
    directory: &Path,
    sink: &mut dyn EntrySink,
    meter: &Meter,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<u64> {
    let mut bytes = 0;
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        shutdown.check()?;
        let path = directory.join(&relative);
        let failed = || format!("{} cannot be read", path.display());
        let metadata = fs::symlink_metadata(&path).with_context(failed)?;
        let entry_name = entry_name(&relative, metadata.is_dir());
        let mut header = Header::new_gnu();
        header.set_metadata(&metadata);
        if metadata.is_dir() {
            header.set_size(0);
            sink.other(&head(&mut header, &entry_name, b""))?;
            let mut children = fs::read_dir(&path)
                .with_context(failed)?
                .map(|child| Ok(relative.join(child?.file_name())))
                .collect::<std::io::Result<Vec<_>>>()
                .with_context(failed)?;
            // The last one is opened first.
            children.sort_by(|a, b| b.as_os_str().cmp(a.as_os_str()));
            open.extend(children);
        } else if metadata.is_file() {
            let mut file = File::open(&path).with_context(failed)?;
            let head = head(&mut header, &entry_name, b"");
            sink.file(&head, metadata.len(), &mut file)
                .with_context(failed)?;
            meter.add(metadata.len());
            bytes += metadata.len();
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).with_context(failed)?;
            header.set_size(0);
            sink.other(&head(
                &mut header,
                &entry_name,
                target.as_os_str().as_bytes(),
            ))?;
        } else {
            monitor.warn(&format!(
                "{} is neither file, directory nor link and is left out",
                path.display()
            ));
        }
    }
    sink.end(1024)?;
    Ok(bytes)
}

fn entry_name(relative: &Path, directory: bool) -> Vec<u8> {
    let mut name = b"./".to_vec();
    name.extend_from_slice(relative.as_os_str().as_bytes());
    if directory && name.len() > 2 {
        name.push(b'/');
    }
    name
}

/// The header blocks of an entry as GNU tar writes them, long names included. The library's
/// builder would drop the `./` that every name begins with.
fn head(header: &mut Header, name: &[u8], target: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::new();
    if target.len() > LINK_FIELD.len() {
        long(&mut blocks, EntryType::GNULongLink, target);
    }
    if name.len() > NAME_FIELD.len() {
        long(&mut blocks, EntryType::GNULongName, name);
    }
    fill(header, NAME_FIELD, name);
    fill(header, LINK_FIELD, target);
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    blocks
}

const NAME_FIELD: std::ops::Range<usize> = 0..100;
const LINK_FIELD: std::ops::Range<usize> = 157..257;

fn fill(header: &mut Header, field: std::ops::Range<usize>, text: &[u8]) {
    let field = &mut header.as_mut_bytes()[field];
    field.fill(0);
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text[..fits]);
}

fn long(blocks: &mut Vec<u8>, kind: EntryType, text: &[u8]) {
    let mut header = Header::new_gnu();
    fill(&mut header, NAME_FIELD, b"././@LongLink");
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(text.len() as u64 + 1);
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    blocks.extend_from_slice(text);
    blocks.push(0);
    blocks.resize(blocks.len().next_multiple_of(512), 0);
}

/// Before anything is written: an index may claim whatever it likes.
pub(super) fn check_room(folder: &Path, needed: u64) -> Result<()> {
    let system =
        statvfs(folder).with_context(|| format!("{} cannot be looked at", folder.display()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    ensure!(
        needed <= free,
        "it needs {needed} bytes and {} has room for {free}; fetch into a larger file system",
        folder.display()
    );
    Ok(())
}

/// Unpacks entries below a new directory. Each segment of a path is opened from the directory
/// above it without following links, and nothing is written over (docs/format.md, *Limits of
/// a reader*).
#[derive(Debug)]
pub(super) struct TreeWriter<'a> {
    directory: PathBuf,
    root: OwnedFd,
    meter: &'a Meter,
    file: Option<(File, Entry)>,
    /// Narrowed last, so that their contents can be written.
    directories: Vec<Entry>,
}

const BELOW: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Permission bits that are given back; owners, set-id and sticky bits are not.
const MODES: u32 = 0o777;
/// Times beyond this (the year 36,812) are none.
const LATEST: u64 = 1 << 40;

impl<'a> TreeWriter<'a> {
    /// Makes the directory.
    pub(super) fn new(directory: &Path, meter: &'a Meter) -> Result<Self> {
        let failed = || format!("{} cannot be made", directory.display());
        fs::create_dir(directory).with_context(failed)?;
        let root = openat(CWD, directory, BELOW, Mode::empty()).with_context(failed)?;
        Ok(Self {
            directory: directory.to_owned(),
            root,
            meter,
            file: None,
            directories: Vec::new(),
        })
    }

    /// Gives directories their modes and times, the deepest first: a mode may forbid entry.
    pub(super) fn finish(self) -> Result<()> {
        for entry in self.directories.iter().rev() {
            let made = || format!("{} cannot get its mode", self.shown(&entry.name));
            let directory = if entry.name == b"./" {
                self.root.try_clone()?
            } else {
                let (above, last) = self.above(&entry.name).with_context(made)?;
                openat(&above, last, BELOW, Mode::empty()).with_context(made)?
            };
            fchmod(&directory, Mode::from_raw_mode(entry.mode & MODES)).with_context(made)?;
            futimens(&directory, &times(entry)).with_context(made)?;
        }
        Ok(())
    }

    /// The directory that holds an entry, made where it is missing, and the last segment.
    fn above<'n>(&self, name: &'n [u8]) -> Result<(OwnedFd, &'n OsStr)> {
        let name = name.strip_prefix(b"./").unwrap_or(name);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let mut segments = name.split(|byte| *byte == b'/').map(OsStr::from_bytes);
        let last = segments.next_back().unwrap_or_default();
        let mut directory = self.root.try_clone()?;
        for segment in segments {
            directory = match openat(&directory, segment, BELOW, Mode::empty()) {
                Err(Errno::NOENT) => {
                    mkdirat(&directory, segment, Mode::from_raw_mode(0o700))?;
                    openat(&directory, segment, BELOW, Mode::empty())
                }
                other => other,
            }
            .context("it lies below a link or a file")?;
        }
        Ok((directory, last))
    }

    fn make(&mut self, described: &Entry, has_content: bool) -> Result<()> {
        if described.kind == EntryKind::Directory {
            self.directories.push(described.clone());
            if described.name == b"./" {
                return Ok(());
            }
        }
        let (above, last) = self.above(&described.name)?;
        match described.kind {
            EntryKind::File => {
                ensure!(
                    has_content && !described.name.ends_with(b"/"),
                    "it is a file that is called a directory"
                );
                let file = openat(&above, last, FILE, Mode::from_raw_mode(0o600))?;
                self.file = Some((file.into(), described.clone()));
            }
            EntryKind::Directory => match mkdirat(&above, last, Mode::from_raw_mode(0o700)) {
                // Made on the way to something inside it; a link or file is not opened.
                Err(Errno::EXIST) => drop(openat(&above, last, BELOW, Mode::empty())?),
                other => other?,
            },
            EntryKind::SymbolicLink => {
                symlinkat(OsStr::from_bytes(&described.link), &above, last)?;
                utimensat(&above, last, &times(described), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            EntryKind::HardLink => {
                ensure!(
                    name::is_safe(&described.link),
                    "it is a link to `{}`, which is outside",
                    name::shown(&described.link)
                );
                let (from, name) = self.above(&described.link)?;
                linkat(&from, name, &above, last, AtFlags::empty())?;
            }
            EntryKind::Special => bail!("it is a device or another thing that is not unpacked"),
        }
        Ok(())
    }

    fn shown(&self, entry: &[u8]) -> String {
        format!("{} in {}", name::shown(entry), self.directory.display())
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec {
        tv_sec: i64::try_from(entry.mtime.min(LATEST)).unwrap_or(0),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

impl EntryReceiver for TreeWriter<'_> {
    fn begin(&mut self, entry: &ReadEntry<'_>) -> Result<()> {
        let described = entry
            .described
            .context("a tree has an entry without head")?;
        self.make(described, entry.content.is_some())
            .with_context(|| format!("{} cannot be made", self.shown(&described.name)))
    }

    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((file, described)) = &mut self.file {
            let written = file.write_all(bytes);
            self.meter.add(bytes.len() as u64);
            if let Err(error) = written {
                let name = described.name.clone();
                return Err(error)
                    .with_context(|| format!("{} cannot be written", self.shown(&name)));
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((file, described)) = self.file.take() {
            let failed = || format!("{} cannot get its mode", self.shown(&described.name));
            fchmod(&file, Mode::from_raw_mode(described.mode & MODES)).with_context(failed)?;
            futimens(&file, &times(&described)).with_context(failed)?;
        }
        Ok(())
    }
}
