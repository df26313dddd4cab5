//! What is asked, seen from a door.

use std::path::{Component as Step, Path, PathBuf};

use super::Fault;
use super::leaf::{Names, Text};
use super::model::Model;
use super::verification::verification;
use crate::bbr::Direction;
use crate::operation::settings::{
    Choices, Component, Drill, End as DrillEnd, Level, Origin, Restoration, Selection, Staging,
    Step as RestoreStep, Verification, is_backup_id,
};

/// Where a configuration came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// Concourse's check, and the commands that read manifests alone.
    Read,
    /// Concourse's get.
    Get,
    /// Concourse's put, with the directory that holds its inputs.
    Put {
        /// Absolute.
        inputs: PathBuf,
    },
    /// The command `backup`.
    Backup,
    /// The command `pre-backup-check`.
    Precheck,
    /// The command `cleanup`.
    Cleanup,
    /// The command `fetch`.
    Fetch,
    /// The command `verify`.
    Verify,
    /// The command `restore plan`.
    RestorePlan,
    /// The command `restore` with a step.
    Restore(RestoreStep),
    /// The command `restore-cleanup`.
    RestoreCleanup,
    /// The command `stage`.
    Stage {
        /// What is staged goes.
        remove: bool,
    },
    /// The command `prune`.
    Prune,
    /// The command `drill`.
    Drill(DrillEnd),
    /// The command `inventory`.
    Inventory,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Manifests alone.
    Read,
    /// Contents.
    Fetch(Selection),
    /// A look at what is stored; in a get also at the backup's own contents, when those are wanted.
    Verify(Verification, Option<Selection>),
    /// A live backup.
    Backup(Vec<Component>),
    /// A backup of directories.
    FromDirectories(Vec<(Component, PathBuf)>),
    /// Whether a backup would be possible.
    Precheck(Vec<Component>),
    /// Unlock and clean.
    Cleanup {
        /// Where.
        components: Vec<Component>,
        /// Also where nothing seems to be left.
        force: bool,
        /// Of which kind of run.
        direction: Direction,
    },
    /// Drop and sweep.
    Prune,
    /// What there is on a foundation, now or in a backup.
    Inventory,
    /// What a restore would do.
    RestorePlan(Origin, Choices),
    /// One step of a restore.
    Restore(Restoration),
    /// A restore rehearsed in a scratch foundation.
    Drill(Box<Drill>),
    /// What a restore will want, kept ahead of time.
    Stage(Staging),
}

impl Action {
    /// The components that must be reached.
    pub(super) fn components(&self) -> &[Component] {
        match self {
            Self::Backup(components)
            | Self::Precheck(components)
            | Self::Cleanup { components, .. } => components,
            Self::Restore(restoration) => &restoration.components,
            Self::Stage(staging) => &staging.components,
            Self::Read
            | Self::Fetch(_)
            | Self::Verify(..)
            | Self::FromDirectories(_)
            | Self::Prune
            | Self::Inventory
            | Self::RestorePlan(..)
            | Self::Drill(_) => &[],
        }
    }

    /// Whether it commits a backup.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Backup(_) | Self::FromDirectories(_))
    }

    /// Whether it drops and sweeps, by itself or behind a backup.
    pub(super) fn prunes(&self, model: &Model) -> bool {
        matches!(self, Self::Prune) || self.writes() && prunes_too(model)
    }

    /// Whether it opens what is sealed.
    pub(super) fn reads_contents(&self) -> bool {
        match self {
            Self::Fetch(_) => true,
            Self::Verify(verification, selection) => {
                let looks_inside = [Level::Contents, Level::Restorable];
                selection.is_some() || looks_inside.contains(&verification.level)
            }
            Self::Restore(restoration) => !matches!(restoration.origin, Origin::Directory(_)),
            Self::Drill(drill) => drill.end != DrillEnd::OnlyTearDown,
            Self::Stage(staging) => staging.origin.is_some(),
            _ => false,
        }
    }

    /// Whether it can do without any store.
    pub(super) fn needs_stores(&self) -> bool {
        match self {
            Self::Cleanup { .. } | Self::Precheck(_) | Self::Inventory => false,
            Self::Restore(restoration) => !matches!(restoration.origin, Origin::Directory(_)),
            Self::Stage(staging) => staging.origin.is_some(),
            _ => true,
        }
    }
}

fn prunes_too(model: &Model) -> bool {
    model.prune.is_some_and(|flag| flag.0)
}

/// What the model asks at this door.
pub(super) fn of(model: &Model, door: &Door) -> Result<Action, Fault> {
    let selection = selection(model)?;
    match door {
        Door::Read => Ok(Action::Read),
        Door::Verify => verification(model, Level::Scrub).map(|asked| Action::Verify(asked, None)),
        Door::Get if model.verify.is_some() => {
            let asked = verification(model, Level::Contents)?;
            let wanted = model.download.is_some_and(|flag| flag.0);
            Ok(Action::Verify(asked, wanted.then_some(selection)))
        }
        Door::Get if model.download.is_some_and(|flag| flag.0) => Ok(Action::Fetch(selection)),
        Door::Get if selection != Selection::default() => Err(Fault::new(
            if model.components.is_some() {
                "components"
            } else {
                "artifacts"
            },
            "narrows a download; set download: true with it",
        )),
        Door::Get => Ok(Action::Read),
        Door::Fetch => Ok(Action::Fetch(selection)),
        Door::Put { inputs } => put(model, inputs),
        Door::Backup if model.from.is_some() => from(model, Path::new(""), false),
        Door::Backup => backed_up(model).map(Action::Backup),
        Door::Precheck => backed_up(model).map(Action::Precheck),
        Door::Cleanup => {
            let key = if model.cleanup.is_some() {
                "cleanup"
            } else {
                "backup"
            };
            cleanup(model, key, Direction::Backup)
        }
        Door::RestoreCleanup => {
            let key = if model.cleanup.is_some() {
                "cleanup"
            } else {
                "backup"
            };
            cleanup(model, key, Direction::Restore)
        }
        Door::Prune => Ok(Action::Prune),
        Door::Inventory => Ok(Action::Inventory),
        Door::RestorePlan => Ok(Action::RestorePlan(origin(model, None)?, choices(model))),
        Door::Restore(step) => restoration(model, step),
        Door::Drill(end) => {
            super::drill::of(model, *end).map(|drill| Action::Drill(Box::new(drill)))
        }
        Door::Stage { remove } => super::staging::of(model, *remove).map(Action::Stage),
    }
}

/// A restore overwrites.
fn restoration(model: &Model, step: &RestoreStep) -> Result<Action, Fault> {
    super::staging::confirmed(
        model,
        "; a restore overwrites what the target holds, so name the foundation once more",
    )?;
    Ok(Action::Restore(Restoration {
        components: step.component().into_iter().collect(),
        origin: origin(model, Some(step))?,
        choices: choices(model),
        step: step.clone(),
    }))
}

/// What the operator decided about a restore.
pub(super) fn choices(model: &Model) -> Choices {
    Choices {
        in_place: model.in_place.is_some_and(|flag| flag.0),
        ops_manager_version: model
            .accept_ops_manager_version
            .as_ref()
            .map(|Text(version)| version.clone()),
        stemcells: model
            .stemcells
            .as_ref()
            .map(|Text(path)| PathBuf::from(path)),
    }
}

/// Which backup, or which directory.
pub(super) fn origin(model: &Model, step: Option<&RestoreStep>) -> Result<Origin, Fault> {
    let given = [
        ("id", &model.id),
        ("id_file", &model.id_file),
        ("from", &model.from),
    ];
    let mut given = given
        .into_iter()
        .filter_map(|(key, text)| text.as_ref().map(|Text(text)| (key, text)));
    let Some((key, text)) = given.next() else {
        return Err(Fault::not_asked(
            "id",
            "; name the backup (`latest`, or an id as `lifeboat list` shows it), or give `id_file` or `from`",
        ));
    };
    if let Some((other, _)) = given.next() {
        return Err(Fault::new(
            other,
            format!("stands beside `{key}`; give one"),
        ));
    }
    match key {
        "id" if text == "latest" => Ok(Origin::Latest),
        "id" if is_backup_id(text) => Ok(Origin::Backup(text.clone())),
        "id" => Err(Fault::new(
            "id",
            "is not a backup's id (such as 20261122T010203Z-7f3a09bc) and not `latest`",
        )),
        "id_file" => Ok(Origin::File(PathBuf::from(text))),
        _ => match step {
            Some(RestoreStep::Director | RestoreStep::Tas | RestoreStep::Deployment(_)) => {
                Ok(Origin::Directory(PathBuf::from(text)))
            }
            _ => Err(Fault::new(
                "from",
                "holds one artifact directory: it serves the steps director, tas and deployment/NAME",
            )),
        },
    }
}

fn put(model: &Model, inputs: &Path) -> Result<Action, Fault> {
    match (&model.backup, &model.from, &model.cleanup) {
        (_, Some(_), Some(_)) | (Some(_), _, Some(_)) => Err(Fault::new(
            "cleanup",
            "stands beside `backup` or `from`; a put does one thing",
        )),
        // Also beside `prune`, which the params of the backup may have brought along.
        (_, None, Some(_)) => cleanup(model, "cleanup", Direction::Backup),
        (_, Some(_), None) => from(model, inputs, true),
        (Some(_), None, None) => backed_up(model).map(Action::Backup),
        (None, None, None) if prunes_too(model) => Ok(Action::Prune),
        (None, None, None) => Err(Fault::not_asked(
            "backup",
            "; a put needs `backup: [components…]`, `cleanup: [components…]` or `prune: true`",
        )),
    }
}

fn cleanup(model: &Model, key: &str, direction: Direction) -> Result<Action, Fault> {
    let names = if key == "cleanup" {
        &model.cleanup
    } else {
        &model.backup
    };
    Ok(Action::Cleanup {
        components: live(key, names.as_ref())?,
        force: model.force.is_some_and(|flag| flag.0),
        direction,
    })
}

fn backed_up(model: &Model) -> Result<Vec<Component>, Fault> {
    live("backup", model.backup.as_ref())
}

/// Components that this release can reach.
pub(super) fn live(key: &str, names: Option<&Names>) -> Result<Vec<Component>, Fault> {
    named(key, names)
}

fn named(key: &str, names: Option<&Names>) -> Result<Vec<Component>, Fault> {
    let names = names.map(|names| names.0.as_slice()).unwrap_or_default();
    if names.is_empty() {
        return Err(Fault::not_asked(
            key,
            "; name at least one of director, tas and deployment/NAME",
        ));
    }
    let mut components = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let place = || format!("{key}[{at}]");
        let Some(component) = Component::parse(name) else {
            return Err(Fault::new(
                place(),
                "is not a component; components are ops-manager, director, tas, service-instances \
                 and deployment/NAME",
            ));
        };
        if components.contains(&component) {
            return Err(Fault::new(place(), "is there twice"));
        }
        components.push(component);
    }
    Ok(components)
}

/// One component is the directory itself; several are its subdirectories, as a get with
/// `download: true` writes them.
fn from(model: &Model, inputs: &Path, confined: bool) -> Result<Action, Fault> {
    let Some(Text(text)) = &model.from else {
        return Err(Fault::missing("from", ""));
    };
    let components = match &model.backup {
        Some(names) => named("backup", Some(names))?,
        None => {
            return Err(Fault::not_asked(
                "backup",
                "; beside `from` it names the component that the directory holds",
            ));
        }
    };
    let given = Path::new(text);
    let leaves = given.is_absolute() || given.components().any(|step| step == Step::ParentDir);
    if confined && leaves {
        return Err(Fault::new(
            "from",
            "must lie within the put's inputs: NAME or NAME/PATH, without a leading slash and `..`",
        ));
    }
    let root = inputs.join(given);
    let mut directories = Vec::new();
    let single = components.len() == 1;
    for component in components {
        let path = if single {
            root.clone()
        } else {
            root.join(component.to_string())
        };
        if !path.is_dir() {
            let why = match (single, inputs_there(inputs)) {
                (false, _) => format!("has no directory {component}"),
                (true, Some(there)) => format!("is not a directory; the put's inputs are: {there}"),
                (true, None) => "is not a directory".to_owned(),
            };
            return Err(Fault::new("from", why));
        }
        if confined && !lies_within(&path, inputs) {
            return Err(Fault::new(
                "from",
                "leads out of the put's inputs through a symbolic link; give the directory itself",
            ));
        }
        directories.push((component, path));
    }
    Ok(Action::FromDirectories(directories))
}

/// A link that an input brings along must not make a backup of the worker.
fn lies_within(path: &Path, inputs: &Path) -> bool {
    match (path.canonicalize(), inputs.canonicalize()) {
        (Ok(path), Ok(inputs)) => path.starts_with(inputs),
        _ => false,
    }
}

fn inputs_there(inputs: &Path) -> Option<String> {
    let mut names: Vec<String> = std::fs::read_dir(inputs)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Some(match names.is_empty() {
        true => "none (name the artifact in `inputs:` or in `from`)".to_owned(),
        false => names.join(", "),
    })
}

fn selection(model: &Model) -> Result<Selection, Fault> {
    let components = match &model.components {
        Some(names) => named("components", Some(names))?,
        None => Vec::new(),
    };
    let artifacts = model.artifacts.as_ref().map(|names| names.0.clone());
    if artifacts.as_ref().is_some_and(|globs| globs.is_empty()) {
        return Err(Fault::new(
            "artifacts",
            "is an empty list; fill it or take it out",
        ));
    }
    let artifacts = artifacts.unwrap_or_default();
    if let Some(at) = artifacts
        .iter()
        .position(|glob| glob.is_empty() || glob.contains('/'))
    {
        return Err(Fault::new(
            format!("artifacts[{at}]"),
            "must be an artifact's file name, with * and ? where needed; it has no slash",
        ));
    }
    Ok(Selection {
        components,
        artifacts,
    })
}
