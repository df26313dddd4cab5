//! What is missing, unknown or of another type.

use serde_json::{Value, json};

use super::{assert_all, no_source, params, source, store};
use crate::support::request::{put, with};

#[test]
fn what_must_be_there_is_missed_by_name() {
    assert_all(
        "out",
        vec![
            (
                with(put(), "/source", Value::Null),
                "source.foundation: is missing or empty",
            ),
            (
                with(put(), "/source", json!([])),
                "source: expected a map, found a list",
            ),
            (
                with(put(), "/params", json!("x")),
                "params: expected a map, found a text",
            ),
            (
                no_source("foundation"),
                "source.foundation: is missing or empty",
            ),
            (
                source("foundation", json!(" ")),
                "source.foundation: is missing or empty",
            ),
            (
                no_source("stores"),
                "source.stores: is missing or empty; name at least one bucket or directory",
            ),
            (
                source("stores", json!([])),
                "source.stores: is missing or empty; name at least one bucket or directory",
            ),
            (
                no_source("recipients"),
                "source.recipients: is missing or empty; a backup needs at least one recipient (age1… or ssh-ed25519 …) who can recover it",
            ),
            (
                source("recipients", json!([])),
                "source.recipients: is an empty list; fill it or take it out",
            ),
            (
                no_source("director"),
                "source.director: is missing or empty; the component director needs its host, username and private_key",
            ),
            (
                no_source("director/host"),
                "source.director.host: is missing or empty",
            ),
            (
                no_source("director/username"),
                "source.director.username: is missing or empty",
            ),
            (
                no_source("director/private_key"),
                "source.director.private_key: is missing or empty",
            ),
            (
                no_source("bosh"),
                "source.bosh: is missing or empty; the component tas needs the Director's environment, client and client_secret",
            ),
            (
                no_source("bosh/environment"),
                "source.bosh.environment: is missing or empty",
            ),
            (
                no_source("bosh/client"),
                "source.bosh.client: is missing or empty",
            ),
            (
                no_source("bosh/client_secret"),
                "source.bosh.client_secret: is missing or empty",
            ),
            (
                no_source("tas"),
                "source.tas.deployment: is missing or empty; name the TAS deployment (cf-…, as `bosh deployments` lists it)",
            ),
            (
                params(json!({})),
                "params.backup: is missing or empty; a put needs `backup: [components…]`, `cleanup: [components…]` or `prune: true`",
            ),
            (
                params(json!({"backup": []})),
                "params.backup: is missing or empty; name at least one of director, tas and deployment/NAME",
            ),
            (
                params(json!({"backup": ["tas"], "worker_identity": ""})),
                "params.worker_identity: is empty; fill it, or take the key out to write unsigned backups",
            ),
        ],
    );
}

#[test]
fn unknown_keys_are_refused_by_name() {
    assert_all(
        "out",
        vec![
            (
                source("recipient", json!("x")),
                "source.recipient: is not a key of Lifeboat; did you mean `recipients`?",
            ),
            (
                params(json!({"bakcup": ["tas"]})),
                "params.bakcup: is not a key of Lifeboat; did you mean `backup`?",
            ),
            (
                store("buckt", json!("x")),
                "source.stores[1].buckt: is not a key of Lifeboat; did you mean `bucket`?",
            ),
            (
                store("region_name", json!("x")),
                "source.stores[1].region_name: is not a key of Lifeboat; the key is `region`",
            ),
            (
                store("skip_ssl_verification", json!(true)),
                "source.stores[1].skip_ssl_verification: is not a key of Lifeboat; certificates are always verified; give the CA as `ca_cert`",
            ),
            (
                source("bucket", json!("x")),
                "source.bucket: is not a key of Lifeboat; did you mean `stores[].bucket`?",
            ),
            (
                source("bosh/zzzz", json!("x")),
                "source.bosh.zzzz: is not a key of Lifeboat",
            ),
            (
                source("retention", json!({"keep": 3})),
                "source.retention.keep: is not a key of Lifeboat",
            ),
            (
                params(json!({"prune": true})),
                "params.retention: is missing or empty; prune keeps what it says and drops the rest: {keep_last: 7, …}",
            ),
        ],
    );
}

#[test]
fn wrong_types_are_refused_without_their_values() {
    assert_all(
        "out",
        vec![
            (
                source("stores", json!("hunter2")),
                "source.stores: expected a list, found a text",
            ),
            (
                source("stores/1", json!("hunter2")),
                "source.stores[1]: expected a map, found a text",
            ),
            (
                source("bosh", json!("hunter2")),
                "source.bosh: expected a map, found a text",
            ),
            (
                source("foundation", json!(true)),
                "source.foundation: expected a text, found true or false; put it in quotes",
            ),
            (
                source("foundation", json!(1.5)),
                "source.foundation: expected a text, found a number; put it in quotes",
            ),
            (
                source("foundation", json!(["a"])),
                "source.foundation: expected a text, found a list",
            ),
            (
                source("min_copies", json!("two")),
                "source.min_copies: expected a whole number, found a text",
            ),
            (
                source("min_copies", json!(-1)),
                "source.min_copies: expected a whole number, found a number",
            ),
            (
                source("recipients", json!(5)),
                "source.recipients: expected a list, found a number",
            ),
            (
                source("recipients", json!([["a"]])),
                "source.recipients[0]: expected a text, found a list",
            ),
            (
                source("with_manifest", json!("yes")),
                "source.with_manifest: expected true or false, found another text",
            ),
            (
                source("new_chain_every", json!(30)),
                "source.new_chain_every: expected a time with its unit (45s, 30m, 12h, 30d), found a number",
            ),
            (
                source("new_chain_every", json!("30 days")),
                "source.new_chain_every: expected a time with its unit (45s, 30m, 12h, 30d), found another text",
            ),
            (
                source("bosh/client_secret", json!({"a": 1})),
                "source.bosh.client_secret: expected a text, found a map",
            ),
        ],
    );
}
