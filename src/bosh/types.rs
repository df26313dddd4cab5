//! What a Director says, as far as we use it. Unknown fields are ignored; a null counts as
//! absent.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// `/info`.
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    /// The Director's name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// What tells one Director from another.
    #[serde(default, deserialize_with = "or_default")]
    pub uuid: String,
    /// Its release version.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    pub(super) user_authentication: Authentication,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Authentication {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: AuthenticationOptions,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct AuthenticationOptions {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) url: String,
}

impl Info {
    /// The URL of its UAA; empty with basic authentication.
    pub fn uaa(&self) -> &str {
        &self.user_authentication.options.url
    }
}

/// A deployment in the Director's list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// The releases in use.
    #[serde(default, deserialize_with = "or_default")]
    pub releases: Vec<NameVersion>,
    /// The stemcells in use.
    #[serde(default, deserialize_with = "or_default")]
    pub stemcells: Vec<NameVersion>,
    /// The teams that may work on it: a broker's own stands with what the broker made.
    #[serde(default, deserialize_with = "or_default")]
    pub teams: Vec<String>,
}

/// A release or stemcell.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NameVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

#[derive(Deserialize)]
pub(super) struct ManifestAnswer {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) manifest: String,
}

/// A VM of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Vm {
    /// Its instance group.
    #[serde(rename = "job_name", default, deserialize_with = "or_default")]
    pub group: String,
    /// Its instance id.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Its instance index, which some VMs lack.
    #[serde(default)]
    pub index: Option<u64>,
    /// Whether it is its group's bootstrap instance, where the Director says so.
    #[serde(default)]
    pub bootstrap: Option<bool>,
    /// Its addresses.
    #[serde(default, deserialize_with = "or_default")]
    pub ips: Vec<String>,
}

impl Vm {
    /// Whether this name is meant for it: `group`, `group/index` or `group/id`.
    pub fn is(&self, name: &str) -> bool {
        let (group, rest) = name.split_once('/').unwrap_or((name, ""));
        let index = || self.index.map(|index| index.to_string());
        self.group == group
            && (rest.is_empty() || self.id == rest || index().as_deref() == Some(rest))
    }
}

/// Where an SSH request applies: a whole group, or one instance of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SshTarget {
    /// The instance group.
    pub group: String,
    /// The instance's id; `None` for all.
    pub id: Option<String>,
}

impl SshTarget {
    /// The whole group.
    pub fn group(name: impl Into<String>) -> Self {
        Self {
            group: name.into(),
            id: None,
        }
    }

    /// One instance.
    pub fn instance(group: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            id: Some(id.into()),
        }
    }

    /// What goes into `ids` and into `indexes`.
    pub(super) fn ids(&self) -> Vec<&str> {
        self.id.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{}/{id}", self.group),
            None => f.write_str(&self.group),
        }
    }
}

/// A host in the result of an SSH setup, as the Director gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct SshHost {
    /// `success`, or something went wrong.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// Where to connect: an address, maybe with a port.
    #[serde(default, deserialize_with = "or_default")]
    pub ip: String,
    /// An `authorized_keys` line.
    #[serde(default, deserialize_with = "or_default")]
    pub host_public_key: String,
    /// The instance id.
    #[serde(default, deserialize_with = "or_default")]
    id: String,
    #[serde(default)]
    index: Option<serde_json::Value>,
}

impl SshHost {
    /// The instance id, else the index as text, which very old Directors give instead.
    pub fn id(&self) -> String {
        match (&self.index, self.id.as_str()) {
            (Some(serde_json::Value::String(index)), "") => index.clone(),
            (Some(serde_json::Value::Number(index)), "") => index.to_string(),
            (_, id) => id.to_owned(),
        }
    }
}

/// What is null or absent counts as empty.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
