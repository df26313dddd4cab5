//! Credentials as Ops Manager gives them, in all their shapes.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::secret::{Mask, Secret};

/// One credential. `Debug` shows its type alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `simple_credentials`, `rsa_pkey_credentials`, `secret`, …; `text` for a bare text.
    pub kind: String,
    value: Value,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    value: Option<Value>,
}

impl Credential {
    pub(super) fn of(value: Value) -> Self {
        if let Value::String(_) = value {
            return Self {
                kind: "text".into(),
                value,
            };
        }
        let typed = Typed::deserialize(&value).ok();
        let (kind, inner) = typed.map_or((None, None), |typed| (typed.kind, typed.value));
        Self {
            kind: kind.unwrap_or_default(),
            value: inner.unwrap_or(value),
        }
    }

    /// Hides everything in it from what is printed later on, but for what is public.
    pub(super) fn register(&self, mask: &Mask) {
        register(&self.value, mask);
    }

    /// A text in it: `identity`, `password`, `secret`, …; never an empty one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// User or client and its password, of the simple shape.
    pub fn pair(&self) -> Option<(String, Secret)> {
        let name = self.text("identity")?.to_owned();
        let password = self.text("password").or_else(|| self.text("secret"))?;
        Some((name, Secret::new(password)))
    }

    /// The private key, wherever in it the key is.
    pub fn private_key(&self) -> Option<Secret> {
        find_key(&self.value).map(|key| Secret::new(pem(key)))
    }

    /// All of it, as Ops Manager gave it, for a sealed file.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.kind)
    }
}

fn find_key(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => (text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----"))
            .then_some(text.as_str()),
        Value::Array(list) => list.iter().find_map(find_key),
        Value::Object(map) => map.values().find_map(find_key),
        _ => None,
    }
}

fn register(value: &Value, mask: &Mask) {
    match value {
        Value::String(text) => {
            mask.add(text);
            mask.add(&pem(text));
            // A line of the environment: each of its values.
            for word in text.split_whitespace() {
                if let Some((name, secret)) = word.split_once('=')
                    && name.ends_with("SECRET")
                {
                    mask.add(secret);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| register(item, mask)),
        Value::Object(map) => {
            for (key, item) in map {
                let public = ["identity", "public_key_pem", "cert_pem", "type"];
                if !public.contains(&key.as_str()) {
                    register(item, mask);
                }
            }
        }
        _ => {}
    }
}

/// A PEM text with real line breaks, whether they came as such or as `\n` written out.
pub fn pem(text: &str) -> String {
    let text = match text.contains("\\n") {
        true => text.replace("\\r", "").replace("\\n", "\n"),
        false => text.replace('\r', ""),
    };
    format!("{}\n", text.trim())
}

/// What `bosh_commandline_credentials` says: the environment of a BOSH client with all rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `BOSH_CLIENT`.
    pub client: String,
    /// `BOSH_CLIENT_SECRET`.
    pub client_secret: Secret,
    /// `BOSH_ENVIRONMENT`.
    pub environment: String,
}

impl CommandLine {
    /// Reads the line, each word of which is cut at its *first* `=`: secrets may hold others.
    /// The CA in it is a path on the Ops Manager VM and of no use elsewhere.
    pub fn parse(line: &str) -> Option<Self> {
        let value = |name: &str| {
            line.split_whitespace()
                .filter_map(|word| word.split_once('='))
                .find(|(key, value)| *key == name && !value.is_empty())
                .map(|(_, value)| value.to_owned())
        };
        Some(Self {
            client: value("BOSH_CLIENT")?,
            client_secret: Secret::new(value("BOSH_CLIENT_SECRET")?),
            environment: value("BOSH_ENVIRONMENT")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_command_line_is_cut_at_the_first_equals_sign() {
        let line = "BOSH_CLIENT=ops_manager BOSH_CLIENT_SECRET=a=b==c== \
                    BOSH_CA_CERT=/var/tempest/x BOSH_ENVIRONMENT=10.0.0.5 bosh ";
        let found = CommandLine::parse(line).unwrap();
        assert_eq!(found.client, "ops_manager");
        assert_eq!(found.client_secret.expose(), "a=b==c==");
        assert_eq!(found.environment, "10.0.0.5");
        assert_eq!(CommandLine::parse("BOSH_CLIENT=x BOSH_ENVIRONMENT=y"), None);
        assert_eq!(CommandLine::parse(""), None);
    }

    #[test]
    fn a_key_is_found_wherever_it_is_and_however_its_lines_end() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nabcdef\n-----END RSA PRIVATE KEY-----\n";
        for shape in [
            json!({"type": "rsa_pkey_credentials", "value": {"private_key_pem": key}}),
            json!({"type": "rsa_pkey_credentials", "value": {
                "public_key_pem": "-----BEGIN PUBLIC KEY-----", "private_key_pem": key.replace('\n', "\\n")}}),
            json!({"type": "simple_credentials", "value": {"identity": "bbr", "password": key.replace('\n', "\r\n")}}),
            json!(key),
        ] {
            let credential = Credential::of(shape.clone());
            assert_eq!(credential.private_key().unwrap().expose(), key, "{shape}");
            assert!(!format!("{credential:?}").contains("abcdef"));
        }
        assert_eq!(Credential::of(json!({"value": {}})).private_key(), None);
    }
}
