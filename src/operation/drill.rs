//! A drill: the restore of a foundation rehearsed in a scratch foundation, verified and measured.
//!
//! It adds nothing to the restore: its steps are those that a person would run, in the same order.
//! What it adds is the proof that the foundation worked on is a scratch one (`isolation`), a note
//! of how far it is (`marker`), and what the restored foundation must show (`stages`). What ends a
//! drill leaves the scratch foundation so that the next one goes on. `docs/drill.md`.

mod checks;
mod ending;
mod isolation;
mod marker;
mod meaning;
mod proof;
mod stages;
mod tear_down;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, ensure};

use self::marker::Marker;
use super::settings::{Drill, Origin, Restoration, Settings, Step};
use super::steps::facts::Facts;
use super::steps::ground::Ground;
use super::steps::reach::Reach;
use super::{Context, cleanup, plan, restore, steps};
use crate::bbr::Direction;
use crate::clock;
use crate::opsman::Availability;
use crate::remote::Remote;
use crate::repo::format::Manifest;
use crate::report::drill::{DrillStep, Drilled};
use crate::report::restore::Holds;
use crate::report::text;
use crate::shutdown::Shutdown;

pub use self::tear_down::tear_down;

/// How long a step's time is still noted for after a signal: well within the ten seconds that
/// Concourse leaves.
const LAST_NOTE: Duration = Duration::from_secs(5);

/// How a drill ended that was not refused and not aborted.
#[derive(Debug)]
pub struct Ended {
    /// Its steps and figures.
    pub drilled: Drilled,
    /// What ended the step that failed.
    pub failure: Option<Error>,
}

/// Rehearses a restore.
///
/// # Errors
/// A guard's refusal, in which case nothing was done, and a signal. A step that failed is no error
/// here: it is what a drill is for.
pub fn drill(context: &Context, settings: &Settings, asked: &Drill) -> Result<Ended> {
    let inside = Reach::new(context, settings).ops_manager_vm()?;
    let known = known(context, settings, asked, &*inside)?;
    let origin = match &known {
        Some(marker) => Origin::Backup(marker.backup.clone()),
        None => asked.origin.clone(),
    };
    let ground = Ground::open(context, settings, "drill", &origin, &asked.choices)?;
    if let (Some(marker), Origin::Backup(id)) = (&known, &asked.origin) {
        ensure!(*id == marker.backup, "{}", marker.holds());
    }
    let facts = ground.facts()?;
    conditions(context, settings, asked, &origin)?;
    let said =
        isolation::original_is_silent(context, settings, &facts.ops_manager_address, &*inside)?;
    context.monitor.info(&format!("isolation: {said}"));
    let mut marker = known.unwrap_or_else(|| Marker {
        scratch: asked.scratch.clone(),
        foundation: settings.repository.foundation.clone(),
        backup: ground.backup_id().to_owned(),
        begun: clock::rfc3339(context.clock.now()),
        ..Marker::default()
    });
    marker.runs += 1;
    marker.write(&*inside, &context.shutdown)?;
    if let Some(said) = marker.only_looks() {
        context.monitor.warn(&said);
    } else if marker.runs > 1 {
        context.monitor.info(&format!(
            "going on with the drill of backup {} that began at {}",
            marker.backup, marker.begun
        ));
    }
    let mut run = Run {
        context,
        settings: settings.clone(),
        asked,
        ground: &ground,
        facts: &facts,
        inside,
        marker,
        steps: Vec::new(),
        notes: Vec::new(),
    };
    let failure = run.restore()?;
    if failure.is_none() {
        stages::all(&mut run)?;
    }
    run.end(failure)
}

/// What the scratch foundation's Ops Manager VM says of itself; `None` where a drill may begin.
///
/// # Errors
/// When it is no scratch foundation, or one that is used up.
fn known(
    context: &Context,
    settings: &Settings,
    asked: &Drill,
    inside: &dyn Remote,
) -> Result<Option<Marker>> {
    let wait = crate::http::Wait::unless(&context.shutdown);
    let mut ops = Reach::new(context, settings).ops_manager()?;
    let known = Marker::read(inside, &context.shutdown)?;
    let mut availability = ops.availability(&wait)?;
    if known.is_none() && availability == Availability::Starting {
        availability = ops.started(&wait)?;
    }
    let name = ops.name().to_owned();
    let fresh = availability == Availability::NotSetUp;
    let Some(marker) = known else {
        ensure!(
            fresh,
            "the Ops Manager at {name} is set up, and its VM carries no note of a drill: this is no scratch foundation, maybe one that lives. Nothing was touched; a drill begins with an Ops Manager VM that nobody has set up"
        );
        return Ok(None);
    };
    let foundation = &settings.repository.foundation;
    ensure!(
        marker.scratch == asked.scratch && marker.foundation == *foundation,
        "the Ops Manager VM at {name} carries the note of a drill of {} in {}, not of {foundation} in {}; nothing was touched. Correct drill.scratch or ops_manager.url, or make the VM anew",
        marker.foundation,
        marker.scratch,
        asked.scratch
    );
    if fresh && !marker.steps.values().any(|step| step.done) {
        // Killed before, or in, the import: the backup may be chosen again.
        return Ok(None);
    }
    ensure!(
        !marker.torn_down,
        "the drill of backup {} in {} was taken down; an import needs an Ops Manager that nobody has set up, so make its VM at {name} anew from the image, then run the drill again",
        marker.backup,
        marker.scratch
    );
    Ok(Some(marker))
}

/// Everything that a plan says must hold.
fn conditions(
    context: &Context,
    settings: &Settings,
    asked: &Drill,
    origin: &Origin,
) -> Result<()> {
    let plan = plan(context, settings, origin, &asked.choices)?;
    let not_held = plan
        .conditions
        .iter()
        .filter(|condition| condition.holds == Holds::No);
    // Which of them the restored deployments use the restored director knows: its step asks there.
    let (later, missing): (Vec<_>, Vec<_>) =
        not_held.partition(|condition| condition.what.starts_with("stemcell "));
    for condition in later {
        context
            .monitor
            .warn(&format!("{}: {}", condition.what, condition.why));
    }
    let missing: Vec<_> = missing
        .iter()
        .map(|condition| format!("{}: {}", condition.what, condition.why))
        .collect();
    ensure!(
        missing.is_empty(),
        "the drill was not begun, nothing was touched: {}",
        missing.join("; ")
    );
    Ok(())
}

/// One run of a drill.
struct Run<'a> {
    context: &'a Context,
    /// With the director's host key pinned once it is known.
    settings: Settings,
    asked: &'a Drill,
    ground: &'a Ground<'a>,
    facts: &'a Facts,
    inside: Arc<dyn Remote>,
    marker: Marker,
    steps: Vec<DrillStep>,
    notes: Vec<String>,
}

impl Run<'_> {
    fn manifest(&self) -> &Manifest {
        &self.ground.believed.signed.manifest
    }

    /// All steps of the restore. Gives what ended the one that failed.
    fn restore(&mut self) -> Result<Option<Error>> {
        for step in self.wanted()? {
            self.context.shutdown.check()?;
            let name = step.to_string();
            if let Some(took) = self.marker.done(&name) {
                let mut said = vec!["done by an earlier run of this drill".to_owned()];
                said.extend(self.left_out(&name));
                self.push(&name, took, Ok(said));
                continue;
            }
            self.guard(&step)?;
            let unfinished = self.marker.begin(&name);
            self.note()?;
            self.context.monitor.info(&format!("drill: {name}"));
            let began = Instant::now();
            let outcome = self.one(&step, unfinished);
            self.marker.end(&name, began.elapsed(), outcome.is_ok());
            let noted = self.note_end();
            let took = self.marker.spent(&name);
            match outcome {
                Ok(mut said) => {
                    noted?;
                    said.extend(self.left_out(&name));
                    self.push(&name, took, Ok(said));
                }
                Err(error) if self.context.shutdown.is_raised() => {
                    self.tell(noted);
                    return Err(error.context(format!(
                        "the drill was aborted in its step {name}; the same command goes on with it"
                    )));
                }
                Err(error) => {
                    self.tell(noted);
                    self.push(&name, took, Err(&error));
                    return Ok(Some(error));
                }
            }
        }
        Ok(None)
    }

    /// The steps that this backup takes, in order.
    fn wanted(&mut self) -> Result<Vec<Step>> {
        let has = |name: &str| self.ground.component(name).is_some();
        for part in ["ops-manager", "director"] {
            ensure!(
                has(part),
                "backup {} holds no {part}: a drill restores a whole foundation; choose a backup of ops-manager, director, tas and service-instances",
                self.ground.backup_id()
            );
        }
        let tas = has("tas");
        let deployed = self.facts.of_kind("cf").is_some();
        let saved = |name: &str| name.starts_with("service-instances/");
        let components = &self.manifest().components;
        let instances = components.iter().any(|one| saved(one.name.as_str()));
        let on_demand = self.facts.on_demand > 0;
        let wanted = Step::IN_ORDER
            .into_iter()
            .filter(|step| match step {
                Step::ScaleDown | Step::ApplyTas | Step::ScaleUp => deployed,
                Step::Tas => tas,
                Step::RecreateInstances => on_demand,
                Step::ServiceInstances => instances,
                _ => true,
            })
            .collect();
        let others: Vec<_> = components
            .iter()
            .map(|one| one.name.to_string())
            .filter(|name| name.starts_with("deployment/"))
            .collect();
        if !others.is_empty() {
            self.notes.push(format!(
                "not drilled: {}; somebody must deploy them before their data can be restored",
                others.join(", ")
            ));
        }
        Ok(wanted)
    }

    /// What must be seen before a step that could reach the original.
    fn guard(&mut self, step: &Step) -> Result<()> {
        let (context, inside) = (self.context, Arc::clone(&self.inside));
        match step {
            Step::OpsManager => Ok(()),
            Step::BoshState | Step::ApplyDirector => {
                // What an earlier run of the step began may be there.
                if self.marker.begun("apply-director") {
                    return Ok(());
                }
                isolation::director_is_silent(context, &self.settings, &*inside)
            }
            _ => self.pin(),
        }
    }

    /// From now on no other director is spoken to than the one that this drill deployed.
    fn pin(&mut self) -> Result<()> {
        let key = isolation::director_is_scratch(
            self.context,
            &self.settings,
            &*self.inside,
            &self.marker,
        )?;
        if self.marker.director_host_key.is_none() {
            self.marker.director_host_key = Some(key.clone());
            self.note()?;
        }
        self.settings = isolation::pinned(&self.settings, &key);
        Ok(())
    }

    /// One step, as `lifeboat restore` runs it.
    fn one(&self, step: &Step, unfinished: bool) -> Result<Vec<String>> {
        let context = self.context;
        let components: Vec<_> = step.component().into_iter().collect();
        let restoration = Restoration {
            step: step.clone(),
            origin: Origin::Backup(self.ground.backup_id().to_owned()),
            components: components.clone(),
            choices: self.asked.choices.clone(),
        };
        if components.is_empty() {
            return Ok(steps::step(context, &self.settings, &restoration)?.said);
        }
        if unfinished {
            let direction = Direction::Restore;
            let done = cleanup(context, &self.settings, &components, false, direction)?;
            for said in done.done {
                context.monitor.info(&said);
            }
        }
        steps::before_data(context, &self.settings, &restoration)?;
        let restored = restore(context, &self.settings, &restoration)?;
        context.monitor.info(text::restored(&restored).trim_end());
        Ok(vec![format!("restored from {}", restored.origin)])
    }

    fn note(&self) -> Result<()> {
        self.marker.write(&*self.inside, &self.context.shutdown)
    }

    /// The same at the end of a step. A signal does not keep it from that: the time would be lost.
    fn note_end(&self) -> Result<()> {
        match self.note() {
            Err(_) if self.context.shutdown.is_raised() => {
                let shutdown = Shutdown::never().limited(LAST_NOTE);
                self.marker.write(&*self.inside, &shutdown)
            }
            noted => noted,
        }
    }

    /// What the time of a step leaves out: said beside it, and in the notes below the table.
    fn left_out(&mut self, step: &str) -> Option<String> {
        let said = self.marker.left_out(step)?;
        self.notes.push(format!("{step}: {said}"));
        Some(said)
    }

    /// What ended the step says more than this does.
    fn tell(&self, noted: Result<()>) {
        if let Err(error) = noted {
            self.context.monitor.warn(&format!(
                "how long the step was worked on is not noted: {error:#}"
            ));
        }
    }

    fn push(&mut self, name: &str, took: Duration, outcome: Result<Vec<String>, &Error>) {
        let ok = outcome.is_ok();
        self.steps.push(DrillStep {
            name: name.to_owned(),
            took,
            at_least: self.marker.at_least(name),
            ok,
            stored: outcome
                .as_ref()
                .err()
                .map(|error| self.context.mask.apply(&proof::stored(error))),
            said: outcome.unwrap_or_else(|error| {
                vec![
                    self.context
                        .mask
                        .apply(&crate::report::failure::chain(error)),
                ]
            }),
            means: (!ok).then(|| meaning::of(name)),
        });
    }

    /// A stage of the verification; what is wrong does not keep the others from being looked at.
    fn stage(&mut self, name: &str, look: impl FnOnce(&Self) -> Result<Vec<String>>) -> Result<()> {
        self.context.shutdown.check()?;
        self.context.monitor.info(&format!("drill: {name}"));
        let began = Instant::now();
        let outcome = look(self);
        self.context.shutdown.check()?;
        if let Err(error) = &outcome {
            self.context.monitor.warn(&format!("{name}: {error:#}"));
        }
        self.push(name, began.elapsed(), outcome.as_ref().map(Clone::clone));
        Ok(())
    }
}
