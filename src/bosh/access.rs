//! SSH access to a deployment's instances: a user of ours on every one of them, and its removal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::host_key;
use super::cleanup::Cleaner;
use super::{Address, Director, Error, Failures, SshHost, SshTarget, Vm};
use crate::http::Wait;
use crate::parallel;

/// How every user of ours begins: agents only remove users that begin with `bosh_`; the digits
/// tell ours from bbr's and the operators'.
pub(super) const PREFIX: &str = "bosh_1feb0a7";

/// A user name as `bbr` makes it: `bosh_` and 15 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As `bbr` writes it; names have one length, so it matches this user alone.
    fn pattern(&self) -> String {
        format!("^{}", self.0)
    }
}

/// A user name of ours for one run, from four random bytes.
pub fn user_name(random: [u8; 4]) -> UserName {
    UserName(format!("{PREFIX}{}", hex::encode(random)))
}

/// A host that SSH access was set up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its instance group.
    pub group: String,
    /// Its instance id.
    pub id: String,
    /// Its instance index.
    pub index: u64,
    /// Whether it is its group's bootstrap instance.
    pub bootstrap: bool,
    /// Where to connect.
    pub address: Address,
    /// The key it must prove to have, `TYPE BASE64`.
    pub host_key: String,
}

impl Host {
    /// `group/id`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.group, self.id)
    }
}

/// What [`SshAccess::open`] got.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The hosts, by group and index.
    pub hosts: Vec<Host>,
    /// VMs (`group/id`) of the list to which the Director gave no access; `bbr` ignores them.
    pub missing: Vec<String>,
}

/// One user on a deployment's instances, for one run.
///
/// It remembers every group where the user may exist, also one whose setup failed half-way.
/// Dropping it removes nothing: whoever opened it calls [`SshAccess::cleanup`] in any case.
#[derive(Debug)]
pub struct SshAccess {
    director: Arc<Director>,
    deployment: String,
    user: UserName,
    public_key: String,
    /// Groups whose setup was begun and whose clean-up is not known to be done.
    open: Mutex<BTreeSet<SshTarget>>,
    /// The instances of those groups, for the day when one of them does not answer.
    members: Mutex<BTreeMap<SshTarget, BTreeSet<String>>>,
}

impl SshAccess {
    /// Nothing is sent yet.
    pub fn new(
        director: Arc<Director>,
        deployment: impl Into<String>,
        user: UserName,
        public_key: impl Into<String>,
    ) -> Self {
        Self {
            director,
            deployment: deployment.into(),
            user,
            public_key: public_key.into(),
            open: Mutex::default(),
            members: Mutex::default(),
        }
    }

    /// The user to log in as.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Sets the user up on all groups of the VM list, at most `parallel` at a time. After the
    /// first failure no further group is begun.
    ///
    /// # Errors
    /// All that went wrong. Then too the groups that were begun are to be cleaned up.
    pub fn open(&self, vms: &[Vm], parallel: usize, wait: &Wait) -> Result<Access, Failures> {
        let mut groups: Vec<&str> = vms.iter().map(|vm| vm.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        let targets: Result<Vec<_>, _> = groups.into_iter().map(target).collect();
        let targets = targets.map_err(|error| Failures(vec![error]))?;
        self.open_all(&targets, vms, parallel, wait)
    }

    /// Sets the user up on this instance alone: no other of its group has to answer.
    ///
    /// # Errors
    /// As [`SshAccess::open`].
    pub fn open_instance(&self, vm: &Vm, wait: &Wait) -> Result<Access, Failures> {
        let target = SshTarget::instance(&vm.group, &vm.id);
        self.open_all(&[target], std::slice::from_ref(vm), 1, wait)
    }

    fn open_all(
        &self,
        targets: &[SshTarget],
        vms: &[Vm],
        parallel: usize,
        wait: &Wait,
    ) -> Result<Access, Failures> {
        let work = |target: &SshTarget| self.open_group(target, vms, wait);
        let (mut hosts, mut errors) = (Vec::new(), Vec::new());
        for (_, outcome) in parallel::each(parallel, targets, Result::is_err, work) {
            match outcome {
                Ok(found) => hosts.extend(found),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(Failures(errors));
        }
        hosts.sort_by(|a: &Host, b| (&a.group, a.index, &a.id).cmp(&(&b.group, b.index, &b.id)));
        let reached: BTreeSet<&str> = hosts.iter().map(|host| host.id.as_str()).collect();
        let missing = vms.iter().filter(|vm| !reached.contains(vm.id.as_str()));
        let missing = missing
            .map(|vm| format!("{}/{}", vm.group, vm.id))
            .collect();
        Ok(Access { hosts, missing })
    }

    /// Removes the user from every group where it may exist, whatever happened before; what
    /// failed is tried again by the next call. A group that no longer exists is clean.
    ///
    /// # Errors
    /// All that went wrong, everything tried.
    pub fn cleanup(&self, parallel: usize, wait: &Wait) -> Result<(), Failures> {
        let targets = self.left();
        let none = BTreeSet::new();
        let members = lock(&self.members).clone();
        let cleaner = Cleaner {
            director: &self.director,
            deployment: &self.deployment,
            pattern: &self.user.pattern(),
            parallel,
            wait,
        };
        let clean = |target: &SshTarget| {
            let left = cleaner.clean(target, members.get(target).unwrap_or(&none));
            let mut open = lock(&self.open);
            open.remove(target);
            open.extend(left.iter().map(|(target, _)| target.clone()));
            left
        };
        Failures::of_cleanup(parallel::all(parallel, &targets, clean))
    }

    /// Where the user may still exist: groups, or single instances where more is known.
    pub fn left(&self) -> Vec<SshTarget> {
        lock(&self.open).iter().cloned().collect()
    }

    fn open_group(&self, target: &SshTarget, vms: &[Vm], wait: &Wait) -> Result<Vec<Host>, Error> {
        let of_group = |vm: &&Vm| vm.group == target.group && target.id.is_none();
        let ids = vms.iter().filter(of_group).map(|vm| vm.id.clone());
        lock(&self.members).insert(target.clone(), ids.collect());
        lock(&self.open).insert(target.clone());
        let set_up =
            self.director
                .ssh_setup(&self.deployment, target, &self.user, &self.public_key, wait);
        let found = set_up.inspect_err(|error| {
            if error.nothing_was_done() {
                lock(&self.open).remove(target);
            }
        })?;
        if found.is_empty() {
            return Err(Error::Instances(format!(
                "the BOSH Director gave SSH access to no instance of group `{target}` of `{}`; \
                 check `bosh instances` for stopped or deleted VMs",
                self.deployment
            )));
        }
        let group = &target.group;
        found.iter().map(|found| host(group, found, vms)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A group of the VM list as a target: `group`, or `group/id`.
pub(super) fn target(name: &str) -> Result<SshTarget, Error> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [group] if !group.is_empty() => Ok(SshTarget::group(group)),
        [group, id] if !group.is_empty() && !id.is_empty() => Ok(SshTarget::instance(group, id)),
        _ => Err(Error::Instances(format!(
            "instance group `{name}` has a name that cannot be addressed: at most one slash, and \
             nothing empty"
        ))),
    }
}

/// What the SSH result and the VM list together say of a host.
fn host(group: &str, found: &SshHost, vms: &[Vm]) -> Result<Host, Error> {
    let id = found.id();
    let wrong = |what: String| Err(Error::Instances(format!("instance `{group}/{id}` {what}")));
    if found.status != "success" {
        let status = found.status.chars().take(100).collect::<String>();
        return wrong(format!(
            "got no SSH access: its agent answered `{status}`; check it with `bosh instances`"
        ));
    }
    let Some(vm) = vms.iter().find(|vm| vm.id == id && !id.is_empty()) else {
        return wrong("is not in the Director's list of VMs; was it recreated meanwhile?".into());
    };
    let Some(index) = vm.index else {
        return wrong(
            "has no index in the Director's list of VMs, and artifacts are named by it; redeploy \
             the deployment"
                .into(),
        );
    };
    let Some(address) = Address::parse(&found.ip) else {
        let ip = found.ip.chars().take(100).collect::<String>();
        return wrong(format!("has an address that cannot be used: `{ip}`"));
    };
    let Some(host_key) = host_key(&found.host_public_key) else {
        return wrong("has a host key that cannot be read, so it cannot be trusted".into());
    };
    // bbr goes by the address, which misses instances with several networks or names; the id
    // decides where the VM list says anything about it.
    let bootstrap = vm.bootstrap.unwrap_or_else(|| {
        let ours = |vm: &&Vm| vm.group == group && vm.bootstrap == Some(true);
        vms.iter().filter(ours).any(|vm| vm.ips.contains(&found.ip))
    });
    Ok(Host {
        group: group.to_owned(),
        id,
        index,
        bootstrap,
        address,
        host_key,
    })
}
