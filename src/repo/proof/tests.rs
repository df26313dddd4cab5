use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::clock::{self, SystemClock};
use crate::repo::bridge::Bridge;
use crate::repo::catalogue::Origin;
use crate::repo::sign::Signers;
use crate::shutdown::Shutdown;
use crate::store::copies::Copies;
use crate::store::faulty::Lines;
use crate::store::memory::Memory;
use crate::store::{Store, WriteMode};

const OLDER: &str = "20261121T010203Z-00000001";
const NEWER: &str = "20261122T010203Z-00000002";

fn id(text: &str) -> BackupId {
    BackupId::parse(text).unwrap()
}

fn foundation() -> Foundation {
    Foundation::parse("east").unwrap()
}

fn worker() -> WorkerIdentity {
    WorkerIdentity::parse(&WorkerIdentity::generate("t").unwrap()).unwrap()
}

fn now() -> SystemTime {
    clock::parse_compact("20261123T000000Z").unwrap()
}

/// Ended so many hours after `NEWER`.
fn proof(backup: &str, level: Level, result: Outcome, hours: u64) -> Proof {
    let end = id(NEWER).time() + Duration::from_secs(hours * 3600);
    let (started, finished) = (clock::rfc3339(id(NEWER).time()), clock::rfc3339(end));
    Proof::new(&foundation(), &id(backup), level, result, started, finished)
}

struct World {
    runtime: tokio::runtime::Runtime,
    stores: Vec<Arc<Memory>>,
    worker: WorkerIdentity,
    proofs: Proofs,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let stores: Vec<_> = ["one", "two"]
            .map(|name| Arc::new(Memory::new(name, Arc::new(SystemClock))))
            .into();
        let list = stores
            .iter()
            .map(|store| Arc::clone(store) as Arc<dyn Store>);
        let copies = Copies::new(list.collect(), 1, Arc::new(Lines::default())).unwrap();
        let worker = worker();
        let proofs = Proofs::new(
            Arc::new(copies),
            Bridge::new(runtime.handle().clone(), Shutdown::never()),
            foundation(),
            Signers::default().and(Some(&worker)),
        );
        Self {
            runtime,
            stores,
            worker,
            proofs,
        }
    }

    fn write(&self, proof: &Proof) -> ProofName {
        let random = u32::try_from(self.proofs.names(None).unwrap().len()).unwrap();
        let random = random.to_be_bytes();
        let written = self
            .proofs
            .write(proof, Some(&self.worker), random)
            .unwrap();
        assert_eq!(written.stored().collect::<Vec<_>>(), ["one", "two"]);
        written.name
    }

    fn put(&self, name: &ProofName, bytes: &[u8]) {
        for store in &self.stores {
            let bytes = bytes::Bytes::copy_from_slice(bytes);
            let object = name.object(&foundation());
            let put = store.put(&object, bytes, WriteMode::Overwrite);
            self.runtime.block_on(put).unwrap();
        }
    }

    fn latest(&self, of: &str) -> Latest {
        let of = id(of);
        let both = [id(OLDER), id(NEWER)];
        let mut together = self.proofs.latest(&both, now()).unwrap();
        let together = together.remove(&of).unwrap();
        let mut alone = self
            .proofs
            .latest(std::slice::from_ref(&of), now())
            .unwrap();
        assert_eq!(
            alone.remove(&of).unwrap(),
            together,
            "alone as among others"
        );
        together
    }
}

#[test]
fn a_proof_is_read_back_as_it_was_written() {
    let world = World::new();
    let mut proof = proof(NEWER, Level::Drilled, Outcome::Failed, 1);
    proof.steps.push(Step {
        name: "restore".to_owned(),
        ms: 7,
        at_least: true,
        ok: false,
        said: Some("the script ended with status 1".to_owned()),
    });
    proof.rto_ms = Some(1000);
    proof.downtime = Some(serde_json::json!([{"probe": "cloud-controller", "ms": 3}]));
    let name = world.write(&proof);
    assert_eq!(
        name.object(&foundation()).as_str(),
        "east/reports/20261122T010203Z-00000002/20261122T020203Z-drilled-failed-00000000.json"
    );
    let latest = world.latest(NEWER);
    let read = latest.shown(Level::Drilled).unwrap();
    assert_eq!(read.proof, proof);
    assert!(matches!(read.origin, Origin::Verified(_)));
    assert_eq!(latest.refused, [""; 0]);
    assert_eq!(world.latest(OLDER), Latest::default());
}

#[test]
fn the_newest_of_each_level_counts_and_one_over_all_counts_for_the_older_ones() {
    let world = World::new();
    for (hours, result) in [(3, Outcome::Passed), (1, Outcome::Failed)] {
        world.write(&proof(NEWER, Level::Contents, result, hours));
    }
    let mut scrub = proof(NEWER, Level::Scrub, Outcome::Failed, 2);
    scrub.covers = Covers::All;
    scrub.bad = Some(vec![id(NEWER)]);
    world.write(&scrub);
    let newer = world.latest(NEWER);
    assert_eq!(
        newer.shown(Level::Contents).unwrap().proof.result,
        Outcome::Passed
    );
    let scrubbed = newer.shown(Level::Scrub).unwrap();
    assert_eq!(scrubbed.proof.result_for(&id(NEWER)), Some(Outcome::Failed));
    let older = world.latest(OLDER);
    assert_eq!(older.newest.keys().collect::<Vec<_>>(), [&Level::Scrub]);
    let scrubbed = older.shown(Level::Scrub).unwrap();
    assert_eq!(scrubbed.proof.result_for(&id(OLDER)), Some(Outcome::Passed));
    assert_eq!(
        scrubbed.proof.result_for(&id("20261123T010203Z-00000002")),
        None
    );
    // Without names it is known of none that it is good.
    scrub.bad = None;
    scrub.finished = clock::rfc3339(id(NEWER).time() + Duration::from_secs(9 * 3600));
    world.write(&scrub);
    let older = world.latest(OLDER);
    let scrubbed = older.shown(Level::Scrub).unwrap();
    assert_eq!(scrubbed.proof.result_for(&id(OLDER)), Some(Outcome::Failed));
}

#[test]
fn a_part_that_failed_is_not_made_good_by_another_part() {
    let world = World::new();
    let of_part = |part: &str, result, hours| {
        let mut proof = proof(NEWER, Level::Contents, result, hours);
        proof.scope.part = Some(part.to_owned());
        proof
    };
    world.write(&of_part("1/3", Outcome::Passed, 1));
    world.write(&of_part("2/3", Outcome::Failed, 2));
    world.write(&of_part("3/3", Outcome::Passed, 3));
    let latest = world.latest(NEWER);
    assert_eq!(
        latest.newest[&Level::Contents].proof.scope.to_string(),
        "part 3/3"
    );
    let shown = latest.shown(Level::Contents).unwrap();
    assert_eq!(shown.proof.scope.to_string(), "part 2/3");
    world.write(&of_part("2/3", Outcome::Passed, 4));
    assert!(world.latest(NEWER).still_failed.is_empty());
    world.write(&of_part("1/3", Outcome::Failed, 5));
    world.write(&of_part("2/3", Outcome::Passed, 6));
    assert!(!world.latest(NEWER).still_failed.is_empty());
    world.write(&proof(NEWER, Level::Contents, Outcome::Passed, 7));
    assert!(world.latest(NEWER).still_failed.is_empty());
}

/// Each lie lies before a true and older proof, which is found behind it.
#[test]
fn a_proof_counts_with_its_signature_and_under_its_own_name_only() {
    let stranger = worker();
    let truth = proof(NEWER, Level::Contents, Outcome::Failed, 1);
    let lie = proof(NEWER, Level::Contents, Outcome::Passed, 2);
    let name = lie.name([9; 4]).unwrap();
    let signed = |proof: &Proof, by: &WorkerIdentity| proof.to_bytes(Some(by)).unwrap();
    type Lie<'a> = (&'a str, Box<dyn Fn(&World) -> Vec<u8> + 'a>, &'a str);
    let lies: [Lie<'_>; 8] = [
        (
            "unsigned",
            Box::new(|_| lie.to_bytes(None).unwrap()),
            "is not signed",
        ),
        (
            "a stranger's",
            Box::new(|_| signed(&lie, &stranger)),
            "signed by none of trusted_workers",
        ),
        (
            "changed",
            Box::new(|world| {
                let bytes = signed(&truth, &world.worker);
                let text = String::from_utf8(bytes).unwrap();
                text.replacen("failed", "passed", 1).into_bytes()
            }),
            "signed by none of trusted_workers",
        ),
        (
            "renamed to another time",
            Box::new(|world| {
                signed(
                    &proof(NEWER, Level::Contents, Outcome::Passed, 0),
                    &world.worker,
                )
            }),
            "renamed or moved",
        ),
        (
            "renamed to another level",
            Box::new(|world| {
                signed(
                    &proof(NEWER, Level::Listed, Outcome::Passed, 2),
                    &world.worker,
                )
            }),
            "renamed or moved",
        ),
        (
            "moved from another backup",
            Box::new(|world| {
                signed(
                    &proof(OLDER, Level::Contents, Outcome::Passed, 2),
                    &world.worker,
                )
            }),
            "renamed or moved",
        ),
        (
            "another foundation's",
            Box::new(|world| {
                let mut west = lie.clone();
                west.foundation = Foundation::parse("west").unwrap();
                signed(&west, &world.worker)
            }),
            "renamed or moved",
        ),
        (
            "a newer format's",
            Box::new(|world| {
                let mut newer = lie.clone();
                newer.format = 2;
                newer.release = "lifeboat 9".to_owned();
                signed(&newer, &world.worker)
            }),
            "use lifeboat 9 or a later release",
        ),
    ];
    for (what, make, why) in lies {
        let world = World::new();
        world.write(&truth);
        world.put(&name, &make(&world));
        let latest = world.latest(NEWER);
        let shown = latest.shown(Level::Contents);
        assert_eq!(shown.unwrap().proof, truth, "{what}");
        assert_eq!(latest.refused.len(), 1, "{what}");
        assert!(
            latest.refused[0].contains(why),
            "{what}: {:?}",
            latest.refused
        );
    }
}

#[test]
fn one_damaged_copy_is_read_from_the_other_store() {
    let world = World::new();
    let name = world.write(&proof(NEWER, Level::Contents, Outcome::Passed, 1));
    let object = name.object(&foundation());
    let torn = bytes::Bytes::from_static(b"{\"format\":1,");
    let put = world.stores[0].put(&object, torn, WriteMode::Overwrite);
    world.runtime.block_on(put).unwrap();
    assert!(world.latest(NEWER).shown(Level::Contents).is_some());
}

#[test]
fn what_is_found_is_cut_to_what_a_proof_bears() {
    let mut proof = proof(NEWER, Level::Scrub, Outcome::Failed, 1);
    let finding = Finding {
        what: "ä\0".repeat(2000),
        ..Finding::default()
    };
    proof.findings = vec![finding; 250];
    proof.bad = Some(vec![id(NEWER); MOST_BAD + 1]);
    let bytes = proof.to_bytes(None).unwrap();
    let name = proof.name([0; 4]).unwrap();
    let read = Proof::parse(&foundation(), &name, &bytes).unwrap();
    assert_eq!((read.findings.len(), read.more, read.bad), (100, 150, None));
}

#[test]
fn only_a_name_as_we_write_it_is_a_proofs() {
    let good = format!("east/reports/{NEWER}/20261122T020203Z-scrub-passed-0a0b0c0d.json");
    let name = ProofName::parse(&foundation(), &good).unwrap();
    assert_eq!(name.object(&foundation()).as_str(), good);
    for bad in [
        good.replace("scrub", "Scrub"),
        good.replace("passed", "green"),
        good.replace("0a0b0c0d", "0A0B0C0D"),
        good.replace("0a0b0c0d", "0a0b0c"),
        good.replace("20261122T020203Z", "20261322T020203Z"),
        good.replace(".json", "-x.json"),
        good.replace("east", "eastern"),
        good.replace("reports/", "reports/x/"),
        format!("east/reports/{NEWER}/drill.json"),
    ] {
        assert_eq!(ProofName::parse(&foundation(), &bad), None, "{bad}");
    }
}
