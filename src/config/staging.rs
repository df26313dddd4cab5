//! What is staged on a standby, or taken away from it.

use super::Fault;
use super::action::{live, origin};
use super::leaf::Text;
use super::model::Model;
use crate::operation::settings::{Component, Origin, Staging};

/// The newest backup where none is named: that is what staging is for.
pub(super) fn of(model: &Model, remove: bool) -> Result<Staging, Fault> {
    confirmed(
        model,
        "; what is staged takes room on the target's disks, so name the foundation once more",
    )?;
    let components = live("stage", model.stage.as_ref())?;
    let at = components
        .iter()
        .position(|component| *component == Component::OpsManager);
    if let Some(at) = at {
        return Err(Fault::new(
            format!("stage[{at}]"),
            "has nothing to stage: an installation is imported whole",
        ));
    }
    let whole = components
        .iter()
        .position(|component| *component == Component::ServiceInstances);
    if let Some(at) = whole.filter(|_| remove) {
        return Err(Fault::new(
            format!("stage[{at}]"),
            "is staged deployment by deployment: name each deployment/NAME to remove it",
        ));
    }
    let named = model.id.is_some() || model.id_file.is_some() || model.from.is_some();
    let origin = match (remove, named) {
        (true, _) => None,
        (false, false) => Some(Origin::Latest),
        (false, true) => Some(origin(model, None)?),
    };
    Ok(Staging { components, origin })
}

/// That this foundation is meant must be said each time.
pub(super) fn confirmed(model: &Model, why: &str) -> Result<(), Fault> {
    let Some(Text(named)) = &model.confirm_target else {
        return Err(Fault::not_asked("confirm_target", why));
    };
    if model.foundation.as_ref().map(|Text(name)| name) != Some(named) {
        return Err(Fault::new(
            "confirm_target",
            "is not the name that `foundation` has; nothing was touched",
        ));
    }
    Ok(())
}
