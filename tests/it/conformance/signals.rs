//! Signals (§6.11): ours ask nothing; they stop, unlock, clean and say so.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Case, assert_before, says, signal};
use crate::support::process;

// rows 192, 193, 194, 196
#[test]
fn a_signal_during_a_script_unlocks_cleans_and_says_so() {
    for name in ["INT", "TERM"] {
        let case = Case::s1();
        case.of_j("pre-backup-lock", json!("true"));
        case.of_j("post-backup-unlock", json!("true"));
        case.of_j("backup", json!({"sleep": 60}));
        let child = case.start_backup();
        case.wait_for("backup", "start");
        let begin = Instant::now();
        signal(&child, name);
        let ended = process::finish(child).fails(1);
        assert!(begin.elapsed() < Duration::from_secs(10));
        assert_eq!(ended.stdout, "", "no question, no version");
        says(
            &ended.last_line(),
            &["no backup was committed", "every instance is unlocked"],
        );
        assert_eq!(case.told_unlock("g/u0 j post-backup-unlock"), "false");
        assert_before(&case.lines(), "pre-backup-lock", "post-backup-unlock");
        case.assert_nothing_happened();
    }
}

// rows 197
#[test]
fn a_signal_during_a_check_ends_it_without_leftovers() {
    let case = Case::s1();
    case.of_j("metadata", json!({"sleep": 30}));
    let child = process::start(case.lifeboat_command("pre-backup-check"), "");
    case.wait_for("metadata", "start");
    signal(&child, "INT");
    let ended = process::finish(child).fails(1);
    says(&ended.last_line(), &["signal"]);
    case.foundation.assert_clean();
}
