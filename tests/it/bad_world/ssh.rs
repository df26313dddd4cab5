//! Plain SSH to the director, jumpboxes and proxies.

use serde_json::{Value, json};

use super::table::Table;
use crate::support::request::fixture;

fn director(key: &str, value: impl Into<Value>) -> Value {
    json!({"backup": ["director"], "director": {key: value.into()}})
}

#[test]
fn a_director_that_cannot_be_logged_in_to() {
    let mut table = Table::new(&json!({"fixture": "X1", "stores": ["s3"]}));
    let s3 = table.scene.foundation.ready["stores"]["s3"]["endpoint"].as_str().unwrap().replace("http://", "");
    for (what, params, sentence) in [
        ("another key", director("private_key", fixture!("rsa_pem")), "?"),
        ("another user", director("username", "alice"), "?"),
        ("another host key", director("host_key", fixture!("ed25519.pub").trim()), "?"),
        ("a host key of another kind", director("host_key", fixture!("ecdsa.pub").trim()), "?"),
        ("a name without an address", director("host", "no-such-host.invalid"), "?"),
        ("a port at which nobody listens", director("host", "127.0.0.1:1"), "?"),
        ("a port that speaks no SSH", director("host", s3), "?"),
    ] {
        table.put(what, &params, sentence);
    }
    let set = |value: Value| json!({"do": "set-script", "instance": "bosh", "job": "bosh", "script": "backup", "value": value});
    table.scene.foundation.ask(set(Value::Null));
    table.put("no scripts", &json!({"backup": ["director"]}), "?");
    table.end(8);
}

#[test]
fn a_way_that_leads_nowhere() {
    let mut table = Table::new(&json!({"fixture": "S1", "socks": true, "jumpbox": true}));
    let jumpbox = table.scene.foundation.ready["jumpbox"].clone();
    let url = format!("ssh+socks5://{}@{}", jumpbox["username"].as_str().unwrap(), jumpbox["address"].as_str().unwrap());
    let key = std::fs::read_to_string(jumpbox["private_key_file"].as_str().unwrap()).unwrap();
    let host_key = jumpbox["host_public_key"].clone();
    let through = |url: &str, key: &str, host_key: &Value| json!({"bosh": {"all_proxy": url, "all_proxy_private_key": key, "all_proxy_host_key": host_key}});
    for (what, params, sentence) in [
        ("a SOCKS proxy that is down", json!({"bosh": {"all_proxy": "socks5://127.0.0.1:1"}}), "?"),
        ("a SOCKS proxy without an address", json!({"bosh": {"all_proxy": "socks5://no-such-host.invalid:1080"}}), "?"),
        ("a SOCKS proxy that is none", json!({"bosh": {"all_proxy": format!("socks5://{}", jumpbox["address"].as_str().unwrap())}}), "?"),
        ("a jumpbox that refuses the key", through(&url, fixture!("rsa_pem"), &host_key), "?"),
        ("a jumpbox with another host key", through(&url, &key, &json!(fixture!("ed25519.pub").trim())), "?"),
        ("a jumpbox that is down", through("ssh+socks5://j@127.0.0.1:1", &key, &host_key), "?"),
        ("a jumpbox without an address", through("ssh+socks5://j@no-such-host.invalid:22", &key, &host_key), "?"),
    ] {
        table.put(what, &params, sentence);
    }
    table.end(7);
}
