//! SSH access to a deployment's instances: a user of ours on every one of them, and its removal.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::host_key;
use super::parallel::each;
use super::{Address, Director, Error, SshHost, SshTarget, Vm};
use crate::http::Wait;
use crate::shutdown::Stopped;

/// How every user of ours begins: agents only remove users that begin with `bosh_`; the digits
/// tell ours from bbr's and the operators'.
const PREFIX: &str = "bosh_1feb0a7";

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

/// Errors, the first cause first; never empty as an `Err`.
#[derive(Debug)]
pub struct Failures(pub Vec<Error>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failures {}

impl Failures {
    /// Whether a signal is all that went wrong.
    pub fn stopped(&self) -> Option<Stopped> {
        let all = self
            .0
            .iter()
            .all(|error| matches!(error, Error::Stopped(_)));
        all.then_some(Stopped)
    }
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
        let work = |target: &SshTarget| self.open_group(target, vms, wait);
        let (mut hosts, mut errors) = (Vec::new(), Vec::new());
        for outcome in each(parallel, &targets, Result::is_err, work) {
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
    /// All that went wrong, every group tried.
    pub fn cleanup(&self, parallel: usize, wait: &Wait) -> Result<(), Failures> {
        let targets: Vec<_> = self.lock().iter().cloned().collect();
        let pattern = self.user.pattern();
        let clean = |target: &SshTarget| {
            clean(&self.director, &self.deployment, target, &pattern, wait)?;
            self.lock().remove(target);
            Ok(())
        };
        all(each(parallel, &targets, |_| false, clean))
    }

    /// The groups where the user may still exist.
    pub fn left(&self) -> Vec<SshTarget> {
        self.lock().iter().cloned().collect()
    }

    fn open_group(&self, target: &SshTarget, vms: &[Vm], wait: &Wait) -> Result<Vec<Host>, Error> {
        self.lock().insert(target.clone());
        let set_up =
            self.director
                .ssh_setup(&self.deployment, target, &self.user, &self.public_key, wait);
        let found = set_up.inspect_err(|error| {
            if error.nothing_was_done() {
                self.lock().remove(target);
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

    fn lock(&self) -> MutexGuard<'_, BTreeSet<SshTarget>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes every user of ours, of whatever run, from the groups of the VM list. Runs that are
/// still under way lose their access.
///
/// # Errors
/// All that went wrong, every group tried.
pub fn cleanup_leftovers(
    director: &Director,
    deployment: &str,
    vms: &[Vm],
    parallel: usize,
    wait: &Wait,
) -> Result<(), Failures> {
    let groups: BTreeSet<&str> = vms.iter().map(|vm| vm.group.as_str()).collect();
    let targets: Vec<_> = groups.into_iter().map(target).collect();
    let pattern = format!("^{PREFIX}");
    let clean = |target: &Result<SshTarget, Error>| match target {
        Ok(target) => clean(director, deployment, target, &pattern, wait),
        Err(error) => Err(Error::Instances(error.to_string())),
    };
    all(each(parallel, &targets, |_| false, clean))
}

fn clean(
    director: &Director,
    deployment: &str,
    target: &SshTarget,
    pattern: &str,
    wait: &Wait,
) -> Result<(), Error> {
    match director.ssh_cleanup(deployment, target, pattern, wait) {
        Err(Error::UnknownDeployment { .. }) => Ok(()),
        outcome => outcome,
    }
}

fn all(outcomes: Vec<Result<(), Error>>) -> Result<(), Failures> {
    let errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failures(errors))
    }
}

/// A group of the VM list as a target: `group`, or `group/id`.
fn target(name: &str) -> Result<SshTarget, Error> {
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
