//! Faults of what was backed up: it was so on the instances, or in the directory that was stored. Every
//! byte of it is stored as it was, so digests say nothing.

use std::collections::BTreeMap;

use super::Fault;
use super::ground::{CUSTOM, GZIPPED, Ground, MYSQL, Planted};

const UAA: &str = "database-0-bbr-uaadb.tar";
const UAA_1: &str = "database-1-bbr-uaadb.tar";
const CC: &str = "cloud_controller-0-bbr-ccdb.tar";
const CREDHUB: &str = "credhub-0-bbr-credhubdb.tar";

pub(super) fn faults() -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |what, must, plant| {
        faults.push(Fault {
            what,
            place: "before",
            must,
            plant,
        });
    };
    let restorable: &[&str] = &["restorable"];

    add("a `pg_dump` archive cut short", restorable, |ground| {
        dump(ground, UAA, "./uaa.artifact", &CUSTOM[..CUSTOM.len() - 40])
    });
    add("a `mysqldump` text cut short", restorable, |ground| {
        dump(
            ground,
            CC,
            "./cc.sql",
            &MYSQL.as_bytes()[..MYSQL.len() - 60],
        )
    });
    add("a gzipped dump cut short", restorable, |ground| {
        dump(
            ground,
            CREDHUB,
            "./credhub.sql.gz",
            &GZIPPED[..GZIPPED.len() / 2],
        )
    });
    add("a dump of no bytes", restorable, |ground| {
        dump(ground, UAA, "./uaa.artifact", b"")
    });
    add("a dump of a database without tables", &[], |ground| {
        let bare = MYSQL.replace("CREATE TABLE `apps` (`id` int);", "");
        let id = {
            ground
                .tars
                .get_mut(CC)
                .unwrap()
                .insert("./cc.sql", bare.into_bytes());
            ground.back_up()
        };
        planted(id, &["empty database"])
    });
    add("a dump in a form that nobody knows", &[], |ground| {
        dump(ground, UAA, "./uaa.artifact", b"half of something")
    });
    add(
        "`metadata` names an artifact that is not there",
        restorable,
        |ground| {
            let metadata = ground.metadata();
            ground.tars.remove(CREDHUB);
            let id = ground.back_up_with(&metadata);
            planted(id, &[CREDHUB, "is recorded in metadata, but is not there"])
        },
    );
    add("an instance without its artifact", restorable, |ground| {
        ground.tars.remove(UAA_1);
        let id = ground.back_up();
        planted(id, &["instance group database had 2 instances", "index 0"])
    });
    add(
        "artifacts of another deployment under this name",
        restorable,
        |ground| {
            let files = BTreeMap::from([("./dump.rdb", b"REDIS0011".to_vec())]);
            ground.tars = BTreeMap::from([("redis-0-redis-server.tar", files)]);
            let id = ground.back_up();
            planted(id, &["redis-0-redis-server.tar", "another deployment"])
        },
    );
    add("`metadata` with another checksum", restorable, |ground| {
        let metadata = ground.metadata();
        ground
            .tars
            .get_mut(UAA)
            .unwrap()
            .insert("./uaa.artifact", [CUSTOM, b"\0"].concat());
        let id = ground.back_up_with(&metadata);
        planted(id, &[UAA, "is corrupted"])
    });
    add("`metadata` that is no YAML", restorable, |ground| {
        let id = ground.back_up_with("instances: [");
        planted(id, &["metadata cannot be validated"])
    });
    add("a foundation record that is none", restorable, |ground| {
        ground.record.truncate(40);
        let id = ground.back_up();
        planted(id, &["is no foundation record"])
    });
    add(
        "a deployment that the record says is in it",
        restorable,
        |ground| {
            let text = String::from_utf8(ground.record.clone()).unwrap();
            let more = r#""coverage":[{"name":"p-redis-1","class":"covered-bbr"},"#;
            ground.record = text.replace(r#""coverage":["#, more).into_bytes();
            let id = ground.back_up();
            planted(id, &["p-redis-1 is in this backup, and it is not"])
        },
    );
    faults
}

fn planted(backup: String, words: &[&str]) -> Planted {
    Planted {
        backup,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

/// Another file in a tar, recorded as it is.
fn dump(ground: &mut Ground, tar: &'static str, name: &'static str, content: &[u8]) -> Planted {
    let files = ground.tars.get_mut(tar).unwrap();
    assert!(files.insert(name, content.to_vec()).is_some());
    let id = ground.back_up();
    planted(id, &[tar, name])
}
