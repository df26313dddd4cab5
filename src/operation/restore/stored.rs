//! Artifacts out of the stores.

use std::io::Write;

use anyhow::{Context as _, Result, anyhow, bail};

use super::source::{Parts, Source, validate};
use crate::artifact::tar::Entry;
use crate::artifact::{Digest, Form, TarSource};
use crate::bbr;
use crate::bbr::artifact_metadata::Recorded;
use crate::operation::Context;
use crate::operation::fetch::METADATA;
use crate::operation::piped::piped;
use crate::repo::format::{ArtifactRecord, BbrName, ComponentRecord};
use crate::repo::index::Root;
use crate::repo::reader::Reader;

/// One component of a backup.
#[derive(Debug)]
pub(in crate::operation) struct Stored<'a> {
    reader: &'a Reader,
    component: &'a ComponentRecord,
    backup: &'a str,
    /// Whether it was stored from a directory: its files are in whatever order its tars have.
    brought: bool,
    saved: bbr::Saved,
}

impl<'a> Stored<'a> {
    /// Reads what there is. What was stored from a directory brings bbr's own records, which are
    /// compared; of the rest the index says what belongs where.
    pub(in crate::operation) fn open(
        context: &Context,
        reader: &'a Reader,
        component: &'a ComponentRecord,
    ) -> Result<Self> {
        let mut stored = Self {
            reader,
            component,
            backup: "",
            brought: false,
            saved: bbr::Saved::default(),
        };
        let name = &component.name;
        context
            .monitor
            .info(&format!("{name}: reading what the backup holds"));
        let brought = component
            .artifacts
            .iter()
            .find(|artifact| artifact.name == METADATA && artifact.form == Form::File);
        stored.brought = brought.is_some();
        stored.saved = match brought {
            Some(metadata) => stored.recorded(context, metadata),
            None => stored.indexed(context),
        }
        .with_context(|| name.to_string())?;
        Ok(stored)
    }

    /// What bbr calls each artifact that there is.
    pub(in crate::operation) fn places(&self) -> impl Iterator<Item = &bbr::PlaceKind> {
        self.saved.artifacts.keys()
    }

    /// The same, of the backup of this id.
    pub(super) fn of_backup(self, id: &'a str) -> Self {
        Self { backup: id, ..self }
    }

    /// Whether it was stored from a directory of bbr's.
    pub(super) fn is_brought(&self) -> bool {
        self.brought
    }

    fn indexed(&self, context: &Context) -> Result<bbr::Saved> {
        let mut saved = bbr::Saved::default();
        for artifact in &self.component.artifacts {
            context.shutdown.check()?;
            if artifact.form != Form::Tar {
                continue;
            }
            let root = self.root(artifact)?;
            let Some(name) = root.head.bbr else { continue };
            let kind = match name {
                BbrName::Instance {
                    instance: group,
                    index,
                    job,
                } => {
                    saved.instances.insert((group.clone(), index.clone()));
                    bbr::PlaceKind::Instance { group, index, job }
                }
                BbrName::Custom { custom: name } => bbr::PlaceKind::Custom { name },
            };
            if kind.file_name() != artifact.name {
                bail!(
                    "{} is not what its index calls it; this backup cannot be used",
                    artifact.name
                );
            }
            saved.artifacts.insert(
                kind,
                bbr::Size {
                    files: artifact.files,
                    bytes: artifact.bytes,
                },
            );
        }
        if saved.artifacts.is_empty() {
            bail!(
                "this was stored from a directory that is not bbr's (it has no `metadata`); fetch it and restore it by hand"
            );
        }
        Ok(saved)
    }

    /// bbr's own records, compared with the index: no content is read for it.
    fn recorded(&self, context: &Context, metadata: &ArtifactRecord) -> Result<bbr::Saved> {
        let root = self.root(metadata)?;
        let recorded = self.read_metadata(&root)?;
        let tars: Vec<String> = self
            .component
            .artifacts
            .iter()
            .filter(|artifact| artifact.form == Form::Tar)
            .map(|artifact| artifact.name.clone())
            .collect();
        validate(recorded, &tars, &mut |name, each| {
            context.shutdown.check()?;
            let Some(artifact) = self.find(name) else {
                return Ok(None);
            };
            if artifact.form != Form::Tar {
                bail!("{name} cannot be validated: it is no tar");
            }
            let root = self.root(artifact)?;
            self.reader.entries(&root, each)?;
            Ok(Some(bbr::Size {
                files: artifact.files,
                bytes: artifact.bytes,
            }))
        })
    }

    fn read_metadata(&self, root: &Root) -> Result<Recorded> {
        piped(self.reader, root, |mut text| {
            let recorded = Recorded::read(&mut text)
                .map_err(|problem| anyhow!("metadata cannot be validated: {problem}"))?;
            // Only what is read to its end was compared with its digest.
            std::io::copy(&mut text, &mut std::io::sink())?;
            Ok(recorded)
        })
    }

    fn find(&self, name: &str) -> Option<&ArtifactRecord> {
        let mut artifacts = self.component.artifacts.iter();
        artifacts.find(|artifact| artifact.name == name)
    }

    fn root(&self, artifact: &ArtifactRecord) -> Result<Root> {
        self.reader
            .root(self.component, artifact)
            .with_context(|| artifact.name.clone())
    }
}

impl Source for Stored<'_> {
    fn saved(&self) -> &bbr::Saved {
        &self.saved
    }

    fn open(&self, file_name: &str) -> Result<Box<dyn TarSource + '_>> {
        let artifact = self
            .find(file_name)
            .ok_or_else(|| anyhow!("{file_name} is not in the backup"))?;
        Ok(Box::new(StoredTar {
            reader: self.reader,
            root: self.root(artifact)?,
        }))
    }

    fn comparable(&self) -> Option<bbr::Of<'_>> {
        if self.brought {
            return None;
        }
        Some(bbr::Of {
            component: self.component.name.as_str(),
            backup: self.backup,
        })
    }

    fn parts(&self, file_name: &str) -> Result<Option<Parts<'_>>> {
        let Some(of) = self.comparable() else {
            return Ok(None);
        };
        let artifact = self
            .find(file_name)
            .ok_or_else(|| anyhow!("{file_name} is not in the backup"))?;
        let root = self.root(artifact)?;
        Ok(Some(Parts {
            of,
            wanted: Box::new(self.reader.parts(root)?),
        }))
    }
}

struct StoredTar<'a> {
    reader: &'a Reader,
    root: Root,
}

impl TarSource for StoredTar<'_> {
    fn write_tar(
        &mut self,
        to: &mut dyn Write,
        each: &mut dyn FnMut(&Entry, Option<Digest>),
    ) -> Result<()> {
        // The sums of the instance are compared with these digests before any script runs.
        let (reader, root) = (self.reader, &self.root);
        reader.write_file_to_be_compared(root, to, &mut |entry| {
            if let Some(described) = entry.described {
                each(described, entry.content.map(|(_, digest)| digest));
            }
            Ok(())
        })
    }
}
