//! Keys and certificates, checked before anything is done. No message repeats one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::{Algorithm, PrivateKey, PublicKey};

use crate::operation::settings::WorkerIdentity;
use crate::repo::seal;
use crate::secret::Secret;

/// A recovery recipient, without its comment.
pub(super) fn recipient(text: &str) -> Result<String, &'static str> {
    if is_private(text) {
        return Err(
            "is a private key where a public one belongs (age1… or ssh-ed25519 …); \
             treat that key as known to others and make a new one",
        );
    }
    match text.split_whitespace().next().unwrap_or_default() {
        "" => Err("is empty"),
        "ssh-ed25519" => public_ed25519(text),
        "ssh-rsa" => Err("is an RSA key; recipients are age1… or ssh-ed25519 … keys \
             (one short kind of key, so that recovery needs no choices)"),
        word if word.starts_with("ssh-")
            || word.starts_with("ecdsa-")
            || word.starts_with("sk-") =>
        {
            Err("is an SSH key of a kind that age cannot encrypt to; use age1… or ssh-ed25519 …")
        }
        word if word.starts_with("age1") => {
            if word.len() != text.len() {
                return Err(
                    "has something behind the age1… recipient; give each its own list item",
                );
            }
            seal::Recipients::parse(&[word.to_owned()])
                .map(|_is_one| word.to_owned())
                .map_err(|_says_less| {
                    "is not a whole age1… recipient of X25519 kind (mistyped, cut off, or a plugin's)"
                })
        }
        _ => Err("is not a recipient; use age1… or ssh-ed25519 …"),
    }
}

/// A worker's public key, without its comment.
pub(super) fn trusted_worker(text: &str) -> Result<String, &'static str> {
    if is_private(text) {
        return Err(
            "is a private key where a worker's public key belongs (ssh-ed25519 …); \
             treat that key as known to others and make a new one",
        );
    }
    match text.split_whitespace().next().unwrap_or_default() {
        "" => Err("is empty"),
        "ssh-ed25519" => public_ed25519(text),
        word if word.starts_with("age1") => Err(
            "is an age recipient, which cannot sign; give the worker's ssh-ed25519 … public key",
        ),
        _ => Err("is not a worker's public key; use ssh-ed25519 …"),
    }
}

fn public_ed25519(text: &str) -> Result<String, &'static str> {
    let mut words = text.split_whitespace();
    let bare = format!(
        "{} {}",
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default()
    );
    match PublicKey::from_openssh(&bare) {
        Ok(key) if key.algorithm() == Algorithm::Ed25519 => Ok(bare),
        _ => Err("is not a whole ssh-ed25519 public key (mistyped or cut off)"),
    }
}

fn is_private(text: &str) -> bool {
    text.contains("PRIVATE KEY") || text.to_ascii_uppercase().contains("AGE-SECRET-KEY-")
}

/// A worker identity.
pub(super) fn worker_identity(secret: &Secret) -> Result<WorkerIdentity, &'static str> {
    let text = secret.expose().trim();
    if text.is_empty() {
        return Err("is empty; fill it, or take the key out to write unsigned backups");
    }
    let key = open_ssh(text)?;
    let mut public = key.public_key().clone();
    public.set_comment("");
    Ok(WorkerIdentity {
        private_key: Secret::new(format!("{text}\n")),
        public: public
            .to_openssh()
            .map_err(|_cannot_say| "is not a whole OpenSSH private key")?,
    })
}

/// An unencrypted Ed25519 key in OpenSSH's own format; each mistake has its sentence.
fn open_ssh(text: &str) -> Result<PrivateKey, &'static str> {
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err("is a public key; the private half belongs here");
    }
    if text.starts_with("age1") || text.starts_with("AGE-") {
        return Err(
            "is an age key, which cannot sign; make one with `lifeboat keygen` or `ssh-keygen -t ed25519`",
        );
    }
    if !text.contains('\n') && text.contains("-----BEGIN") {
        return Err(LOST_LINES);
    }
    if text.starts_with("-----BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ENCRYPTED);
    }
    if text.starts_with("-----BEGIN RSA") {
        return Err("is an RSA key; an Ed25519 key is needed (`ssh-keygen -t ed25519`)");
    }
    if text.starts_with("-----BEGIN") && !text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return Err(
            "is not in OpenSSH's format (it begins otherwise than -----BEGIN OPENSSH PRIVATE KEY-----); make one with `lifeboat keygen` or `ssh-keygen -t ed25519`",
        );
    }
    if text.starts_with("PuTTY-") {
        return Err("is a PuTTY key; export it in OpenSSH's format");
    }
    let key = PrivateKey::from_openssh(format!("{text}\n"))
        .map_err(|_may_show_the_key| "is not a whole OpenSSH private key (cut off, or its line breaks were changed)")?;
    if key.is_encrypted() {
        return Err(ENCRYPTED);
    }
    match key.algorithm() {
        Algorithm::Ed25519 => Ok(key),
        Algorithm::Rsa { .. } => {
            Err("is an RSA key; an Ed25519 key is needed (`ssh-keygen -t ed25519`)")
        }
        _ => {
            Err("is not an Ed25519 key; make one with `lifeboat keygen` or `ssh-keygen -t ed25519`")
        }
    }
}

const ENCRYPTED: &str = "is encrypted with a passphrase; nobody could type it here, so give the key unencrypted \
     (`ssh-keygen -p` removes a passphrase)";
const LOST_LINES: &str =
    "has lost its line breaks; give it as a YAML block (`|`) or as a variable that holds them";

/// What opens backups: the text of an age identity file, or an OpenSSH Ed25519 key.
pub(super) fn recovery_identity(secret: &Secret) -> Result<Secret, &'static str> {
    let text = secret.expose().trim();
    if text.is_empty() {
        return Err("is empty; fill it or take it out");
    }
    if text.starts_with("-----BEGIN") {
        open_ssh(text)?;
        return Ok(Secret::new(format!("{text}\n")));
    }
    if text.starts_with("age1") || text.starts_with("ssh-") {
        return Err("is a public key; the recovery key's private half belongs here");
    }
    if text.contains("AGE-PLUGIN-") {
        return Err(
            "is a plugin's identity; only AGE-SECRET-KEY-1… and OpenSSH Ed25519 keys open backups",
        );
    }
    seal::Identity::parse(secret).map_err(|_says_less| {
        "is neither an age identity (AGE-SECRET-KEY-1…) nor an OpenSSH Ed25519 private key, or not a whole one"
    })?;
    Ok(Secret::new(format!("{text}\n")))
}

/// A key to log in with: OpenSSH's format or PEM, of any kind, unencrypted.
pub(super) fn login_key(secret: &Secret) -> Result<Secret, &'static str> {
    let text = secret.expose().trim();
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err("is a public key; the private half belongs here");
    }
    if text.starts_with("PuTTY-") {
        return Err("is a PuTTY key; export it in OpenSSH's format");
    }
    let begins = text.starts_with("-----BEGIN ") && text.contains("PRIVATE KEY-----");
    if begins && !text.contains('\n') {
        return Err(LOST_LINES);
    }
    if !begins || !text.contains("-----END ") {
        return Err("is not a private key in OpenSSH's format or PEM, or not a whole one");
    }
    if text.starts_with("-----BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ENCRYPTED);
    }
    if text.starts_with("-----BEGIN OPENSSH") {
        let key = PrivateKey::from_openssh(format!("{text}\n"))
            .map_err(|_may_show_the_key| "is not a whole OpenSSH private key (cut off, or its line breaks were changed)")?;
        if key.is_encrypted() {
            return Err(ENCRYPTED);
        }
    }
    Ok(Secret::new(format!("{text}\n")))
}

/// A server's host key as a line of `authorized_keys` has it, without its comment.
pub(super) fn host_key(text: &str) -> Result<String, &'static str> {
    if is_private(text) {
        return Err("is a private key; the server's public host key belongs here");
    }
    if text.starts_with("SHA256:") || text.starts_with("MD5:") {
        return Err(
            "is a fingerprint; give the whole key (ssh-ed25519 AAAA…, as ssh-keyscan prints it behind the host's name)",
        );
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let begins_a_key = |word: &str| word.starts_with("ssh-") || word.starts_with("ecdsa-");
    match words.as_slice() {
        [host, kind, ..] if !begins_a_key(host) && begins_a_key(kind) => {
            Err("begins with a host's name; give only what follows it (ssh-ed25519 AAAA…)")
        }
        [kind, key, ..] if begins_a_key(kind) => {
            let bare = format!("{kind} {key}");
            PublicKey::from_openssh(&bare)
                .map(|_| bare)
                .map_err(|_reason| "is not a whole public key (mistyped or cut off)")
        }
        _ => Err(
            "is not a host key; give it as ssh-ed25519 AAAA…, ecdsa-sha2-nistp256 AAAA… or ssh-rsa AAAA…",
        ),
    }
}

/// One or more PEM certificates and nothing else.
pub(super) fn certificates(text: &str) -> Result<String, &'static str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if is_private(text) {
        return Err("holds a private key; only certificates belong here");
    }
    if !text.contains("-----BEGIN") {
        return Err(
            "is not PEM; give the certificate's text itself (-----BEGIN CERTIFICATE-----…), not a file's name",
        );
    }
    if !text.contains('\n') || text.contains("\\n") {
        return Err(LOST_LINES);
    }
    let mut rest = text.trim();
    let mut pem = String::new();
    while !rest.is_empty() {
        let body = rest
            .strip_prefix(BEGIN)
            .ok_or("holds something other than certificates")?;
        let (body, after) = body
            .split_once(END)
            .ok_or("is a certificate cut off before its end")?;
        let packed: String = body.split_whitespace().collect();
        let der = STANDARD
            .decode(&packed)
            .map_err(|_reason| "is damaged: what stands in the certificate is not base64")?;
        if der.first() != Some(&0x30) || der.len() < 64 {
            return Err("is damaged: what stands in the block is not a certificate");
        }
        pem.push_str(BEGIN);
        pem.push_str(body);
        pem.push_str(END);
        pem.push('\n');
        rest = after.trim_start();
    }
    Ok(pem)
}
