//! `stemcells`: uploads from a mirror what the deployments need; a backup holds none.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::ground::Ground;
use super::note::key;
use crate::bosh::{Stemcell, StemcellFile, stemcell_file};
use crate::monitor::Monitor;
use crate::report::restore::StepEnd;

pub(super) fn stemcells(ground: &Ground<'_>) -> Result<StepEnd> {
    let wait = ground.wait();
    let director = ground.director()?;
    let mut note = ground.restored(&director)?;
    let known = director.stemcells(&wait)?;
    let needed: Vec<&Stemcell> = known
        .iter()
        .filter(|one| !one.deployments.is_empty())
        .collect();
    if needed.is_empty() {
        let said = vec!["no deployment of the director uses a stemcell".to_owned()];
        return Ok(ground.end(true, said));
    }
    let open: Vec<&Stemcell> = needed
        .iter()
        .copied()
        .filter(|one| !note.has(one))
        .collect();
    if open.is_empty() {
        let said = vec![format!(
            "all {} stemcells in use were uploaded since the restore",
            needed.len()
        )];
        return Ok(ground.end(true, said));
    }
    let mirror = ground.choices.stemcells.as_ref().ok_or_else(|| {
        anyhow!(
            "stemcells is missing: name the directory that holds the tarballs of {}",
            names(&open)
        )
    })?;
    let held = mirror_files(mirror, ground.context.monitor.as_ref())?;
    let missing: Vec<&Stemcell> = open
        .iter()
        .copied()
        .filter(|one| file_of(&held, one).is_none())
        .collect();
    ensure!(
        missing.is_empty(),
        "stemcells: {} holds no tarball of {}; nothing was uploaded: fetch it from where stemcells are published",
        mirror.display(),
        names(&missing)
    );
    let mut said = Vec::new();
    for one in open {
        ground.context.shutdown.check()?;
        let path = file_of(&held, one).context("was found before")?;
        upload(ground, one, path)?;
        let now = director.stemcells(&wait)?;
        let there = now
            .iter()
            .find(|other| key(other) == key(one))
            .ok_or_else(|| anyhow!("the director does not list {} after its upload", key(one)))?;
        note.uploaded(there, &director, &wait)?;
        said.push(format!(
            "{} is uploaded from {}",
            shown(one),
            path.display()
        ));
    }
    Ok(ground.end(false, said))
}

fn upload(ground: &Ground<'_>, stemcell: &Stemcell, path: &Path) -> Result<()> {
    let failed = || format!("{} cannot be read", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let length = file.metadata().with_context(failed)?.len();
    let meter = ground
        .context
        .monitor
        .meter(&format!("stemcell {}", key(stemcell)), Some(length));
    let mut counted = super::ground::Counted {
        from: &mut file,
        meter: &meter,
    };
    ground
        .director()?
        .upload_stemcell(&key(stemcell), &mut counted, length, &ground.wait())?;
    meter.finish();
    Ok(())
}

fn shown(stemcell: &Stemcell) -> String {
    format!(
        "{} {} ({})",
        stemcell.operating_system, stemcell.version, stemcell.name
    )
}

fn names(stemcells: &[&Stemcell]) -> String {
    let names: Vec<_> = stemcells.iter().map(|one| shown(one)).collect();
    names.join(", ")
}

fn file_of<'m>(
    held: &'m BTreeMap<StemcellFile, PathBuf>,
    stemcell: &Stemcell,
) -> Option<&'m PathBuf> {
    let same = |file: &StemcellFile| file.name == stemcell.name && file.version == stemcell.version;
    held.iter()
        .find(|(file, _)| same(file))
        .map(|(_, path)| path)
}

/// The stemcells in a directory, by what the tarballs themselves say.
pub(in crate::operation) fn mirror_files(
    mirror: &Path,
    monitor: &dyn Monitor,
) -> Result<BTreeMap<StemcellFile, PathBuf>> {
    let failed = || format!("stemcells: {} cannot be read", mirror.display());
    let mut held = BTreeMap::new();
    for entry in std::fs::read_dir(mirror).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.to_string_lossy();
        if !(name.ends_with(".tgz") || name.ends_with(".tar.gz")) {
            continue;
        }
        let file =
            File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        match stemcell_file(std::io::BufReader::new(file)) {
            Ok(found) => {
                held.insert(found, path);
            }
            Err(problem) => monitor.warn(&format!(
                "stemcells: {} {problem}; left out",
                path.display()
            )),
        }
    }
    Ok(held)
}
