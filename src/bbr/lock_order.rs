//! The order in which jobs are locked; unlocking is its reverse. Pure.

/// What the order needs to know of one job on one instance.
#[derive(Debug, Clone, Copy)]
pub struct Lockable<'a> {
    /// Job name.
    pub job: &'a str,
    /// Its release; empty when unknown, and then no constraint can name it.
    pub release: &'a str,
    /// `group/id`.
    pub instance: &'a str,
    /// Jobs, by name and release, that are locked after this one.
    pub before: &'a [super::metadata::Constraint],
}

/// Which job comes after which; jobs are known by their place in the list given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOrder {
    after: Vec<Vec<usize>>,
    levels: Vec<Vec<usize>>,
}

/// Jobs that wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "these jobs are to be locked before each other: {}; mend the lists \
     *_should_be_locked_before of their metadata scripts",
    .0.join(", ")
)]
pub struct Cycle(pub Vec<String>);

impl LockOrder {
    /// Computes it. Constraints that match no job are dropped; one that matches several jobs
    /// holds for each of them.
    ///
    /// # Errors
    /// When no order can meet all constraints; a job that names itself is such a case.
    pub fn new(jobs: &[Lockable<'_>]) -> Result<Self, Cycle> {
        let mut after = vec![Vec::new(); jobs.len()];
        for (first, job) in jobs.iter().enumerate() {
            for constraint in job.before {
                for (second, other) in jobs.iter().enumerate() {
                    if other.job == constraint.job && other.release == constraint.release {
                        after[second].push(first);
                    }
                }
            }
        }
        for list in &mut after {
            list.sort_unstable();
            list.dedup();
        }
        let mut left: Vec<usize> = (0..jobs.len()).collect();
        let mut done = vec![false; jobs.len()];
        let mut levels = Vec::new();
        while !left.is_empty() {
            let (level, rest): (Vec<_>, Vec<_>) = left
                .iter()
                .partition(|job| after[**job].iter().all(|earlier| done[*earlier]));
            if level.is_empty() {
                return Err(Cycle(in_circle(&rest, &after, jobs)));
            }
            for job in &level {
                done[*job] = true;
            }
            levels.push(level);
            left = rest;
        }
        Ok(Self { after, levels })
    }

    /// The jobs in groups that may be locked together, in locking order.
    pub fn levels(&self) -> &[Vec<usize>] {
        &self.levels
    }

    /// For each job those that must be locked before it.
    pub fn lock_waits_for(&self) -> Vec<Vec<usize>> {
        self.after.clone()
    }

    /// For each job those that must be unlocked before it.
    pub fn unlock_waits_for(&self) -> Vec<Vec<usize>> {
        let mut reversed = vec![Vec::new(); self.after.len()];
        for (second, firsts) in self.after.iter().enumerate() {
            for first in firsts {
                reversed[*first].push(second);
            }
        }
        reversed
    }
}

/// Of jobs that cannot be ordered, those that lie on a circle: going from a job to one that
/// it waits for, again and again, must come back.
fn in_circle(left: &[usize], after: &[Vec<usize>], jobs: &[Lockable<'_>]) -> Vec<String> {
    let mut path = Vec::new();
    let mut at = left[0];
    while !path.contains(&at) {
        path.push(at);
        let Some(next) = after[at].iter().find(|earlier| left.contains(earlier)) else {
            break;
        };
        at = *next;
    }
    let start = path.iter().position(|job| *job == at).unwrap_or(0);
    path[start..]
        .iter()
        .rev()
        .map(|job| format!("{} on {}", jobs[*job].job, jobs[*job].instance))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::metadata::Constraint;
    use super::*;
    use proptest::prelude::*;

    type Sketch = (
        &'static str,
        &'static str,
        Vec<(&'static str, &'static str)>,
    );

    fn order(sketch: &[Sketch]) -> Result<LockOrder, Cycle> {
        let constraints: Vec<Vec<Constraint>> = sketch
            .iter()
            .map(|(_, _, before)| {
                before
                    .iter()
                    .map(|(job, release)| Constraint {
                        job: (*job).to_owned(),
                        release: (*release).to_owned(),
                    })
                    .collect()
            })
            .collect();
        let jobs: Vec<_> = sketch
            .iter()
            .zip(&constraints)
            .map(|((job, release, _), before)| Lockable {
                job,
                release,
                instance: "g/0",
                before,
            })
            .collect();
        LockOrder::new(&jobs)
    }

    fn levels(sketch: &[Sketch]) -> Vec<Vec<usize>> {
        order(sketch).unwrap().levels().to_vec()
    }

    #[test]
    fn the_examples_of_the_contract() {
        let free = |job| (job, "r", vec![]);
        let chain = [
            ("a", "r", vec![("b", "r")]),
            ("b", "r", vec![("c", "r")]),
            free("d"),
            free("c"),
            free("c"),
        ];
        assert_eq!(levels(&chain), [vec![0, 2], vec![1], vec![3, 4]]);
        let fork = [
            free("a"),
            ("b", "r", vec![("c", "r"), ("d", "r")]),
            free("c"),
            free("d"),
        ];
        assert_eq!(levels(&fork), [vec![0, 1], vec![2, 3]]);
        let three_first = [
            ("b", "r", vec![("c", "r")]),
            ("b", "r", vec![("c", "r")]),
            free("c"),
        ];
        assert_eq!(levels(&three_first), [vec![0, 1], vec![2]]);
        let releases = [
            ("a", "r", vec![("c", "r1")]),
            ("b", "r", vec![("c", "r2")]),
            ("c", "r1", vec![("c", "r2")]),
            ("c", "r2", vec![]),
        ];
        assert_eq!(levels(&releases), [vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn constraints_on_strangers_are_dropped() {
        let sketch = [
            ("a", "r", vec![("x", "r"), ("b", "other")]),
            ("b", "r", vec![]),
        ];
        assert_eq!(levels(&sketch), [vec![0, 1]]);
    }

    #[test]
    fn circles_name_their_jobs_and_no_others() {
        let sketch = [
            ("free", "r", vec![("a", "r")]),
            ("a", "r", vec![("c", "r"), ("behind", "r")]),
            ("b", "r", vec![("a", "r")]),
            ("c", "r", vec![("b", "r")]),
            ("behind", "r", vec![]),
        ];
        let error = order(&sketch).unwrap_err();
        let mut names = error.0.clone();
        names.sort();
        assert_eq!(names, ["a on g/0", "b on g/0", "c on g/0"]);
        let own = [("a", "r", vec![("a", "r")]), ("a", "r", vec![("a", "r")])];
        assert!(order(&own).is_err());
    }

    proptest! {
        #[test]
        fn every_constraint_is_met_and_unlock_reverses(
            jobs in 1..12_usize,
            edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..30),
        ) {
            let names: Vec<String> = (0..jobs).map(|job| job.to_string()).collect();
            let mut before = vec![Vec::new(); jobs];
            for (from, to) in edges {
                // Only from lower to higher: so there is an order.
                if from < to && to < jobs {
                    before[from].push(Constraint { job: names[to].clone(), release: String::new() });
                }
            }
            let list: Vec<_> = (0..jobs).map(|job| Lockable {
                job: &names[job], release: "", instance: "g/0", before: &before[job],
            }).collect();
            let order = LockOrder::new(&list).unwrap();
            let level_of = |job: usize| {
                order.levels().iter().position(|level| level.contains(&job)).unwrap()
            };
            let all: usize = order.levels().iter().map(Vec::len).sum();
            prop_assert_eq!(all, jobs);
            for (from, constraints) in before.iter().enumerate() {
                for constraint in constraints {
                    let to = constraint.job.parse::<usize>().unwrap();
                    prop_assert!(level_of(from) < level_of(to));
                    prop_assert!(order.lock_waits_for()[to].contains(&from));
                    prop_assert!(order.unlock_waits_for()[from].contains(&to));
                }
            }
        }

        #[test]
        fn a_circle_is_always_found(size in 1..8_usize, tail in 0..4_usize) {
            let names: Vec<String> = (0..size + tail).map(|job| job.to_string()).collect();
            let before: Vec<Vec<Constraint>> = (0..size + tail).map(|job| {
                let to = if job < size { (job + 1) % size } else { 0 };
                vec![Constraint { job: to.to_string(), release: String::new() }]
            }).collect();
            let list: Vec<_> = (0..size + tail).map(|job| Lockable {
                job: &names[job], release: "", instance: "g/0", before: &before[job],
            }).collect();
            prop_assert_eq!(LockOrder::new(&list).unwrap_err().0.len(), size);
        }
    }
}
