//! A directory that a task made becomes a component: `from`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::settings::{Component, Settings};
use super::stores::Stores;
use super::tree::read_tree;
use super::{Context, backup};
use crate::artifact::name::{is_safe, shown};
use crate::artifact::tar::{EntryKind, TarReader};
use crate::artifact::{EntrySink, Form};
use crate::clock;
use crate::monitor::Meter;
use crate::repo::format::{ArtifactRecord, ComponentRecord};
use crate::repo::id::ComponentName;
use crate::repo::run::{Run, Summary};
use crate::repo::writer::ArtifactName;
use crate::report;
use crate::store::is_segment;

/// What a directory that is not flat is called as an artifact.
const TREE: &str = "directory";

/// Stores directories as components. Idempotent like [`super::backup()`].
///
/// # Errors
/// When a directory cannot be read or too few stores take it.
pub fn from_directories(
    context: &Context,
    settings: &Settings,
    directories: &[(Component, PathBuf)],
) -> Result<report::Backup> {
    let names = directories
        .iter()
        .map(|(component, _)| backup::component_name(component))
        .collect::<Result<Vec<_>>>()?;
    for (_, directory) in directories {
        ensure!(
            directory.is_dir(),
            "from: {} is not a directory; name the output of an earlier step",
            directory.display()
        );
    }
    let stores = Stores::open(context, settings)?;
    stores.probe(context)?;
    if let Some(done) = backup::taken_by_this_build(context, settings, &stores, &names)? {
        return Ok(done);
    }
    let run = backup::begin(context, settings, &stores, &names)?;
    let stored = store(context, settings, &names, directories, &run)
        .and_then(|summary| backup::commit(context, settings, &stores, &run, summary));
    stored.inspect_err(|_| backup::leave(context, &run))
}

fn store(
    context: &Context,
    settings: &Settings,
    names: &[ComponentName],
    directories: &[(Component, PathBuf)],
    run: &Run,
) -> Result<Summary> {
    let mut records = Vec::new();
    let mut read_bytes = 0;
    for (name, (_, directory)) in names.iter().zip(directories) {
        let started = clock::rfc3339(context.clock.now());
        let meter = context.monitor.meter(&format!("store {name}"), None);
        let reading = Reading {
            context,
            run,
            component: name,
            meter: &meter,
        };
        let artifacts = reading
            .directory(directory)
            .with_context(|| format!("from: {}", directory.display()))?;
        read_bytes += meter.done();
        meter.finish();
        records.push(ComponentRecord {
            notes: Vec::new(),
            downtime: Vec::new(),
            facts: None,
            name: name.clone(),
            started,
            finished: clock::rfc3339(context.clock.now()),
            phases: Vec::new(),
            artifacts,
        });
    }
    Ok(Summary {
        components: records,
        drained_bytes: read_bytes,
        build: backup::build_of(settings),
    })
}

struct Reading<'a> {
    context: &'a Context,
    run: &'a Run,
    component: &'a ComponentName,
    meter: &'a Meter,
}

impl Reading<'_> {
    /// A flat directory (bbr's always is) becomes one artifact per file, tars as tars; any other
    /// becomes one tree.
    fn directory(&self, directory: &Path) -> Result<Vec<ArtifactRecord>> {
        let mut names = Vec::new();
        let mut flat = true;
        for child in fs::read_dir(directory)? {
            let child = child?;
            flat &= child.file_type()?.is_file();
            match child.file_name().into_string() {
                Ok(name) if is_segment(&name) => names.push(name),
                _ => flat = false,
            }
        }
        ensure!(
            !names.is_empty() || !flat,
            "it is empty: nothing is stored, so that nobody takes it for a backup"
        );
        if !flat {
            let mut writer = self.run.artifact(self.named(TREE, Form::Tree))?;
            let (monitor, shutdown) = (&*self.context.monitor, &self.context.shutdown);
            read_tree(directory, &mut writer, self.meter, monitor, shutdown)?;
            return Ok(vec![backup::finish(self.context, writer)?.0]);
        }
        names.sort();
        names
            .iter()
            .map(|name| {
                self.context.shutdown.check()?;
                self.file(&directory.join(name), name)
                    .with_context(|| name.clone())
            })
            .collect()
    }

    fn file(&self, path: &Path, name: &str) -> Result<ArtifactRecord> {
        if name.ends_with(".tar") {
            match self.tar(path, name) {
                Err(error) if is_no_tar(&error) => {
                    self.context.monitor.warn(&format!(
                        "{name} is kept as a plain file: {:#}",
                        error.root_cause()
                    ));
                }
                other => return other,
            }
        }
        let mut writer = self.run.artifact(self.named(name, Form::File))?;
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        writer.file(&[], size, &mut self.counted(file))?;
        writer.end(0)?;
        Ok(backup::finish(self.context, writer)?.0)
    }

    fn tar(&self, path: &Path, name: &str) -> Result<ArtifactRecord> {
        let mut writer = self.run.artifact(self.named(name, Form::Tar))?;
        let mut reader = TarReader::new(self.counted(File::open(path)?));
        loop {
            let next = reader.next_entry()?;
            if let Ok(entry) = &next
                && !is_safe(&entry.name)
            {
                // A reader refuses such a name; as a plain file it comes back all the same.
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("its entry `{}` does not lie below `./`", shown(&entry.name)),
                )
                .into());
            }
            match next {
                Ok(entry) if entry.kind == EntryKind::File => {
                    writer.file(&entry.head, entry.size, &mut reader.content())?;
                }
                Ok(entry) => writer.other(&entry.head)?,
                Err(zeros) => {
                    writer.end(zeros)?;
                    return Ok(backup::finish(self.context, writer)?.0);
                }
            }
        }
    }

    fn named(&self, name: &str, form: Form) -> ArtifactName {
        ArtifactName {
            component: self.component.clone(),
            name: name.to_owned(),
            form,
            bbr: None,
        }
    }

    fn counted<R: Read>(&self, inner: R) -> Counted<'_, R> {
        Counted {
            inner,
            meter: self.meter,
        }
    }
}

fn is_no_tar(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::InvalidData)
}

struct Counted<'a, R> {
    inner: R,
    meter: &'a Meter,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.add(read as u64);
        Ok(read)
    }
}
