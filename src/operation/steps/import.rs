//! `ops-manager`: imports the installation, straight from the stores, into an Ops Manager that
//! nobody has set up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};

use super::facts::Facts;
use super::ground::{Counted, Ground};
use super::pull::pull;
use crate::opsman::{self, Availability, OpsManager};
use crate::report::restore::StepEnd;

const INSTALLATION: &str = "installation.zip";
/// How long one that works on something else is waited for, and the pause between two tries.
const BUSY_LIMIT: Duration = Duration::from_secs(3600);
const BUSY_PAUSE: Duration = Duration::from_secs(3);

pub(super) fn import(ground: &Ground<'_>) -> Result<StepEnd> {
    let wait = ground.wait();
    let facts = ground.facts()?;
    let mut ops = ground.ops_manager()?;
    let passphrase = ops.passphrase().cloned().ok_or_else(|| {
        anyhow!("ops_manager.decryption_passphrase is missing: it opens the installation, and no backup holds it")
    })?;
    let mut availability = ops.availability(&wait)?;
    if availability == Availability::Starting {
        ground.info("Ops Manager is starting, or works on an import; waiting for it");
        availability = ops.started(&wait)?;
    }
    if availability != Availability::NotSetUp {
        return set_up(ground, &mut ops, &facts);
    }
    check_version(ground, &mut ops, &facts)?;
    let (artifact, root) = ground.artifact(INSTALLATION)?;
    ensure!(
        artifact.bytes > 0,
        "{INSTALLATION} of backup {} is empty; choose another backup",
        ground.backup_id()
    );
    ground.info(&format!("importing the installation into {}", ops.name()));
    ground.stream();
    let reader = ground.reader()?;
    let meter = ground
        .context
        .monitor
        .meter("import the installation", Some(artifact.bytes));
    let began = Instant::now();
    let imported = loop {
        let imported = pull(reader, &root, |zip| {
            let mut zip = Counted {
                from: zip,
                meter: &meter,
            };
            Ok(ops.import(&mut zip, artifact.bytes, &passphrase, &wait)?)
        });
        let busy = imported.as_ref().is_err_and(is_busy);
        if !busy || began.elapsed() > BUSY_LIMIT {
            break imported;
        }
        ground.info("Ops Manager is busy, maybe with an import that an earlier run began; waiting");
        wait.pause(BUSY_PAUSE)?;
        if ops.started(&wait)? != Availability::NotSetUp {
            meter.finish();
            return set_up(ground, &mut ops, &facts);
        }
    };
    meter.finish();
    imported.map_err(|error| {
        match error.downcast_ref::<opsman::Error>() {
            Some(opsman::Error::WrongPassphrase { .. }) => error.context(
                "the installation was not imported: it was exported under another decryption passphrase than ops_manager.decryption_passphrase; the VM may be half set up now: make a new one from the same image, then run this step again",
            ),
            _ => error,
        }
    })?;
    let missing = difference(&mut ops, &facts, &wait)?;
    if let Some(missing) = missing {
        bail!(
            "the installation was imported, but {missing}; look at Ops Manager before anything is applied"
        );
    }
    Ok(ground.end(
        false,
        vec![
            format!("the installation of backup {} is imported into {}", ground.backup_id(), ops.name()),
            "users and clients are those of the installation; do not apply changes yet: bosh-state.json still names the original director's VM".to_owned(),
        ],
    ))
}

/// It refuses a second call while it works on one. Nothing of the second is done.
fn is_busy(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<opsman::Error>(),
        Some(opsman::Error::Status { status: 503, .. })
    )
}

/// An Ops Manager that is set up: ours from an earlier run, or somebody's.
fn set_up(ground: &Ground<'_>, ops: &mut OpsManager, facts: &Facts) -> Result<StepEnd> {
    let wait = ground.wait();
    let refused = |why: String| {
        anyhow!(
            "the Ops Manager at {} is set up already and {why}; nothing was imported: an import needs a new VM that nobody has set up",
            ground
                .settings
                .foundation
                .ops_manager
                .as_ref()
                .map_or("", |place| place.host.as_str())
        )
    };
    ops.ready(&wait)
        .map_err(|error| refused(format!("cannot be told to be this backup's ({error})")))?;
    let passphrase = ops.passphrase().cloned();
    if let Some(passphrase) = passphrase {
        match ops.unlock(&passphrase, &wait) {
            Ok(()) => drop(ops.started(&wait)?),
            Err(opsman::Error::WrongPassphrase { .. }) => {
                return Err(refused("has another decryption passphrase".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let differs = difference(ops, facts, &wait)
        .map_err(|error| refused(format!("cannot be told to be this backup's ({error})")))?;
    if let Some(differs) = differs {
        return Err(refused(format!("is not this backup's: {differs}")));
    }
    Ok(ground.end(
        true,
        vec![
            format!(
                "{} holds the installation of backup {} already: the same products under the same passphrase",
                ops.name(),
                ground.backup_id()
            ),
            "if it is the original and not the new VM, stop here".to_owned(),
        ],
    ))
}

/// What products of the record the target lacks or has beside them; `None` when they are the same.
pub(in crate::operation) fn difference(
    ops: &mut OpsManager,
    facts: &Facts,
    wait: &crate::http::Wait,
) -> Result<Option<String>, opsman::Error> {
    let staged = ops.staged_products(wait)?;
    let there: BTreeSet<_> = staged.iter().map(|one| one.guid.as_str()).collect();
    let wanted: BTreeSet<_> = facts.products.iter().map(|one| one.guid.as_str()).collect();
    let names = |guids: Vec<&&str>| {
        let names: Vec<_> = guids.into_iter().copied().collect();
        names.join(", ")
    };
    let missing = names(wanted.difference(&there).collect());
    let more = names(there.difference(&wanted).collect());
    Ok(match (missing.is_empty(), more.is_empty()) {
        (true, true) => None,
        (false, _) => Some(format!("it lacks {missing}")),
        (true, false) => Some(format!("it also has {more}")),
    })
}

/// What is other about the target's TAS than recorded: its release, or that there is none. Its GUID does not
/// count: one that was set up on its own has another.
pub(in crate::operation) fn other_tas(
    ops: &mut OpsManager,
    facts: &Facts,
    wait: &crate::http::Wait,
) -> Result<Option<String>, opsman::Error> {
    let Some(recorded) = facts.of_kind("cf") else {
        return Ok(None);
    };
    let version = &recorded.version;
    let staged = ops.staged_products(wait)?;
    Ok(match staged.iter().find(|one| one.kind == recorded.kind) {
        None => Some(format!("it has no TAS, of which {version} is recorded")),
        Some(there) if there.product_version == *version => None,
        Some(there) => Some(format!(
            "its TAS is {} where {version} is recorded",
            there.product_version
        )),
    })
}

fn check_version(ground: &Ground<'_>, ops: &mut OpsManager, facts: &Facts) -> Result<()> {
    let there = ops.info(&ground.wait())?.version;
    let recorded = &facts.ops_manager_version;
    if there == *recorded {
        return Ok(());
    }
    if ground.choices.ops_manager_version.as_deref() == Some(there.as_str()) {
        ground.context.monitor.warn(&format!(
            "Ops Manager is {there}, the backup is of {recorded}; accepted by accept_ops_manager_version"
        ));
        return Ok(());
    }
    bail!(
        "the Ops Manager at {} is version {there}, the backup is of {recorded}: nothing was imported; make its VM from the image of {recorded} (or, where that version will do, give accept_ops_manager_version: \"{there}\")",
        ops.name()
    )
}
