//! `lifeboat report` and `lifeboat alerts`, by the shipped program, over repositories with a past.

mod browser;
mod history;
mod thresholds;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use history::{History, foundation};
use lifeboat::repo::proof::Level;
use serde_json::{Value, json};

use crate::support::depot::Depot;
use crate::support::process::Ended;

const HOSTILE: &str =
    "<script>alert(1)</script> \"'>& \u{1b}[31m {{ page }} {% if %} ünïcødé 軸 ` `lifeboat x`";

fn report(depot: &Depot) -> Value {
    let ended = depot.cli(&["report", "--json", "-"]).ok();
    serde_json::from_str(&ended.stdout).unwrap()
}

fn page(depot: &Depot) -> String {
    depot.cli(&["report", "--html", "-"]).ok().stdout
}

fn metrics(depot: &Depot) -> String {
    depot.cli(&["report", "--metrics", "-"]).ok().stdout
}

fn names(overview: &Value) -> Vec<&str> {
    let alerts = overview["alerts"].as_array().unwrap();
    alerts
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect()
}

fn of_name<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let mut all = list.as_array().unwrap().iter();
    all.find(|one| one[key] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[test]
fn sixty_nights_are_told_as_they_were() {
    let mut history = History::new();
    history.sixty_nights();
    history.depot.source["retention"] = json!({"keep_daily": 30});
    let seen = report(&history.depot);
    assert_eq!(
        names(&seen),
        [
            "proof_failed",
            "unreadable",
            "downtime_growth",
            "certificates"
        ],
        "{:#}",
        seen["alerts"]
    );
    assert_eq!(seen["good"], false);
    let tas = of_name(&seen["components"], "name", "tas");
    // Begun 2,100 s before the commit, which was three hours ago.
    let age = tas["age_s"].as_u64().unwrap();
    assert!((12_900..13_200).contains(&age), "{tas}");
    assert_eq!(
        (tas["copies"].as_u64(), &tas["late"]),
        (Some(2), &json!(false))
    );
    assert_eq!(seen["window"]["listed"], 57);
    assert_eq!(seen["window"]["read"], 56);
    let days = seen["days"].as_array().unwrap();
    let without = days.iter().filter(|day| day["backups"] == 0);
    assert!((3..=4).contains(&without.count()), "{days:?}");
    let few: Vec<_> = days.iter().filter(|day| day["copies"] == 1).collect();
    assert_eq!(few.len(), 1, "{few:?}");
    assert_eq!(seen["stores"][1]["missing"], 1);
    let contents = of_name(&seen["proofs"], "level", "contents");
    assert_eq!(contents["last"]["passed"], true);
    assert_eq!(contents["failed"]["backup"], history.id(41).as_str());
    let drills = seen["drills"].as_array().unwrap();
    let passed: Vec<_> = drills
        .iter()
        .map(|one| one["passed"].as_bool().unwrap())
        .collect();
    // Of the fourth, eighteen nights ago, there was no backup.
    assert_eq!(passed, [true, false, true]);
    assert_eq!(drills[0]["rto_ms"], history.drill(4, true).rto_ms.unwrap());
    let away = of_name(&seen["downtime"], "component", "tas");
    let growth = away["growth"].as_f64().unwrap();
    assert!((2.0..4.0).contains(&growth), "{growth}");
    assert_eq!(away["compared"], 30);
    let (api, app) = (&away["seen"][0], &away["seen"][1]);
    assert_eq!((&api["probe"], &app["down_ms"]), (&json!("api"), &json!(0)));
    assert!(
        api["down_ms"].as_u64() < away["newest"]["down_ms"].as_u64(),
        "{api}"
    );
    assert_eq!(seen["change"]["suggested_s"], 24 * 3600);
    assert_eq!(seen["coverage"]["classes"]["uncovered"], 1);
    assert_eq!(seen["certificates"]["soon"], 1);
    let retention = &seen["retention"];
    assert_eq!(
        retention["kept"].as_u64().unwrap()
            + retention["drops"].as_array().unwrap().len() as u64
            + retention["more"].as_u64().unwrap(),
        56
    );
    assert_eq!(retention["drops"][0]["backup"], history.id(59).as_str());
    let page = page(&history.depot);
    assert!(page.contains("one VM of each kind and one app: a floor"));
    let text = history.depot.cli(&["report"]).ok().stdout;
    for words in [
        "what would be lost now",
        "whole (RTO)",
        "median of 30",
        "api from outside",
        "keep_daily 30",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// How soon a drill fails is no recovery time: the newest that passed says how long a restore takes.
#[test]
fn a_drill_that_failed_tells_no_recovery_time() {
    let history = History::new();
    for ago in [4, 3, 0] {
        history.store(&history.manifest(ago), &["one", "two"]);
    }
    let mut failed = history.drill(3, false);
    // As releases before this one stored it.
    failed.rto_ms = Some(180_000);
    history.store_proof(&failed);
    let seen = report(&history.depot);
    assert_eq!(seen["drills"][0]["rto_ms"], Value::Null, "{seen:#}");
    assert!(!metrics(&history.depot).contains("lifeboat_drill_rto"));
    let shown = page(&history.depot);
    assert!(!shown.contains("The foundation was back"), "{shown}");
    assert!(shown.contains("no drill has measured yet"), "{shown}");

    let passed = history.drill(4, true);
    history.store_proof(&passed);
    let rto = passed.rto_ms.unwrap();
    let spoken = lifeboat::clock::spoken(Duration::from_millis(rto));
    let read = metrics_are_read(&metrics(&history.depot));
    let line = read
        .lines()
        .find(|line| line.contains("drill_rto"))
        .unwrap();
    assert!(line.contains(&format!("{}.", rto / 1000)), "{line}");
    // It ended at its last step; how soon says nothing of what that takes.
    let last = &failed.steps.last().unwrap().name;
    let of_steps = read.lines().filter(|line| line.contains("drill_step"));
    assert_eq!(of_steps.count(), failed.steps.len() - 1, "{read}");
    assert!(!read.contains(&format!("'step': '{last}'")), "{read}");
    let shown = page(&history.depot);
    assert!(!shown.contains("The foundation was back"), "{shown}");
    let words = format!("took <strong>{spoken}</strong>");
    assert!(shown.contains(&words), "{words}: {shown}");
    assert!(shown.contains("the newest drill failed"), "{shown}");
    let text = history.depot.cli(&["report"]).ok().stdout;
    let line = |words: &str| {
        let mut lines = text.lines();
        lines.find(|line| line.contains(words)).unwrap().to_owned()
    };
    assert!(!line("whole (RTO)").contains("min"), "{text}");
    assert!(line("measured last (RTO)").contains(&spoken), "{text}");
    // However often it fails: the one that passed is told.
    for second in 1..=21 {
        let mut again = history.drill(0, false);
        let ended = history.now - Duration::from_secs(60 - second);
        again.finished = lifeboat::clock::rfc3339(ended);
        history.store_proof(&again);
    }
    let seen = report(&history.depot);
    let drills = seen["drills"].as_array().unwrap();
    assert_eq!(drills.len(), 21);
    assert_eq!(drills[20]["rto_ms"], rto);
}

/// The page says what a prune would do; the prune itself must agree.
#[test]
fn what_the_page_says_of_retention_is_what_prune_plans() {
    let mut history = History::new();
    for ago in (0..40).rev() {
        history.store(&history.manifest(ago), &["one", "two"]);
    }
    history.depot.source["retention"] = json!({"keep_last": 3, "keep_weekly": 4});
    let planned = history.depot.cli(&["prune", "--dry-run", "--json"]);
    let planned = serde_json::from_str::<Value>(&planned.stdout).unwrap();
    let drops: Vec<&Value> = planned["backups"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["keep"] == false)
        .map(|one| &one["id"])
        .collect();
    let seen = report(&history.depot);
    let said = seen["retention"]["drops"].as_array().unwrap();
    let said: Vec<&Value> = said.iter().map(|one| &one["backup"]).collect();
    assert_eq!(said[..], drops[..said.len()]);
    assert_eq!(
        drops.len() as u64,
        said.len() as u64 + seen["retention"]["more"].as_u64().unwrap()
    );
    // Nothing to drop: what goes next, when more backups come.
    history.depot.source["retention"] = json!({"keep_last": 42});
    let next = &report(&history.depot)["retention"]["next"];
    assert_eq!(next["after_backups"], 3);
    assert_eq!(next["backups"], json!([history.id(39)]));
}

#[test]
fn nothing_yet_one_backup_and_far_too_many_are_told_alike() {
    let empty = History::new();
    let ended = empty.depot.cli(&["alerts"]).fails(3);
    assert!(
        ended.stdout.starts_with("There is no backup at all"),
        "{}",
        ended.stdout
    );
    let seen = report(&empty.depot);
    assert_eq!(names(&seen), ["max_age", "max_proof_age", "max_proof_age"]);
    assert!(page(&empty.depot).contains("There is no backup."));

    let one = History::new();
    one.store(&one.manifest(0), &["one", "two"]);
    let seen = report(&one.depot);
    assert_eq!(
        seen["days"].as_array().unwrap().len(),
        1 + usize::from(days_apart(&one))
    );
    assert_eq!(seen["change"], Value::Null);
    assert!(page(&one.depot).contains("</html>"));

    let many = History::new();
    for ago in 0..5000 {
        many.store(&many.manifest(ago), &["one", "two"]);
    }
    let begun = Instant::now();
    let seen = report(&many.depot);
    // A manifest more than 400 days old is not read.
    assert_eq!(seen["window"]["listed"], 5000);
    assert_eq!(seen["window"]["read"], 400);
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    let page = page(&many.depot);
    assert!(page.len() < 1 << 20, "{}", page.len());
    metrics_are_read(&metrics(&many.depot));
}

/// Whether the newest night was yesterday's, by UTC.
fn days_apart(history: &History) -> bool {
    let day = |time| lifeboat::clock::calendar(time).day;
    day(history.now) != day(history.night(0))
}

/// Too many within the window: the newest thousand are read, and that is said.
#[test]
fn a_thousand_manifests_are_read_at_most() {
    let history = History::new();
    for hour in 0..1100_u64 {
        let mut manifest = history.manifest(0);
        let time = history.now - Duration::from_secs(3600 * hour);
        manifest.id = lifeboat::repo::id::BackupId::new(time, None, [0; 4]);
        history.store(&manifest, &["one", "two"]);
    }
    let seen = report(&history.depot);
    assert_eq!(
        (&seen["window"]["read"], &seen["window"]["cut"]),
        (&json!(1000), &json!(true))
    );
}

#[test]
fn what_strangers_may_write_is_text_in_every_form() {
    let history = History::new();
    let mut manifest = history.manifest(0);
    manifest.components[2].notes = vec![HOSTILE.to_owned()];
    manifest.release = HOSTILE.to_owned();
    history.store(&manifest, &["one", "two"]);
    let mut drill = history.drill(0, false);
    drill.steps[0].name = HOSTILE.to_owned();
    drill.steps[7].said = Some(HOSTILE.to_owned());
    history.store_proof(&drill);
    let mut contents = history.proof(0, Level::Contents, false);
    contents.findings[0].what = HOSTILE.to_owned();
    history.store_proof(&contents);
    history
        .depot
        .cli(&["hold", history.id(0).as_str(), "--why", HOSTILE])
        .ok();
    let page = page(&history.depot);
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("javascript:"));
    assert!(
        page.matches("&lt;script&gt;alert(1)&lt;").count() >= 4,
        "{page}"
    );
    let text = history.depot.cli(&["report"]).ok().stdout;
    assert!(
        text.contains("<script>") && !text.contains('\u{1b}'),
        "{text}"
    );
    let said = history.depot.cli(&["alerts"]).fails(3).stdout;
    assert!(
        said.contains("<script>") && !said.contains('\u{1b}'),
        "{said}"
    );
    let seen = report(&history.depot);
    assert_eq!(seen["coverage"]["notes"][0]["text"], HOSTILE);
    let read = metrics_are_read(&metrics(&history.depot));
    assert!(read.contains("<script>alert(1)</script>"), "{read}");
}

/// What a forger puts beside the backups counts for nothing.
#[test]
fn proofs_that_no_trusted_worker_signed_count_for_nothing() {
    let history = History::new();
    history.store(&history.manifest(0), &["one", "two"]);
    let forged = history.proof(0, Level::Contents, true);
    let name = forged.name([1; 4]).unwrap().object(&foundation());
    for store in ["one", "two"] {
        history.write(store, name.as_str(), &forged.to_bytes(None).unwrap());
    }
    let ended = history.depot.cli(&["report", "--json", "-"]).ok();
    assert!(
        ended.stderr.contains("a proof counts for nothing"),
        "{}",
        ended.stderr
    );
    let seen: Value = serde_json::from_str(&ended.stdout).unwrap();
    let contents = of_name(&seen["proofs"], "level", "contents");
    assert_eq!(contents["last"], Value::Null);
}

/// Prometheus' own parser reads them; gives what it read.
fn metrics_are_read(text: &str) -> String {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let program = r"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.name, family.unit, family.type, sample.labels, sample.value)
";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", program])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || {
        std::io::Write::write_all(&mut stdin, text.as_bytes()).unwrap();
    });
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        done.status.success(),
        "install python3-prometheus-client (ci/setup does) if it is missing: {said}"
    );
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn metrics_are_what_prometheus_reads_and_the_manual_lists() {
    let mut history = History::new();
    history.sixty_nights();
    history.depot.source["retention"] = json!({"keep_daily": 30});
    let text = metrics(&history.depot);
    let read = metrics_are_read(&text);
    let seen = report(&history.depot);
    let manual = fs::read_to_string("docs/reports.md").unwrap();
    let mut listed = 0;
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = name.split(' ').next().unwrap();
        assert!(
            manual.contains(&format!("`{name}`")),
            "docs/reports.md lacks {name}"
        );
        listed += 1;
    }
    assert_eq!(
        manual.matches("| `lifeboat_").count(),
        listed,
        "docs/reports.md and the metrics"
    );
    for (words, value) in [
        ("lifeboat_alerts ", "} 4"),
        ("lifeboat_backups ", "} 57"),
        ("lifeboat_store_backups", "'store': 'two'} 56"),
        ("lifeboat_proof_failed", "'level': 'contents'} 1"),
        ("lifeboat_drill_rto_seconds seconds gauge", ""),
        ("lifeboat_downtime_seen", "'probe': 'app'} 0"),
    ] {
        let found = read
            .lines()
            .any(|line| line.contains(words) && line.contains(value));
        assert!(found, "{words} {value}: {read}");
    }
    let rto = seen["drills"][0]["rto_ms"].as_u64().unwrap();
    assert!(read.contains(&format!("{}.", rto / 1000)), "{read}");
}

/// Every field of the JSON stands in the manual.
#[test]
fn every_field_of_the_report_is_in_the_manual() {
    let mut history = History::new();
    history.sixty_nights();
    history.depot.source["retention"] = json!({"keep_last": 100});
    history
        .depot
        .cli(&["hold", history.id(3).as_str(), "--why", "audit"])
        .ok();
    let seen = report(&history.depot);
    let manual = fs::read_to_string("docs/reports.md").unwrap();
    let mut missing = Vec::new();
    fields(&seen, "", &mut |path| {
        let name = path.rsplit('.').next().unwrap();
        let by_name = ["classes", "proofs"].contains(&path.rsplit('.').nth(1).unwrap_or_default());
        if !by_name
            && ![format!("`{name}`"), format!("`{name}[]`")]
                .iter()
                .any(|shown| manual.contains(shown))
        {
            missing.push(path.to_owned());
        }
    });
    assert!(missing.is_empty(), "not in docs/reports.md: {missing:?}");
}

fn fields(value: &Value, path: &str, each: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}.{key}");
                each(&path);
                fields(value, &path, each);
            }
        }
        Value::Array(list) => list.iter().for_each(|one| fields(one, path, each)),
        _ => {}
    }
}

/// A real backup, a real record: names of what is sealed are there with the key, and never in a store.
#[test]
fn a_report_in_the_stores_names_nothing_that_was_sealed_and_disturbs_nobody() {
    let mut depot = Depot::new();
    let record = json!({
        "format": 1,
        "foundation": "prod-east",
        "coverage": [{
            "name": "p-mysql-7f3a", "product": "p-mysql", "class": "uncovered",
            "why": "keeps data and brings no scripts", "advice": "turn on its own backups",
        }],
        "certificates": {"all": [
            {"product": "cf-1a2b", "name": ".uaa.service_provider_key", "valid_until": "2039-01-02T03:04:05Z"},
        ]},
    });
    let text = record.to_string();
    depot
        .put(
            "ops-manager",
            &[("foundation-record.json", text.as_bytes())],
        )
        .ok();
    let key = depot.recovery_identity.clone();
    let with_key = |depot: &Depot, arguments: &[&str]| -> Ended {
        let mut source = depot.source.clone();
        source["recovery_identity"] = key.as_str().into();
        let document = source.to_string();
        crate::support::process::cli(arguments, &[("LIFEBOAT_CONFIG", &document)])
    };
    let page = with_key(&depot, &["report", "--html", "-", "--to-store"])
        .ok()
        .stdout;
    assert!(
        page.contains("p-mysql-7f3a") && page.contains("service_provider_key"),
        "{page}"
    );
    let without = depot.cli(&["report", "--html", "-"]).ok().stdout;
    assert!(!without.contains("p-mysql-7f3a"));
    for store in ["one", "two"] {
        for file in ["report.html", "report.json", "metrics.txt"] {
            let kept = fs::read_to_string(depot.path(store).join("prod-east").join(file)).unwrap();
            assert!(
                !kept.contains("p-mysql-7f3a") && !kept.contains("service_provider"),
                "{kept}"
            );
            assert!(kept.contains("prod-east"), "{kept}");
        }
    }
    // Again, over the first; what lists, looks, prunes and replicates does not mind.
    depot.cli(&["report", "--to-store"]).ok();
    depot.cli(&["verify"]).ok();
    depot.add_store("three");
    depot.cli(&["replicate"]).ok();
    assert!(!depot.path("three").join("prod-east/report.html").exists());
    depot.source["retention"] = json!({"keep_last": 1});
    depot.cli(&["prune"]).ok();
    assert!(depot.path("one").join("prod-east/report.html").exists());
    // A store that does not take it is a problem found; when none does, the command fails.
    let folder = depot.path("three").join("prod-east");
    fs::create_dir_all(folder.join("report.html/in-the-way")).unwrap();
    let ended = depot.cli(&["report", "--to-store"]).fails(3);
    assert!(ended.stderr.contains("three"), "{}", ended.stderr);
}

#[test]
fn a_store_that_is_silent_is_told_and_the_others_are_reported() {
    let mut history = History::new();
    history.store(&history.manifest(0), &["one", "two"]);
    history.depot.source["limits"] = json!({"store_timeout": "1s"});
    fs::rename(history.depot.path("two"), history.depot.path("away")).unwrap();
    let seen = report(&history.depot);
    assert!(names(&seen).contains(&"store_silent"), "{seen:#}");
    assert_eq!(seen["stores"][1]["answered"], false);
    assert!(page(&history.depot).contains("silent"));
    assert!(
        metrics(&history.depot)
            .contains("lifeboat_store_up{foundation=\"prod-east\",store=\"two\"} 0")
    );
    fs::rename(history.depot.path("one"), history.depot.path("away too")).unwrap();
    for command in ["report", "alerts"] {
        history.depot.cli(&[command]).fails(1);
    }
}
