//! What the index of a large artifact costs: a synthetic artifact of two million small files
//! through the real writer into a directory store, three times: first, after 0.1 % of its files
//! changed in one place, and after 1 % changed everywhere. Each run is a process of its own; it
//! prints its peak memory (`VmHWM`), the objects of the index that it read and wrote, the chunks
//! it wrote, and its time. Ends with 1 when a run takes more memory than the budget of
//! docs/design.md, or when the second reads or writes more of the index than a twentieth.
//!
//! ```text
//! cargo bench --bench index                    2,000,000 files; 3 GB of disk, some minutes
//! cargo bench --bench index -- --files 50000
//! ```

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program for people at a terminal, which stops at the first surprise"
)]

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat::artifact::base::Continued;
use lifeboat::artifact::listing::{Pages, stored_line};
use lifeboat::artifact::{Digest, EntrySink, Form};
use lifeboat::clock::SystemClock;
use lifeboat::monitor::Silent;
use lifeboat::repo::Settings;
use lifeboat::repo::bridge::Bridge;
use lifeboat::repo::format::ComponentRecord;
use lifeboat::repo::id::{ComponentName, Foundation};
use lifeboat::repo::run::{Run, Summary};
use lifeboat::repo::seal::{Opener, Recipients};
use lifeboat::repo::sign::{Signers, WorkerIdentity};
use lifeboat::repo::writer::{ArtifactName, ArtifactWriter};
use lifeboat::secret::Secret;
use lifeboat::shutdown::Shutdown;
use lifeboat::store::copies::Copies;
use lifeboat::store::directory::{Directory, DirectorySettings};
use lifeboat::store::{Error, Listed, ObjectName, Store, WriteMode};

/// docs/design.md, *Budgets*, in KiB.
const BUDGET: u64 = 256 << 10;
const RUNS: [&str; 3] = ["first", "clustered", "spread"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let files = value("--files").map_or(2_000_000, |files| files.parse().unwrap());
    if let Some(run) = value("--run") {
        let place = value("--in").unwrap();
        println!("{}", measure(&run, files, Path::new(&place)));
        return ExitCode::SUCCESS;
    }
    let scratch = tempfile::tempdir_in(std::env::var_os("TMPDIR").unwrap_or("/var/tmp".into()));
    let scratch = scratch.unwrap();
    std::fs::write(
        scratch.path().join("worker"),
        WorkerIdentity::generate("bench").unwrap().expose(),
    )
    .unwrap();
    std::fs::write(
        scratch.path().join("recipient"),
        Opener::generate().recipient(),
    )
    .unwrap();
    println!("{files} files, one artifact, one directory store");
    println!(
        "run        peak KiB  index read  index written  KiB written  chunks  changed B  seconds"
    );
    let mut bad = false;
    let mut first = 0;
    for run in RUNS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--run", run, "--files", &files.to_string(), "--in"])
            .arg(scratch.path())
            .stderr(std::process::Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{run} failed");
        let line = String::from_utf8(output.stdout).unwrap();
        print!("{line}");
        let numbers: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .map_while(|n| n.parse().ok())
            .collect();
        bad |= numbers[0] > BUDGET;
        match run {
            "first" => first = numbers[2],
            "clustered" => bad |= numbers[1].max(numbers[2]) > first / 20 + 40,
            _ => {}
        }
    }
    ExitCode::from(u8::from(bad))
}

/// Counts what of the index is read and written.
#[derive(Debug)]
struct Counting {
    inner: Directory,
    read: AtomicU64,
    written: AtomicU64,
    bytes: AtomicU64,
    chunks: AtomicU64,
}

#[async_trait]
impl Store for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }
    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: WriteMode) -> Result<(), Error> {
        if name.as_str().contains("/index/") {
            self.written.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        } else if name.as_str().contains("/data/") {
            self.chunks.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.put(name, bytes, mode).await
    }
    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes, Error> {
        if name.as_str().contains("/index/") {
            self.read.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.get(name, limit).await
    }
    async fn head(&self, name: &ObjectName) -> Result<Option<Listed>, Error> {
        self.inner.head(name).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        self.inner.list(prefix, after).await
    }
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.inner.folders(prefix).await
    }
    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.inner.delete(name).await
    }
}

/// One run, in a process of its own; its line of the table.
fn measure(run: &str, files: u64, place: &Path) -> String {
    let begin = Instant::now();
    let tree = Tree {
        files,
        run: run.to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let directory = DirectorySettings {
        name: "bench".into(),
        path: place.join("store"),
    };
    std::fs::create_dir_all(&directory.path).unwrap();
    let store = Arc::new(Counting {
        inner: Directory::new(directory, Arc::new(SystemClock)),
        read: AtomicU64::new(0),
        written: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        chunks: AtomicU64::new(0),
    });
    let stores = vec![Arc::clone(&store) as Arc<dyn Store>];
    let text = std::fs::read_to_string(place.join("worker")).unwrap();
    let worker = WorkerIdentity::parse(&Secret::new(text)).unwrap();
    let recipient = std::fs::read_to_string(place.join("recipient")).unwrap();
    let component = ComponentName::parse("tas").unwrap();
    let to = Run::begin(
        Settings {
            foundation: Foundation::parse("bench").unwrap(),
            recipients: Recipients::parse(&[recipient]).unwrap(),
            signers: Signers::default().and(Some(&worker)),
            worker: Some(worker),
            new_chain_every: Duration::from_secs(30 * 86_400),
            grace: Duration::from_secs(7 * 86_400),
        },
        Arc::new(Copies::new(stores, 1, Arc::new(Silent)).unwrap()),
        Bridge::new(runtime.handle().clone(), Shutdown::new()),
        std::slice::from_ref(&component),
        &SystemClock,
        &Silent,
    )
    .unwrap();
    let name = ArtifactName {
        component: component.clone(),
        name: "nfs_wal_server-0-blobstore.tar".into(),
        form: Form::Tar,
        bbr: None,
    };
    let mut writer = to.artifact(name).unwrap();
    tree.drain(&mut writer);
    let (artifact, changed) = writer.finish().unwrap();
    assert_eq!(artifact.files, files);
    let record = ComponentRecord {
        name: component,
        started: "2026-11-22T01:00:00Z".into(),
        finished: "2026-11-22T01:00:00Z".into(),
        phases: Vec::new(),
        artifacts: vec![artifact],
        notes: Vec::new(),
        downtime: Vec::new(),
        facts: None,
    };
    let summary = Summary {
        components: vec![record],
        drained_bytes: 0,
        build: None,
    };
    let (signed, _) = to.commit(summary, &SystemClock).unwrap();
    assert_eq!(signed.manifest.base.is_some(), run != "first");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .to_owned();
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    format!(
        "{run:<10} {peak:>8} {:>11} {:>14} {:>12} {:>7} {changed:>10} {:>8.1}",
        count(&store.read),
        count(&store.written),
        count(&store.bytes) >> 10,
        count(&store.chunks),
        begin.elapsed().as_secs_f64()
    )
}

/// The artifact as a run finds it.
struct Tree {
    files: u64,
    run: String,
}

impl Tree {
    /// A Cloud Controller blobstore's kind of path; a hundred files in a directory.
    fn path(place: u64) -> String {
        let guid = &Digest::of(&place.to_le_bytes()).to_string()[..32];
        format!(
            "./cc-droplets/{:04}/{:02}/{place:08}-{guid}",
            place / 10_000,
            place / 100 % 100
        )
    }

    /// How often a file has changed by now.
    fn version(&self, place: u64) -> u64 {
        let middle = self.files / 2;
        let clustered = (middle..middle + self.files / 1000).contains(&place);
        let spread = place % 100 == 7;
        match self.run.as_str() {
            "first" => 0,
            "clustered" => u64::from(clustered),
            _ => u64::from(clustered) + u64::from(spread),
        }
    }

    fn content(&self, place: u64) -> Vec<u8> {
        format!("blob {place} version {}\n", self.version(place)).into_bytes()
    }

    fn head(&self, place: u64) -> (Vec<u8>, Digest) {
        let content = self.content(place);
        let head = header(&Self::path(place), tar::EntryType::Regular, content.len());
        (head, Digest::of(&content))
    }

    /// What a drain does: its pages first, then what the base lacks.
    fn drain(&self, writer: &mut ArtifactWriter) {
        let mut pages: Vec<(u64, String)> = Vec::new();
        let mut cut = Pages::default();
        for place in 0..self.files {
            let (head, digest) = self.head(place);
            let (path, line) = stored_line(&head, &digest);
            if let Some(list) = cut.add(&path, &line) {
                pages.push((place + 1, list));
            }
        }
        pages.extend(cut.finish().map(|list| (self.files, list)));
        let base: HashMap<String, usize> = (0..)
            .zip(writer.pages())
            .map(|(at, page)| (page.list.clone(), at))
            .collect();
        let known: Vec<Option<usize>> = pages
            .iter()
            .map(|(_, list)| base.get(list).copied())
            .collect();
        let mut unknown: VecDeque<usize> = (0..writer.pages().len()).collect();
        unknown.retain(|at| !known.contains(&Some(*at)));
        writer.expect(unknown.make_contiguous());
        let mut have: VecDeque<(Vec<u8>, Digest, usize, usize)> = VecDeque::new();
        let mut begin = 0;
        for ((end, _), known) in pages.iter().zip(known) {
            self.folders(begin..*end, writer);
            if let Some(page) = known {
                writer.take_page(page).unwrap();
                begin = *end;
                continue;
            }
            for place in begin..*end {
                let (head, digest) = self.head(place);
                let (path, _) = stored_line(&head, &digest);
                while have.back().is_none_or(|last| last.0 < path) {
                    let Some(page) = unknown.pop_front() else {
                        break;
                    };
                    for (file, of) in writer.open(page).unwrap().iter().enumerate() {
                        let (path, _) = stored_line(&of.head, &of.digest);
                        have.push_back((path, of.digest, page, file));
                    }
                }
                while have.front().is_some_and(|first| first.0 < path) {
                    have.pop_front();
                }
                match have.front() {
                    Some((at, of, page, file)) if *at == path && *of == digest => {
                        writer.take_file(&head, *page, *file).unwrap();
                    }
                    _ => {
                        let content = self.content(place);
                        let size = content.len() as u64;
                        writer.file(&head, size, &mut &content[..]).unwrap();
                    }
                }
            }
            begin = *end;
        }
        writer.end(1024).unwrap();
    }

    /// A directory stands before its first file.
    fn folders(&self, places: std::ops::Range<u64>, writer: &mut ArtifactWriter) {
        for place in places.filter(|place| place % 100 == 0) {
            let path = Self::path(place);
            let folder = &path[..=path.rfind('/').unwrap()];
            let head = header(folder, tar::EntryType::Directory, 0);
            writer.other_at(&head, place).unwrap();
        }
    }
}

fn header(name: &str, kind: tar::EntryType, size: usize) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o640);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_mtime(1_700_000_000);
    header.set_username("vcap").unwrap();
    header.set_groupname("vcap").unwrap();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}
