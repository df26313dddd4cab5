//! The order of locks (§6.5), by what really ran when.

use serde_json::{Map, Value, json};

use super::{Case, assert_before, says};

/// `job before others`: on how many instances, of which release, locked before which.
struct Job(
    &'static str,
    usize,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// A deployment with a group per job, in which every lock takes a moment.
fn case(jobs: &[Job]) -> Case {
    let groups: Vec<Value> = jobs
        .iter()
        .map(|Job(name, instances, release, before)| {
            let before: Vec<_> = before
                .iter()
                .map(|(job, release)| json!({"job_name": job, "release": release}))
                .collect();
            let job = json!({"release": release, "scripts": {
                "metadata": {"yaml": {"backup_should_be_locked_before": before}},
                "pre-backup-lock": {"sleep": 0.15},
                "backup": "true",
                "post-backup-unlock": {"sleep": 0.1},
            }});
            let name = (*name).split('/').next().unwrap();
            let mut jobs = Map::new();
            jobs.insert(name.to_owned(), job);
            json!({"name": format!("{name}-{release}"), "instances": instances, "jobs": jobs})
        })
        .collect();
    Case::groups(json!(groups))
}

#[track_caller]
fn assert_order(jobs: &[Job], pairs: &[(&str, &str)]) {
    let case = case(jobs);
    case.backup().ok();
    let lines = case.lines();
    for (first, then) in pairs {
        assert_before(
            &lines,
            &format!("{first} pre-backup-lock"),
            &format!("{then} pre-backup-lock"),
        );
        assert_before(
            &lines,
            &format!("{then} post-backup-unlock"),
            &format!("{first} post-backup-unlock"),
        );
    }
    assert_before(&lines, "pre-backup-lock", "backup");
    assert_before(&lines, "backup", "post-backup-unlock");
    case.foundation.assert_clean();
}

// rows 101
#[test]
fn a_job_is_locked_before_another_and_unlocked_after_it() {
    let case = Case::s2();
    for script in ["pre-backup-lock", "post-backup-unlock"] {
        case.script("g1/u1", "j1", script, json!({"sleep": 0.1}));
        case.script("g2/u2", "j2", script, json!({"sleep": 0.1}));
    }
    case.script(
        "g2/u2",
        "j2",
        "metadata",
        json!({"yaml": {"backup_should_be_locked_before": [{"job_name": "j1", "release": "r"}],
                        "restore_should_be_locked_before": []}}),
    );
    let log = case.backup().ok().log();
    says(&log, &["j2 is locked before r/j1"]);
    let lines = case.lines();
    assert_before(&lines, "j2 pre-backup-lock", "j1 pre-backup-lock");
    assert_before(&lines, "j1 post-backup-unlock", "j2 post-backup-unlock");
}

// rows 103, 104, 105
#[test]
fn chains_and_forks_are_kept() {
    assert_order(
        &[
            Job("a", 1, "r", &[("b", "r"), ("nothing", "r")]),
            Job("b", 1, "r", &[("c", "r")]),
            Job("c", 1, "r", &[]),
            Job("e", 1, "r", &[("f", "r"), ("g", "r")]),
            Job("f", 1, "r", &[]),
            Job("g", 1, "r", &[]),
            Job("free", 1, "r", &[]),
        ],
        &[("a", "b"), ("b", "c"), ("e", "f"), ("e", "g")],
    );
}

// rows 106, 107, 108
#[test]
fn every_instance_of_a_job_takes_part_in_its_order() {
    assert_order(
        &[
            Job("b", 3, "r", &[("c", "r")]),
            Job("c", 3, "r", &[]),
            Job("s", 1, "r", &[("t", "r1")]),
            Job("t/1", 1, "r1", &[("t", "r2")]),
            Job("u", 1, "r", &[("t", "r2")]),
            Job("t/2", 1, "r2", &[]),
        ],
        &[
            ("b", "c"),
            ("s", "t-r1/t-r1-0 t"),
            ("t-r1/t-r1-0 t", "t-r2/t-r2-0 t"),
            ("u", "t-r2/t-r2-0 t"),
        ],
    );
}

// rows 109, 110
#[test]
fn a_circle_is_refused_before_anything_runs() {
    let circles: [&[Job]; 3] = [
        &[
            Job("a", 1, "r", &[("c", "r")]),
            Job("b", 1, "r", &[("a", "r")]),
            Job("c", 1, "r", &[("b", "r")]),
        ],
        &[
            Job("a", 1, "r", &[("b", "r")]),
            Job("b", 1, "r", &[("a", "r")]),
        ],
        &[Job("self", 2, "r", &[("self", "r")])],
    ];
    for jobs in circles {
        let case = case(jobs);
        says(
            case.backup_fails().lines().last().unwrap(),
            &["to be locked before each other", "nothing was locked"],
        );
        says(&case.precheck_finds(), &["to be locked before each other"]);
        assert_eq!(case.started(), [""; 0]);
        case.assert_nothing_happened();
    }
}
