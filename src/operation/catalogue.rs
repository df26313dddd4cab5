//! What backups there are: `check`, `show`, `list`.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;

use super::settings::{self, Settings};
use super::stores::{Stores, a_day_before, backup_id};
use super::{Context, describe};
use crate::repo;
use crate::repo::catalogue::{Believed, Listing, Origin};
use crate::repo::format::Outcome;
use crate::repo::id::BackupId;
use crate::report;
use crate::store::Kind;

/// Most characters of what a stranger may have written about a dropped backup.
const MOST_OF_A_NOTE: usize = 300;

/// The ids of committed backups, oldest first: all, or those from one day before `after` on.
/// One listing per store, no manifest is read: it costs what is new, not what exists.
///
/// # Errors
/// When no store answers.
pub fn check(context: &Context, settings: &Settings, after: Option<&str>) -> Result<Vec<String>> {
    let stores = Stores::open(context, settings)?;
    // A version that no backup ever had (a cleanup's) asks for everything.
    let after = after
        .and_then(|id| backup_id(id).ok())
        .map(|id| a_day_before(&id));
    let listing = stores.catalogue().list(after.as_ref())?;
    tell_silent(context, &listing);
    Ok(listing
        .backups
        .iter()
        .map(|listed| listed.id.to_string())
        .collect())
}

/// One committed backup, from its manifest alone: no identity, one small read.
///
/// # Errors
/// When it was never there, was dropped (when and why), or is not to be believed.
pub fn show(context: &Context, settings: &Settings, id: &str) -> Result<report::Backup> {
    let stores = Stores::open(context, settings)?;
    let believed = find(&stores, id)?;
    let copies = believed.signed.manifest.stores.clone();
    let configured = settings.repository.stores.len();
    let mut backup = describe::backup(&believed, copies, configured);
    add_proofs(context, &stores, std::slice::from_mut(&mut backup))?;
    Ok(backup)
}

/// What was proven of these backups last. That it cannot be told is said, and is no error: proofs
/// decide nothing.
pub(super) fn add_proofs(
    context: &Context,
    stores: &Stores,
    backups: &mut [report::Backup],
) -> Result<()> {
    let ids = backups.iter().map(|backup| backup_id(&backup.id));
    let ids: Vec<BackupId> = ids.collect::<Result<_>>()?;
    let mut latest = match stores.proofs().latest(&ids, context.clock.now()) {
        Ok(latest) => latest,
        Err(repo::Error::Stopped(stopped)) => return Err(stopped.into()),
        Err(error) => {
            let warning = format!("what was proven is not known: {error}");
            context.monitor.warn(&warning);
            return Ok(());
        }
    };
    for (backup, id) in backups.iter_mut().zip(&ids) {
        let found = latest.remove(id).unwrap_or_default();
        backup.proofs = Some(describe::proofs(id, found));
    }
    Ok(())
}

/// The newest committed backups, `most` of them, or all. A manifest is read for each.
///
/// # Errors
/// When no store answers.
pub fn list(
    context: &Context,
    settings: &Settings,
    most: Option<usize>,
) -> Result<report::Listing> {
    let stores = Stores::open(context, settings)?;
    let catalogue = stores.catalogue();
    let listing = match most {
        // One more than shown, to know whether there are older ones.
        Some(most) => catalogue.list_newest(most.saturating_add(1), context.clock.now())?,
        None => catalogue.list(None)?,
    };
    for error in &listing.silent {
        stores.copies.leave_out(&error.store, &error.message);
    }
    let shown = most.unwrap_or(usize::MAX).min(listing.backups.len());
    let left_out = listing.backups.len() - shown;
    let mut all = report::Listing {
        silent_stores: problems(&listing),
        has_older: left_out > 0,
        ..report::Listing::default()
    };
    let configured = settings.repository.stores.len();
    let backups = &listing.backups[left_out..];
    let mut places = backups.iter().map(|listed| listed.stores);
    catalogue.manifests(backups.iter().map(|listed| &listed.id), |id, read| {
        let copies = stores.copies.names_of(places.next().unwrap_or_default());
        match read {
            Ok(believed) => all
                .backups
                .push(describe::backup(&believed, copies, configured)),
            Err(error) => all.unreadable.push(report::Problem {
                what: id.to_string(),
                why: error.to_string(),
            }),
        }
        ControlFlow::Continue(())
    })?;
    add_proofs(context, &stores, &mut all.backups)?;
    Ok(all)
}

/// The id of the newest committed backup.
///
/// # Errors
/// When no store answers, or there is none.
pub fn newest(context: &Context, settings: &Settings) -> Result<String> {
    let stores = Stores::open(context, settings)?;
    newest_in(context, &stores).map(|id| id.to_string())
}

/// The same, of stores that are open.
pub(super) fn newest_in(context: &Context, stores: &Stores) -> Result<BackupId> {
    let listing = stores.catalogue().list_newest(1, context.clock.now())?;
    tell_silent(context, &listing);
    let newest = listing.backups.last().context("there is no backup yet")?;
    Ok(newest.id.clone())
}

/// The believed manifest of a backup, or why there is none.
pub(super) fn find(stores: &Stores, id: &str) -> Result<Believed> {
    let id = backup_id(id)?;
    let catalogue = stores.catalogue();
    match catalogue.manifest(&id) {
        Ok(believed) => Ok(believed),
        Err(repo::Error::Store(error)) if error.kind == Kind::NotFound => {
            match catalogue.dropped(&id) {
                Ok(Some(dropped)) if dropped.signed.manifest.outcome == Outcome::Complete => bail!(
                    "backup {id} of {} was pruned{}: it is no longer in any store; choose another version",
                    stores.foundation,
                    when_and_why(stores, &id)?
                ),
                _ => bail!(
                    "there is no backup {id} of {} in any store; `lifeboat list` shows those there are",
                    stores.foundation
                ),
            }
        }
        Err(error @ repo::Error::Damaged { .. }) => Err(anyhow::Error::from(error).context(
            format!("backup {id} cannot be used, choose another version"),
        )),
        Err(error) => Err(error.into()),
    }
}

fn when_and_why(stores: &Stores, id: &BackupId) -> Result<String> {
    let note = stores.catalogue().drop_note(id)?;
    Ok(note.map_or_else(String::new, |note| {
        let words = |text: &str| -> String {
            let shown = text.chars().take(MOST_OF_A_NOTE);
            shown
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect()
        };
        format!(" at {} ({})", words(&note.dropped), words(&note.why))
    }))
}

/// The backup that a restore asks for; the log says who vouches for it.
pub(super) fn chosen(
    context: &Context,
    settings: &Settings,
    stores: &Stores,
    origin: &settings::Origin,
) -> Result<Believed> {
    let id = match origin {
        settings::Origin::Backup(id) => id.clone(),
        settings::Origin::File(path) => named_by(path, &settings.repository.foundation)?,
        settings::Origin::Latest => newest(context, settings)?,
        settings::Origin::Directory(_) => {
            bail!("from: this step needs a backup in the stores, not a directory")
        }
    };
    let believed = find(stores, &id)?;
    tell_origin(context, &believed, &id);
    Ok(believed)
}

/// The part of a `backup.json` that counts here.
#[derive(Debug, Deserialize)]
struct BackupFile {
    id: String,
    foundation: String,
}

fn named_by(path: &Path, foundation: &str) -> Result<String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("id_file: {shown} cannot be read; give the backup.json that a get wrote")
    })?;
    let file: BackupFile = serde_json::from_str(&text).map_err(|_may_quote| {
        anyhow!("id_file: {shown} is not a backup.json as a get writes it")
    })?;
    ensure!(
        file.foundation == foundation,
        "id_file: {shown} names a backup of another foundation"
    );
    Ok(file.id)
}

/// Says who vouches for a backup that is about to be read.
pub(super) fn tell_origin(context: &Context, believed: &Believed, id: &str) {
    match &believed.origin {
        Origin::Verified(signer) => context
            .monitor
            .info(&format!("backup {id} was signed by {signer}")),
        Origin::NotVerified => context.monitor.warn(&format!(
            "backup {id}: origin not verified; list the worker's public key in trusted_workers"
        )),
    }
}

fn tell_silent(context: &Context, listing: &Listing) {
    for error in &listing.silent {
        context
            .monitor
            .warn(&format!("{error}; the listing is that of the other stores"));
    }
}

fn problems(listing: &Listing) -> Vec<report::Problem> {
    listing
        .silent
        .iter()
        .map(|error| report::Problem {
            what: error.store.clone(),
            why: error.to_string(),
        })
        .collect()
}
