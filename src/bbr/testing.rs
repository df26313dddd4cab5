//! A target of local "instances", a monitor that remembers and a sink that keeps; so that
//! scripts, drain, abort and cleanup are tried with the real tools.

mod remote;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use self::remote::ROOT;
pub(super) use self::remote::{Fault, LocalRemote};
use super::{Host, Kind, Limits, Mark, Paths, Run, Settings, Target, discover};
use crate::artifact::base::{BaseFile, BasePage, Continued};
use crate::artifact::{Digest, EntrySink};
use crate::monitor::{Level, Monitor};
use crate::shutdown::Shutdown;

/// Several instances below one temporary root. All share one root directory per instance, and
/// one journal that scripts append to.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) settings: Settings,
    pub(crate) monitor: Notes,
    pub(crate) manifest: String,
    places: Vec<Place>,
}

struct Place {
    host: Host,
    remote: Arc<LocalRemote>,
    dir: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            settings: Settings {
                paths: Paths {
                    jobs: format!("{ROOT}/jobs"),
                    store: format!("{ROOT}/store"),
                    passwd: format!("{ROOT}/passwd"),
                },
                limits: Limits::default(),
                tool_version: "9.9.9".to_owned(),
            },
            monitor: Notes::default(),
            manifest: "{}".to_owned(),
            places: Vec::new(),
        }
    }

    /// Adds an instance; its id is `u` and its index.
    pub(crate) fn instance(&mut self, group: &str, index: usize) -> &Self {
        let dir = self.root.path().join(format!("{group}-{index}"));
        fs::create_dir_all(dir.join("jobs")).unwrap();
        fs::create_dir_all(dir.join("store")).unwrap();
        fs::write(dir.join("passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        let id = format!("u{index}");
        let remote = Arc::new(LocalRemote::new(format!("{group}/{id}"), dir.clone()));
        self.places.push(Place {
            host: Host {
                group: group.to_owned(),
                id,
                index: Some(index.to_string()),
                bootstrap: index == 0,
                remote: remote.clone(),
            },
            remote,
            dir,
        });
        self
    }

    /// One instance with these jobs, `J: {SCRIPT: BODY}`.
    pub(crate) fn with(jobs: &[(&str, &str, &str)]) -> Self {
        let mut world = Self::new();
        world.instance("g", 0);
        for (job, script, body) in jobs {
            world.script("g/u0", job, script, body);
        }
        world
    }

    pub(crate) fn script(&self, instance: &str, job: &str, script: &str, body: &str) {
        let dir = self.dir(instance).join("jobs").join(job).join("bin/bbr");
        fs::create_dir_all(&dir).unwrap();
        let journal = self.journal_path();
        let journal = journal.to_str().unwrap();
        let text = format!(
            "#!/bin/sh\njournal() {{ echo \"$@\" >>{journal}; }}\n\
             journal start {instance} {job} {script}\n{body}\n\
             s=$?\njournal end {instance} {job} {script}\nexit $s\n"
        );
        // A metadata script's output is its result; it stays out of the journal.
        let text = match script {
            "metadata" => format!("#!/bin/sh\n{body}\n"),
            _ => text,
        };
        self.raw_script(instance, job, script, text.as_bytes());
    }

    pub(crate) fn raw_script(&self, instance: &str, job: &str, script: &str, text: &[u8]) {
        let dir = self.dir(instance).join("jobs").join(job).join("bin/bbr");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(script);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn dir(&self, instance: &str) -> &Path {
        &self.place(instance).dir
    }

    pub(crate) fn remote(&self, instance: &str) -> &LocalRemote {
        &self.place(instance).remote
    }

    fn place(&self, instance: &str) -> &Place {
        self.places
            .iter()
            .find(|place| place.remote.name == instance)
            .unwrap()
    }

    pub(crate) fn host(&self, instance: &str) -> &Host {
        &self.place(instance).host
    }

    pub(crate) fn hosts(&self) -> Vec<Host> {
        self.places.iter().map(|place| place.host.clone()).collect()
    }

    pub(crate) fn host_mut(&mut self, instance: &str) -> &mut Host {
        let place = self
            .places
            .iter_mut()
            .find(|place| place.remote.name == instance);
        &mut place.unwrap().host
    }

    /// The artifact directory, our own, or a file in the store.
    pub(crate) fn store(&self, instance: &str, name: &str) -> PathBuf {
        self.dir(instance).join("store").join(name)
    }

    pub(crate) fn leftovers(&self, instance: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir(instance).join("store"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn journal_path(&self) -> PathBuf {
        self.root.path().join("journal")
    }

    pub(crate) fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.journal_path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the journal has a line.
    pub(crate) fn await_journal(&self, line: &str) {
        for _ in 0..2000 {
            if self.journal().iter().any(|known| known == line) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no `{line}` in the journal: {:?}", self.journal());
    }

    pub(crate) fn discover(&self) -> Result<Target, super::Errors> {
        let kind = Kind::Deployment {
            manifest: &self.manifest,
        };
        let never = Shutdown::never();
        discover(
            "dep",
            self.hosts(),
            kind,
            &self.settings,
            &self.monitor,
            &never,
        )
    }

    pub(crate) fn run(&self) -> Run {
        let mark = Mark {
            run: "run-1".to_owned(),
            foundation: "prod".to_owned(),
            started: SystemTime::UNIX_EPOCH,
        };
        Run::new(self.discover().unwrap(), mark, false)
    }
}

/// Remembers lines.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<String>);

impl Monitor for Notes {
    fn say(&self, level: Level, text: &str) {
        writeln!(self.0.lock().unwrap(), "{level:?} {text}").unwrap();
    }
}

impl Notes {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// Keeps what was drained.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Content by the name in the head, as the `tar` crate reads it.
    pub(crate) files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Names in order.
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) again: usize,
    pub(crate) zeros: Option<u64>,
}

impl Kept {
    fn name(head: &[u8]) -> Vec<u8> {
        let entry = crate::artifact::tar::TarReader::new(head)
            .next_entry()
            .unwrap();
        entry.unwrap().name
    }
}

impl EntrySink for Kept {
    fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        let name = Self::name(head);
        self.names.push(name.clone());
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        anyhow::ensure!(bytes.len() as u64 == size, "size");
        let digest = Digest::of(&bytes);
        self.files.insert(name, bytes);
        Ok(digest)
    }

    fn again(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        self.again += 1;
        anyhow::ensure!(self.names.pop() == Some(Self::name(head)), "another file");
        self.file(head, size, content)
    }

    fn other(&mut self, head: &[u8]) -> anyhow::Result<()> {
        self.names.push(Self::name(head));
        Ok(())
    }

    fn end(&mut self, zeros: u64) -> anyhow::Result<()> {
        self.zeros = Some(zeros);
        Ok(())
    }
}

/// A sink that continues nothing.
pub(crate) struct Alone<'a>(pub(crate) &'a mut dyn EntrySink);

impl EntrySink for Alone<'_> {
    fn file(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        self.0.file(head, size, content)
    }

    fn again(&mut self, head: &[u8], size: u64, content: &mut dyn Read) -> anyhow::Result<Digest> {
        self.0.again(head, size, content)
    }

    fn other(&mut self, head: &[u8]) -> anyhow::Result<()> {
        self.0.other(head)
    }

    fn end(&mut self, zeros: u64) -> anyhow::Result<()> {
        self.0.end(zeros)
    }
}

impl Continued for Alone<'_> {
    fn pages(&self) -> &[BasePage] {
        &[]
    }

    fn open(&mut self, _: usize) -> anyhow::Result<Arc<[BaseFile]>> {
        anyhow::bail!("there is no base")
    }

    fn take_page(&mut self, _: usize) -> anyhow::Result<()> {
        anyhow::bail!("there is no base")
    }

    fn take_file(&mut self, _: &[u8], _: usize, _: usize) -> anyhow::Result<()> {
        anyhow::bail!("there is no base")
    }

    fn other_at(&mut self, _: &[u8], _: u64) -> anyhow::Result<()> {
        anyhow::bail!("there is no base")
    }
}
