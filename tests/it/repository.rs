//! The repository alone: what is written comes back, byte for byte, and continues.

mod continued;
mod left;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use lifeboat::artifact::tar::{EntryKind, TarReader};
use lifeboat::artifact::{EntrySink, Form};
use lifeboat::clock::{Clock, SystemClock};
use lifeboat::monitor::Silent;
use lifeboat::repo::bridge::Bridge;
use lifeboat::repo::catalogue::{Catalogue, Origin};
use lifeboat::repo::format::{ArtifactRecord, ComponentRecord, Signed};
use lifeboat::repo::id::{ComponentName, Foundation};
use lifeboat::repo::reader::{Fetcher, Reader};
use lifeboat::repo::run::{Run, Summary};
use lifeboat::repo::seal::{Identity, Opener, Recipients};
use lifeboat::repo::sign::{Signers, WorkerIdentity};
use lifeboat::repo::writer::{ArtifactName, ArtifactWriter};
use lifeboat::repo::{Error, Settings};
use lifeboat::shutdown::Shutdown;
use lifeboat::store::Store;
use lifeboat::store::copies::Copies;
use lifeboat::store::memory::Memory;

struct World {
    runtime: tokio::runtime::Runtime,
    stores: Vec<Arc<dyn Store>>,
    worker: WorkerIdentity,
    recovery: Opener,
}

impl World {
    fn new() -> Self {
        let memory =
            |name: &str| Arc::new(Memory::new(name, Arc::new(SystemClock))) as Arc<dyn Store>;
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            stores: vec![memory("dc2"), memory("nas")],
            worker: WorkerIdentity::parse(&WorkerIdentity::generate("w").unwrap()).unwrap(),
            recovery: Opener::generate(),
        }
    }

    fn bridge(&self) -> Bridge {
        Bridge::new(self.runtime.handle().clone(), Shutdown::new())
    }

    fn copies(&self) -> Arc<Copies> {
        Arc::new(Copies::new(self.stores.clone(), 2, Arc::new(Silent)).unwrap())
    }

    fn settings(&self, worker: Option<&WorkerIdentity>) -> Settings {
        Settings {
            foundation: foundation(),
            recipients: Recipients::parse(&[self.recovery.recipient()]).unwrap(),
            worker: worker.cloned(),
            signers: Signers::default().and(worker),
            new_chain_every: Duration::from_secs(30 * 86_400),
            grace: Duration::from_secs(7 * 86_400),
        }
    }

    fn begin(&self, worker: Option<&WorkerIdentity>) -> Run {
        self.begin_at(worker, &SystemClock, Shutdown::new())
    }

    fn begin_at(
        &self,
        worker: Option<&WorkerIdentity>,
        clock: &dyn Clock,
        shutdown: Shutdown,
    ) -> Run {
        Run::begin(
            self.settings(worker),
            self.copies(),
            Bridge::new(self.runtime.handle().clone(), shutdown),
            &[component()],
            clock,
            &Silent,
        )
        .unwrap()
    }

    fn back_up(&self, tar: &[u8], worker: Option<&WorkerIdentity>) -> Signed {
        self.back_up_with(worker, |writer| full(tar, writer))
    }

    fn back_up_with(
        &self,
        worker: Option<&WorkerIdentity>,
        drain: impl FnOnce(&mut ArtifactWriter),
    ) -> Signed {
        let run = self.begin(worker);
        let mut writer = run.artifact(artifact("g-0-j.tar")).unwrap();
        drain(&mut writer);
        let (artifact, _) = writer.finish().unwrap();
        let (signed, committed) = run.commit(summary(vec![artifact]), &SystemClock).unwrap();
        assert_eq!(committed.written, ["dc2", "nas"]);
        signed
    }

    fn read_back(&self, signed: &Signed) -> Vec<u8> {
        let manifest = &signed.manifest;
        let fetcher = Fetcher::new(self.copies(), self.bridge(), foundation());
        let identity = Identity::parse(&self.recovery.secret()).unwrap();
        let keys = fetcher.keys(manifest, &identity).unwrap();
        let reader = Reader::new(fetcher, manifest.chain.id.clone(), keys);
        let component = &manifest.components[0];
        let root = reader.root(component, &component.artifacts[0]).unwrap();
        let mut tar = Vec::new();
        reader.write_file(&root, &mut tar, &mut |_| Ok(())).unwrap();
        tar
    }
}

/// Everything is sent.
fn full(tar: &[u8], writer: &mut dyn EntrySink) {
    let mut reader = TarReader::new(tar);
    loop {
        match reader.next_entry().unwrap() {
            Ok(entry) if entry.kind == EntryKind::File => {
                writer
                    .file(&entry.head, entry.size, &mut reader.content())
                    .unwrap();
            }
            Ok(entry) => writer.other(&entry.head).unwrap(),
            Err(zeros) => break writer.end(zeros).unwrap(),
        }
    }
}

fn artifact(name: &str) -> ArtifactName {
    ArtifactName {
        component: component(),
        name: name.into(),
        form: Form::Tar,
        bbr: None,
    }
}

fn summary(artifacts: Vec<ArtifactRecord>) -> Summary {
    Summary {
        components: vec![ComponentRecord {
            notes: Vec::new(),
            downtime: Vec::new(),
            facts: None,
            name: component(),
            started: "2026-11-22T01:00:00Z".into(),
            finished: "2026-11-22T01:10:00Z".into(),
            phases: vec![],
            artifacts,
        }],
        drained_bytes: 0,
        build: None,
    }
}

fn foundation() -> Foundation {
    Foundation::parse("prod-east").unwrap()
}

fn component() -> ComponentName {
    ComponentName::parse("tas").unwrap()
}

/// Directories, small files, an empty one, a large one, thousands of tiny ones.
fn tar(files: usize, changed: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8], kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_mtime(1_700_000_000);
        // `append_data` would drop the `./` in front.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    add("./", b"", tar::EntryType::Directory);
    let large: Vec<u8> = (0..6_000_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    add("./big", &large, tar::EntryType::Regular);
    add("./empty", b"", tar::EntryType::Regular);
    for n in 0..files {
        if n % 100 == 0 {
            add(&format!("./d{}", n / 100), b"", tar::EntryType::Directory);
        }
        let text =
            format!("file {n} {}", if n < changed { "changed" } else { "" }).repeat(n % 50 + 1);
        add(
            &format!("./d{}/{n:06}", n / 100),
            text.as_bytes(),
            tar::EntryType::Regular,
        );
    }
    builder.into_inner().unwrap()
}

#[test]
fn an_artifact_comes_back_byte_for_byte() {
    let world = World::new();
    for files in [0, 1, 12_000] {
        let tar = tar(files, 0);
        let signed = world.back_up(&tar, Some(&world.worker));
        assert!(world.read_back(&signed) == tar, "{files} files");
    }
}

#[test]
fn an_empty_artifact_and_a_stream_without_end_marker_come_back() {
    let world = World::new();
    for tar in [Vec::new(), vec![0; 1024], vec![0; 10_240]] {
        let signed = world.back_up(&tar, Some(&world.worker));
        assert_eq!(world.read_back(&signed), tar);
    }
}

#[test]
fn a_second_run_continues_the_chain_and_stores_equal_content_once() {
    let world = World::new();
    let first = world.back_up(&tar(3000, 0), Some(&world.worker));
    let second = world.back_up(&tar(3000, 10), Some(&world.worker));
    assert_eq!(second.manifest.base, Some(first.manifest.id.clone()));
    assert_eq!(second.manifest.chain, first.manifest.chain);
    assert!(second.manifest.id > first.manifest.id);
    assert!(
        second.manifest.new_bytes * 4 < first.manifest.new_bytes,
        "{} of {}",
        second.manifest.new_bytes,
        first.manifest.new_bytes
    );
    assert!(world.read_back(&second) == tar(3000, 10));
    assert!(world.read_back(&first) == tar(3000, 0));
}

#[test]
fn without_a_worker_identity_each_backup_is_an_unsigned_chain_of_its_own() {
    let world = World::new();
    let first = world.back_up(&tar(10, 0), None);
    let second = world.back_up(&tar(10, 0), None);
    assert_ne!(first.manifest.chain.id, second.manifest.chain.id);
    assert_eq!(second.signature, None);
    assert_eq!(
        second.manifest.full_because.as_deref(),
        Some("there is no worker identity")
    );
    let read = |signers| {
        Catalogue::new(world.copies(), world.bridge(), foundation(), signers)
            .manifest(&second.manifest.id)
    };
    assert_eq!(
        read(Signers::default()).unwrap().origin,
        Origin::NotVerified
    );
    let refused = read(Signers::default().and(Some(&world.worker))).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
}

#[test]
fn a_worker_that_was_not_trusted_begins_a_new_chain() {
    let world = World::new();
    let stranger = WorkerIdentity::parse(&WorkerIdentity::generate("s").unwrap()).unwrap();
    world.back_up(&tar(10, 0), Some(&stranger));
    let ours = world.back_up(&tar(10, 0), Some(&world.worker));
    assert_eq!(ours.manifest.base, None);
    assert!(
        ours.manifest
            .full_because
            .unwrap()
            .contains("signed by this worker")
    );
}

#[test]
fn a_store_that_lost_roots_pages_or_chunks_of_the_base_is_not_built_upon() {
    for kind in ["index", "data"] {
        let world = World::new();
        let first = world.back_up(&tar(10, 0), Some(&world.worker));
        let prefix = format!("prod-east/chains/{}/{kind}/", first.manifest.chain.id);
        // The second store loses them: the first one still gives every object that is read.
        let store = &world.stores[1];
        world.runtime.block_on(async {
            for listed in store.list(&prefix, None).await.unwrap() {
                let name = lifeboat::store::ObjectName::new(listed.name).unwrap();
                store.delete(&name).await.unwrap();
            }
        });
        let second = world.back_up(&tar(10, 0), Some(&world.worker));
        assert_eq!(second.manifest.base, None, "{kind}");
        let why = second.manifest.full_because.unwrap();
        assert!(why.contains("store nas has lost"), "{kind}: {why}");
    }
}

#[test]
fn a_reader_ends_when_content_ends() {
    // Guards the helper above: `content()` must give exactly the file.
    let tar = tar(1, 0);
    let mut reader = TarReader::new(&tar[..]);
    let mut sum = 0;
    while let Ok(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).unwrap();
        assert_eq!(content.len() as u64, entry.size);
        sum += entry.size;
    }
    assert!(sum > 24_000_000);
}
