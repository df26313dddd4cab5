//! The steps of a restore, and what one of them is told.

use std::fmt;
use std::path::PathBuf;

use super::Component;
use crate::store::is_segment;

/// One step of a restore; each is safe to run again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Imports the installation into an Ops Manager that is not set up.
    OpsManager,
    /// Removes `bosh-state.json` on the Ops Manager VM, keeping a copy.
    BoshState,
    /// Apply Changes, director only.
    ApplyDirector,
    /// Restores the director.
    Director,
    /// Clears stale VM and disk references.
    References,
    /// Uploads the stemcells that the backup's deployments need.
    Stemcells,
    /// Scales MySQL to one instance.
    ScaleDown,
    /// Apply Changes for TAS.
    ApplyTas,
    /// Restores TAS.
    Tas,
    /// Scales MySQL back to the recorded count.
    ScaleUp,
    /// Runs the errands that make on-demand instances again.
    RecreateInstances,
    /// Restores the data of the saved service instances.
    ServiceInstances,
    /// Restores any other deployment.
    Deployment(String),
}

impl Step {
    /// Those without a name of their own, in the order in which a foundation is restored;
    /// [`Step::Deployment`] comes last.
    pub const IN_ORDER: [Self; 12] = [
        Self::OpsManager,
        Self::BoshState,
        Self::ApplyDirector,
        Self::Director,
        Self::References,
        Self::Stemcells,
        Self::ScaleDown,
        Self::ApplyTas,
        Self::Tas,
        Self::ScaleUp,
        Self::RecreateInstances,
        Self::ServiceInstances,
    ];

    /// Reads a step's name.
    ///
    /// # Errors
    /// A sentence that lists the steps there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("deployment/")
            && is_segment(name)
        {
            return Ok(Self::Deployment(name.to_owned()));
        }
        let known = Self::IN_ORDER
            .into_iter()
            .find(|step| step.to_string() == text);
        known.ok_or_else(|| {
            let names: Vec<_> = Self::IN_ORDER.iter().map(ToString::to_string).collect();
            format!(
                "is not a step; steps are {} and deployment/NAME",
                names.join(", ")
            )
        })
    }

    /// The component whose data the step restores by bbr's contract.
    pub fn component(&self) -> Option<Component> {
        match self {
            Self::Director => Some(Component::Director),
            Self::Tas => Some(Component::Tas),
            Self::ServiceInstances => Some(Component::ServiceInstances),
            Self::Deployment(name) => Some(Component::Deployment(name.clone())),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpsManager => "ops-manager",
            Self::BoshState => "bosh-state",
            Self::ApplyDirector => "apply-director",
            Self::Director => "director",
            Self::References => "references",
            Self::Stemcells => "stemcells",
            Self::ScaleDown => "scale-down",
            Self::ApplyTas => "apply-tas",
            Self::Tas => "tas",
            Self::ScaleUp => "scale-up",
            Self::RecreateInstances => "recreate-instances",
            Self::ServiceInstances => "service-instances",
            Self::Deployment(name) => return write!(f, "deployment/{name}"),
        })
    }
}

/// Where what is restored comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The newest backup in the stores.
    Latest,
    /// This one.
    Backup(String),
    /// The one that a `backup.json` names.
    File(PathBuf),
    /// A directory in bbr's artifact layout, in place of the stores.
    Directory(PathBuf),
}

/// One step, and where what it needs comes from. That the target is meant has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoration {
    /// What is done.
    pub step: Step,
    /// From where.
    pub origin: Origin,
    /// What must be reached by bbr's contract: that of [`Step::component`], if any.
    pub components: Vec<Component>,
    /// What the operator decided.
    pub choices: Choices,
}

/// What is kept on the instances ahead of a restore. That the target is meant has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// Of what.
    pub components: Vec<Component>,
    /// Which backup; `None`: what is staged is removed.
    pub origin: Option<Origin>,
}

/// What an operator decides about a restore. Nothing of it is a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// The foundation's own IaaS is repaired: its VMs are there and may run, and the director's
    /// VM is the one that `bosh-state.json` names.
    pub in_place: bool,
    /// A version of Ops Manager that is not the recorded one and will do.
    pub ops_manager_version: Option<String>,
    /// Where stemcell tarballs are.
    pub stemcells: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_survives_its_name() {
        for step in Step::IN_ORDER
            .into_iter()
            .chain([Step::Deployment("p-mysql_1.x".to_owned())])
        {
            assert_eq!(Step::parse(&step.to_string()), Ok(step));
        }
        for name in [
            "",
            "TAS",
            "plan",
            "deployment/",
            "deployment/a/b",
            "deployment/..",
        ] {
            let problem = Step::parse(name).unwrap_err();
            assert!(
                problem.starts_with("is not a step; steps are ops-manager, bosh-state, "),
                "{problem}"
            );
        }
    }
}
