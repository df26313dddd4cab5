//! Memory and requests at scale: `LIFEBOAT_INVENTORY=full` takes 2,000 orgs, 20,000 spaces and 50,000 apps.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Cloud, read};

/// In kilobytes, as the kernel tells it while the process lives.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn memory_is_bounded_and_so_is_what_is_asked_at_once() {
    let full = std::env::var("LIFEBOAT_INVENTORY").is_ok_and(|size| size == "full");
    let (orgs, spaces, apps, most_mib) = match full {
        true => (2_000, 20_000, 50_000, 256),
        false => (100, 1_000, 5_000, 96),
    };
    let cloud =
        Cloud::new(&json!({"orgs": orgs, "spaces": spaces, "apps": apps, "users": apps / 10}));
    let path = cloud.scratch.path().join("large.jsonl");
    let command = cloud.command(
        &["take", "--out", path.to_str().unwrap()],
        &json!({"limits": {"inventory_timeout": "1h"}}),
    );
    let began = Instant::now();
    let mut child = crate::support::process::start(command, "");
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak(child.id()).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    crate::support::process::finish(child).ok();
    let took = began.elapsed();
    let (head, things) = read(&path);
    assert_eq!(head["counts"]["app"], apps);
    assert_eq!(head["counts"]["space"], spaces);
    assert_eq!(head["counts"]["org"], orgs);
    assert!(things.len() > apps * 2);
    let asked = cloud.ask(json!({"do": "capi"}));
    println!(
        "{} things, {} requests, {:.1} s, peak {} MiB",
        things.len(),
        asked["requests"],
        took.as_secs_f64(),
        most / 1024
    );
    assert!(
        most > 0 && most / 1024 < most_mib,
        "peak {} MiB",
        most / 1024
    );
    assert!(asked["most_at_once"].as_u64().unwrap() <= 4);
}
