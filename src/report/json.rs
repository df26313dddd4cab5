//! The same for programs: `backup.json`, `list --json`, `show --json`. Bytes and
//! milliseconds are numbers, times RFC 3339, absent is absent.

use serde_json::{Value, json};

use super::proofs::Proofs;
use super::{Backup, Component, Listing, Origin, Precheck};
use crate::clock::{millis, rfc3339};

/// One backup.
pub fn backup(backup: &Backup) -> Value {
    let mut value = json!({
        "id": backup.id,
        "foundation": backup.foundation,
        "started": rfc3339(backup.started),
        "finished": rfc3339(backup.finished),
        "release": backup.release,
        "chain": backup.chain,
        "bytes": backup.bytes(),
        "drained_bytes": backup.drained_bytes,
        "changed_bytes": backup.changed_bytes,
        "stored_bytes": backup.stored_bytes,
        "new_objects": backup.new_objects,
        "copies": backup.copies,
        "stores": backup.stores,
        "origin": origin(&backup.origin),
        "components": backup.components.iter().map(component).collect::<Vec<_>>(),
    });
    let optional = [
        ("base", backup.base.as_ref().map(|base| json!(base))),
        (
            "full_because",
            backup.full_because.as_ref().map(|why| json!(why)),
        ),
        ("build", backup.build.as_ref().map(|build| json!(build))),
        ("proofs", backup.proofs.as_ref().map(Proofs::json)),
    ];
    if let Some(map) = value.as_object_mut() {
        for (key, part) in optional {
            if let Some(part) = part {
                map.insert(key.to_owned(), part);
            }
        }
    }
    value
}

pub(super) fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Signed(by) => json!({"verified": true, "signed_by": by}),
        Origin::Unsigned => json!({"verified": false, "signed": false}),
        Origin::NotVerified => json!({"verified": false}),
    }
}

fn component(component: &Component) -> Value {
    let phases: Vec<Value> = component
        .phases
        .iter()
        .map(|phase| json!({"name": phase.name, "ms": millis(phase.took)}))
        .collect();
    let artifacts: Vec<Value> = component
        .artifacts
        .iter()
        .map(|artifact| {
            json!({"name": artifact.name, "files": artifact.files, "bytes": artifact.bytes})
        })
        .collect();
    let mut value = json!({
        "name": component.name,
        "phases": phases,
        "artifacts": artifacts,
    });
    if !component.notes.is_empty() {
        value["notes"] = json!(component.notes);
    }
    if !component.downtime.is_empty() {
        let probes = component.downtime.iter().map(|one| {
            json!({
                "probe": one.probe,
                "asked": one.asked,
                "failed": one.failed,
                "ms": millis(one.took),
                "first": one.failures.as_ref().map(|(first, _)| first),
                "last": one.failures.as_ref().map(|(_, last)| last),
                "still": one.still,
            })
        });
        value["downtime"] = probes.collect();
    }
    if let (Some(map), Some(time)) = (value.as_object_mut(), component.api_unavailable()) {
        map.insert("api_unavailable_ms".to_owned(), millis(time).into());
    }
    value
}

/// All backups.
pub fn listing(listing: &Listing) -> Value {
    json!({
        "backups": listing.backups.iter().map(backup).collect::<Vec<_>>(),
        "has_older": listing.has_older,
        "unreadable": listing.unreadable,
        "silent_stores": listing.silent_stores,
    })
}

/// What a pre-backup-check found.
pub fn precheck(precheck: &Precheck) -> Value {
    json!({"ready": precheck.ready, "problems": precheck.problems})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::sample;

    #[test]
    fn a_backup_has_numbers_and_times() {
        let value = backup(&sample());
        assert_eq!(value["id"], "20261122T010203Z-7f3a09bc");
        assert_eq!(value["components"][0]["api_unavailable_ms"], 5000);
        assert_eq!(value["origin"]["signed_by"], "ssh-ed25519 AAAA");
        assert_eq!(value["build"]["job"], "nightly");
        assert_eq!(value.get("full_because"), None);
    }
}
