//! Levels `contents` and `restorable`: one backup, with a recovery identity.
//!
//! Of each object the first good copy is read, as a restore would; what the other stores hold is for
//! level `scrub`. A copy that was missing or damaged on the way is a finding all the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;

use super::chosen;
use super::files::{Files, Follow, Looked, read_small};
use super::findings::{At, Told, Wrong};
use super::proof::keep;
use super::topology::{self, Named};
use crate::artifact::Form;
use crate::clock;
use crate::monitor::Meter;
use crate::operation::Context;
use crate::operation::catalogue::{find, newest_in, tell_origin};
use crate::operation::fetch::{METADATA, identity_of};
use crate::operation::ops_manager::INSTALLATION;
use crate::operation::record::{self, Record};
use crate::operation::restore::Stored;
use crate::operation::settings::{Settings, Verification};
use crate::operation::stores::{Stores, backup_id};
use crate::repo;
use crate::repo::format::{ArtifactRecord, ComponentRecord, Manifest};
use crate::repo::id::BackupId;
use crate::repo::index::Root;
use crate::repo::proof::{Checked, Level, Outcome, Proof};
use crate::repo::reader::{Choice, Reader};
use crate::repo::scrub::Part;
use crate::report::verified::{Examined, Found, Row, Verified};
use crate::store::Kind;

/// In an artifact of more files none is followed: it is a blobstore, whose files are its users'.
const MOST_FOLLOWED: u64 = 100;
/// Jobs whose artifacts are blobstores, however small.
const BLOBSTORE: &str = "blobstore";

pub(super) fn verify(
    context: &Context,
    settings: &Settings,
    asked: &Verification,
    part: Part,
) -> Result<Verified> {
    let started = clock::rfc3339(context.clock.now());
    let identity = identity_of(settings)?;
    let stores = Stores::open(context, settings)?;
    let id = match &asked.backup {
        Some(id) => backup_id(id)?,
        None => newest_in(context, &stores)?,
    };
    let mut examined = Examination::new(context, &stores, asked.level, chosen(asked, part)?);
    match find(&stores, id.as_str()) {
        Ok(believed) => {
            tell_origin(context, &believed, id.as_str());
            let manifest = &believed.signed.manifest;
            let reader = stores.reader(manifest, &identity)?;
            stores.stream_if_alone();
            examined.backup(&reader, manifest)?;
        }
        // A manifest that nobody should believe is what is wrong with this backup.
        Err(error) if is_about_the_backup(&error) => {
            let wrong = At::default().of(error)?;
            examined.wrong.push(wrong);
        }
        Err(error) => return Err(error),
    }
    examined.copies(&id)?;
    let finished = clock::rfc3339(context.clock.now());
    let (kept, proof, rows) = examined.proofs(&id, asked, part, (started, finished));
    let stored = keep(context, settings, &stores, &kept, asked.report)?;
    Ok(Verified {
        level: asked.level,
        found: Found::One(Box::new(Examined { proof, rows })),
        stored,
    })
}

fn is_about_the_backup(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    let known = causes.find_map(|cause| cause.downcast_ref::<repo::Error>());
    matches!(
        known,
        Some(repo::Error::Damaged { .. } | repo::Error::Refused { .. })
    )
}

struct Examination<'a> {
    context: &'a Context,
    stores: &'a Stores,
    level: Level,
    choice: Choice,
    wrong: Vec<Wrong>,
    notes: Vec<String>,
    rows: Vec<(Row, Vec<Told>)>,
    names: Vec<Named>,
}

impl<'a> Examination<'a> {
    fn new(context: &'a Context, stores: &'a Stores, level: Level, choice: Choice) -> Self {
        Self {
            context,
            stores,
            level,
            choice,
            wrong: Vec::new(),
            notes: Vec::new(),
            rows: Vec::new(),
            names: Vec::new(),
        }
    }

    fn backup(&mut self, reader: &Reader, manifest: &Manifest) -> Result<()> {
        for component in &manifest.components {
            self.component(reader, component)?;
        }
        if self.level == Level::Restorable {
            self.compare_with_record(reader, manifest)?;
        }
        Ok(())
    }

    fn component(&mut self, reader: &Reader, component: &ComponentRecord) -> Result<()> {
        let name = component.name.as_str();
        let artifacts = component.artifacts.iter();
        let total = artifacts.map(|artifact| artifact.bytes).sum();
        let meter = self
            .context
            .monitor
            .meter(&format!("verify {name}"), Some(total));
        let mut of_bbr = false;
        for artifact in &component.artifacts {
            self.context.shutdown.check()?;
            let at = At {
                component: Some(name),
                artifact: Some(&artifact.name),
            };
            match reader.root(component, artifact) {
                Ok(root) => {
                    of_bbr |= root.head.bbr.is_some();
                    self.artifact(reader, at, artifact, &root, &meter)?;
                }
                Err(error) => {
                    let wrong = at.of(error.into())?;
                    self.row(at, artifact, Looked::default(), Some(wrong));
                }
            }
        }
        meter.finish();
        if self.level == Level::Restorable {
            self.validate(reader, component, of_bbr)?;
        }
        Ok(())
    }

    fn artifact(
        &mut self,
        reader: &Reader,
        at: At<'_>,
        artifact: &ArtifactRecord,
        root: &Root,
        meter: &Arc<Meter>,
    ) -> Result<()> {
        let follow = match self.level {
            Level::Restorable => follow(artifact),
            _ => Follow::Nothing,
        };
        let mut files = Files::new(follow, &self.context.shutdown, meter);
        let read = reader.read_chosen(root, self.choice, &mut files);
        let looked = files.looked;
        let failed = match read {
            Ok(()) => None,
            Err(error) => {
                let mut wrong = at.of(error)?;
                wrong.add("; the rest of this artifact was not looked at");
                Some(wrong)
            }
        };
        if self.level == Level::Restorable && failed.is_none() {
            self.judge(at, artifact, follow, &looked);
        }
        self.row(at, artifact, looked, failed);
        Ok(())
    }

    /// What the files of an artifact that was read to its end say.
    fn judge(&mut self, at: At<'_>, artifact: &ArtifactRecord, follow: Follow, looked: &Looked) {
        let place = format!("{}: {}", at.component.unwrap_or_default(), artifact.name);
        const AGAIN: &str = "take another backup, and choose another version";
        let again = format!("; it was so when it was backed up: find out why, {AGAIN}");
        for told in looked.wrong.iter().chain(&looked.empty) {
            let wrong = at.wrong(told.clone().between("", &again));
            self.wrong.push(wrong);
        }
        let hollow =
            artifact.form == Form::Tar && artifact.files > 0 && looked.hollow == artifact.files;
        if hollow && looked.empty.is_empty() {
            let what = format!("every file of it is empty; find out why, {AGAIN}");
            self.wrong.push(at.plain(what));
        }
        let bare = looked.bare.iter().map(|told| &told.stored);
        self.notes
            .extend(bare.map(|bare| format!("{place}: {bare}; see whether it should be")));
        if artifact.form == Form::Tar && artifact.files == 0 {
            self.notes
                .push(format!("{place} holds no file; see whether it should"));
        }
        match follow {
            Follow::Nothing => self.notes.push(format!(
                "{place}: a blobstore or another artifact of many files; each file has its digest, and none was looked into"
            )),
            _ if looked.unknown > 0 => self.notes.push(format!(
                "{place}: {} of {} files are of no form that is known here; each has its digest, and that it ends where it \
                 should was not proven",
                looked.unknown, looked.files
            )),
            _ => {}
        }
    }

    fn row(
        &mut self,
        at: At<'_>,
        artifact: &ArtifactRecord,
        looked: Looked,
        failed: Option<Wrong>,
    ) {
        let row = Row {
            component: at.component.unwrap_or_default().to_owned(),
            artifact: artifact.name.clone(),
            files: looked.files,
            of_files: artifact.files,
            bytes: looked.bytes,
            whole: failed.is_none(),
            known: looked.known.iter().map(|told| told.here.clone()).collect(),
            more_known: looked.recognised.saturating_sub(looked.known.len() as u64),
        };
        self.wrong.extend(failed);
        self.rows.push((row, looked.known));
    }

    /// As a restore does before it touches anything.
    fn validate(
        &mut self,
        reader: &Reader,
        component: &ComponentRecord,
        of_bbr: bool,
    ) -> Result<()> {
        let name = component.name.as_str();
        let brings =
            |artifact: &ArtifactRecord| artifact.name == METADATA && artifact.form == Form::File;
        if component.artifacts.is_empty() {
            self.notes
                .push(format!("{name}: there was nothing to keep"));
            return Ok(());
        }
        // What could not be read is told already.
        let lost = |wrong: &Wrong| {
            wrong.finding.component.as_deref() == Some(name) && wrong.finding.object.is_some()
        };
        if self.wrong.iter().any(lost) {
            return Ok(());
        }
        if !of_bbr && !component.artifacts.iter().any(brings) {
            if name != "ops-manager" {
                self.notes.push(format!(
                    "{name}: its artifacts are not bbr's (there is no `metadata`), so it can be fetched and not restored by a step"
                ));
            }
            return Ok(());
        }
        match Stored::open(self.context, reader, component) {
            Ok(stored) => {
                let places = stored.places();
                self.names
                    .extend(places.map(|place| (name.to_owned(), place.clone())));
            }
            // It names the component itself.
            Err(error) => {
                let mut wrong = At::default().of(error)?;
                wrong.finding.component = Some(name.to_owned());
                self.wrong.push(wrong);
            }
        }
        Ok(())
    }

    fn compare_with_record(&mut self, reader: &Reader, manifest: &Manifest) -> Result<()> {
        let found = manifest.components.iter().find_map(|component| {
            let mut artifacts = component.artifacts.iter();
            let record = artifacts.find(|artifact| artifact.name == record::FILE)?;
            (component.name.as_str() == "ops-manager").then_some((component, record))
        });
        let Some((component, artifact)) = found else {
            self.notes.push(
                "there is no foundation record in this backup (component ops-manager), so nothing says of which instances \
                 there must be artifacts"
                    .to_owned(),
            );
            return Ok(());
        };
        let at = At {
            component: Some(component.name.as_str()),
            artifact: Some(&artifact.name),
        };
        let text = match read_small(reader, component, artifact) {
            Ok(text) => text,
            Err(error) => {
                // Told already where it is damage.
                at.of(error)?;
                return Ok(());
            }
        };
        match Record::parse(&text) {
            Ok(record) => {
                let found = topology::compare(manifest, &record, &self.names, &mut self.notes);
                self.wrong.extend(found);
            }
            Err(problem) => self.wrong.push(at.plain(problem)),
        }
        Ok(())
    }

    /// Copies that were missing or damaged where they should be whole.
    fn copies(&mut self, id: &BackupId) -> Result<()> {
        let manifest = self.stores.foundation.manifest(id);
        let mut holds = BTreeSet::new();
        for (store, head) in self
            .stores
            .bridge
            .wait(self.stores.copies.head_each(&manifest))?
        {
            match head {
                Ok(Some(_)) => drop(holds.insert(store)),
                Ok(None) => self.notes.push(format!(
                    "store {store} does not list this backup; lifeboat replicate brings it there"
                )),
                Err(error) => self
                    .notes
                    .push(format!("{error}; what it holds was not looked at")),
            }
        }
        let mut told = BTreeSet::new();
        for fault in self.stores.copies.faults() {
            let lost =
                |wrong: &Wrong| wrong.finding.object.as_deref() == Some(fault.object.as_str());
            let matters = matches!(fault.kind, Kind::NotFound | Kind::Other | Kind::TooLarge);
            let place = (fault.store.clone(), fault.object.clone());
            if !matters
                || self.wrong.iter().any(lost)
                || !holds.contains(&fault.store)
                || !told.insert(place)
            {
                continue;
            }
            let mut wrong = At::default().plain(format!(
                "store {}: {} {}; it was read from another store: run lifeboat repair --read",
                fault.store, fault.object, fault.message
            ));
            wrong.finding.store = Some(fault.store);
            wrong.finding.object = Some(fault.object);
            self.wrong.push(wrong);
        }
        Ok(())
    }

    /// The result as it is stored, and as it is shown.
    fn proofs(
        self,
        id: &BackupId,
        asked: &Verification,
        part: Part,
        (started, finished): (String, String),
    ) -> (Proof, Proof, Vec<Row>) {
        let result = Outcome::of(self.wrong.is_empty());
        let foundation = &self.stores.foundation;
        let mut proof = Proof::new(foundation, id, asked.level, result, started, finished);
        proof.scope.part = (!part.is_whole()).then(|| part.to_string());
        proof.scope.percent = asked.percent.map(u64::from);
        let rows = || self.rows.iter().map(|(row, _)| row);
        proof.checked = Checked {
            objects: 0,
            files: rows().map(|row| row.files).sum(),
            bytes: rows().map(|row| row.bytes).sum(),
        };
        proof.notes = self.notes;
        let mut kept = proof.clone();
        kept.findings = self.wrong.iter().map(Wrong::stored).collect();
        let known = self.rows.iter().flat_map(|(row, known)| {
            let place = format!("{}: {}", row.component, row.artifact);
            known
                .iter()
                .map(move |told| format!("{place}: {}", told.stored))
        });
        kept.notes.extend(known);
        let findings = self.wrong.into_iter();
        proof.findings = findings.map(|wrong| wrong.finding).collect();
        let rows = self.rows.into_iter().map(|(row, _)| row).collect();
        (kept, proof, rows)
    }
}

fn follow(artifact: &ArtifactRecord) -> Follow {
    match artifact.form {
        Form::File if artifact.name == INSTALLATION => Follow::Installation,
        // They are read for what they say.
        Form::File if [METADATA, record::FILE].contains(&artifact.name.as_str()) => Follow::Read,
        // bbr names a tar by its job.
        _ if artifact.name.contains(BLOBSTORE) || artifact.files > MOST_FOLLOWED => Follow::Nothing,
        _ => Follow::Dumps,
    }
}
