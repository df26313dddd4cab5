//! Who may know whom, as a test: directions between the modules, outside crates and their places,
//! sizes of files. The tables are the rule; `docs/design.md`, *Architecture*, says why.
//!
//! A table may be changed with a reason that survives review. Code that breaks a rule today stands in
//! [`BREACHES`] with what is to be done about it; an entry that is no longer true fails too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Top to bottom. A module may use those below its own line: never above, never beside.
const LAYERS: [&[&str]; 8] = [
    &["bin"],
    &["concourse", "cli", "process"],
    &["config"],
    &["operation"],
    &["foundation", "report"],
    &["bbr", "repo", "bosh", "opsman", "ssh", "cloud", "inventory"],
    &["artifact", "store", "http", "remote"],
    &["clock", "secret", "monitor", "shutdown", "parallel"],
];

/// Outside crates and where they may appear: `a/b` is `src/a/b.rs` and all below `src/a/b/`, `` is
/// everywhere. Every dependency has a line.
const CRATES: [(&str, &[&str]); 37] = [
    // Plain tools of the language.
    (
        "anyhow",
        &["bin", "concourse", "cli", "config", "operation", "report"],
    ),
    ("thiserror", &[""]),
    ("serde", &[""]),
    ("serde_json", &[""]),
    ("serde_path_to_error", &["config"]),
    ("base64", &[""]),
    ("hex", &[""]),
    ("getrandom", &[""]),
    ("zeroize", &[""]),
    // One outside system, one module.
    ("ssh2", &["ssh"]),
    ("socket2", &["ssh"]),
    ("rustix", &["ssh", "store/directory", "operation/tree"]),
    ("reqwest", &["http"]),
    ("aws_sdk_s3", &["store/s3"]),
    ("aws_config", &["store/s3"]),
    ("aws_runtime", &["store/s3"]),
    ("aws_smithy_http_client", &["store/s3"]),
    ("rustls", &["store/s3"]),
    ("md5", &["store/s3"]),
    ("signal_hook", &["process"]),
    ("clap", &["cli"]),
    ("indicatif", &["report/bars"]),
    ("minijinja", &["report/html"]),
    ("jiff", &["clock"]),
    // One format, one file.
    (
        "serde_saphyr",
        &["bbr/yaml", "config/document", "bosh/tarball"],
    ),
    ("age", &["repo/seal"]),
    ("age_core", &["repo/seal"]),
    ("zstd", &["repo/seal"]),
    ("fastcdc", &["repo/chunker"]),
    ("tar", &["artifact/tar", "operation/tree", "bosh/tarball"]),
    (
        "flate2",
        &[
            "artifact/dump",
            "bbr/drain/take",
            "bbr/stage/sync",
            "bosh/tarball",
            "inventory/spool",
            "opsman/zip",
        ],
    ),
    ("sha2", &["artifact", "repo", "ssh/keys"]),
    // Login keys and signatures are two uses of one format of keys.
    ("ssh_key", &["ssh/keys", "repo/sign", "config/keys"]),
    // Async at the rim; `repo/bridge.rs` is where the blocking middle meets it.
    (
        "tokio",
        &["store", "http", "repo/bridge", "operation/stores"],
    ),
    ("async_trait", &["store"]),
    ("bytes", &["store", "http", "repo"]),
    ("http_body", &["store/s3", "http/upload"]),
];

/// Crates in `[dependencies]` under another name than in the code.
const RENAMED: [(&str, &str); 1] = [("md-5", "md5")];

/// Non-test lines of a file; above, it is listed with a reason.
const LONGEST: usize = 450;

/// Longer files: path, lines at most, reason.
const LONG: [(&str, usize, &str); 0] = [];

/// Where the code breaks a rule today: file, what it uses, what is to be done.
const BREACHES: [(&str, &str, &str); 11] = [
    ("repo/fetcher.rs", "tokio", "ask repo::bridge"),
    (
        "artifact.rs",
        "anyhow",
        "EntrySink mixes the reader's errors and the writer's; give it one type",
    ),
    ("artifact/base.rs", "anyhow", "as artifact.rs"),
    ("bbr/drain.rs", "anyhow", "as artifact.rs"),
    ("bbr/error.rs", "anyhow", "as artifact.rs"),
    ("bbr/upload.rs", "anyhow", "as artifact.rs"),
    ("bbr/stage/sync.rs", "anyhow", "as artifact.rs"),
    ("repo/reader.rs", "anyhow", "EntryReceiver, as artifact.rs"),
    ("repo/reader/wanted.rs", "anyhow", "as artifact.rs"),
    ("repo/writer.rs", "anyhow", "as artifact.rs"),
    ("repo/writer/continued.rs", "anyhow", "as artifact.rs"),
];

#[test]
fn modules_use_only_those_below_them() {
    none(sources().iter().flat_map(directions).collect());
}

#[test]
fn outside_crates_stay_in_their_places() {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources() {
        for (name, sentence) in strangers(&file) {
            let known = |(path, used, _): &&(&str, &str, &str)| *path == file.path && *used == name;
            match BREACHES.iter().find(known) {
                Some((path, used, _)) => drop(seen.insert((*path, *used))),
                None => problems.push(sentence),
            }
        }
    }
    for (path, name, _) in BREACHES {
        if src().join(path).exists() && !seen.contains(&(path, name)) {
            problems.push(format!(
                "src/{path} no longer uses {name}: take it out of BREACHES"
            ));
        }
    }
    none(problems);
}

#[test]
fn every_dependency_has_a_place() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let missing: Vec<_> = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim())
        .map(|name| {
            let renamed = RENAMED.iter().find(|(packed, _)| *packed == name);
            renamed.map_or_else(|| name.replace('-', "_"), |(_, used)| (*used).to_owned())
        })
        .filter(|name| !CRATES.iter().any(|(known, _)| *known == *name))
        .collect();
    assert!(
        missing.is_empty(),
        "Cargo.toml: say in tests/it/layers.rs where {} may appear",
        missing.join(", ")
    );
}

#[test]
fn files_stay_short_and_are_named_after_their_modules() {
    let mut problems = Vec::new();
    for file in sources().iter().filter(|file| !file.is_test()) {
        if file.path.ends_with("mod.rs") {
            problems.push(format!(
                "src/{}: name it after its directory, foo.rs beside foo/",
                file.path
            ));
        }
        let lines = file.tests_begin.unwrap_or(file.lines + 1) - 1;
        let allowed = LONG.iter().find(|(path, ..)| *path == file.path);
        let most = allowed.map_or(LONGEST, |(_, most, _)| *most);
        if lines > most {
            problems.push(format!(
                "src/{} has {lines} lines without its tests, more than {most}: split it, or give the reason in LONG",
                file.path
            ));
        } else if allowed.is_some() && lines <= LONGEST {
            problems.push(format!(
                "src/{} has only {lines} lines now: take it out of LONG",
                file.path
            ));
        }
    }
    none(problems);
}

#[test]
fn a_breach_is_named_with_file_and_line() {
    let file = |path: &str, text: &str| Source::of(path.to_owned(), text);
    let up = file(
        "store/s3.rs",
        "//! crate::cli\n\nuse crate::operation::settings::S3;\n",
    );
    assert_eq!(
        directions(&up),
        ["src/store/s3.rs:3 lets store use operation, which is above it"]
    );
    let beside = file("bbr/drain.rs", "fn a(_: crate::ssh::Session) {}\n");
    assert_eq!(
        directions(&beside),
        ["src/bbr/drain.rs:1 lets bbr use ssh, which is beside it"]
    );
    let around = file("bbr/drain.rs", "use super::super::ssh::Session;\n");
    assert_eq!(
        directions(&around),
        ["src/bbr/drain.rs:1 leaves its module by super::; write crate::"]
    );
    let stranger = file("operation/backup.rs", "use ssh2::Session;\n");
    assert_eq!(
        strangers(&stranger)[0].1,
        "src/operation/backup.rs:1 uses ssh2, which may appear in ssh only"
    );
    let test = file(
        "bbr/job.rs",
        "#[cfg(test)]\nmod tests {\n    use super::super::Job;\n    use ssh2::Session;\n}\n",
    );
    assert_eq!((directions(&test), strangers(&test).len()), (vec![], 0));
}

#[test]
fn the_reading_of_sources_finds_what_it_should() {
    let found = |text| paths_from(text, "crate").collect::<Vec<_>>();
    assert_eq!(found("use crate::repo::id::BackupId;"), ["repo"]);
    assert_eq!(
        found("fn a(b: crate::store::Kind, c: &crate::http::X)"),
        ["store", "http"]
    );
    assert_eq!(found("use crate::{repo, store};"), ["{"]);
    assert_eq!(found("pub(in crate::repo) fn a()"), ["repo"]);
    assert_eq!(found("pub(crate) fn a()"), Vec::<&str>::new());
    assert!(uses("let a = age::Encryptor::new();", "age"));
    assert!(uses("use age::secrecy::ExposeSecret;", "age"));
    assert!(!uses(
        "use super::age::X; page::Y; crate::artifact::age::Z",
        "age"
    ));
    assert!(uses("#[tokio::test]", "tokio"));
    assert_eq!(supers("use super::super::Error;"), 2);
    assert_eq!(
        code(1, "let a = 1; // crate::repo"),
        (1, "let a = 1; ".to_owned())
    );
    assert_eq!(
        code(1, r#"say("crate::repo \" // x")"#),
        (1, r#"say("")"#.to_owned())
    );
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What a file uses that is above it or beside it.
fn directions(file: &Source) -> Vec<String> {
    let Some(own) = rank(&file.module) else {
        return vec![format!(
            "src/{}: module {} is in no line of LAYERS; give it a place",
            file.path, file.module
        )];
    };
    let mut problems = Vec::new();
    for (line, text) in &file.code {
        for used in paths_from(text, "crate").chain(paths_from(text, "lifeboat")) {
            if used == file.module {
                continue;
            }
            match rank(used) {
                None => problems.push(format!(
                    "src/{}:{line} names crate::{used}, which is no module of LAYERS; write `use crate::module::…`, one for each module",
                    file.path
                )),
                Some(rank) if rank > own => {}
                Some(rank) => problems.push(format!(
                    "src/{}:{line} lets {} use {used}, which is {} it",
                    file.path,
                    file.module,
                    if rank == own { "beside" } else { "above" }
                )),
            }
        }
        if supers(text) > file.depth(*line) {
            problems.push(format!(
                "src/{}:{line} leaves its module by super::; write crate::",
                file.path
            ));
        }
    }
    problems
}

/// The outside crates that a file uses and must not, with a sentence.
fn strangers(file: &Source) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if file.is_test() {
        return found;
    }
    for (line, text) in file.code.iter().filter(|(line, _)| !file.in_tests(*line)) {
        for (name, places) in CRATES {
            if uses(text, name) && !places.iter().any(|place| file.is_in(place)) {
                let sentence = format!(
                    "src/{}:{line} uses {name}, which may appear in {} only",
                    file.path,
                    places.join(", ")
                );
                found.push((name, sentence));
            }
        }
    }
    found
}

struct Source {
    /// Below `src/`.
    path: String,
    /// The first part of its path: the module of the table.
    module: String,
    lines: usize,
    /// The line of `#[cfg(test)]` before a module with a body.
    tests_begin: Option<usize>,
    /// Numbered lines without comments and texts.
    code: Vec<(usize, String)>,
}

impl Source {
    fn read(path: String) -> Self {
        let text = std::fs::read_to_string(src().join(&path)).unwrap();
        Self::of(path, &text)
    }

    fn of(path: String, text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let tests_begin = lines
            .windows(2)
            .position(|pair| {
                pair[0] == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{')
            })
            .map(|at| at + 1);
        let module = path.split(['/', '.']).next().unwrap().to_owned();
        let code = (1..)
            .zip(&lines)
            .map(|(number, line)| code(number, line))
            .collect();
        Self {
            path,
            module,
            lines: lines.len(),
            tests_begin,
            code,
        }
    }

    /// Whether all of it is for tests: such files may use what tests need.
    fn is_test(&self) -> bool {
        let stem = self.path.trim_end_matches(".rs");
        stem.split('/').any(|part| {
            ["tests", "testing", "conformance", "faulty"].contains(&part)
                || part.ends_with("_tests")
        })
    }

    fn in_tests(&self, line: usize) -> bool {
        self.tests_begin.is_some_and(|begin| line >= begin)
    }

    /// How many `super::` lead at most to the top module.
    fn depth(&self, line: usize) -> usize {
        self.path.matches('/').count() + usize::from(self.in_tests(line))
    }

    fn is_in(&self, place: &str) -> bool {
        let stem = self.path.trim_end_matches(".rs");
        place.is_empty() || stem == place || stem.starts_with(&format!("{place}/"))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn src() -> PathBuf {
    root().join("src")
}

/// All sources but the crate's root, which only lists the modules.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&src(), &mut paths);
    assert!(paths.len() > 50, "src/ was not found");
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            path.strip_prefix(src())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .filter(|path| path != "lib.rs")
        .map(Source::read)
        .collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|line| line.contains(&module))
}

/// A line without what stands in quotes and behind `//`. Good enough for sources that rustfmt has
/// seen: no text of ours that goes over several lines holds a path.
fn code(number: usize, line: &str) -> (usize, String) {
    let mut kept = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            // A quotation mark as a character.
            '\'' if !quoted && chars.peek() == Some(&'"') => drop(chars.next()),
            '"' => {
                quoted = !quoted;
                kept.push(c);
            }
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            c => kept.push(c),
        }
    }
    (number, kept)
}

/// What follows each `ROOT::`: a name, or `{`.
fn paths_from<'a>(text: &'a str, root: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(root).filter_map(move |(at, _)| {
        let rest = text[at + root.len()..].strip_prefix("::")?;
        if !begins_a_path(&text[..at]) {
            return None;
        }
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        Some(&rest[..end.max(1)])
    })
}

fn uses(text: &str, name: &str) -> bool {
    let imported = [format!("use {name};"), format!("use {name} as ")];
    imported.iter().any(|import| text.contains(import)) || paths_from(text, name).next().is_some()
}

fn begins_a_path(before: &str) -> bool {
    !before.ends_with(is_word) && (!before.ends_with(':') || before.ends_with(": :"))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The longest run of `super::`.
fn supers(text: &str) -> usize {
    (1..8)
        .take_while(|count| text.contains(&"super::".repeat(*count)))
        .count()
}
