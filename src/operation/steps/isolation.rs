//! The isolation guard: what the first scan of a restored director's deployment must say. Pure.
//!
//! A restored director believes in VMs and disks of the foundation that was backed up. In a new
//! infrastructure none of them is there, so every VM must be missing and every disk. Whatever
//! else is found means that this director reaches the original: nothing may be resolved then,
//! since the director would act upon the original's VMs and disks.

use std::collections::BTreeMap;

use crate::bosh::{Instance, Problem, ProblemKind};

/// What one deployment refers to, and what the scan said of it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) deployment: String,
    pub(super) instances: Vec<Instance>,
    pub(super) problems: Vec<Problem>,
}

impl Scanned {
    fn vms(&self) -> usize {
        let with_vm = |one: &&Instance| !one.vm_cid.is_empty();
        self.instances.iter().filter(with_vm).count()
    }

    fn disks(&self) -> usize {
        self.instances.iter().map(|one| one.disk_cids.len()).sum()
    }

    fn found(&self, kind: &ProblemKind) -> usize {
        let of_kind = |problem: &&Problem| problem.kind == *kind;
        self.problems.iter().filter(of_kind).count()
    }

    /// Signs that the director reaches the VMs or disks that the deployment refers to, as
    /// sentences; empty when it is isolated from all of them.
    pub(super) fn breaches(&self) -> Vec<String> {
        let deployment = &self.deployment;
        let mut found = Vec::new();
        for one in self.instances.iter().filter(|one| one.answers()) {
            found.push(format!(
                "{deployment}: the agent of {} answers ({}): a VM of the original foundation talks to this director",
                one.name(),
                one.job_state
            ));
        }
        for problem in &self.problems {
            let means = match &problem.kind {
                ProblemKind::MissingVm | ProblemKind::MissingDisk => continue,
                ProblemKind::UnresponsiveAgent => {
                    "this director's IaaS account sees that VM of the original, or cannot tell"
                }
                ProblemKind::InactiveDisk => {
                    "this director's IaaS account sees that disk of the original"
                }
                ProblemKind::MountInfoMismatch => {
                    "this director's IaaS account sees that disk of the original in use"
                }
                ProblemKind::Other(_) => "what that means for the original is not known",
            };
            found.push(format!(
                "{deployment}: {} ({}): {means}",
                problem.kind,
                problem.description.trim()
            ));
        }
        if !found.is_empty() {
            return found;
        }
        let missing = [
            ("VMs", self.vms(), self.found(&ProblemKind::MissingVm)),
            ("disks", self.disks(), self.found(&ProblemKind::MissingDisk)),
        ];
        for (what, referred, gone) in missing {
            if gone < referred {
                found.push(format!(
                    "{deployment}: it refers to {referred} {what}, of which only {gone} are missing: the others are there, or instances are left out by `bosh ignore`"
                ));
            }
        }
        found
    }

    /// What to do about each missing VM and disk; the numbers of those for which the director
    /// does not offer it.
    pub(super) fn resolutions(&self) -> (BTreeMap<u64, &'static str>, Vec<u64>) {
        let mut chosen = BTreeMap::new();
        let mut without = Vec::new();
        for problem in &self.problems {
            let wanted = match problem.kind {
                ProblemKind::MissingVm => "delete_vm_reference",
                ProblemKind::MissingDisk => "delete_disk_reference",
                _ => continue,
            };
            if problem.offers(wanted) {
                chosen.insert(problem.id, wanted);
            } else {
                without.push(problem.id);
            }
        }
        (chosen, without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bosh::Offer;

    fn instance(vm: &str, state: &str, disks: &[&str]) -> Instance {
        Instance {
            group: "g".to_owned(),
            id: "a".to_owned(),
            vm_cid: vm.to_owned(),
            job_state: state.to_owned(),
            disk_cids: disks.iter().map(|disk| (*disk).to_owned()).collect(),
            ..Instance::default()
        }
    }

    fn problem(id: u64, kind: ProblemKind) -> Problem {
        let names = ["ignore", "delete_vm_reference", "delete_disk_reference"];
        Problem {
            id,
            kind,
            description: "of g/a".to_owned(),
            resolutions: names
                .iter()
                .map(|name| Offer {
                    name: (*name).to_owned(),
                })
                .collect(),
        }
    }

    fn scanned(instances: Vec<Instance>, problems: Vec<Problem>) -> Scanned {
        Scanned {
            deployment: "cf".to_owned(),
            instances,
            problems,
        }
    }

    #[test]
    fn everything_missing_is_isolated_and_resolved() {
        let one = scanned(
            vec![
                instance("vm-1", "unresponsive agent", &["d-1"]),
                instance("", "", &["d-2"]),
            ],
            vec![
                problem(1, ProblemKind::MissingVm),
                problem(2, ProblemKind::MissingDisk),
                problem(3, ProblemKind::MissingDisk),
            ],
        );
        assert_eq!(one.breaches(), Vec::<String>::new());
        let (chosen, without) = one.resolutions();
        let expected = [
            (1, "delete_vm_reference"),
            (2, "delete_disk_reference"),
            (3, "delete_disk_reference"),
        ];
        assert_eq!((chosen, without), (expected.into(), vec![]));
    }

    #[test]
    fn each_sign_of_the_original_is_a_breach() {
        let gone = || instance("vm-1", "unresponsive agent", &["d-1"]);
        let missing = || {
            vec![
                problem(1, ProblemKind::MissingVm),
                problem(2, ProblemKind::MissingDisk),
            ]
        };
        for (kind, said) in [
            (ProblemKind::UnresponsiveAgent, "sees that VM"),
            (ProblemKind::InactiveDisk, "sees that disk"),
            (ProblemKind::MountInfoMismatch, "in use"),
            (ProblemKind::Other("odd".to_owned()), "not known"),
        ] {
            let mut problems = missing();
            problems.push(problem(3, kind.clone()));
            let breaches = scanned(vec![gone()], problems).breaches();
            assert!(breaches[0].contains(said), "{kind}: {breaches:?}");
        }
        let answers = scanned(vec![gone(), instance("vm-2", "running", &[])], missing());
        assert!(answers.breaches()[0].contains("answers (running)"));
        let failing = scanned(vec![gone(), instance("vm-2", "failing", &[])], missing());
        assert!(failing.breaches()[0].contains("answers (failing)"));
    }

    #[test]
    fn a_vm_or_disk_that_the_scan_does_not_report_is_a_breach() {
        let gone = instance("vm-1", "unresponsive agent", &["d-1"]);
        let no_vm = scanned(
            vec![gone.clone()],
            vec![problem(2, ProblemKind::MissingDisk)],
        );
        assert!(no_vm.breaches()[0].contains("1 VMs, of which only 0 are missing"));
        let no_disk = scanned(vec![gone], vec![problem(1, ProblemKind::MissingVm)]);
        assert!(
            no_disk.breaches()[0].contains("1 disks"),
            "{:?}",
            no_disk.breaches()
        );
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        let mut odd = problem(4, ProblemKind::MissingVm);
        odd.resolutions.clear();
        let (chosen, without) = scanned(vec![], vec![odd]).resolutions();
        assert_eq!((chosen.len(), without), (0, vec![4]));
    }
}
