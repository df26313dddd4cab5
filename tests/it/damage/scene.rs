//! Two directory stores with three backups in two chains and one that prune dropped; and what comes
//! of one object in them that is damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::replicate::noise;
use crate::support::depot::{Depot, chain_file};
use crate::support::process::{Ended, cli, resource};
use crate::support::scene::files;
use crate::verify::age;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Manifest,
    Recovery,
    Worker,
    Root,
    Page,
    Chunk,
    Dropped,
    Hold,
    Instructions,
}

pub(super) const KINDS: [Kind; 9] = [
    Kind::Manifest,
    Kind::Recovery,
    Kind::Worker,
    Kind::Root,
    Kind::Page,
    Kind::Chunk,
    Kind::Dropped,
    Kind::Hold,
    Kind::Instructions,
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Recovery => "`recovery.age`",
            Self::Worker => "`worker.age`",
            Self::Root => "root",
            Self::Page => "page",
            Self::Chunk => "chunk",
            Self::Dropped => "dropped manifest",
            Self::Hold => "hold",
            Self::Instructions => "`recover.py`, `RECOVERY.md`",
        })
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Damage {
    Missing,
    Truncated,
    Flipped,
    /// Another valid object of its kind, as new.
    Swapped,
    /// A valid one of its kind from before.
    Older,
}

impl Damage {
    pub(super) const ALL: [Self; 5] = [
        Self::Missing,
        Self::Truncated,
        Self::Flipped,
        Self::Swapped,
        Self::Older,
    ];
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Truncated => "truncated",
            Self::Flipped => "bit flipped",
            Self::Swapped => "swapped",
            Self::Older => "older version",
        })
    }
}

/// What each command did.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) check: String,
    pub(super) get: String,
    pub(super) scrub: String,
    pub(super) repair: String,
    pub(super) replicate: String,
    pub(super) prune: String,
    pub(super) next: String,
}

/// The object of a kind that is damaged, and what it is swapped with or was before.
struct Object {
    path: PathBuf,
    swapped: Vec<u8>,
    older: Vec<u8>,
}

/// Stores as they are before any damage.
pub(super) struct Ground {
    depot: Depot,
    /// The newest backup, which the damage is about.
    newest: String,
    big: Vec<u8>,
    objects: BTreeMap<Kind, Object>,
    whole: BTreeMap<PathBuf, Vec<u8>>,
}

impl Ground {
    /// Four nights: two in each chain; the first was dropped, the last is held.
    pub(super) fn prepare() -> Self {
        let mut depot = Depot::new();
        let worker = depot.worker_identity.clone();
        let mut nights: Vec<(String, BTreeSet<PathBuf>)> = Vec::new();
        let mut seen = BTreeSet::new();
        for night in 0..4_u64 {
            if night == 2 {
                // Other recipients: a new chain.
                let more = lifeboat::operation::keygen::generate("second").unwrap();
                let recipients = depot.source["recipients"].as_array_mut().unwrap();
                recipients.push(more.recovery_recipient.into());
            }
            let big = noise(night + 1, 1 << 20);
            let id = depot
                .put("tas", &[("big", &big), ("small", b"x")])
                .ok()
                .id();
            let now: BTreeSet<PathBuf> = files(&depot.path("one")).into_keys().collect();
            nights.push((id, now.difference(&seen).cloned().collect()));
            seen = now;
        }
        let ids: Vec<String> = nights.iter().map(|(id, _)| id.clone()).collect();
        let mut document = depot.source.clone();
        document["retention"] = json!({"keep_last": 3});
        document["worker_identity"] = worker.into();
        cli(&["prune"], &[("LIFEBOAT_CONFIG", &document.to_string())]).ok();
        for (id, why) in [(&ids[2], "another"), (&ids[3], "the first of the month")] {
            depot.cli(&["hold", id, "--why", why]).ok();
        }
        let held = files(&depot.path("one"));
        let read = |path: &Path| held[path].clone();
        let manifest =
            |night: usize| PathBuf::from(format!("prod-east/backups/{}.json", ids[night]));
        let dropped = PathBuf::from(format!("prod-east/dropped/{}.json", ids[0]));
        let parsed = |bytes: &[u8]| -> Value {
            let text = std::str::from_utf8(bytes).unwrap();
            serde_json::from_str(text.lines().next().unwrap()).unwrap()
        };
        let stated = |night: usize| match night {
            0 => parsed(&read(&dropped)),
            _ => parsed(&read(&manifest(night))),
        };
        let chain = |night: usize| stated(night)["chain"]["id"].as_str().unwrap().to_owned();
        assert_ne!(chain(1), chain(3), "one chain");
        let root = |night: usize| {
            let manifest = stated(night);
            let of_big = manifest["components"][0]["artifacts"].as_array().unwrap();
            let of_big = of_big.iter().find(|artifact| artifact["name"] == "big");
            let name = of_big.unwrap()["root"].as_str().unwrap().to_owned();
            let rest = format!("index/{}/{name}", &name[..2]);
            chain_file(&chain(night), &rest)
        };
        let hold = |night: usize| PathBuf::from(format!("prod-east/holds/{}", ids[night]));
        let object = |path: PathBuf, swapped: Vec<u8>, older: Vec<u8>| Object {
            path,
            swapped,
            older,
        };
        let sealed = |part: &str| {
            let but: Vec<PathBuf> = (0..4).map(root).collect();
            let find = |night: usize| {
                let roots = roots_of(&stated(night));
                let mut paths = nights[night].1.iter();
                let wanted = |path: &&PathBuf| {
                    let name = path.file_name().unwrap().to_str().unwrap();
                    path.iter().any(|p| p == part) && !but.contains(path) && !roots.contains(name)
                };
                paths.find(wanted).unwrap().clone()
            };
            object(find(3), read(&find(2)), read(&find(1)))
        };
        let key = |file: &str| {
            object(
                chain_file(&chain(3), file),
                read(&chain_file(&chain(1), file)),
                read(&chain_file(&chain(1), file)),
            )
        };
        let mut earlier_script = read(Path::new("recover.py"));
        earlier_script.extend(b"# of an earlier release\n");
        let objects = BTreeMap::from([
            (
                Kind::Manifest,
                object(manifest(3), read(&manifest(2)), read(&manifest(1))),
            ),
            (Kind::Recovery, key("recovery.age")),
            (Kind::Worker, key("worker.age")),
            (Kind::Root, object(root(3), read(&root(2)), read(&root(1)))),
            (Kind::Page, sealed("index")),
            (Kind::Chunk, sealed("data")),
            (
                Kind::Dropped,
                object(dropped.clone(), read(&manifest(3)), read(&manifest(1))),
            ),
            (Kind::Hold, object(hold(3), read(&hold(2)), read(&hold(2)))),
            (
                Kind::Instructions,
                object(
                    "recover.py".into(),
                    read(Path::new("RECOVERY.md")),
                    earlier_script,
                ),
            ),
        ]);
        // Nothing is on its way any more.
        depot.in_both(|store| {
            for path in files(store).into_keys() {
                age(&store.join(path));
            }
        });
        let whole = files(&depot.path("one"));
        assert_eq!(whole, files(&depot.path("two")));
        Self {
            newest: ids[3].clone(),
            big: noise(4, 1 << 20),
            objects,
            whole,
            depot,
        }
    }

    /// Damages one object in copies of the stores and sees what each command does.
    pub(super) fn try_out(&self, kind: Kind, damage: Damage, everywhere: bool) -> Outcome {
        let looked = Scene::new(self, kind, damage, everywhere);
        Outcome {
            check: looked.check(),
            get: looked.get(),
            scrub: looked.scrub(),
            prune: looked.prune(),
            replicate: Scene::new(self, kind, damage, everywhere).replicate(),
            next: Scene::new(self, kind, damage, everywhere).next_backup(),
            // The last of them to use its stores: it changes them.
            repair: looked.repair(),
        }
    }
}

fn roots_of(manifest: &Value) -> BTreeSet<String> {
    let components = manifest["components"].as_array().unwrap().iter();
    let artifacts = components.flat_map(|component| component["artifacts"].as_array().unwrap());
    let roots = artifacts.map(|artifact| artifact["root"].as_str().unwrap().to_owned());
    roots.collect()
}

/// Copies of the stores with one damaged object.
struct Scene<'a> {
    ground: &'a Ground,
    place: tempfile::TempDir,
    source: Value,
    object: &'a Object,
}

impl<'a> Scene<'a> {
    fn new(ground: &'a Ground, kind: Kind, damage: Damage, everywhere: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut source = ground.depot.source.clone();
        let object = &ground.objects[&kind];
        for (at, store) in ["one", "two"].into_iter().enumerate() {
            let copied = Command::new("cp")
                .arg("-a")
                .args([ground.depot.path(store), place.path().to_owned()])
                .status();
            assert!(copied.unwrap().success());
            source["stores"][at]["path"] = place.path().join(store).to_str().unwrap().into();
            if everywhere || at == 0 {
                spoil(&place.path().join(store).join(&object.path), object, damage);
            }
        }
        Self {
            ground,
            place,
            source,
            object,
        }
    }

    fn cli(&self, arguments: &[&str]) -> Ended {
        self.with(&self.source, arguments)
    }

    fn with(&self, document: &Value, arguments: &[&str]) -> Ended {
        cli(arguments, &[("LIFEBOAT_CONFIG", &document.to_string())])
    }

    fn name(&self) -> &str {
        self.object.path.to_str().unwrap()
    }

    fn is_whole(&self) -> bool {
        let store = |name: &str| files(&self.place.path().join(name));
        store("one") == self.ground.whole && store("two") == self.ground.whole
    }

    fn check(&self) -> String {
        let request = json!({"source": self.source, "version": null});
        let listed = resource("check", None, None, &request).ok();
        let found = listed.stdout.contains(&self.ground.newest);
        if found {
            "lists it"
        } else {
            "does not list it"
        }
        .to_owned()
    }

    fn get(&self) -> String {
        let (ended, into) = self
            .ground
            .depot
            .get_from(&self.source, &self.ground.newest);
        let told = match ended.code {
            0 if fs::read(into.join("tas/big")).unwrap() == self.ground.big => "gives it back",
            0 => "gives back other bytes",
            _ => {
                assert!(!into.join("tas").exists(), "something was left");
                "refuses"
            }
        };
        fs::remove_dir_all(into).unwrap();
        told.to_owned()
    }

    fn scrub(&self) -> String {
        let ended = self.cli(&["verify", "--level", "scrub"]);
        match ended.code {
            0 => "nothing is wrong",
            3 if ended.stdout.contains(self.name()) => "names it",
            _ => panic!("{}{}", ended.stdout, ended.stderr),
        }
        .to_owned()
    }

    fn repair(&self) -> String {
        let ended = self.cli(&["repair", "--read"]);
        let told = match ended.code {
            0 if ended.stdout.contains("0 objects restored") => "nothing to do",
            0 => {
                assert!(self.is_whole(), "{}", ended.stdout);
                "restores it"
            }
            3 if ended.stdout.contains(self.name()) => "says that it is lost",
            _ => panic!("{}{}", ended.stdout, ended.stderr),
        };
        told.to_owned()
    }

    fn replicate(&self) -> String {
        let ended = self.cli(&["replicate"]);
        let told = match ended.code {
            0 if self.is_whole() => "restores it",
            0 => "does not see it",
            3 => "names it",
            _ => panic!("{}{}", ended.stdout, ended.stderr),
        };
        told.to_owned()
    }

    fn prune(&self) -> String {
        let mut document = self.source.clone();
        document["retention"] = json!({"keep_last": 3});
        document["worker_identity"] = self.ground.depot.worker_identity.as_str().into();
        let ended = self.with(&document, &["prune", "--dry-run"]);
        match ended.code {
            0 => "goes on",
            1 | 3 => "deletes nothing, says why",
            _ => panic!("{}{}", ended.stdout, ended.stderr),
        }
        .to_owned()
    }

    fn next_backup(&self) -> String {
        let input = self.place.path().join("input");
        fs::create_dir(&input).unwrap();
        fs::write(input.join("big"), &self.ground.big).unwrap();
        let request = json!({"source": self.source, "params": {
            "backup": ["tas"], "from": "input",
            "worker_identity": self.ground.depot.worker_identity,
        }});
        let ended = resource("out", Some(self.place.path()), Some("99"), &request);
        match ended.code {
            0 if ended.stderr.contains("continuing chain") => "continues",
            0 if ended.stderr.contains("beginning chain") => "begins a new chain",
            0 => panic!("{}", ended.stderr),
            _ => "fails",
        }
        .to_owned()
    }
}

fn spoil(path: &Path, object: &Object, damage: Damage) {
    let mut bytes = fs::read(path).unwrap();
    match damage {
        Damage::Missing => return fs::remove_file(path).unwrap(),
        Damage::Truncated => bytes.truncate(bytes.len() / 2),
        Damage::Flipped => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Damage::Swapped => bytes.clone_from(&object.swapped),
        Damage::Older => bytes.clone_from(&object.older),
    }
    fs::write(path, bytes).unwrap();
}
