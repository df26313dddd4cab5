use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(text: &str) -> SystemTime {
    clock::parse_compact(text).unwrap()
}

fn candidate(time: SystemTime, components: &[&str]) -> Candidate {
    Candidate {
        id: BackupId::new(time, None, [7; 4]),
        components: components.iter().map(|&name| name.to_owned()).collect(),
        believed: true,
        copies: true,
        holds: Vec::new(),
    }
}

/// Nightly director and TAS by two puts, for 400 days, and a deployment that was deleted.
fn history() -> (Vec<Candidate>, SystemTime) {
    let first = at("20251018T010000Z");
    let mut backups = Vec::new();
    for day in 0..400 {
        let night = first + Duration::from_secs(day * DAY);
        backups.push(candidate(night, &["director"]));
        backups.push(candidate(night + Duration::from_secs(1800), &["tas"]));
        if day < 10 {
            let later = night + Duration::from_secs(7200);
            backups.push(candidate(later, &["deployment/gone"]));
        }
    }
    (backups, at("20261122T120000Z"))
}

fn shown(decisions: &[Decision], only_kept: bool) -> String {
    let mut text = String::new();
    for decision in decisions.iter().filter(|d| d.keep || !only_kept) {
        let verb = if decision.keep { "keep" } else { "drop" };
        let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        writeln!(text, "{verb} {} {}", decision.id, reasons.join(" | ")).unwrap();
    }
    text
}

/// `golden.txt` was written by this test and read by a person; a change of it is to be read again.
#[test]
fn policies_keep_what_the_golden_file_says() {
    let (backups, now) = history();
    let last = |last| Policy {
        last,
        ..Policy::default()
    };
    let periods = |periods| Policy {
        periods,
        ..Policy::default()
    };
    let within = |days| Policy {
        within: Some(Duration::from_secs(days * DAY)),
        ..Policy::default()
    };
    let mut text = String::new();
    for (name, policy) in [
        ("last 3", last(3)),
        (
            "minimum 2, last 1",
            Policy {
                minimum: 2,
                ..last(1)
            },
        ),
        ("within 2 days", within(2)),
        ("hourly 2", periods([2, 0, 0, 0, 0])),
        (
            "daily 7, weekly 4, monthly 12, yearly 3",
            periods([0, 7, 4, 12, 3]),
        ),
        ("weekly 3, yearly 1", periods([0, 0, 3, 0, 1])),
    ] {
        writeln!(text, "# {name}").unwrap();
        text += &shown(&decide(&backups, &policy, now), true);
    }
    writeln!(
        text,
        "# the last week of daily 2, weekly 2, monthly 2, kept and dropped"
    )
    .unwrap();
    let newest = &backups[backups.len() - 14..];
    text += &shown(&decide(newest, &periods([0, 2, 2, 2, 0]), now), false);
    if text != include_str!("golden.txt") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/golden.txt");
        std::fs::write(path, &text).unwrap();
        panic!("the decisions differ from src/repo/retention/golden.txt; see {path}");
    }
}

#[test]
fn two_components_in_two_puts_do_not_push_each_other_out() {
    let (backups, now) = history();
    let policy = Policy {
        last: 7,
        ..Policy::default()
    };
    let kept = decide(&backups, &policy, now);
    let kept = kept.iter().filter(|d| d.keep).count();
    assert_eq!(kept, 7 + 7 + 7);
}

#[test]
fn a_backup_goes_only_with_all_its_components() {
    let now = at("20261122T120000Z");
    let old = candidate(now - Duration::from_secs(9 * DAY), &["director", "tas"]);
    let new = candidate(now - Duration::from_secs(DAY), &["director"]);
    let policy = Policy {
        last: 1,
        ..Policy::default()
    };
    let decisions = decide(&[old.clone(), new], &policy, now);
    assert!(decisions[0].keep && decisions[1].keep);
    let newer = candidate(now, &["tas"]);
    let decisions = decide(&[old, newer], &policy, now);
    assert!(decisions[0].keep, "director has no other");
}

#[test]
fn what_is_held_forged_or_of_tomorrow_stays_and_forged_pushes_nothing_out() {
    let now = at("20261122T120000Z");
    let days = |days: u64| now - Duration::from_secs(days * DAY);
    let mut held = candidate(days(9), &["tas"]);
    held.holds = vec!["audit 7".to_owned()];
    let good = candidate(days(8), &["tas"]);
    let mut backups = vec![held, good];
    for hour in 1..8 {
        let mut forged = candidate(days(7) + Duration::from_secs(hour * HOUR), &["tas"]);
        forged.believed = false;
        backups.push(forged);
    }
    backups.push(candidate(now + Duration::from_secs(DAY), &["tas"]));
    let policy = Policy {
        last: 1,
        ..Policy::default()
    };
    let decisions = decide(&backups, &policy, now);
    assert!(
        decisions.iter().all(|d| d.keep),
        "{}",
        shown(&decisions, false)
    );
    assert_eq!(decisions[0].reasons[0].to_string(), "held: audit 7");
    assert_eq!(
        decisions[1].reasons[0].to_string(),
        "tas: keep_last (1 of 1)"
    );
}

#[test]
fn a_backup_with_too_few_copies_does_not_push_out_the_last_whole_one() {
    let now = at("20261122T120000Z");
    let whole = candidate(now - Duration::from_secs(2 * DAY), &["tas"]);
    let mut short = candidate(now - Duration::from_secs(DAY), &["tas"]);
    short.copies = false;
    let policy = Policy {
        last: 1,
        ..Policy::default()
    };
    let decisions = decide(&[whole, short], &policy, now);
    assert!(
        decisions.iter().all(|d| d.keep),
        "{}",
        shown(&decisions, false)
    );
    assert_eq!(decisions[0].reasons[0].to_string(), "tas: keep_minimum (1)");
}

#[test]
fn a_policy_that_keeps_nothing_is_empty() {
    assert!(
        Policy {
            minimum: 5,
            ..Policy::default()
        }
        .is_empty()
    );
    let zero = Policy {
        within: Some(Duration::ZERO),
        ..Policy::default()
    };
    assert!(zero.is_empty());
    assert!(
        !Policy {
            periods: [0, 0, 0, 0, 1],
            ..Policy::default()
        }
        .is_empty()
    );
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (
        0..3_000_u64,
        1..8_u8,
        any::<bool>(),
        any::<bool>(),
        0..20_u8,
    );
    prop::collection::vec(one, 0..40).prop_map(|drawn| {
        let mut backups = Vec::new();
        for (number, (hours, bits, believed, copies, held)) in drawn.into_iter().enumerate() {
            let time = at("20260101T000000Z") + Duration::from_secs(hours * HOUR);
            let names = ["director", "tas", "deployment/x"];
            let held_by = (held == 0).then(|| "why".to_owned());
            let named = (0..3)
                .filter(|bit| bits >> bit & 1 == 1)
                .map(|bit| names[bit]);
            let random = u32::try_from(number).unwrap().to_be_bytes();
            backups.push(Candidate {
                id: BackupId::new(time, None, random),
                believed,
                copies,
                holds: held_by.into_iter().collect(),
                ..candidate(time, &named.collect::<Vec<_>>())
            });
        }
        backups
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let periods = [0..5_u64, 0..5, 0..5, 0..5, 0..5];
    let within = prop::option::of((0..40_u64).prop_map(|days| Duration::from_secs(days * DAY)));
    (0..5_u64, within, periods, 0..4_u64).prop_map(|(last, within, periods, minimum)| Policy {
        last,
        within,
        periods,
        minimum,
    })
}

fn longer(one: &Policy, more: &Policy) -> Policy {
    Policy {
        last: one.last + more.last,
        within: match (one.within, more.within) {
            (Some(one), Some(more)) => Some(one + more),
            (one, more) => one.or(more),
        },
        periods: std::array::from_fn(|at| one.periods[at] + more.periods[at]),
        minimum: one.minimum.max(1) + more.minimum,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_longer_policy_never_drops_more(
        backups in candidates(), one in policy(), more in policy(), hours in 0..3_000_u64,
    ) {
        let now = at("20260101T000000Z") + Duration::from_secs(hours * HOUR);
        let short = decide(&backups, &one, now);
        let long = decide(&backups, &longer(&one, &more), now);
        for (short, long) in short.iter().zip(&long) {
            prop_assert!(long.keep || !short.keep, "{} {:?}", long.id, long.reasons);
        }
    }

    #[test]
    fn the_newest_of_each_component_and_the_minimum_stay_and_all_have_reasons(
        backups in candidates(), policy in policy(), hours in 0..3_000_u64,
    ) {
        let now = at("20260101T000000Z") + Duration::from_secs(hours * HOUR);
        let decisions = decide(&backups, &policy, now);
        prop_assert_eq!(decisions.len(), backups.len());
        prop_assert!(decisions.iter().all(|d| !d.reasons.is_empty()));
        let keeps = |id: &BackupId| decisions.iter().any(|d| d.id == *id && d.keep);
        for backup in &backups {
            if !backup.believed || backup.id.time() > now || !backup.holds.is_empty() {
                prop_assert!(keeps(&backup.id));
            }
        }
        for component in ["director", "tas", "deployment/x"] {
            for copies in [false, true] {
                let mut holders: Vec<&BackupId> = backups
                    .iter()
                    .filter(|b| b.believed && b.id.time() <= now && (b.copies || !copies))
                    .filter(|b| b.components.contains(component))
                    .map(|b| &b.id)
                    .collect();
                holders.sort();
                let minimum = usize::try_from(policy.minimum.max(1)).unwrap();
                prop_assert!(holders.iter().rev().take(minimum).all(|id| keeps(id)));
            }
        }
    }
}
