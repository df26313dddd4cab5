//! Values that must never be printed.
//!
//! [`Secret`] prints as `[secret]`, is wiped when dropped, and gives its text only to
//! [`Secret::expose`], so that every use can be found by searching for that word.
//! [`Mask`] is the second line of defence: it blanks known secrets out of text that
//! others wrote (a script's stderr, a server's answer).

use std::fmt;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use zeroize::Zeroizing;

/// A secret text.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Never pass it to a log, an error or a command line.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Secrets shorter than this are not masked: blanking "a" would garble every line.
const SHORTEST_MASKED: usize = 6;

/// Known secrets, blanked out of text before it is shown.
#[derive(Default)]
pub struct Mask {
    known: Mutex<Vec<Zeroizing<String>>>,
}

impl Mask {
    /// Remembers a secret and what it looks like when a server or script echoes it encoded
    /// (in a URL, a form, JSON, hex or base64). Every line of a secret with several lines (a
    /// private key) counts.
    pub fn add(&self, secret: &str) {
        let mut known = self.lock();
        for line in secret.lines().map(str::trim) {
            if line.len() >= SHORTEST_MASKED && !line.starts_with("-----") {
                known.extend(encoded(line).into_iter().map(Zeroizing::new));
                known.push(Zeroizing::new(line.to_owned()));
            }
        }
        known.sort_by_key(|line| std::cmp::Reverse(line.len()));
        known.dedup();
    }

    /// The text with every known secret replaced.
    pub fn apply(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for secret in self.lock().iter() {
            if masked.contains(secret.as_str()) {
                masked = masked.replace(secret.as_str(), "[secret]");
            }
        }
        masked
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Zeroizing<String>>> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The forms in which a text may be echoed that differ from itself.
fn encoded(text: &str) -> Vec<String> {
    let mut forms = vec![
        hex::encode(text),
        hex::encode_upper(text),
        percent(text, "%20"),
        percent(text, "+"),
        text.escape_debug().to_string(),
    ];
    if let Ok(json) = serde_json::to_string(text) {
        forms.push(json.trim_matches('"').to_owned());
    }
    // Within something longer (`user:password`) it may begin at any of three places; only the
    // digits that depend on nothing around it are looked for.
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(text.as_bytes());
        let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let digits = engine.encode(&bytes);
            forms.extend(digits.get(first..last).map(str::to_owned));
        }
    }
    forms.retain(|form| form != text && form.len() >= SHORTEST_MASKED);
    forms
}

fn percent(text: &str, space: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push_str(space),
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        let secret = Secret::new("hunter2-hunter2");
        assert_eq!(format!("{secret:?}"), "[secret]");
    }

    #[test]
    fn a_mask_blanks_what_a_server_echoes_in_another_form() {
        let mask = Mask::default();
        mask.add("hunter2/+ \"x\"?");
        for echoed in [
            "client_secret=hunter2%2F%2B%20%22x%22%3F&",
            "client_secret=hunter2%2F%2B+%22x%22%3F&",
            r#"{"password":"hunter2/+ \"x\"?"}"#,
            "68756e746572322f2b202278223f",
            "68756E746572322F2B202278223F",
        ] {
            let shown = mask.apply(echoed);
            assert!(
                shown.contains("[secret]") && !shown.contains("unter2"),
                "{shown}"
            );
        }
        for user in ["", "a", "ab", "ops"] {
            let basic = STANDARD_NO_PAD.encode(format!("{user}:hunter2/+ \"x\"?"));
            let shown = mask.apply(&format!("Basic {basic}=="));
            assert!(
                shown.contains("[secret]") && shown.len() < 26,
                "{basic} {shown}"
            );
        }
    }

    #[test]
    fn a_mask_blanks_every_line_of_a_key() {
        let mask = Mask::default();
        mask.add("-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----");
        assert_eq!(mask.apply("x abcdefgh y"), "x [secret] y");
        assert_eq!(mask.apply("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    }
}
