//! The data of one component back into its deployment, by bbr's contract: straight from the stores,
//! or from a directory. Everything is checked before anything is touched.

mod choose;
mod directory;
mod live;
mod source;
mod stored;

use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};

use self::choose::Chosen;
use self::directory::Directory;
use self::live::{Live, Restored};
use self::source::Source;
use self::stored::Stored;
use super::settings::{Component, Origin, Restoration, Settings};
use super::stores::Stores;
use super::{Context, backup, discovery};
use crate::bbr;
use crate::repo::format::ComponentRecord;
use crate::report;
use crate::report::failure::Failure;

/// Restores what a step of [`Restoration::components`] is about.
///
/// # Errors
/// A [`Failure`] that says in what state things are.
pub fn restore(
    context: &Context,
    settings: &Settings,
    restoration: &Restoration,
) -> Result<report::Restored> {
    let [component] = restoration.components.as_slice() else {
        bail!("the step {} restores no data", restoration.step);
    };
    let settings = &discovery::discovered(context, settings, &restoration.components)?;
    let begun = context.clock.now();
    let mut report = report::Restored {
        step: restoration.step.to_string(),
        origin: String::new(),
        components: Vec::new(),
        took: Duration::ZERO,
    };
    if let Origin::Directory(path) = &restoration.origin {
        let source = Directory::open(context, path)?;
        report.origin = format!("directory {}", path.display());
        let target = Target {
            name: component.to_string(),
            mend: component.clone(),
            plan: component.clone(),
        };
        report
            .components
            .push(one(context, settings, &target, &source)?);
    } else {
        let stores = Stores::open(context, settings)?;
        let chosen = choose::open(context, settings, &stores, &restoration.origin)?;
        report.origin = format!("backup {}", chosen.manifest().id);
        for (record, plan) in records(&chosen, component)? {
            let target = Target {
                name: record.name.to_string(),
                mend: component.clone(),
                plan,
            };
            let source = Stored::open(context, &chosen, record)?;
            report
                .components
                .push(one(context, settings, &target, &source)?);
        }
    }
    report.took = context
        .clock
        .now()
        .duration_since(begun)
        .unwrap_or_default();
    Ok(report)
}

/// What is restored, how it is reached, and what its cleanup is called with.
struct Target {
    name: String,
    plan: Component,
    mend: Component,
}

/// The records of a component, each with what it is restored into: one, or those of all service
/// instances.
fn records<'a>(
    chosen: &'a Chosen,
    component: &Component,
) -> Result<Vec<(&'a ComponentRecord, Component)>> {
    let manifest = chosen.manifest();
    let found: Vec<_> = match component {
        Component::ServiceInstances => manifest
            .components
            .iter()
            .filter_map(|record| {
                let name = record.name.as_str().strip_prefix("service-instances/")?;
                Some((record, Component::Deployment(name.to_owned())))
            })
            .collect(),
        component => manifest
            .components
            .iter()
            .filter(|record| record.name.as_str() == component.to_string())
            .map(|record| (record, component.clone()))
            .collect(),
    };
    if found.is_empty() {
        let names: Vec<_> = manifest
            .components
            .iter()
            .map(|record| record.name.as_str())
            .collect();
        bail!(
            "backup {} holds no {component} to restore; it holds {}",
            manifest.id,
            names.join(", ")
        );
    }
    Ok(found)
}

/// Restores one component.
fn one(
    context: &Context,
    settings: &Settings,
    target: &Target,
    source: &dyn Source,
) -> Result<report::RestoredComponent> {
    let foundation = backup::open_foundation(context, settings);
    let plan = backup::plans(settings, std::slice::from_ref(&target.plan))?
        .pop()
        .ok_or_else(|| anyhow!("{} cannot be reached", target.name))?;
    let mend = backup::mend(std::slice::from_ref(&target.mend), bbr::Direction::Restore);
    let mark = backup::mark(context, settings)?;
    let name = &target.name;
    let live = match Live::open(context, &foundation, &plan.aim, name, source, &mark) {
        Ok(live) => live,
        Err(causes) => {
            return Err(Failure {
                causes,
                state: "nothing was locked and nothing was uploaded".into(),
                may_be_locked: Vec::new(),
                // A Director may set up what it was asked for after we are gone.
                mend: context
                    .shutdown
                    .is_raised()
                    .then(|| format!("if SSH users were left behind, {mend}")),
            }
            .into());
        }
    };
    context
        .monitor
        .info(&format!("{name}: can be restored: {}", live.summary()));
    let Restored {
        report,
        uploaded_only,
        errors,
        may_be_locked,
    } = live.restore(context, source);
    if errors.is_empty() {
        return Ok(report);
    }
    Err(Failure {
        state: state(uploaded_only, report.complete, may_be_locked.is_empty()),
        mend: Some(match may_be_locked.is_empty() {
            true => format!("if anything was left behind, {mend}; then run this step again"),
            false => format!("{mend}; then look whether this step must be run again"),
        }),
        causes: errors,
        may_be_locked,
    }
    .into())
}

/// What is true of the data now, in a few words.
fn state(uploaded_only: bool, complete: bool, unlocked: bool) -> String {
    let data = match (uploaded_only, complete) {
        (true, _) => "no restore script ran, so the data is as it was",
        (false, true) => {
            "all restore scripts ended well, so the data is restored, but the foundation is not clean"
        }
        (false, false) => {
            "restore scripts ran and not all ended well, so the data is neither as it was nor restored"
        }
    };
    match unlocked {
        true => format!("{data}; every instance is unlocked"),
        false => data.to_owned(),
    }
}

/// Each of bbr's errors with the component's name.
fn named(name: &str, errors: impl IntoIterator<Item = Error>) -> Vec<Error> {
    errors
        .into_iter()
        .map(|error| error.context(name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn the_state_says_what_became_of_the_data() {
        assert_eq!(
            state(true, false, true),
            "no restore script ran, so the data is as it was; every instance is unlocked"
        );
        assert!(state(false, true, false).contains("the data is restored"));
        assert!(state(false, false, true).contains("neither as it was nor restored"));
    }
}
