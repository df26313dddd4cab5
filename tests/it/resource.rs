//! The resource as Concourse sees it, on directories: `out` with `from`, `check`, `in`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::process::{self, Ended};
use crate::support::request::{RECIPIENT, RECOVERY, fixture};

/// Two stores and the directories of the steps.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b", "put/artifact", "get"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        fs::write(
            root.path().join("put/artifact/dump.sql"),
            "select 1;\n".repeat(5000),
        )
        .unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn source(&self) -> Value {
        json!({
            "foundation": "prod-east",
            "stores": [
                {"name": "a", "path": self.path("a")},
                {"name": "b", "path": self.path("b")},
            ],
            "recipients": [RECIPIENT],
            "trusted_workers": [fixture!("ed25519.pub")],
        })
    }

    fn script(&self, name: &str, directory: Option<&Path>, params: Value, version: Value) -> Ended {
        let request = json!({"source": self.source(), "params": params, "version": version});
        process::script(name, directory, request.to_string().as_bytes())
    }

    fn put(&self, params: Value) -> Value {
        let run = self.script("out", Some(&self.path("put")), params, Value::Null);
        assert_eq!(run.code, 0, "{}", run.stderr);
        response(&run)
    }

    fn from(&self) -> Value {
        self.put(json!({
            "from": "artifact",
            "backup": ["deployment/redis"],
            "worker_identity": fixture!("ed25519"),
        }))
    }

    fn check(&self, version: Value) -> Value {
        let run = self.script("check", None, Value::Null, version);
        assert_eq!(run.code, 0, "{}", run.stderr);
        response(&run)
    }
}

/// Exactly one document, ended by a newline.
fn response(run: &Ended) -> Value {
    assert_eq!(run.stdout.matches('\n').count(), 1, "{}", run.stdout);
    serde_json::from_str(&run.stdout).expect("one JSON document")
}

fn assert_texts(response: &Value) {
    assert!(response["version"]["id"].is_string());
    for pair in response["metadata"].as_array().expect("metadata") {
        assert!(
            pair["name"].is_string() && pair["value"].is_string(),
            "{pair}"
        );
    }
}

#[test]
fn what_a_put_stores_a_check_lists_and_a_get_gives_back() {
    let bench = Bench::new();
    assert_eq!(bench.check(Value::Null), json!([]));
    let put = bench.from();
    assert_texts(&put);
    assert_eq!(bench.check(Value::Null), json!([put["version"]]));
    assert_eq!(bench.check(put["version"].clone()), json!([put["version"]]));

    let get = bench.path("get");
    let run = bench.script("in", Some(&get), Value::Null, put["version"].clone());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_texts(&response(&run));
    let written: Vec<_> = fs::read_dir(&get).unwrap().collect();
    assert_eq!(written.len(), 1, "{written:?}");
    let document: Value =
        serde_json::from_slice(&fs::read(get.join("backup.json")).unwrap()).unwrap();
    assert_eq!(document["id"], put["version"]["id"]);
    assert_eq!(document["origin"]["verified"], true);

    let params = json!({"download": true, "recovery_identity": RECOVERY});
    let run = bench.script("in", Some(&get), params, put["version"].clone());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        fs::read(get.join("deployment/redis/dump.sql")).unwrap(),
        fs::read(bench.path("put/artifact/dump.sql")).unwrap()
    );
}

#[test]
fn metadata_tells_what_an_operator_asks_first() {
    let bench = Bench::new();
    let first = bench.from();
    let second = bench.from();
    let value = |response: &Value, name: &str| -> String {
        let pairs = response["metadata"].as_array().unwrap();
        let pair = pairs.iter().find(|pair| pair["name"] == name).expect(name);
        pair["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value(&first, "components"), "deployment/redis");
    assert_eq!(value(&first, "copies"), "2 of 2 (a, b)");
    assert!(value(&first, "base").starts_with("none: "));
    assert_eq!(
        value(&second, "base"),
        first["version"]["id"].as_str().unwrap()
    );
    assert_eq!(value(&second, "changed"), "0 B");
}

#[test]
fn a_get_of_a_backup_that_is_not_there_says_so() {
    let bench = Bench::new();
    let version = json!({"id": "20200101T000000Z-00000000"});
    let run = bench.script("in", Some(&bench.path("get")), Value::Null, version);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(
        run.last_line()
            .contains("there is no backup 20200101T000000Z-00000000"),
        "{}",
        run.last_line()
    );
}

#[test]
fn a_version_that_stands_for_a_cleanup_is_accepted_and_writes_nothing() {
    let bench = Bench::new();
    let version = json!({"id": "none"});
    let run = bench.script("in", Some(&bench.path("get")), Value::Null, version.clone());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(response(&run)["version"], version);
    assert_eq!(fs::read_dir(bench.path("get")).unwrap().count(), 0);
    assert_eq!(bench.check(version), json!([]));
}

#[test]
fn the_command_line_does_the_same() {
    let bench = Bench::new();
    let put = bench.from();
    let id = put["version"]["id"].as_str().unwrap();
    let config = bench.source().to_string();
    let cli = |arguments: &[&str], extra: &[(&str, &str)]| {
        let mut environment = vec![("LIFEBOAT_CONFIG", config.as_str())];
        environment.extend(extra);
        process::cli(arguments, &environment)
    };
    let list = cli(&["list"], &[]);
    assert_eq!(list.code, 0, "{}", list.stderr);
    assert!(list.stdout.contains(id), "{}", list.stdout);
    let list: Value = serde_json::from_str(&cli(&["list", "--json"], &[]).stdout).unwrap();
    assert_eq!(list["backups"][0]["id"], id);
    let show = cli(&["show", "latest"], &[]);
    assert!(
        show.stdout
            .starts_with(&format!("backup {id} of prod-east")),
        "{}",
        show.stdout
    );

    let into = bench.path("fetched");
    let into = into.to_str().unwrap();
    let fetch = |extra: &[(&str, &str)]| cli(&["fetch", "latest", into], extra);
    assert!(
        fetch(&[])
            .last_line()
            .contains("recovery_identity: is missing")
    );
    let fetched = fetch(&[("LIFEBOAT_RECOVERY_IDENTITY", RECOVERY)]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert!(Path::new(into).join("deployment/redis/dump.sql").exists());
    let again = fetch(&[("LIFEBOAT_RECOVERY_IDENTITY", RECOVERY)]);
    assert!(
        again.last_line().contains("is not empty"),
        "{}",
        again.last_line()
    );
}

/// The image has one program; the scripts are links to it.
#[test]
fn lifeboat_is_a_script_under_the_script_s_name() {
    let bench = Bench::new();
    let put = bench.from();
    let request = json!({"source": bench.source()}).to_string();
    let directory = tempfile::tempdir().unwrap();
    let link = |name: &str| {
        let path = directory.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lifeboat"), &path).unwrap();
        path
    };
    let run = |path: &Path, arguments: &[&str], input: &str| {
        let mut command = std::process::Command::new(path);
        command
            .args(arguments)
            .env_clear()
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        process::finish(process::start(command, input))
    };
    let check = run(&link("check"), &[], &request).ok();
    assert_eq!(check.json(), json!([put["version"]]));
    let version = json!({"source": bench.source(), "version": put["version"]}).to_string();
    let get = run(
        &link("in"),
        &[bench.path("get").to_str().unwrap()],
        &version,
    )
    .ok();
    assert_eq!(get.json()["version"], put["version"]);
    let out = run(
        &link("out"),
        &[bench.path("put").to_str().unwrap()],
        &request,
    )
    .fails(1);
    assert!(
        out.last_line().contains("backup: is missing"),
        "{}",
        out.last_line()
    );
    assert!(
        run(&link("other"), &["version"], "")
            .ok()
            .stdout
            .starts_with("lifeboat ")
    );
}
