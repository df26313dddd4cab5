//! A year of nights, by a clock that is set by hand: backups of a tree that changes, retention, a
//! store that is away for a month and one that is replaced, runs that fail, a worker's and a
//! recipient's key that change. In the end every backup that is kept restores exactly from each
//! store alone, and the stores hold what those backups need and nothing else.
//!
//! `LIFEBOAT_YEAR_DAYS` makes it shorter or longer.

mod places;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use simulation::{AWAY, Night, Simulation};

/// As long as CI can wait for it.
const NIGHTS: u32 = 365;

fn nights() -> u32 {
    std::env::var("LIFEBOAT_YEAR_DAYS")
        .ok()
        .and_then(|days| days.parse().ok())
        .unwrap_or(NIGHTS)
}

#[test]
fn a_year_of_backups_restores_and_leaves_nothing_behind() {
    let nights = nights();
    let mut year = Simulation::new();
    let mut seen = BTreeMap::<&str, u32>::new();
    let mut count = |what| *seen.entry(what).or_default() += 1;
    // Each change of the year at its part of it.
    let at = |thousandths: u32| nights * thousandths / 1000;
    let (gone, back) = (at(270), at(270) + nights / 12);
    for night in 0..nights {
        year.next_night();
        if night == gone {
            year.store(AWAY).away(true);
        }
        if night == back {
            year.store(AWAY).away(false);
            // It lists what it held a month ago, and some of that has been dropped since.
            let incomplete = year.replicate();
            assert!(incomplete.is_empty(), "night {night}: {incomplete:?}");
            count("came back");
        }
        if night == at(480) {
            year.new_worker();
            count("new worker");
        }
        if night == at(600) {
            let chains = year.new_recipient();
            assert!(
                nights < 60 || chains > 1,
                "{chains} chains were opened to the new key"
            );
            count("new recipient");
        }
        if night == at(750) {
            year.replace_store("dc2");
            let incomplete = year.replicate();
            assert!(incomplete.is_empty(), "night {night}: {incomplete:?}");
            count("replaced");
        }
        let kind = match night {
            n if n % 23 == 11 => Night::StoreFails,
            n if n % 37 == 20 => Night::TooManyFail,
            n if n % 41 == 30 => Night::Killed,
            n if n % 29 == 17 => Night::Fails,
            _ => Night::Good,
        };
        // With one store away and another that fails there is one too few.
        let is_away = (gone..back).contains(&night);
        let wanted = kind == Night::Good || (kind == Night::StoreFails && !is_away);
        assert_eq!(year.back_up(kind), wanted, "night {night}, {kind:?}");
        count(if wanted { "committed" } else { "failed" });
        if kind == Night::StoreFails && !is_away {
            let incomplete = year.replicate();
            assert!(incomplete.is_empty(), "night {night}: {incomplete:?}");
        }
        if night % 7 == 6 {
            if is_away {
                year.prune_refuses();
                count("prune refused");
            } else {
                year.prune();
                count("pruned");
            }
            year.newest_restores();
        }
    }
    for (what, least) in [("committed", nights * 8 / 10), ("failed", 1), ("pruned", 1)] {
        assert!(nights < 60 || seen[what] >= least, "{what}: {seen:?}");
    }
    // Within the grace there may be more; behind it there is nothing that nobody names.
    year.prune();
    let incomplete = year.replicate();
    assert!(incomplete.is_empty(), "{incomplete:?}");
    year.pass(year.grace() + Duration::from_secs(2 * 86_400));
    year.prune();
    let kept = year.kept();
    assert!(
        nights < NIGHTS || (20..60).contains(&kept.len()),
        "{}",
        kept.len()
    );
    for name in year.names() {
        assert_eq!(year.listed_by(name), kept, "store {name}");
        let needed = year.needed_by(name, &kept);
        let held: BTreeSet<String> = year.held_by(name);
        let missing: Vec<_> = needed.difference(&held).collect();
        assert!(missing.is_empty(), "store {name} lacks {missing:?}");
        let surplus: Vec<_> = held.difference(&needed).collect();
        assert!(
            surplus.is_empty(),
            "store {name} holds what nobody needs: {surplus:?}"
        );
        for id in &kept {
            year.restores_from(name, id);
        }
    }
}
