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
    /// Whether the scan says that what an instance refers to is missing.
    fn missing(&self, kind: &ProblemKind, names: &[&str]) -> bool {
        self.problems
            .iter()
            .filter(|problem| problem.kind == *kind)
            .any(|problem| names.iter().any(|name| problem.description.contains(name)))
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
        for one in &self.instances {
            let name = one.name();
            let vm = one.vm_cid.as_str();
            if !vm.is_empty() && !self.missing(&ProblemKind::MissingVm, &[vm, &name]) {
                found.push(format!(
                    "{deployment}: VM {vm} of {name} is not reported missing: it is there, or the instance is left out by `bosh ignore`"
                ));
            }
            for disk in &one.disk_cids {
                if !self.missing(&ProblemKind::MissingDisk, &[disk]) {
                    found.push(format!(
                        "{deployment}: disk {disk} of {name} is not reported missing: it is there, or the instance is left out by `bosh ignore`"
                    ));
                }
            }
        }
        found
    }

    /// Whether a problem is about a reference. An instance that has no VM and should have one is
    /// missing it too, and stays so until it is deployed.
    pub(super) fn is_reference(&self, problem: &Problem) -> bool {
        let refers = |one: &Instance| {
            !one.vm_cid.is_empty()
                && (problem.description.contains(&one.vm_cid)
                    || problem.description.contains(&one.name()))
        };
        match problem.kind {
            ProblemKind::MissingVm => self.instances.iter().any(refers),
            ProblemKind::MissingDisk => true,
            _ => false,
        }
    }

    /// What to do about each missing VM and disk; the numbers of those for which the director
    /// does not offer it.
    pub(super) fn resolutions(&self) -> (BTreeMap<u64, &'static str>, Vec<u64>) {
        let mut chosen = BTreeMap::new();
        let mut without = Vec::new();
        for problem in self.problems.iter().filter(|one| self.is_reference(one)) {
            let wanted = match problem.kind {
                ProblemKind::MissingVm => "delete_vm_reference",
                _ => "delete_disk_reference",
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

    fn instance(id: &str, vm: &str, state: &str, disks: &[&str]) -> Instance {
        Instance {
            group: "g".to_owned(),
            id: id.to_owned(),
            vm_cid: vm.to_owned(),
            job_state: state.to_owned(),
            disk_cids: disks.iter().map(|disk| (*disk).to_owned()).collect(),
            ..Instance::default()
        }
    }

    fn problem(id: u64, kind: ProblemKind, description: &str) -> Problem {
        let names = ["ignore", "delete_vm_reference", "delete_disk_reference"];
        let offer = |name: &&str| Offer {
            name: (*name).to_owned(),
        };
        Problem {
            id,
            kind,
            description: description.to_owned(),
            resolutions: names.iter().map(offer).collect(),
        }
    }

    fn scanned(instances: Vec<Instance>, problems: Vec<Problem>) -> Scanned {
        Scanned {
            deployment: "cf".to_owned(),
            instances,
            problems,
        }
    }

    /// One instance whose VM and disk are gone, and what a scan says of it.
    fn gone() -> (Instance, Vec<Problem>) {
        let missing = vec![
            problem(
                1,
                ProblemKind::MissingVm,
                "VM for 'g/a (0)' with cloud ID 'vm-1' missing.",
            ),
            problem(
                2,
                ProblemKind::MissingDisk,
                "Disk 'd-1' (g/a, 1024M) is missing",
            ),
        ];
        (
            instance("a", "vm-1", "unresponsive agent", &["d-1"]),
            missing,
        )
    }

    #[test]
    fn everything_missing_is_isolated_and_resolved() {
        let (first, mut problems) = gone();
        problems.push(problem(
            3,
            ProblemKind::MissingVm,
            "VM for 'g/b (1)' missing.",
        ));
        let one = scanned(vec![first, instance("b", "", "", &[])], problems);
        assert_eq!(one.breaches(), Vec::<String>::new());
        let (chosen, without) = one.resolutions();
        // An instance without a VM has no reference to clear.
        let expected = [(1, "delete_vm_reference"), (2, "delete_disk_reference")];
        assert_eq!((chosen, without), (expected.into(), vec![]));
    }

    #[test]
    fn each_sign_of_the_original_is_a_breach() {
        for (kind, said) in [
            (ProblemKind::UnresponsiveAgent, "sees that VM"),
            (ProblemKind::InactiveDisk, "sees that disk"),
            (ProblemKind::MountInfoMismatch, "in use"),
            (ProblemKind::Other("odd".to_owned()), "not known"),
        ] {
            let (first, mut problems) = gone();
            problems.push(problem(3, kind.clone(), "of g/a"));
            let breaches = scanned(vec![first], problems).breaches();
            assert!(breaches[0].contains(said), "{kind}: {breaches:?}");
        }
        for state in ["running", "failing", "stopped"] {
            let (first, problems) = gone();
            let answers = scanned(vec![first, instance("b", "vm-2", state, &[])], problems);
            let said = format!("answers ({state})");
            assert!(answers.breaches()[0].contains(&said), "{said}");
        }
    }

    #[test]
    fn a_vm_or_disk_that_the_scan_does_not_report_is_a_breach() {
        let (first, problems) = gone();
        let no_vm = scanned(vec![first.clone()], problems[1..].to_vec());
        assert!(no_vm.breaches()[0].contains("VM vm-1 of g/a is not reported"));
        let no_disk = scanned(vec![first], problems[..1].to_vec());
        assert!(no_disk.breaches()[0].contains("disk d-1 of g/a is not reported"));
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        let (first, mut problems) = gone();
        problems[0].resolutions.clear();
        let (chosen, without) = scanned(vec![first], problems).resolutions();
        assert_eq!((chosen.len(), without), (1, vec![1]));
    }
}
