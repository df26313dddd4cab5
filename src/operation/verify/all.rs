//! Levels `listed` and `scrub`: every store, every backup, no identity.

use anyhow::Result;

use super::look;
use super::proof::keep;
use crate::clock;
use crate::operation::Context;
use crate::operation::settings::{Settings, Verification};
use crate::operation::stores::Stores;
use crate::repo::id::{BackupId, Foundation};
use crate::repo::objects::Named;
use crate::repo::proof::{Checked, Covers, Finding, InStore, Level, Outcome, Proof};
use crate::repo::scrub::{self, Bad, Part, Scrubbed};
use crate::report::verified::{Found, Verified};

pub(super) fn verify(
    context: &Context,
    settings: &Settings,
    asked: &Verification,
    part: Part,
) -> Result<Verified> {
    let started = clock::rfc3339(context.clock.now());
    let stores = Stores::open(context, settings)?;
    let read = (asked.level == Level::Scrub).then_some(part);
    let found = scrub::scrub(
        stores.holdings(settings),
        look(context, &stores, read),
        || stores.patience.stream(),
    )?;
    let mut stored = Vec::new();
    if let Some(newest) = &found.newest {
        let finished = clock::rfc3339(context.clock.now());
        let times = (started, finished);
        let proof = proof(&stores.foundation, newest, asked, part, &found, times);
        stored = keep(context, settings, &stores, &proof, asked.report)?;
    }
    Ok(Verified {
        level: asked.level,
        found: Found::All(found),
        stored,
    })
}

fn proof(
    foundation: &Foundation,
    newest: &BackupId,
    asked: &Verification,
    part: Part,
    found: &Scrubbed,
    (started, finished): (String, String),
) -> Proof {
    let result = Outcome::of(found.is_good());
    let mut proof = Proof::new(foundation, newest, asked.level, result, started, finished);
    proof.covers = Covers::All;
    proof.scope.part = (!part.is_whole()).then(|| part.to_string());
    proof.checked = Checked {
        objects: found.stores.iter().map(|store| store.objects).sum(),
        files: 0,
        bytes: found.stores.iter().map(|store| store.bytes).sum(),
    };
    let stores = found.stores.iter();
    proof.stores = stores
        .map(|store| InStore {
            name: store.store.clone(),
            objects: store.objects,
            missing: store.missing,
            damaged: store.damaged,
            left_out: store.left_out.clone(),
        })
        .collect();
    let bad = found.bad.iter();
    proof.findings = bad.map(|bad| finding(foundation, bad)).collect();
    proof.more = found.more;
    proof.bad = (result == Outcome::Failed)
        .then(|| bad_backups(foundation, found))
        .flatten();
    proof
}

fn finding(foundation: &Foundation, bad: &Bad) -> Finding {
    Finding {
        what: format!(
            "store {}: {} {}; run lifeboat repair --read",
            bad.store, bad.object, bad.what
        ),
        store: Some(bad.store.clone()),
        object: Some(bad.object.clone()),
        backup: of_manifest(foundation, &bad.object),
        ..Finding::default()
    }
}

fn of_manifest(foundation: &Foundation, object: &str) -> Option<BackupId> {
    match Named::parse(foundation, object) {
        Some(Named::Manifest(id)) => Some(id),
        _ => None,
    }
}

/// The backups that what is wrong may reach; `None` when not all of it is known.
fn bad_backups(foundation: &Foundation, found: &Scrubbed) -> Option<Vec<BackupId>> {
    let unseen = found.stores.iter().any(|store| store.left_out.is_some());
    if unseen || found.more > 0 {
        return None;
    }
    let hit = found.hit.iter().map(|hit| hit.backup.clone());
    let manifests = found.bad.iter();
    let manifests = manifests.filter_map(|bad| of_manifest(foundation, &bad.object));
    let mut bad: Vec<BackupId> = hit.chain(manifests).collect();
    bad.sort_unstable();
    bad.dedup();
    Some(bad)
}
