//! Each threshold, crossed and not.

use serde_json::{Value, json};

use super::history::History;
use lifeboat::repo::proof::Level;

/// Fourteen good nights, everything proved yesterday.
fn well() -> History {
    let history = History::new();
    for ago in (0..14).rev() {
        let mut manifest = history.manifest(ago);
        for facts in manifest
            .components
            .iter_mut()
            .flat_map(|one| &mut one.facts)
        {
            facts.ends = vec!["2126-01-01T00:00:00Z".to_owned()];
            facts.first_end = facts.ends.first().cloned();
        }
        history.store(&manifest, &["one", "two"]);
    }
    history.store_proof(&history.proof(1, Level::Contents, true));
    history.store_proof(&history.drill(1, true));
    history
}

/// What is said with these alerts in the configuration: the exit code and each sentence.
fn said(history: &mut History, alerts: Value) -> (i32, Vec<String>) {
    history.depot.source["alerts"] = alerts;
    let ended = history.depot.cli(&["alerts"]);
    (
        ended.code,
        ended.stdout.lines().map(str::to_owned).collect(),
    )
}

#[track_caller]
fn crossed(history: &mut History, alerts: Value, words: &[&str]) {
    let (code, sentences) = said(history, alerts);
    assert_eq!((code, sentences.len()), (3, 1), "{sentences:?}");
    for word in words {
        assert!(sentences[0].contains(word), "`{word}`: {}", sentences[0]);
    }
}

#[test]
fn all_is_well_in_one_line() {
    let mut history = well();
    let (code, lines) = said(&mut history, json!({}));
    assert_eq!((code, lines.len()), (0, 1), "{lines:?}");
    assert!(
        lines[0].starts_with("All is well with the backups of prod-east"),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("tas 3 h") && lines[0].contains("drilled"),
        "{lines:?}"
    );
    let told = history.depot.cli(&["alerts", "--json"]).ok().json();
    assert_eq!((&told["good"], &told["alerts"]), (&json!(true), &json!([])));
}

#[test]
fn each_threshold_says_what_is_and_what_to_do() {
    let mut history = well();
    crossed(
        &mut history,
        json!({"max_age": {"tas": "2h"}}),
        &["of tas", "more than 2 h", "take one now"],
    );
    crossed(
        &mut history,
        json!({"max_age": {"deployment/redis": "26h"}}),
        &[
            "no complete backup of deployment/redis",
            "name it in `backup`",
        ],
    );
    crossed(
        &mut history,
        json!({"max_proof_age": {"contents": "12h"}}),
        &[
            "The level contents was last passed",
            "lifeboat verify --level contents",
        ],
    );
    crossed(
        &mut history,
        json!({"max_proof_age": {"restorable": "35d"}}),
        &[
            "restorable was never passed",
            "lifeboat verify --level restorable",
        ],
    );
    crossed(
        &mut history,
        json!({"certificates": "40000d"}),
        &["first of 4 certificates", "2126-01-01", "rotate it"],
    );
    history.depot.add_store("three");
    crossed(
        &mut history,
        json!({}),
        &[
            "in 2 of the 3 stores",
            "three lacks 14 backups",
            "lifeboat replicate",
        ],
    );
    assert_eq!(said(&mut history, json!({"min_copies": 2})).0, 0);
}

#[test]
fn downtime_that_doubles_is_told_and_a_few_seconds_are_not() {
    let mut history = well();
    let slow = |factor: u64, component: usize| {
        let mut manifest = history.manifest(0);
        for facts in manifest
            .components
            .iter_mut()
            .flat_map(|one| &mut one.facts)
        {
            facts.ends.clear();
        }
        for phase in &mut manifest.components[component].phases {
            phase.ms *= factor;
        }
        history.store(&manifest, &["one", "two"]);
    };
    slow(3, 2);
    crossed(
        &mut history,
        json!({}),
        &[
            "The API of tas was away",
            "usually",
            "most of it came with unlock",
        ],
    );
    assert_eq!(said(&mut history, json!({"downtime_growth": 4})).0, 0);
    assert_eq!(said(&mut history, json!({"downtime_growth": 0})).0, 0);
    assert_eq!(said(&mut history, json!({"downtime_growth": "2.5"})).0, 3);
}

/// A part that failed stands until that part, or all, was looked at again.
#[test]
fn a_failed_proof_stands_until_it_is_made_good() {
    let mut history = well();
    let part = |ago, part: &str, passed| {
        let mut proof = history.proof(ago, Level::Contents, passed);
        proof.scope.part = Some(part.to_owned());
        history.store_proof(&proof);
    };
    part(0, "2/30", false);
    crossed(
        &mut history,
        json!({}),
        &["level contents failed", "another digest"],
    );
    let history = well();
    let part = |ago, part: &str, passed| {
        let mut proof = history.proof(ago, Level::Contents, passed);
        proof.scope.part = Some(part.to_owned());
        history.store_proof(&proof);
    };
    part(5, "2/30", false);
    // The whole of yesterday's backup passed since.
    let mut history = history;
    assert_eq!(said(&mut history, json!({})).0, 0);
}

#[test]
fn thresholds_that_mean_nothing_are_refused_by_name() {
    let mut history = History::new();
    for (alerts, words) in [
        (json!({"max_age": {"tass": "26h"}}), "source.alerts.max_age"),
        (json!({"max_age": 26}), "alerts.max_age"),
        (json!({"max_age": {"tas": "often"}}), "alerts.max_age"),
        (
            json!({"max_proof_age": {"proved": "1d"}}),
            "alerts.max_proof_age",
        ),
        (
            json!({"min_copies": 3}),
            "alerts.min_copies: is more than there are stores (2)",
        ),
        (
            json!({"downtime_growth": 0.5}),
            "alerts.downtime_growth: must be more than 1",
        ),
        (json!({"certificates": "soon"}), "alerts.certificates"),
        (json!({"max_ages": "1d"}), "max_age"),
    ] {
        history.depot.source["alerts"] = alerts.clone();
        let ended = history.depot.cli(&["alerts"]).fails(1);
        let words = words.trim_start_matches("source.");
        assert!(
            ended.last_line().contains(words),
            "{alerts}: {}",
            ended.last_line()
        );
    }
}
