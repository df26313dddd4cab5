//! The file system calls, all relative to open directories, so that no symbolic link below
//! the store's own path is ever followed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::super::{Error, Kind, Listed, ObjectName, WriteMode, is_segment};

/// Where unfinished files are; not a valid segment, so no object can be in it.
const TEMPORARY: &str = ".tmp";
/// A `delete` beside us may remove the directory that we have just made, so often.
const DIRECTORY_ATTEMPTS: usize = 8;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// The umask decides who else may read and write.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

pub(super) struct Files {
    store: String,
    path: PathBuf,
    counter: AtomicU64,
}

/// A file that has no name of its own yet; removed when dropped.
pub(super) struct Temporary {
    directory: OwnedFd,
    name: String,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; else the sweep gets what this leaves.
        let _gone = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

impl Files {
    pub(super) fn new(store: &str, path: PathBuf) -> Self {
        Self {
            store: store.to_owned(),
            path,
            counter: AtomicU64::new(0),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn put(
        &self,
        name: &ObjectName,
        bytes: &[u8],
        mode: WriteMode,
    ) -> Result<(), Error> {
        let failed = |errno| self.failed(name.as_str(), "write", errno);
        let root = self.root(name.as_str())?;
        if mode == WriteMode::CreateNew && self.head(name)?.is_some() {
            return Err(failed(Errno::EXIST));
        }
        let temporary = self.write_temporary(&root, bytes).map_err(failed)?;
        let mut attempt = 1;
        loop {
            let placed = open_parent(&root, name.as_str(), true).and_then(|(parent, last)| {
                match mode {
                    WriteMode::Overwrite => {
                        rustix::fs::renameat(&temporary.directory, &temporary.name, &parent, last)?;
                    }
                    WriteMode::CreateNew => link_new(&temporary, &parent, last)?,
                }
                sync_directory(&parent)
            });
            match placed {
                Err(Errno::NOENT) if attempt < DIRECTORY_ATTEMPTS => attempt += 1,
                other => return other.map_err(failed),
            }
        }
    }

    /// Bytes on the disk, without a name that anybody reads.
    pub(super) fn write_temporary(&self, root: &OwnedFd, bytes: &[u8]) -> Result<Temporary, Errno> {
        let directory = open_or_create(root, TEMPORARY)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (name, file) = loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", process::id());
            match rustix::fs::openat(&directory, &name, flags, FILE_MODE) {
                Ok(file) => break (name, file),
                // Another worker with our number, or one that died.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        };
        let temporary = Temporary { directory, name };
        let mut file = File::from(file);
        file.write_all(bytes).map_err(errno_of)?;
        file.sync_all().map_err(errno_of)?;
        Ok(temporary)
    }

    pub(super) fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        let failed = |errno| self.failed(name.as_str(), "read", errno);
        let root = self.root(name.as_str())?;
        let (parent, last) = open_parent(&root, name.as_str(), false).map_err(failed)?;
        // NONBLOCK: opening a pipe that somebody put there must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, last, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(Errno::ISDIR));
        }
        let size = size_of(&stat);
        if size > limit {
            return Err(Error::too_large(&self.store, name, limit));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut file = File::from(file).take(limit);
        file.read_to_end(&mut bytes)
            .map_err(|error| failed(errno_of(error)))?;
        Ok(Bytes::from(bytes))
    }

    pub(super) fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        let root = self.root(name.as_str())?;
        let found = open_parent(&root, name.as_str(), false).and_then(|(parent, last)| {
            rustix::fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW)
        });
        match found {
            Ok(stat) => Ok(listed(name.as_str(), &stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed(name.as_str(), "read", errno)),
        }
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let root = self.root(prefix)?;
        let failed = |errno| self.failed(prefix, "list", errno);
        let mut found = Vec::new();
        // Every name with this prefix is below this directory; "" is the store's own.
        let start = prefix.rsplit_once('/').map_or("", |(start, _)| start);
        if !start.is_empty() && !start.split('/').all(is_segment) {
            return Ok(found);
        }
        let mut waiting = vec![start.to_owned()];
        while let Some(path) = waiting.pop() {
            let directory = match open_directory(&root, &path, false) {
                Ok(directory) => directory,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            for entry in Dir::read_from(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Some(segment) = entry.file_name().to_str().ok().filter(|s| is_segment(s))
                else {
                    continue;
                };
                let name = if path.is_empty() {
                    segment.to_owned()
                } else {
                    format!("{path}/{segment}")
                };
                let kind = entry.file_type();
                if matches!(kind, FileType::Directory | FileType::Unknown)
                    && may_hold(&name, prefix, after)
                {
                    // One that turns out to be no directory is passed over above.
                    waiting.push(name.clone());
                }
                if !matches!(kind, FileType::RegularFile | FileType::Unknown)
                    || !name.starts_with(prefix)
                    || after.is_some_and(|after| name.as_str() <= after)
                {
                    continue;
                }
                match rustix::fs::statat(&directory, segment, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => found.extend(listed(&name, &stat)),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    pub(super) fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let root = self.root(prefix)?;
        let failed = |errno| self.failed(prefix, "list", errno);
        let path = prefix.trim_end_matches('/');
        if !path.is_empty() && !path.split('/').all(is_segment) {
            return Ok(Vec::new());
        }
        let directory = match open_directory(&root, path, false) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        };
        let mut found = Vec::new();
        for entry in Dir::read_from(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(segment) = entry.file_name().to_str().ok().filter(|s| is_segment(s)) else {
                continue;
            };
            let is_directory = match entry.file_type() {
                FileType::Unknown => open_directory(&directory, segment, false).is_ok(),
                kind => kind == FileType::Directory,
            };
            if is_directory {
                found.push(segment.to_owned());
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    pub(super) fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let root = self.root(name.as_str())?;
        let removed = open_parent(&root, name.as_str(), false).and_then(|(parent, last)| {
            rustix::fs::unlinkat(&parent, last, AtFlags::empty())?;
            sync_directory(&parent)
        });
        match removed {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.failed(name.as_str(), "delete", errno)),
        }
        // Directories that became empty go too, as far as they let themselves be removed.
        let mut path = name.as_str();
        while let Some((above, _)) = path.rsplit_once('/') {
            let gone = open_parent(&root, above, false)
                .and_then(|(parent, last)| rustix::fs::unlinkat(&parent, last, AtFlags::REMOVEDIR));
            if gone.is_err() {
                break;
            }
            path = above;
        }
        Ok(())
    }

    /// Removes unfinished files of runs that died. What cannot be removed stays.
    pub(super) fn remove_leftovers(&self, before: SystemTime) {
        let Ok(directory) = self
            .open_root()
            .and_then(|root| open_directory(&root, TEMPORARY, false))
        else {
            return;
        };
        let Ok(entries) = Dir::read_from(&directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && modified(&stat) < before
            {
                let _stays = rustix::fs::unlinkat(&directory, name, AtFlags::empty());
            }
        }
    }

    pub(super) fn open_root(&self) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(CWD, &self.path, DIRECTORY, Mode::empty())
    }

    fn root(&self, object: &str) -> Result<OwnedFd, Error> {
        let path = self.path.display();
        self.open_root().map_err(|errno| match errno {
            Errno::NOENT => Error::new(
                Kind::Other,
                &self.store,
                "",
                format!("{path} does not exist; is it mounted? (it is never created)"),
            ),
            Errno::NOTDIR => Error::new(
                Kind::Other,
                &self.store,
                "",
                format!("{path} is not a directory; give the path of one"),
            ),
            errno => self.failed(object, "open", errno),
        })
    }

    pub(super) fn failed(&self, object: &str, action: &str, errno: Errno) -> Error {
        let path = self.path.display();
        let (kind, message) = match errno {
            Errno::NOENT => (Kind::NotFound, "is not there".to_owned()),
            Errno::EXIST => (Kind::AlreadyExists, "exists already".to_owned()),
            Errno::ACCESS | Errno::PERM => (
                Kind::Denied,
                format!("no permission to {action} in {path}; check its owner and mode"),
            ),
            Errno::ROFS => (
                Kind::Denied,
                format!("{path} is mounted read-only; mount it for writing"),
            ),
            Errno::NOSPC => (
                Kind::Other,
                format!("the store is full ({path} has no space left); make room"),
            ),
            Errno::DQUOT => (
                Kind::Other,
                format!("the store is full (quota of {path} reached); make room or raise it"),
            ),
            Errno::LOOP | Errno::NOTDIR => (
                Kind::Other,
                format!(
                    "a symbolic link or a file is in its way below {path}; links are not followed"
                ),
            ),
            Errno::ISDIR => (Kind::Other, "is not a regular file".to_owned()),
            Errno::XDEV => (
                Kind::Other,
                format!(
                    "lies on another file system than {path}/{TEMPORARY}; a store must be on one"
                ),
            ),
            Errno::IO
            | Errno::STALE
            | Errno::TIMEDOUT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NOTCONN
            | Errno::CONNRESET
            | Errno::INTR
            | Errno::AGAIN
            | Errno::MFILE
            | Errno::NFILE => (
                Kind::Transient,
                format!("cannot {action} in {path}: {errno}"),
            ),
            errno => (Kind::Other, format!("cannot {action} in {path}: {errno}")),
        };
        Error::new(kind, &self.store, object, message)
    }
}

/// Whether names below this directory can have the prefix and come after.
fn may_hold(directory: &str, prefix: &str, after: Option<&str>) -> bool {
    let below = format!("{directory}/");
    (below.starts_with(prefix) || prefix.starts_with(&below))
        && after.is_none_or(|after| below.as_str() > after || after.starts_with(&below))
}

/// Gives a file its name unless it is taken.
fn link_new(temporary: &Temporary, parent: &OwnedFd, last: &str) -> Result<(), Errno> {
    let (directory, name) = (&temporary.directory, temporary.name.as_str());
    match rustix::fs::linkat(directory, name, parent, last, AtFlags::empty()) {
        // SMB, exFAT and some FUSE file systems have no hard links.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {}
        other => return other,
    }
    match rustix::fs::renameat_with(directory, name, parent, last, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        other => return other,
    }
    // Neither is atomic here; the caller has just looked.
    rustix::fs::renameat(directory, name, parent, last)
}

fn open_parent<'n>(
    root: &OwnedFd,
    name: &'n str,
    create: bool,
) -> Result<(OwnedFd, &'n str), Errno> {
    let (path, last) = name.rsplit_once('/').unwrap_or(("", name));
    Ok((open_directory(root, path, create)?, last))
}

/// Opens a directory below the root, segment by segment.
fn open_directory(root: &OwnedFd, path: &str, create: bool) -> Result<OwnedFd, Errno> {
    let mut directory = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        directory = if create {
            open_or_create(&directory, segment)?
        } else {
            rustix::fs::openat(
                &directory,
                segment,
                DIRECTORY | OFlags::NOFOLLOW,
                Mode::empty(),
            )?
        };
    }
    Ok(directory)
}

fn open_or_create(parent: &OwnedFd, segment: &str) -> Result<OwnedFd, Errno> {
    let open = || rustix::fs::openat(parent, segment, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match rustix::fs::mkdirat(parent, segment, DIRECTORY_MODE) {
        Ok(()) => sync_directory(parent)?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    open()
}

/// Makes a new name last. Some file systems cannot and need not.
fn sync_directory(directory: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::fsync(directory) {
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::BADF) => Ok(()),
        other => other,
    }
}

fn listed(name: &str, stat: &Stat) -> Option<Listed> {
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| Listed {
        name: name.to_owned(),
        size: size_of(stat),
        modified: modified(stat),
    })
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn modified(stat: &Stat) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0))
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
