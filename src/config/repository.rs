//! Stores, copies and keys.

use std::path::Path;
use std::time::Duration;

use super::action::Action;
use super::environment::Environment;
use super::leaf::{Flag, Hidden, Text};
use super::model::{Model, StoreModel};
use super::{Fault, keys, object_lock, place, retention};
use crate::operation::settings::{
    Algorithm, Checksums, Credentials, Encryption, Repository, S3, Store,
};
use crate::secret::Secret;
use crate::store::is_segment;

const NEW_CHAIN_EVERY: Duration = Duration::from_secs(30 * 86_400);
const STORE_TIMEOUT: Duration = Duration::from_secs(300);

/// The repository's settings, as far as the action needs them.
pub(super) fn of(
    model: &Model,
    action: &Action,
    environment: &Environment,
) -> Result<Repository, Fault> {
    let foundation = foundation(model)?;
    let stores = stores(model, action, environment)?;
    let min_copies = min_copies(model, stores.len())?;
    let worker_identity = model
        .worker_identity
        .as_ref()
        .map(|Hidden(secret)| keys::worker_identity(secret))
        .transpose()
        .map_err(|why| Fault::new("worker_identity", why))?;
    let recovery_identity = model
        .recovery_identity
        .as_ref()
        .map(|Hidden(secret)| keys::recovery_identity(secret))
        .transpose()
        .map_err(|why| Fault::new("recovery_identity", why))?;
    let recipients = each("recipients", model.recipients.as_ref(), keys::recipient)?;
    let trusted_workers = each(
        "trusted_workers",
        model.trusted_workers.as_ref(),
        keys::trusted_worker,
    )?;
    if let Some(worker) = &worker_identity
        && let Some(at) = recipients.iter().position(|key| *key == worker.public)
    {
        return Err(Fault::new(
            format!("recipients[{at}]"),
            "is the public half of worker_identity: the worker could read every backup; \
             recover with a key that the worker does not hold",
        ));
    }
    if action.writes() && recipients.is_empty() {
        return Err(Fault::missing(
            "recipients",
            "; a backup needs at least one recipient (age1… or ssh-ed25519 …) who can recover it",
        ));
    }
    if action.reads_contents() && recovery_identity.is_none() {
        return Err(Fault::missing(
            "recovery_identity",
            "; without it nothing can be decrypted (a worker identity reads no contents)",
        ));
    }
    Ok(Repository {
        foundation,
        stores,
        min_copies,
        recipients,
        trusted_workers,
        worker_identity,
        recovery_identity,
        new_chain_every: new_chain_every(model)?,
        grace: retention::grace(model)?,
        retention: retention::policy(model, action.prunes(model))?,
        store_timeout: store_timeout(model)?,
    })
}

fn foundation(model: &Model) -> Result<String, Fault> {
    let Some(Text(name)) = &model.foundation else {
        return Err(Fault::missing("foundation", ""));
    };
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let good = bytes.len() <= 63
        && bytes.first().is_some_and(|b| allowed(*b))
        && bytes.iter().all(|b| allowed(*b) || b".-".contains(b));
    if good {
        Ok(name.clone())
    } else {
        Err(Fault::new(
            "foundation",
            "must be 1 to 63 of a-z, 0-9, `.` and `-`, beginning with a letter or digit",
        ))
    }
}

fn new_chain_every(model: &Model) -> Result<Duration, Fault> {
    let Some(span) = model.new_chain_every else {
        return Ok(NEW_CHAIN_EVERY);
    };
    if span.0 < Duration::from_secs(3600) || span.0 > Duration::from_secs(366 * 86_400) {
        return Err(Fault::new("new_chain_every", "must be between 1h and 366d"));
    }
    Ok(span.0)
}

fn store_timeout(model: &Model) -> Result<Duration, Fault> {
    let limits = model.limits.as_ref();
    match limits.and_then(|limits| limits.store_timeout) {
        None => Ok(STORE_TIMEOUT),
        Some(span) if (1..=3600).contains(&span.0.as_secs()) => Ok(span.0),
        Some(_) => Err(Fault::new(
            "limits.store_timeout",
            "must be between 1s and 1h",
        )),
    }
}

fn min_copies(model: &Model, stores: usize) -> Result<usize, Fault> {
    let Some(count) = model.min_copies else {
        return Ok(stores);
    };
    match usize::try_from(count.0) {
        Ok(0) => Err(Fault::new("min_copies", "must be at least 1")),
        Ok(copies) if copies > stores && stores > 0 => Err(Fault::new(
            "min_copies",
            format!("is more than there are stores ({stores})"),
        )),
        Ok(copies) => Ok(copies),
        Err(_too_large) => Err(Fault::new("min_copies", "is more than there are stores")),
    }
}

fn each(
    key: &str,
    names: Option<&super::leaf::Names>,
    check: fn(&str) -> Result<String, &'static str>,
) -> Result<Vec<String>, Fault> {
    let Some(names) = names else {
        return Ok(Vec::new());
    };
    if names.0.is_empty() {
        return Err(Fault::new(key, "is an empty list; fill it or take it out"));
    }
    let mut checked: Vec<String> = Vec::new();
    for (at, name) in names.0.iter().enumerate() {
        let place = || format!("{key}[{at}]");
        let name = check(name).map_err(|why| Fault::new(place(), why))?;
        if checked.contains(&name) {
            return Err(Fault::new(place(), "is there twice"));
        }
        checked.push(name);
    }
    Ok(checked)
}

fn stores(model: &Model, action: &Action, environment: &Environment) -> Result<Vec<Store>, Fault> {
    let models = model.stores.as_deref().unwrap_or_default();
    if models.is_empty() && action.needs_stores() {
        return Err(Fault::missing(
            "stores",
            "; name at least one bucket or directory",
        ));
    }
    let mut stores = Vec::new();
    for (at, model) in models.iter().enumerate() {
        let mut store = store(model, &format!("stores[{at}]"))?;
        if let Store::S3(s3) = &mut store {
            let plain = s3
                .endpoint
                .as_ref()
                .is_some_and(|url| url.starts_with("http://"));
            s3.proxy = environment.http_proxy(if plain { "http" } else { "https" });
        }
        for (other, earlier) in stores.iter().enumerate() {
            check_apart(at, &store, other, earlier)?;
        }
        stores.push(store);
    }
    Ok(stores)
}

fn check_apart(at: usize, store: &Store, other: usize, earlier: &Store) -> Result<(), Fault> {
    if store.name() == earlier.name() {
        return Err(Fault::new(
            format!("stores[{at}].name"),
            format!("is also the name of stores[{other}]"),
        ));
    }
    let same = match (store, earlier) {
        (Store::S3(a), Store::S3(b)) => {
            (&a.endpoint, &a.bucket, &a.prefix) == (&b.endpoint, &b.bucket, &b.prefix)
        }
        (Store::Directory { path: a, .. }, Store::Directory { path: b, .. }) => a == b,
        _ => false,
    };
    if same {
        return Err(Fault::new(
            format!("stores[{at}]"),
            format!("is the same place as stores[{other}]; two copies in one place are one copy"),
        ));
    }
    Ok(())
}

fn store(model: &StoreModel, at: &str) -> Result<Store, Fault> {
    let Some(Text(name)) = &model.name else {
        return Err(Fault::missing(format!("{at}.name"), ""));
    };
    if !is_segment(name) {
        return Err(Fault::new(
            format!("{at}.name"),
            "must be 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit",
        ));
    }
    match (&model.path, &model.bucket) {
        (Some(_), Some(_)) => Err(Fault::new(
            at,
            "has both `bucket` and `path`; a store is a bucket or a directory",
        )),
        (None, None) => Err(Fault::new(
            at,
            "has neither `bucket` nor `path`; a store is a bucket or a directory",
        )),
        (Some(Text(path)), None) => directory(model, at, name, path),
        (None, Some(Text(bucket))) => s3(model, at, name, bucket),
    }
}

fn directory(model: &StoreModel, at: &str, name: &str, path: &str) -> Result<Store, Fault> {
    let for_buckets = [
        ("prefix", model.prefix.is_some()),
        ("region", model.region.is_some()),
        ("endpoint", model.endpoint.is_some()),
        ("ca_cert", model.ca_cert.is_some()),
        ("access_key_id", model.access_key_id.is_some()),
        ("secret_access_key", model.secret_access_key.is_some()),
        ("object_lock", model.object_lock.is_some()),
    ];
    if let Some((key, _)) = for_buckets.iter().find(|(_, there)| *there) {
        return Err(Fault::new(
            format!("{at}.{key}"),
            "belongs to a bucket; this store is a directory (it has a `path`)",
        ));
    }
    let path = Path::new(path);
    if !path.is_absolute() {
        return Err(Fault::new(format!("{at}.path"), "must be absolute: /mnt/…"));
    }
    if path
        .components()
        .any(|part| part == std::path::Component::ParentDir)
    {
        return Err(Fault::new(format!("{at}.path"), "must not hold `..`"));
    }
    Ok(Store::Directory {
        name: name.to_owned(),
        path: path.components().collect(),
    })
}

fn s3(model: &StoreModel, at: &str, name: &str, bucket: &str) -> Result<Store, Fault> {
    let fault = |key: &str, why: &str| Fault::new(format!("{at}.{key}"), why);
    let good_bucket = (3..=255).contains(&bucket.len()) && is_segment(&bucket.replace('.', "-"));
    if !good_bucket {
        return Err(fault(
            "bucket",
            "is not a bucket's name (3 or more of letters, digits, `.`, `_` and `-`; no slash, no URL)",
        ));
    }
    let prefix = model
        .prefix
        .as_ref()
        .map_or("", |text| text.0.trim_matches('/'));
    if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
        return Err(fault(
            "prefix",
            "must be names separated by single slashes, each of A-Z, a-z, 0-9, `.`, `_` and `-`, \
             beginning with a letter or digit",
        ));
    }
    let region = model.region.as_ref().map_or("us-east-1", |text| &text.0);
    if !region
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        return Err(fault("region", "is not a region's name"));
    }
    let disable_ssl = is(model.disable_ssl);
    let endpoint = model
        .endpoint
        .as_ref()
        .map(|text| place::endpoint(&text.0, disable_ssl))
        .transpose()
        .map_err(|why| fault("endpoint", why))?;
    if disable_ssl && endpoint.is_none() {
        return Err(fault("disable_ssl", "needs an `endpoint`"));
    }
    let ca_cert = model
        .ca_cert
        .as_ref()
        .map(|text| keys::certificates(&text.0))
        .transpose()
        .map_err(|why| fault("ca_cert", why))?;
    let role = model.aws_role_arn.as_ref().map(|text| text.0.clone());
    if role.as_ref().is_some_and(|role| !role.starts_with("arn:")) {
        return Err(fault(
            "aws_role_arn",
            "is not a role's ARN (arn:aws:iam::…:role/…)",
        ));
    }
    Ok(Store::S3(Box::new(S3 {
        name: name.to_owned(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        region: region.to_owned(),
        endpoint,
        use_path_style: is(model.use_path_style),
        credentials: credentials(model, at)?,
        aws_role_arn: role,
        ca_cert,
        proxy: None,
        checksums: checksums(model, at)?,
        encryption: encryption(model, at)?,
        object_lock: object_lock::of(model, at)?,
    })))
}

fn is(flag: Option<Flag>) -> bool {
    flag.is_some_and(|flag| flag.0)
}

fn credentials(model: &StoreModel, at: &str) -> Result<Credentials, Fault> {
    let secret = |hidden: &Option<Hidden>| hidden.as_ref().map(|Hidden(secret)| secret.clone());
    let missing = |key: &str, other: &str| {
        Err(Fault::missing(
            format!("{at}.{key}"),
            &format!(", but {other} is there"),
        ))
    };
    match (
        secret(&model.access_key_id),
        secret(&model.secret_access_key),
        secret(&model.session_token),
    ) {
        (Some(_), Some(_), _) if is(model.enable_aws_creds_provider) => Err(Fault::new(
            format!("{at}.enable_aws_creds_provider"),
            "is for stores without access_key_id and secret_access_key; take one or the other out",
        )),
        (Some(access_key_id), Some(secret_access_key), session_token) => {
            no_spaces(&access_key_id, at, "access_key_id")?;
            no_spaces(&secret_access_key, at, "secret_access_key")?;
            Ok(Credentials::Keys {
                access_key_id,
                secret_access_key,
                session_token,
            })
        }
        (Some(_), None, _) => missing("secret_access_key", "access_key_id"),
        (None, Some(_), _) => missing("access_key_id", "secret_access_key"),
        (None, None, Some(_)) => missing("access_key_id", "session_token"),
        (None, None, None) if is(model.enable_aws_creds_provider) => Ok(Credentials::Chain),
        (None, None, None) => Err(Fault::new(
            at,
            "has no credentials; give access_key_id and secret_access_key, or \
             enable_aws_creds_provider: true for the worker's own",
        )),
    }
}

fn no_spaces(secret: &Secret, at: &str, key: &str) -> Result<(), Fault> {
    if secret.expose().contains(char::is_whitespace) {
        return Err(Fault::new(
            format!("{at}.{key}"),
            "holds white space; it was not copied whole, or something else was",
        ));
    }
    Ok(())
}

fn checksums(model: &StoreModel, at: &str) -> Result<Checksums, Fault> {
    let Some(Text(name)) = &model.checksum_algorithm else {
        return Ok(if is(model.skip_s3_checksums) {
            Checksums::Skip
        } else {
            Checksums::Default
        });
    };
    let place = format!("{at}.checksum_algorithm");
    if is(model.skip_s3_checksums) {
        return Err(Fault::new(place, "contradicts skip_s3_checksums: true"));
    }
    match name.to_ascii_uppercase().as_str() {
        "CRC32" => Ok(Checksums::Use(Algorithm::Crc32)),
        "CRC32C" => Ok(Checksums::Use(Algorithm::Crc32c)),
        "CRC64NVME" => Ok(Checksums::Use(Algorithm::Crc64Nvme)),
        "SHA1" => Ok(Checksums::Use(Algorithm::Sha1)),
        "SHA256" => Ok(Checksums::Use(Algorithm::Sha256)),
        _ => Err(Fault::new(
            place,
            "must be CRC32, CRC32C, CRC64NVME, SHA1 or SHA256",
        )),
    }
}

fn encryption(model: &StoreModel, at: &str) -> Result<Option<Encryption>, Fault> {
    let key = model.sse_kms_key_id.as_ref().map(|text| text.0.clone());
    let place = format!("{at}.server_side_encryption");
    let Some(Text(kind)) = &model.server_side_encryption else {
        return match key {
            Some(_) => Err(Fault::missing(place, ", but sse_kms_key_id is there")),
            None => Ok(None),
        };
    };
    match (kind.as_str(), key) {
        ("AES256", None) => Ok(Some(Encryption::Aes256)),
        ("AES256", Some(_)) => Err(Fault::new(
            format!("{at}.sse_kms_key_id"),
            "belongs to aws:kms; server_side_encryption is AES256",
        )),
        ("aws:kms", key) => Ok(Some(Encryption::Kms(key))),
        ("aws:kms:dsse", key) => Ok(Some(Encryption::KmsDsse(key))),
        _ => Err(Fault::new(place, "must be AES256, aws:kms or aws:kms:dsse")),
    }
}
