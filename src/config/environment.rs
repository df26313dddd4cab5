//! The environment: the only place that reads it.
//!
//! `LIFEBOAT_CONFIG` is a whole document; `LIFEBOAT_KEY` and `LIFEBOAT_MAP_KEY` give single
//! keys. The variables of the `bosh` and `bbr` command lines are taken where nothing else
//! says otherwise. An empty variable counts as missing: task parameters have empty defaults.

use std::collections::BTreeMap;

use serde_json::Value;

use super::layers::Layer;
use super::{Invalid, document, model, unknown};
use crate::operation::settings::{Build, HttpProxy};
use crate::secret::{Mask, Secret};

/// A copy of the environment.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Variables may hold secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// What the `bosh` and `bbr` command lines read, and our key for it.
const BOSH: [(&str, &str); 6] = [
    ("BOSH_ENVIRONMENT", "bosh.environment"),
    ("BOSH_CLIENT", "bosh.client"),
    ("BOSH_CLIENT_SECRET", "bosh.client_secret"),
    ("BOSH_ALL_PROXY", "bosh.all_proxy"),
    ("CA_CERT", "bosh.ca_cert"),
    ("BOSH_CA_CERT", "bosh.ca_cert"),
];

impl Environment {
    /// This process's. Variables that are not text are left out.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.trim().is_empty())
    }

    /// The Concourse build that runs us, if one does.
    pub fn build(&self) -> Option<Build> {
        let own = |name: &str| self.get(name).map(str::to_owned);
        Some(Build {
            atc: own("ATC_EXTERNAL_URL")?,
            id: own("BUILD_ID"),
            team: own("BUILD_TEAM_NAME"),
            pipeline: own("BUILD_PIPELINE_NAME"),
            job: own("BUILD_JOB_NAME"),
            name: own("BUILD_NAME"),
        })
    }

    /// The proxy for URLs of a scheme: Concourse hands down that of the worker.
    pub fn http_proxy(&self, scheme: &str) -> Option<HttpProxy> {
        let lower = format!("{scheme}_proxy");
        let either = |name: &str| self.get(name).or_else(|| self.get(&name.to_uppercase()));
        either(&lower).map(|url| HttpProxy {
            url: Secret::new(url.trim()),
            no_proxy: either("no_proxy").unwrap_or_default().to_owned(),
        })
    }

    /// Registers the secrets that a proxy's URL may hold.
    pub fn register(&self, mask: &Mask) {
        for scheme in ["http", "https"] {
            let url = self.http_proxy(scheme).map(|proxy| proxy.url);
            if let Some((login, _)) = url.as_ref().and_then(|url| url.expose().rsplit_once('@'))
                && let Some((_, password)) = login.rsplit_once(':')
            {
                mask.add(password);
            }
        }
    }

    /// Whether Concourse shows our output: its tasks have a terminal that is none.
    pub fn is_concourse(&self) -> bool {
        self.get("ATC_EXTERNAL_URL").is_some()
    }

    /// Whether a whole document stands in the environment.
    pub fn has_document(&self) -> bool {
        self.get("LIFEBOAT_CONFIG").is_some()
    }

    /// The documents that stand in the environment, the one that counts least first.
    ///
    /// # Errors
    /// When `LIFEBOAT_CONFIG` is no document, or a variable `LIFEBOAT_…` names no key.
    pub fn layers(&self) -> Result<Vec<Layer>, Invalid> {
        let mut layers = vec![self.bosh()?];
        if let Some(text) = self.get("LIFEBOAT_CONFIG") {
            layers.push(document::parse(text, "LIFEBOAT_CONFIG")?);
        }
        layers.push(self.single_keys()?);
        Ok(layers)
    }

    fn bosh(&self) -> Result<Layer, Invalid> {
        let mut layer = Layer::of_single_keys("", Value::Null);
        for (name, path) in BOSH {
            let Some(value) = self.get(name) else {
                continue;
            };
            let names_a_file = path.ends_with("ca_cert") && !value.contains("BEGIN");
            let value = if names_a_file {
                std::fs::read_to_string(value).map_err(|error| Invalid {
                    place: name.to_owned(),
                    message: format!(
                        "is neither a certificate nor the name of a readable file ({})",
                        error.kind()
                    ),
                })?
            } else {
                value.to_owned()
            };
            layer.set(path, name, Value::String(value));
        }
        Ok(layer)
    }

    fn single_keys(&self) -> Result<Layer, Invalid> {
        let mut layer = Layer::of_single_keys("", Value::Null);
        let keys: BTreeMap<String, String> = variables().into_iter().collect();
        for name in self.0.keys().filter(|name| name.starts_with("LIFEBOAT_")) {
            let Some(value) = self.get(name).filter(|_| name != "LIFEBOAT_CONFIG") else {
                continue;
            };
            let Some(path) = keys.get(name) else {
                let key = name.trim_start_matches("LIFEBOAT_").to_lowercase();
                let hint = unknown::nearest("", &key)
                    .filter(|near| !near.contains("[]"))
                    .map(|near| format!("; did you mean {}?", variable(&near)))
                    .unwrap_or_default();
                return Err(Invalid {
                    place: name.clone(),
                    message: format!("is not a variable that Lifeboat knows{hint}"),
                });
            };
            layer.set(path, name, value_of(path, value, name)?);
        }
        Ok(layer)
    }
}

/// Maps and lists stand in a variable as YAML or JSON; everything else is a text.
fn value_of(path: &str, text: &str, name: &str) -> Result<Value, Invalid> {
    let structured = model::keys()
        .iter()
        .any(|(section, _)| !section.is_empty() && section.trim_end_matches("[]") == path);
    // A time for all, or a map.
    let either = ["alerts.max_age", "alerts.max_proof_age"].contains(&path);
    let structured = structured || either && text.trim_start().starts_with('{');
    let list = text.trim_start().starts_with('[');
    if structured || list {
        return document::parse(text, name).map(Layer::into_value);
    }
    Ok(Value::String(text.to_owned()))
}

fn variable(path: &str) -> String {
    format!("LIFEBOAT_{}", path.replace('.', "_").to_uppercase())
}

/// Every variable with the path of its key. Keys within lists have none.
pub fn variables() -> Vec<(String, String)> {
    model::keys()
        .into_iter()
        .filter(|(section, _)| !section.contains("[]"))
        .map(|(section, key)| match section {
            "" => key.to_owned(),
            _ => format!("{section}.{key}"),
        })
        .map(|path| (variable(&path), path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn merged(variables: &[(&str, &str)]) -> Value {
        let environment: Environment = variables.iter().copied().collect();
        Layers::new(environment.layers().unwrap()).merged().unwrap()
    }

    #[test]
    fn single_keys_win_over_the_document_and_that_over_bosh() {
        let merged = merged(&[
            ("BOSH_CLIENT", "a"),
            ("BOSH_ENVIRONMENT", "host"),
            (
                "LIFEBOAT_CONFIG",
                "foundation: x\nbosh: {client: b, client_secret: s}",
            ),
            ("LIFEBOAT_BOSH_CLIENT_SECRET", "t"),
            ("LIFEBOAT_FOUNDATION", ""),
            ("LIFEBOAT_STORES", "[{name: a, path: /b}]"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(
            merged,
            serde_json::json!({
                "foundation": "x",
                "bosh": {"client": "b", "environment": "host", "client_secret": "t"},
                "stores": [{"name": "a", "path": "/b"}],
            })
        );
    }

    #[test]
    fn every_map_may_be_one_variable() {
        for name in ["CLOUD_CONTROLLER", "CREDHUB", "OPS_MANAGER", "ALERTS"] {
            let variable = format!("LIFEBOAT_{name}");
            let merged = merged(&[(&variable, "{url: https://x}")]);
            let key = name.to_lowercase();
            assert_eq!(merged[&key]["url"], "https://x", "{merged}");
        }
        let merged = merged(&[("LIFEBOAT_DRILL_CHECKS", "- {name: app}")]);
        assert_eq!(merged["drill"]["checks"][0]["name"], "app");
    }

    #[test]
    fn a_misspelt_variable_is_refused() {
        let environment: Environment = [("LIFEBOAT_FOUNDATON", "x")].into_iter().collect();
        assert_eq!(
            environment.layers().unwrap_err().to_string(),
            "LIFEBOAT_FOUNDATON: is not a variable that Lifeboat knows; did you mean LIFEBOAT_FOUNDATION?"
        );
    }

    #[test]
    fn a_proxy_belongs_to_a_scheme() {
        let environment: Environment = [("https_proxy", "http://p:1"), ("NO_PROXY", "a")]
            .into_iter()
            .collect();
        let proxy = environment.http_proxy("https").unwrap();
        assert_eq!(
            (proxy.url.expose(), proxy.no_proxy.as_str()),
            ("http://p:1", "a")
        );
        assert!(environment.http_proxy("http").is_none());
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut names: Vec<String> = variables().into_iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
