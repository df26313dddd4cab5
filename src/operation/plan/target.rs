//! What a plan sees of the target. Looks only: nothing is unlocked, begun or written.

use anyhow::Result;
use serde_json::json;

use super::super::steps::facts::Facts;
use super::super::steps::ground::Ground;
use super::super::steps::instances::PREFIX;
use super::super::steps::note::Note;
use super::super::steps::state_file::Names;
use super::super::steps::{apply, bosh_state, import, scale};
use crate::bosh;
use crate::opsman::{Availability, OpsManager, RunState};
use crate::report::restore::Progress;

/// What was seen; `None` where nothing could be told.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// Of the target's Ops Manager.
    pub(super) version: Option<String>,
    /// Whether nobody has set it up.
    pub(super) fresh: Option<bool>,
    /// Why it is neither fresh nor this backup's.
    pub(super) foreign: Option<String>,
    /// What is other about its TAS than recorded, where it is to stay as it is.
    pub(super) other_tas: Option<String>,
    /// Whether the backup's installation is imported.
    pub(super) imported: Option<bool>,
    /// Whose director `bosh-state.json` names.
    pub(super) names: Option<Names>,
    /// Whether the newest Apply Changes succeeded.
    pub(super) applied: Option<bool>,
    /// Whether the director knows deployments.
    pub(super) director_restored: Option<bool>,
    /// Whether the isolation guard was passed for this backup.
    pub(super) isolated: Option<bool>,
    /// Whether the stemcells in use were uploaded since.
    pub(super) stemcells: Option<bool>,
    /// How many instances of MySQL are staged, and whether that is as recorded.
    pub(super) one_mysql: Option<bool>,
    pub(super) mysql_as_recorded: Option<bool>,
    /// Whether all of TAS runs.
    pub(super) tas_runs: Option<bool>,
    /// Whether all on-demand service instances run.
    pub(super) instances_run: Option<bool>,
}

/// Done, open, or not to be told.
pub(super) fn progress(done: Option<bool>) -> Progress {
    match done {
        Some(true) => Progress::Done,
        Some(false) => Progress::Open,
        None => Progress::Unknown,
    }
}

impl Target {
    /// Looks, as far as it gets. What stops it is a note, unless it is a signal.
    pub(super) fn look(
        ground: &Ground<'_>,
        facts: Option<&Facts>,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let mut seen = Self::default();
        if ground.settings.foundation.ops_manager.is_none() {
            notes.push(
                "ops_manager is not configured: nothing of the target was looked at".to_owned(),
            );
            return Ok(seen);
        }
        let mut look = Look {
            ground,
            facts,
            tas: None,
            seen: &mut seen,
            notes: &mut *notes,
        };
        if let Err(error) = look.ops_manager() {
            ground.context.shutdown.check()?;
            notes.push(format!(
                "the rest of the target could not be looked at: {error:#}"
            ));
        }
        Ok(seen)
    }
}

struct Look<'a, 'g> {
    ground: &'a Ground<'g>,
    facts: Option<&'a Facts>,
    /// The target's TAS, whose GUID is the recorded one only where this backup was imported.
    tas: Option<String>,
    seen: &'a mut Target,
    notes: &'a mut Vec<String>,
}

impl Look<'_, '_> {
    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn ops_manager(&mut self) -> Result<()> {
        let wait = self.ground.wait();
        let mut ops = self.ground.ops_manager()?;
        let name = ops.name().to_owned();
        let availability = ops.availability(&wait)?;
        self.seen.version = ops.info(&wait).ok().map(|info| info.version);
        self.seen.fresh = Some(availability == Availability::NotSetUp);
        match availability {
            Availability::NotSetUp => {
                self.nothing_done();
                self.note(format!(
                    "the Ops Manager at {name} is not set up: ready for the import"
                ));
                return Ok(());
            }
            Availability::Starting => {
                self.note(format!("the Ops Manager at {name} is starting (or works on an import); ask for the plan again in some minutes"));
                return Ok(());
            }
            Availability::Locked => {
                self.note(format!("the Ops Manager at {name} is set up and locked: any step unlocks it with decryption_passphrase"));
                return Ok(());
            }
            Availability::Complete => {}
        }
        self.products(&mut ops, &name)?;
        if self.seen.foreign.is_some() {
            return Ok(());
        }
        let runs = ops.installations(&wait)?;
        if let Some(run) = runs.iter().find(|run| run.may_run()) {
            self.note(format!(
                "Apply Changes {} is under way on {name}; the apply steps follow it",
                run.id
            ));
        }
        self.seen.applied = Some(
            runs.first()
                .is_some_and(|run| run.state() == RunState::Succeeded),
        );
        self.state_file();
        if matches!(self.seen.names, Some(Names::Imported(_) | Names::Nothing))
            && !self.ground.choices.in_place
        {
            self.before_director();
            return Ok(());
        }
        self.mysql(&mut ops)?;
        drop(ops);
        self.director()
    }

    /// A fresh target: nothing of it is done.
    fn nothing_done(&mut self) {
        self.seen.imported = Some(false);
        self.seen.applied = Some(false);
        self.before_director();
    }

    fn before_director(&mut self) {
        let seen = &mut *self.seen;
        seen.applied = Some(false);
        for fact in [
            &mut seen.director_restored,
            &mut seen.isolated,
            &mut seen.stemcells,
            &mut seen.one_mysql,
            &mut seen.tas_runs,
            &mut seen.mysql_as_recorded,
            &mut seen.instances_run,
        ] {
            *fact = Some(false);
        }
    }

    fn products(&mut self, ops: &mut OpsManager, name: &str) -> Result<()> {
        let Some(facts) = self.facts else {
            self.note(format!("the Ops Manager at {name} is set up; whether with this backup's installation cannot be told without the record"));
            return Ok(());
        };
        let wait = self.ground.wait();
        if self.ground.choices.in_place {
            self.seen.imported = Some(true);
            self.seen.other_tas = import::other_tas(ops, facts, &wait)?;
            self.note(match &self.seen.other_tas {
                None => format!("the Ops Manager at {name} stays as it is (in_place); its TAS is of the recorded release"),
                Some(differs) => format!("the Ops Manager at {name} stays as it is (in_place), and {differs}"),
            });
            return Ok(());
        }
        match import::difference(ops, facts, &wait)? {
            None => {
                self.seen.imported = Some(true);
                self.note(format!(
                    "the Ops Manager at {name} holds the products of this backup"
                ));
            }
            Some(differs) => {
                self.note(format!(
                    "the Ops Manager at {name} is set up with something else: {differs}"
                ));
                self.seen.foreign = Some(differs);
            }
        }
        Ok(())
    }

    fn state_file(&mut self) {
        let recorded = self
            .facts
            .and_then(|facts| facts.director_vm_cid.as_deref());
        match bosh_state::look(self.ground) {
            Ok(found) => {
                let names = found.names(recorded);
                self.note(match &names {
                    Names::Nothing => {
                        "bosh-state.json is not there: no director is deployed since".to_owned()
                    }
                    Names::Imported(vm) => {
                        format!("bosh-state.json names VM {vm}, the original's director")
                    }
                    Names::Another(Some(vm)) => format!(
                        "bosh-state.json names VM {vm}: a director that this Ops Manager deployed"
                    ),
                    Names::Another(None) => "bosh-state.json names no VM".to_owned(),
                });
                self.seen.names = Some(names);
            }
            Err(error) => self.note(format!("bosh-state.json could not be looked at: {error:#}")),
        }
    }

    fn mysql(&mut self, ops: &mut OpsManager) -> Result<()> {
        let Ok(tas) = apply::tas_guid(ops, &self.ground.wait()) else {
            return Ok(());
        };
        self.tas = Some(tas.clone());
        let Some(group) = scale::group(ops, &tas, &self.ground.wait())? else {
            return Ok(());
        };
        self.seen.one_mysql = Some(group.instances == json!(1));
        let recorded = self
            .facts
            .and_then(|facts| facts.tas_instances(&group.name));
        self.seen.mysql_as_recorded = recorded.map(|recorded| *recorded == group.instances);
        Ok(())
    }

    fn director(&mut self) -> Result<()> {
        let wait = self.ground.wait();
        let director = self.ground.director()?;
        let deployments = director.deployments(&wait)?;
        self.seen.director_restored = Some(!deployments.is_empty());
        let note = Note::read(&director, self.ground.backup_id(), &wait)?;
        self.seen.isolated = Some(note.isolated());
        let stemcells = director.stemcells(&wait)?;
        let mut used = stemcells.iter().filter(|one| !one.deployments.is_empty());
        self.seen.stemcells = Some(used.all(|one| note.has(one)));
        self.running(&director, deployments)
    }

    fn running(
        &mut self,
        director: &bosh::Director,
        deployments: Vec<bosh::Deployment>,
    ) -> Result<()> {
        let wait = self.ground.wait();
        let (mut instances, mut idle, mut answering) = (0, 0, Vec::new());
        for deployment in deployments {
            let name = deployment.name;
            let found = director.instances(&name, &wait)?;
            if found.iter().any(bosh::Instance::answers) {
                answering.push(name.clone());
            }
            let runs = apply::idle_among(&found).is_none();
            if self.tas.as_ref() == Some(&name) {
                self.seen.tas_runs = Some(runs);
            }
            if name.starts_with(PREFIX) {
                instances += 1;
                idle += usize::from(!runs);
            }
        }
        self.seen.instances_run = Some(instances == 0 || idle == 0);
        let isolated = self.seen.isolated == Some(true);
        if !answering.is_empty() && !isolated && !self.ground.choices.in_place {
            self.note(format!(
                "STOP: the director sees VMs that answer ({}), and was not restored from this backup: this is a live foundation, or the original is within reach; the steps refuse it",
                answering.join(", ")
            ));
        }
        Ok(())
    }
}
