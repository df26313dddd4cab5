//! `ops_manager`: who asks is one of two, nothing half given, nothing empty.

use serde_json::{Value, json};

use super::{assert_all, source};
use crate::support::request::fixture;

fn ops_manager(over: Value) -> Value {
    let mut whole =
        json!({"url": "https://opsman.example", "username": "ops", "password": "hunter2"});
    for (key, value) in over.as_object().expect("a map") {
        match value {
            Value::Null => drop(whole.as_object_mut().unwrap().remove(key)),
            value => whole[key] = value.clone(),
        }
    }
    source("ops_manager", whole)
}

#[test]
fn what_is_half_given_or_given_twice_is_refused() {
    assert_all(
        "out",
        vec![
            (
                ops_manager(json!({"url": null})),
                "source.ops_manager.url: is missing or empty",
            ),
            (
                ops_manager(json!({"url": "http://opsman.example"})),
                "source.ops_manager.url: begins with http://; an Ops Manager speaks https only",
            ),
            (
                ops_manager(json!({"url": "https://ops:hunter2@opsman.example"})),
                "source.ops_manager.url: holds a user name; use `username` and `password`",
            ),
            (
                ops_manager(json!({"url": "https://ops man"})),
                "source.ops_manager.url: has characters that no host name has",
            ),
            (
                ops_manager(json!({"username": null, "password": null})),
                "source.ops_manager.username: is missing or empty; give a username and password, or a client_id and client_secret",
            ),
            (
                ops_manager(json!({"password": ""})),
                "source.ops_manager.password: is missing or empty",
            ),
            (
                ops_manager(json!({"username": null})),
                "source.ops_manager.username: is missing or empty",
            ),
            (
                ops_manager(json!({"client_id": "ci", "client_secret": "hunter2"})),
                "source.ops_manager.client_id: stands beside a user; give username and password, or client_id and client_secret",
            ),
            (
                ops_manager(json!({"client_secret": "hunter2"})),
                "source.ops_manager.client_secret: stands beside a user; give username and password, or client_id and client_secret",
            ),
            (
                ops_manager(json!({"username": null, "password": null, "client_id": "ci"})),
                "source.ops_manager.client_secret: is missing or empty",
            ),
            (
                ops_manager(json!({"decryption_passphrase": ""})),
                "source.ops_manager.decryption_passphrase: is missing or empty",
            ),
            (
                ops_manager(json!({"ca_cert": "/etc/ca.pem"})),
                "source.ops_manager.ca_cert: is not PEM; give the certificate's text itself (-----BEGIN CERTIFICATE-----…), not a file's name",
            ),
            (
                ops_manager(json!({"ca_cert": fixture!("ca.pem"), "skip_ssl_validation": true})),
                "source.ops_manager.skip_ssl_validation: stands beside ca_cert, which it would make useless; take one out",
            ),
            (
                ops_manager(json!({"ssh_host_key": fixture!("ed25519.pub")})),
                "source.ops_manager.ssh_host_key: needs `ssh_private_key` beside it",
            ),
            (
                ops_manager(json!({"ssh_private_key": fixture!("ed25519.pub")})),
                "source.ops_manager.ssh_private_key: is a public key; the private half belongs here",
            ),
            (
                ops_manager(
                    json!({"ssh_private_key": fixture!("ed25519"), "ssh_username": "-oops"}),
                ),
                "source.ops_manager.ssh_username: is not a login name",
            ),
            (
                ops_manager(json!({"skip_ssl_verification": true})),
                "source.ops_manager.skip_ssl_verification: is not a key of Lifeboat; did you mean `skip_ssl_validation`?",
            ),
        ],
    );
}
