//! Faults of what is stored: time, disks, and strangers with the bucket.

use std::path::PathBuf;

use serde_json::json;

use super::Fault;
use super::ground::{Ground, Planted};
use crate::support::depot::chain_file;

const BLOBS: &str = "nfs_server-0-blobstore.tar";
const UAA: &str = "database-0-bbr-uaadb.tar";
const CC: &str = "cloud_controller-0-bbr-ccdb.tar";

pub(super) fn faults() -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |what, place, must, plant| {
        faults.push(Fault {
            what,
            place,
            must,
            plant,
        });
    };
    let scrub: &[&str] = &["scrub"];
    let inside: &[&str] = &["contents", "restorable"];
    let every: &[&str] = &["scrub", "contents", "restorable"];

    add("nothing at all", "", &[], |ground| {
        planted(&ground.back_up(), &[])
    });
    add("chunk missing", "one", every, |ground| {
        chunk(ground, false, Harm::Missing)
    });
    add("chunk missing", "all", inside, |ground| {
        chunk(ground, true, Harm::Missing)
    });
    add("chunk cut short", "one", every, |ground| {
        chunk(ground, false, Harm::Short)
    });
    add("chunk cut short", "all", every, |ground| {
        chunk(ground, true, Harm::Short)
    });
    add("chunk with a flipped bit", "one", every, |ground| {
        chunk(ground, false, Harm::Flipped)
    });
    add("chunk with a flipped bit", "all", every, |ground| {
        chunk(ground, true, Harm::Flipped)
    });
    add(
        "chunk swapped with another valid one",
        "all",
        every,
        |ground| chunk(ground, true, Harm::Swapped),
    );
    add("page missing", "all", inside, |ground| {
        page(ground, true, Harm::Missing)
    });
    add("page with a flipped bit", "one", every, |ground| {
        page(ground, false, Harm::Flipped)
    });
    add(
        "page swapped with another valid one",
        "all",
        every,
        |ground| page(ground, true, Harm::Swapped),
    );
    add("root missing", "one", every, |ground| {
        root(ground, false, Harm::Missing)
    });
    add("root missing", "all", every, |ground| {
        root(ground, true, Harm::Missing)
    });
    add(
        "root swapped with that of another artifact",
        "all",
        every,
        |ground| root(ground, true, Harm::Swapped),
    );
    add("`recovery.age` damaged", "one", scrub, |ground| {
        key_file(ground, "recovery.age", false)
    });
    add("`recovery.age` damaged", "all", scrub, |ground| {
        key_file(ground, "recovery.age", true)
    });
    add("`worker.age` damaged", "all", scrub, |ground| {
        key_file(ground, "worker.age", true)
    });
    add("manifest missing", "one", &[], |ground| {
        let id = ground.back_up();
        let path = manifest_path(&id);
        ground.remove(&path, false);
        planted(&id, &["store one does not list this backup"])
    });
    add("manifest missing", "all", inside, |ground| {
        let id = ground.back_up();
        ground.remove(&manifest_path(&id), true);
        planted(&id, &[&format!("there is no backup {id}")])
    });
    add("manifest with a flipped bit", "one", scrub, |ground| {
        let id = ground.back_up();
        let path = manifest_path(&id);
        ground.spoil(&path, false, |bytes| flip(bytes));
        planted(&id, &[path.to_str().unwrap()])
    });
    add(
        "manifest forged: changed, and signed by a stranger",
        "all",
        every,
        |ground| {
            let id = ground.back_up();
            let mut manifest = ground.manifest(&id);
            manifest["components"][1]["artifacts"] = json!([]);
            let stranger = lifeboat::operation::keygen::generate("stranger").unwrap();
            let stranger = stranger.worker_identity.expose().to_owned();
            ground.depot.forge(&manifest, &id, Some(&stranger));
            planted(&id, &["none of trusted_workers signed it"])
        },
    );
    add(
        "manifest of an older backup under this name",
        "all",
        every,
        |ground| {
            let older = ground.back_up();
            let id = ground.back_up();
            let old = std::fs::read(ground.depot.path("one").join(manifest_path(&older))).unwrap();
            ground.spoil(&manifest_path(&id), true, |bytes| bytes.clone_from(&old));
            planted(&id, &["it was renamed or replayed"])
        },
    );
    add(
        "the newest backup taken away, an older one left",
        "all",
        &[],
        |ground| {
            let older = ground.back_up();
            let newest = ground.back_up();
            ground.remove(&manifest_path(&newest), true);
            planted(&older, &[])
        },
    );
    add(
        "a recovery identity of somebody else",
        "",
        inside,
        |ground| {
            let id = ground.back_up();
            let other = lifeboat::operation::keygen::generate("other").unwrap();
            ground.recovery_identity = other.recovery_identity.expose().to_owned();
            planted(&id, &["the recovery identity does not open"])
        },
    );
    add(
        "a store that is away",
        "one",
        &["listed", "scrub"],
        |ground| {
            let id = ground.back_up();
            ground.depot.source["limits"] = json!({"store_timeout": "1s"});
            let away = ground.depot.path("away");
            std::fs::rename(ground.depot.path("one"), away).unwrap();
            planted(&id, &["store one"])
        },
    );
    faults
}

fn planted(id: &str, words: &[&str]) -> Planted {
    Planted {
        backup: id.to_owned(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

fn manifest_path(id: &str) -> PathBuf {
    format!("prod-east/backups/{id}.json").into()
}

#[derive(Clone, Copy, PartialEq)]
enum Harm {
    Missing,
    Short,
    Flipped,
    Swapped,
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

/// Harms an object of the backup, or puts another one's bytes in its place; the finding names it.
fn harm(
    ground: &Ground,
    id: &str,
    path: &PathBuf,
    other: &PathBuf,
    everywhere: bool,
    harm: Harm,
) -> Planted {
    match harm {
        Harm::Missing => ground.remove(path, everywhere),
        Harm::Short => ground.spoil(path, everywhere, |bytes| bytes.truncate(bytes.len() / 2)),
        Harm::Flipped => ground.spoil(path, everywhere, |bytes| flip(bytes)),
        Harm::Swapped => {
            assert_ne!(path, other);
            let bytes = std::fs::read(ground.depot.path("one").join(other)).unwrap();
            ground.spoil(path, everywhere, |old| old.clone_from(&bytes));
        }
    }
    planted(id, &[path.to_str().unwrap()])
}

fn chunk(ground: &Ground, everywhere: bool, how: Harm) -> Planted {
    let id = ground.back_up();
    let chunks = ground.depot.objects("data");
    let (first, last) = (chunks.first().unwrap(), chunks.last().unwrap());
    harm(ground, &id, first, last, everywhere, how)
}

fn page(ground: &Ground, everywhere: bool, how: Harm) -> Planted {
    let id = ground.back_up();
    let (first, last) = (ground.page(&id, false), ground.page(&id, true));
    harm(ground, &id, &first, &last, everywhere, how)
}

fn root(ground: &Ground, everywhere: bool, how: Harm) -> Planted {
    let id = ground.back_up();
    let (one, other) = (ground.root(&id, UAA), ground.root(&id, CC));
    assert_ne!(one, ground.root(&id, BLOBS));
    harm(ground, &id, &one, &other, everywhere, how)
}

fn key_file(ground: &Ground, file: &str, everywhere: bool) -> Planted {
    let id = ground.back_up();
    let path = chain_file(&ground.chain(&id), file);
    ground.spoil(&path, everywhere, |bytes| flip(bytes));
    planted(&id, &[path.to_str().unwrap()])
}
