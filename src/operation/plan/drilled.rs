//! What drills took: the best that is known of a step before it is run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::super::steps::ground::Ground;
use crate::clock::spoken;
use crate::repo::Error;
use crate::repo::proof::{Level, Outcome, Proof, ProofName, Step};
use crate::report::restore::Expected;

/// Drills that count: so many of the newest.
const MOST: usize = 10;
/// Proofs that are read to find them: a drill has one of each run that came to an end.
const MOST_READ: usize = 50;

/// The newest drills of the foundation.
#[derive(Debug, Default)]
pub(super) struct Drills {
    /// What a step took wherever it ended well, by its name.
    steps: BTreeMap<String, Vec<Duration>>,
    /// What the newest took that passed, all its steps together.
    pub(super) newest: Option<Duration>,
}

impl Drills {
    /// Reads them. That they cannot be told is said, and is no error: a plan goes without them.
    pub(super) fn of(ground: &Ground<'_>) -> Result<Self> {
        let monitor = &ground.context.monitor;
        match read(ground) {
            Ok(proofs) => Ok(Self::from_proofs(&proofs)),
            Err(Error::Stopped(stopped)) => Err(stopped.into()),
            Err(error) => {
                monitor.warn(&format!("what drills took is not known: {error}"));
                Ok(Self::default())
            }
        }
    }

    /// `proofs`: oldest first.
    fn from_proofs(proofs: &[Proof]) -> Self {
        let newest_first = proofs.iter().rev();
        let passed = newest_first
            .clone()
            .find(|proof| proof.result == Outcome::Passed);
        let mut drills = Self {
            // A later look at it may have failed: that it passed, and how fast, stays true.
            newest: passed
                .and_then(|proof| proof.rto_ms)
                .map(Duration::from_millis),
            ..Self::default()
        };
        // A run that went on with a drill names the steps of the runs before it too.
        let mut last: Vec<&Proof> = Vec::new();
        for proof in newest_first {
            let again =
                |later: &&Proof| (&later.backup, &later.started) == (&proof.backup, &proof.started);
            if !last.iter().any(again) {
                last.push(proof);
            }
        }
        for proof in last.into_iter().take(MOST) {
            let known = |step: &&Step| step.ok && !step.at_least;
            for step in proof.steps.iter().filter(known) {
                let took = Duration::from_millis(step.ms);
                drills
                    .steps
                    .entry(step.name.clone())
                    .or_default()
                    .push(took);
            }
        }
        drills
    }

    /// What a step took so far; `None` when no drill came so far.
    pub(super) fn expected(&self, step: &str) -> Option<Expected> {
        let took = self.steps.get(step)?;
        let (least, most) = (*took.iter().min()?, *took.iter().max()?);
        let range = match least == most {
            true => spoken(least),
            false => format!("{} to {}", spoken(least), spoken(most)),
        };
        let drills = match took.len() {
            1 => "a drill".to_owned(),
            count => format!("{count} drills"),
        };
        Some(Expected {
            least,
            // A scratch foundation is rarely larger than the real one, and nobody waits for it in distress.
            most: most * 2,
            because: format!("{drills} took {range} in a scratch foundation"),
        })
    }
}

/// Oldest first. One that is not to be believed is told and counts for nothing.
fn read(ground: &Ground<'_>) -> Result<Vec<Proof>, Error> {
    let proofs = ground.proofs();
    let names = proofs.names(None)?;
    let mut read: Vec<(ProofName, Proof)> = Vec::new();
    proofs.read_each(newest(&names), |name, answer| match answer {
        Ok(believed) => read.push((name, believed.proof)),
        Err(error) => ground
            .context
            .monitor
            .warn(&format!("a drill counts for nothing: {error}")),
    })?;
    read.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(read.into_iter().map(|(_, proof)| proof).collect())
}

/// Those that are worth reading, newest first. `names`: oldest first.
fn newest(names: &[ProofName]) -> impl Iterator<Item = &ProofName> {
    let drilled = names.iter().filter(|name| name.level == Level::Drilled);
    drilled.rev().take(MOST_READ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::repo::id::{BackupId, Foundation};

    fn drill(begun: &str, result: Outcome, rto_ms: u64, steps: &[(&str, u64, bool)]) -> Proof {
        let mut proof = Proof::new(
            &Foundation::parse("prod").unwrap(),
            &BackupId::parse("20261122T010203Z-00000000").unwrap(),
            Level::Drilled,
            result,
            begun.to_owned(),
            String::new(),
        );
        proof.rto_ms = Some(rto_ms);
        let step = |&(name, ms, ok): &(&str, u64, bool)| Step {
            name: name.to_owned(),
            ms,
            ok,
            ..Step::default()
        };
        proof.steps = steps.iter().map(step).collect();
        proof
    }

    #[test]
    fn steps_that_ended_well_count_even_in_a_drill_that_failed() {
        let drills = Drills::from_proofs(&[
            drill(
                "first",
                Outcome::Passed,
                900_000,
                &[("director", 600_000, true)],
            ),
            drill(
                "second",
                Outcome::Failed,
                480_000,
                &[("director", 480_000, true)],
            ),
            // Gone on with, and stopped elsewhere.
            drill(
                "second",
                Outcome::Failed,
                490_000,
                &[("director", 480_000, true), ("tas", 1000, false)],
            ),
        ]);
        assert_eq!(drills.newest, Some(Duration::from_secs(900)));
        let director = drills.expected("director").unwrap();
        assert_eq!(
            (director.least, director.most),
            (Duration::from_secs(480), Duration::from_secs(1200))
        );
        assert_eq!(
            director.because,
            "2 drills took 8 min 00 s to 10 min 00 s in a scratch foundation"
        );
        assert_eq!(drills.expected("tas"), None);
        let one = Drills::from_proofs(&[drill("only", Outcome::Passed, 1, &[("tas", 1000, true)])]);
        let because = one.expected("tas").unwrap().because;
        assert_eq!(because, "a drill took 1.0 s in a scratch foundation");
    }

    #[test]
    fn a_drill_that_was_run_often_pushes_no_other_out() {
        let name = |second: u64| {
            let time = clock::parse_compact("20261122T010203Z").unwrap();
            ProofName {
                backup: BackupId::parse("20261122T010203Z-00000000").unwrap(),
                time: clock::compact(time + Duration::from_secs(second)),
                level: Level::Drilled,
                result: Outcome::Failed,
                random: [0; 4],
            }
        };
        let names: Vec<_> = (0..60).map(name).collect();
        let read: Vec<_> = newest(&names).collect();
        assert_eq!((read.len(), read[0]), (50, &names[59]));
        let tas = [("tas", 600_000, true)];
        let mut proofs = vec![drill("first", Outcome::Passed, 900_000, &tas)];
        proofs.extend((0..20).map(|_| drill("second", Outcome::Failed, 1, &tas)));
        let two = Drills::from_proofs(&proofs);
        assert_eq!(two.newest, Some(Duration::from_secs(900)));
        let because = two.expected("tas").unwrap().because;
        assert!(because.starts_with("2 drills took "), "{because}");
        let begun = (0..12).map(|number| format!("drill {number}"));
        let many: Vec<_> = begun
            .map(|begun| drill(&begun, Outcome::Passed, 1, &tas))
            .collect();
        let because = Drills::from_proofs(&many).expected("tas").unwrap().because;
        assert!(because.starts_with("10 drills took "), "{because}");
    }

    #[test]
    fn a_later_look_that_failed_does_not_undo_what_a_drill_took() {
        let drills = Drills::from_proofs(&[
            drill("kept", Outcome::Passed, 900_000, &[("tas", 1000, true)]),
            drill(
                "kept",
                Outcome::Failed,
                0,
                &[("tas", 1000, true), ("instances", 1, false)],
            ),
        ]);
        assert_eq!(drills.newest, Some(Duration::from_secs(900)));
    }

    #[test]
    fn a_step_whose_time_nobody_knows_counts_for_nothing() {
        let steps = [("director", 60_000, true), ("apply-tas", 600_000, true)];
        let mut killed = drill("killed", Outcome::Passed, 660_000, &steps);
        killed.steps[1].at_least = true;
        let drills = Drills::from_proofs(&[killed]);
        assert_eq!(drills.expected("apply-tas"), None);
        assert!(drills.expected("director").is_some());
    }
}
