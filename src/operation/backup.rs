//! A live backup from beginning to commit.
//!
//! All that can be checked is checked for every component before the first lock: a run that
//! cannot commit must not cost downtime. Then component after component; the manifest last.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail, ensure};

use super::live::{Live, Plan, Taken};
use super::settings::{Component, Settings};
use super::stores::Stores;
use super::{Context, describe, discovery};
use crate::bbr;
use crate::foundation::{Aim, Foundation};
use crate::repo;
use crate::repo::catalogue::Believed;
use crate::repo::format::{Build, Manifest};
use crate::repo::id::{BackupId, ComponentName};
use crate::repo::run::{Run, Summary};
use crate::report;
use crate::report::failure::Failure;
use crate::shutdown::{LOOK, Shutdown};

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
    let settings = &discovery::discovered(context, settings, components)?;
    let plans = plans(settings, components)?;
    let stores = Stores::open(context, settings)?;
    stores.probe(context)?;
    if let Some(done) = taken_by_this_build(context, settings, &stores, &names)? {
        return Ok(done);
    }
    let to = begin(context, settings, &stores, &names)?;
    let foundation = open_foundation(context, settings);
    let live = open_all(context, &foundation, plans, &mark(context, settings)?)?;
    let (summary, problems) = take_all(context, settings, live, &to)?;
    let mut backup = match commit(context, settings, &stores, &to, summary) {
        Ok(backup) => backup,
        Err(error) => return Err(uncommitted(error, problems, components).into()),
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

/// What each component means here.
pub(super) fn plans(settings: &Settings, components: &[Component]) -> Result<Vec<Plan>> {
    let foundation = &settings.foundation;
    components
        .iter()
        .map(|component| {
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
                    bail!("backup: {component} is not in this release")
                }
            };
            let deployment = matches!(aim, Aim::Deployment(_));
            Ok(Plan {
                name: component_name(component)?,
                aim,
                // bbr knows both for deployments only.
                unsafe_lock_free: foundation.unsafe_lock_free && deployment,
                with_manifest: foundation.with_manifest,
            })
        })
        .collect()
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

/// Reaches and checks all components; when one fails, none is taken.
fn open_all(
    context: &Context,
    foundation: &Foundation,
    plans: Vec<Plan>,
    mark: &bbr::Mark,
) -> Result<Vec<Live>> {
    let mut live = Vec::new();
    let mut begun = Vec::new();
    for plan in plans {
        let name = plan.name.clone();
        begun.push(name.to_string());
        match Live::open(context, foundation, plan, mark) {
            Ok(component) => {
                context.monitor.info(&format!(
                    "{name}: can be backed up: {}",
                    component.summary()
                ));
                live.push(component);
            }
            Err(mut causes) => {
                causes.extend(close_all(live));
                return Err(Failure {
                    causes,
                    state: "nothing was locked and nothing was stored".into(),
                    may_be_locked: Vec::new(),
                    // A Director may set up what it was asked for after we are gone.
                    mend: context.shutdown.is_raised().then(|| {
                        format!(
                            "if SSH users were left behind, lifeboat cleanup {}",
                            begun.join(" ")
                        )
                    }),
                }
                .into());
            }
        }
    }
    Ok(live)
}

fn close_all(live: impl IntoIterator<Item = Live>) -> Vec<Error> {
    live.into_iter().flat_map(Live::close).collect()
}

/// Takes one component. Those that wait need not wait for its unlock scripts after a signal:
/// the time is short.
fn take_one(context: &Context, component: Live, waiting: &mut Vec<Live>, to: &Run) -> Taken {
    let done = Shutdown::new();
    std::thread::scope(|scope| {
        let closer = scope.spawn(|| {
            while !done.is_raised() && context.shutdown.sleep(LOOK).is_ok() {}
            if context.shutdown.is_raised() {
                close_all(waiting.drain(..))
            } else {
                Vec::new()
            }
        });
        let mut taken = component.take(context, to);
        done.raise();
        match closer.join() {
            Ok(errors) => taken.errors.extend(errors),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        taken
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
    live: Vec<Live>,
    to: &Run,
) -> Result<(Summary, Problems)> {
    let mut problems = Problems::default();
    let mut records = Vec::new();
    let mut drained_bytes = 0;
    let mut begun = Vec::new();
    let mut waiting = live;
    while !waiting.is_empty() {
        let component = waiting.remove(0);
        begun.push(component.name().to_string());
        let taken = take_one(context, component, &mut waiting, to);
        problems.errors.extend(taken.errors);
        problems.may_be_locked.extend(taken.may_be_locked);
        drained_bytes += taken.drained_bytes;
        if let Some(record) = taken.record {
            let runs = taken.runs.into_iter();
            problems
                .runs
                .extend(runs.map(|(artifact, run)| (record.name.to_string(), artifact, run)));
            records.push(record);
            continue;
        }
        problems.errors.extend(close_all(waiting));
        let unlocked = problems.may_be_locked.is_empty();
        return Err(Failure {
            causes: problems.errors,
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
            may_be_locked: problems.may_be_locked,
        }
        .into());
    }
    let summary = Summary {
        components: records,
        drained_bytes,
        build: build_of(settings),
    };
    Ok((summary, problems))
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
    let mut taken: Vec<_> = manifest
        .components
        .iter()
        .map(|component| &component.name)
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
