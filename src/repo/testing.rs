//! For tests: two stores in memory that fail as they are told, and backups that our own writer puts
//! there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::bridge::Bridge;
use super::catalogue::Catalogue;
use super::format::{ComponentRecord, Signed};
use super::holdings::Holdings;
use super::id::{ComponentName, Foundation};
use super::run::{Run, Summary};
use super::seal::{Opener, Recipients};
use super::sign::{Signers, WorkerIdentity};
use super::survey::{Look, Part, Scope};
use super::writer::ArtifactName;
use super::{Error, Settings};
use crate::artifact::{EntrySink as _, Form};
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::monitor::Silent;
use crate::shutdown::Shutdown;
use crate::store::copies::Copies;
use crate::store::faulty::Faulty;
use crate::store::memory::Memory;
use crate::store::{ObjectName, Store, WriteMode};

pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// How long a chain takes backups.
pub(super) const CHAIN: Duration = Duration::from_secs(30 * 86_400);

/// The stores `one` and `two`, and whoever writes to them.
pub(super) struct Scene {
    pub(super) runtime: tokio::runtime::Runtime,
    /// What the stores hold.
    pub(super) memories: [Arc<Memory>; 2],
    /// What everybody speaks to.
    pub(super) stores: [Arc<Faulty>; 2],
    worker: WorkerIdentity,
    recovery: Opener,
}

pub(super) fn foundation() -> Foundation {
    Foundation::parse("east").unwrap()
}

impl Scene {
    /// Without any backup.
    pub(super) fn new() -> Self {
        let memory = |name: &str| Arc::new(Memory::new(name, Arc::new(SystemClock)));
        let memories = [memory("one"), memory("two")];
        let faulty = |memory: &Arc<Memory>| Arc::new(Faulty::new(memory.clone()));
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            stores: [faulty(&memories[0]), faulty(&memories[1])],
            memories,
            worker: WorkerIdentity::parse(&WorkerIdentity::generate("w").unwrap()).unwrap(),
            recovery: Opener::generate(),
        }
    }

    /// One backup: this text as a file, and these notes in its manifest.
    pub(super) fn back_up(&self, text: &str, notes: Vec<String>) -> Result<Signed, Error> {
        let settings = Settings {
            foundation: foundation(),
            recipients: Recipients::parse(&[self.recovery.recipient()]).unwrap(),
            worker: Some(self.worker.clone()),
            signers: self.signers(),
            new_chain_every: CHAIN,
            grace: 7 * DAY,
        };
        let clock = SystemClock;
        let component = ComponentName::parse("tas").unwrap();
        let asked = [component.clone()];
        let copies = self.copies();
        let run = Run::begin(settings, copies, self.bridge(), &asked, &clock, &Silent)?;
        let mut writer = run.artifact(ArtifactName {
            component: component.clone(),
            name: "a".to_owned(),
            form: Form::File,
            bbr: None,
        })?;
        let size = text.len() as u64;
        writer.file(&[], size, &mut text.as_bytes()).unwrap();
        writer.end(0).unwrap();
        let (artifact, _) = writer.finish().unwrap();
        let time = rfc3339(clock.now());
        let summary = Summary {
            components: vec![ComponentRecord {
                name: component,
                started: time.clone(),
                finished: time,
                phases: Vec::new(),
                artifacts: vec![artifact],
                notes,
                downtime: Vec::new(),
                facts: None,
            }],
            drained_bytes: 0,
            build: None,
        };
        run.commit(summary, &clock).map(|(signed, _)| signed)
    }

    /// The stores as one run sees them.
    pub(super) fn copies(&self) -> Arc<Copies> {
        let stores: Vec<Arc<dyn Store>> = vec![self.stores[0].clone(), self.stores[1].clone()];
        Arc::new(Copies::new(stores, 1, Arc::new(Silent)).unwrap())
    }

    pub(super) fn bridge(&self) -> Bridge {
        Bridge::new(self.runtime.handle().clone(), Shutdown::never())
    }

    pub(super) fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.copies(), self.bridge(), foundation(), self.signers())
    }

    pub(super) fn holdings(&self) -> Holdings {
        Holdings::new(self.copies(), self.bridge(), foundation(), CHAIN, 7 * DAY)
    }

    /// A look in two hours, when nothing of now is on its way any more.
    pub(super) fn look(&self) -> Look<'static> {
        Look {
            catalogue: self.catalogue(),
            monitor: &Silent,
            scope: Scope {
                read: Some(Part::WHOLE),
            },
            now: in_two_hours(),
        }
    }

    /// Puts an object into a store, past whatever it is told.
    pub(super) fn put(&self, place: usize, name: &ObjectName, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let put = self.memories[place].put(name, bytes, WriteMode::Overwrite);
        self.runtime.block_on(put).unwrap();
    }

    /// Deletes an object in a store, past whatever it is told.
    pub(super) fn delete(&self, place: usize, name: &ObjectName) {
        let delete = self.memories[place].delete(name);
        self.runtime.block_on(delete).unwrap();
    }

    /// Whether a store has an object.
    pub(super) fn has(&self, place: usize, name: &ObjectName) -> bool {
        let names = self.memories[place].names();
        names.iter().any(|held| held == name.as_str())
    }

    fn signers(&self) -> Signers {
        Signers::default().and(Some(&self.worker))
    }
}

fn in_two_hours() -> SystemTime {
    SystemClock.now() + Duration::from_secs(7200)
}
