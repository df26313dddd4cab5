//! `ci/bench` and `benches/sites.py` at their smallest: that they still measure, not what.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::foundation::path_with_tools;
use crate::support::process::program;

#[test]
fn the_bench_measures_every_step_from_outside() {
    let raw = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/bench"))
        .args(["--size", "2M", "--blobs", "8", "--instances", "2"])
        .args(["--runs", "1", "--only", "^blobs$|^lock$"])
        .args(["--contenders", "lifeboat", "--programs"])
        .arg(program("lifeboat").parent().unwrap())
        .arg("--raw")
        .arg(raw.path())
        .env("PATH", path_with_tools())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{log}");
    let rows: Vec<Value> = std::fs::read_to_string(raw.path())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steps: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["workload"].as_str().unwrap(),
                row["step"].as_str().unwrap(),
            )
        })
        .collect();
    let blobs = [
        ("blobs", "first"),
        ("blobs", "second"),
        ("blobs", "restore"),
        ("blobs", "stage"),
        ("blobs", "failover"),
    ];
    assert_eq!(steps[..5], blobs);
    assert_eq!(steps[5..], [("lock", "first"), ("lock", "restore")]);
    let first = &rows[0];
    for (key, least) in [("wire", 1 << 20), ("stored", 1 << 20), ("requests", 10)] {
        assert!(first[key].as_u64().unwrap() > least, "{key}: {first}");
    }
    assert_eq!(first["disk"], 0, "{first}");
    assert!(rows[5]["beyond"].as_f64().unwrap() > 0.0, "{}", rows[5]);
    // What is staged is not sent again, and how long the rest took is told.
    let (restore, failover) = (&rows[2], &rows[4]);
    let wire = |row: &Value| row["wire"].as_u64().unwrap();
    assert!(wire(failover) < wire(restore) / 2, "{failover}");
    assert!(failover["transfer"].as_f64().unwrap() > 0.0, "{failover}");
    assert!(said.contains("| failover into a staged standby: bytes over SSH of a restore, against lifeboat | blobs | 0.03 |"), "{said}");
    assert!(first["load"].as_f64().is_some(), "{first}");
    // Whoever did not take part is not judged.
    assert!(
        said.contains("| first backup: wall time, against bbr | blobs | 0.333 | not measured |"),
        "{said}"
    );
}

#[test]
fn the_sites_of_every_topology_are_measured() {
    let page = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/sites.py"))
        .args(["--quick", "--blobs", "16", "--programs"])
        .arg(program("lifeboat").parent().unwrap())
        .arg("--out")
        .arg(page.path())
        .env("PATH", path_with_tools())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let text = std::fs::read_to_string(page.path()).unwrap();
    let standby = include_str!("../../docs/standby-measured.md");
    assert_eq!(rows(&text).count(), 8, "{text}");
    for (row, published) in rows(&text).zip(rows(standby)) {
        let steps = |row: &str| row.matches('`').count() / 2;
        assert_eq!(name(row), name(published));
        assert_eq!(steps(row), steps(published), "{row}");
    }
    // The row of each second that no backup has is lost.
    let cold = rows(&text).find(|row| name(row) == "active-cold").unwrap();
    let cells: Vec<_> = cold.split('|').map(str::trim).collect();
    let lost: f64 = cells[4].strip_suffix(" s").unwrap().parse().unwrap();
    assert!(lost >= 2.0, "{cold}");
}

/// Rows of topologies.
fn rows(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter(|line| line.starts_with("| active-"))
}

fn name(row: &str) -> &str {
    row.split('|').nth(1).unwrap().trim()
}
