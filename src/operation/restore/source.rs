//! Where artifacts come from, whichever it is.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::artifact::base::Wanted;
use crate::artifact::sums::{SumSet, Sums};
use crate::artifact::tar::{Entry, EntryKind};
use crate::artifact::{Digest, TarSource};
use crate::bbr;
use crate::bbr::artifact_metadata::Recorded;

/// Artifacts in bbr's layout that were found to be whole, as far as that can be told without
/// reading all of them.
pub(super) trait Source: Sync {
    /// What there is.
    fn saved(&self) -> &bbr::Saved;

    /// The tar of this name in bbr's layout.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, file_name: &str) -> Result<Box<dyn TarSource + '_>>;

    /// Of which backup these artifacts are, where what is staged of them can be compared.
    fn comparable(&self) -> Option<bbr::Of<'_>> {
        None
    }

    /// The same part by part, where what is staged of it can be compared, and of which backup it
    /// is.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn parts(&self, file_name: &str) -> Result<Option<Parts<'_>>> {
        let _ = file_name;
        Ok(None)
    }
}

/// An artifact part by part.
pub(super) struct Parts<'a> {
    pub(super) of: bbr::Of<'a>,
    pub(super) wanted: Box<dyn Wanted + 'a>,
}

/// Goes through one tar: how many regular files, how many bytes; every entry to the closure.
pub(super) type Walk<'a> =
    dyn FnMut(&str, &mut dyn FnMut(&Entry, Option<Digest>)) -> Result<Option<bbr::Size>> + 'a;

/// Compares bbr's own records with the tars, as bbr's restore does, and gives what there is.
/// `walk` answers nothing for a tar that is not there.
pub(super) fn validate(
    recorded: Recorded,
    tars: &[String],
    walk: &mut Walk<'_>,
) -> Result<bbr::Saved> {
    let mut saved = bbr::Saved {
        instances: recorded.instances.into_iter().collect(),
        ..bbr::Saved::default()
    };
    let mut named = BTreeMap::new();
    for (kind, sums) in recorded.artifacts {
        named.insert(kind.file_name(), (kind, sums));
    }
    for (name, (kind, sums)) in named {
        let size = compare(&name, &kind, sums, walk)?;
        saved.artifacts.insert(kind, size);
    }
    let known: Vec<String> = saved
        .artifacts
        .keys()
        .map(bbr::PlaceKind::file_name)
        .collect();
    for name in tars.iter().filter(|name| !known.contains(name)) {
        if let Some(size) = walk(name, &mut |_, _| {})? {
            saved.unrecorded.insert(name.clone(), size);
        }
    }
    Ok(saved)
}

fn compare(
    name: &str,
    kind: &bbr::PlaceKind,
    sums: Sums,
    walk: &mut Walk<'_>,
) -> Result<bbr::Size> {
    let mut sums: SumSet = sums.finish();
    let walked = walk(name, &mut |entry, digest| match (entry.kind, digest) {
        (EntryKind::Directory, _) => {}
        // bbr takes anything without content for an empty file.
        (_, digest) => sums.compare(&entry.name, digest.unwrap_or_else(|| Digest::of(b""))),
    })?;
    let Some(size) = walked else {
        // A shared artifact of which nothing is recorded may have no tar.
        if matches!(kind, bbr::PlaceKind::Custom { .. }) && sums.is_empty() {
            return Ok(bbr::Size::default());
        }
        bail!(
            "{name} is recorded in metadata, but is not there: the artifact directory is not whole"
        );
    };
    if let Some(differences) = sums.differences() {
        bail!(
            "{name} is corrupted: it is not what metadata records of it ({differences}); take another copy or backup"
        );
    }
    Ok(size)
}
