//! One artifact of a live component on its way from the instance to the stores.

use std::time::Instant;

use anyhow::Result;

use super::Live;
use crate::artifact::Form;
use crate::bbr::{self, How};
use crate::clock;
use crate::operation::guards::Skipped;
use crate::operation::{Context, backup};
use crate::repo::format::{ArtifactRecord, BbrName};
use crate::repo::run::Run;
use crate::repo::writer::ArtifactName;
use crate::report::{ArtifactRun, units};

/// An artifact that was drained.
pub(super) struct Drained {
    pub(super) record: ArtifactRecord,
    pub(super) run: ArtifactRun,
    /// Bytes that went through the connection.
    pub(super) wire_bytes: u64,
    /// Whether it holds a marker in place of blobs.
    pub(super) skipped: bool,
}

impl Live {
    /// Drains one artifact, incrementally where there is a base.
    pub(super) fn drain_one(
        &self,
        context: &Context,
        to: &Run,
        artifact: &bbr::Artifact,
    ) -> Result<Drained> {
        let name = &artifact.place.file_name;
        let begin = Instant::now();
        let meter = context.monitor.meter(&format!("drain {name}"), None);
        let mut writer = to.artifact(ArtifactName {
            component: self.plan.name.clone(),
            name: name.clone(),
            form: Form::Tar,
            bbr: Some(bbr_name(&artifact.place.kind)),
        })?;
        let mut watched = Skipped::new(&mut writer);
        let drained = self.run.drain(
            artifact,
            &mut watched,
            &meter,
            &*context.monitor,
            &context.shutdown,
        );
        meter.finish();
        let drained = drained?;
        let skipped = watched.found;
        let (record, changed_bytes) = backup::finish(context, writer)?;
        let run = ArtifactRun {
            changed_bytes,
            took: begin.elapsed(),
        };
        let kept = match drained.how {
            How::Incremental => format!(
                ", {} files taken over from the base",
                units::count(drained.kept_files)
            ),
            How::Full | How::FullBecause(_) => String::new(),
        };
        context.monitor.info(&format!(
            "{}: drained {name} from {}: {} files, {} ({} changed) in {}; {} over SSH{kept}",
            self.plan.name,
            artifact.instance,
            units::count(record.files),
            units::bytes(record.bytes),
            units::bytes(changed_bytes),
            clock::spoken(run.took),
            units::bytes(drained.wire_bytes),
        ));
        if drained.unrestorable.count > 0 {
            context.monitor.warn(&format!(
                "{name}: {} entries are kept that bbr itself cannot restore (links, or names with white space, quotes or backslashes): {}",
                drained.unrestorable.count,
                drained.unrestorable.examples.join(", ")
            ));
        }
        Ok(Drained {
            record,
            run,
            wire_bytes: drained.wire_bytes,
            skipped,
        })
    }
}

fn bbr_name(kind: &bbr::PlaceKind) -> BbrName {
    match kind {
        bbr::PlaceKind::Instance { group, index, job } => BbrName::Instance {
            instance: group.clone(),
            index: index.clone(),
            job: job.clone(),
        },
        bbr::PlaceKind::Custom { name } => BbrName::Custom {
            custom: name.clone(),
        },
    }
}
