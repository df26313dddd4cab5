//! Failures without an answer: the name, the way, the certificate, the credentials.
//!
//! The SDK gives them as chains of texts; these are the words that tell them apart.

use std::error::Error as StdError;

use super::super::super::Kind;
use super::Translator;

impl Translator {
    /// There was no answer.
    pub(super) fn not_reached(&self, causes: &str) -> (Kind, String) {
        let server = &self.server;
        let has = |texts: &[&str]| {
            let causes = causes.to_ascii_lowercase();
            texts.iter().any(|text| causes.contains(text))
        };
        if let Some((_, why)) = causes.split_once("loading credentials") {
            let lost = ["refused", "dns", "timeout", "timed out", "reset", "eof"];
            let kind = if has(&lost) {
                Kind::Transient
            } else {
                Kind::Denied
            };
            return (kind, self.without_credentials(why));
        }
        if has(&["certificate", "corrupt message", "received fatal alert"]) {
            return (Kind::Other, self.untrusted(causes));
        }
        if has(&[
            "failed to lookup",
            "dns error",
            "name or service not known",
            "name resolution",
        ]) {
            let message = format!("the host of {server} is not found (DNS)");
            return (Kind::Transient, message);
        }
        if has(&["connection refused"]) {
            return (Kind::Transient, format!("{server} refuses connections"));
        }
        if has(&["timeout", "timed out"]) {
            let message = format!("no connection to {server} in time");
            return (Kind::Transient, message);
        }
        if has(&["credential", "failed to select an auth scheme"]) {
            return (
                Kind::Denied,
                "there are no AWS credentials; give access_key_id and secret_access_key, or run where \
                 there is an instance or web identity role"
                    .to_owned(),
            );
        }
        (
            Kind::Transient,
            format!("no answer from {server}: {}", self.clean(causes)),
        )
    }

    fn without_credentials(&self, why: &str) -> String {
        let said = why
            .split_once("message: \"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or(why, |(message, _)| message);
        let said = self.clean(said.trim_start_matches(": "));
        match &self.role {
            Some(role) => format!("role {role} cannot be assumed: {said}"),
            None => format!(
                "AWS gives no credentials ({said}); give access_key_id and secret_access_key, or a role to this worker"
            ),
        }
    }

    fn untrusted(&self, causes: &str) -> String {
        let server = &self.server;
        if causes.contains("UnknownIssuer") || causes.contains("BadSignature") {
            let trusted = if self.own_ca {
                "ca_cert; give the CA that signed it"
            } else {
                "a CA that this system trusts; set ca_cert"
            };
            return format!("the certificate of {server} is not signed by {trusted}");
        }
        if causes.contains("NotValidForName") || causes.contains("not valid for name") {
            return format!(
                "the certificate of {server} is for another host name; use the name in endpoint that it was issued for"
            );
        }
        if causes.contains("Expired")
            || causes.contains("NotValidYet")
            || causes.contains("expired")
        {
            return format!(
                "the certificate of {server} is not valid now; check it and this worker's clock"
            );
        }
        if causes.contains("corrupt message") || causes.contains("InvalidContentType") {
            return format!(
                "{server} does not speak TLS on this port; use http:// or disable_ssl if that is meant"
            );
        }
        format!("no TLS connection to {server}: {}", self.clean(causes))
    }
}

/// An error with its causes, outermost first.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}
