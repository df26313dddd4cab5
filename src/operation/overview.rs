//! The state of all backups: what `report` shows and `alerts` judges.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::record::Record;
use super::settings::{Origin, Settings};
use super::steps::ground::Ground;
use super::stores::Stores;
use super::{Context, describe};
use crate::repo::Error;
use crate::repo::catalogue::{self, Listing};
use crate::repo::id::BackupId;
use crate::repo::proof::{Proof, ProofName, Proofs};
use crate::repo::prune::Holds;
use crate::report;
use crate::report::overview::{Covered, Gathered, Known, Overview, Recorded, compose};
use crate::store::{Kind, ObjectName, WriteMode};

/// How far back the report looks.
const LOOK_BACK: Duration = Duration::from_secs(400 * 86_400);
/// Manifests that are read at most: those of hourly backups of six weeks.
const MOST_BACKUPS: usize = 1000;
/// Proofs that are read at most.
const MOST_PROOFS: usize = 1000;

/// Reads what there is, bounded in time and number, and judges it by the settings' thresholds.
///
/// # Errors
/// When no store answers, or a signal comes. Whatever else is wrong stands in the result.
pub fn overview(context: &Context, settings: &Settings) -> Result<Overview> {
    let stores = Stores::open(context, settings)?;
    let now = context.clock.now();
    let since = now.checked_sub(LOOK_BACK).unwrap_or(SystemTime::UNIX_EPOCH);
    let listing = stores.catalogue().list(None)?;
    let mut seen = Gathered {
        foundation: settings.repository.foundation.clone(),
        now,
        since,
        cut: false,
        listed: known(&listing, stores.copies.stores().count()),
        stores: stores.copies.names().map(str::to_owned).collect(),
        silent: silent(&listing),
        backups: Vec::new(),
        unreadable: Vec::new(),
        proofs: Vec::new(),
        holds: BTreeMap::new(),
        policy: settings.repository.retention.clone(),
        min_copies: settings.repository.min_copies,
        record: None,
    };
    manifests(&stores, settings, &listing, &mut seen)?;
    proofs(context, &stores, &mut seen)?;
    let held = Holds::new(
        stores.copies.clone(),
        stores.bridge.clone(),
        stores.foundation.clone(),
    )
    .all()?;
    for error in &held.silent {
        tell_silent(&mut seen, error);
    }
    seen.holds = held.why;
    drop(stores);
    seen.record = record(context, settings, &seen)?;
    Ok(compose::compose(&seen, &settings.alerts))
}

fn known(listing: &Listing, stores: usize) -> Vec<Known> {
    let each = listing.backups.iter().map(|listed| Known {
        id: listed.id.clone(),
        stores: (0..stores).map(|at| listed.stores.contains(at)).collect(),
    });
    each.collect()
}

fn silent(listing: &Listing) -> Vec<report::Problem> {
    let each = listing.silent.iter().map(|error| report::Problem {
        what: error.store.clone(),
        why: error.message.clone(),
    });
    each.collect()
}

/// A store that answered once and then no more.
fn tell_silent(seen: &mut Gathered, error: &crate::store::Error) {
    if !seen.silent.iter().any(|known| known.what == error.store) {
        seen.silent.push(report::Problem {
            what: error.store.clone(),
            why: error.message.clone(),
        });
    }
}

fn manifests(
    stores: &Stores,
    settings: &Settings,
    listing: &Listing,
    seen: &mut Gathered,
) -> Result<()> {
    let since = BackupId::new(seen.since, None, [0; 4]);
    let in_window = listing.backups.partition_point(|listed| listed.id < since);
    let mut wanted = &listing.backups[in_window..];
    if wanted.len() > MOST_BACKUPS {
        seen.cut = true;
        wanted = &wanted[wanted.len() - MOST_BACKUPS..];
    }
    let configured = settings.repository.stores.len();
    let mut places = wanted.iter().map(|listed| listed.stores);
    let ids = wanted.iter().map(|listed| &listed.id);
    stores.catalogue().manifests(ids, |id, read| {
        let copies = stores.copies.names_of(places.next().unwrap_or_default());
        match read {
            Ok(believed) => seen
                .backups
                .push(describe::backup(&believed, copies, configured)),
            // A prune has dropped it meanwhile.
            Err(Error::Store(error)) if error.kind == Kind::NotFound => {}
            Err(error) => seen.unreadable.push(report::Problem {
                what: id.to_string(),
                why: error.to_string(),
            }),
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// The newest proofs of the window. One that is not to be believed is told and counts for nothing.
fn proofs(context: &Context, stores: &Stores, seen: &mut Gathered) -> Result<()> {
    let proofs: Proofs = stores.proofs();
    let since = BackupId::new(seen.since, None, [0; 4]);
    let names = proofs.names(Some(&since))?;
    let newest = &names[names.len().saturating_sub(MOST_PROOFS)..];
    let mut read: Vec<(ProofName, Proof, bool)> = Vec::new();
    let mut refused = 0;
    proofs.read_each(newest, |name, answer| match answer {
        Ok(believed) => {
            let verified = matches!(believed.origin, catalogue::Origin::Verified(_));
            read.push((name, believed.proof, verified));
        }
        Err(Error::Store(error)) if error.kind == Kind::NotFound => {}
        Err(error) => {
            refused += 1;
            if refused == 1 {
                context
                    .monitor
                    .warn(&format!("a proof counts for nothing: {error}"));
            }
        }
    })?;
    if refused > 1 {
        context
            .monitor
            .warn(&format!("{} more proofs count for nothing", refused - 1));
    }
    read.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    seen.proofs = read
        .into_iter()
        .map(|(_, proof, verified)| (proof, verified))
        .collect();
    Ok(())
}

/// The foundation record of the newest backup that has one, where a recovery identity is given.
fn record(context: &Context, settings: &Settings, seen: &Gathered) -> Result<Option<Recorded>> {
    if settings.repository.recovery_identity.is_none() {
        return Ok(None);
    }
    let newest = seen.backups.iter().rev().find(|backup| {
        let mut components = backup.components.iter();
        components.any(|component| component.name == "ops-manager")
    });
    let Some(newest) = newest else {
        return Ok(None);
    };
    let read = || {
        let origin = Origin::Backup(newest.id.clone());
        let choices = super::settings::Choices::default();
        let ground = Ground::open(context, settings, "report", &origin, &choices)?;
        ground.record()
    };
    match read() {
        Ok(record) => Ok(Some(recorded(newest.id.clone(), record))),
        Err(error) => {
            context.shutdown.check()?;
            context.monitor.warn(&format!(
                "the report goes by manifests alone; the foundation record of backup {} cannot be read: {error:#}",
                newest.id
            ));
            Ok(None)
        }
    }
}

fn recorded(backup: String, record: Record) -> Recorded {
    let lines = record.coverage.into_iter().map(|line| Covered {
        name: line.name,
        product: line.product,
        class: line.class,
        why: line.why,
        advice: line.advice,
    });
    let certificates = record.certificates.all.into_iter();
    let named = certificates.map(|one| (format!("{} {}", one.product, one.name), one.valid_until));
    Recorded {
        backup,
        coverage: lines.collect(),
        certificates: named.collect(),
    }
}

/// What of a report is kept in the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// `FOUNDATION/report.html`.
    Page,
    /// `FOUNDATION/report.json`.
    Json,
    /// `FOUNDATION/metrics.txt`.
    Metrics,
}

impl Kept {
    /// The object's last segment.
    pub fn file(self) -> &'static str {
        match self {
            Self::Page => "report.html",
            Self::Json => "report.json",
            Self::Metrics => "metrics.txt",
        }
    }
}

/// Writes parts of a report to every store, over those of before. Gives the names of the stores that
/// took all of it; each other one is warned of.
///
/// # Errors
/// When no store takes all, or a signal comes.
pub fn keep_report(
    context: &Context,
    settings: &Settings,
    parts: &[(Kept, String)],
) -> Result<Vec<String>> {
    let stores = Stores::open(context, settings)?;
    let mut took = Vec::new();
    let mut problems = Vec::new();
    for store in stores.copies.stores() {
        let mut good = true;
        for (kept, text) in parts {
            let object = ObjectName::new(format!("{}/{}", stores.foundation, kept.file()))
                .context("a report has a name")?;
            let put = store.put(&object, text.clone().into(), WriteMode::Overwrite);
            if let Err(error) = stores.bridge.wait(put)? {
                context.monitor.warn(&error.to_string());
                problems.push(error.to_string());
                good = false;
                break;
            }
        }
        if good {
            took.push(store.name().to_owned());
        }
    }
    if took.is_empty() {
        bail!("no store took the report: {}", problems.join("; "));
    }
    Ok(took)
}
