//! The page in a real browser: what `look.py` saw there, and whether people can use it.
//!
//! `ci/setup` installs one where the distribution has it. Without one the test says so and is skipped:
//! everything else about the page is tested without.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::history::History;

const PROGRAMS: [&str; 5] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// `$CHROMIUM`, or the first that is on PATH.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    PROGRAMS.iter().find_map(|program| {
        let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
        places.find(|place| place.is_file())
    })
}

/// Pages that differ in everything that decides their shape.
fn pages(into: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut write = |name: &str, history: &History| {
        let path = into.join(format!("{name}.html"));
        let shown = path.display().to_string();
        history.depot.cli(&["report", "--html", &shown]).ok();
        all.push(path);
    };
    let mut sixty = History::new();
    sixty.sixty_nights();
    sixty.depot.source["retention"] = json!({"keep_daily": 30, "keep_weekly": 8});
    sixty
        .depot
        .cli(&["hold", sixty.id(9).as_str(), "--why", "audit 2026"])
        .ok();
    write("sixty", &sixty);
    write("empty", &History::new());
    let well = History::new();
    for ago in (0..400).rev() {
        let mut manifest = well.manifest(ago);
        manifest.components[0].facts = None;
        well.store(&manifest, &["one", "two"]);
    }
    well.store_proof(&well.proof(2, lifeboat::repo::proof::Level::Contents, true));
    well.store_proof(&well.drill(3, true));
    write("well", &well);
    let odd = History::new();
    let mut manifest = odd.manifest(0);
    manifest.components[2].notes = vec![super::HOSTILE.to_owned(), "x".repeat(900)];
    odd.store(&manifest, &["one"]);
    let mut drill = odd.drill(0, false);
    drill.steps[7].said = Some(super::HOSTILE.repeat(5));
    odd.store_proof(&drill);
    write("odd", &odd);
    all
}

#[test]
fn the_page_is_whole_quiet_and_usable_in_a_browser() {
    let Some(program) = program() else {
        println!("skipped: no Chromium on PATH (chromium-headless-shell of Debian, or $CHROMIUM)");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("LIFEBOAT_SHOTS").map(PathBuf::from);
    let shots = kept.unwrap_or_else(|| scratch.path().join("shots"));
    let pages = pages(scratch.path());
    let done = Command::new("python3")
        .arg("-B")
        .arg("tests/browser/look.py")
        .arg(&program)
        .arg(&shots)
        .args(&pages)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{}: {said}", program.display());
    let seen: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(seen.len(), pages.len());
    for (page, path) in seen.iter().zip(&pages) {
        quiet(page, path);
        fits_and_is_legible(page, &shots);
        is_structured(page);
        is_reached_by_keyboard(page);
    }
    let of = |name: &str| seen.iter().find(|page| page["page"] == name).unwrap();
    let first = |page: &Value| page["about"]["headings"][0][1].as_str().unwrap().to_owned();
    assert_eq!(first(of("sixty")), "prod-east: 4 things need attention");
    assert_eq!(first(of("well")), "prod-east: all is well");
    // Shown as it was written, and nothing of it ran.
    let odd = of("odd")["about"]["text"].as_str().unwrap();
    assert!(odd.contains("<script>alert(1)</script>"), "{odd}");
}

/// No message, no exception, nothing fetched but the page itself.
fn quiet(page: &Value, path: &Path) {
    assert_eq!(page["console"], json!([]), "{}", page["page"]);
    let own = format!("file://{}", path.canonicalize().unwrap().display());
    assert_eq!(page["requests"], json!([own]));
    assert_eq!(page["about"]["scripts"], 0);
}

/// At 360 and 1280 pixels, in light and dark, nothing is cut off and every text has WCAG's AA.
fn fits_and_is_legible(page: &Value, shots: &Path) {
    for (name, window) in page["windows"].as_object().unwrap() {
        let width = if name.starts_with("narrow") {
            360
        } else {
            1280
        };
        assert_eq!(window["width"], width, "{} {name}", page["page"]);
        assert_eq!(
            window["contrast"]["low"],
            json!([]),
            "{} {name}",
            page["page"]
        );
        assert!(window["contrast"]["seen"].as_u64().unwrap() > 60);
        let shot = format!("{}-{name}-1.png", page["page"].as_str().unwrap());
        let size = std::fs::metadata(shots.join(&shot)).unwrap().len();
        assert!(size > 10_000, "{shot}: {size} bytes");
    }
    let pdf = shots.join(format!("{}.pdf", page["page"].as_str().unwrap()));
    assert!(std::fs::read(pdf).unwrap().starts_with(b"%PDF-"));
}

fn is_structured(page: &Value) {
    let about = &page["about"];
    let name = &page["page"];
    assert_eq!(about["lang"], "en");
    for rule in ["scopes", "images", "targets", "labelled"] {
        assert_eq!(about[rule], true, "{name}: {rule}");
    }
    let captions = about["captions"].as_array().unwrap();
    assert!(captions.iter().all(|caption| *caption == true), "{name}");
    let levels: Vec<u64> = about["headings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|heading| heading[0].as_u64().unwrap())
        .collect();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
    assert!(
        levels.windows(2).all(|pair| pair[1] <= pair[0] + 1),
        "{name}: {levels:?}"
    );
    let mut ids: Vec<&str> = about["ids"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    ids.sort_unstable();
    let number = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), number, "{name}: an id is there twice");
    let tree = page["tree"].as_array().unwrap();
    for role in ["main", "banner", "contentinfo", "navigation"] {
        let found = tree.iter().filter(|node| node[0] == role).count();
        assert_eq!(found, 1, "{name}: {role}");
    }
    for role in ["table", "image", "heading", "link", "region"] {
        let unnamed = tree.iter().any(|node| node[0] == role && node[1] == "");
        assert!(!unnamed, "{name}: a {role} without a name");
    }
}

/// Every link and every table that may have to be scrolled, in the page's order, each with a mark.
fn is_reached_by_keyboard(page: &Value) {
    let reached = page["reached"].as_array().unwrap();
    let what: Vec<&str> = reached
        .iter()
        .filter_map(|one| one["what"].as_str())
        .collect();
    assert_eq!(what[..3], ["#main", "#rpo", "#rto"], "{}", page["page"]);
    let tables = page["about"]["captions"].as_array().unwrap().len();
    let regions = what.iter().filter(|name| name.ends_with(", table")).count();
    // One lies in what is not unfolded.
    assert!(regions + 1 >= tables, "{}: {what:?}", page["page"]);
    assert!(
        reached.iter().all(|one| one["shown"] == true),
        "{}: {what:?}",
        page["page"]
    );
}
