//! The checks before anything is changed.

use std::collections::BTreeMap;

use super::commands::{self, DRAIN_TOOLS, TOOLS};
use super::error::{Error, Errors, Phase, Trouble};
use super::instance::Instance;
use super::schedule::Board;
use super::script::{Direction, Script};
use super::target::Target;
use super::workflow::Run;
use crate::monitor::Monitor;
use crate::shutdown::{Shutdown, Stopped};

/// What to do about leftovers of a run, for every message that finds some.
pub(super) fn advice(direction: Direction) -> String {
    format!(
        "if no other {direction} is running, run the {} of this component",
        direction.cleanup()
    )
}

/// What the checks saw.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// How many artifacts the backup will make.
    pub artifacts: usize,
    /// Room for artifacts, by instance with a backup script.
    pub space: Vec<Space>,
}

/// Room on one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// `group/id`.
    pub instance: String,
    /// Free bytes on the store's file system; `None` when it could not be told.
    pub free: Option<u64>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// What lies on an instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Inspection {
    pub(super) artifacts: bool,
    pub(super) state: bool,
    pub(super) marker: bool,
    pub(super) text: String,
    pub(super) missing: Vec<String>,
    pub(super) free: Option<u64>,
    size: Option<u64>,
}

impl Run {
    /// Looks whether this backup can be taken; changes nothing.
    ///
    /// # Errors
    /// All reasons why not, on all instances.
    pub fn check(&self, monitor: &dyn Monitor, shutdown: &Shutdown) -> Result<Checked, Errors> {
        let target = self.target();
        let mut errors: Vec<Error> = plan_problems(target)
            .into_iter()
            .map(|text| Error::said(Phase::Check, text))
            .collect();
        warn_of_restore_names(target, monitor);
        let inspections = inspect_all(target, Phase::Check, shutdown, |instance| {
            let mut tools = Vec::new();
            if instance.takes_part(Direction::Backup) {
                tools.extend(TOOLS);
            }
            if instance.has(Script::Backup) {
                tools.extend(DRAIN_TOOLS);
            }
            tools
        });
        let mut checked = Checked {
            artifacts: target.artifacts(Direction::Backup).len(),
            space: Vec::new(),
        };
        let mut offenders = Vec::new();
        for (instance, inspection) in target.instances.iter().zip(inspections) {
            match inspection {
                Err(error) => errors.push(error),
                Ok(found) => {
                    if found.artifacts || found.state {
                        offenders.push((instance.name(), found.clone()));
                    }
                    if !found.missing.is_empty() {
                        errors.push(Error::said(
                            Phase::Check,
                            format!(
                                "{} lacks {}, which a backup needs there; install what is missing \
                                 on the stemcell",
                                instance.name(),
                                found.missing.join(", ")
                            ),
                        ));
                    }
                    if instance.has(Script::Backup) {
                        checked.space.push(report_space(instance, &found, monitor));
                    }
                }
            }
        }
        if !offenders.is_empty() {
            errors.push(Error::said(
                Phase::Check,
                in_the_way(target, Direction::Backup, &offenders),
            ));
        }
        Errors::check(errors)?;
        Ok(checked)
    }
}

/// Looks at every instance, side by side; the results are in the target's order.
pub(super) fn inspect_all(
    target: &Target,
    phase: Phase,
    shutdown: &Shutdown,
    tools: impl Fn(&Instance) -> Vec<&'static str> + Sync,
) -> Vec<Result<Inspection, Error>> {
    let settings = &target.settings;
    let board = Board::free((0..target.instances.len()).collect(), 1);
    board
        .run(settings.limits.parallel, shutdown, |place| {
            let instance = &target.instances[place];
            let command = commands::inspect(settings, &tools(instance));
            let output = instance
                .remote
                .run(&command, shutdown)
                .map_err(|error| Error::remote(phase, "the look for leftovers", error))?;
            parse(&output.stdout)
                .filter(|_| output.exit.ok())
                .ok_or_else(|| Error {
                    phase,
                    trouble: Trouble::Command {
                        instance: instance.name(),
                        doing: "the look for leftovers".to_owned(),
                        status: output.exit.status,
                        stderr: output.exit.stderr,
                    },
                })
        })
        .into_iter()
        .map(|result| {
            result.unwrap_or(Err(Error {
                phase,
                trouble: Stopped.into(),
            }))
        })
        .collect()
}

/// `None` when the output is not whole: what was not looked at is not absent.
fn parse(output: &[u8]) -> Option<Inspection> {
    let text = String::from_utf8_lossy(output);
    let (lines, marker) = text.split_once("end\n")?;
    let mut found = Inspection {
        text: marker.trim().to_owned(),
        ..Inspection::default()
    };
    let mut seen = 0;
    for line in lines.lines() {
        let (key, value) = line.split_once(' ')?;
        let place = match key {
            "artifacts" => &mut found.artifacts,
            "state" => &mut found.state,
            "marker" => &mut found.marker,
            other => {
                let bytes = || {
                    value
                        .parse::<u64>()
                        .ok()
                        .map(|kib| kib.saturating_mul(1024))
                };
                match other {
                    "missing" => found.missing.push(value.to_owned()),
                    "free" => found.free = bytes(),
                    "size" => found.size = bytes(),
                    _ => {}
                }
                continue;
            }
        };
        *place = value == "present";
        seen += 1;
    }
    (seen == 3).then_some(found)
}

/// One sentence about what other runs left.
pub(super) fn in_the_way(
    target: &Target,
    direction: Direction,
    offenders: &[(String, Inspection)],
) -> String {
    let paths = &target.settings.paths;
    let list = |of: &dyn Fn(&Inspection) -> bool| {
        let names: Vec<&str> = offenders
            .iter()
            .filter(|(_, found)| of(found))
            .map(|(name, _)| name.as_str())
            .collect();
        names.join(", ")
    };
    let mut parts = Vec::new();
    for (path, names) in [
        (paths.artifacts(), list(&|found| found.artifacts)),
        (paths.state(), list(&|found| found.state)),
    ] {
        if !names.is_empty() {
            parts.push(format!("{path} exists on {names}"));
        }
    }
    let run = offenders
        .iter()
        .find_map(|(_, found)| marker_words(&found.text))
        .map(|words| format!(" (left or in use by {words})"))
        .unwrap_or_default();
    // Of bbr's own leftovers nobody knows which kind of run it was.
    let kind = offenders
        .iter()
        .find_map(|(_, found)| marker_direction(&found.text))
        .unwrap_or(direction);
    format!("{}{run}: {}", parts.join(", and "), advice(kind))
}

/// Which kind of run a marker's text is of; `None` when it is no marker of ours.
pub(super) fn marker_direction(text: &str) -> Option<Direction> {
    let marker: serde_json::Value = serde_json::from_str(text).ok()?;
    match marker.get("for").and_then(serde_json::Value::as_str) {
        Some("restore") => Some(Direction::Restore),
        // The first release said nothing, and took backups alone.
        _ => Some(Direction::Backup),
    }
}

/// `run ID of FOUNDATION, started TIME` from a marker's text.
pub(super) fn marker_words(text: &str) -> Option<String> {
    let marker: serde_json::Value = serde_json::from_str(text).ok()?;
    let part = |key: &str| {
        marker
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or("?")
            .escape_debug()
            .to_string()
    };
    Some(format!(
        "{}run {} of {}, started {}",
        match marker_direction(text) {
            Some(Direction::Restore) => "restore ",
            _ => "",
        },
        part("run"),
        part("foundation"),
        part("started")
    ))
}

fn report_space(instance: &Instance, found: &Inspection, monitor: &dyn Monitor) -> Space {
    let space = Space {
        instance: instance.name(),
        free: found.free,
        size: found.size,
    };
    if let (Some(free), Some(size)) = (space.free, space.size) {
        // Whole percent, rounded down; no artifact's size is known before its script ran.
        let percent = u128::from(free) * 100 / u128::from(size.max(1));
        let text = format!(
            "{}: {} MiB ({percent} %) are free for artifacts",
            space.instance,
            free / (1024 * 1024)
        );
        if percent < 10 {
            monitor.warn(&format!(
                "{text}; the backup scripts may fail for want of room"
            ));
        } else {
            monitor.debug(&text);
        }
    }
    space
}

fn warn_of_restore_names(target: &Target, monitor: &dyn Monitor) {
    for job in target.jobs() {
        let (instance, found) = (target.instance(job), target.job(job));
        if found.metadata.restore_name.is_some() {
            monitor.warn(&format!(
                "{}: metadata of job {} has restore_name, which is discontinued: bbr will refuse to \
                 restore this instance",
                instance.name(),
                found.name
            ));
        }
    }
}

/// What makes a backup of this target impossible or worthless, from what is known already.
fn plan_problems(target: &Target) -> Vec<String> {
    let mut problems = Vec::new();
    if !target
        .instances
        .iter()
        .any(|instance| instance.has(Script::Backup))
    {
        problems.push(format!(
            "{} cannot be backed up: no instance has a job with a backup script; check \
             that it is the right one, and that its jobs have their backup enabled",
            target.name
        ));
    }
    if let Err(cycle) = target.lock_order(Direction::Backup) {
        problems.push(cycle.to_string());
    }
    // Which groups share an artifact, and whether one of their instances writes it.
    let mut shared: BTreeMap<String, BTreeMap<&str, bool>> = BTreeMap::new();
    for job in target.jobs() {
        let (instance, found) = (target.instance(job), target.job(job));
        if found.backup_one_restore_all && found.has(Script::Backup) {
            *shared
                .entry(found.shared_name())
                .or_default()
                .entry(&instance.group)
                .or_default() |= instance.bootstrap;
        }
    }
    for (name, groups) in &shared {
        let names: Vec<&str> = groups.keys().copied().collect();
        if groups.len() > 1 {
            problems.push(format!(
                "the instance groups {} would all write the artifact {name}; set \
                 bbr.backup_one_restore_all in one of them only",
                names.join(" and ")
            ));
        }
        for group in groups
            .iter()
            .filter(|(_, bootstrap)| !**bootstrap)
            .map(|(group, _)| group)
        {
            problems.push(format!(
                "no instance of group {group} is its bootstrap instance, so none would write the \
                 artifact {name}; look at the column Bootstrap of `bosh instances --details`"
            ));
        }
    }
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for artifact in target.artifacts(Direction::Backup) {
        let writers = files.entry(artifact.place.file_name).or_default();
        writers.push(format!(
            "{} on {}",
            target.job(artifact.job).name,
            artifact.instance
        ));
    }
    for (name, writers) in files {
        let groups_told = shared.contains_key(name.trim_end_matches(".tar"))
            && problems
                .iter()
                .any(|problem| problem.contains(&name[..name.len() - 4]));
        if writers.len() > 1 && !groups_told {
            problems.push(format!(
                "{} would write the same artifact {name}; one of them must be renamed, or be \
                 the only bootstrap instance",
                writers.join(" and ")
            ));
        }
    }
    problems
}
