//! `lifeboat report`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Ended, print};
use crate::operation::settings::Settings;
use crate::operation::{self, Context, Kept};
use crate::report::overview::{Overview, text};
use crate::report::{html, metrics};

/// Where a report goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outputs {
    pub(super) html: Option<PathBuf>,
    pub(super) json: Option<PathBuf>,
    pub(super) metrics: Option<PathBuf>,
    pub(super) to_store: bool,
}

/// That something is wrong does not fail a report: it is what the report is for. A store that does
/// not take it is a problem found.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    outputs: &Outputs,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let overview = operation::overview(context, settings)?;
    let mut shown = false;
    let wanted = [
        (Kept::Page, &outputs.html),
        (Kept::Json, &outputs.json),
        (Kept::Metrics, &outputs.metrics),
    ];
    for (kept, path) in wanted {
        let Some(path) = path else { continue };
        let rendered = render(&overview, kept)?;
        if path == Path::new("-") {
            shown = true;
            print(stdout, &rendered)?;
        } else {
            std::fs::write(path, rendered)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            context
                .monitor
                .info(&format!("written: {}", path.display()));
        }
    }
    let mut ended = Ended::Done;
    if outputs.to_store {
        ended = keep(context, settings, overview.clone())?;
    }
    if !shown {
        print(stdout, &text::text(&overview))?;
    }
    Ok(ended)
}

fn render(overview: &Overview, kept: Kept) -> Result<String> {
    match kept {
        Kept::Page => html::page(overview).context("the page cannot be made"),
        Kept::Json => serde_json::to_string_pretty(overview)
            .map(|text| text + "\n")
            .context("the report cannot be made JSON"),
        Kept::Metrics => Ok(metrics::text(overview)),
    }
}

/// All who read the bucket see it, so nothing in it was sealed.
fn keep(context: &Context, settings: &Settings, overview: Overview) -> Result<Ended> {
    let open = overview.without_sealed();
    let parts: Vec<(Kept, String)> = [Kept::Page, Kept::Json, Kept::Metrics]
        .into_iter()
        .map(|kept| Ok((kept, render(&open, kept)?)))
        .collect::<Result<_>>()?;
    let took = operation::keep_report(context, settings, &parts)?;
    context.monitor.info(&format!(
        "report.html, report.json and metrics.txt of {} are in {}",
        settings.repository.foundation,
        took.join(", ")
    ));
    Ok(if took.len() == settings.repository.stores.len() {
        Ended::Done
    } else {
        Ended::ProblemsFound
    })
}
