//! Two directory stores with a backup of a small foundation: Ops Manager's record, TAS in bbr's layout
//! with dumps that a real PostgreSQL made. Files that a fault changes before the backup are changed in
//! [`Ground::files`].

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::depot::{Depot, chain_file};
use crate::support::process::{Ended, cli};
use crate::support::scene::files;
use crate::verify::age;

pub(crate) const CUSTOM: &[u8] = include_bytes!("../../fixtures/dumps/postgres-15-custom.dump");
pub(crate) const GZIPPED: &[u8] = include_bytes!("../../fixtures/dumps/postgres-15-plain.sql.gz");
pub(crate) const MYSQL: &str = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n\
    CREATE TABLE `apps` (`id` int);\nINSERT INTO `apps` VALUES (1),(2);\n-- Dump completed on 2026-11-22  1:02:03\n";

/// What a finding must say of a fault.
pub(crate) struct Planted {
    /// The backup that is looked into.
    pub(crate) backup: String,
    /// Words that must stand in whatever finds it.
    pub(crate) words: Vec<String>,
}

/// Whoever verifies, and what there is.
pub(crate) struct Ground {
    pub(crate) depot: Depot,
    /// What opens backups at level contents and above.
    pub(crate) recovery_identity: String,
    /// Of each tar of TAS its files.
    pub(crate) tars: BTreeMap<&'static str, BTreeMap<&'static str, Vec<u8>>>,
    /// The foundation record.
    pub(crate) record: Vec<u8>,
}

impl Ground {
    pub(crate) fn prepare() -> Self {
        let depot = Depot::new();
        let tar = |name: &'static str, content: &[u8]| BTreeMap::from([(name, content.to_vec())]);
        let tars = BTreeMap::from([
            ("database-0-bbr-uaadb.tar", tar("./uaa.artifact", CUSTOM)),
            ("database-1-bbr-uaadb.tar", tar("./uaa.artifact", CUSTOM)),
            (
                "cloud_controller-0-bbr-ccdb.tar",
                tar("./cc.sql", MYSQL.as_bytes()),
            ),
            (
                "credhub-0-bbr-credhubdb.tar",
                tar("./credhub.sql.gz", GZIPPED),
            ),
            (
                "nfs_server-0-blobstore.tar",
                tar(
                    "./cc-droplets/aa/bb/droplet",
                    &crate::replicate::noise(9, 3 << 20),
                ),
            ),
        ]);
        let group = |name: &str, instances: u64| json!({"name": name, "instances": instances});
        let record = json!({
            "format": 1, "foundation": "prod-east",
            "products": [{"guid": "cf-1a2b", "type": "cf", "deployment": "cf-1a2b"}],
            "deployments": [{"name": "cf-1a2b", "kind": "product", "groups": [
                group("database", 2), group("cloud_controller", 1), group("credhub", 1), group("nfs_server", 1),
                group("router", 3),
            ]}],
            "coverage": [{"name": "cf-1a2b", "class": "covered-bbr"}],
        });
        Self {
            recovery_identity: depot.recovery_identity.clone(),
            depot,
            tars,
            record: record.to_string().into_bytes(),
        }
    }

    /// bbr's own records of these tars.
    pub(crate) fn metadata(&self) -> String {
        let mut text = String::from("instances:\n");
        for (tar, files) in &self.tars {
            let mut parts = tar.trim_end_matches(".tar").splitn(3, '-');
            let mut next = || parts.next().unwrap();
            let (group, index, job) = (next(), next(), next());
            text.push_str(&format!("- name: {group}\n  index: \"{index}\"\n  artifacts:\n  - name: {job}\n    checksums:\n"));
            for (name, content) in files {
                let sum = hex::encode(Sha256::digest(content));
                text.push_str(&format!("      {name}: {sum}\n"));
            }
        }
        text.push_str("backup_activity:\n  start_time: 2026/11/22 01:00:00 UTC\n  finish_time: 2026/11/22 01:10:00 UTC\n");
        text
    }

    /// A backup of all of it.
    pub(crate) fn back_up(&self) -> String {
        self.back_up_with(&self.metadata())
    }

    /// The same with these records.
    pub(crate) fn back_up_with(&self, metadata: &str) -> String {
        let ended = self.try_to_back_up(metadata).ok();
        // Nothing is on its way any more.
        self.depot.in_both(|store| {
            for path in files(store).into_keys() {
                age(&store.join(path));
            }
        });
        ended.id()
    }

    pub(crate) fn try_to_back_up(&self, metadata: &str) -> Ended {
        let folder = tempfile::tempdir_in(self.depot.scratch.path())
            .unwrap()
            .keep();
        let (record, tas) = (folder.join("ops-manager"), folder.join("tas"));
        fs::create_dir(&record).unwrap();
        fs::create_dir(&tas).unwrap();
        fs::write(record.join("foundation-record.json"), &self.record).unwrap();
        fs::write(tas.join("metadata"), metadata).unwrap();
        for (name, files) in &self.tars {
            fs::write(tas.join(name), tarred(files)).unwrap();
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        self.depot.put_directories(&["ops-manager", "tas"], name)
    }

    /// What one level says: `found`, `not seen`, or that it stops.
    pub(crate) fn verify(&self, level: &str, planted: &Planted, fault: &str) -> String {
        let mut document = self.depot.source.clone();
        document["worker_identity"] = self.depot.worker_identity.as_str().into();
        document["recovery_identity"] = self.recovery_identity.as_str().into();
        let mut arguments = vec!["verify", "--level", level];
        if ["contents", "restorable"].contains(&level) {
            arguments.push(&planted.backup);
        }
        let ended = cli(&arguments, &[("LIFEBOAT_CONFIG", &document.to_string())]);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        let named = planted
            .words
            .iter()
            .all(|word| said.contains(word.as_str()));
        match ended.code {
            0 if named && !planted.words.is_empty() => "said".to_owned(),
            0 => "not seen".to_owned(),
            3 if named => "found".to_owned(),
            // It cannot begin: there is nothing to say of the backup, and it says why.
            1 if named => "stops, says why".to_owned(),
            code => panic!(
                "{fault}, {level}: {code}, not all of {:?}: {said}",
                planted.words
            ),
        }
    }

    pub(crate) fn manifest(&self, id: &str) -> Value {
        self.depot.manifest(id)
    }

    pub(crate) fn chain(&self, id: &str) -> String {
        self.manifest(id)["chain"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The root of an artifact, below a store.
    pub(crate) fn root(&self, id: &str, artifact: &str) -> PathBuf {
        let manifest = self.manifest(id);
        let components = manifest["components"].as_array().unwrap().iter();
        let mut artifacts =
            components.flat_map(|component| component["artifacts"].as_array().unwrap());
        let found = artifacts.find(|one| one["name"] == artifact).unwrap();
        let name = found["root"].as_str().unwrap().to_owned();
        chain_file(&self.chain(id), &format!("index/{}/{name}", &name[..2]))
    }

    /// An index object that is no root; the first, or the last.
    pub(crate) fn page(&self, id: &str, last: bool) -> PathBuf {
        let manifest = self.manifest(id).to_string();
        let mut pages = self.depot.objects("index").into_iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            !manifest.contains(name)
        });
        if last {
            pages.next_back()
        } else {
            pages.next()
        }
        .unwrap()
    }

    /// Does something to an object, in the first store or in both.
    pub(crate) fn spoil(&self, path: &PathBuf, everywhere: bool, change: impl Fn(&mut Vec<u8>)) {
        for store in ["one", "two"] {
            if store == "one" || everywhere {
                let path = self.depot.path(store).join(path);
                let mut bytes = fs::read(&path).unwrap();
                change(&mut bytes);
                fs::write(path, bytes).unwrap();
            }
        }
    }

    pub(crate) fn remove(&self, path: &PathBuf, everywhere: bool) {
        for store in ["one", "two"] {
            if store == "one" || everywhere {
                fs::remove_file(self.depot.path(store).join(path)).unwrap();
            }
        }
    }
}

fn tarred(files: &BTreeMap<&'static str, Vec<u8>>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut folder = tar::Header::new_gnu();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_size(0);
    folder.set_mode(0o700);
    append(&mut tar, folder, "./", &[]);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        append(&mut tar, header, name, content);
    }
    tar.into_inner().unwrap()
}

/// With the name as bbr's tars have it, which the crate would tidy.
fn append(tar: &mut tar::Builder<Vec<u8>>, mut header: tar::Header, name: &str, content: &[u8]) {
    let field = &mut header.as_old_mut().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}
