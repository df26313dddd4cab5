//! Could it be backed up now? bbr's `pre-backup-check`.

use anyhow::Result;

use super::live::Live;
use super::settings::{Component, Settings};
use super::{Context, backup, discovery};
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
    let settings = &discovery::discovered(context, settings, components)?;
    let foundation = backup::open_foundation(context, settings);
    let mark = backup::mark(context, settings)?;
    let mut found = Precheck::default();
    for plan in backup::plans(settings, components)? {
        let name = plan.name.to_string();
        let problems = match Live::open(context, &foundation, plan, &mark) {
            Ok(live) => {
                found.ready.push(Problem {
                    what: name.clone(),
                    why: live.summary(),
                });
                live.close()
            }
            Err(errors) => errors,
        };
        context.shutdown.check()?;
        found
            .problems
            .extend(problems.into_iter().map(|error| Problem {
                what: name.clone(),
                why: crate::report::failure::chain(&error),
            }));
    }
    Ok(found)
}
