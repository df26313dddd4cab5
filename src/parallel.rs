//! The same work on many things, several at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// Does `work` with each item, begun in order, by at most `limit` threads. Outcomes stand in the
/// order in which they came, so that a first error is the first cause, each with its item's
/// place. Once `stop` says so of an outcome, no further item is begun.
pub fn each<T: Send, R: Send>(
    limit: usize,
    items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
    stop: impl Fn(&R) -> bool + Sync,
    work: impl Fn(T) -> R + Sync,
) -> Vec<(usize, R)> {
    let items = items.into_iter();
    let threads = limit.clamp(1, items.len().max(1));
    let waiting = Mutex::new(items.enumerate());
    let stopped = AtomicBool::new(false);
    let (sender, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, waiting, stopped) = (sender.clone(), &waiting, &stopped);
            let (stop, work) = (&stop, &work);
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let next = waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .next();
                    let Some((place, item)) = next else { return };
                    let outcome = work(item);
                    if stop(&outcome) {
                        stopped.store(true, Ordering::Relaxed);
                    }
                    // The receiver lives longer than every sender.
                    drop(sender.send((place, outcome)));
                }
            });
        }
        drop(sender);
    });
    outcomes.into_iter().collect()
}

/// The same with all items, whatever comes of them; outcomes in the order of the items.
pub fn all<T: Send, R: Send>(
    limit: usize,
    items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    in_order(each(limit, items, |_| false, work))
}

/// Outcomes of [`each`] in the order of their items.
pub fn in_order<R>(mut outcomes: Vec<(usize, R)>) -> Vec<R> {
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn items_are_worked_on_side_by_side_and_none_is_forgotten() {
        let together = Barrier::new(3);
        let work = |item: usize| {
            together.wait();
            item * 10
        };
        assert_eq!(all(3, 1..7, work), [10, 20, 30, 40, 50, 60]);
        assert!(all(0, Vec::<i32>::new(), |item| item).is_empty());
    }

    #[test]
    fn no_more_than_the_limit_at_a_time() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        all(4, 0..20, |_| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(std::time::Duration::from_millis(5));
            running.fetch_sub(1, Ordering::SeqCst);
        });
        assert!(most.into_inner() <= 4);
    }

    #[test]
    fn nothing_is_begun_after_a_stop() {
        let outcomes = each(1, [1, 2, 3], |outcome| *outcome == 2, |item| item);
        assert_eq!(outcomes, [(0, 1), (1, 2)]);
    }

    #[test]
    fn outcomes_come_as_they_end_and_know_their_items() {
        let (ended, end) = mpsc::sync_channel(1);
        let end = Mutex::new(end);
        let outcomes = each(
            2,
            ["slow", "quick"],
            |_| false,
            |item| {
                match item {
                    "quick" => ended.send(()).unwrap(),
                    _ => end.lock().unwrap().recv().unwrap(),
                }
                item
            },
        );
        assert_eq!(in_order(outcomes), ["slow", "quick"]);
    }
}
