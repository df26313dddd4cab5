//! A directory as entries, and entries as a directory again: `from` with something other than
//! bbr's artifacts. Links are kept and never followed.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tar::{Builder, EntryType, Header};

use crate::artifact::tar::{EntryKind, TarReader};
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
            sink.other(&head(&mut header, &entry_name)?)?;
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
            let head = head(&mut header, &entry_name)?;
            sink.file(&head, metadata.len(), &mut file)
                .with_context(failed)?;
            meter.add(metadata.len());
            bytes += metadata.len();
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).with_context(failed)?;
            header.set_size(0);
            let mut block = Builder::new(Vec::new());
            block.append_link(&mut header, as_path(&entry_name), target)?;
            sink.other(block.get_ref())?;
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

/// The header blocks of an entry, long name included. The builder writes what stands in
/// front of the content; there is none here.
fn head(header: &mut Header, entry_name: &[u8]) -> Result<Vec<u8>> {
    let mut block = Builder::new(Vec::new());
    if header.entry_type() == EntryType::Directory {
        header.set_size(0);
    }
    block.append_data(header, as_path(entry_name), std::io::empty())?;
    Ok(block.get_ref().clone())
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Unpacks entries below a directory that nobody else writes to.
pub(super) struct TreeWriter<'a> {
    directory: PathBuf,
    meter: &'a Meter,
    file: Option<(File, PathBuf, u32)>,
    /// Made last, so that no entry is written through one.
    links: Vec<(PathBuf, PathBuf)>,
    /// Narrowed last, so that their contents can be written.
    modes: Vec<(PathBuf, u32)>,
    left_out: u64,
}

impl<'a> TreeWriter<'a> {
    pub(super) fn new(directory: &Path, meter: &'a Meter) -> Self {
        Self {
            directory: directory.to_owned(),
            meter,
            file: None,
            links: Vec::new(),
            modes: Vec::new(),
            left_out: 0,
        }
    }

    pub(super) fn finish(self, monitor: &dyn Monitor) -> Result<()> {
        for (path, target) in &self.links {
            std::os::unix::fs::symlink(target, path)
                .with_context(|| format!("{} cannot be linked", path.display()))?;
        }
        for (path, mode) in self.modes.iter().rev() {
            fs::set_permissions(path, Permissions::from_mode(*mode))
                .with_context(|| format!("{} cannot get its mode", path.display()))?;
        }
        if self.left_out > 0 {
            monitor.warn(&format!(
                "{} entries are neither file, directory nor link and are left out",
                self.left_out
            ));
        }
        Ok(())
    }
}

impl EntryReceiver for TreeWriter<'_> {
    fn begin(&mut self, entry: &ReadEntry<'_>) -> Result<()> {
        let Ok(described) = TarReader::new(entry.head).next_entry()? else {
            bail!("an entry of the index has no header")
        };
        ensure!(
            name::is_safe(&described.name),
            "the entry {} would leave its directory and is refused",
            name::shown(&described.name)
        );
        let path = self.directory.join(as_path(&described.name[2..]));
        let failed = || format!("{} cannot be made", path.display());
        match (described.kind, entry.content) {
            (EntryKind::File, Some(_)) => {
                let file = File::create_new(&path).with_context(failed)?;
                self.file = Some((file, path, described.mode));
            }
            (EntryKind::Directory, None) => {
                if described.name != b"./" {
                    fs::create_dir(&path).with_context(failed)?;
                    self.modes.push((path, described.mode));
                }
            }
            (EntryKind::SymbolicLink, None) => {
                let target = PathBuf::from(std::ffi::OsString::from_vec(described.link));
                self.links.push((path, target));
            }
            _ => self.left_out += 1,
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((file, path, _)) = &mut self.file {
            file.write_all(bytes)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            self.meter.add(bytes.len() as u64);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((file, path, mode)) = self.file.take() {
            file.set_permissions(Permissions::from_mode(mode))
                .with_context(|| format!("{} cannot get its mode", path.display()))?;
        }
        Ok(())
    }
}
