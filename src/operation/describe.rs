//! From a manifest to what is reported of it.

use std::time::{Duration, SystemTime};

use crate::clock;
use crate::repo::catalogue::{Believed, Origin};
use crate::repo::format::{self, Manifest};
use crate::repo::id::BackupId;
use crate::repo::proof::{Latest, Level};
use crate::report;

/// What a manifest tells. `copies` are the stores that have it, of `stores` configured.
pub(super) fn backup(believed: &Believed, copies: Vec<String>, stores: usize) -> report::Backup {
    let manifest = &believed.signed.manifest;
    let origin = match (&believed.origin, &believed.signed.signature) {
        (Origin::Verified(fingerprint), _) => report::Origin::Signed(fingerprint.clone()),
        (Origin::NotVerified, None) => report::Origin::Unsigned,
        (Origin::NotVerified, Some(_)) => report::Origin::NotVerified,
    };
    from_manifest(manifest, origin, copies, stores)
}

/// The same for a manifest that this run wrote itself.
pub(super) fn from_manifest(
    manifest: &Manifest,
    origin: report::Origin,
    copies: Vec<String>,
    stores: usize,
) -> report::Backup {
    report::Backup {
        id: manifest.id.to_string(),
        foundation: manifest.foundation.to_string(),
        started: time(&manifest.started),
        finished: time(&manifest.finished),
        components: manifest.components.iter().map(component).collect(),
        drained_bytes: manifest.drained_bytes,
        changed_bytes: manifest.new_bytes,
        stored_bytes: manifest.stored_bytes,
        new_objects: manifest.new_objects,
        copies,
        stores,
        base: manifest.base.as_ref().map(ToString::to_string),
        full_because: manifest.full_because.clone(),
        chain: manifest.chain.id.to_string(),
        origin,
        release: manifest.release.clone(),
        build: manifest.build.as_ref().map(build),
        repeated: false,
        proofs: None,
    }
}

/// Adds what only the run that took a backup knows: component, artifact, figures.
pub(super) fn add_runs(
    backup: &mut report::Backup,
    runs: &[(String, String, report::ArtifactRun)],
) {
    for component in &mut backup.components {
        for artifact in &mut component.artifacts {
            artifact.run = runs
                .iter()
                .find(|(of, name, _)| *of == component.name && *name == artifact.name)
                .map(|(_, _, run)| *run);
        }
    }
}

/// The build that asks, as a manifest records it.
pub(super) fn build_record(build: &report::Build) -> format::Build {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format::Build {
        atc: build.atc.clone(),
        id: text(&build.id),
        team: text(&build.team),
        pipeline: text(&build.pipeline),
        job: text(&build.job),
        name: text(&build.name),
    }
}

fn build(build: &format::Build) -> report::Build {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    report::Build {
        atc: build.atc.clone(),
        id: text(&build.id),
        team: text(&build.team),
        pipeline: text(&build.pipeline),
        job: text(&build.job),
        name: text(&build.name),
    }
}

/// What was proven of a backup, as it is shown.
pub(super) fn proofs(id: &BackupId, latest: Latest) -> report::proofs::Proofs {
    let shown = Level::ALL.into_iter().filter_map(|level| {
        let believed = latest.shown(level)?;
        let proof = &believed.proof;
        let newest = latest.newest.get(&level);
        let made_good_not = latest.still_failed.contains_key(&level);
        Some(report::proofs::Shown {
            level,
            result: proof.result_for(id)?,
            finished: time(&proof.finished),
            scope: (!proof.scope.is_whole()).then(|| proof.scope.to_string()),
            passed_since: newest
                .filter(|_| made_good_not)
                .map(|newest| time(&newest.proof.finished)),
            origin: match &believed.origin {
                Origin::Verified(by) => report::Origin::Signed(by.clone()),
                Origin::NotVerified => report::Origin::NotVerified,
            },
            finding: proof.findings.first().map(|finding| finding.what.clone()),
            findings: proof.findings.len() as u64 + proof.more,
        })
    });
    report::proofs::Proofs {
        shown: shown.collect(),
        refused: latest.refused,
    }
}

fn component(record: &format::ComponentRecord) -> report::Component {
    report::Component {
        name: record.name.to_string(),
        phases: record
            .phases
            .iter()
            .map(|phase| report::Phase {
                name: phase.name.clone(),
                took: Duration::from_millis(phase.ms),
            })
            .collect(),
        artifacts: record
            .artifacts
            .iter()
            .map(|artifact| report::Artifact {
                name: artifact.name.clone(),
                files: artifact.files,
                bytes: artifact.bytes,
                run: None,
            })
            .collect(),
        notes: record.notes.clone(),
        downtime: record
            .downtime
            .iter()
            .map(|one| report::Downtime {
                probe: one.probe.clone(),
                asked: one.asked,
                failed: one.failed,
                took: Duration::from_millis(one.ms),
                failures: one.first.clone().zip(one.last.clone()),
                still: one.still,
            })
            .collect(),
        started: time(&record.started),
        facts: record.facts.clone(),
    }
}

fn time(text: &str) -> SystemTime {
    clock::parse_rfc3339(text).unwrap_or(SystemTime::UNIX_EPOCH)
}
