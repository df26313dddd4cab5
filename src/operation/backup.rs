//! A live backup from beginning to commit.
//!
//! All that can be checked is checked for every component before the first lock: a run that
//! cannot commit must not cost downtime. Then component after component; the manifest last.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail, ensure};

use super::discovery::Rights;
use super::guards::Guards;
use super::inventory::Kept;
use super::live::{DRAINS, Plan};
use super::parts::{self, Ended, Part, Taking};
use super::settings::{Component, Settings};
use super::stores::Stores;
use super::{Context, describe, discovery, probes};
use crate::bbr;
use crate::bosh;
use crate::foundation::{Aim, Foundation};
use crate::repo;
use crate::repo::catalogue::Believed;
use crate::repo::format::{ArtifactRecord, Build, Manifest};
use crate::repo::id::{BackupId, ComponentName};
use crate::repo::run::{Run, Summary};
use crate::repo::writer::ArtifactWriter;
use crate::report;
use crate::report::failure::Failure;
use crate::report::units;

/// How far back a build of ours may have committed: longer than any build runs.
const BUILD_AGE: Duration = Duration::from_secs(7 * 86_400);
/// How many manifests are read at most in search of this build's.
const MOST_OF_BUILD: usize = 50;

/// Backs up live. Within one build the same components are taken once.
///
/// # Errors
/// A [`Failure`] that says in what state things are.
pub fn backup(
    context: &Context,
    settings: &Settings,
    components: &[Component],
) -> Result<report::Backup> {
    ensure!(
        !components.is_empty(),
        "backup: name at least one component"
    );
    let names = components
        .iter()
        .map(component_name)
        .collect::<Result<Vec<_>>>()?;
    let stores = Stores::open(context, settings)?;
    stores.probe(context)?;
    if let Some(done) = taken_by_this_build(context, settings, &stores, &names)? {
        return Ok(done);
    }
    let mut found = discovery::find(context, settings, components, Rights::Backup)?;
    found.settings.probes = Some(probes::watched(context, &mut found));
    let settings = &found.settings;
    let foundation = open_foundation(context, settings);
    let plans = parts::plans(context, settings, &foundation, components)?;
    let names = parts::names(&plans)?;
    let to = begin(context, settings, &stores, &names)?;
    let deployments = parts::deployments(&plans);
    let mut guards = Guards::new(
        context,
        settings,
        found.asked,
        &foundation,
        components,
        deployments,
    )?;
    // What is wrong with the Director itself, those who reach the instances through it say
    // better; their success does not make up for a guard that got no answer.
    let unanswered = match guards.before(components) {
        Err(error) if error.is::<bosh::Error>() => Some(error),
        Err(error) => return Err(unbegun(vec![error]).into()),
        Ok(()) => None,
    };
    let live = parts::open_all(context, &foundation, plans, &mark(context, settings)?)?;
    if let Some(error) = unanswered {
        let mut causes = vec![error];
        causes.extend(parts::close_all(live));
        return Err(unbegun(causes).into());
    }
    let taken = take_all(context, settings, &foundation, live, &mut guards, &to);
    let (summary, problems) = taken.inspect_err(|_| leave(context, &to))?;
    let mut backup = match commit(context, settings, &stores, &to, summary) {
        Ok(backup) => backup,
        Err(error) => {
            leave(context, &to);
            return Err(uncommitted(error, problems, components).into());
        }
    };
    describe::add_runs(&mut backup, &problems.runs);
    if problems.errors.is_empty() {
        return Ok(backup);
    }
    Err(Failure {
        causes: problems.errors,
        state: format!(
            "backup {} is committed and complete in {}, but the foundation is not clean",
            backup.id,
            backup.copies.join(", ")
        ),
        may_be_locked: problems.may_be_locked,
        mend: Some(mend(components, bbr::Direction::Backup)),
    }
    .into())
}

/// Nothing was begun on the foundation.
fn unbegun(causes: Vec<Error>) -> Failure {
    Failure {
        causes,
        state: "nothing was locked and nothing was stored".into(),
        may_be_locked: Vec::new(),
        mend: None,
    }
}

/// All is drained, but the commit failed.
fn uncommitted(error: Error, problems: Problems, components: &[Component]) -> Failure {
    let clean = problems.errors.is_empty();
    let mut causes = vec![error];
    causes.extend(problems.errors);
    Failure {
        causes,
        state: match (clean, problems.may_be_locked.is_empty()) {
            (true, _) => "every instance is unlocked and clean".into(),
            (_, true) => "every instance is unlocked".into(),
            _ => String::new(),
        },
        may_be_locked: problems.may_be_locked,
        mend: (!clean).then(|| mend(components, bbr::Direction::Backup)),
    }
}

/// The ways to the foundation.
pub(super) fn open_foundation(context: &Context, settings: &Settings) -> Foundation {
    Foundation::new(
        settings.foundation.clone(),
        env!("CARGO_PKG_VERSION"),
        Arc::clone(&context.monitor),
        Arc::clone(&context.mask),
    )
}

/// What each component means here; not for those that are more than one aim.
pub(super) fn plans(settings: &Settings, components: &[Component]) -> Result<Vec<Plan>> {
    let plan = |component| plan(settings, component);
    components.iter().map(plan).collect()
}

/// What a component means here.
pub(super) fn plan(settings: &Settings, component: &Component) -> Result<Plan> {
    let foundation = &settings.foundation;
    let aim = match component {
        Component::Director => Aim::Director,
        Component::Tas => {
            let deployment = foundation.tas_deployment.clone().ok_or_else(|| {
                anyhow!("tas.deployment is missing: give the name of the TAS deployment (`bosh deployments` lists it, cf-…)")
            })?;
            Aim::Deployment(deployment)
        }
        Component::Deployment(name) => Aim::Deployment(name.clone()),
        Component::OpsManager | Component::ServiceInstances => {
            bail!("{component} has no instances of its own")
        }
    };
    let deployment = matches!(aim, Aim::Deployment(_));
    Ok(Plan {
        name: component_name(component)?,
        aim,
        // bbr knows both for deployments only.
        unsafe_lock_free: foundation.unsafe_lock_free && deployment,
        with_manifest: foundation.with_manifest,
        drains: DRAINS,
    })
}

/// Who marks instances: unique to this run.
pub(super) fn mark(context: &Context, settings: &Settings) -> Result<bbr::Mark> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow!("no random bytes: {error}"))?;
    Ok(bbr::Mark {
        run: hex::encode(random),
        foundation: settings.repository.foundation.clone(),
        started: context.clock.now(),
    })
}

/// What only the run knows, and what went wrong around a backup that is complete all the same.
#[derive(Debug, Default)]
struct Problems {
    runs: Vec<(String, String, report::ArtifactRun)>,
    errors: Vec<Error>,
    may_be_locked: Vec<String>,
}

fn take_all(
    context: &Context,
    settings: &Settings,
    foundation: &Foundation,
    live: Vec<Part>,
    guards: &mut Guards<'_>,
    to: &Run,
) -> Result<(Summary, Problems)> {
    let mut taking = Taking::new(context, settings, to);
    let mut begun = Vec::new();
    let mut waiting = live;
    let names: Vec<String> = waiting.iter().map(Part::name).collect();
    let told = Kept::when(context, settings, &names);
    while !waiting.is_empty() {
        let part = waiting.remove(0);
        if let Some(component) = told.filter(|component| part.name() == *component) {
            taking.inventory = Some(Kept::take(
                context, settings, foundation, guards, to, component,
            ));
        }
        begun.push(part.name());
        if taking.take(part, &mut waiting, guards) {
            continue;
        }
        taking.errors.extend(parts::close_all(waiting));
        return Err(not_taken(taking, &begun).into());
    }
    let ended = taking.end(foundation, guards);
    let Ended {
        records,
        drained_bytes,
        runs,
        errors,
        may_be_locked,
    } = match ended {
        Ok(ended) => ended,
        Err(taking) => return Err(not_taken(*taking, &begun).into()),
    };
    let summary = Summary {
        components: records,
        drained_bytes,
        build: build_of(settings),
    };
    let problems = Problems {
        runs,
        errors,
        may_be_locked,
    };
    Ok((summary, problems))
}

/// What is said when a component could not be taken.
fn not_taken(taking: Taking<'_>, begun: &[String]) -> Failure {
    let unlocked = taking.may_be_locked.is_empty();
    Failure {
        causes: taking.errors,
        state: if unlocked {
            "no backup was committed; every instance is unlocked".into()
        } else {
            "no backup was committed".into()
        },
        mend: Some(format!(
            "{}lifeboat cleanup {}",
            if unlocked {
                "if anything was left behind, "
            } else {
                ""
            },
            begun.join(" ")
        )),
        may_be_locked: taking.may_be_locked,
    }
}

/// Chooses the chain; nothing of the foundation is touched yet.
pub(super) fn begin(
    context: &Context,
    settings: &Settings,
    stores: &Stores,
    names: &[ComponentName],
) -> Result<Run> {
    let run = Run::begin(
        stores.repo_settings(settings)?,
        Arc::clone(&stores.copies),
        stores.bridge.clone(),
        names,
        &*context.clock,
        &*context.monitor,
    )?;
    // From here on a store that comes back is worth waiting for.
    stores.patience.stream();
    Ok(run)
}

/// Ends an artifact; says aloud when the base's could not be read, so that it was stored again.
pub(super) fn finish(context: &Context, writer: ArtifactWriter) -> Result<(ArtifactRecord, u64)> {
    let problem = writer.base_problem().map(str::to_owned);
    let (record, changed_bytes) = writer.finish()?;
    if let Some(problem) = problem {
        context.monitor.warn(&format!(
            "{}: the base cannot be read, so what it holds was stored again: {problem}",
            record.name
        ));
    }
    Ok((record, changed_bytes))
}

/// After a failure, when all that was locked is unlocked: leaves what the run finished to the next.
pub(super) fn leave(context: &Context, run: &Run) {
    match run.leave_partial(&*context.clock) {
        Ok(None) => {}
        Ok(Some(left)) => context.monitor.info(&format!(
            "{} of {} that this run finished stay in the stores ({}, in {}): the next run builds upon them and sends nothing of them again",
            match left.artifacts {
                1 => "1 artifact".to_owned(),
                many => format!("{many} artifacts"),
            },
            units::bytes(left.bytes),
            left.id,
            left.stores.join(", ")
        )),
        Err(error) => context.monitor.warn(&format!(
            "what this run finished could not be left to the next one: {error}"
        )),
    }
}

/// Writes the manifest and says what there is now.
pub(super) fn commit(
    context: &Context,
    settings: &Settings,
    stores: &Stores,
    run: &Run,
    summary: Summary,
) -> Result<report::Backup> {
    let (signed, committed) = run.commit(summary, &*context.clock)?;
    for problem in &committed.without {
        context
            .monitor
            .warn(&format!("this backup is not in every store: {problem}"));
    }
    let origin = match &signed.signature {
        Some(_) => report::Origin::Signed(stores.own_fingerprint(settings)?),
        None => report::Origin::Unsigned,
    };
    let configured = settings.repository.stores.len();
    Ok(describe::from_manifest(
        &signed.manifest,
        origin,
        committed.written,
        configured,
    ))
}

/// The backup that this build has committed already, if it has: a put that Concourse runs
/// again must not lock the foundation again.
pub(super) fn taken_by_this_build(
    context: &Context,
    settings: &Settings,
    stores: &Stores,
    names: &[ComponentName],
) -> Result<Option<report::Backup>> {
    let Some(build) = build_of(settings).filter(|build| !build.id.is_empty()) else {
        return Ok(None);
    };
    let after = context.clock.now().checked_sub(BUILD_AGE);
    let after = after.map(|time| BackupId::new(time, None, [0; 4]));
    let catalogue = stores.catalogue();
    let listing = catalogue.list(after.as_ref())?;
    let mut found = None;
    let each = |listed: &repo::catalogue::Listed, believed: Believed| {
        if is_of_build(&believed.signed.manifest, &build, names)
            && listed.stores.len() >= stores.copies.min_copies()
        {
            found = Some((listed.clone(), believed));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    catalogue.newest_first(&listing, MOST_OF_BUILD, each, |_, _| {})?;
    Ok(found.map(|(listed, believed)| {
        let copies = stores.copies.names_of(listed.stores);
        let mut backup = describe::backup(&believed, copies, settings.repository.stores.len());
        backup.repeated = true;
        backup
    }))
}

fn is_of_build(manifest: &Manifest, build: &Build, names: &[ComponentName]) -> bool {
    let same_build = manifest
        .build
        .as_ref()
        .is_some_and(|taken| taken.id == build.id && taken.atc == build.atc);
    // What a component expands to is not asked for by itself.
    let mut taken: Vec<_> = manifest
        .components
        .iter()
        .map(|component| &component.name)
        .filter(|name| !name.as_str().starts_with("service-instances/"))
        .collect();
    let mut asked: Vec<_> = names.iter().collect();
    taken.sort();
    asked.sort();
    same_build && taken == asked
}

/// The build that asks, as a manifest records it.
pub(super) fn build_of(settings: &Settings) -> Option<Build> {
    settings.build.as_ref().map(describe::build_record)
}

/// A component's name in the repository.
pub(super) fn component_name(component: &Component) -> Result<ComponentName> {
    ComponentName::parse(&component.to_string()).map_err(|problem| anyhow!("{problem}"))
}

/// The command that mends what a run left.
pub(super) fn mend(components: &[Component], direction: bbr::Direction) -> String {
    let names: Vec<_> = components.iter().map(ToString::to_string).collect();
    format!("lifeboat {} {}", direction.cleanup(), names.join(" "))
}
