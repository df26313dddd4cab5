//! How long steps take, from what the backup knows.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::steps::facts::{Facts, Run};
use crate::clock::spoken;
use crate::repo::format::ComponentRecord;
use crate::report::restore::{Expected, PlanStep, Progress};
use crate::report::units;

const MINUTE: Duration = Duration::from_secs(60);

/// So many minutes at least and at most.
pub(super) fn minutes(least: u32, most: u32, because: impl Into<String>) -> Expected {
    Expected {
        least: MINUTE * least,
        most: MINUTE * most,
        because: because.into(),
    }
}

/// A restore of data: its artifacts go back as they came, and the scripts take a while.
pub(super) fn data(component: &ComponentRecord) -> Expected {
    let bytes: u64 = component
        .artifacts
        .iter()
        .map(|artifact| artifact.bytes)
        .sum();
    let phase = |name: &str| {
        let of_name = component.phases.iter().filter(|phase| phase.name == name);
        Duration::from_millis(of_name.map(|phase| phase.ms).sum())
    };
    let (drain, scripts) = (
        phase("drain"),
        phase("lock") + phase("backup") + phase("unlock"),
    );
    let same = drain + scripts;
    let least = same.max(MINUTE);
    Expected {
        least,
        // bbr's own guide: a quarter of an hour at least, growing with the blobs.
        most: (same * 3).max(MINUTE * 15),
        because: format!(
            "{} in {} artifacts; the backup drained them in {}, its scripts took {}",
            units::bytes(bytes),
            component.artifacts.len(),
            spoken(drain),
            spoken(scripts)
        ),
    }
}

/// An Apply Changes like the recorded ones that succeeded; else what others report.
pub(super) fn apply(
    facts: Option<&Facts>,
    like: impl Fn(&Run) -> bool,
    otherwise: Expected,
) -> Expected {
    let took: Vec<Duration> = facts
        .iter()
        .flat_map(|facts| &facts.runs)
        .filter(|run| like(run))
        .map(|run| run.took)
        .collect();
    match (took.iter().min(), took.iter().max()) {
        (Some(least), Some(most)) => Expected {
            least: *least,
            // Every VM is made anew, which an update of a foundation that runs need not do.
            most: (*most * 2).max(otherwise.least),
            because: format!(
                "{} such runs of Apply Changes are recorded, which took {} to {}; here every VM is made anew",
                took.len(),
                spoken(*least),
                spoken(*most)
            ),
        },
        _ => otherwise,
    }
}

/// Of the steps that are not done and whose time can be told; `newest` is a drill's.
pub(super) fn total(steps: &[PlanStep], newest: Option<Duration>) -> Option<Expected> {
    let left = |step: &&PlanStep| !matches!(step.state, Progress::Done | Progress::NotNeeded);
    let left: Vec<&PlanStep> = steps.iter().filter(left).collect();
    let told: Vec<&Expected> = left
        .iter()
        .filter_map(|step| step.expected.as_ref())
        .collect();
    let mut because = format!(
        "the sum of {} steps; {} more, which people do or decide, take what they take",
        told.len(),
        left.len() - told.len()
    );
    if let Some(newest) = newest {
        // Writing to a string cannot fail.
        let _ = write!(
            because,
            "; the newest drill that passed took {}",
            spoken(newest)
        );
    }
    (!told.is_empty()).then(|| Expected {
        least: told.iter().map(|one| one.least).sum(),
        most: told.iter().map(|one| one.most).sum(),
        because,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::restore::Who;

    #[test]
    fn earlier_runs_count_more_than_hearsay() {
        let run = |minutes: u64, director_only: bool| Run {
            director_only,
            products: Vec::new(),
            took: Duration::from_secs(60 * minutes),
        };
        let facts = Facts {
            runs: vec![run(12, true), run(20, true), run(200, false)],
            ..Facts::default()
        };
        let found = apply(
            Some(&facts),
            |run| run.director_only,
            minutes(15, 30, "hearsay"),
        );
        assert_eq!((found.least, found.most), (MINUTE * 12, MINUTE * 40));
        assert!(
            found.because.starts_with("2 such runs"),
            "{}",
            found.because
        );
        let none = apply(None, |_| true, minutes(15, 30, "hearsay"));
        assert_eq!(none, minutes(15, 30, "hearsay"));
    }
    #[test]
    fn what_is_done_and_what_nobody_can_tell_is_not_summed() {
        let step = |state, expected| PlanStep {
            title: String::new(),
            who: Who::Person,
            state,
            notes: Vec::new(),
            expected,
        };
        let steps = [
            step(Progress::Done, Some(minutes(10, 20, ""))),
            step(Progress::Open, Some(minutes(1, 2, ""))),
            step(Progress::Unknown, Some(minutes(3, 5, ""))),
            step(Progress::Open, None),
        ];
        let sum = total(&steps, Some(MINUTE * 4)).unwrap();
        assert_eq!((sum.least, sum.most), (MINUTE * 4, MINUTE * 7));
        assert_eq!(
            sum.because,
            "the sum of 2 steps; 1 more, which people do or decide, take what they take; the newest drill that passed took 4 min 00 s"
        );
        assert_eq!(total(&steps[..1], None), None);
    }
}
