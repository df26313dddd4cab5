//! The search for secrets: texts in every form, in output, in processes, in files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Texts to look for, each with the name of the secret that it is a form of.
pub(super) struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    pub(super) fn new(secrets: &[(&str, String)]) -> Self {
        let mut found = BTreeMap::new();
        for (name, secret) in secrets {
            for line in secret
                .lines()
                // OpenSSH begins every key alike; some lines stand for all of a long key.
                .filter(|line| {
                    line.len() > 15
                        && !line.starts_with("-----")
                        && !line.starts_with("b3BlbnNzaC1rZXktdjE")
                })
                .take(4)
            {
                for form in forms(line) {
                    found.insert(form, (*name).to_owned());
                }
            }
        }
        Self(found.into_iter().map(|(form, name)| (name, form)).collect())
    }

    /// Fails when any of them is in these bytes.
    #[track_caller]
    pub(super) fn absent(&self, bytes: &[u8], place: &str) {
        if let Some(name) = self.find(bytes) {
            panic!(
                "{name} is in {place}:\n{}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(4000)])
            );
        }
    }

    pub(super) fn find(&self, bytes: &[u8]) -> Option<&str> {
        let text = String::from_utf8_lossy(bytes);
        self.0
            .iter()
            .find(|(_, form)| text.contains(std::str::from_utf8(form).unwrap()))
            .map(|(name, _)| name.as_str())
    }
}

/// A text as it is and in the forms in which it may be written down. Not the code under test:
/// only what is certain, digit by digit.
pub(super) fn forms(text: &str) -> BTreeSet<Vec<u8>> {
    let percent: String = text
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let mut found = BTreeSet::from([
        text.as_bytes().to_vec(),
        hex::encode(text).into_bytes(),
        hex::encode_upper(text).into_bytes(),
        percent.replace("%20", "+").into_bytes(),
        percent.into_bytes(),
        serde_json::to_string(text)
            .unwrap()
            .trim_matches('"')
            .as_bytes()
            .to_vec(),
    ]);
    for before in ["", "\0", "\0\0"] {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let digits = engine.encode(format!("{before}{text}"));
            found.insert(digits.as_bytes()[4..digits.len() - 2].to_vec());
        }
    }
    found
}

/// Looks at every process that starts while it runs.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(BTreeSet<String>, usize)>,
}

impl Watch {
    pub(super) fn start(needles: &Arc<Needles>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, needles) = (Arc::clone(&stop), Arc::clone(needles));
        let known: BTreeSet<PathBuf> = processes().collect();
        let thread = std::thread::spawn(move || {
            let (mut leaks, mut seen) = (BTreeSet::new(), BTreeSet::new());
            while !ends.load(Ordering::Relaxed) {
                for process in processes().filter(|process| !known.contains(process)) {
                    for file in ["cmdline", "environ"] {
                        let Ok(bytes) = fs::read(process.join(file)) else {
                            continue;
                        };
                        if let Some(name) = needles.find(&bytes) {
                            leaks.insert(format!(
                                "{name} in {file}: {}",
                                String::from_utf8_lossy(&bytes)
                            ));
                        }
                    }
                    seen.insert(process);
                }
                std::thread::sleep(Duration::from_millis(3));
            }
            (leaks, seen.len())
        });
        Self { stop, thread }
    }

    /// What was seen.
    #[track_caller]
    pub(super) fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let (leaks, seen) = self.thread.join().unwrap();
        assert!(seen > 0, "no process was seen");
        leaks
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        })
}

/// Small files below a directory that are newer than a run; what cannot be read is somebody
/// else's.
pub(super) fn small_files(
    directory: &Path,
    besides: &Path,
    since: SystemTime,
    found: &mut Vec<PathBuf>,
) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(status) = fs::symlink_metadata(&path) else {
            continue;
        };
        if status.is_dir() && path != besides {
            small_files(&path, besides, since, found);
        } else if status.is_file()
            && status.len() < 1 << 20
            && status.modified().is_ok_and(|time| time >= since)
        {
            found.push(path);
        }
    }
}
