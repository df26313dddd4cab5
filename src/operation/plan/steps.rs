//! The steps of a plan, in order: those of Lifeboat, and between them what a person does.

use std::time::Duration;

use super::super::steps::facts::{Facts, Run};
use super::super::steps::ground::Ground;
use super::super::steps::state_file::Names;
use super::Holds;
use super::drilled::Drills;
use super::target::{Target, progress};
use super::times;
use crate::report::restore::{Expected, PlanStep, Progress, Who};

pub(super) fn of(
    ground: &Ground<'_>,
    holds: Holds,
    facts: Option<&Facts>,
    target: &Target,
    drills: &Drills,
) -> Vec<PlanStep> {
    let mut plan = Steps {
        ground,
        holds,
        facts,
        target,
        drills,
        steps: Vec::new(),
    };
    let in_place = ground.choices.in_place;
    if holds.ops_manager {
        plan.ops_manager(in_place);
    }
    if holds.director || holds.ops_manager {
        plan.director(in_place);
    }
    plan.tas();
    plan.instances();
    plan.others();
    plan.steps
}

/// Who does a step.
#[derive(Clone, Copy)]
enum By<'a> {
    /// Lifeboat: `lifeboat restore` and this name.
    Lifeboat(&'a str),
    Person,
    Decision,
}

struct Steps<'a, 'g> {
    ground: &'a Ground<'g>,
    holds: Holds,
    facts: Option<&'a Facts>,
    target: &'a Target,
    drills: &'a Drills,
    steps: Vec<PlanStep>,
}

impl Steps<'_, '_> {
    fn push(
        &mut self,
        title: &str,
        by: By<'_>,
        state: Progress,
        expected: Option<Expected>,
        notes: &[&str],
    ) {
        let (who, expected) = match by {
            By::Lifeboat(step) => (
                self.automatic(step),
                self.drills.expected(step).or(expected),
            ),
            By::Person => (Who::Person, expected),
            By::Decision => (Who::Decision, expected),
        };
        self.steps.push(PlanStep {
            title: title.to_owned(),
            who,
            state,
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
            expected,
        });
    }

    fn automatic(&self, step: &str) -> Who {
        let mut command = self.ground.command(step);
        if self.ground.choices.in_place {
            command.push_str("   # with in_place: true");
        }
        Who::Automatic(command)
    }

    fn ops_manager(&mut self, in_place: bool) {
        let imported = self.target.imported;
        self.push(
            "the infrastructure: networks, images, load balancers, DNS, certificates, accounts",
            By::Person,
            if imported == Some(true) {
                Progress::Done
            } else {
                Progress::Open
            },
            None,
            &["as the original's, and apart from it; the conditions above name what was recorded"],
        );
        self.push(
            "a new Ops Manager VM of the recorded version; nobody sets it up",
            By::Person,
            match (self.target.fresh, imported) {
                (Some(true), _) | (_, Some(true)) => Progress::Done,
                _ => progress(self.target.fresh),
            },
            Some(times::minutes(5, 20, "making a VM from an image")),
            &[],
        );
        let zip = self.ground.component("ops-manager").map_or(0, |component| {
            component
                .artifacts
                .iter()
                .map(|artifact| artifact.bytes)
                .sum()
        });
        let because = format!(
            "{} are unpacked and every product is read again; longer the more tiles",
            crate::report::units::bytes(zip)
        );
        self.push(
            "import the installation",
            By::Lifeboat("ops-manager"),
            progress(imported),
            Some(times::minutes(10, 60, because)),
            &["users and passwords are those of the backup afterwards"],
        );
        self.push(
            "settings that differ on the target: networks, IaaS accounts, host names, load balancers, certificates, another external blobstore or database",
            By::Decision,
            Progress::Open,
            None,
            &["in Ops Manager, before anything is applied; none where the target is like the original"],
        );
        if in_place {
            self.push(
                "bosh-state.json",
                By::Person,
                Progress::NotNeeded,
                None,
                &["in place it is kept; where the director lost its disk, correct the disk in it"],
            );
            return;
        }
        let gone = match &self.target.names {
            Some(Names::Nothing | Names::Another(_)) => Some(true),
            Some(Names::Imported(_)) => Some(false),
            None => imported.filter(|imported| !imported),
        };
        self.push(
            "move bosh-state.json aside, which names the original's director VM",
            By::Lifeboat("bosh-state"),
            progress(gone),
            Some(times::minutes(1, 1, "one command over SSH")),
            &[],
        );
    }

    fn director(&mut self, in_place: bool) {
        if self.holds.ops_manager {
            let deployed = match (&self.target.names, self.target.applied) {
                (Some(Names::Another(Some(_))), Some(true)) => Some(true),
                (None, None) => None,
                (None, Some(true)) => None,
                _ => Some(false),
            };
            let expected = times::apply(
                self.facts,
                |run| run.director_only,
                times::minutes(15, 30, "as others report; no such run is recorded"),
            );
            self.push(
                "Apply Changes for the director alone",
                By::Lifeboat("apply-director"),
                if in_place {
                    Progress::Open
                } else {
                    progress(deployed)
                },
                Some(expected),
                &[],
            );
        }
        if !self.holds.director {
            return;
        }
        let expected = self.ground.component("director").map(times::data);
        let restored = match self.target.isolated {
            Some(true) => Some(true),
            _ => self.target.director_restored,
        };
        self.push(
            "restore the director: its database, blobstore, CredHub and UAA",
            By::Lifeboat("director"),
            progress(restored),
            expected,
            &["deletes the director's present blobs first; a snapshot of its VM before this helps, where the IaaS has them"],
        );
        if in_place {
            return;
        }
        let count = self.facts.map_or(1, |facts| facts.deployments.max(1));
        let most = u32::try_from(count * 5).unwrap_or(u32::MAX / 60);
        let least = u32::try_from(count).unwrap_or(u32::MAX / 60);
        self.push(
            "clear stale references, behind the isolation guard",
            By::Lifeboat("references"),
            progress(self.target.isolated),
            Some(times::minutes(
                least,
                most,
                format!("{count} deployments, each scanned twice"),
            )),
            &[
                "stops when any VM or disk of the original can be seen; nothing is resolved then",
                "disks become orphaned: the director deletes them in its IaaS account after 5 days",
            ],
        );
        let stemcells = self.facts.map_or(1, |facts| facts.stemcells.len().max(1));
        let stemcells = u32::try_from(stemcells).unwrap_or(u32::MAX / 60);
        self.push(
            "upload the stemcells from the mirror",
            By::Lifeboat("stemcells"),
            progress(
                self.target
                    .stemcells
                    .filter(|_| self.target.isolated == Some(true))
                    .or(self.target.isolated.filter(|isolated| !isolated)),
            ),
            Some(times::minutes(
                2 * stemcells,
                10 * stemcells,
                format!(
                    "{stemcells} stemcells of some hundred MiB, each made an image in the IaaS"
                ),
            )),
            &["Ops Manager's own stemcell library needs them too: the export holds none"],
        );
    }

    fn tas(&mut self) {
        let tas = self.facts.and_then(|facts| facts.of_kind("cf"));
        let has_tas = self.holds.tas || tas.is_some();
        if !has_tas {
            return;
        }
        let external = self.facts.is_some_and(|facts| !facts.external.is_empty());
        if external {
            self.push(
                "external databases and blobstores: empty databases of the same kind, the blobstore or a copy of it",
                By::Person,
                Progress::Open,
                None,
                &[],
            );
        }
        let one = self.target.one_mysql;
        self.push(
            "scale MySQL to one instance",
            By::Lifeboat("scale-down"),
            match self.target.tas_runs {
                // Scaled down, deployed and maybe scaled up again since.
                Some(true) if one == Some(false) && self.target.mysql_as_recorded == Some(true) => {
                    Progress::Unknown
                }
                _ => progress(one),
            },
            Some(times::minutes(1, 1, "one setting")),
            &[],
        );
        let of_tas = |run: &Run| tas.is_some_and(|tas| run.products.contains(&tas.guid));
        let expected = times::apply(
            self.facts,
            of_tas,
            times::minutes(
                60,
                6 * 60,
                "hours, as others report; no such run is recorded",
            ),
        );
        self.push(
            "Apply Changes for TAS, errands on",
            By::Lifeboat("apply-tas"),
            progress(self.target.tas_runs),
            Some(expected),
            &[],
        );
        if let Some(component) = self.ground.component("tas").cloned() {
            let state = match self.target.tas_runs {
                Some(false) => Progress::Open,
                _ => Progress::Unknown,
            };
            self.push(
                "restore TAS: its databases and blobstore",
                By::Lifeboat("tas"),
                state,
                Some(times::data(&component)),
                &[
                    "the API is down meanwhile; apps start by themselves afterwards and act on whatever they can reach: mail, queues, databases",
                    "after a selective backup, restage (or push) the apps whose droplets it left out",
                ],
            );
        }
        let expected = times::apply(
            self.facts,
            of_tas,
            times::minutes(20, 3 * 60, "an update of TAS; no such run is recorded"),
        );
        self.push(
            "scale MySQL back to the recorded number",
            By::Lifeboat("scale-up"),
            match (self.target.mysql_as_recorded, self.target.tas_runs) {
                (Some(true), Some(true)) => Progress::Done,
                (None, _) => Progress::Unknown,
                _ => Progress::Open,
            },
            Some(expected),
            &[],
        );
    }

    fn instances(&mut self) {
        let saved = self
            .ground
            .believed
            .signed
            .manifest
            .components
            .iter()
            .filter(|one| one.name.as_str().starts_with("service-instances/"))
            .cloned()
            .collect::<Vec<_>>();
        let brokers = self.facts.is_some_and(|facts| facts.on_demand > 0);
        if !self.holds.instances && !brokers {
            return;
        }
        let count = self
            .facts
            .map_or(saved.len(), |facts| facts.on_demand.max(saved.len()));
        let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX / 60);
        self.push(
            "make the on-demand service instances again, by their brokers' errands",
            By::Lifeboat("recreate-instances"),
            progress(self.target.instances_run),
            Some(times::minutes(
                5 * count,
                15 * count,
                format!("{count} instances, each a deployment of its own"),
            )),
            &["deploys the brokers first, where they do not run; switches resurrection on again"],
        );
        if saved.is_empty() {
            return;
        }
        let mut expected = Expected {
            least: Duration::ZERO,
            most: Duration::ZERO,
            because: format!("{} saved service instances, four at a time", saved.len()),
        };
        for one in saved.iter().map(times::data) {
            expected.least += one.least / 4;
            expected.most += one.most;
        }
        self.push(
            "restore the data of the saved service instances",
            By::Lifeboat("service-instances"),
            Progress::Unknown,
            Some(expected),
            &["instances that carry no backup scripts come back empty; the backup's instances.json lists them; then restart the apps that are bound"],
        );
    }

    fn others(&mut self) {
        let components = self.ground.believed.signed.manifest.components.clone();
        for component in &components {
            let name = component.name.as_str();
            if name.starts_with("deployment/") {
                self.push(
                    &format!("restore {name}"),
                    By::Lifeboat(name),
                    Progress::Unknown,
                    Some(times::data(component)),
                    &["deploy it first, where its VMs are gone: Apply Changes for a tile, `bosh deploy --recreate --fix` else"],
                );
            }
        }
        if self.holds.director && !self.ground.choices.in_place {
            self.push(
                "deploy the other tiles and deployments; data services without backup scripts by their own guides",
                By::Person,
                Progress::Open,
                None,
                &["the coverage table of the backup names them"],
            );
            self.push(
                "delete orphaned disks in the IaaS, once all is well",
                By::Decision,
                Progress::Open,
                None,
                &["`bosh disks --orphaned` lists them"],
            );
        }
    }
}
