//! `recreate-instances`: the brokers' errands that make on-demand service instances again.

use anyhow::{Result, bail};

use super::apply;
use super::ground::Ground;
use crate::bosh;
use crate::http::Wait;
use crate::opsman::{ApplyChanges, Deploy, OpsManager};
use crate::report::restore::StepEnd;

/// How on-demand deployments are called.
pub(in crate::operation) const PREFIX: &str = "service-instance_";
/// The errands, the better one first: the second leaves out instances that it thinks current.
const ERRANDS: [&str; 2] = [
    "recreate-all-service-instances",
    "upgrade-all-service-instances",
];

/// A broker's deployment and its errand.
struct Broker {
    deployment: String,
    errand: &'static str,
}

pub(super) fn recreate_instances(ground: &Ground<'_>) -> Result<StepEnd> {
    let wait = ground.wait();
    let director = ground.director()?;
    ground.restored(&director)?;
    let deployments = director.deployments(&wait)?;
    let names = deployments.iter().map(|one| one.name.as_str());
    let (instances, others): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with(PREFIX));
    let mut said = Vec::new();
    let mut already = true;
    if instances.is_empty() {
        said.push("the director knows no on-demand service instance".to_owned());
    } else if idle_of(&director, &instances, &wait)?.is_empty() {
        said.push(format!(
            "all {} on-demand service instances run",
            instances.len()
        ));
    } else {
        already = false;
        let brokers = brokers(&director, &others, &wait)?;
        if brokers.is_empty() {
            bail!(
                "no deployment has the errand {} or {}; recreate {} by `bosh recreate --fix`",
                ERRANDS[0],
                ERRANDS[1],
                instances.join(", ")
            );
        }
        deploy_brokers(ground, &director, &brokers)?;
        for broker in &brokers {
            ground.context.shutdown.check()?;
            let Broker { deployment, errand } = broker;
            ground.info(&format!("running errand {errand} of {deployment}"));
            if *errand == ERRANDS[1] {
                ground.context.monitor.warn(&format!(
                    "{deployment} has no errand {}: {errand} may leave out instances that are at the current version",
                    ERRANDS[0]
                ));
            }
            director.run_errand(deployment, errand, &wait)?;
            said.push(format!("errand {errand} of {deployment} succeeded"));
        }
        let idle = idle_of(&director, &instances, &wait)?;
        if !idle.is_empty() {
            bail!(
                "the errands succeeded, but these do not run: {}; recreate them by `bosh -d NAME recreate --fix`, then run this step again",
                idle.join(", ")
            );
        }
        said.push(format!(
            "all {} on-demand service instances run",
            instances.len()
        ));
    }
    director.pause_resurrection(false, &wait)?;
    said.push("resurrection is on again".to_owned());
    Ok(ground.end(already, said))
}

fn idle_of(director: &bosh::Director, deployments: &[&str], wait: &Wait) -> Result<Vec<String>> {
    let mut idle = Vec::new();
    for name in deployments {
        if apply::idle(director, name, wait)?.is_some() {
            idle.push((*name).to_owned());
        }
    }
    Ok(idle)
}

fn brokers(director: &bosh::Director, names: &[&str], wait: &Wait) -> Result<Vec<Broker>> {
    let mut brokers = Vec::new();
    for name in names {
        let errands = director.errands(name, wait)?;
        let found = ERRANDS
            .into_iter()
            .find(|errand| errands.iter().any(|one| one == errand));
        brokers.extend(found.map(|errand| Broker {
            deployment: (*name).to_owned(),
            errand,
        }));
    }
    Ok(brokers)
}

/// An errand runs on its broker's VM, which is as gone as all others until its tile is deployed.
fn deploy_brokers(
    ground: &Ground<'_>,
    director: &bosh::Director,
    brokers: &[Broker],
) -> Result<()> {
    let wait = ground.wait();
    let mut idle = Vec::new();
    for broker in brokers {
        if apply::idle(director, &broker.deployment, &wait)?.is_some() {
            idle.push(broker.deployment.clone());
        }
    }
    if idle.is_empty() {
        return Ok(());
    }
    let mut ops: OpsManager = ground.ops_manager()?;
    ops.ready(&wait)?;
    let staged = ops.staged_products(&wait)?;
    let foreign: Vec<_> = idle
        .iter()
        .filter(|name| !staged.iter().any(|product| product.guid == **name))
        .cloned()
        .collect();
    if !foreign.is_empty() {
        bail!(
            "{} does not run and is no tile of Ops Manager: deploy it with `bosh deploy --recreate --fix`, then run this step again",
            foreign.join(", ")
        );
    }
    let mut said = Vec::new();
    if apply::attach(ground, &mut ops, &mut said)? {
        return deploy_brokers(ground, director, brokers);
    }
    ground.info(&format!("deploying {}", idle.join(", ")));
    apply::run(ground, &mut ops, &ApplyChanges::new(Deploy::Products(idle)))
}
