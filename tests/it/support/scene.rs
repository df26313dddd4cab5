//! A scratch foundation, stores and keys, and the configuration that an operator would write
//! for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::foundation::Foundation;
use super::process::{self, Ended, resource, start_resource};

/// Everything one test needs.
#[derive(Debug)]
pub struct Scene {
    /// The foundation.
    pub foundation: Foundation,
    /// The resource's `source`; a test may change it.
    pub source: Value,
    /// The put's `params`, without `backup`; a test may change them.
    pub params: Value,
    /// `AGE-SECRET-KEY-1…`.
    pub recovery_identity: String,
    /// Where directory stores and what is fetched lie; removed at the end.
    pub scratch: tempfile::TempDir,
    builds: AtomicU32,
}

impl Scene {
    /// A foundation by its spec, and two directory stores `one` and `two`.
    pub fn new(spec: &Value) -> Self {
        Self::with_stores(spec, &["one", "two"])
    }

    /// The same with these directory stores. Stores of the spec (S3) are not used by
    /// themselves: put [`Scene::s3`] into `source.stores`.
    pub fn with_stores(spec: &Value, names: &[&str]) -> Self {
        let foundation = Foundation::start(spec);
        let scratch = tempfile::tempdir().unwrap();
        let stores = directory_stores(scratch.path(), names);
        let worker = lifeboat::operation::keygen::generate("scene").unwrap();
        let source = json!({
            "foundation": "prod-east",
            "stores": stores,
            "recipients": [worker.recovery_recipient],
            "trusted_workers": [worker.worker_public],
        });
        let mut params = json!({"worker_identity": worker.worker_identity.expose()});
        let ready = &foundation.ready;
        if let Some(director) = ready["director"].as_object() {
            params["bosh"] = json!({
                "environment": director["url"],
                "client": director["client"],
                "client_secret": director["client_secret"],
                "ca_cert": ready["ca_cert"],
            });
        }
        if let Some(host) = ready["hosts"]
            .as_object()
            .and_then(|hosts| hosts.values().next())
        {
            let key = std::fs::read_to_string(host["private_key_file"].as_str().unwrap()).unwrap();
            params["director"] = json!({
                "host": host["address"],
                "username": host["username"],
                "private_key": key,
                "host_key": host["host_public_key"],
            });
        }
        Self {
            foundation,
            source,
            params,
            recovery_identity: worker.recovery_identity.expose().to_owned(),
            scratch,
            builds: AtomicU32::new(0),
        }
    }

    /// The configuration of an S3 store of the spec.
    pub fn s3(&self, name: &str) -> Value {
        let store = &self.foundation.ready["stores"][name];
        assert!(store.is_object(), "the spec has no store {name}");
        let mut config = json!({
            "name": name,
            "bucket": store["buckets"][0],
            "endpoint": store["endpoint"],
            "region": store["region"],
            "access_key_id": store["access_key_id"],
            "secret_access_key": store["secret_access_key"],
            "use_path_style": true,
        });
        if store["endpoint"].as_str().unwrap().starts_with("https") {
            config["ca_cert"] = self.foundation.ready["ca_cert"].clone();
        }
        config
    }

    /// The request of a put with these additional params.
    pub fn put_request(&self, more: &Value) -> Value {
        let mut params = self.params.clone();
        merge(&mut params, more);
        json!({"source": self.source, "params": params})
    }

    /// `out` in a build of its own with these additional params, such as
    /// `{"backup": ["deployment/dep"]}`.
    pub fn put(&self, more: &Value) -> Ended {
        let build = self.builds.fetch_add(1, Ordering::Relaxed) + 1;
        resource(
            "out",
            Some(self.scratch.path()),
            Some(&build.to_string()),
            &self.put_request(more),
        )
    }

    /// The same, started only.
    pub fn start_put(&self, more: &Value) -> std::process::Child {
        let build = self.builds.fetch_add(1, Ordering::Relaxed) + 1;
        start_resource(
            "out",
            Some(self.scratch.path()),
            Some(&build.to_string()),
            &self.put_request(more),
        )
    }

    /// `check` without a version: the ids it lists.
    pub fn check(&self) -> Vec<String> {
        resource("check", None, None, &json!({"source": self.source}))
            .ok()
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|version| version["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// `in` with these params into a new directory.
    pub fn get(&self, id: &str, params: &Value) -> (Ended, PathBuf) {
        let into = tempfile::tempdir_in(self.scratch.path()).unwrap().keep();
        let mut params = params.clone();
        if params["download"] == true {
            params["recovery_identity"] = self.recovery_identity.clone().into();
        }
        let request = json!({"source": self.source, "version": {"id": id}, "params": params});
        (resource("in", Some(&into), None, &request), into)
    }

    /// `in` with `download: true`, which must succeed.
    pub fn download(&self, id: &str) -> PathBuf {
        let (ended, into) = self.get(id, &json!({"download": true}));
        ended.ok();
        into
    }

    /// The command line with this configuration and `more`, and what opens backups.
    pub fn lifeboat(&self, arguments: &[&str], more: &Value) -> Command {
        let mut config = self.source.clone();
        merge(&mut config, &self.params);
        config["recovery_identity"] = self.recovery_identity.clone().into();
        merge(&mut config, more);
        let mut command = process::command("lifeboat", arguments);
        command.env("LIFEBOAT_CONFIG", config.to_string());
        command
    }

    /// `lifeboat restore STEP`, with a backup or `--from`, into the confirmed target.
    pub fn restore(&self, step: &str, more: &[&str]) -> Ended {
        process::finish(process::start(self.restore_command(step, more), ""))
    }

    /// The same, not started.
    pub fn restore_command(&self, step: &str, more: &[&str]) -> Command {
        let arguments = [&["restore", step], more].concat();
        let confirmed = json!({"confirm_target": self.source["foundation"]});
        self.lifeboat(&arguments, &confirmed)
    }

    /// The directory of a directory store.
    pub fn store(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// New directories as stores of these names, as a configuration names them.
pub fn directory_stores(scratch: &Path, names: &[&str]) -> Vec<Value> {
    names
        .iter()
        .map(|name| {
            let path = scratch.join(name);
            std::fs::create_dir(&path).unwrap();
            json!({"name": name, "path": path})
        })
        .collect()
}

/// Puts the keys of `more` over those of `into`, objects within objects.
pub fn merge(into: &mut Value, more: &Value) {
    let (Some(into), Some(more)) = (into.as_object_mut(), more.as_object()) else {
        *into = more.clone();
        return;
    };
    for (key, value) in more {
        match into.get_mut(key) {
            Some(old) if old.is_object() && value.is_object() => merge(old, value),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

/// All regular files below a directory with their contents, names relative to it.
pub fn files(directory: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let name = entry.path().strip_prefix(directory).unwrap().to_owned();
                found.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}
