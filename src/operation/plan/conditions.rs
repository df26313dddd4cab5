//! What must hold before a restore is begun.

use std::time::{Duration, SystemTime};

use super::super::steps::facts::Facts;
use super::super::steps::ground::Ground;
use super::super::steps::stemcells::mirror_files;
use super::Holds;
use super::target::Target;
use crate::clock;
use crate::report::restore::{Condition, Holds as Held};

/// A certificate that ends so soon is worth a look.
const SOON: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn of(
    ground: &Ground<'_>,
    holds: Holds,
    facts: Option<&Facts>,
    target: &Target,
) -> Vec<Condition> {
    let mut all = Vec::new();
    keys(ground, holds, &mut all);
    if holds.ops_manager {
        version(ground, facts, target, &mut all);
    }
    if let Some(differs) = &target.foreign {
        all.push(condition(
            Held::No,
            "target",
            format!("its Ops Manager is set up with something else ({differs}); a restore needs a new VM that nobody has set up"),
        ));
    }
    if let Some(differs) = &target.other_tas {
        all.push(condition(
            Held::No,
            "TAS",
            format!("{differs}: data goes back only to the release that it came from; bring the target there first"),
        ));
    }
    if !ground.choices.in_place && (holds.ops_manager || holds.director) {
        all.push(condition(
            Held::Look,
            "isolation",
            "a network and an IaaS account of its own, with the same address ranges and no way to the original's director, VMs, disks, buckets, databases, queues and mail; a worker that reaches this target alone",
        ));
    }
    let Some(facts) = facts else { return all };
    infrastructure(facts, &mut all);
    certificates(facts, ground.context.clock.now(), &mut all);
    stemcells(ground, facts, &mut all);
    for kept in &facts.external {
        all.push(condition(
            Held::Look,
            "external storage",
            format!("{kept}: its content is not in this backup; have it at hand, or a copy of it, never the original's own (a restore writes to it)"),
        ));
    }
    all
}

fn condition(holds: Held, what: &str, why: impl Into<String>) -> Condition {
    Condition {
        holds,
        what: what.to_owned(),
        why: why.into(),
    }
}

fn keys(ground: &Ground<'_>, holds: Holds, all: &mut Vec<Condition>) {
    let mut key = |given: bool, what: &str, why: &str| {
        let (held, start) = match given {
            true => (Held::Yes, "is given"),
            false => (Held::No, "is not given"),
        };
        all.push(condition(held, what, format!("{start}: {why}")));
    };
    key(
        ground.can_read(),
        "recovery_identity",
        "opens the backup; no step of a restore works without it",
    );
    if holds.ops_manager {
        let place = ground.settings.foundation.ops_manager.as_ref();
        key(
            place.is_some_and(|place| place.decryption_passphrase.is_some()),
            "ops_manager.decryption_passphrase",
            "opens the installation; it is in no backup",
        );
        key(
            place.is_some_and(|place| place.ssh.is_some()),
            "ops_manager.ssh_private_key",
            "reaches bosh-state.json on the Ops Manager VM, which no API does",
        );
    }
}

fn version(ground: &Ground<'_>, facts: Option<&Facts>, target: &Target, all: &mut Vec<Condition>) {
    let Some(facts) = facts else { return };
    let recorded = &facts.ops_manager_version;
    let what = "Ops Manager";
    all.push(match &target.version {
        None => condition(
            Held::Look,
            what,
            format!("a VM from the image of version {recorded}, not set up"),
        ),
        Some(there) if there == recorded => condition(Held::Yes, what, format!("version {recorded}")),
        Some(there) if ground.choices.ops_manager_version.as_deref() == Some(there) => condition(
            Held::Look,
            what,
            format!("version {there} where {recorded} is recorded; accepted by accept_ops_manager_version"),
        ),
        Some(there) => condition(
            Held::No,
            what,
            format!("version {there} where {recorded} is needed; make the VM from that image"),
        ),
    });
}

fn infrastructure(facts: &Facts, all: &mut Vec<Condition>) {
    if !facts.iaas.is_empty() {
        all.push(condition(
            Held::Look,
            "infrastructure",
            format!(
                "{}, as in the backup: it cannot be another kind",
                facts.iaas
            ),
        ));
    }
    if !facts.networks.is_empty() {
        all.push(condition(
            Held::Look,
            "networks",
            format!("the same ranges: {}", facts.networks.join(", ")),
        ));
    }
    if !facts.domains.is_empty() {
        all.push(condition(
            Held::Look,
            "domains",
            format!(
                "names that lead to the target from inside it: {}",
                facts.domains.join(", ")
            ),
        ));
    }
}

/// What ends before the restore does keeps the foundation from coming up.
fn certificates(facts: &Facts, now: SystemTime, all: &mut Vec<Condition>) {
    let mut ends: Vec<_> = facts
        .certificates
        .iter()
        .filter_map(|(name, end)| Some((clock::parse_rfc3339(end)?, name, end)))
        .collect();
    ends.sort();
    let Some((first, name, end)) = ends.first() else {
        if !facts.certificates.is_empty() {
            all.push(condition(
                Held::Look,
                "certificates",
                "the recorded end dates cannot be read",
            ));
        }
        return;
    };
    let over = ends.iter().filter(|(end, ..)| *end <= now).count();
    let held = if *first <= now {
        Held::No
    } else if *first <= now + SOON {
        Held::Look
    } else {
        Held::Yes
    };
    let why = match held {
        Held::No => format!(
            "{over} of {} ended, the first ({name}) at {end}: what uses them does not come up; rotate them after the import, before anything is applied",
            ends.len()
        ),
        _ => format!("the first of {} to end is {name}, at {end}", ends.len()),
    };
    all.push(condition(held, "certificates", why));
}

fn stemcells(ground: &Ground<'_>, facts: &Facts, all: &mut Vec<Condition>) {
    let held = ground
        .choices
        .stemcells
        .as_ref()
        .map(|mirror| mirror_files(mirror, ground.context.monitor.as_ref()));
    for (os, version) in &facts.stemcells {
        let what = format!("stemcell {os} {version}");
        all.push(match &held {
            None => condition(
                Held::Look,
                &what,
                "fetch its tarball into a directory and name that as stemcells; no backup holds it",
            ),
            Some(Err(error)) => condition(Held::No, &what, format!("{error:#}")),
            Some(Ok(files)) => {
                let file = files
                    .iter()
                    .find(|(file, _)| file.operating_system == *os && file.version == *version);
                match file {
                    Some((_, path)) => condition(Held::Yes, &what, path.display().to_string()),
                    None => condition(Held::No, &what, "is not in the mirror; fetch its tarball"),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_to_end_decides() {
        let now = clock::parse_rfc3339("2026-11-22T00:00:00Z").unwrap();
        for (ends, held) in [
            (vec!["2027-11-22T00:00:00Z"], Some(Held::Yes)),
            (
                vec!["2027-11-22T00:00:00Z", "2026-12-01T00:00:00Z"],
                Some(Held::Look),
            ),
            (
                vec!["2027-11-22T00:00:00Z", "2026-11-21T00:00:00Z"],
                Some(Held::No),
            ),
            (vec!["some day"], Some(Held::Look)),
            (vec![], None),
        ] {
            let facts = Facts {
                certificates: ends
                    .iter()
                    .map(|end| (".a.b".to_owned(), (*end).to_owned()))
                    .collect(),
                ..Facts::default()
            };
            let mut all = Vec::new();
            certificates(&facts, now, &mut all);
            assert_eq!(all.first().map(|one| one.holds), held, "{ends:?}");
        }
    }
}
