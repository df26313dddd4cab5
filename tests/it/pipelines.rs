//! `pipelines/`: what Concourse would refuse or Lifeboat would not know, and what must not be forgotten in one.
//!
//! The real `fly` validates them where there is one; the rest needs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use lifeboat::config::environment::Environment;
use lifeboat::config::{self, Door, Layer, Layers};
use lifeboat::operation::settings::{End, Step};
use serde_json::{Value, json};

use crate::support::pipeline::{
    self, filled, read, steps, task_environment, task_file, variables, yaml,
};
use crate::support::request::{RECIPIENT, RECOVERY, fixture};

const VARIABLES: &str = "pipelines/vars.example.yml";

/// The example's values, with keys that are keys in place of those that must not look like any, and a local variable.
fn values() -> Value {
    let mut values = yaml(VARIABLES);
    values["worker_identity"] = fixture!("ed25519").into();
    values["recovery_identity"] = RECOVERY.into();
    values["validate"]["worker_identity"] = fixture!("ed25519").into();
    values["validate"]["recovery_identity"] = RECOVERY.into();
    values["recipients"] = json!([RECIPIENT]);
    values["target_ops_manager"]["ssh_private_key"] = fixture!("rsa_pem").into();
    values["scratch_ops_manager"]["ssh_private_key"] = fixture!("rsa_pem").into();
    values["drill_worker_identity"] = fixture!("ed25519").into();
    values["confirm_target"] = values["foundation"].clone();
    values["deployment"] = values["deployments"][0].clone();
    values
}

/// Names of the pipeline's resources of our type.
fn ours(pipeline: &Value) -> BTreeMap<&str, &Value> {
    let resources = pipeline["resources"].as_array().unwrap();
    resources
        .iter()
        .filter(|resource| resource["type"] == "foundation-backup")
        .map(|resource| (resource["name"].as_str().unwrap(), &resource["source"]))
        .collect()
}

#[test]
fn the_real_fly_accepts_every_pipeline() {
    let Some(fly) = pipeline::tool("fly") else {
        return;
    };
    for path in pipeline::pipelines()
        .iter()
        .map(String::as_str)
        .chain(["ci/pipeline.yml"])
    {
        let example = if path.starts_with("ci/") {
            None
        } else {
            Some(["-l", VARIABLES])
        };
        for more in [None, example] {
            let run = Command::new(&fly)
                .current_dir(pipeline::root())
                .args(["validate-pipeline", "--strict", "-c", path])
                .args(more.iter().flatten())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
            assert!(
                run.status.success() && said.contains("looks good"),
                "{path}: {said}"
            );
        }
    }
}

#[test]
fn every_variable_is_explained_and_none_for_nothing() {
    let example = yaml(VARIABLES);
    let mut used = BTreeSet::new();
    for path in pipeline::pipelines() {
        let own = variables(&yaml(&path));
        for name in own.iter().filter(|name| !name.starts_with(".:")) {
            let pointer = format!("/{}", name.replace('.', "/"));
            assert!(
                example.pointer(&pointer).is_some(),
                "{path}: (({name})) is not in {VARIABLES}"
            );
            used.insert(name.split('.').next().unwrap().to_owned());
        }
    }
    let given: BTreeSet<String> = example.as_object().unwrap().keys().cloned().collect();
    assert_eq!(given, used, "{VARIABLES} and the pipelines");
    assert_eq!(
        example["confirm_target"], "",
        "{VARIABLES}: a person confirms, no file"
    );
}

/// Source and params of every put and get of ours are taken by the configuration, variables filled in.
#[test]
fn what_pipelines_ask_of_the_resource_is_understood() {
    let mut asked = 0;
    for path in pipeline::pipelines() {
        let pipeline = yaml(&path);
        for (resource, source) in ours(&pipeline) {
            for kind in ["get", "put"] {
                for (_, step) in steps(&pipeline, kind).filter(|(name, _)| *name == resource) {
                    let door = match kind {
                        "get" => Door::Get,
                        _ => Door::Put { inputs: "/".into() },
                    };
                    let layers = vec![
                        Layer::new("source.", filled(source, &values())),
                        Layer::new("params.", filled(&step["params"], &values())),
                    ];
                    understood(
                        &format!("{path}: {kind} {}", step["params"]),
                        Layers::new(layers),
                        &door,
                    );
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 20, "{asked}");
}

/// The same for tasks: their files are there, every param is declared, nothing required is left out, and what arrives
/// as environment is a configuration.
#[test]
fn what_pipelines_ask_of_tasks_is_understood() {
    let mut asked = BTreeSet::new();
    for path in pipeline::pipelines() {
        let pipeline = yaml(&path);
        for (name, step) in steps(&pipeline, "task") {
            let place = format!("{path}: task {name}");
            let task = yaml(&task_file(step));
            assert_eq!(task_file(step), format!("tasks/{name}/task.yml"), "{place}");
            assert_eq!(step["image"], "lifeboat", "{place}");
            let given = step["params"].as_object().unwrap();
            for (param, value) in given {
                assert!(
                    task["params"].get(param).is_some(),
                    "{place}: {param} is not declared"
                );
                // A variable inside a map would be pasted as it is; alone it stays what it is.
                let structured = !value.is_string();
                assert!(
                    !structured || variables(value).is_empty(),
                    "{place}: {param} holds a variable inside a map or list"
                );
            }
            for (param, value) in task["params"].as_object().unwrap() {
                assert!(
                    !value.is_null() || given.contains_key(param),
                    "{place}: {param} is required"
                );
            }
            let vars = filled(&step["vars"], &values());
            let args = filled(
                &task["run"]["args"],
                &json!({
                    "deployment": vars["deployment"], "id": vars["id"],
                }),
            );
            let environment: Environment = task_environment(&task, step, &values())
                .into_iter()
                .collect();
            let layers = environment.layers();
            let layers = layers.unwrap_or_else(|error| panic!("{place}: {error}"));
            understood(&place, Layers::new(layers), &door(&args));
            asked.insert(name.to_owned());
        }
    }
    assert!(asked.len() > 10, "{asked:?}");
}

fn understood(place: &str, layers: Layers, door: &Door) {
    match config::resolve(layers, door, &Environment::default()) {
        Ok(_) => {}
        Err(error) => panic!("{place}: {error}"),
    }
}

/// How a command's configuration is read.
fn door(args: &Value) -> Door {
    let args: Vec<&str> = args
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match args[..] {
        ["backup"] => Door::Backup,
        ["pre-backup-check"] => Door::Precheck,
        ["cleanup"] => Door::Cleanup,
        ["list"] | ["show", _] => Door::Read,
        ["fetch", _, _] => Door::Fetch,
        ["restore", "plan"] => Door::RestorePlan,
        ["restore", step] => Door::Restore(Step::parse(step).unwrap()),
        ["restore-cleanup"] => Door::RestoreCleanup,
        ["drill"] => Door::Drill(End::TearDown),
        ["drill-cleanup"] => Door::Drill(End::OnlyTearDown),
        ["prune", ..] => Door::Prune,
        ["stage"] => Door::Stage { remove: false },
        ["verify"] => Door::Verify,
        ["replicate" | "repair" | "report" | "alerts", ..] => Door::Read,
        _ => panic!("{args:?}"),
    }
}

#[test]
fn inputs_of_tasks_are_there() {
    for path in pipeline::pipelines() {
        let pipeline = yaml(&path);
        for job in pipeline["jobs"].as_array().unwrap() {
            let fetched: BTreeSet<&str> = steps(job, "get").map(|(name, _)| name).collect();
            for (name, step) in steps(job, "task") {
                let place = format!("{path}: job {}: task {name}", job["name"]);
                let task = yaml(&task_file(step));
                let inputs = task["inputs"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                assert!(
                    fetched.contains("lifeboat"),
                    "{place}: its image is not fetched"
                );
                for input in inputs {
                    let own = input["name"].as_str().unwrap();
                    let mapped = step["input_mapping"][own].as_str().unwrap_or(own);
                    let optional = input["optional"] == true && own != "backup";
                    assert!(
                        optional || fetched.contains(mapped),
                        "{place}: nothing gives {mapped}"
                    );
                }
            }
        }
    }
}

/// Whatever locks has, right at it, what unlocks the same components.
#[test]
fn no_cleanup_is_forgotten() {
    let mut checked = 0;
    for path in pipeline::pipelines() {
        let pipeline = yaml(&path);
        for (_, step) in
            steps(&pipeline, "put").filter(|(_, step)| step["params"]["backup"].is_array())
        {
            let locked: Vec<&Value> = step["params"]["backup"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|component| **component != "ops-manager")
                .collect();
            if locked.is_empty() {
                continue;
            }
            let ensure = &step["ensure"];
            let cleaned: Vec<&Value> = ensure["params"]["cleanup"]
                .as_array()
                .into_iter()
                .flatten()
                .collect();
            assert_eq!(
                cleaned, locked,
                "{path}: put without an ensure that cleans the same"
            );
            assert_eq!(
                ensure["params"]["ops_manager"], step["params"]["ops_manager"],
                "{path}"
            );
            assert_eq!(ensure["no_get"], true, "{path}");
            assert!(
                ensure["timeout"].is_string(),
                "{path}: a second abort does not stop an ensure"
            );
            checked += 1;
        }
        for (_, step) in steps(&pipeline, "task").filter(|(name, _)| *name == "drill") {
            let ensure = &step["ensure"];
            assert_eq!(ensure["task"], "drill-cleanup", "{path}");
            assert!(ensure["timeout"].is_string(), "{path}: drill");
            checked += 1;
        }
        let restores = [
            "restore-director",
            "restore-tas",
            "restore-service-instances",
            "restore-deployment",
        ];
        for (name, step) in steps(&pipeline, "task").filter(|(name, _)| restores.contains(name)) {
            let ensure = &step["ensure"];
            assert_eq!(ensure["task"], "restore-cleanup", "{path}: {name}");
            assert!(ensure["timeout"].is_string(), "{path}: {name}");
            let cleaned = variables_filled(&ensure["params"]["LIFEBOAT_CLEANUP"]);
            let own = name.trim_start_matches("restore-");
            assert!(cleaned.contains(own), "{path}: {name} cleans {cleaned}");
            checked += 1;
        }
        // `ensure` at a step with `across` would run once, without its variable.
        for step in pipeline::maps(&pipeline).filter(|step| step["across"].is_array()) {
            assert!(
                step["put"].is_null() && step["task"].is_null(),
                "{path}: across needs `do`"
            );
        }
        // Retries would repeat the downtime.
        assert!(
            pipeline::maps(&pipeline)
                .all(|step| step["attempts"].is_null() && step["interruptible"].is_null()),
            "{path}: attempts or interruptible"
        );
    }
    assert!(checked >= 12, "{checked}");
}

fn variables_filled(value: &Value) -> String {
    filled(value, &values()).to_string()
}

/// A restore starts by hand, follows one backup through all jobs, and never uses what the backup pipelines use to
/// reach the foundation that was saved.
#[test]
fn a_restore_waits_for_people() {
    let path = "pipelines/restore.yml";
    let restore = yaml(path);
    assert!(
        pipeline::maps(&restore).all(|step| step["trigger"].is_null()),
        "{path}: a trigger"
    );
    assert!(
        !variables(&restore).contains("ops_manager"),
        "{path}: ((ops_manager)) is the saved foundation's"
    );
    for job in restore["jobs"].as_array().unwrap() {
        let name = job["name"].as_str().unwrap();
        let (_, backup) = steps(job, "get")
            .find(|(name, _)| *name == "prod-backup")
            .unwrap();
        let first = name.starts_with("plan");
        assert_eq!(backup["passed"].is_null(), first, "{path}: {name}");
        assert_eq!(job["serial_groups"], json!(["target"]), "{path}: {name}");
    }
    let order: Vec<&str> = [
        "ops-manager",
        "director",
        "references",
        "tas",
        "service-instances",
    ]
    .into_iter()
    .flat_map(|name| {
        let job = restore["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|job| job["name"] == name);
        steps(&job.unwrap()["plan"], "task")
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    })
    .filter(|name| *name != "restore-cleanup")
    .collect();
    let steps: Vec<String> = Step::IN_ORDER
        .iter()
        .map(|step| format!("restore-{step}"))
        .collect();
    assert_eq!(order, steps, "{path}: the steps in their order");
}

#[test]
fn pipelines_say_what_they_are() {
    let manual = read("README.md");
    for path in pipeline::pipelines() {
        let text = read(&path);
        let head: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix('#'))
            .collect();
        let head = head.join("\n");
        for words in ["public API", "fly set-pipeline", VARIABLES, "─► "] {
            assert!(head.contains(words), "{path}: its head has no `{words}`");
        }
        assert!(
            manual.contains(&format!("`{path}`")),
            "README.md does not name {path}"
        );
    }
}

/// The image's names and releases agree with the project's.
#[test]
fn the_dockerfile_builds_this_release() {
    let file = read("Dockerfile");
    let argument = |name: &str| {
        let line = file
            .lines()
            .find_map(|line| line.strip_prefix(&format!("ARG {name}=")));
        line.unwrap_or_else(|| panic!("Dockerfile: ARG {name}"))
            .to_owned()
    };
    assert_eq!(argument("version"), env!("CARGO_PKG_VERSION"));
    let channel = read("rust-toolchain.toml");
    let release = argument("builder_image");
    let release = release
        .split_once(":")
        .unwrap()
        .1
        .split('-')
        .next()
        .unwrap()
        .to_owned();
    assert!(
        channel.contains(&format!("\"{release}.")),
        "{release}: {channel}"
    );
    let script = read("ci/image");
    for name in [argument("builder_image"), argument("base_image")] {
        assert!(
            script.contains(&format!("={name}\n")),
            "ci/image makes no {name}"
        );
    }
}
