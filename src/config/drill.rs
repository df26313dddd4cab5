//! `drill`: the scratch foundation's name, and what is asked of it once it is restored.

use std::time::Duration;

use super::action::{choices, origin};
use super::leaf::{Count, Text};
use super::model::{CheckModel, DrillModel, Model};
use super::{Fault, keys, place};
use crate::operation::settings::{Check, Drill, End, Origin, Page, Question};

/// How long a check is repeated: apps start one after another.
const PATIENCE: Duration = Duration::from_secs(900);
const LONGEST_PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// A drill deletes at its end: that this scratch foundation is meant must be said each time.
pub(super) fn of(model: &Model, end: End) -> Result<Drill, Fault> {
    let Some(given) = &model.drill else {
        return Err(Fault::missing(
            "drill",
            "; give drill.scratch, the name of the scratch foundation",
        ));
    };
    let Some(Text(scratch)) = &given.scratch else {
        return Err(Fault::missing("drill.scratch", ""));
    };
    let foundation = model.foundation.as_ref().map(|Text(name)| name);
    if foundation == Some(scratch) {
        return Err(Fault::new(
            "drill.scratch",
            "is what `foundation` says; a scratch foundation has a name of its own, so that nobody takes one for the other",
        ));
    }
    let Some(Text(named)) = &model.confirm_target else {
        return Err(Fault::not_asked(
            "confirm_target",
            "; a drill overwrites the scratch foundation and deletes it at its end, so name it once more, as drill.scratch does",
        ));
    };
    if named != scratch {
        return Err(Fault::new(
            "confirm_target",
            "is not the name that `drill.scratch` has; nothing was touched",
        ));
    }
    if model.in_place.is_some_and(|flag| flag.0) {
        return Err(Fault::new(
            "in_place",
            "does not go with a drill, which never repairs a foundation that lives; take it out",
        ));
    }
    for (key, there) in [
        ("director", model.director.is_some()),
        (
            "bosh",
            model
                .bosh
                .as_ref()
                .is_some_and(|bosh| bosh.environment.is_some()),
        ),
    ] {
        if there {
            return Err(Fault::new(
                key,
                "does not go with a drill: the scratch foundation's director is known by its Ops Manager alone, since it has the original's address; take it out",
            ));
        }
    }
    let given_one = [&model.id, &model.id_file, &model.from]
        .iter()
        .any(|key| key.is_some());
    let asked = match given_one && end != End::OnlyTearDown {
        true => origin(model, None)?,
        false => Origin::Latest,
    };
    Ok(Drill {
        scratch: scratch.clone(),
        origin: asked,
        choices: choices(model),
        end,
        checks: checks(given)?,
        patience: patience(given)?,
    })
}

fn patience(given: &DrillModel) -> Result<Duration, Fault> {
    match given.timeout {
        None => Ok(PATIENCE),
        Some(span) if span.0 <= LONGEST_PATIENCE && !span.0.is_zero() => Ok(span.0),
        Some(_) => Err(Fault::new("drill.timeout", "must be between 1s and 6h")),
    }
}

fn checks(given: &DrillModel) -> Result<Vec<Check>, Fault> {
    let mut found: Vec<Check> = Vec::new();
    for (at, model) in given.checks.iter().flatten().enumerate() {
        let place = |key: &str| format!("drill.checks[{at}].{key}");
        let check = check(model, &place)?;
        if found.iter().any(|other| other.name == check.name) {
            return Err(Fault::new(place("name"), "is there twice"));
        }
        found.push(check);
    }
    Ok(found)
}

fn check(model: &CheckModel, place: &dyn Fn(&str) -> String) -> Result<Check, Fault> {
    let Some(Text(name)) = &model.name else {
        return Err(Fault::missing(place("name"), ""));
    };
    if !is_name(name) {
        return Err(Fault::new(
            place("name"),
            "must be 1 to 40 of a-z, 0-9 and `-`",
        ));
    }
    let question = match (&model.url, &model.command) {
        (Some(Text(url)), None) => {
            if model.instance.is_some() || model.deployment.is_some() {
                return Err(Fault::new(
                    place("instance"),
                    "goes with `command`, not with `url`",
                ));
            }
            Question::Url(page(url, model.status, model.ca_cert.as_ref(), place)?)
        }
        (None, Some(Text(command))) => {
            if model.status.is_some() || model.ca_cert.is_some() {
                return Err(Fault::new(
                    place("status"),
                    "goes with `url`, not with `command`",
                ));
            }
            let Some(Text(instance)) = &model.instance else {
                return Err(Fault::missing(
                    place("instance"),
                    "; say where the command runs: `group`, `group/index` or `group/id`",
                ));
            };
            Question::Command {
                deployment: model.deployment.as_ref().map(|Text(name)| name.clone()),
                instance: instance.clone(),
                command: command.clone(),
            }
        }
        _ => {
            return Err(Fault::new(
                place("url"),
                "give `url`, or `instance` and `command`: one of the two",
            ));
        }
    };
    Ok(Check {
        name: name.clone(),
        question,
        contains: model.contains.as_ref().map(|Text(text)| text.clone()),
    })
}

/// A page that is asked for by GET.
pub(super) fn page(
    url: &str,
    status: Option<Count>,
    ca_cert: Option<&Text>,
    place: &dyn Fn(&str) -> String,
) -> Result<Page, Fault> {
    let rest = url
        .strip_prefix("https://")
        .ok_or_else(|| Fault::new(place("url"), "must begin with https://"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Fault::new(
            place("url"),
            "holds a user name; ask for a page that needs none",
        ));
    }
    place::host_port(authority).map_err(|why| Fault::new(place("url"), why))?;
    let status = match status {
        None => 200,
        Some(Count(status)) => u16::try_from(status)
            .ok()
            .filter(|status| (100..600).contains(status))
            .ok_or_else(|| Fault::new(place("status"), "must be an HTTP status, 100 to 599"))?,
    };
    let ca_cert = ca_cert
        .map(|text| keys::certificates(&text.0))
        .transpose()
        .map_err(|why| Fault::new(place("ca_cert"), why))?;
    Ok(Page {
        url: url.to_owned(),
        status,
        ca_cert,
    })
}

/// A name that people and programs can take.
pub(super) fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
