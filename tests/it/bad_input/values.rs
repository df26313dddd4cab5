//! Values that cannot be right.

use serde_json::{Value, json};

use super::{assert_all, no_source, params, source, store};
use crate::support::request::{with, without};

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
                source("grace", json!("47h")),
                "source.grace: must be between 48h and 366d",
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
                "source.ops_manager: is missing or empty; the component ops-manager needs its url and a username and password, or a client_id and client_secret",
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
                source(
                    "stores/1",
                    json!({"name": "nas", "path": "/mnt/nas", "object_lock": {"mode": "governance", "days": 7}}),
                ),
                "source.stores[1].object_lock: belongs to a bucket; this store is a directory (it has a `path`)",
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
                store("object_lock", json!({"days": 30})),
                "source.stores[1].object_lock.mode: is missing or empty; it is governance or compliance",
            ),
            (
                store("object_lock", json!({"mode": "legal", "days": 30})),
                "source.stores[1].object_lock.mode: must be governance or compliance",
            ),
            (
                store("object_lock", json!({"mode": "governance"})),
                "source.stores[1].object_lock.days: is missing or empty; it says how long the last backup of a chain is protected",
            ),
            (
                store("object_lock", json!({"mode": "compliance", "days": 0})),
                "source.stores[1].object_lock.days: must be between 1 and 36500",
            ),
            (
                with(
                    store("object_lock", json!({"mode": "governance", "days": 30})),
                    "/source/stores/1/skip_s3_checksums",
                    json!(true),
                ),
                "source.stores[1].skip_s3_checksums: does not go with object_lock: S3 takes locked objects only with a checksum",
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
