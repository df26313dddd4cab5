//! What every step stands on: the chosen backup, the target's Ops Manager, its VM and director.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::super::Context;
use super::super::catalogue::chosen;
use super::super::fetch::identity_of;
use super::super::record::Record;
use super::super::settings::{Choices, Origin, Settings};
use super::super::stores::Stores;
use super::facts::Facts;
use super::note::Note;
pub(super) use super::reach::Reach;
use crate::bosh;
use crate::http::Wait;
use crate::monitor::Meter;
use crate::opsman::OpsManager;
use crate::remote::Remote;
use crate::repo::catalogue::Believed;
use crate::repo::format::{ArtifactRecord, ComponentRecord};
use crate::repo::index::Root;
use crate::repo::proof::Proofs;
use crate::repo::reader::Reader;
use crate::report::restore::StepEnd;

/// The component that holds the installation and its record.
const COMPONENT: &str = "ops-manager";
const RECORD: &str = "foundation-record.json";
/// The longest record that is read.
const RECORD_LIMIT: u64 = 64 << 20;

/// One step's ground.
pub(in crate::operation) struct Ground<'a> {
    pub(in crate::operation) context: &'a Context,
    pub(in crate::operation) settings: &'a Settings,
    pub(in crate::operation) choices: &'a Choices,
    pub(in crate::operation) believed: Believed,
    step: String,
    stores: Stores,
    reader: OnceLock<Reader>,
    reach: Reach<'a>,
}

impl<'a> Ground<'a> {
    /// Finds the backup. Nothing is sent to the target yet.
    pub(in crate::operation) fn open(
        context: &'a Context,
        settings: &'a Settings,
        step: &str,
        origin: &Origin,
        choices: &'a Choices,
    ) -> Result<Self> {
        let stores = Stores::open(context, settings)?;
        let believed = chosen(context, settings, &stores, origin)?;
        Ok(Self {
            context,
            settings,
            choices,
            believed,
            step: step.to_owned(),
            stores,
            reader: OnceLock::new(),
            reach: Reach::new(context, settings),
        })
    }

    pub(in crate::operation) fn backup_id(&self) -> &str {
        self.believed.signed.manifest.id.as_str()
    }

    pub(in crate::operation) fn wait(&self) -> Wait {
        Wait::unless(&self.context.shutdown)
    }

    pub(super) fn info(&self, text: &str) {
        self.context.monitor.info(text);
    }

    /// The command of a step, as the operator would type it.
    pub(in crate::operation) fn command(&self, step: &str) -> String {
        format!(
            "lifeboat restore {step} {} --confirm-target {}",
            self.backup_id(),
            self.settings.repository.foundation
        )
    }

    pub(super) fn end(&self, already: bool, said: Vec<String>) -> StepEnd {
        StepEnd {
            step: self.step.clone(),
            already,
            said,
        }
    }

    /// Whether what is sealed can be read at all.
    pub(in crate::operation) fn can_read(&self) -> bool {
        self.settings.repository.recovery_identity.is_some()
    }

    /// A component of the backup.
    pub(in crate::operation) fn component(&self, name: &str) -> Option<&ComponentRecord> {
        let components = &self.believed.signed.manifest.components;
        components.iter().find(|one| one.name.as_str() == name)
    }

    /// Reads artifacts of the backup's chain.
    pub(super) fn reader(&self) -> Result<&Reader> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let identity = identity_of(self.settings)?;
        let manifest = &self.believed.signed.manifest;
        let reader = self.stores.reader(manifest, &identity)?;
        Ok(self.reader.get_or_init(|| reader))
    }

    /// Results of verifications and drills.
    pub(in crate::operation) fn proofs(&self) -> Proofs {
        self.stores.proofs()
    }

    /// From now on a store that fails is waited for.
    pub(super) fn stream(&self) {
        self.stores.patience.stream();
    }

    /// An artifact of the component `ops-manager`.
    pub(super) fn artifact(&self, name: &str) -> Result<(&ArtifactRecord, Root)> {
        let component = self.component(COMPONENT).ok_or_else(|| {
            anyhow!(
                "backup {} holds no {COMPONENT}: there is no installation to import; choose another backup, or set Ops Manager up by hand",
                self.backup_id()
            )
        })?;
        let artifact = component
            .artifacts
            .iter()
            .find(|artifact| artifact.name == name)
            .ok_or_else(|| anyhow!("backup {} holds no {name} in {COMPONENT}", self.backup_id()))?;
        let root = self.reader()?.root(component, artifact)?;
        Ok((artifact, root))
    }

    /// What the backup's foundation record says.
    pub(in crate::operation) fn facts(&self) -> Result<Facts> {
        self.record().map(Facts::of)
    }

    /// The backup's foundation record.
    pub(in crate::operation) fn record(&self) -> Result<Record> {
        let (artifact, root) = self.artifact(RECORD)?;
        ensure!(
            artifact.bytes <= RECORD_LIMIT,
            "{RECORD} of backup {} is far too long; choose another backup",
            self.backup_id()
        );
        let mut text = Vec::new();
        self.reader()?
            .write_file(&root, &mut text, &mut |_| Ok(()))?;
        Record::parse(&text)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{RECORD} of backup {}", self.backup_id()))
    }

    /// The target's Ops Manager. Its calls are made one after another: no two of these at once.
    pub(in crate::operation) fn ops_manager(&self) -> Result<OpsManager> {
        self.reach.ops_manager()
    }

    /// The target's director, as the client with all rights.
    pub(in crate::operation) fn director(&self) -> Result<Arc<bosh::Director>> {
        self.reach.director()
    }

    /// Ops Manager's VM over SSH.
    pub(super) fn ops_manager_vm(&self) -> Result<Arc<dyn Remote>> {
        self.reach.ops_manager_vm()
    }

    /// That this director was restored from this backup and found isolated, or that the operator
    /// repairs in place: without one of them nothing more is changed through it.
    pub(super) fn restored(&self, director: &bosh::Director) -> Result<Note> {
        let note = Note::read(director, self.backup_id(), &self.wait())?;
        ensure!(
            note.isolated() || self.choices.in_place,
            "the director at {} does not say that it was restored from backup {} and passed the isolation guard; run `{}` first (or, to repair the foundation's own infrastructure, give in_place: true)",
            director.name(),
            self.backup_id(),
            self.command("references")
        );
        Ok(note)
    }

    /// A restored database brings back tasks and locks of the time of the backup.
    pub(super) fn tell_left_tasks(&self, director: &bosh::Director) -> Result<()> {
        for task in director.tasks_under_way(&self.wait())? {
            self.context.monitor.warn(&format!(
                "director task {} ({}, {}) is {}: it may have come back with the database; `bosh cancel-task {}` ends one that nobody works on",
                task.id, task.description, task.deployment, task.state, task.id
            ));
        }
        Ok(())
    }
}

/// Reads, and shows how far.
pub(super) struct Counted<'a, R: ?Sized> {
    pub(super) meter: &'a Meter,
    pub(super) from: &'a mut R,
}

impl<R: Read + ?Sized> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}
