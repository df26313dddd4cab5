//! A directory as entries, and entries as a directory again: `from` with something other than
//! bbr's artifacts. Links are kept and never followed.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tar::{EntryType, Header};

use crate::artifact::tar::{EntryKind, TarReader};
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::artifact::Digest;
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
        let meter = Silent.meter("x", None);
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
