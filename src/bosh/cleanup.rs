//! The removal of SSH users.

use std::collections::{BTreeMap, BTreeSet};

use super::access::{PREFIX, target};
use super::{Director, Error, Failures, SshTarget, Vm};
use crate::http::Wait;
use crate::parallel;

/// Removes the users of one pattern from a deployment.
pub(super) struct Cleaner<'a> {
    pub(super) director: &'a Director,
    pub(super) deployment: &'a str,
    pub(super) pattern: &'a str,
    pub(super) parallel: usize,
    pub(super) wait: &'a Wait,
}

impl Cleaner<'_> {
    /// What is left of a target, and why.
    ///
    /// One agent that does not answer makes the Director give up the whole group. Then each
    /// instance is asked on its own, so that only those that do not answer keep their users.
    pub(super) fn clean(
        &self,
        target: &SshTarget,
        members: &BTreeSet<String>,
    ) -> Vec<(SshTarget, Error)> {
        match self.ask(target) {
            Ok(()) => Vec::new(),
            Err(Error::Task { .. }) if target.id.is_none() && !members.is_empty() => {
                let instances: Vec<_> = members
                    .iter()
                    .map(|id| SshTarget::instance(&target.group, id))
                    .collect();
                let work = |instance: &SshTarget| (instance.clone(), self.ask(instance));
                let outcomes = parallel::all(self.parallel, &instances, work);
                let left = outcomes.into_iter();
                left.filter_map(|(instance, outcome)| Some((instance, outcome.err()?)))
                    .collect()
            }
            Err(error) => vec![(target.clone(), error)],
        }
    }

    /// What the Director no longer knows has no users.
    fn ask(&self, target: &SshTarget) -> Result<(), Error> {
        let (deployment, pattern) = (self.deployment, self.pattern);
        match self
            .director
            .ssh_cleanup(deployment, target, pattern, self.wait)
        {
            Err(Error::UnknownDeployment { .. }) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Removes every user of ours, of whatever run, from the groups of the VM list. Runs that are
/// still under way lose their access.
///
/// # Errors
/// All that went wrong, everything tried.
pub fn cleanup_leftovers(
    director: &Director,
    deployment: &str,
    vms: &[Vm],
    parallel: usize,
    wait: &Wait,
) -> Result<(), Failures> {
    let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for vm in vms {
        groups.entry(&vm.group).or_default().insert(vm.id.clone());
    }
    let groups: Vec<_> = groups.into_iter().collect();
    let cleaner = Cleaner {
        director,
        deployment,
        pattern: &format!("^{PREFIX}"),
        parallel,
        wait,
    };
    let clean = |(group, members): &(&str, BTreeSet<String>)| match target(group) {
        Ok(target) => cleaner.clean(&target, members),
        Err(error) => vec![(SshTarget::group(*group), error)],
    };
    Failures::of_cleanup(parallel::all(parallel, &groups, clean))
}
