//! From the stores into a directory: `in` with `download`, `lifeboat fetch`.
//!
//! One folder per component, in bbr's own artifact layout. A folder appears under its name
//! when all of it is there and verified.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::catalogue::{add_proofs, find, tell_origin};
use super::settings::{Selection, Settings};
use super::stores::Stores;
use super::tree::{TreeWriter, check_room};
use super::{Context, describe};
use crate::artifact::tar::EntryKind;
use crate::artifact::{Digest, Form};
use crate::bbr::artifact_metadata::{Checksums, MetadataWriter};
use crate::clock;
use crate::monitor::Meter;
use crate::repo::format::{ArtifactRecord, BbrName, ComponentRecord, Manifest};
use crate::repo::reader::{ReadEntry, Reader};
use crate::repo::seal::Identity;
use crate::report;

/// The name under which bbr keeps checksums, in every artifact directory of its own.
pub(super) const METADATA: &str = "metadata";
/// Output is written in pieces of this many bytes.
const BUFFER: usize = 1 << 20;

/// Fetches, decrypts and verifies into a directory, one folder per component.
///
/// # Errors
/// As [`show`](super::show), and when anything read differs from its name or digest.
pub fn fetch(
    context: &Context,
    settings: &Settings,
    id: &str,
    selection: &Selection,
    into: &Path,
) -> Result<report::Fetched> {
    let begun = context.clock.now();
    let identity = identity_of(settings)?;
    let stores = Stores::open(context, settings)?;
    let believed = find(&stores, id)?;
    let manifest = &believed.signed.manifest;
    tell_origin(context, &believed, id);
    let reader = stores.reader(manifest, &identity)?;
    stores.patience.stream();
    let wanted = wanted(manifest, selection)?;
    let mut fetch = Fetch {
        context,
        reader: &reader,
        files: 0,
        bytes: 0,
    };
    for (component, artifacts) in wanted {
        fetch.component(component, &artifacts, into)?;
    }
    let copies = manifest.stores.clone();
    let mut backup = describe::backup(&believed, copies, settings.repository.stores.len());
    add_proofs(context, &stores, std::slice::from_mut(&mut backup))?;
    Ok(report::Fetched {
        backup,
        files: fetch.files,
        bytes: fetch.bytes,
        took: context
            .clock
            .now()
            .duration_since(begun)
            .unwrap_or_default(),
    })
}

/// What opens backups.
pub(super) fn identity_of(settings: &Settings) -> Result<Identity> {
    let secret = settings.repository.recovery_identity.as_ref().ok_or_else(|| {
        anyhow!("recovery_identity is missing: what is in a backup can be read with a recovery identity alone")
    })?;
    Identity::parse(secret).map_err(|problem| anyhow!("recovery_identity {problem}"))
}

type Wanted<'a> = (&'a ComponentRecord, Vec<&'a ArtifactRecord>);

fn wanted<'a>(manifest: &'a Manifest, selection: &Selection) -> Result<Vec<Wanted<'a>>> {
    for asked in &selection.components {
        ensure!(
            manifest
                .components
                .iter()
                .any(|component| component.name.as_str() == asked.to_string()),
            "components: backup {} holds no {asked}; it holds {}",
            manifest.id,
            names(manifest)
        );
    }
    let wanted: Vec<Wanted<'_>> = manifest
        .components
        .iter()
        .map(|component| {
            let artifacts = component
                .artifacts
                .iter()
                .filter(|artifact| selection.wants(component.name.as_str(), &artifact.name))
                .collect::<Vec<_>>();
            (component, artifacts)
        })
        .filter(|(component, artifacts)| {
            let whole =
                selection.artifacts.is_empty() && selection.wants(component.name.as_str(), "");
            whole || !artifacts.is_empty()
        })
        .collect();
    ensure!(
        !wanted.is_empty(),
        "artifacts: nothing in backup {} has such a name; `lifeboat show {}` lists what it holds",
        manifest.id,
        manifest.id
    );
    Ok(wanted)
}

fn names(manifest: &Manifest) -> String {
    let names: Vec<_> = manifest
        .components
        .iter()
        .map(|component| component.name.as_str())
        .collect();
    names.join(", ")
}

struct Fetch<'a> {
    context: &'a Context,
    reader: &'a Reader,
    files: u64,
    bytes: u64,
}

impl Fetch<'_> {
    fn component(
        &mut self,
        component: &ComponentRecord,
        artifacts: &[&ArtifactRecord],
        into: &Path,
    ) -> Result<()> {
        let folder = into.join(component.name.as_str());
        ensure!(
            !folder.exists(),
            "{} is there already; give an empty directory",
            folder.display()
        );
        let parent = folder.parent().unwrap_or(into);
        std::fs::create_dir_all(parent)
            .with_context(|| format!("{} cannot be made", parent.display()))?;
        let partial = parent.join(format!(
            ".{}.partial",
            folder.file_name().unwrap_or_default().to_string_lossy()
        ));
        if partial.exists() {
            std::fs::remove_dir_all(&partial).with_context(|| {
                format!("{} of an earlier try cannot be removed", partial.display())
            })?;
        }
        std::fs::create_dir(&partial)
            .with_context(|| format!("{} cannot be made", partial.display()))?;
        let written = self
            .artifacts(component, artifacts, &partial)
            .and_then(|()| {
                std::fs::rename(&partial, &folder)
                    .with_context(|| format!("{} cannot be named", folder.display()))
            });
        if written.is_err() {
            // What is half-written must not be taken for an artifact; its error is the news.
            drop(std::fs::remove_dir_all(&partial));
        }
        written
    }

    fn artifacts(
        &mut self,
        component: &ComponentRecord,
        artifacts: &[&ArtifactRecord],
        folder: &Path,
    ) -> Result<()> {
        let total = artifacts.iter().map(|artifact| artifact.bytes).sum();
        let meter = self
            .context
            .monitor
            .meter(&format!("fetch {}", component.name), Some(total));
        let named = self.in_order(component, artifacts)?;
        let mut metadata = Metadata::begin(component, &named, folder)?;
        for (artifact, _) in named {
            self.context.shutdown.check()?;
            self.artifact(component, artifact, folder, &mut metadata, &meter)
                .with_context(|| format!("{} of {}", artifact.name, component.name))?;
            self.files += 1;
            self.bytes += artifact.bytes;
        }
        meter.finish();
        metadata.finish(component)
    }

    /// The artifacts with what bbr calls them, in the order of bbr's file: instances together, in
    /// the order of their first artifact, then those that instances share.
    fn in_order<'a>(
        &self,
        component: &ComponentRecord,
        artifacts: &[&'a ArtifactRecord],
    ) -> Result<Vec<(&'a ArtifactRecord, Option<BbrName>)>> {
        let mut places: Vec<(String, String)> = Vec::new();
        let mut named = Vec::with_capacity(artifacts.len());
        for artifact in artifacts {
            self.context.shutdown.check()?;
            let root = self
                .reader
                .root(component, artifact)
                .with_context(|| format!("{} of {}", artifact.name, component.name))?;
            let name = root.head.bbr.filter(|_| artifact.form == Form::Tar);
            let place = match &name {
                Some(BbrName::Instance {
                    instance, index, ..
                }) => {
                    let instance = (instance.clone(), index.clone());
                    let known = places.iter().position(|place| *place == instance);
                    known.unwrap_or_else(|| {
                        places.push(instance);
                        places.len() - 1
                    })
                }
                Some(BbrName::Custom { .. }) | None => usize::MAX,
            };
            named.push((place, (*artifact, name)));
        }
        named.sort_by_key(|(place, _)| *place);
        Ok(named.into_iter().map(|(_, named)| named).collect())
    }

    fn artifact(
        &self,
        component: &ComponentRecord,
        artifact: &ArtifactRecord,
        folder: &Path,
        metadata: &mut Metadata,
        meter: &Arc<Meter>,
    ) -> Result<()> {
        let root = self.reader.root(component, artifact)?;
        check_room(folder, root.head.bytes.saturating_add(root.head.zeros))?;
        let path = folder.join(&artifact.name);
        if artifact.form == Form::Tree {
            let mut tree = TreeWriter::new(&path, meter)?;
            self.reader.read(&root, &mut tree)?;
            return tree.finish();
        }
        let name = root.head.bbr.as_ref();
        let mut sums = metadata.artifact(name.filter(|_| artifact.form == Form::Tar))?;
        let failed = || format!("{} cannot be written", path.display());
        let file = File::create_new(&path).with_context(failed)?;
        let mut out = BufWriter::with_capacity(BUFFER, Counting { to: file, meter });
        self.reader
            .write_file(&root, &mut out, &mut |entry| record(sums.as_mut(), entry))?;
        out.flush().with_context(failed)?;
        if let Some(sums) = sums {
            sums.finish()?;
        }
        Ok(())
    }
}

/// bbr's `metadata`, made from the index, unless the component brings its own or none of it is
/// bbr's.
enum Metadata {
    Made(Box<MetadataWriter<BufWriter<File>>>),
    Brought,
}

impl Metadata {
    fn begin(
        component: &ComponentRecord,
        artifacts: &[(&ArtifactRecord, Option<BbrName>)],
        folder: &Path,
    ) -> Result<Self> {
        let brought = component
            .artifacts
            .iter()
            .any(|artifact| artifact.name == METADATA);
        let bbrs = artifacts.iter().any(|(_, name)| name.is_some());
        if brought || !bbrs {
            return Ok(Self::Brought);
        }
        let path = folder.join(METADATA);
        let file = File::create_new(&path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self::Made(Box::new(MetadataWriter::new(BufWriter::new(
            file,
        )))))
    }

    fn artifact(
        &mut self,
        name: Option<&BbrName>,
    ) -> Result<Option<Checksums<'_, BufWriter<File>>>> {
        let (Self::Made(writer), Some(name)) = (self, name) else {
            return Ok(None);
        };
        Ok(Some(match name {
            BbrName::Instance {
                instance,
                index,
                job,
            } => writer.instance_artifact(instance, index, job)?,
            BbrName::Custom { custom } => writer.custom_artifact(custom)?,
        }))
    }

    fn finish(self, component: &ComponentRecord) -> Result<()> {
        let Self::Made(writer) = self else {
            return Ok(());
        };
        let time =
            |text: &str| clock::parse_rfc3339(text).context("the manifest has a time that is none");
        let mut file =
            writer.finish(time(&component.started)?, Some(time(&component.finished)?))?;
        Ok(file.flush()?)
    }
}

fn record(sums: Option<&mut Checksums<'_, BufWriter<File>>>, entry: &ReadEntry<'_>) -> Result<()> {
    let (Some(sums), Some(described)) = (sums, entry.described) else {
        return Ok(());
    };
    match (described.kind, entry.content) {
        (EntryKind::Directory, _) => {}
        (_, Some((_, digest))) => sums.checksum(&described.name, digest)?,
        // bbr takes anything without content for an empty file.
        (_, None) => sums.checksum(&described.name, Digest::of(b""))?,
    }
    Ok(())
}

struct Counting<'a> {
    to: File,
    meter: &'a Meter,
}

impl Write for Counting<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(buffer)?;
        self.meter.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
