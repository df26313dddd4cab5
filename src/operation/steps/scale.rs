//! `scale-down` and `scale-up`: a restore of TAS needs exactly one MySQL instance.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::apply::{self, tas_guid};
use super::ground::Ground;
use crate::bosh;
use crate::http::Wait;
use crate::opsman::{ApplyChanges, Deploy, OpsManager};
use crate::report::restore::StepEnd;

/// What the group is called; `database` in Small Footprint.
pub(super) const GROUPS: [&str; 2] = ["mysql", "database"];

/// The MySQL group of TAS as it is staged.
pub(in crate::operation) struct Group {
    pub(in crate::operation) name: String,
    guid: String,
    pub(in crate::operation) instances: Value,
}

/// Finds it; `None` where TAS has none of its own.
pub(in crate::operation) fn group(
    ops: &mut OpsManager,
    tas: &str,
    wait: &Wait,
) -> Result<Option<Group>> {
    let jobs = ops.product_jobs(tas, wait)?;
    for name in GROUPS {
        let Some(job) = jobs.iter().find(|job| job.name == name) else {
            continue;
        };
        let config = ops.resource_config(tas, &job.guid, wait)?;
        let instances = config["instances"].clone();
        // Small Footprint's other group is there with none.
        if instances == json!(0)
            && jobs
                .iter()
                .any(|job| GROUPS.contains(&job.name.as_str()) && job.name != name)
        {
            continue;
        }
        return Ok(Some(Group {
            name: name.to_owned(),
            guid: job.guid.clone(),
            instances,
        }));
    }
    Ok(None)
}

pub(super) fn scale_down(ground: &Ground<'_>) -> Result<StepEnd> {
    let wait = ground.wait();
    let director = ground.director()?;
    ground.restored(&director)?;
    let mut ops = ground.ops_manager()?;
    ops.ready(&wait)?;
    let tas = tas_guid(&mut ops, &wait)?;
    let Some(group) = group(&mut ops, &tas, &wait)? else {
        let said = vec![format!(
            "{tas} has no MySQL group: its databases are external"
        )];
        return Ok(ground.end(true, said));
    };
    if group.instances == json!(1) {
        let said = vec![format!(
            "group {} of {tas} is staged with 1 instance",
            group.name
        )];
        return Ok(ground.end(true, said));
    }
    ops.stage_instances(&tas, &group.guid, &json!(1), &wait)?;
    Ok(ground.end(
        false,
        vec![format!(
            "group {} of {tas} is staged with 1 instance instead of {}; scale-up brings back the recorded number",
            group.name,
            shown(&group.instances)
        )],
    ))
}

/// Refuses a MySQL of any other size than one.
pub(super) fn require_one(ground: &Ground<'_>, ops: &mut OpsManager, tas: &str) -> Result<()> {
    let Some(group) = group(ops, tas, &ground.wait())? else {
        return Ok(());
    };
    ensure!(
        group.instances == json!(1),
        "group {} of {tas} is staged with {} instances: a restore of TAS needs exactly one. Nothing was applied; run `{}` first",
        group.name,
        shown(&group.instances),
        ground.command("scale-down")
    );
    Ok(())
}

pub(super) fn scale_up(ground: &Ground<'_>) -> Result<StepEnd> {
    let wait = ground.wait();
    let facts = ground.facts()?;
    let director = ground.director()?;
    ground.restored(&director)?;
    let mut ops = ground.ops_manager()?;
    ops.ready(&wait)?;
    let tas = tas_guid(&mut ops, &wait)?;
    let mut said = Vec::new();
    let followed = apply::attach(ground, &mut ops, &mut said)?;
    let Some(group) = group(&mut ops, &tas, &wait)? else {
        said.push(format!(
            "{tas} has no MySQL group: its databases are external"
        ));
        return Ok(ground.end(true, said));
    };
    let Some(recorded) = facts.tas_instances(&group.name) else {
        bail!(
            "the foundation record of backup {} does not say how many instances group {} of {tas} had; set the number in Ops Manager's resource config and apply changes",
            ground.backup_id(),
            group.name
        );
    };
    let staged = ops.stage_instances(&tas, &group.guid, recorded, &wait)?;
    let waits = ops
        .pending_changes(&wait)?
        .iter()
        .any(|change| change.guid == tas);
    if staged == *recorded && !waits && enough(&director, &tas, &group.name, recorded, &wait)? {
        said.push(format!(
            "group {} of {tas} has its {} instances",
            group.name,
            shown(recorded)
        ));
        return Ok(ground.end(!followed, said));
    }
    let changes = ApplyChanges::new(Deploy::Products(vec![tas.clone()]));
    apply::run(ground, &mut ops, &changes)?;
    if let Some(instance) = apply::idle(&director, &tas, &wait)? {
        bail!(
            "Apply Changes succeeded, but {instance} of {tas} does not run; look at `bosh -d {tas} instances --ps`, then run this step again"
        );
    }
    said.push(format!(
        "group {} of {tas} has {} instances again",
        group.name,
        shown(recorded)
    ));
    Ok(ground.end(false, said))
}

/// Whether the director has as many of a group as were recorded. What `automatic` means is Ops
/// Manager's to know.
fn enough(
    director: &bosh::Director,
    tas: &str,
    group: &str,
    recorded: &Value,
    wait: &Wait,
) -> Result<bool> {
    let of_group = |one: &&bosh::Instance| one.group == group && one.runs();
    let running = director
        .instances(tas, wait)?
        .iter()
        .filter(of_group)
        .count();
    Ok(recorded
        .as_u64()
        .is_none_or(|wanted| running as u64 == wanted))
}

fn shown(instances: &Value) -> String {
    match instances {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
