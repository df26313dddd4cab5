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
    symlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{EntryType, Header};

use crate::artifact::tar::{Entry, EntryKind};
use crate::artifact::{EntrySink, name};
use crate::monitor::{Meter, Monitor};
use crate::repo::reader::{EntryReceiver, ReadEntry};
use crate::shutdown::Shutdown;

/// What a header has room for.
const NAME_FIELD: usize = 100;

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
            let target = target.as_os_str().as_bytes();
            sink.other(&head(&mut header, &entry_name, target))?;
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

/// The header blocks of an entry, GNU's for long names included. The crate's own builder would
/// take the `./` away, by which every reader tells our names.
fn head(header: &mut Header, name: &[u8], link: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::new();
    for (kind, text) in [(b'K', link), (b'L', name)] {
        if text.len() > NAME_FIELD {
            let mut long = Header::new_gnu();
            long.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
            long.set_entry_type(EntryType::new(kind));
            long.set_size(text.len() as u64 + 1);
            long.set_cksum();
            blocks.extend_from_slice(long.as_bytes());
            blocks.extend_from_slice(text);
            blocks.push(0);
            blocks.resize(blocks.len().next_multiple_of(512), 0);
        }
    }
    let old = header.as_old_mut();
    for (field, text) in [(&mut old.name, name), (&mut old.linkname, link)] {
        let length = text.len().min(NAME_FIELD);
        field[..length].copy_from_slice(&text[..length]);
    }
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    blocks
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::artifact::Digest;
    use crate::artifact::tar::TarReader;
    use crate::monitor::Silent;

    #[derive(Default)]
    struct Heads(Vec<Vec<u8>>);

    impl EntrySink for Heads {
        fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> Result<Digest> {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            assert_eq!(bytes.len() as u64, size);
            self.other(head)?;
            Ok(Digest::of(&bytes))
        }

        fn again(&mut self, _: &[u8], _: u64, _: &mut dyn Read) -> Result<Digest> {
            unreachable!("nothing changes here")
        }

        fn other(&mut self, head: &[u8]) -> Result<()> {
            self.0.push(head.to_owned());
            Ok(())
        }

        fn end(&mut self, _: u64) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_name_begins_with_a_dot_and_a_slash() {
        let place = tempfile::tempdir().unwrap();
        let long = "d".repeat(99);
        let deep = place.path().join(&long).join("e");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file with space"), b"x").unwrap();
        std::os::unix::fs::symlink("t".repeat(200), place.path().join("link")).unwrap();
        let (mut heads, shutdown) = (Heads::default(), Shutdown::new());
        let meter = Monitor::meter(&Silent, "x", None);
        read_tree(place.path(), &mut heads, &meter, &Silent, &shutdown).unwrap();
        let mut found = Vec::new();
        for head in &heads.0 {
            let entry = TarReader::new(head.as_slice())
                .next_entry()
                .unwrap()
                .unwrap();
            assert!(name::is_safe(&entry.name), "{}", name::shown(&entry.name));
            found.push((String::from_utf8(entry.name).unwrap(), entry.link.len()));
        }
        let expected = [
            ("./".to_owned(), 0),
            (format!("./{long}/"), 0),
            (format!("./{long}/e/"), 0),
            (format!("./{long}/e/file with space"), 0),
            ("./link".to_owned(), 200),
        ];
        assert_eq!(found, expected);
    }
}
