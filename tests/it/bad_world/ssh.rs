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
    let s3 = table.scene.foundation.ready["stores"]["s3"]["endpoint"]
        .as_str()
        .unwrap()
        .replace("http://", "");
    for (what, params, sentence) in [
        (
            "another key",
            director("private_key", fixture!("rsa_pem")),
            "director: bosh/0: the SSH server at … refused user `bob` with the private key given; check that the user exists there and that the key belongs to it. State: nothing was locked and nothing was stored",
        ),
        (
            "another user",
            director("username", "alice"),
            "director: bosh/0: the SSH server at … refused user `alice` with the private key given; check that the user exists there and that the key belongs to it. State: nothing was locked and nothing was stored",
        ),
        (
            "another host key",
            director("host_key", fixture!("ed25519.pub").trim()),
            "director: bosh/0: the host key of … is ssh-ed25519 …, expected was ssh-ed25519 …; nothing was run there; if the VM was recreated give its new key, else find out who answers at this address. State: nothing was locked and nothing was stored",
        ),
        (
            "a host key of another kind",
            director("host_key", fixture!("ecdsa.pub").trim()),
            "director: bosh/0: the SSH server at … and we found no common algorithms (Unable to exchange encryption keys), most likely because it has no host key of type ecdsa-sha2-nistp256; check the expected host key. State: nothing was locked and nothing was stored",
        ),
        (
            "a name without an address",
            director("host", "no-such-host.invalid"),
            "director: bosh/0: cannot resolve `no-such-host.invalid`: failed to lookup address information: Name or service not known; check the name and the worker's DNS. State: nothing was locked and nothing was stored",
        ),
        (
            "a port at which nobody listens",
            director("host", "127.0.0.1:1"),
            "director: bosh/0: cannot connect to …: connection refused; check that the VM is up and that the service listens on this port. State: nothing was locked and nothing was stored",
        ),
        (
            "a port that speaks no SSH",
            director("host", s3),
            "director: bosh/0: the SSH server at … did not greet us within 30 s; check the VM's load, or restart it. State: nothing was locked and nothing was stored",
        ),
    ] {
        table.put(what, &params, sentence);
    }
    let set = |value: Value| json!({"do": "set-script", "instance": "bosh", "job": "bosh", "script": "backup", "value": value});
    table.scene.foundation.ask(set(Value::Null));
    table.put("no scripts", &json!({"backup": ["director"]}), "director: pre-backup check: the director cannot be backed up: no instance has a job with a backup script; check that it is the right one, and that its jobs have their backup enabled. State: nothing was locked and nothing was stored");
    table.end(8);
}

#[test]
fn a_way_that_leads_nowhere() {
    let mut table = Table::new(&json!({"fixture": "S1", "socks": true, "jumpbox": true}));
    let jumpbox = table.scene.foundation.ready["jumpbox"].clone();
    let url = format!(
        "ssh+socks5://{}@{}",
        jumpbox["username"].as_str().unwrap(),
        jumpbox["address"].as_str().unwrap()
    );
    let key = std::fs::read_to_string(jumpbox["private_key_file"].as_str().unwrap()).unwrap();
    let host_key = jumpbox["host_public_key"].clone();
    let through = |url: &str, key: &str, host_key: &Value| json!({"bosh": {"all_proxy": url, "all_proxy_private_key": key, "all_proxy_host_key": host_key}});
    for (what, params, sentence) in [
        (
            "a SOCKS proxy that is down",
            json!({"bosh": {"all_proxy": "socks5://127.0.0.1:1"}}),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the proxy gave no connection (nothing listens there, or its name has no address); check all_proxy, its address and its rules. State: nothing was locked and nothing was stored",
        ),
        (
            "a SOCKS proxy without an address",
            json!({"bosh": {"all_proxy": "socks5://no-such-host.invalid:1080"}}),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the proxy gave no connection (nothing listens there, or its name has no address); check all_proxy, its address and its rules. State: nothing was locked and nothing was stored",
        ),
        (
            "a SOCKS proxy that is none",
            json!({"bosh": {"all_proxy": format!("socks5://{}", jumpbox["address"].as_str().unwrap())}}),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the proxy gave no connection (what answers there is no SOCKS5 proxy); check all_proxy, its address and its rules. State: nothing was locked and nothing was stored",
        ),
        (
            "a jumpbox that refuses the key",
            through(&url, fixture!("rsa_pem"), &host_key),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the tunnel gave no connection (the SSH server at … refused user `jumpbox` with the private key given; check that the user exists there and that the key belongs to it). State: nothing was locked and nothing was stored",
        ),
        (
            "a jumpbox with another host key",
            through(&url, &key, &json!(fixture!("ed25519.pub").trim())),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the tunnel gave no connection (the host key of … is ssh-ed25519 …, expected was ssh-ed25519 …; nothing was run there; if the VM was recreated give its new key, else find out who answers at this address). State: nothing was locked and nothing was stored",
        ),
        (
            "a jumpbox that is down",
            through("ssh+socks5://j@127.0.0.1:1", &key, &host_key),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the tunnel gave no connection (cannot connect to …: connection refused; check that the VM is up and that the service listens on this port). State: nothing was locked and nothing was stored",
        ),
        (
            "a jumpbox without an address",
            through("ssh+socks5://j@no-such-host.invalid:22", &key, &host_key),
            "deployment/dep: the BOSH Director at … is unreachable or unhealthy: …/info cannot be reached: the tunnel gave no connection (cannot resolve `no-such-host.invalid`: failed to lookup address information: Name or service not known; check the name and the worker's DNS). State: nothing was locked and nothing was stored",
        ),
    ] {
        table.put(what, &params, sentence);
    }
    table.end(7);
}
