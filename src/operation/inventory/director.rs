//! What the Director has: deployments, their instances, releases, stemcells, configs.

use anyhow::Result;

use super::gather::Gathered;
use crate::artifact::Digest;
use crate::bosh::{self, Director, NameVersion};
use crate::http::Wait;
use crate::inventory::{Item, Rows};
use crate::operation::steps::note;

const SOURCE: &str = "director";
const KINDS: [&str; 5] = ["config", "deployment", "instance", "release", "stemcell"];

/// Asks for all; what fails is told.
pub(super) fn rows(gathered: &mut Gathered, api: &Director, wait: &Wait) -> Result<()> {
    let told = told(api, wait);
    wait.shutdown().check()?;
    match told {
        Ok(all) => {
            let version = api.info(wait).map(|info| info.version.clone());
            gathered.asked(SOURCE, api.name(), &version.unwrap_or_default());
            for (kind, rows) in KINDS.into_iter().zip(all) {
                gathered.keep(SOURCE, kind, rows)?;
            }
        }
        Err(error) => gathered.lacks(SOURCE, &KINDS, error.to_string()),
    }
    Ok(())
}

/// In the order of [`KINDS`].
fn told(api: &Director, wait: &Wait) -> Result<[Rows; 5], bosh::Error> {
    let mut all = KINDS.map(Rows::of);
    let [configs, deployments, instances, releases, stemcells] = &mut all;
    // What a restore of ours noted there is no part of a foundation.
    let theirs = |config: &bosh::Config| config.kind != note::KIND;
    for config in api.configs(wait)?.into_iter().filter(theirs) {
        // Contents may hold secrets; their digest tells whether they are the same.
        configs.push(
            &Item::new("config", &[&config.kind, &config.name])
                .with("digest", digest(&config.content)),
        );
    }
    let named = |items: &[NameVersion]| {
        let names = items
            .iter()
            .map(|one| format!("{}/{}", one.name, one.version));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    for deployment in api.deployments(wait)? {
        let manifest = match api.manifest(&deployment.name, wait) {
            // Gone since the list.
            Err(bosh::Error::UnknownDeployment { .. }) => continue,
            manifest => manifest?,
        };
        let of = match api.recorded_instances(&deployment.name, wait) {
            Err(bosh::Error::UnknownDeployment { .. }) => continue,
            of => of?,
        };
        for one in of {
            instances.push(
                &Item::new("instance", &[&deployment.name, &one.group, &one.id])
                    .with("index", one.index)
                    .with("az", one.az)
                    .with("vm", one.expects_vm),
            );
        }
        deployments.push(
            &Item::new("deployment", &[&deployment.name])
                .with("releases", named(&deployment.releases))
                .with("stemcells", named(&deployment.stemcells))
                .with("teams", deployment.teams)
                .with("manifest", digest(&manifest)),
        );
    }
    for release in api.releases(wait)? {
        releases.push(&Item::new("release", &[&release.name, &release.version]));
    }
    for stemcell in api.stemcells(wait)? {
        stemcells.push(
            &Item::new("stemcell", &[&stemcell.name, &stemcell.version])
                .with("os", stemcell.operating_system),
        );
    }
    Ok(all)
}

fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}
