//! Bad input: each case ends with exit code 1, nothing on standard output, and one sentence
//! that names the field.

use serde_json::{Value, json};

use crate::support::process::{self, Ended};
use crate::support::request::{RECIPIENT, RECOVERY, fixture, put, with, without};

fn run(script: &str, request: &Value) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("artifact")).unwrap();
    process::script(
        script,
        Some(directory.path()),
        request.to_string().as_bytes(),
    )
}

/// Runs all cases and reports all that differ: a table is read as a whole.
fn assert_all(script: &str, cases: Vec<(Value, &str)>) {
    let mut wrong = Vec::new();
    for (request, sentence) in cases {
        let run = run(script, &request);
        let expected = format!("failed: {sentence}");
        if run.code != 1 || run.last_line() != expected || !run.stdout.is_empty() {
            wrong.push(format!(
                "exit code {}\n  said     {}\n  expected {expected}",
                run.code,
                run.last_line()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A change of `source`, or of a part of it.
fn source(key: &str, value: Value) -> Value {
    with(put(), &format!("/source/{key}"), value)
}

fn no_source(key: &str) -> Value {
    without(put(), &format!("/source/{key}"))
}

fn store(key: &str, value: Value) -> Value {
    source(&format!("stores/1/{key}"), value)
}

fn params(value: Value) -> Value {
    with(put(), "/params", value)
}

#[test]
fn a_request_that_is_none_is_refused() {
    let cases: [(&[u8], &str); 8] = [
        (
            b"",
            "the request on standard input is empty; Concourse sends one JSON object",
        ),
        (
            b" \n",
            "the request on standard input is empty; Concourse sends one JSON object",
        ),
        (
            b"{",
            "the request on standard input is not one JSON object (line 1, column 1)",
        ),
        (
            b"{} {}",
            "the request on standard input is not one JSON object (line 1, column 4)",
        ),
        (
            b"\xff",
            "the request on standard input is not one JSON object (line 1, column 1)",
        ),
        (
            b"[]",
            "the request on standard input is JSON, but not an object",
        ),
        (
            br#"{"source": {}, "parms": {}}"#,
            "parms: is not a part of a request (source, params, version)",
        ),
        (
            br#"{"source": {}, "version": "1"}"#,
            "version: expected a map of texts",
        ),
    ];
    for (request, sentence) in cases {
        let run = process::script("check", None, request);
        assert_eq!(run.last_line(), format!("failed: {sentence}"));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    }
    let huge = vec![b' '; 5 << 20];
    let run = process::script("check", None, &huge);
    assert_eq!(
        run.last_line(),
        "failed: the request on standard input is larger than 4 MiB"
    );
}

#[test]
fn a_script_without_its_directory_is_refused() {
    for name in ["in", "out"] {
        let run = process::script(name, None, put().to_string().as_bytes());
        assert_eq!(
            run.last_line(),
            format!(
                "failed: `{name}` is started by Concourse with a directory as its argument; there is none"
            )
        );
    }
}

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
                "params.backup: is missing or empty; a put needs `backup: [components…]` or `cleanup: [components…]`",
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
                "source.retention: is not in this release (0.1.0); take it out",
            ),
            (
                params(json!({"prune": true})),
                "params.prune: is not in this release (0.1.0); take it out",
            ),
            (
                source("ops_manager", json!({"url": "x"})),
                "source.ops_manager: is not in this release (0.1.0); take it out",
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

#[test]
fn values_are_checked_at_the_edge() {
    assert_all(
        "out",
        vec![
            (
                source("foundation", json!("Prod_East")),
                "source.foundation: must be 1 to 63 of a-z, 0-9, `.` and `-`, beginning with a letter or digit",
            ),
            (
                source("min_copies", json!(0)),
                "source.min_copies: must be at least 1",
            ),
            (
                source("min_copies", json!("3")),
                "source.min_copies: is more than there are stores (2)",
            ),
            (
                source("new_chain_every", json!("5m")),
                "source.new_chain_every: must be between 1h and 366d",
            ),
            (
                source("limits", json!({"parallel": 0})),
                "source.limits.parallel: must be between 1 and 100",
            ),
            (
                source("limits", json!({"silence": "1s"})),
                "source.limits.silence: must be at least 10s",
            ),
            (
                source("limits", json!({"store_timeout": "2h"})),
                "source.limits.store_timeout: must be between 1s and 1h",
            ),
            (
                source("tas/deployment", json!("../cf")),
                "source.tas.deployment: is not a deployment's name",
            ),
            (
                source("director/host", json!("ssh://10.0.0.6")),
                "source.director.host: has a port that is not a number from 1 to 65535",
            ),
            (
                source("director/username", json!("-oProxyCommand=x")),
                "source.director.username: is not a login name",
            ),
            (
                source("bosh/environment", json!("http://10.0.0.6")),
                "source.bosh.environment: begins with http://; a Director speaks https only",
            ),
            (
                source("bosh/environment", json!("https://u:p@10.0.0.6")),
                "source.bosh.environment: holds a user name; use `client` and `client_secret`",
            ),
            (
                source("bosh/all_proxy", json!("http://10.0.0.5:1080")),
                "source.bosh.all_proxy: is not a proxy; use socks5://HOST:PORT or ssh+socks5://USER@HOST:PORT",
            ),
            (
                source("bosh/all_proxy", json!("socks5://10.0.0.5")),
                "source.bosh.all_proxy: has no port",
            ),
            (
                source("bosh/all_proxy", json!("ssh+socks5://j@10.0.0.5:22")),
                "source.bosh.all_proxy_private_key: is missing or empty; the jumpbox asks for a key",
            ),
            (
                source(
                    "bosh/all_proxy",
                    json!("ssh+socks5://j@10.0.0.5:22?private-key=/nowhere"),
                ),
                "source.bosh.all_proxy: names a private-key file that is not there; in a pipeline give the key itself as all_proxy_private_key",
            ),
            (
                source("bosh/all_proxy_host_key", json!("x")),
                "source.bosh.all_proxy_host_key: needs `all_proxy` beside it",
            ),
            (
                source("stores/0/secret_access_key", json!("((bucket.secret))")),
                "source.stores[0].secret_access_key: holds an unresolved ((variable))",
            ),
            (
                params(json!({"backup": ["tas", "TAS"]})),
                "params.backup[1]: is not a component; components are ops-manager, director, tas, service-instances and deployment/NAME",
            ),
            (
                params(json!({"backup": ["tas", "tas"]})),
                "params.backup[1]: is there twice",
            ),
            (
                params(json!({"backup": ["tas", "deployment/cf-1a2b"]})),
                "source.tas.deployment: is also asked for as deployment/…; it would be locked twice",
            ),
            (
                params(json!({"backup": ["ops-manager"]})),
                "params.backup[0]: ops-manager is not in this release (0.1.0); it can be stored with `from`",
            ),
            (
                params(json!({"backup": ["tas"], "cleanup": ["tas"]})),
                "params.cleanup: stands beside `backup` or `from`; a put does one thing",
            ),
            (
                params(json!({"from": "artifact"})),
                "params.backup: is missing or empty; beside `from` it names the component that the directory holds",
            ),
            (
                params(json!({"from": "missing", "backup": ["tas"]})),
                "params.from: is not a directory; the put's inputs are: artifact",
            ),
            (
                params(json!({"from": "../artifact", "backup": ["tas"]})),
                "params.from: must lie within the put's inputs: NAME or NAME/PATH, without a leading slash and `..`",
            ),
            (
                params(json!({"from": "artifact", "backup": ["tas", "director"]})),
                "params.from: has no directory tas",
            ),
        ],
    );
}

#[test]
fn stores_are_checked_at_the_edge() {
    let directory = json!({"name": "nas", "path": "mnt/nas"});
    let prefixed = json!({"name": "nas", "path": "/mnt/nas", "prefix": "x"});
    assert_all(
        "out",
        vec![
            (
                store("name", json!("dc1")),
                "source.stores[1].name: is also the name of stores[0]",
            ),
            (
                store("name", json!("a/b")),
                "source.stores[1].name: must be 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit",
            ),
            (
                store("name", Value::Null),
                "source.stores[1].name: is missing or empty",
            ),
            (
                store("bucket", json!("")),
                "source.stores[1]: has neither `bucket` nor `path`; a store is a bucket or a directory",
            ),
            (
                store("bucket", json!("s3://backups")),
                "source.stores[1].bucket: is not a bucket's name (3 or more of letters, digits, `.`, `_` and `-`; no slash, no URL)",
            ),
            (
                store("bucket", json!("backups-dc1")),
                "source.stores[1]: is the same place as stores[0]; two copies in one place are one copy",
            ),
            (
                store("path", json!("/mnt")),
                "source.stores[1]: has both `bucket` and `path`; a store is a bucket or a directory",
            ),
            (
                source("stores/1", directory),
                "source.stores[1].path: must be absolute: /mnt/…",
            ),
            (
                source("stores/1", prefixed),
                "source.stores[1].prefix: belongs to a bucket; this store is a directory (it has a `path`)",
            ),
            (
                store("prefix", json!("a//b")),
                "source.stores[1].prefix: must be names separated by single slashes, each of A-Z, a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit",
            ),
            (
                store("endpoint", json!("ftp://a")),
                "source.stores[1].endpoint: is not a URL of http:// or https://",
            ),
            (
                store("endpoint", json!("https://u:p@a")),
                "source.stores[1].endpoint: holds a user name; use `access_key_id` and `secret_access_key`",
            ),
            (
                no_source("stores/1/secret_access_key"),
                "source.stores[1].secret_access_key: is missing or empty, but access_key_id is there",
            ),
            (
                no_source("stores/1/access_key_id"),
                "source.stores[1].access_key_id: is missing or empty, but secret_access_key is there",
            ),
            (
                without(
                    no_source("stores/1/access_key_id"),
                    "/source/stores/1/secret_access_key",
                ),
                "source.stores[1]: has no credentials; give access_key_id and secret_access_key, or enable_aws_creds_provider: true for the worker's own",
            ),
            (
                store("secret_access_key", json!("two words")),
                "source.stores[1].secret_access_key: holds white space; it was not copied whole, or something else was",
            ),
            (
                store("enable_aws_creds_provider", json!(true)),
                "source.stores[1].enable_aws_creds_provider: is for stores without access_key_id and secret_access_key; take one or the other out",
            ),
            (
                store("aws_role_arn", json!("backup-role")),
                "source.stores[1].aws_role_arn: is not a role's ARN (arn:aws:iam::…:role/…)",
            ),
            (
                store("server_side_encryption", json!("aes")),
                "source.stores[1].server_side_encryption: must be AES256, aws:kms or aws:kms:dsse",
            ),
            (
                store("sse_kms_key_id", json!("k")),
                "source.stores[1].server_side_encryption: is missing or empty, but sse_kms_key_id is there",
            ),
            (
                store("checksum_algorithm", json!("md5")),
                "source.stores[1].checksum_algorithm: must be CRC32, CRC32C, CRC64NVME, SHA1 or SHA256",
            ),
            (
                with(
                    store("checksum_algorithm", json!("SHA256")),
                    "/source/stores/1/skip_s3_checksums",
                    json!(true),
                ),
                "source.stores[1].checksum_algorithm: contradicts skip_s3_checksums: true",
            ),
            (
                store("ca_cert", json!("/etc/ssl/ca.pem")),
                "source.stores[1].ca_cert: is not PEM; give the certificate's text itself (-----BEGIN CERTIFICATE-----…), not a file's name",
            ),
        ],
    );
}

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

#[test]
fn a_get_is_checked_before_a_store_is_asked() {
    let get = |params: Value, version: Value| json!({"source": put()["source"], "params": params, "version": version});
    let id = json!({"id": "20261122T010203Z-7f3a09bc"});
    assert_all(
        "in",
        vec![
            (
                get(json!({}), Value::Null),
                "version: is missing; Concourse names the backup to get in it",
            ),
            (
                get(json!({}), json!({"id": "../x"})),
                "version.id: is not a backup's id (such as 20261122T010203Z-7f3a09bc)",
            ),
            (
                get(json!({}), json!({"id": 5})),
                "version.id: expected a text",
            ),
            (
                get(json!({}), json!({"path": "x"})),
                "version.id: is missing; a version is {\"id\": \"20261122T010203Z-7f3a09bc\"}",
            ),
            (
                get(json!({"download": true}), id.clone()),
                "source.recovery_identity: is missing or empty; without it nothing can be decrypted (a worker identity reads no contents)",
            ),
            (
                get(json!({"components": ["tas"]}), id.clone()),
                "params.components: narrows a download; set download: true with it",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": RECOVERY, "artifacts": ["a/b"]}),
                    id.clone(),
                ),
                "params.artifacts[0]: must be an artifact's file name, with * and ? where needed; it has no slash",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": RECIPIENT}),
                    id.clone(),
                ),
                "params.recovery_identity: is a public key; the recovery key's private half belongs here",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": "AGE-PLUGIN-YUBIKEY-1"}),
                    id.clone(),
                ),
                "params.recovery_identity: is a plugin's identity; only AGE-SECRET-KEY-1… and OpenSSH Ed25519 keys open backups",
            ),
            (
                get(
                    json!({"download": true, "recovery_identity": &RECOVERY[..50]}),
                    id,
                ),
                "params.recovery_identity: is neither an age identity (AGE-SECRET-KEY-1…) nor an OpenSSH Ed25519 private key, or not a whole one",
            ),
        ],
    );
}

#[test]
fn the_command_line_names_the_document() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yml");
    let path = file.to_str().unwrap();
    let cases = [
        ("foundation: A\n", "c.yml: foundation: must be 1 to 63"),
        ("foundation: [\n", "c.yml: is not valid YAML"),
        ("- a\n", "c.yml: expected a map, found a list"),
        ("", "c.yml: foundation: is missing or empty"),
        (
            "foundaton: a\n",
            "c.yml: foundaton: is not a key of Lifeboat; did you mean `foundation`?",
        ),
    ];
    for (text, sentence) in cases {
        std::fs::write(&file, text).unwrap();
        let run = process::cli(&["--config", path, "list"], &[]);
        assert!(run.last_line().contains(sentence), "{}", run.last_line());
        assert_eq!(run.code, 1);
    }
    let run = process::cli(&["list", "--config", "/nowhere/c.yml"], &[]);
    assert_eq!(
        run.last_line(),
        "failed: /nowhere/c.yml: there is no such file"
    );
    let run = process::cli(&["list"], &[("LIFEBOAT_FOUNDATION", "A")]);
    assert!(
        run.last_line()
            .starts_with("failed: LIFEBOAT_FOUNDATION: must be"),
        "{}",
        run.last_line()
    );
    let run = process::cli(&["backup", "tas", "TAS"], &[("LIFEBOAT_FOUNDATION", "a")]);
    assert!(
        run.last_line()
            .starts_with("failed: command line: backup[1]: is not a component"),
        "{}",
        run.last_line()
    );
}

#[test]
fn bad_usage_ends_with_2() {
    for arguments in [
        &["no-such-command"][..],
        &["show"],
        &["list", "--no-such-flag"],
        &[],
    ] {
        let run = process::cli(arguments, &[]);
        assert_eq!(run.code, 2, "{arguments:?}");
        assert!(run.stdout.is_empty() && !run.stderr.is_empty());
    }
    assert_eq!(process::cli(&["--help"], &[]).code, 0);
}
