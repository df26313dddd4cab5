//! What of a foundation is in a backup, what is not, and what to do about that. Closes every
//! backup of a foundation whose Ops Manager is known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Context;
use super::record::{Deployment, Product, TileBackups};
use crate::monitor::Level;

/// One deployed product or deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    /// The deployment's name; `director` for the director.
    pub(super) name: String,
    /// The type of the product that it is, or that made it.
    pub(super) product: Option<String>,
    /// `covered-bbr`, `metadata-only`, `coverable`, `covered-tile`, `uncovered`, `stateless`,
    /// `skipped-windows`, `unknown`.
    pub(super) class: String,
    pub(super) why: String,
    /// What the operator should do; empty where there is nothing to do.
    pub(super) advice: String,
}

/// What the table is made of.
pub(super) struct Inputs<'a> {
    pub(super) products: &'a [Product],
    pub(super) deployments: &'a [Deployment],
    /// Deployments in this backup, under whatever component.
    pub(super) saved: &'a [String],
    /// Whether the director is.
    pub(super) director: bool,
    /// Saved ones whose blobs are elsewhere.
    pub(super) metadata_only: &'a [String],
    /// Deployments that are not saved, and whether they bring scripts; an error where nobody
    /// could say.
    pub(super) scripts: &'a BTreeMap<String, Result<bool, String>>,
    /// The deployment that `tas` means.
    pub(super) tas: Option<&'a str>,
}

impl Inputs<'_> {
    /// The table: the director first, then every deployment.
    pub(super) fn table(&self) -> Vec<Line> {
        let mut lines = vec![self.of_director()];
        lines.extend(
            self.deployments
                .iter()
                .map(|deployment| self.of(deployment)),
        );
        lines
    }

    fn of_director(&self) -> Line {
        let (class, why, advice) = match self.director {
            true => ("covered-bbr", "in this backup", ""),
            false => (
                "coverable",
                "it brings backup scripts and is not in this backup",
                "add director to backup",
            ),
        };
        Line {
            name: "director".into(),
            product: Some("p-bosh".into()),
            class: class.into(),
            why: why.into(),
            advice: advice.into(),
        }
    }

    fn of(&self, deployment: &Deployment) -> Line {
        let product = deployment
            .product
            .as_ref()
            .and_then(|guid| self.products.iter().find(|one| one.guid == *guid));
        let (class, why, advice) = self.judged(deployment, product);
        Line {
            name: deployment.name.clone(),
            product: product.map(|product| product.kind.clone()),
            class: class.into(),
            why,
            advice,
        }
    }

    fn judged(
        &self,
        deployment: &Deployment,
        product: Option<&Product>,
    ) -> (&'static str, String, String) {
        let name = &deployment.name;
        let none = String::new;
        if self.saved.contains(name) {
            if self.metadata_only.contains(name) {
                return (
                    "metadata-only",
                    "in this backup, but its blobs are not".into(),
                    "see to the bucket: versions or soft delete kept, and a replica elsewhere"
                        .into(),
                );
            }
            return ("covered-bbr", "in this backup".into(), none());
        }
        if on_windows(deployment, product) {
            return (
                "skipped-windows",
                "its instances run Windows, which BBR does not back up".into(),
                none(),
            );
        }
        match self.scripts.get(name) {
            Some(Ok(true)) => (
                "coverable",
                "it brings backup scripts and is not in this backup".into(),
                format!("add {} to backup", self.component(deployment)),
            ),
            Some(Ok(false)) => without_scripts(deployment, product),
            Some(Err(why)) => (
                "unknown",
                format!("whether it brings backup scripts could not be found out: {why}"),
                format!(
                    "run lifeboat pre-backup-check {}",
                    self.component(deployment)
                ),
            ),
            None => (
                "unknown",
                "it was not asked whether it brings backup scripts".into(),
                format!("add {} to backup", self.component(deployment)),
            ),
        }
    }

    fn component(&self, deployment: &Deployment) -> String {
        match deployment.kind.as_str() {
            "on-demand" => "service-instances".to_owned(),
            _ if self.tas == Some(deployment.name.as_str()) => "tas".to_owned(),
            _ => format!("deployment/{}", deployment.name),
        }
    }
}

/// Whether all of its instances run Windows.
fn on_windows(deployment: &Deployment, product: Option<&Product>) -> bool {
    let windows = |stemcell: &str| stemcell.to_lowercase().contains("windows");
    let all = |stemcells: &mut dyn Iterator<Item = &str>| {
        let mut any = false;
        let windows = stemcells.inspect(|_| any = true).all(windows);
        windows && any
    };
    let of_tile = product.filter(|_| deployment.kind == "product");
    let mut tile = of_tile
        .into_iter()
        .flat_map(|product| &product.stemcells)
        .map(|stemcell| stemcell.os.as_str());
    all(&mut deployment.stemcells.iter().map(String::as_str)) || all(&mut tile)
}

fn without_scripts(
    deployment: &Deployment,
    product: Option<&Product>,
) -> (&'static str, String, String) {
    let tile = product
        .filter(|_| deployment.kind == "on-demand")
        .and_then(|product| product.backups.as_ref());
    if let Some(backups) = tile.filter(|backups| backups.on) {
        return (
            "covered-tile",
            format!(
                "it brings no backup scripts; the tile's automatic backups are on ({})",
                of_tile(backups)
            ),
            "look there whether the newest one is recent: it is not in this backup".into(),
        );
    }
    let disks: Vec<&str> = deployment
        .groups
        .iter()
        .filter(|group| group.persistent_disk)
        .map(|group| group.name.as_str())
        .collect();
    if disks.is_empty() && tile.is_none() && deployment.kind != "on-demand" {
        return (
            "stateless",
            "it brings no backup scripts and has no persistent disk".into(),
            String::new(),
        );
    }
    let keeps = match disks.is_empty() {
        true => String::new(),
        false => format!(", but keeps data on disk ({})", disks.join(", ")),
    };
    match (tile, deployment.kind.as_str()) {
        (Some(backups), _) => (
            "uncovered",
            format!(
                "it brings no backup scripts{keeps}, and the tile's automatic backups are off ({})",
                backups.selector
            ),
            "switch on the tile's automatic backups".into(),
        ),
        (None, "on-demand") => (
            "uncovered",
            format!("an on-demand instance that brings no backup scripts{keeps}"),
            "switch on the automatic backups of the tile that made it, if it has them; else its data is lost with it"
                .into(),
        ),
        (None, _) => (
            "uncovered",
            format!("it brings no backup scripts{keeps}"),
            "back its data up by its own means, or know that it is lost with it".into(),
        ),
    }
}

fn of_tile(backups: &TileBackups) -> String {
    let mut parts = vec![backups.selector.clone()];
    parts.extend(backups.target.iter().map(|target| format!("to {target}")));
    parts.extend(backups.schedule.iter().map(|when| format!("at {when}")));
    parts.join(" ")
}

/// Says the table in the log, line by line.
pub(super) fn tell(context: &Context, lines: &[Line]) {
    for line in lines {
        let level = match line.class.as_str() {
            "covered-bbr" | "covered-tile" | "stateless" | "skipped-windows" => Level::Info,
            _ => Level::Warn,
        };
        let product = line
            .product
            .as_ref()
            .map(|product| format!(" ({product})"))
            .unwrap_or_default();
        let advice = match line.advice.is_empty() {
            true => String::new(),
            false => format!("; {}", line.advice),
        };
        context.monitor.say(
            level,
            &format!(
                "coverage: {}{product}: {}: {}{advice}",
                line.name, line.class, line.why
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::record::DeployedGroup;

    fn deployment(name: &str, kind: &str, product: Option<&str>, disk: bool) -> Deployment {
        Deployment {
            name: name.into(),
            kind: kind.into(),
            product: product.map(str::to_owned),
            groups: vec![DeployedGroup {
                name: "g".into(),
                instances: 1,
                persistent_disk: disk,
            }],
            ..Deployment::default()
        }
    }

    fn product(guid: &str, on: Option<bool>) -> Product {
        Product {
            guid: guid.into(),
            kind: guid.into(),
            backups: on.map(|on| TileBackups {
                selector: if on { "s3" } else { "disabled" }.into(),
                on,
                ..TileBackups::default()
            }),
            ..Product::default()
        }
    }

    #[test]
    fn every_class_has_its_case() {
        let mut windows = deployment("windows", "product", None, false);
        windows.stemcells = vec!["bosh-windows2019/1".into()];
        let deployments = [
            deployment("cf", "product", None, true),
            deployment("iso", "product", None, true),
            deployment("s3", "product", None, true),
            windows,
            deployment("health", "product", None, false),
            deployment("metrics", "product", None, true),
            deployment("si-on", "on-demand", Some("on"), true),
            deployment("si-off", "on-demand", Some("off"), true),
            deployment("si-none", "on-demand", Some("none"), false),
            deployment("si-scripts", "on-demand", Some("on"), false),
            deployment("sulking", "other", None, false),
            deployment("silent", "other", None, false),
        ];
        let scripts = [
            ("iso", Ok(true)),
            ("health", Ok(false)),
            ("metrics", Ok(false)),
            ("si-on", Ok(false)),
            ("si-off", Ok(false)),
            ("si-none", Ok(false)),
            ("si-scripts", Ok(true)),
            ("sulking", Err("no SSH".to_owned())),
        ];
        let inputs = Inputs {
            products: &[
                product("on", Some(true)),
                product("off", Some(false)),
                product("none", None),
            ],
            deployments: &deployments,
            saved: &["cf".to_owned(), "s3".to_owned()],
            director: false,
            metadata_only: &["s3".to_owned()],
            scripts: &scripts.map(|(name, has)| (name.to_owned(), has)).into(),
            tas: Some("cf"),
        };
        let table = inputs.table();
        let classes: Vec<_> = table
            .iter()
            .map(|line| (line.name.as_str(), line.class.as_str()))
            .collect();
        assert_eq!(
            classes,
            [
                ("director", "coverable"),
                ("cf", "covered-bbr"),
                ("iso", "coverable"),
                ("s3", "metadata-only"),
                ("windows", "skipped-windows"),
                ("health", "stateless"),
                ("metrics", "uncovered"),
                ("si-on", "covered-tile"),
                ("si-off", "uncovered"),
                ("si-none", "uncovered"),
                ("si-scripts", "coverable"),
                ("sulking", "unknown"),
                ("silent", "unknown"),
            ]
        );
        for line in &table {
            let fine =
                ["covered-bbr", "stateless", "skipped-windows"].contains(&line.class.as_str());
            assert_eq!(line.advice.is_empty(), fine, "{line:?}");
        }
    }
}
