//! Runs steps side by side: a step starts when those it waits for have ended, when fewer than
//! the limit run, and when its host has a place free.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::shutdown::{LOOK, Shutdown};

/// Steps that wait, run or have ended.
#[derive(Debug)]
pub(super) struct Board {
    hosts: Vec<usize>,
    waits_for: Vec<Vec<usize>>,
    per_host: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    steps: Vec<Step>,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Waiting,
    Running,
    Ended,
}

impl Board {
    /// One step per host named; `waits_for[i]` are the steps that end before step `i` starts.
    pub(super) fn new(hosts: Vec<usize>, waits_for: Vec<Vec<usize>>, per_host: usize) -> Self {
        let steps = vec![Step::Waiting; hosts.len()];
        Self {
            hosts,
            waits_for,
            per_host: per_host.max(1),
            state: Mutex::new(State {
                steps,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Steps that wait for nothing.
    pub(super) fn free(hosts: Vec<usize>, per_host: usize) -> Self {
        let waits_for = vec![Vec::new(); hosts.len()];
        Self::new(hosts, waits_for, per_host)
    }

    /// Starts nothing more; returns what was not started.
    pub(super) fn close(&self) -> Vec<usize> {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        (0..self.hosts.len())
            .filter(|step| state.steps[*step] == Step::Waiting)
            .collect()
    }

    /// Runs the steps; `None` for those that were never started, because the board was
    /// closed or the flag raised. Returns when all that were started have ended.
    pub(super) fn run<T: Send>(
        &self,
        width: usize,
        shutdown: &Shutdown,
        step: impl Fn(usize) -> T + Sync,
    ) -> Vec<Option<T>> {
        let results: Mutex<Vec<Option<T>>> =
            Mutex::new((0..self.hosts.len()).map(|_| None).collect());
        std::thread::scope(|scope| {
            for _ in 0..width.clamp(1, self.hosts.len().max(1)) {
                scope.spawn(|| {
                    while let Some(next) = self.next(shutdown) {
                        // A step that panics must not leave the others waiting for its end.
                        let ending = Ending(self, next);
                        let result = step(next);
                        results.lock().unwrap_or_else(PoisonError::into_inner)[next] = Some(result);
                        drop(ending);
                    }
                });
            }
        });
        results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next step to run, once there is one; `None` when nothing more will start.
    fn next(&self, shutdown: &Shutdown) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if shutdown.is_raised() {
                state.closed = true;
                self.changed.notify_all();
            }
            if state.closed || !state.steps.contains(&Step::Waiting) {
                return None;
            }
            let ready = (0..self.hosts.len()).find(|step| self.is_ready(*step, &state.steps));
            if let Some(step) = ready {
                state.steps[step] = Step::Running;
                return Some(step);
            }
            state = self
                .changed
                .wait_timeout(state, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn is_ready(&self, step: usize, steps: &[Step]) -> bool {
        let on_host = || {
            (0..self.hosts.len())
                .filter(|other| {
                    steps[*other] == Step::Running && self.hosts[*other] == self.hosts[step]
                })
                .count()
        };
        steps[step] == Step::Waiting
            && self.waits_for[step]
                .iter()
                .all(|earlier| steps[*earlier] == Step::Ended)
            && on_host() < self.per_host
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ending<'a>(&'a Board, usize);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.lock().steps[self.1] = Step::Ended;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_more_starts_once_the_board_is_closed() {
        let board = Board::free(vec![0; 5], 5);
        let results = board.run(1, &Shutdown::never(), |step| {
            if step == 1 {
                assert_eq!(board.close(), [2, 3, 4]);
            }
            step
        });
        assert_eq!(results, [Some(0), Some(1), None, None, None]);
    }

    #[test]
    fn a_raised_flag_starts_nothing() {
        let flag = Shutdown::new();
        flag.raise();
        let board = Board::free(vec![0; 3], 5);
        assert_eq!(board.run(3, &flag, |step| step), [None, None, None]);
    }

    #[test]
    fn a_host_is_not_asked_for_more_than_it_may() {
        let running = AtomicUsize::new(0);
        let board = Board::free(vec![7; 12], 3);
        board.run(12, &Shutdown::never(), |_| {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
            std::thread::sleep(Duration::from_millis(5));
            running.fetch_sub(1, Ordering::SeqCst);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn steps_start_after_those_they_wait_for(
            count in 1..15_usize,
            edges in prop::collection::vec((0..15_usize, 0..15_usize), 0..40),
            width in 1..5_usize,
        ) {
            let mut waits_for = vec![Vec::new(); count];
            for (first, second) in edges {
                if first < second && second < count {
                    waits_for[second].push(first);
                }
            }
            let board = Board::new((0..count).map(|step| step % 3).collect(), waits_for.clone(), 2);
            let ended = Mutex::new(Vec::new());
            let results = board.run(width, &Shutdown::never(), |step| {
                let seen = ended.lock().unwrap().clone();
                ended.lock().unwrap().push(step);
                seen
            });
            for (step, seen) in results.into_iter().enumerate() {
                let seen = seen.unwrap();
                prop_assert!(waits_for[step].iter().all(|earlier| seen.contains(earlier)));
            }
        }
    }
}
