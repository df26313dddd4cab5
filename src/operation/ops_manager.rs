//! The component `ops-manager`: the exported installation, the foundation record, and what must be
//! at hand when the export is lost.

use std::io::{self, Read};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use super::guards::Guards;
use super::record::{self, Record};
use super::settings::Settings;
use super::{Context, backup, coverage, live};
use crate::artifact::{EntrySink, Form};
use crate::clock;
use crate::http::Wait;
use crate::monitor::Meter;
use crate::opsman::{self, Checker, Error as OpsManagerError, OpsManager};
use crate::repo::format::{ArtifactRecord, ComponentRecord, PhaseRecord};
use crate::repo::id::ComponentName;
use crate::repo::run::Run;
use crate::repo::writer::ArtifactName;
use crate::report::{ArtifactRun, units};
use crate::shutdown::Stopped;

/// The component's name.
pub(super) const NAME: &str = "ops-manager";
/// What a check says of it.
pub(super) const UP: &str = "Ops Manager is up and unlocked";
pub(super) const INSTALLATION: &str = "installation.zip";
const BREAK_GLASS: &str = "break-glass.json";
/// How often an export is asked for: older servers cut it when it takes long.
const ATTEMPTS: usize = 3;

/// An export that is on its way to the stores. Its record is written at the very end, when all
/// that it tells is known.
pub(super) struct Exported {
    started: SystemTime,
    phases: Vec<PhaseRecord>,
    installation: ArtifactRecord,
    runs: Vec<(String, ArtifactRun)>,
    record: Record,
    break_glass: Value,
}

/// Takes the export, checks it while it passes, and asks for all that the record tells.
///
/// # Errors
/// When Ops Manager gives no whole export, or cannot be asked.
pub(super) fn export(
    context: &Context,
    settings: &Settings,
    guards: &mut Guards<'_>,
    to: &Run,
) -> Result<Exported> {
    let started = context.clock.now();
    let wait = Wait::unless(&context.shutdown);
    let api = guards.api.clone();
    let asked = guards
        .asked
        .as_mut()
        .ok_or_else(|| anyhow!("ops_manager is missing: give its url, and who asks there"))?;
    let begin = Instant::now();
    context
        .monitor
        .info(&format!("{NAME}: export of {}", asked.client.name()));
    let mut attempt = 1;
    let (installation, run) = loop {
        match attempt_export(context, &mut asked.client, to, &wait) {
            Ok(done) => break done,
            Err(error) if attempt < ATTEMPTS && worth_repeating(&error) => {
                attempt += 1;
                context
                    .monitor
                    .warn(&format!("{NAME}: {error:#}; asking for the export again"));
                wait.pause(std::time::Duration::from_secs(5))?;
            }
            Err(error) => return Err(error),
        }
    };
    let mut phases = vec![live::phase("export", begin.elapsed())];
    let begin = Instant::now();
    let gathered = record::gather(context, settings, asked, api.as_deref(), &wait)
        .context("foundation record")?;
    phases.push(live::phase("record", begin.elapsed()));
    for warning in &gathered.warnings {
        context.monitor.warn(&format!("{NAME}: {warning}"));
    }
    if let Some(end) = &gathered.record.certificates.first_end {
        context.monitor.info(&format!(
            "{NAME}: the first certificate of the foundation ends at {end}; restored after that, it does not come up by itself"
        ));
    }
    Ok(Exported {
        started,
        phases,
        installation,
        runs: vec![(INSTALLATION.to_owned(), run)],
        record: gathered.record,
        break_glass: gathered.break_glass,
    })
}

/// What broke off may come whole the next time; what was refused will be refused again.
fn worth_repeating(error: &anyhow::Error) -> bool {
    if error.chain().any(|cause| cause.is::<Stopped>()) {
        return false;
    }
    match error.downcast_ref::<OpsManagerError>() {
        Some(OpsManagerError::Http(_)) => true,
        Some(OpsManagerError::Status { status, .. }) => *status >= 500,
        Some(_) => false,
        None => error
            .chain()
            .any(|cause| cause.is::<opsman::Broken>() || cause.is::<crate::http::Error>()),
    }
}

fn attempt_export(
    context: &Context,
    client: &mut OpsManager,
    to: &Run,
    wait: &Wait,
) -> Result<(ArtifactRecord, ArtifactRun)> {
    let begin = Instant::now();
    let mut writer = to.artifact(name(INSTALLATION)?)?;
    let mut export = client.export(wait)?;
    let meter = context.monitor.meter("export", export.length());
    let mut passing = Passing {
        from: &mut export,
        meter: &meter,
        checker: Checker::new(),
    };
    let stored = writer.stream(&mut passing);
    meter.finish();
    let checker = passing.checker;
    stored.map_err(of_stream).context("the export")?;
    let checked = checker.finish().context("the export is not a whole zip")?;
    writer.end(0)?;
    let (record, changed_bytes) = backup::finish(context, writer)?;
    let run = ArtifactRun {
        changed_bytes,
        took: begin.elapsed(),
    };
    context.monitor.info(&format!(
        "{NAME}: exported {}: {} entries, each checked, in {}",
        units::bytes(record.bytes),
        units::count(checked.entries as u64),
        clock::spoken(run.took)
    ));
    Ok((record, run))
}

/// The reason itself in place of the reader's wrapping of it.
fn of_stream(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<io::Error>() {
        Ok(error) => match error.downcast::<opsman::Broken>() {
            Ok(broken) => anyhow::Error::from(broken).context("it is not a whole zip"),
            Err(error) => match error.downcast::<crate::http::Error>() {
                Ok(error) => error.into(),
                Err(error) => error.into(),
            },
        },
        Err(error) => error,
    }
}

/// Counts and checks what is read.
struct Passing<'a, R> {
    from: &'a mut R,
    meter: &'a Meter,
    checker: Checker,
}

impl<R: Read> Read for Passing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.meter.add(read as u64);
        self.checker
            .take(&buffer[..read])
            .map_err(io::Error::other)?;
        Ok(read)
    }
}

impl Exported {
    /// What the foundation is made of.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Writes record and break-glass file, now that all is known. Gives the component and what
    /// only this run knows.
    ///
    /// # Errors
    /// When something cannot be stored.
    pub(super) fn finish(
        mut self,
        context: &Context,
        guards: &Guards<'_>,
        table: &[coverage::Line],
        to: &Run,
    ) -> Result<(ComponentRecord, Vec<(String, ArtifactRun)>)> {
        self.record.guards = guards.outcomes.clone();
        self.record.changed_meanwhile = guards.changed.clone();
        self.record.coverage = table.to_vec();
        let mut artifacts = vec![self.installation];
        let break_glass = format!("{:#}\n", self.break_glass);
        for (file, text) in [
            (record::FILE, self.record.text()),
            (BREAK_GLASS, break_glass),
        ] {
            let (record, run) = write(to, file, &text)?;
            artifacts.push(record);
            self.runs.push((file.to_owned(), run));
        }
        to.flush()?;
        let component = ComponentRecord {
            name: component_name()?,
            started: clock::rfc3339(self.started),
            finished: clock::rfc3339(context.clock.now()),
            phases: self.phases,
            artifacts,
            notes: guards.notes(NAME),
            downtime: Vec::new(),
            facts: Some(self.record.facts()),
        };
        Ok((component, self.runs))
    }
}

/// One small file as an artifact.
fn write(to: &Run, file: &str, text: &str) -> Result<(ArtifactRecord, ArtifactRun)> {
    write_file(to, component_name()?, file, text)
}

/// One small file as an artifact of a component.
///
/// # Errors
/// When it cannot be stored.
pub(super) fn write_file(
    to: &Run,
    component: ComponentName,
    file: &str,
    text: &str,
) -> Result<(ArtifactRecord, ArtifactRun)> {
    let begin = Instant::now();
    let mut writer = to.artifact(ArtifactName {
        component,
        name: file.to_owned(),
        form: Form::File,
        bbr: None,
    })?;
    writer.file(&[], text.len() as u64, &mut text.as_bytes())?;
    writer.end(0)?;
    let (record, changed_bytes) = writer.finish()?;
    let took = begin.elapsed();
    Ok((
        record,
        ArtifactRun {
            changed_bytes,
            took,
        },
    ))
}

fn component_name() -> Result<ComponentName> {
    ComponentName::parse(NAME).map_err(|problem| anyhow!("{problem}"))
}

fn name(file: &str) -> Result<ArtifactName> {
    Ok(ArtifactName {
        component: component_name()?,
        name: file.to_owned(),
        form: Form::File,
        bbr: None,
    })
}
