//! Artifacts out of a directory in bbr's layout: the real bbr's, or what a get wrote.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::source::{Source, validate};
use crate::artifact::copy;
use crate::artifact::name::{is_safe, shown};
use crate::artifact::tar::{Entry, EntryKind};
use crate::artifact::{Digest, TarSource};
use crate::bbr;
use crate::bbr::artifact_metadata::Recorded;
use crate::operation::Context;
use crate::operation::fetch::METADATA;
use crate::store::is_segment;

/// What is read of a tar at once.
const BUFFER: usize = 256 * 1024;

/// A directory whose checksums are right.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    saved: bbr::Saved,
}

impl Directory {
    /// Reads all of it, and compares every checksum with what is recorded.
    pub(super) fn open(context: &Context, path: &Path) -> Result<Self> {
        let shown = path.display();
        ensure!(
            path.is_dir(),
            "from: {shown} is not a directory; give one in bbr's artifact layout (with a file `metadata`)"
        );
        let at = path.join(METADATA);
        let metadata = File::open(&at).with_context(|| {
            format!(
                "from: {} cannot be read, so nothing can be validated",
                at.display()
            )
        })?;
        let recorded = Recorded::read(BufReader::new(metadata))
            .map_err(|problem| anyhow!("from: {} cannot be validated: {problem}", at.display()))?;
        let tars = tars(path)?;
        context
            .monitor
            .info(&format!("comparing the checksums of {shown}"));
        let total = tars.iter().map(|(_, bytes)| bytes).sum();
        let meter = context
            .monitor
            .meter(&format!("compare {shown}"), Some(total));
        let names: Vec<String> = tars.into_iter().map(|(name, _)| name).collect();
        let saved = validate(recorded, &names, &mut |name, each| {
            context.shutdown.check()?;
            if !is_segment(name) || !names.iter().any(|known| known == name) {
                return Ok(None);
            }
            let mut size = bbr::Size::default();
            let mut null = std::io::sink();
            walk(&path.join(name), &mut null, &mut |entry, digest| {
                if entry.kind == EntryKind::File {
                    size.files += 1;
                    size.bytes += entry.size;
                    meter.add(entry.size);
                }
                each(entry, digest);
            })
            .with_context(|| format!("{name} cannot be validated"))?;
            Ok(Some(size))
        })
        .with_context(|| format!("from: {shown}"));
        meter.finish();
        Ok(Self {
            path: path.to_owned(),
            saved: saved?,
        })
    }
}

fn tars(path: &Path) -> Result<Vec<(String, u64)>> {
    let failed = || format!("from: {} cannot be read", path.display());
    let mut tars = Vec::new();
    for child in std::fs::read_dir(path).with_context(failed)? {
        let child = child.with_context(failed)?;
        // The real bbr follows links too.
        let metadata = std::fs::metadata(child.path()).with_context(failed)?;
        if let Ok(name) = child.file_name().into_string()
            && name.ends_with(".tar")
            && metadata.is_file()
        {
            tars.push((name, metadata.len()));
        }
    }
    tars.sort();
    Ok(tars)
}

/// Copies a tar byte for byte, and looks at every entry.
fn walk(
    path: &Path,
    to: &mut dyn Write,
    each: &mut dyn FnMut(&Entry, Option<Digest>),
) -> Result<()> {
    let file = BufReader::with_capacity(BUFFER, File::open(path)?);
    copy::copy(file, to, &mut |entry, digest| {
        if !is_safe(&entry.name) {
            return Err(format!(
                "its entry `{}` does not lie below `./`",
                shown(&entry.name)
            ));
        }
        each(entry, digest);
        Ok(())
    })?;
    Ok(())
}

impl Source for Directory {
    fn saved(&self) -> &bbr::Saved {
        &self.saved
    }

    fn open(&self, file_name: &str) -> Result<Box<dyn TarSource + '_>> {
        Ok(Box::new(Tar(self.path.join(file_name))))
    }
}

struct Tar(PathBuf);

impl TarSource for Tar {
    fn write_tar(
        &mut self,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&Entry, Option<Digest>),
    ) -> Result<()> {
        walk(&self.0, to, each).with_context(|| format!("{} cannot be read", self.0.display()))
    }
}
