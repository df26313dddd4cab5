//! When `lifeboat alerts` says something, and a report marks it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Fault;
use super::leaf::{Count, Span, Spans, Times};
use super::model::Model;
use crate::operation::settings::{Component, MaxAge, Thresholds};
use crate::repo::proof::Level;

/// A nightly backup, and two hours in which it may run.
const MAX_AGE: Duration = Duration::from_secs(26 * 3600);
/// What a proof each month, or in parts that cover all in a month, leaves.
const MAX_PROOF_AGE: Duration = Duration::from_secs(35 * 86_400);
/// Levels that a proof is asked of where nothing is said.
const PROVED: [Level; 2] = [Level::Contents, Level::Drilled];
const GROWTH: f64 = 2.0;
/// To rotate certificates takes people and an Apply Changes.
const CERTIFICATES: Duration = Duration::from_secs(30 * 86_400);

/// The thresholds; without a word of them the ones above.
pub(super) fn of(model: &Model, min_copies: usize) -> Result<Thresholds, Fault> {
    let given = model.alerts.as_ref();
    let max_age = match given.and_then(|given| given.max_age.as_ref()) {
        None => MaxAge::Each(MAX_AGE),
        Some(Spans::All(limit)) => MaxAge::Each(*limit),
        Some(Spans::Each(limits)) => {
            for name in limits.keys() {
                if Component::parse(name).is_none() {
                    return Err(Fault::new(
                        "alerts.max_age",
                        "names something that is not a component; components are ops-manager, \
                         director, tas, service-instances and deployment/NAME",
                    ));
                }
            }
            MaxAge::Of(limits.clone())
        }
    };
    let max_proof_age = match given.and_then(|given| given.max_proof_age.as_ref()) {
        None => of_each(MAX_PROOF_AGE),
        Some(Spans::All(limit)) => of_each(*limit),
        Some(Spans::Each(limits)) => {
            if limits.keys().any(|name| Level::parse(name).is_none()) {
                return Err(Fault::new(
                    "alerts.max_proof_age",
                    "names something that is not a level; levels are listed, scrub, contents, \
                     restorable and drilled",
                ));
            }
            limits.clone()
        }
    };
    Ok(Thresholds {
        max_age,
        max_proof_age,
        min_copies: copies(given.and_then(|given| given.min_copies), model, min_copies)?,
        downtime_growth: growth(given.and_then(|given| given.downtime_growth))?,
        certificates: given
            .and_then(|given| given.certificates)
            .map_or(CERTIFICATES, |Span(time)| time),
    })
}

fn of_each(limit: Duration) -> BTreeMap<String, Duration> {
    PROVED.map(|level| (level.to_string(), limit)).into()
}

fn copies(given: Option<Count>, model: &Model, otherwise: usize) -> Result<usize, Fault> {
    let stores = model.stores.as_ref().map_or(0, Vec::len);
    match given.map(|Count(count)| usize::try_from(count).unwrap_or(usize::MAX)) {
        None => Ok(otherwise),
        Some(count) if count > stores && stores > 0 => Err(Fault::new(
            "alerts.min_copies",
            format!("is more than there are stores ({stores})"),
        )),
        Some(count) => Ok(count),
    }
}

/// 0 asks for none.
fn growth(given: Option<Times>) -> Result<Option<f64>, Fault> {
    match given.map(|Times(times)| times) {
        None => Ok(Some(GROWTH)),
        Some(0.0) => Ok(None),
        Some(times) if times > 1.0 => Ok(Some(times)),
        Some(_) => Err(Fault::new(
            "alerts.downtime_growth",
            "must be more than 1 (2.0: twice as long as usual), or 0 for none",
        )),
    }
}
