//! The data of one component back into its deployment, by bbr's contract: straight from the stores,
//! or from a directory. Everything is checked before anything is touched.

mod choose;
mod directory;
mod live;
mod source;
mod stage;
mod stored;

use anyhow::{Error, Result, anyhow, bail};

use self::choose::Chosen;
use self::directory::Directory;
use self::live::{Live, Restored, Slots};
use self::source::Source;
pub use self::stage::stage;
pub(super) use self::stored::Stored;
use super::settings::{Component, Origin, Restoration, Settings};
use super::stores::Stores;
use super::{Context, backup, discovery};
use crate::bbr;
use crate::foundation::Foundation;
use crate::parallel;
use crate::repo::format::ComponentRecord;
use crate::report;
use crate::report::failure::Failure;
use crate::shutdown::Stopped;

/// Deployments restored side by side, of many that have nothing to do with each other.
const SIDE_BY_SIDE: usize = 4;
/// How the components of service instances are called.
const SERVICE_INSTANCE: &str = "service-instances/";

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
    let (origin, components) = if let Origin::Directory(path) = &restoration.origin {
        let source = Directory::open(context, path)?;
        let settings = discovery::discovered(context, settings, &restoration.components)?;
        let foundation = backup::open_foundation(context, &settings);
        let target = Target {
            name: component.to_string(),
            component: component.clone(),
        };
        let work = Work::new(context, &settings, &foundation);
        let restored = work.one(&target, &source)?;
        (format!("directory {}", path.display()), vec![restored])
    } else {
        let stores = Stores::open(context, settings)?;
        let chosen = choose::open(context, settings, &stores, &restoration.origin)?;
        let records = records(&chosen, component)?;
        let settings = discovery::discovered(context, settings, &restoration.components)?;
        let foundation = backup::open_foundation(context, &settings);
        let work = Work::new(context, &settings, &foundation);
        let restored = work.all(&chosen, &records)?;
        (format!("backup {}", chosen.manifest().id), restored)
    };
    Ok(report::Restored {
        step: restoration.step.to_string(),
        origin,
        components,
        took: context
            .clock
            .now()
            .duration_since(begun)
            .unwrap_or_default(),
    })
}

/// What is restored, and how it is reached.
#[derive(Debug)]
struct Target {
    name: String,
    component: Component,
}

/// The records of a component, each with what it is restored into: one, or those of all service
/// instances.
fn records<'a>(
    chosen: &'a Chosen,
    component: &Component,
) -> Result<Vec<(&'a ComponentRecord, Target)>> {
    let manifest = chosen.manifest();
    let into = |name: &str| match component {
        Component::ServiceInstances => {
            let deployment = name.strip_prefix(SERVICE_INSTANCE)?;
            Some(Component::Deployment(deployment.to_owned()))
        }
        component => (name == component.to_string()).then(|| component.clone()),
    };
    let found: Vec<_> = manifest
        .components
        .iter()
        .filter_map(|record| {
            let name = record.name.as_str();
            let target = Target {
                name: name.to_owned(),
                component: into(name)?,
            };
            Some((record, target))
        })
        .collect();
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

/// What all components of one restore share.
struct Work<'a> {
    context: &'a Context,
    settings: &'a Settings,
    foundation: &'a Foundation,
    slots: Slots,
}

impl<'a> Work<'a> {
    fn new(context: &'a Context, settings: &'a Settings, foundation: &'a Foundation) -> Self {
        Self {
            context,
            settings,
            foundation,
            slots: Slots::default(),
        }
    }

    /// Restores components that have nothing to do with each other, some side by side; one that
    /// fails does not stop the others.
    fn all(
        &self,
        chosen: &Chosen,
        records: &[(&ComponentRecord, Target)],
    ) -> Result<Vec<report::RestoredComponent>> {
        let shutdown = &self.context.shutdown;
        let outcomes = parallel::each(
            SIDE_BY_SIDE,
            records,
            |_| shutdown.is_raised(),
            |(record, target)| {
                let result = Stored::open(self.context, &chosen.reader, record)
                    .map(|source| source.of_backup(chosen.manifest().id.as_str()))
                    .and_then(|source| self.one(target, &source));
                (target.name.clone(), result)
            },
        );
        let results = outcomes.into_iter().map(|(_, result)| result).collect();
        together(results, records.len())
    }

    /// Restores one component.
    fn one(&self, target: &Target, source: &dyn Source) -> Result<report::RestoredComponent> {
        let context = self.context;
        let component = std::slice::from_ref(&target.component);
        let plan = backup::plans(self.settings, component)?
            .pop()
            .ok_or_else(|| anyhow!("{} cannot be reached", target.name))?;
        let mend = backup::mend(component, bbr::Direction::Restore);
        let mark = backup::mark(context, self.settings)?;
        let name = &target.name;
        let unstage = format!(
            "lifeboat stage {} --remove --confirm-target {}",
            target.component, self.settings.repository.foundation
        );
        let foundation = self.foundation;
        let live = match Live::open(context, foundation, &plan.aim, name, unstage, source, &mark) {
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
        } = live.restore(context, source, &self.slots);
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
}

/// One outcome of several: all that were restored, or what became of each.
fn together(
    results: Vec<(String, Result<report::RestoredComponent>)>,
    asked: usize,
) -> Result<Vec<report::RestoredComponent>> {
    if asked == 1 {
        return results.into_iter().map(|(_, result)| result).collect();
    }
    let (mut restored, mut states) = (Vec::new(), Vec::new());
    let mut whole = Failure {
        causes: Vec::new(),
        state: String::new(),
        may_be_locked: Vec::new(),
        mend: None,
    };
    let mut mends = Vec::new();
    let tried = results.len();
    for (name, result) in results {
        let error = match result {
            Ok(component) => {
                restored.push(component);
                continue;
            }
            Err(error) => error,
        };
        match error.downcast::<Failure>() {
            Ok(failure) => {
                states.push(format!("{name}: {}", failure.state));
                whole.causes.extend(failure.causes);
                whole.may_be_locked.extend(failure.may_be_locked);
                mends.extend(failure.mend);
            }
            Err(error) => {
                states.push(format!("{name}: nothing was touched"));
                whole.causes.push(error.context(name));
            }
        }
    }
    restored.sort_by(|a, b| a.name.cmp(&b.name));
    if whole.causes.is_empty() && tried == asked {
        return Ok(restored);
    }
    if whole.causes.is_empty() {
        whole.causes.push(Stopped.into());
    }
    let names: Vec<_> = restored.iter().map(|one| one.name.as_str()).collect();
    whole.state = format!(
        "{} of {asked} are restored ({}); {}",
        restored.len(),
        match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        },
        states.join("; ")
    );
    whole.mend = (!mends.is_empty()).then(|| mends.join(". And: "));
    Err(whole.into())
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
    use super::*;

    fn component(name: &str) -> report::RestoredComponent {
        report::RestoredComponent {
            name: name.to_owned(),
            phases: Vec::new(),
            artifacts: Vec::new(),
            complete: true,
        }
    }

    #[test]
    fn of_several_each_ones_fate_is_told() {
        let failure = Failure {
            causes: vec![anyhow!("dear")],
            state: "the data is as it was".to_owned(),
            may_be_locked: vec!["g/u0".to_owned()],
            mend: Some("lifeboat restore-cleanup deployment/c".to_owned()),
        };
        let results = vec![
            ("b".to_owned(), Ok(component("b"))),
            ("a".to_owned(), Ok(component("a"))),
            ("c".to_owned(), Err(failure.into())),
            ("d".to_owned(), Err(anyhow!("gone"))),
        ];
        let error = together(results, 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "dear. State: 2 of 4 are restored (a, b); c: the data is as it was; d: nothing was touched. \
             Jobs may still be locked on g/u0. To mend it: lifeboat restore-cleanup deployment/c"
        );
        let all = together(vec![("a".to_owned(), Ok(component("a")))], 1).unwrap();
        assert_eq!(all, [component("a")]);
        // A signal came before the second began.
        let error = together(vec![("a".to_owned(), Ok(component("a")))], 2).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("stopped by a signal. State: 1 of 2 are restored (a)")
        );
    }

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
