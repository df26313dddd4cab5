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
