//! Recovery without Lifeboat: RECOVERY.md as it lies in the store, its blocks run literally with
//! nothing but the programs that it asks for, compared with what `in` wrote.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::support::depot::Depot;
use crate::support::foundation::path_with_tools;
use crate::support::process;
use crate::support::scene::{Scene, files};

/// What RECOVERY.md asks for, and what every Linux has.
const PROGRAMS: &[&str] = &[
    "age",
    "zstd",
    "ssh-keygen",
    "sh",
    "cat",
    "cut",
    "env",
    "head",
    "ls",
    "mkdir",
    "rm",
    "sha256sum",
    "tar",
];

/// A directory with these programs and no other.
fn programs(scene: &Scene) -> PathBuf {
    let folder = scene.scratch.path().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let path = path_with_tools();
    for program in PROGRAMS {
        let found = std::env::split_paths(&path)
            .map(|directory| directory.join(program))
            .find(|candidate| candidate.is_file())
            .unwrap_or_else(|| panic!("{program} is not installed; ci/setup does that"));
        let link = folder.join(program);
        if !link.exists() {
            symlink(found, link).unwrap();
        }
    }
    // The interpreter itself: `python3` on PATH may be a manager's shim.
    let python = Command::new("python3")
        .args([
            "-c",
            "import os, sys; print(os.path.realpath(sys.executable))",
        ])
        .output()
        .unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    let link = folder.join("python3");
    if !link.exists() {
        symlink(python.trim(), link).unwrap();
    }
    folder
}

/// The blocks of a Markdown text that are marked with this word, one after another.
fn blocks(text: &str, word: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None::<String>);
    for line in text.lines() {
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == format!("```{word}") => open = Some(String::new()),
            None => {}
        }
    }
    found
}

/// One person with a copy of a store, a recovery key and the recovery sheet.
struct WorstDay<'a> {
    scene: &'a Scene,
    store: PathBuf,
    key: PathBuf,
    bin: PathBuf,
}

impl<'a> WorstDay<'a> {
    fn new(scene: &'a Scene) -> Self {
        let key = scene.scratch.path().join("recovery-key.txt");
        fs::write(&key, format!("{}\n", scene.recovery_identity)).unwrap();
        Self {
            scene,
            store: scene.store("two"),
            key,
            bin: programs(scene),
        }
    }

    fn run(&self, script: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
        fs::create_dir_all(folder).unwrap();
        Command::new(self.bin.join("sh"))
            .args(["-c", script])
            .current_dir(folder)
            .env_clear()
            .env("PATH", &self.bin)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// Follows RECOVERY.md to its end. Returns what it made and the directory it was done in.
    #[track_caller]
    fn follow(&self, name: &str, id: &str, component: &str) -> (PathBuf, PathBuf) {
        let text = fs::read_to_string(self.store.join("RECOVERY.md")).unwrap();
        let steps = blocks(&text, "sh");
        assert!(steps.len() > 8, "{} blocks", steps.len());
        let work = self.scene.scratch.path().join(name);
        let to = work.join("recovered");
        let trusted = self.scene.source["trusted_workers"][0].as_str().unwrap();
        let done = self.run(
            &format!("set -e\n{}", steps.concat()),
            &work,
            &[
                ("STORE", self.store.to_str().unwrap()),
                ("FOUNDATION", "prod-east"),
                ("BACKUP", id),
                ("COMPONENT", component),
                ("RECOVERY_KEY", self.key.to_str().unwrap()),
                ("TRUSTED", trusted),
                ("TO", to.to_str().unwrap()),
            ],
        );
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(done.status.success(), "{told}");
        assert!(told.contains("Good \"lifeboat\" signature"), "{told}");
        assert!(told.contains(", all with the right SHA-256"), "{told}");
        assert!(!work.join("keys.txt").exists(), "the opened keys stay");
        (to, work)
    }
}

/// Both directories hold the same files, byte for byte.
#[track_caller]
fn same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (files(ours), files(theirs));
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>()
    );
    for (name, content) in &ours {
        assert!(content == &theirs[name], "{} differs", name.display());
    }
}

#[test]
fn a_foundation_is_recovered_with_age_zstd_and_python_alone() {
    let options = json!({"blobs": 300, "big_blobs": 1, "unlock_seconds": 0, "rows": 50, "cells": 1, "wild": true, "service_instances": 0});
    let scene = Scene::new(&json!({"fixture": "tas", "tas": options}));
    let backup = json!({"backup": ["director", "deployment/cf"], "with_manifest": true});
    scene.put(&backup).ok();
    scene.foundation.ask(
        json!({"do": "churn", "instance": "blobstore/blobstore-0", "path": "/var/vcap/store/shared", "share": 0.01}),
    );
    // Most of it lies in what an earlier backup stored.
    let put = scene.put(&backup).ok();
    assert!(
        put.log().contains("files taken over from the base"),
        "{}",
        put.log()
    );
    scene.foundation.assert_clean();
    let id = put.id();
    let fetched = scene.download(&id);
    let day = WorstDay::new(&scene);

    let (deployment, work) = day.follow("tas", &id, "deployment/cf");
    same(&fetched.join("deployment/cf"), &deployment);
    let names: Vec<_> = files(&deployment).into_keys().collect();
    assert!(
        names.contains(&"metadata".into()) && names.contains(&"manifest.yml".into()),
        "{names:?}"
    );
    let metadata = fs::read_to_string(deployment.join("metadata")).unwrap();
    for part in [
        "instances:\n",
        "custom_artifacts:\n",
        "!!binary ",
        "backup_activity:\n",
        "\\x0a",
    ] {
        assert!(metadata.contains(part), "{part} is not in {metadata}");
    }
    // By hand, without recover.py: the first artifact of the component.
    for (name, content) in files(&work.join("by-hand")) {
        assert!(
            content == fs::read(deployment.join(&name)).unwrap(),
            "{}",
            name.display()
        );
    }

    let (director, _) = day.follow("director", &id, "director");
    same(&fetched.join("director"), &director);

    // recovery.age is lost: the manifest has its text.
    let chains = day.store.join("prod-east/chains");
    for chain in fs::read_dir(&chains).unwrap() {
        fs::remove_file(chain.unwrap().path().join("recovery.age")).unwrap();
    }
    let (again, _) = day.follow("without-recovery-age", &id, "director");
    same(&fetched.join("director"), &again);

    the_signature_is_checked_by_hand(&day, &id);

    // Somebody who was not there when the chain began, and whose key was added.
    let added = lifeboat::operation::keygen::generate("added").unwrap();
    let mut configuration = scene.source.clone();
    configuration["recovery_identity"] = scene.recovery_identity.as_str().into();
    let document = configuration.to_string();
    let arguments = ["recipients", "add", &added.recovery_recipient];
    process::cli(&arguments, &[("LIFEBOAT_CONFIG", &document)]).ok();
    fs::write(&day.key, added.recovery_identity.expose()).unwrap();
    let (theirs, _) = day.follow("added-later", &id, "director");
    same(&fetched.join("director"), &theirs);
}

/// The block of docs/format.md, with the two names that a person would put in.
fn the_signature_is_checked_by_hand(day: &WorstDay<'_>, id: &str) {
    let format =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md")).unwrap();
    let block = blocks(&format, "")
        .into_iter()
        .find(|block| block.contains("ssh-keygen -Y verify"))
        .expect("docs/format.md shows how a signature is checked by hand");
    let trusted = day.scene.source["trusted_workers"][0].as_str().unwrap();
    let block = block
        .replace("ID.json", &format!("{id}.json"))
        .replace("ssh-ed25519 AAAA…", trusted);
    let work = day.scene.scratch.path().join("by-hand");
    fs::create_dir_all(&work).unwrap();
    let manifest = fs::read(day.store.join(format!("prod-east/backups/{id}.json"))).unwrap();
    fs::write(work.join(format!("{id}.json")), &manifest).unwrap();
    let done = day.run(&block, &work, &[]);
    assert!(done.status.success(), "{done:?}");
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(
        told.starts_with("Good \"lifeboat\" signature for worker"),
        "{told}"
    );
    // One byte of the line changed: no longer.
    let changed = String::from_utf8(manifest)
        .unwrap()
        .replacen("complete", "Complete", 1);
    fs::write(work.join(format!("{id}.json")), changed).unwrap();
    assert!(!day.run(&block, &work, &[]).status.success());
}

#[test]
fn signatures_are_those_of_openssh_in_both_directions() {
    use lifeboat::repo::sign::{NAMESPACE, Signers, WorkerIdentity};
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let keygen = |arguments: &[&str], input: &str| {
        let mut command = Command::new("ssh-keygen");
        fs::write(path("input"), input).unwrap();
        let stdin = fs::File::open(path("input")).unwrap();
        let done = command
            .args(arguments)
            .stdin(stdin)
            .current_dir(scratch.path())
            .output()
            .unwrap();
        (
            done.status.success(),
            String::from_utf8(done.stdout).unwrap(),
        )
    };
    assert!(
        keygen(
            &[
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "a comment",
                "-f",
                "key"
            ],
            ""
        )
        .0
    );
    let text = lifeboat::secret::Secret::new(fs::read_to_string(path("key")).unwrap());
    let worker = WorkerIdentity::parse(&text).unwrap();
    let line = "{\"format\":1}\n";

    fs::write(path("sig"), worker.sign(line.as_bytes()).unwrap()).unwrap();
    fs::write(path("trusted"), format!("worker {}\n", worker.public())).unwrap();
    let verify = [
        "-Y", "verify", "-f", "trusted", "-I", "worker", "-n", NAMESPACE, "-s", "sig",
    ];
    assert!(keygen(&verify, line).0);
    assert!(!keygen(&verify, "{\"format\":1}").0, "without the newline");
    let mut other = verify;
    other[7] = "file";
    assert!(!keygen(&other, line).0, "another namespace");

    let signers = Signers::default().and(Some(&worker));
    for (namespace, good) in [(NAMESPACE, true), ("file", false)] {
        let (made, signature) = keygen(&["-q", "-Y", "sign", "-n", namespace, "-f", "key"], line);
        assert!(made);
        assert_eq!(
            signers.signer(line.as_bytes(), &signature).is_some(),
            good,
            "{namespace}"
        );
    }
    let (_, sha256) = keygen(
        &[
            "-q",
            "-Y",
            "sign",
            "-O",
            "hashalg=sha256",
            "-n",
            NAMESPACE,
            "-f",
            "key",
        ],
        line,
    );
    assert!(
        signers.signer(line.as_bytes(), &sha256).is_some(),
        "OpenSSH takes both hashes"
    );
}

/// Everything below a directory: kind, mode, time, content or target.
fn everything(directory: &Path) -> Vec<(PathBuf, u32, i64, Vec<u8>)> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for path in fs::read_dir(next)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let status = fs::symlink_metadata(&path).unwrap();
            let content = if status.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec()
            } else if status.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(directory).unwrap().to_owned();
            found.push((name, status.mode(), status.mtime(), content));
        }
    }
    found.sort();
    found
}

#[test]
fn a_directory_of_any_kind_comes_back_through_both_readers() {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let depot = Depot::new();
    let long = format!("tree/{}/{}", "long".repeat(30), "name".repeat(40));
    let input = depot.path("tree-source");
    let files: [(&str, &[u8]); 4] = [
        ("tree/bin/run", b"#!/bin/sh\n"),
        (&long, b"deep"),
        ("tree/empty", b""),
        ("plain", b"beside it"),
    ];
    for (name, content) in files {
        depot.write(&format!("tree-source/{name}"), content);
    }
    fs::write(
        input.join(std::ffi::OsStr::from_bytes(b"tree/\xff \n'")),
        b"odd",
    )
    .unwrap();
    fs::create_dir(input.join("tree/nothing in it")).unwrap();
    symlink("bin/run", input.join("tree/link")).unwrap();
    symlink("/else/".repeat(30), input.join("tree/far")).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(input.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("tree/bin/run", 0o751);
    mode("tree/empty", 0o400);
    mode("tree/nothing in it", 0o500);
    let touched = Command::new("touch")
        .args([
            "-h",
            "-d",
            "2001-02-03T04:05:06Z",
            "tree/bin/run",
            "tree/link",
            "tree/nothing in it",
        ])
        .current_dir(&input)
        .status();
    assert!(touched.unwrap().success());
    let put = depot.put_directory("director", "tree-source").ok();
    let (ended, into) = depot.get(&put.id());
    ended.ok();
    let ours = into.join("director/directory");
    assert_eq!(everything(&ours), everything(&input));
    let chain = depot.manifest(&put.id())["chain"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let to = depot.path("recovered");
    let done = depot.recover(&put.id(), "director", &depot.opened_keys(&chain), &to);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(everything(&to.join("directory")), everything(&ours));
}

#[test]
fn a_tar_that_no_reader_would_give_back_is_kept_as_a_plain_file() {
    let depot = Depot::new();
    depot.write("content/file", b"x");
    let tars = depot.path("tars");
    fs::create_dir(&tars).unwrap();
    for (name, arguments) in [
        ("dotted.tar", ["-C", "content", "."]),
        ("bare.tar", ["-C", "content", "file"]),
    ] {
        let made = Command::new("tar")
            .arg("-cf")
            .arg(tars.join(name))
            .args(arguments)
            .current_dir(depot.scratch.path())
            .status();
        assert!(made.unwrap().success());
    }
    let put = depot.put_directory("tas", "tars").ok();
    assert!(
        put.stderr.contains("bare.tar is kept as a plain file"),
        "{}",
        put.stderr
    );
    let artifacts = &depot.manifest(&put.id())["components"][0]["artifacts"];
    assert_eq!(
        (&artifacts[0]["form"], &artifacts[1]["form"]),
        (&json!("file"), &json!("tar"))
    );
    let (ended, into) = depot.get(&put.id());
    ended.ok();
    same(&into.join("tas"), &tars);
}
