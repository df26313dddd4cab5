//! `lifeboat restore`: the plan, or one step.

use std::io::Write;

use anyhow::{Result, bail};

use super::{Ended, print, print_json};
use crate::config::{Action, Configuration, Door};
use crate::operation::settings::{Restoration, Step};
use crate::operation::{self, Context};
use crate::report::restore::shown;
use crate::report::text;

/// What stands behind `restore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Plan,
    Step(Step),
}

/// Reads it.
///
/// # Errors
/// A sentence that lists the steps there are.
pub(super) fn asked(text: &str) -> Result<Asked, String> {
    match text {
        "plan" => Ok(Asked::Plan),
        step => Step::parse(step).map(Asked::Step),
    }
}

impl Asked {
    /// How the configuration is read for it.
    pub(super) fn door(&self) -> Door {
        match self {
            Self::Plan => Door::RestorePlan,
            Self::Step(step) => Door::Restore(step.clone()),
        }
    }
}

/// Prints the plan, or runs one step and says what was done.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    match &configuration.action {
        Action::RestorePlan(origin, choices) => {
            let plan = operation::plan(context, &configuration.settings, origin, choices)?;
            if json {
                print_json(stdout, &shown::plan_json(&plan))
            } else {
                print(stdout, &shown::plan(&plan))
            }
        }
        Action::Restore(restoration) if json => {
            bail!(
                "--json belongs to `restore plan`, not to the step {}",
                restoration.step
            )
        }
        Action::Restore(restoration) => step(context, configuration, restoration, stdout),
        _ => bail!("there is nothing to restore"),
    }
}

/// One arm for each kind of step that is built.
fn step(
    context: &Context,
    configuration: &Configuration,
    restoration: &Restoration,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let settings = &configuration.settings;
    match &restoration.step {
        Step::Director | Step::Tas | Step::ServiceInstances | Step::Deployment(_) => {
            operation::before_data(context, settings, restoration)?;
            let restored = operation::restore(context, settings, restoration)?;
            context.monitor.info(text::restored(&restored).trim_end());
            let said = format!("restored {} from {}\n", restored.step, restored.origin);
            print(stdout, &said)
        }
        _ => print(
            stdout,
            &shown::step(&operation::step(context, settings, restoration)?),
        ),
    }
}
