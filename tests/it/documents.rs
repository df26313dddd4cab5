//! What `docs/` says is what the code does: limits, bounds, stored lines.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lifeboat::artifact::{Digest, Form};
use lifeboat::repo::format::{
    self, ArtifactRecord, Build, ChainRecord, ChunkTable, ComponentRecord, FileLine, Manifest,
    OtherLine, Outcome, PageRecord, PhaseRecord, RootHead, WorkerKeys,
};
use lifeboat::repo::id::{BackupId, ChainId, ComponentName, Foundation};

#[test]
fn the_limits_of_the_format_are_those_of_the_code() {
    let page = read("docs/format.md");
    let limits = section(&page, "## Limits of a reader").replace('\n', " ");
    let line = u64::try_from(format::LINE_LIMIT).unwrap();
    for (words, limit) in [
        ("manifest ", format::MANIFEST_LIMIT),
        ("opened root ", format::ROOT_LIMIT),
        ("opened page ", format::PAGE_LIMIT),
        ("line of a root or page ", line),
        ("opened chunk ", format::CHUNK_LIMIT),
        ("opened limit plus ", format::SEAL_OVERHEAD),
        ("opened `recovery.age` ", format::OPENED_KEYS_LIMIT),
    ] {
        let stated = limits
            .split_once(words)
            .unwrap_or_else(|| panic!("docs/format.md, Limits of a reader: no `{words}…`"))
            .1;
        assert_eq!(quantity(stated), limit.into(), "docs/format.md: {words}");
    }
}

#[test]
fn the_bounds_of_the_design_are_those_of_the_code() {
    let page = read("docs/design.md");
    let mut rows = 0;
    for row in section(&page, "## Concurrency and memory").lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, value, place, _] = cells[..] else {
            continue;
        };
        let Some((file, name)) = place.split_once("` `") else {
            continue;
        };
        let (file, name) = (file.trim_matches('`'), name.trim_matches('`'));
        let source = read(&format!("src/{file}"));
        let stated = quantity(value);
        let found = constants(&source, name);
        assert!(
            found.contains(&stated),
            "docs/design.md says {value} of src/{file} {name}; the code: {found:?}"
        );
        rows += 1;
    }
    assert!(rows > 30, "the table of bounds was not found");
}

#[test]
fn the_examples_of_the_format_are_read_as_what_they_show() {
    let page = read("docs/format.md");
    let index = section(&page, "## Index");
    let mut examples = json_blocks(&index).into_iter();
    let mut next = || {
        examples
            .next()
            .expect("five examples in docs/format.md, Index")
    };
    let root: RootHead = parsed(&next());
    assert_eq!((root.form, root.zeros), (Form::Tar, 7168));
    let record: PageRecord = parsed(&next());
    assert_eq!(record.entries, 3);
    let table: ChunkTable = parsed(&next());
    assert_eq!(table.chunks.len(), 1);
    let file: FileLine = parsed(&next());
    assert_eq!(file.parts.len(), 1);
    let other: OtherLine = parsed(&next());
    assert_eq!(other.at, 0);
    let keys = section(&page, "## Keys");
    let worker: WorkerKeys = parsed(&json_blocks(&keys)[0]);
    assert_eq!(worker.format, format::FORMAT);
}

#[test]
fn the_fields_of_a_manifest_are_those_of_the_table() {
    let page = read("docs/format.md");
    let manifest = section(&page, "## Manifest");
    let mut stated = BTreeSet::new();
    for row in manifest.lines().filter(|line| line.starts_with("| `")) {
        let names = row.split('|').nth(1).unwrap();
        stated.extend(names.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    let value = serde_json::to_value(sample()).unwrap();
    let mut written: BTreeSet<String> = value.as_object().unwrap().keys().cloned().collect();
    written.insert("components[].artifacts".to_owned());
    assert_eq!(stated, written, "docs/format.md, Manifest: table and code");
    // What the cells name.
    for (of, path) in [
        ("chain", "/chain"),
        ("components", "/components/0"),
        ("build", "/build"),
    ] {
        for name in value.pointer(path).unwrap().as_object().unwrap().keys() {
            assert!(
                manifest.contains(&format!("`{name}`")),
                "docs/format.md, Manifest: {of} has {name}, which is not named"
            );
        }
    }
}

fn sample() -> Manifest {
    let digest = Digest::of(b"");
    Manifest {
        format: format::FORMAT,
        id: BackupId::parse("20261122T010203Z-7f3a09bc").unwrap(),
        foundation: Foundation::parse("prod-east").unwrap(),
        outcome: Outcome::Complete,
        started: String::new(),
        finished: String::new(),
        release: String::new(),
        build: Some(Build::default()),
        base: Some(BackupId::parse("20261121T010203Z-7f3a09bc").unwrap()),
        full_because: Some(String::new()),
        chain: ChainRecord {
            id: ChainId::parse("5f2c9a1e0b7d4c38").unwrap(),
            started: String::new(),
            recovery: digest,
            keys: digest,
            worker: Some(digest),
        },
        recovery_age: String::new(),
        components: vec![ComponentRecord {
            notes: Vec::new(),
            downtime: Vec::new(),
            facts: None,
            name: ComponentName::parse("tas").unwrap(),
            started: String::new(),
            finished: String::new(),
            phases: vec![PhaseRecord {
                name: "lock".into(),
                ms: 1,
            }],
            artifacts: vec![ArtifactRecord {
                name: "a.tar".into(),
                form: Form::Tar,
                root: digest,
                files: 0,
                bytes: 0,
            }],
        }],
        drained_bytes: 0,
        new_bytes: 0,
        stored_bytes: 0,
        new_objects: 0,
        stores: vec![],
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    read_path(&root().join(path))
}

fn read_path(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// From a heading to the next of its level.
fn section(page: &str, heading: &str) -> String {
    let after = page
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("there is no {heading}"))
        .1;
    after
        .split_once("\n## ")
        .map_or(after, |(text, _)| text)
        .to_owned()
}

/// The first quantity of a text, in its smallest unit: bytes, microseconds, or plain numbers.
fn quantity(text: &str) -> u128 {
    let number: String = text
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
        .filter(|c| *c != ',')
        .collect();
    let (number, rest) = (number.trim_end_matches('.'), &text[number.len()..]);
    let factor: u128 = match rest.trim_start() {
        unit if unit.starts_with("KiB") => 1 << 10,
        unit if unit.starts_with("MiB") => 1 << 20,
        unit if unit == "s" || unit.starts_with("s ") => 1_000_000,
        _ => 1,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let decimals = u32::try_from(part.len()).unwrap();
    let digits: u128 = format!("{whole}{part}")
        .parse()
        .unwrap_or_else(|_| panic!("no number: {text}"));
    digits * factor / 10_u128.pow(decimals)
}

/// What a source gives this name: `const NAME: T = …;` or `name: …,`.
fn constants(source: &str, name: &str) -> Vec<u128> {
    source
        .lines()
        .map(str::trim)
        .filter_map(|line| {
            let after_const = line
                .split_once(&format!("const {name}: "))
                .and_then(|(_, rest)| rest.split_once(" = "));
            let expression = match after_const {
                Some((_, expression)) => expression,
                None => line.strip_prefix(&format!("{name}: "))?,
            };
            value(expression.trim_end_matches([';', ',']))
        })
        .collect()
}

fn value(expression: &str) -> Option<u128> {
    let inside = |name: &str| {
        expression
            .strip_prefix(name)?
            .strip_suffix(')')
            .and_then(value)
    };
    if let Some(seconds) = inside("Duration::from_secs(") {
        return Some(seconds * 1_000_000);
    }
    if let Some(milliseconds) = inside("Duration::from_millis(") {
        return Some(milliseconds * 1000);
    }
    if let Some((left, right)) = expression.split_once(" << ") {
        return Some(value(left)? << value(right)?);
    }
    if let Some((left, right)) = expression.split_once(" * ") {
        return Some(value(left)? * value(right)?);
    }
    expression.replace('_', "").parse().ok()
}

/// Blocks of JSON, with whole digests and keys in place of shortened ones.
fn json_blocks(text: &str) -> Vec<String> {
    text.split("```json\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .map(|block| {
            let digest = Digest::of(b"").to_string();
            let whole: Vec<String> = block
                .split('"')
                .map(|part| match part.strip_suffix('…') {
                    Some(start) if start.bytes().all(|b| b.is_ascii_hexdigit()) => digest.clone(),
                    Some(start) => start.to_owned(),
                    None => part.to_owned(),
                })
                .collect();
            whole.join("\"")
        })
        .collect()
}

fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("docs/format.md: {error}: {json}"))
}
