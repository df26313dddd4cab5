//! The inventory of a backup: taken, stored, and told of. Nothing that goes wrong here ends the
//! backup.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::FILE;
use super::gather::gather;
use crate::artifact::{EntrySink as _, Form};
use crate::clock;
use crate::foundation::Foundation;
use crate::http::Wait;
use crate::inventory::{Head, Inventory, word};
use crate::operation::guards::Guards;
use crate::operation::settings::Settings;
use crate::operation::{Context, backup};
use crate::repo::format::{ArtifactRecord, ComponentRecord};
use crate::repo::id::ComponentName;
use crate::repo::run::Run;
use crate::repo::writer::ArtifactName;
use crate::report::{ArtifactRun, units};

/// Components that an inventory tells of, most first.
const COMPONENTS: [&str; 3] = ["tas", "director", "ops-manager"];

/// What became of a backup's inventory.
#[derive(Debug)]
pub(in crate::operation) struct Kept {
    /// Whose artifact it is.
    component: &'static str,
    artifact: Option<(ArtifactRecord, ArtifactRun)>,
    notes: Vec<String>,
}

impl Kept {
    /// Before the lock of which component one is taken; `None`: there is to be none, which is said
    /// where nobody switched it off.
    pub(in crate::operation) fn when(
        context: &Context,
        settings: &Settings,
        names: &[String],
    ) -> Option<&'static str> {
        let component = COMPONENTS
            .into_iter()
            .find(|component| names.iter().any(|name| name == component))?;
        let given = &settings.foundation;
        if given.inventory.is_on(given.ops_manager.is_some()) {
            return Some(component);
        }
        if given.inventory.on.is_none() {
            context.monitor.info(
                "inventory: none is taken, for neither cloud_controller nor ops_manager says who may ask; this backup cannot be compared with what is restored from it",
            );
        }
        None
    }

    /// Takes one and stores it.
    pub(in crate::operation) fn take(
        context: &Context,
        settings: &Settings,
        foundation: &Foundation,
        guards: &mut Guards<'_>,
        to: &Run,
        component: &'static str,
    ) -> Self {
        let begin = Instant::now();
        let limit = settings.foundation.limits.inventory_timeout;
        let wait = Wait::unless(&context.shutdown).no_longer_than(limit);
        let taken = gather(context, settings, foundation, guards.asked.as_mut(), &wait);
        let mut kept = Self {
            component,
            artifact: None,
            notes: Vec::new(),
        };
        let stored = taken.and_then(|inventory| {
            let artifact = store(context, to, component, &inventory)?;
            Ok((inventory.head, artifact))
        });
        match stored {
            Ok((head, artifact)) => {
                context.monitor.info(&format!(
                    "inventory: {} things of {} kinds in {}",
                    units::count(head.total()),
                    head.kinds().len(),
                    clock::spoken(begin.elapsed())
                ));
                kept.artifact = Some(artifact);
                if let Some(lacking) = lacking(&head) {
                    kept.note(context, format!("inventory: without {lacking}"));
                }
            }
            // The run itself says that it was stopped.
            Err(_) if context.shutdown.is_raised() => {}
            Err(error) => kept.note(
                context,
                format!("inventory: there is none in this backup: {error:#}"),
            ),
        }
        kept
    }

    fn note(&mut self, context: &Context, text: String) {
        context.monitor.warn(&text);
        self.notes.push(text);
    }

    /// Puts it among the artifacts of its component. Gives what only this run knows.
    pub(in crate::operation) fn attach(
        self,
        records: &mut [ComponentRecord],
    ) -> Option<(String, String, ArtifactRun)> {
        let record = records
            .iter_mut()
            .find(|record| record.name.as_str() == self.component)?;
        record.notes.extend(self.notes);
        let (artifact, run) = self.artifact?;
        let name = artifact.name.clone();
        record.artifacts.push(artifact);
        Some((self.component.to_owned(), name, run))
    }
}

fn store(
    context: &Context,
    to: &Run,
    component: &str,
    inventory: &Inventory,
) -> Result<(ArtifactRecord, ArtifactRun)> {
    let begin = Instant::now();
    let mut writer = to.artifact(ArtifactName {
        component: ComponentName::parse(component).map_err(|problem| anyhow!("{problem}"))?,
        name: FILE.to_owned(),
        form: Form::File,
        bbr: None,
    })?;
    writer.stream(&mut inventory.text())?;
    writer.end(0)?;
    let (record, changed_bytes) = backup::finish(context, writer)?;
    let took = begin.elapsed();
    Ok((
        record,
        ArtifactRun {
            changed_bytes,
            took,
        },
    ))
}

/// What could not be had, each reason once.
fn lacking(head: &Head) -> Option<String> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for without in &head.without {
        let kinds = without.kinds.iter().map(|kind| word(kind));
        reasons.entry(&without.why).or_default().extend(kinds);
    }
    let each = reasons
        .iter()
        .map(|(why, kinds)| format!("{} ({why})", kinds.join(", ")));
    let all: Vec<_> = each.collect();
    (!all.is_empty()).then(|| all.join("; "))
}
