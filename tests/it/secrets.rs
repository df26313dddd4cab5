//! A secret planted in every field appears nowhere.

use lifeboat::config::environment::Environment;
use lifeboat::config::{self, Door, Layer, Layers};
use serde_json::{Value, json};

use crate::support::process;
use crate::support::request::{RECOVERY, fixture, put, with};

const PLANTED: &str = "hunter2-plant-4711";

/// Paths of every leaf of a value, as JSON pointers.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                leaves(inner, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                leaves(inner, &format!("{at}/{index}"), found);
            }
        }
        _ => found.push(at.to_owned()),
    }
}

/// A request with something under every known key.
fn everything() -> Value {
    let mut request = put();
    for (section, key) in config::known_keys() {
        let pointer = match section {
            "" => format!("/source/{key}"),
            "stores[]" => format!("/source/stores/0/{key}"),
            section => format!("/source/{section}/{key}"),
        };
        let parent = pointer.rsplit_once('/').unwrap().0;
        if !request
            .pointer(parent)
            .is_some_and(|at| at.is_object() || at.is_array())
        {
            request = with(request, parent, json!({}));
        }
        if request.pointer(&pointer).is_none() {
            request = with(request, &pointer, json!("x"));
        }
    }
    request
}

#[test]
fn a_value_appears_in_no_error_and_no_log() {
    let request = everything();
    let mut pointers = Vec::new();
    leaves(&request, "", &mut pointers);
    assert!(pointers.len() > 60, "{pointers:?}");
    let directory = tempfile::tempdir().unwrap();
    let door = Door::Put {
        inputs: directory.path().to_owned(),
    };
    let mut refused = 0;
    for pointer in pointers {
        for planted in [
            json!(PLANTED),
            json!([PLANTED]),
            json!({ PLANTED: 1 }),
            json!(47_114_711_u64),
        ] {
            let request = with(put(), "/params/debug", json!(true));
            let parent = pointer.rsplit_once('/').unwrap().0;
            let request = match request.pointer(parent) {
                Some(Value::Object(_) | Value::Array(_)) => {
                    with(request, &pointer, planted.clone())
                }
                _ => with(with(request, parent, json!({})), &pointer, planted.clone()),
            };
            // What is right would go on to the stores.
            let layers = layers(&request);
            if config::resolve(layers, &door, &Environment::default()).is_ok() {
                continue;
            }
            let text = request.to_string();
            let run = process::script("out", Some(directory.path()), text.as_bytes());
            refused += 1;
            let all = format!("{}{}", run.stdout, run.stderr);
            // A key is named, a value never is.
            let leaked =
                (all.contains(PLANTED) && !planted.is_object()) || all.contains("47114711");
            assert!(!leaked, "{pointer} {planted}: {all}");
        }
    }
    assert!(refused > 150, "{refused}");
}

fn layers(request: &Value) -> Layers {
    Layers::new(vec![
        Layer::new("source.", request["source"].clone()),
        Layer::new("params.", request["params"].clone()),
    ])
}

#[test]
fn no_debug_of_a_configuration_shows_a_secret() {
    let secrets = [
        ("/source/bosh/client_secret", PLANTED),
        ("/source/stores/0/access_key_id", PLANTED),
        ("/source/stores/0/secret_access_key", PLANTED),
        ("/source/stores/0/session_token", PLANTED),
        ("/source/recovery_identity", RECOVERY),
        ("/source/worker_identity", fixture!("ed25519")),
        ("/source/director/private_key", fixture!("rsa_pem")),
        ("/source/bosh/all_proxy_private_key", fixture!("rsa")),
    ];
    let mut request = with(
        put(),
        "/source/bosh/all_proxy",
        json!("ssh+socks5://j@10.0.0.5:22"),
    );
    for (pointer, secret) in secrets {
        request = with(request, pointer, json!(secret));
    }
    let layers = layers(&request);
    let shown = format!("{layers:?}");
    let door = Door::Put {
        inputs: "/tmp".into(),
    };
    let configuration =
        config::resolve(layers, &door, &Environment::default()).expect("it is right");
    assert_eq!(
        configuration.warnings.len(),
        2,
        "{:?}",
        configuration.warnings
    );
    let shown = format!("{shown}{configuration:?}");
    for (pointer, secret) in secrets {
        let telling = secret
            .lines()
            .find(|line| !line.starts_with("-----"))
            .unwrap();
        assert!(!shown.contains(telling), "{pointer}");
    }
}
