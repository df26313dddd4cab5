//! Two directory stores, keys, and backups that our own writer makes of directories: what a
//! thief of the bucket or of the worker has to work with. No foundation is needed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::process::{Ended, resource};

/// Stores, keys and inputs of one test.
#[derive(Debug)]
pub struct Depot {
    /// Everything lies here; removed at the end.
    pub scratch: tempfile::TempDir,
    /// The resource's `source`.
    pub source: Value,
    /// The worker's private key.
    pub worker_identity: String,
    /// Its public half.
    pub worker_public: String,
    /// `AGE-SECRET-KEY-1…`.
    pub recovery_identity: String,
    /// `age1…`.
    pub recipient: String,
    builds: AtomicU32,
}

impl Default for Depot {
    fn default() -> Self {
        Self::new()
    }
}

impl Depot {
    /// Empty stores `one` and `two`.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let stores = super::scene::directory_stores(scratch.path(), &["one", "two"]);
        let keys = lifeboat::operation::keygen::generate("depot").unwrap();
        let source = json!({
            "foundation": "prod-east",
            "stores": stores,
            "recipients": [keys.recovery_recipient],
            "trusted_workers": [keys.worker_public],
        });
        Self {
            scratch,
            source,
            worker_identity: keys.worker_identity.expose().to_owned(),
            worker_public: keys.worker_public,
            recovery_identity: keys.recovery_identity.expose().to_owned(),
            recipient: keys.recovery_recipient,
            builds: AtomicU32::new(0),
        }
    }

    /// A path below the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes a file below the scratch directory, readable by its owner alone.
    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// `out` of these files as one component, in a build of its own.
    pub fn put(&self, component: &str, files: &[(&str, &[u8])]) -> Ended {
        self.put_all(&[component], files)
    }

    /// The same for several components, each in a directory of its name.
    pub fn put_all(&self, components: &[&str], files: &[(&str, &[u8])]) -> Ended {
        let build = self.builds.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = format!("input-{build}");
        for (name, content) in files {
            self.write(&format!("{folder}/{name}"), content);
        }
        self.put_from(build, components, &folder)
    }

    /// `out` of a directory below the scratch directory as one component.
    pub fn put_directory(&self, component: &str, folder: &str) -> Ended {
        let build = self.builds.fetch_add(1, Ordering::Relaxed) + 1;
        self.put_from(build, &[component], folder)
    }

    /// The same of several components, each in a directory of its name.
    pub fn put_directories(&self, components: &[&str], folder: &str) -> Ended {
        let build = self.builds.fetch_add(1, Ordering::Relaxed) + 1;
        self.put_from(build, components, folder)
    }

    fn put_from(&self, build: u32, components: &[&str], folder: &str) -> Ended {
        let params = json!({
            "backup": components,
            "from": folder,
            "worker_identity": self.worker_identity,
        });
        let request = json!({"source": self.source, "params": params});
        resource(
            "out",
            Some(self.scratch.path()),
            Some(&build.to_string()),
            &request,
        )
    }

    /// `in` with the recovery identity into a new directory.
    pub fn get(&self, id: &str) -> (Ended, PathBuf) {
        self.get_from(&self.source, id)
    }

    /// The same with another `source`.
    pub fn get_from(&self, source: &Value, id: &str) -> (Ended, PathBuf) {
        let into = tempfile::tempdir_in(self.scratch.path()).unwrap().keep();
        let params = json!({"download": true, "recovery_identity": self.recovery_identity});
        let request = json!({"source": source, "version": {"id": id}, "params": params});
        (resource("in", Some(&into), None, &request), into)
    }

    /// `in` must refuse with a sentence that has these words, and leave no component.
    #[track_caller]
    pub fn refused(&self, id: &str, words: &str) {
        self.refused_from(&self.source, id, words);
    }

    /// The same with another `source`.
    #[track_caller]
    pub fn refused_from(&self, source: &Value, id: &str, words: &str) {
        let (ended, into) = self.get_from(source, id);
        let ended = ended.fails(1);
        let last = ended.last_line();
        assert!(last.contains(words), "`{words}` is not in: {last}");
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        let left: Vec<_> = super::scene::files(&into).into_keys().collect();
        assert!(
            left.iter().all(|path| path == Path::new("backup.json")),
            "{left:?}"
        );
    }

    /// `recover.py` must refuse it too, with the keys that belong to the backup.
    #[track_caller]
    pub fn recover_refuses(&self, id: &str, component: &str, keys: &Path, words: &str) {
        let ended = self.recover(id, component, keys, &self.path("recovered"));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(told.contains(words), "`{words}` is not in: {told}");
        assert!(!self.path("recovered").exists(), "something was left");
    }

    /// `recover.py` over both stores.
    pub fn recover(
        &self,
        id: &str,
        component: &str,
        keys: &Path,
        to: &Path,
    ) -> std::process::Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/recover/recover.py");
        Command::new("python3")
            .arg("-B")
            .arg(script)
            .args(["recover", "--foundation", "prod-east", "--backup", id])
            .args(["--component", component, "--trusted", &self.worker_public])
            .args([Path::new("--keys"), keys, Path::new("--to"), to])
            .args([Path::new("--store"), &self.path("one")])
            .args([Path::new("--store"), &self.path("two")])
            .output()
            .unwrap()
    }

    /// What `recovery.age` of a chain opens to, in a file.
    pub fn opened_keys(&self, chain: &str) -> PathBuf {
        let identity = self.write("recovery-key", self.recovery_identity.as_bytes());
        let sealed = self.path("one").join(chain_file(chain, "recovery.age"));
        let opened = age_opens(&identity, &sealed).unwrap();
        self.write("keys.txt", &opened)
    }

    /// A command of `lifeboat` with the source as its configuration.
    pub fn cli(&self, arguments: &[&str]) -> Ended {
        let document = self.source.to_string();
        super::process::cli(arguments, &[("LIFEBOAT_CONFIG", &document)])
    }

    /// Adds an empty directory store.
    pub fn add_store(&mut self, name: &str) -> PathBuf {
        let added = super::scene::directory_stores(self.scratch.path(), &[name]);
        let stores = self.source["stores"].as_array_mut().unwrap();
        stores.push(added[0].clone());
        self.path(name)
    }

    /// The same source with this store alone.
    pub fn source_of(&self, name: &str) -> Value {
        let mut source = self.source.clone();
        let stores = source["stores"].as_array_mut().unwrap();
        stores.retain(|store| store["name"] == name);
        source["min_copies"] = 1.into();
        source
    }

    /// The manifest's object in a store.
    pub fn manifest_path(&self, store: &str, id: &str) -> PathBuf {
        self.path(store)
            .join(format!("prod-east/backups/{id}.json"))
    }

    /// The manifest's first line.
    pub fn manifest(&self, id: &str) -> Value {
        let text = std::fs::read_to_string(self.manifest_path("one", id)).unwrap();
        serde_json::from_str(text.lines().next().unwrap()).unwrap()
    }

    /// Objects of a kind (`data`, `index`) in store `one`, relative to the store.
    pub fn objects(&self, kind: &str) -> BTreeSet<PathBuf> {
        let store = self.path("one");
        super::scene::files(&store)
            .into_keys()
            .filter(|path| path.iter().nth(3).is_some_and(|part| part == kind))
            .collect()
    }

    /// Does the same in both stores.
    pub fn in_both(&self, each: impl Fn(&Path)) {
        for store in ["one", "two"] {
            each(&self.path(store));
        }
    }

    /// A manifest as the worker itself would sign it, changed, in both stores under this id.
    pub fn forge(&self, manifest: &Value, id: &str, signer: Option<&str>) {
        let mut bytes = serde_json::to_vec(manifest).unwrap();
        bytes.push(b'\n');
        if let Some(key) = signer {
            let key = lifeboat::secret::Secret::new(key);
            let signer = lifeboat::repo::sign::WorkerIdentity::parse(&key).unwrap();
            let signature = signer.sign(&bytes).unwrap();
            writeln!(bytes, "{}", json!({ "signature": signature })).unwrap();
        }
        for store in ["one", "two"] {
            std::fs::write(self.manifest_path(store, id), &bytes).unwrap();
        }
    }
}

/// `prod-east/chains/CHAIN/FILE`.
pub fn chain_file(chain: &str, file: &str) -> PathBuf {
    format!("prod-east/chains/{chain}/{file}").into()
}

/// `age -d -i IDENTITY FILE`: what it opens to, or what age says.
pub fn age_opens(identity: &Path, file: &Path) -> Result<Vec<u8>, String> {
    let done = Command::new("age")
        .arg("-d")
        .arg("-i")
        .args([identity, file])
        .output()
        .unwrap();
    if done.status.success() {
        Ok(done.stdout)
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

/// Runs a filter such as `zstd -d` over bytes.
pub fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success(), "{program} failed");
    done.stdout
}
