//! `tasks/*/task.yml`: fields that Concourse knows, params that Lifeboat knows, commands that are accepted, heads
//! that say what is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use lifeboat::config::environment;
use lifeboat::operation::settings::Step;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::depot::Depot;
use crate::support::{pipeline, process};

/// A task's configuration, as Concourse reads it: other fields are errors there too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    platform: String,
    #[serde(default)]
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
    #[serde(default)]
    params: BTreeMap<String, Option<String>>,
    run: Run,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    #[serde(default)]
    optional: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    path: String,
    args: Vec<String>,
}

/// Variables of a step that args hold, with a value each.
const VARS: [(&str, &str); 3] = [
    ("((id))", "latest"),
    ("((deployment))", "redis"),
    ("((why))", "audit"),
];

/// Its parsed form, its head in one line, and its text.
fn each() -> Vec<(String, Task, String)> {
    pipeline::tasks()
        .into_iter()
        .map(|name| {
            let path = format!("tasks/{name}/task.yml");
            let text = pipeline::read(&path);
            let task: Task =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let head: Vec<&str> = text
                .lines()
                .map_while(|line| line.strip_prefix('#'))
                .collect();
            (name, task, head.join("\n"))
        })
        .collect()
}

#[test]
fn every_task_says_what_it_needs() {
    for (name, task, head) in each() {
        assert_eq!(task.platform, "linux", "{name}");
        for words in ["public API", "no shell and no privilege", "Exit codes: 0 "] {
            let flat = head.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                flat.contains(words),
                "{name}: its head does not say `{words}`"
            );
        }
        let said = |what: &str| {
            head.lines()
                .map(|line| line.trim_start_matches(' '))
                .find(|line| line.split(' ').next() == Some(what))
                .unwrap_or_else(|| panic!("{name}: its head does not explain {what}"))
                .to_owned()
        };
        for (param, value) in &task.params {
            let line = said(param);
            match value {
                None => assert!(line.contains(" required: "), "{name}: {line}"),
                Some(text) if text.is_empty() => {
                    assert!(line.contains(" default "), "{name}: {line}");
                }
                Some(text) => {
                    assert!(line.contains(&format!(" default {text}")), "{name}: {line}");
                }
            }
        }
        for input in &task.inputs {
            let kind = if input.optional {
                "optional: "
            } else {
                "required: "
            };
            assert!(said(&input.name).contains(kind), "{name}: {}", input.name);
        }
        for output in &task.outputs {
            said(&output.name);
        }
        for (variable, _) in VARS {
            if task
                .run
                .args
                .iter()
                .any(|argument| argument.contains(variable))
            {
                let line = said(variable.trim_matches(['(', ')']));
                assert!(line.contains(" required: "), "{name}: {line}");
            }
        }
    }
}

#[test]
fn every_param_of_a_task_is_a_variable_of_lifeboat() {
    let known: BTreeSet<String> = environment::variables()
        .into_iter()
        .map(|(name, _)| name)
        .chain(["LIFEBOAT_CONFIG".to_owned()])
        .collect();
    for (name, task, _) in each() {
        for param in task.params.keys() {
            assert!(
                known.contains(param),
                "{name}: {param} is no variable of Lifeboat"
            );
        }
        // A restore must be confirmed each time: no file may do it.
        let confirmation = task.params.get("LIFEBOAT_CONFIRM_TARGET");
        let changes = name.starts_with("restore-")
            && !["restore-plan", "restore-cleanup"].contains(&name.as_str())
            || ["drill", "drill-cleanup", "stage"].contains(&name.as_str());
        assert_eq!(
            confirmation,
            changes.then_some(&None),
            "{name}: LIFEBOAT_CONFIRM_TARGET"
        );
    }
}

/// Nothing is configured, so each fails, but not for its arguments.
#[test]
fn every_task_runs_a_command_that_is_accepted() {
    for (name, task, _) in each() {
        assert_eq!(task.run.path, "lifeboat", "{name}: no shell stands between");
        let arguments: Vec<String> = task
            .run
            .args
            .iter()
            .map(|argument| {
                VARS.iter()
                    .fold(argument.clone(), |text, (variable, value)| {
                        text.replace(variable, value)
                    })
            })
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = process::cli(&arguments, &[]);
        assert_eq!(run.code, 1, "{name}: {arguments:?}: {}", run.stderr);
        assert!(
            run.last_line().contains("is missing or empty"),
            "{name}: {}",
            run.last_line()
        );
        let first = task.run.args[0].as_str();
        let restore = ["restore", "restore-cleanup"].contains(&first);
        let named = if first == "restore" {
            format!(
                "restore-{}",
                task.run.args[1].split('/').next().unwrap_or_default()
            )
        } else {
            first.to_owned()
        };
        assert_eq!(named, name, "a task is named after its command");
        assert_eq!(restore, name.starts_with("restore-"));
    }
}

/// A directory goes into two stores and comes back, by tasks alone: what their files say becomes environment and
/// arguments, as Concourse does it.
#[test]
fn a_backup_goes_there_and_back_by_tasks() {
    let depot = Depot::new();
    let work = depot.scratch.path().join("build");
    fs::create_dir_all(work.join("artifact")).unwrap();
    fs::create_dir_all(work.join("backup")).unwrap();
    fs::write(work.join("artifact/dump.sql"), "select 1;\n").unwrap();
    let common = json!({
        "LIFEBOAT_FOUNDATION": depot.source["foundation"],
        "LIFEBOAT_STORES": depot.source["stores"],
        "LIFEBOAT_TRUSTED_WORKERS": depot.source["trusted_workers"],
    });
    let run = |name: &str, more: Value| {
        let task = pipeline::yaml(&format!("tasks/{name}/task.yml"));
        let mut params = common.clone();
        for (param, value) in more.as_object().unwrap() {
            params[param] = value.clone();
        }
        let environment = pipeline::task_environment(&task, &json!({"params": params}), &json!({}));
        let arguments = pipeline::filled(&task["run"]["args"], &json!({"id": "latest"}));
        let arguments: Vec<&str> = arguments
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut command = process::command("lifeboat", arguments);
        command.envs(environment).current_dir(&work);
        process::finish(process::start(command, "")).ok()
    };
    let id = run(
        "backup",
        json!({
            "LIFEBOAT_BACKUP": ["deployment/redis"],
            "LIFEBOAT_FROM": "artifact",
            "LIFEBOAT_RECIPIENTS": depot.source["recipients"],
            "LIFEBOAT_WORKER_IDENTITY": depot.worker_identity,
        }),
    )
    .stdout;
    assert!(run("list", json!({})).stdout.contains(id.trim()), "{id}");
    assert!(run("show", json!({})).stdout.contains("deployment/redis"));
    run(
        "fetch",
        json!({"LIFEBOAT_RECOVERY_IDENTITY": depot.recovery_identity, "LIFEBOAT_COMPONENTS": ["deployment/redis"]}),
    );
    let back = fs::read(work.join("backup/deployment/redis/dump.sql")).unwrap();
    assert_eq!(back, b"select 1;\n");
}

#[test]
fn every_command_and_every_step_of_a_restore_has_a_task() {
    let tasks = pipeline::tasks();
    // keygen: keys made in a container would lie in its log or its volume. recipients: a person's, who
    // has the recovery key at hand. version: nothing to do.
    let without = ["keygen", "recipients", "version", "restore"];
    let wanted: Vec<String> = lifeboat::cli::commands()
        .into_iter()
        .filter(|command| !without.contains(&command.as_str()))
        .collect();
    for command in &wanted {
        assert!(tasks.contains(command), "tasks/{command} is missing");
    }
    let steps = Step::IN_ORDER.iter().map(ToString::to_string);
    for step in steps.chain(["plan".to_owned(), "deployment".to_owned()]) {
        let task = format!("restore-{step}");
        assert!(tasks.contains(&task), "tasks/{task} is missing");
    }
    assert_eq!(
        tasks.len(),
        wanted.len() + Step::IN_ORDER.len() + 2,
        "a task for nothing"
    );
}

#[test]
fn every_task_is_in_the_manual() {
    let manual = pipeline::read("README.md");
    for name in pipeline::tasks() {
        let shown = [
            format!("`{name}`"),
            format!("`…-{}`", name.trim_start_matches("restore-")),
        ];
        assert!(
            shown.iter().any(|text| manual.contains(text)),
            "README.md does not name the task {name}"
        );
    }
}
