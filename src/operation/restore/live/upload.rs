//! One artifact onto its instance: the difference to what is staged there, or all of it.

use std::time::Instant;

use anyhow::{Context as _, Error};

use super::Live;
use crate::bbr;
use crate::clock;
use crate::operation::Context;
use crate::operation::restore::source::Source;
use crate::report::{RestoredArtifact, units};

/// What is on its instance, or next to where it belongs.
pub(super) struct Uploaded {
    pub(super) report: RestoredArtifact,
    /// Whether it must still be put in its place.
    pub(super) staged: bool,
}

impl Live {
    /// Uploads one artifact: the difference to what is staged, or all of it.
    pub(super) fn upload(
        &self,
        context: &Context,
        source: &dyn Source,
        artifact: &bbr::Artifact,
    ) -> Result<Uploaded, Error> {
        if let Some(report) = self.difference(context, source, artifact)? {
            return Ok(Uploaded {
                report,
                staged: true,
            });
        }
        self.whole(context, source, artifact)
            .map(|report| Uploaded {
                report,
                staged: false,
            })
    }

    /// Sends what differs from what is staged, if anything is that can be used.
    fn difference(
        &self,
        context: &Context,
        source: &dyn Source,
        artifact: &bbr::Artifact,
    ) -> Result<Option<RestoredArtifact>, Error> {
        let name = &artifact.place.file_name;
        let doing = || format!("upload of {name} to {}", artifact.instance);
        let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
        let begin = Instant::now();
        if !self.run.is_staged(artifact, monitor, shutdown)? {
            return Ok(None);
        }
        let Some(mut parts) = source.parts(name).with_context(doing)? else {
            monitor.info(&format!(
                "{}: what is staged of {name} is not used: only what Lifeboat itself backed up can be compared with it",
                self.name
            ));
            self.check_whole(context, source, artifact)?;
            return Ok(None);
        };
        let label = format!("upload {name} to {}", artifact.instance);
        let meter = monitor.meter(&label, None);
        let (of, wanted) = (parts.of, &mut *parts.wanted);
        let uploaded = self
            .run
            .upload_staged(artifact, of, wanted, &meter, monitor, shutdown);
        meter.finish();
        let Some(synced) = uploaded.map_err(Error::from).with_context(doing)? else {
            self.check_whole(context, source, artifact)?;
            return Ok(None);
        };
        let took = begin.elapsed();
        monitor.info(&format!(
            "{}: uploaded {name} to {}: of {} files, {}, those that were not staged: {}, {}; compared, in {}",
            self.name,
            artifact.instance,
            units::count(synced.files),
            units::bytes(synced.bytes),
            units::count(synced.sent_files),
            units::bytes(synced.sent_bytes),
            clock::spoken(took)
        ));
        Ok(Some(RestoredArtifact {
            instance: artifact.instance.clone(),
            name: name.clone(),
            files: synced.files,
            bytes: synced.bytes,
            took,
        }))
    }

    /// Puts what was staged in its place; or, where that cannot be, uploads all of it.
    pub(super) fn adopt(
        &self,
        context: &Context,
        source: &dyn Source,
        artifact: &bbr::Artifact,
        report: RestoredArtifact,
    ) -> Result<RestoredArtifact, Error> {
        let (monitor, shutdown) = (&*context.monitor, &context.shutdown);
        let size = bbr::Size {
            files: report.files,
            bytes: report.bytes,
        };
        let adopted = match source.comparable() {
            Some(of) => self.run.adopt(artifact, of, size, monitor, shutdown)?,
            None => false,
        };
        if adopted {
            return Ok(report);
        }
        self.check_whole(context, source, artifact)?;
        self.whole(context, source, artifact)
    }

    /// What is staged stays where it is not used; a disk that holds the artifact once must not be
    /// filled with it late in a failover.
    fn check_whole(
        &self,
        context: &Context,
        source: &dyn Source,
        artifact: &bbr::Artifact,
    ) -> Result<(), Error> {
        let name = &artifact.place.file_name;
        let bytes = size(source, artifact).bytes;
        self.run
            .check_whole(artifact, bytes, &self.unstage, &context.shutdown)
            .map_err(Error::from)
            .with_context(|| format!("upload of {name} to {}", artifact.instance))
    }

    fn whole(
        &self,
        context: &Context,
        source: &dyn Source,
        artifact: &bbr::Artifact,
    ) -> Result<RestoredArtifact, Error> {
        let name = &artifact.place.file_name;
        let doing = || format!("upload of {name} to {}", artifact.instance);
        let begin = Instant::now();
        let size = size(source, artifact);
        let mut tar = source.open(name).with_context(doing)?;
        let label = format!("upload {name} to {}", artifact.instance);
        let meter = context.monitor.meter(&label, Some(size.bytes));
        let uploaded = self
            .run
            .upload(artifact, size.files, &mut *tar, &meter, &context.shutdown);
        meter.finish();
        let uploaded = uploaded.map_err(Error::from).with_context(doing)?;
        let took = begin.elapsed();
        context.monitor.info(&format!(
            "{}: uploaded {name} to {}: {} files, {}, compared, in {}",
            self.name,
            artifact.instance,
            units::count(uploaded.files),
            units::bytes(size.bytes),
            clock::spoken(took)
        ));
        Ok(RestoredArtifact {
            instance: artifact.instance.clone(),
            name: name.clone(),
            files: uploaded.files,
            bytes: size.bytes,
            took,
        })
    }
}

fn size(source: &dyn Source, artifact: &bbr::Artifact) -> bbr::Size {
    let saved = source.saved().artifacts.get(&artifact.place.kind);
    saved.copied().unwrap_or_default()
}
