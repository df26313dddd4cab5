//! How either door's input becomes the validated settings of the use cases.
//!
//! One model of all keys ([`model`]), several documents laid over each other ([`layers`]),
//! every value checked here and nowhere else. An error is one sentence that begins with the
//! place (`source.stores[1].bucket`) and never repeats a value. The environment is read only
//! in [`environment`].

mod action;
mod alerts;
pub mod document;
mod drill;
pub mod environment;
mod foundation;
mod inventory;
mod keys;
pub mod layers;
mod leaf;
mod location;
mod model;
mod object_lock;
mod ops_manager;
mod place;
mod probes;
mod repository;
mod retention;
mod staging;
mod unknown;
mod verification;

pub use action::{Action, Door};
pub use layers::{Layer, Layers};
pub use model::keys as known_keys;

use crate::operation::settings::Settings;
use environment::Environment;
use model::Model;

/// A configuration that can be worked with.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// What does not depend on what is asked.
    pub settings: Settings,
    /// What is asked.
    pub action: Action,
    /// Whether what is asked is, or is to be followed by, a prune.
    pub prune: bool,
    /// What the operator should change although it works.
    pub warnings: Vec<String>,
    /// Whether debug lines are wanted.
    pub debug: bool,
}

/// Why a configuration cannot be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Invalid {
    /// Where.
    pub place: String,
    /// What, and what to do. Never holds a value from the configuration.
    pub message: String,
}

/// An [`Invalid`] that does not know yet in which document it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    path: String,
    message: String,
    /// Whether a value that stands nowhere is missed in the weightest document.
    asked: bool,
}

impl Fault {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            asked: false,
        }
    }

    /// Something that every request says anew is missing.
    pub(crate) fn not_asked(path: impl Into<String>, why: &str) -> Self {
        Self {
            asked: true,
            ..Self::missing(path, why)
        }
    }

    pub(crate) fn missing(path: impl Into<String>, why: &str) -> Self {
        Self::new(path, format!("is missing or empty{why}"))
    }
}

/// Reads layered documents for what one door asks of them. Of the environment only the
/// build and the worker's proxies count here; its documents are layers.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn resolve(
    mut layers: Layers,
    door: &Door,
    environment: &Environment,
) -> Result<Configuration, Invalid> {
    if matches!(door, Door::Put { .. }) {
        layers.only_last(&["backup", "from", "cleanup", "prune"]);
    }
    if matches!(
        door,
        Door::Restore(_) | Door::RestorePlan | Door::Drill(_) | Door::Stage { .. }
    ) {
        layers.only_last(&["id", "id_file", "from"]);
    }
    if matches!(door, Door::Verify | Door::Get) {
        layers.only_last(&["verify_part", "verify_percent"]);
    }
    resolve_layers(&layers, door, environment).map_err(|fault| layers.locate(fault))
}

fn resolve_layers(
    layers: &Layers,
    door: &Door,
    environment: &Environment,
) -> Result<Configuration, Fault> {
    let model = read(layers)?;
    let action = action::of(&model, door)?;
    let repository = repository::of(&model, &action, environment)?;
    let foundation = foundation::of(&model, action.components(), environment)?;
    let mut warnings = Vec::new();
    if layers.stands_in("source.", "recovery_identity") {
        warnings.push(
            "source.recovery_identity reaches every check container of this resource; \
             put it into the params of the get or task that reads"
                .to_owned(),
        );
    }
    if foundation
        .ops_manager
        .as_ref()
        .is_some_and(|ops_manager| ops_manager.skip_ssl_validation)
    {
        warnings.push(
            "ops_manager.skip_ssl_validation is set: whoever answers at Ops Manager's address gets \
             its password and every credential of the foundation; give its CA as ca_cert instead"
                .to_owned(),
        );
    }
    if action.writes() && repository.recovery_identity.is_some() {
        warnings.push(
            "recovery_identity is not needed to back up, and a worker that holds it can read every \
             backup; take it out"
                .to_owned(),
        );
    }
    if action.writes() {
        warnings.extend(location::warnings(&model, repository.min_copies)?);
    }
    Ok(Configuration {
        settings: Settings {
            alerts: alerts::of(&model, repository.min_copies)?,
            repository,
            foundation,
            build: environment.build(),
            probes: probes::of(&model)?,
        },
        prune: action.prunes(&model),
        action,
        warnings,
        debug: model.debug.is_some_and(|flag| flag.0),
    })
}

fn read(layers: &Layers) -> Result<Model, Fault> {
    let merged = layers.merged()?;
    serde_path_to_error::deserialize(merged).map_err(|error| {
        let path = error.path().to_string();
        unknown::fault(
            path.trim_start_matches('.'),
            &error.into_inner().to_string(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn put(source: &Value, params: &Value) -> Result<Action, Invalid> {
        let mut whole = json!({
            "foundation": "a",
            "stores": [{"name": "s", "path": "/s"}],
            "director": {
                "host": "h", "username": "u",
                "private_key": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
            },
        });
        for (key, value) in source.as_object().expect("a map") {
            whole[key] = value.clone();
        }
        let layers = Layers::new(vec![
            Layer::new("source.", whole),
            Layer::new("params.", params.clone()),
        ]);
        let door = Door::Put { inputs: "/".into() };
        resolve(layers, &door, &Environment::default()).map(|found| found.action)
    }

    #[test]
    fn an_action_in_params_makes_those_in_source_count_for_nothing() {
        let cleanup = Action::Cleanup {
            components: vec![crate::operation::settings::Component::Director],
            force: false,
            direction: crate::bbr::Direction::Backup,
        };
        let source = json!({"backup": ["director"]});
        let params = json!({"cleanup": ["director"]});
        assert_eq!(put(&source, &params), Ok(cleanup.clone()));
        // As YAML's merge key leaves it behind.
        let params = json!({"backup": null, "cleanup": "director"});
        assert_eq!(put(&json!({}), &params), Ok(cleanup));
        let params = json!({"backup": ["director"], "cleanup": ["director"]});
        assert!(put(&json!({}), &params).is_err());
    }
}
