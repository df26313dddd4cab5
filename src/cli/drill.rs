//! `lifeboat drill` and `lifeboat drill-cleanup`.

use std::io::Write;

use anyhow::{Result, bail};

use super::{Ended, print, print_json};
use crate::config::{Action, Configuration};
use crate::operation::settings::End;
use crate::operation::{self, Context};
use crate::report::drill;

/// Rehearses a restore, or takes down what an earlier drill left.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Action::Drill(asked) = &configuration.action else {
        bail!("there is nothing to drill");
    };
    let settings = &configuration.settings;
    if asked.end == End::OnlyTearDown {
        let said = operation::tear_down(context, settings, asked)?;
        return print(stdout, &format!("{said}\n"));
    }
    let ended = operation::drill(context, settings, asked)?;
    if json {
        print_json(stdout, &drill::json(&ended.drilled))?;
    } else {
        print(stdout, &drill::text(&ended.drilled))?;
    }
    match ended.failure {
        Some(error) => Err(error),
        None if ended.drilled.passed() => Ok(Ended::Done),
        None => Ok(Ended::ProblemsFound),
    }
}
