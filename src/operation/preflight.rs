//! Could it be backed up now? bbr's `pre-backup-check`.

use anyhow::{Error, Result};

use super::discovery::{self, Rights};
use super::guards::Guards;
use super::settings::{Component, Settings};
use super::{Context, backup, ops_manager, parts};
use crate::report::{Precheck, Problem};

/// Whether the components could be backed up now. Changes nothing but SSH users, which are
/// removed again.
///
/// # Errors
/// When that could not be found out.
pub fn pre_backup_check(
    context: &Context,
    settings: &Settings,
    components: &[Component],
) -> Result<Precheck> {
    let asked = discovery::find(context, settings, components, Rights::Backup)?;
    let settings = &asked.settings;
    let foundation = backup::open_foundation(context, settings);
    let mark = backup::mark(context, settings)?;
    let mut found = Precheck::default();
    let plans = parts::plans(context, settings, &foundation, components)?;
    let version = asked.asked.as_ref().map(|asked| asked.version.clone());
    let deployments = parts::deployments(&plans);
    let mut guards = Guards::new(
        context,
        settings,
        asked.asked,
        &foundation,
        components,
        deployments,
    )?;
    // A guard that would stop the backup is what this check is for.
    if let Err(error) = guards.before(components) {
        context.shutdown.check()?;
        found.problems.push(problem("guards", &error));
    }
    for plan in plans {
        let name = plan.name();
        let problems = match parts::open(context, &foundation, plan, &mark) {
            Ok(part) => {
                let why = part.summary().unwrap_or_else(|| {
                    let version = version.clone().unwrap_or_default();
                    format!("{}, {version}", ops_manager::UP)
                });
                found.ready.push(Problem {
                    what: name.clone(),
                    why,
                });
                part.close()
            }
            Err(errors) => errors,
        };
        context.shutdown.check()?;
        let problems = problems.iter().map(|error| problem(&name, error));
        found.problems.extend(problems);
    }
    Ok(found)
}

fn problem(what: &str, error: &Error) -> Problem {
    Problem {
        what: what.to_owned(),
        why: crate::report::failure::chain(error),
    }
}
