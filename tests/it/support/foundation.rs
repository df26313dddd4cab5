//! The scratch foundation of `tests/foundation`, started for one test and ended with it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

/// A running scratch foundation.
#[derive(Debug)]
pub struct Foundation {
    child: Child,
    stdin: Option<ChildStdin>,
    control: Mutex<BufReader<UnixStream>>,
    /// The ready line: see `tests/foundation/README.md`.
    pub ready: Value,
}

impl Foundation {
    /// Starts one by its spec and waits until everything answers.
    pub fn start(spec: &Value) -> Self {
        let script =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foundation/foundation.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args(["serve", "--spec", "-"])
            .env("PATH", path_with_tools())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs; ci/setup installs what the tests need");
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{spec}").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("no ready line ({error}): {line}"));
        assert_eq!(
            ready["ready"], true,
            "the scratch foundation did not start: {ready}"
        );
        let control = UnixStream::connect(ready["control"].as_str().unwrap()).unwrap();
        Self {
            child,
            stdin: Some(stdin),
            control: Mutex::new(BufReader::new(control)),
            ready,
        }
    }

    /// Sends a control request and returns its answer.
    pub fn ask(&self, request: Value) -> Value {
        let answer = self.try_ask(&request);
        assert_eq!(answer["ok"], true, "{request}: {answer}");
        answer
    }

    /// The same; the answer may be that it failed.
    pub fn try_ask(&self, request: &Value) -> Value {
        let mut control = self.control.lock().unwrap();
        writeln!(control.get_mut(), "{request}").unwrap();
        let mut line = String::new();
        control.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The journal so far: `instance job script event` for each line.
    pub fn journal(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.ask(json!({"do": "journal"}))["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| {
                format!(
                    "{} {} {} {}",
                    text(&line["instance"]),
                    text(&line["job"]),
                    text(&line["script"]),
                    text(&line["event"])
                )
            })
            .collect()
    }

    /// What is left on instances that a finished run should have removed.
    pub fn leaks(&self) -> Value {
        self.ask(json!({"do": "leaks"}))["leaks"].clone()
    }

    /// Fails when anything is left.
    pub fn assert_clean(&self) {
        assert_eq!(
            self.leaks(),
            json!({}),
            "something is left on the instances"
        );
    }
}

impl Drop for Foundation {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.child.wait());
    }
}

/// `target/tools/bin`, where `ci/setup` puts the real bbr and S3 server, in front of PATH.
pub fn path_with_tools() -> String {
    let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap())
}
