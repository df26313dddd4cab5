//! Values that must never be printed.
//!
//! [`Secret`] prints as `[secret]`, is wiped when dropped, and gives its text only to
//! [`Secret::expose`], so that every use can be found by searching for that word.
//! [`Mask`] is the second line of defence: it blanks known secrets out of text that
//! others wrote (a script's stderr, a server's answer).

use std::fmt;
use std::sync::Mutex;

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
    /// Remembers a secret. Every line of a secret with several lines (a private key) counts.
    pub fn add(&self, secret: &str) {
        let mut known = self.lock();
        for line in secret.lines().map(str::trim) {
            if line.len() >= SHORTEST_MASKED && !line.starts_with("-----") {
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
    fn a_mask_blanks_every_line_of_a_key() {
        let mask = Mask::default();
        mask.add("-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----");
        assert_eq!(mask.apply("x abcdefgh y"), "x [secret] y");
        assert_eq!(mask.apply("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    }
}
