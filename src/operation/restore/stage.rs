//! The data of a backup beside the place where a restore will want it, ahead of time. Locks nothing, and
//! runs no script but those that say what there is.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Error, Result, anyhow};

use super::source::Source;
use super::stored::Stored;
use super::{Target, Work, choose, named, records};
use crate::bbr;
use crate::clock;
use crate::foundation::Reached;
use crate::operation::live::{close, discover, listed};
use crate::operation::settings::{Component, Settings, Staging};
use crate::operation::stores::Stores;
use crate::operation::{Context, backup, discovery};
use crate::parallel;
use crate::report::failure::Failure;
use crate::report::stage::{Staged, StagedArtifact};
use crate::report::units;
use crate::shutdown::Stopped;

/// Instances staged side by side: nobody waits for it, and the stores and instances have other things
/// to do. Of one instance one artifact at a time: they share its disk, and each goes by what is free.
const STAGES: usize = 2;

/// Stages components, or removes what is staged of them.
///
/// # Errors
/// A [`Failure`] that says in what state things are.
pub fn stage(context: &Context, settings: &Settings, staging: &Staging) -> Result<Staged> {
    let begun = context.clock.now();
    let mut staged = Staged::default();
    let mut causes = Vec::new();
    let Some(origin) = &staging.origin else {
        let settings = discovery::discovered(context, settings, &staging.components)?;
        let foundation = backup::open_foundation(context, &settings);
        let work = Work::new(context, &settings, &foundation);
        for component in &staging.components {
            match work.unstage(component) {
                Ok(removed) => staged.removed.extend(removed),
                Err(errors) => causes.extend(errors),
            }
        }
        return ended(context, staged, causes, begun);
    };
    let settings = &discovery::discovered(context, settings, &staging.components)?;
    let stores = Stores::open(context, settings)?;
    let chosen = choose::open(context, settings, &stores, origin)?;
    staged.backup = chosen.manifest().id.to_string();
    let mut all = Vec::new();
    for component in &staging.components {
        all.extend(records(&chosen, component)?);
    }
    let foundation = backup::open_foundation(context, settings);
    let work = Work::new(context, settings, &foundation);
    for (record, target) in &all {
        if context.shutdown.is_raised() {
            causes.push(Stopped.into());
            break;
        }
        let name = target.name.as_str();
        let done = Stored::open(context, &chosen.reader, record)
            .map(|source| source.of_backup(chosen.manifest().id.as_str()))
            .map_err(|error| named(name, [error]))
            .and_then(|source| work.stage(target, &source, &mut staged.artifacts));
        if let Err(errors) = done {
            causes.extend(errors);
        }
    }
    ended(context, staged, causes, begun)
}

/// Artifacts in order, those of an instance together.
fn by_instance(artifacts: &[bbr::Artifact]) -> Vec<Vec<&bbr::Artifact>> {
    let mut instances: BTreeMap<usize, Vec<&bbr::Artifact>> = BTreeMap::new();
    for artifact in artifacts {
        let own = instances.entry(artifact.job.instance).or_default();
        own.push(artifact);
    }
    instances.into_values().collect()
}

fn ended(
    context: &Context,
    mut staged: Staged,
    causes: Vec<Error>,
    begun: std::time::SystemTime,
) -> Result<Staged> {
    staged.took = context
        .clock
        .now()
        .duration_since(begun)
        .unwrap_or_default();
    if causes.is_empty() {
        return Ok(staged);
    }
    Err(Failure {
        causes,
        state: format!(
            "nothing was locked; {} artifacts are staged; what else arrived stays and is not sent again",
            staged.artifacts.len()
        ),
        may_be_locked: Vec::new(),
        mend: None,
    }
    .into())
}

impl Work<'_> {
    /// Reaches a component, does something there, and leaves it.
    fn visit<T>(
        &self,
        component: &Component,
        name: &str,
        visit: impl FnOnce(&bbr::Run, &Reached) -> Result<T, Vec<Error>>,
    ) -> Result<T, Vec<Error>> {
        let context = self.context;
        let plan = backup::plan(self.settings, component).map_err(|error| named(name, [error]))?;
        context
            .monitor
            .info(&format!("{name}: reaching its instances"));
        let mark = backup::mark(context, self.settings).map_err(|error| named(name, [error]))?;
        let reached = self
            .foundation
            .reach(&plan.aim, &context.shutdown)
            .map_err(|error| named(name, [error.into()]))?;
        let visited = discover(context, self.foundation, &plan.aim, &reached)
            .map_err(|errors| named(name, listed(errors)))
            .and_then(|target| visit(&bbr::Run::restoring(target, mark), &reached));
        let left = named(name, close(&reached));
        match visited {
            Ok(value) if left.is_empty() => Ok(value),
            Ok(_) => Err(left),
            Err(errors) => Err(errors.into_iter().chain(left).collect()),
        }
    }

    fn stage(
        &self,
        target: &Target,
        source: &Stored<'_>,
        staged: &mut Vec<StagedArtifact>,
    ) -> Result<(), Vec<Error>> {
        let (context, name) = (self.context, target.name.as_str());
        let shutdown = &context.shutdown;
        if source.is_brought() {
            let why = anyhow!(
                "it was stored from a directory: its files come in no order by which they could be compared with \
                 what is staged; back it up with `lifeboat backup {}` to stage it",
                target.component
            );
            return Err(named(name, [why]));
        }
        self.visit(&target.component, name, |run, _| {
            run.check_stage(source.saved(), shutdown)
                .map_err(|errors| named(name, listed(errors)))?;
            let artifacts = run.artifacts();
            let together = |own: Vec<&bbr::Artifact>| -> Vec<Result<StagedArtifact>> {
                own.into_iter()
                    .take_while(|_| !shutdown.is_raised())
                    .map(|artifact| self.stage_one(name, run, source, artifact))
                    .collect()
            };
            let instances = by_instance(&artifacts);
            let outcomes = parallel::each(STAGES, instances, |_| shutdown.is_raised(), together);
            let results: Vec<_> = parallel::in_order(outcomes).into_iter().flatten().collect();
            let mut errors = Vec::new();
            if results.len() < artifacts.len() {
                errors.push(Stopped.into());
            }
            for result in results {
                match result {
                    Ok(one) => staged.push(one),
                    Err(error) => errors.push(error),
                }
            }
            match errors.is_empty() {
                true => Ok(()),
                false => Err(named(name, errors)),
            }
        })
    }

    fn stage_one(
        &self,
        component: &str,
        run: &bbr::Run,
        source: &Stored<'_>,
        artifact: &bbr::Artifact,
    ) -> Result<StagedArtifact> {
        let context = self.context;
        let name = &artifact.place.file_name;
        let doing = || format!("staging of {name} on {}", artifact.instance);
        let begin = Instant::now();
        let mut parts = source
            .parts(name)
            .with_context(doing)?
            .ok_or_else(|| anyhow!("{name} cannot be staged"))?;
        let label = format!("stage {name} on {}", artifact.instance);
        let meter = context.monitor.meter(&label, None);
        let monitor = &*context.monitor;
        let (of, wanted) = (parts.of, &mut *parts.wanted);
        let synced = run.stage(artifact, of, wanted, &meter, monitor, &context.shutdown);
        meter.finish();
        let synced = synced.map_err(Error::from).with_context(doing)?;
        let took = begin.elapsed();
        monitor.info(&format!(
            "{component}: staged {name} on {}: {} files, {}, of which {}, {} were sent, in {}",
            artifact.instance,
            units::count(synced.files),
            units::bytes(synced.bytes),
            units::count(synced.sent_files),
            units::bytes(synced.sent_bytes),
            clock::spoken(took)
        ));
        Ok(StagedArtifact {
            component: component.to_owned(),
            instance: artifact.instance.clone(),
            name: name.clone(),
            files: synced.files,
            bytes: synced.bytes,
            sent_files: synced.sent_files,
            sent_bytes: synced.sent_bytes,
            wire_bytes: synced.wire_bytes,
            took,
        })
    }

    /// Where what is staged of a component was removed, as `group/id`.
    fn unstage(&self, component: &Component) -> Result<Vec<String>, Vec<Error>> {
        let (context, name) = (self.context, component.to_string());
        self.visit(component, &name, |run, _| {
            let done = run
                .unstage(&context.shutdown)
                .map_err(|errors| named(&name, listed(errors)))?;
            let removed = done.into_iter().filter(|one| one.removed);
            Ok(removed.map(|one| one.instance).collect())
        })
    }
}
