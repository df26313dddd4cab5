//! The same work on many things, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Runs `work` on each item with at most `limit` threads; outcomes in the order in which they
/// came, so that a first error is the first cause. Once `stop` says so for an outcome, no
/// further item is begun.
pub(super) fn each<'i, T: Sync, R: Send>(
    limit: usize,
    items: &'i [T],
    stop: impl Fn(&R) -> bool + Sync,
    work: impl Fn(&'i T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (sender, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..limit.clamp(1, items.len().max(1)) {
            let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = work(item);
                    if stop(&outcome) {
                        next.fetch_max(items.len(), Ordering::Relaxed);
                    }
                    // The receiver lives longer than every sender.
                    drop(sender.send(outcome));
                }
            });
        }
        drop(sender);
    });
    outcomes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn items_are_worked_on_side_by_side_and_none_is_forgotten() {
        let all = Barrier::new(3);
        let work = |item: &usize| {
            all.wait();
            *item
        };
        let mut outcomes = each(3, &[1, 2, 3, 4, 5, 6], |_| false, work);
        outcomes.sort_unstable();
        assert_eq!(outcomes, [1, 2, 3, 4, 5, 6]);
        assert!(each(0, &[0; 0], |_| false, |item: &i32| *item).is_empty());
    }

    #[test]
    fn nothing_is_begun_after_a_stop() {
        let outcomes = each(1, &[1, 2, 3], |outcome| *outcome == 2, |item: &i32| *item);
        assert_eq!(outcomes, [1, 2]);
    }
}
