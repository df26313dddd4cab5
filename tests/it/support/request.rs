//! Requests that are right, to be made wrong one by one.

use serde_json::{Value, json};

/// A test key or certificate.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/keys/",
            $name
        ))
    };
}
pub(crate) use fixture;

/// A recovery recipient and its identity.
pub(crate) const RECIPIENT: &str = "age1w3p65lap0ls29ch8ksdckyfge3u48hnqanl9xpqck7dkgvcxus7sxu3kz3";
pub(crate) const RECOVERY: &str =
    "AGE-SECRET-KEY-1D3CYDAL7KKLQWZ6UPGX33XAM2KQRHS5JDZEMZ8RWU4HDCS29ULCSDGM55C";

/// A whole request of a put that backs up the director and TAS into two buckets.
pub(crate) fn put() -> Value {
    json!({
        "source": {
            "foundation": "prod-east",
            "stores": [bucket("dc1"), bucket("dc2")],
            "recipients": [RECIPIENT],
            "director": {
                "host": "10.0.0.6",
                "username": "jumpbox",
                "private_key": fixture!("rsa_pem"),
                "host_key": fixture!("ed25519.pub").trim(),
            },
            "bosh": {
                "environment": "https://10.0.0.6:25555",
                "client": "ops",
                "client_secret": "client-secret",
                "ca_cert": fixture!("ca.pem"),
            },
            "tas": {"deployment": "cf-1a2b"},
        },
        "params": {"backup": ["director", "tas"], "worker_identity": fixture!("ed25519")},
    })
}

fn bucket(name: &str) -> Value {
    json!({
        "name": name,
        "bucket": format!("backups-{name}"),
        "endpoint": "http://127.0.0.1:9",
        "access_key_id": "AKIAFIXTURE",
        "secret_access_key": "secret-of-the-bucket",
    })
}

/// The request with the value at a JSON pointer replaced, or added.
pub(crate) fn with(mut request: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
    match request.pointer_mut(parent).expect("its parent is there") {
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value,
        _ => panic!("{parent} holds nothing"),
    }
    request
}

/// The request without what stands at a JSON pointer.
pub(crate) fn without(mut request: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = request.pointer_mut(parent).expect("its parent is there");
    parent
        .as_object_mut()
        .expect("a map")
        .remove(key)
        .expect("a key");
    request
}
