//! Drills: a restore rehearsed in a scratch foundation that has the original's addresses.
//!
//! Each foundation has a network of its own, and in both the director is at the same address and
//! port. What a drill may reach is decided by the network it is started in, as it is by a worker.

mod guards;
mod kills;
mod lies;
mod whole;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::opsman::{foundation, guid};
use crate::plan::{ops_manager, stemcell};
use crate::support::foundation::Foundation;
use crate::support::process::{self, Ended};
use crate::support::scene::{Scene, merge};

/// Where both directors are, each in its network.
const API: u16 = 25555;
const SSH: u16 = 2222;
/// What a person would ask of the restored foundation.
const ROW: &str =
    ". /var/lib/foundation/postgres.env; psql -X -A -t -c 'select name from apps where id = 7'";

/// A foundation with a backup of all of it.
struct Origin {
    scene: Scene,
    id: String,
}

impl Origin {
    fn new() -> Self {
        let scene = foundation(&json!({
            "network": true,
            "router": true,
            "director": {"port": API},
            "tas": {"mysql": 3, "services": 1, "director_port": SSH},
        }));
        let origin = Self {
            scene,
            id: String::new(),
        };
        let id = origin.backup();
        Self { id, ..origin }
    }

    /// One more backup of all of it, by a put in its network.
    fn backup(&self) -> String {
        let whole = ["ops-manager", "director", "tas", "service-instances"];
        let command = self.scene.lifeboat(
            &[&["backup"][..], &whole].concat(),
            &json!({"recovery_identity": null}),
        );
        let ended = within(&self.scene.foundation, command);
        process::finish(process::start(ended, ""))
            .ok()
            .stdout
            .trim()
            .to_owned()
    }

    /// Everything that a drill must not change.
    fn state(&self) -> Value {
        let live = &self.scene.foundation;
        let ops = live.ask(json!({"do": "opsman-state"}));
        let mut kept = json!({
            "rows": live.ask(json!({"do": "director-db"}))["rows"]["instances"],
            "vms": live.ask(json!({"do": "iaas"}))["vms"],
            "destroyed": live.ask(json!({"do": "iaas"}))["destroyed"],
            "apps": live.ask(json!({"do": "sql", "query": "select md5(string_agg(t::text, ',' order by id)) from apps t"}))["text"],
            "journal": live.journal().len(),
        });
        for key in [
            "installations",
            "bosh_state",
            "disasters",
            "violations",
            "products",
        ] {
            kept[key] = ops[key].clone();
        }
        kept
    }
}

/// The same program in a foundation's network.
fn within(foundation: &Foundation, command: Command) -> Command {
    let directory = foundation.ready["dir"].as_str().unwrap();
    let pid = std::fs::read_to_string(format!("{directory}/pid")).unwrap();
    let mut inside = Command::new("nsenter");
    inside
        .arg(format!("--net=/proc/{}/ns/net", pid.trim()))
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            inside.env(name, value);
        }
    }
    inside
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    inside
}

/// A scratch foundation, and its operator's configuration.
struct Scratch<'a> {
    origin: &'a Origin,
    foundation: Foundation,
    config: Value,
    _mirror: PathBuf,
}

impl<'a> Scratch<'a> {
    fn new(origin: &'a Origin, more: &Value) -> Self {
        let mut spec = json!({
            "network": true,
            "router": true,
            "opsman": {
                "state": "fresh",
                "director_address": format!("127.0.0.1:{SSH}"),
                "director_api": format!("127.0.0.1:{API}"),
            },
            "postgres": {"rows": 0},
            "capi": {},
            "credhub": true,
        });
        merge(&mut spec, more);
        let foundation = Foundation::start(&spec);
        let mirror = tempfile::tempdir_in(origin.scene.scratch.path())
            .unwrap()
            .keep();
        stemcell(&mirror, "bosh-test-ubuntu-jammy-go_agent", "1.500");
        let mut config = json!({
            "ops_manager": ops_manager(&origin.scene, &foundation),
            "stemcells": mirror,
            "confirm_target": "scratch-1",
            "drill": {
                "scratch": "scratch-1",
                "timeout": "20s",
                "checks": [
                    {"name": "app", "url": format!("{}/app", foundation.ready["router"]["url"].as_str().unwrap()), "contains": "the canary answers"},
                    {"name": "row", "instance": "backup_restore/0", "command": ROW, "contains": "app-7"},
                ],
            },
        });
        let here = |service: &str| foundation.ready[service]["url"].as_str().unwrap();
        let authority = |of: &Foundation| of.ready["ca_cert"].as_str().unwrap().to_owned();
        // CredHub's UAA is the restored director's, with a certificate of the original's CA.
        let both = authority(&foundation) + &authority(&origin.scene.foundation);
        config["cloud_controller"] =
            json!({"api": here("capi"), "ca_cert": authority(&foundation)});
        config["credhub"] = json!({"url": here("credhub"), "ca_cert": both});
        // A VM that is made anew has a new one.
        config["ops_manager"]["ssh_host_key"] = Value::Null;
        Self {
            origin,
            foundation,
            config,
            _mirror: mirror,
        }
    }

    fn command(&self, arguments: &[&str], more: &Value) -> Command {
        let mut config = self.config.clone();
        merge(&mut config, more);
        let arguments = match arguments {
            ["drill-cleanup"] => arguments.to_vec(),
            more => [&["drill"], more].concat(),
        };
        within(
            &self.foundation,
            self.origin.scene.lifeboat(&arguments, &config),
        )
    }

    fn run(&self, arguments: &[&str], more: &Value) -> Ended {
        process::finish(process::start(self.command(arguments, more), ""))
    }

    /// The drill must pass.
    #[track_caller]
    fn passes(&self, arguments: &[&str]) -> Value {
        let ended = self
            .run(&[&["--json"], arguments].concat(), &json!({}))
            .ok();
        let drilled = ended.json();
        assert_eq!(drilled["result"], "passed", "{drilled}");
        drilled
    }

    /// The drill must be refused, with these words in its last line.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], more: &Value, words: &[&str]) {
        let ended = self.run(arguments, more).fails(1);
        let line = ended.last_line();
        for word in words {
            assert!(line.contains(word), "{word} is not in {line}");
        }
    }

    /// `drill-cleanup`.
    fn clean(&self) -> Ended {
        self.run(&["drill-cleanup"], &json!({}))
    }

    /// A new Ops Manager VM from the image.
    fn renew(&self) {
        self.foundation.ask(json!({"do": "opsman-renew"}));
    }

    /// Nothing was done that Ops Manager forbids, and nothing to another foundation.
    fn assert_careful(&self) {
        let state = self.foundation.ask(json!({"do": "opsman-state"}));
        assert_eq!(state["disasters"], json!([]), "{state}");
    }

    fn note(&self) -> Value {
        let read = json!({"do": "run", "instance": "opsman", "script": "cat /var/lib/lifeboat/drill.json"});
        let text = self.foundation.ask(read)["stdout"].clone();
        serde_json::from_str(text.as_str().unwrap()).unwrap_or(Value::Null)
    }
}

/// TAS' deployment.
fn tas(origin: &Origin) -> String {
    guid(&origin.scene, "cf")
}

/// The steps of a drill's result, and whether each was passed.
fn steps(drilled: &Value) -> Vec<(String, bool)> {
    let steps = drilled["steps"].as_array().unwrap();
    let one = |step: &Value| {
        (
            step["name"].as_str().unwrap().to_owned(),
            step["ok"].as_bool().unwrap(),
        )
    };
    steps.iter().map(one).collect()
}

/// What the store has of the drills of a backup, each with its signature.
fn proofs(origin: &Origin, id: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let place = origin.scene.store("one").join("prod-east/reports").join(id);
    for entry in std::fs::read_dir(place).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.contains("-drilled-") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let mut lines = text.lines();
        found.push(serde_json::from_str(lines.next().unwrap()).unwrap());
        assert!(lines.next().unwrap().contains("SSH SIGNATURE"), "{text}");
    }
    found
}
