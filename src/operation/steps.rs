//! The steps of a foundation's restore that are not bbr's. Each looks at the target, says "done
//! already" where nothing is left to do, refuses where it would hurt, and may run again after
//! whatever ended it. `docs/design.md`, *Restoring a foundation*.

pub(super) mod apply;
mod before;
pub(super) mod bosh_state;
pub(super) mod facts;
pub(super) mod ground;
pub(super) mod import;
pub(super) mod instances;
mod isolation;
pub(super) mod note;
mod pull;
pub(super) mod reach;
mod references;
pub(super) mod scale;
pub(super) mod state_file;
pub(super) mod stemcells;

use anyhow::{Result, bail};

pub use before::before_data;

use super::Context;
use super::settings::{Restoration, Settings, Step};
use crate::report::restore::StepEnd;
use ground::Ground;

/// Runs a step that is none of bbr's.
///
/// # Errors
/// What it refuses and why, or what failed. The same step may run again.
pub fn step(context: &Context, settings: &Settings, restoration: &Restoration) -> Result<StepEnd> {
    let step = &restoration.step;
    let ground = Ground::open(
        context,
        settings,
        &step.to_string(),
        &restoration.origin,
        &restoration.choices,
    )?;
    match step {
        Step::OpsManager => import::import(&ground),
        Step::BoshState => bosh_state::bosh_state(&ground),
        Step::ApplyDirector => apply::apply_director(&ground),
        Step::References => references::references(&ground),
        Step::Stemcells => stemcells::stemcells(&ground),
        Step::ScaleDown => scale::scale_down(&ground),
        Step::ApplyTas => apply::apply_tas(&ground),
        Step::ScaleUp => scale::scale_up(&ground),
        Step::RecreateInstances => instances::recreate_instances(&ground),
        Step::Director | Step::Tas | Step::ServiceInstances | Step::Deployment(_) => {
            bail!("the step {step} restores data")
        }
    }
}
