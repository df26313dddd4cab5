//! Pipelines and task files as Concourse reads them: steps, variables, what becomes of a task's params.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// The project's directory.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project.
pub fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A YAML file of the project.
pub fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `pipelines/*.yml` without the variables.
pub fn pipelines() -> Vec<String> {
    let mut found: Vec<String> = names("pipelines")
        .into_iter()
        .filter(|name| name.ends_with(".yml") && !name.starts_with("vars."))
        .map(|name| format!("pipelines/{name}"))
        .collect();
    found.sort();
    assert!(found.len() >= 3, "{found:?}");
    found
}

/// The directories of `tasks/`.
pub fn tasks() -> Vec<String> {
    let mut found = names("tasks");
    found.sort();
    assert!(found.len() >= 20, "{found:?}");
    found
}

fn names(directory: &str) -> Vec<String> {
    std::fs::read_dir(root().join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Every map of a pipeline or a job, however deep; steps are among them.
pub fn maps(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter().flat_map(maps)),
        Value::Object(map) => Box::new(std::iter::once(value).chain(map.values().flat_map(maps))),
        _ => Box::new(std::iter::empty()),
    }
}

/// Steps of a kind, with its name.
pub fn steps<'a>(value: &'a Value, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    maps(value).filter_map(move |step| Some((step.get(kind)?.as_str()?, step)))
}

/// The names between `((` and `))`, in all texts.
pub fn variables(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => text
            .split("((")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once("))")?.0.to_owned()))
            .collect(),
        Value::Array(items) => items.iter().flat_map(variables).collect(),
        Value::Object(map) => map.values().flat_map(variables).collect(),
        _ => BTreeSet::new(),
    }
}

/// What Concourse puts into a step before it runs. A variable that stands alone keeps its kind; inside a text
/// it must be a text.
pub fn filled(value: &Value, values: &Value) -> Value {
    match value {
        Value::String(text) => filled_text(text, values),
        Value::Array(items) => items.iter().map(|item| filled(item, values)).collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, item)| (key.clone(), filled(item, values)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn filled_text(text: &str, values: &Value) -> Value {
    let alone = text
        .strip_prefix("((")
        .and_then(|rest| rest.strip_suffix("))"));
    if let Some(name) = alone.filter(|name| !name.contains("((")) {
        return looked_up(name, values).clone();
    }
    let mut whole = text.to_owned();
    for name in variables(&Value::String(text.to_owned())) {
        let value = looked_up(&name, values)
            .as_str()
            .unwrap_or_else(|| panic!("(({name})) stands in a text and is none"));
        whole = whole.replace(&format!("(({name}))"), value);
    }
    Value::String(whole)
}

fn looked_up<'a>(name: &str, values: &'a Value) -> &'a Value {
    let mut here = values;
    for part in name.trim_start_matches(".:").split('.') {
        here = here
            .get(part)
            .unwrap_or_else(|| panic!("(({name})) is not in pipelines/vars.example.yml"));
    }
    here
}

/// The environment of a task: its own params, those of the step, the variables. Maps and lists are made texts before
/// variables are put in, so that a variable inside a map is pasted as it is, line breaks and all.
pub fn task_environment(task: &Value, step: &Value, values: &Value) -> Vec<(String, String)> {
    let mut params: Map<String, Value> = Map::new();
    for given in [&task["params"], &step["params"]] {
        for (name, value) in given.as_object().into_iter().flatten() {
            params.insert(name.clone(), text(value));
        }
    }
    params
        .iter()
        .map(|(name, value)| {
            let value = text(&filled(value, values));
            (name.clone(), value.as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

fn text(value: &Value) -> Value {
    Value::String(match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// The file of a task step, below the project's directory: the image carries `tasks/`.
pub fn task_file(step: &Value) -> String {
    let file = step["file"].as_str().unwrap_or_default();
    let inside = "lifeboat/rootfs/usr/share/lifeboat/";
    let rest = file
        .strip_prefix(inside)
        .unwrap_or_else(|| panic!("{file}: task files come out of the image, {inside}…"));
    rest.to_owned()
}

/// A program that the tests can do without: named by a variable, in `target/tools/bin`, or on PATH.
pub fn tool(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(name.to_uppercase()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named
        .into_iter()
        .chain([root().join("target/tools/bin").join(name)])
        .chain(std::env::split_paths(&path).map(|directory| directory.join(name)))
        .find(|path| Path::new(path).is_file());
    if found.is_none() {
        // Not captured, so that it stands in the log of a run that passed.
        drop(writeln!(
            std::io::stderr(),
            "skipped: there is no {name} in ${}, target/tools/bin or PATH",
            name.to_uppercase()
        ));
    }
    found
}
