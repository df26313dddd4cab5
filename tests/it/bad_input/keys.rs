//! Keys and certificates: each mistake has its sentence, and none is repeated.

use serde_json::json;

use super::{assert_all, params, source};
use crate::support::request::{RECIPIENT, RECOVERY, fixture};

#[test]
fn keys_are_checked_at_the_edge_and_never_repeated() {
    let recipient = |text: &str| source("recipients", json!([RECIPIENT, text]));
    let worker = |text: &str| params(json!({"backup": ["tas"], "worker_identity": text}));
    let login = |text: &str| source("director/private_key", json!(text));
    let ca = |text: &str| source("bosh/ca_cert", json!(text));
    let host_key = |text: &str| source("director/host_key", json!(text));
    let one_line = fixture!("ed25519").replace('\n', " ");
    let one_line_ca = fixture!("ca.pem").replace('\n', "\\n");
    let own = fixture!("ed25519.pub");
    assert_all(
        "out",
        vec![
            (
                recipient(RECOVERY),
                "source.recipients[1]: is a private key where a public one belongs (age1… or ssh-ed25519 …); treat that key as known to others and make a new one",
            ),
            (
                recipient(fixture!("ed25519")),
                "source.recipients[1]: is a private key where a public one belongs (age1… or ssh-ed25519 …); treat that key as known to others and make a new one",
            ),
            (
                recipient(fixture!("rsa.pub")),
                "source.recipients[1]: is an RSA key; recipients are age1… or ssh-ed25519 … keys (one short kind of key, so that recovery needs no choices)",
            ),
            (
                recipient(fixture!("ecdsa.pub")),
                "source.recipients[1]: is an SSH key of a kind that age cannot encrypt to; use age1… or ssh-ed25519 …",
            ),
            (
                recipient(&RECIPIENT[..40]),
                "source.recipients[1]: is not a whole age1… recipient of X25519 kind (mistyped, cut off, or a plugin's)",
            ),
            (
                recipient("ssh-ed25519 AAAA"),
                "source.recipients[1]: is not a whole ssh-ed25519 public key (mistyped or cut off)",
            ),
            (
                recipient("alice@example.com"),
                "source.recipients[1]: is not a recipient; use age1… or ssh-ed25519 …",
            ),
            (recipient(RECIPIENT), "source.recipients[1]: is there twice"),
            (recipient(""), "source.recipients[1]: is empty"),
            (
                recipient(own),
                "source.recipients[1]: is the public half of worker_identity: the worker could read every backup; recover with a key that the worker does not hold",
            ),
            (
                source("trusted_workers", json!([RECIPIENT])),
                "source.trusted_workers[0]: is an age recipient, which cannot sign; give the worker's ssh-ed25519 … public key",
            ),
            (
                source("trusted_workers", json!([fixture!("ed25519")])),
                "source.trusted_workers[0]: is a private key where a worker's public key belongs (ssh-ed25519 …); treat that key as known to others and make a new one",
            ),
            (
                worker(own),
                "params.worker_identity: is a public key; the private half belongs here",
            ),
            (
                worker(RECOVERY),
                "params.worker_identity: is an age key, which cannot sign; make one with `lifeboat keygen` or `ssh-keygen -t ed25519`",
            ),
            (
                worker(&one_line),
                "params.worker_identity: has lost its line breaks; give it as a YAML block (`|`) or as a variable that holds them",
            ),
            (
                worker(fixture!("ed25519_encrypted")),
                "params.worker_identity: is encrypted with a passphrase; nobody could type it here, so give the key unencrypted (`ssh-keygen -p` removes a passphrase)",
            ),
            (
                worker(fixture!("rsa")),
                "params.worker_identity: is an RSA key; an Ed25519 key is needed (`ssh-keygen -t ed25519`)",
            ),
            (
                worker(fixture!("rsa_pem")),
                "params.worker_identity: is an RSA key; an Ed25519 key is needed (`ssh-keygen -t ed25519`)",
            ),
            (
                worker(fixture!("ed25519_pkcs8")),
                "params.worker_identity: is not in OpenSSH's format (it begins otherwise than -----BEGIN OPENSSH PRIVATE KEY-----); make one with `lifeboat keygen` or `ssh-keygen -t ed25519`",
            ),
            (
                worker(&fixture!("ed25519")[..200]),
                "params.worker_identity: is not a whole OpenSSH private key (cut off, or its line breaks were changed)",
            ),
            (
                login(fixture!("rsa_pem_encrypted")),
                "source.director.private_key: is encrypted with a passphrase; nobody could type it here, so give the key unencrypted (`ssh-keygen -p` removes a passphrase)",
            ),
            (
                login(fixture!("rsa_pkcs8_encrypted")),
                "source.director.private_key: is encrypted with a passphrase; nobody could type it here, so give the key unencrypted (`ssh-keygen -p` removes a passphrase)",
            ),
            (
                login(fixture!("ed25519_encrypted")),
                "source.director.private_key: is encrypted with a passphrase; nobody could type it here, so give the key unencrypted (`ssh-keygen -p` removes a passphrase)",
            ),
            (
                login("/root/.ssh/id_rsa"),
                "source.director.private_key: is not a private key in OpenSSH's format or PEM, or not a whole one",
            ),
            (
                login("PuTTY-User-Key-File-3: x"),
                "source.director.private_key: is a PuTTY key; export it in OpenSSH's format",
            ),
            (
                host_key("SHA256:abc"),
                "source.director.host_key: is a fingerprint; give the whole key (ssh-ed25519 AAAA…, as ssh-keyscan prints it behind the host's name)",
            ),
            (
                host_key(&format!("10.0.0.6 {own}")),
                "source.director.host_key: begins with a host's name; give only what follows it (ssh-ed25519 AAAA…)",
            ),
            (
                host_key(fixture!("ed25519")),
                "source.director.host_key: is a private key; the server's public host key belongs here",
            ),
            (
                ca(&one_line_ca),
                "source.bosh.ca_cert: has lost its line breaks; give it as a YAML block (`|`) or as a variable that holds them",
            ),
            (
                ca(fixture!("rsa_pem")),
                "source.bosh.ca_cert: holds a private key; only certificates belong here",
            ),
            (
                ca(&fixture!("ca.pem")[..400]),
                "source.bosh.ca_cert: is a certificate cut off before its end",
            ),
            (
                ca(&format!("{}trailing", fixture!("ca.pem"))),
                "source.bosh.ca_cert: holds something other than certificates",
            ),
        ],
    );
}
