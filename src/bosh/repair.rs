//! What changes a deployment or the Director: cloud check, errands, stemcells, deploys.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::time::Duration;

use serde::Deserialize;

use super::types::or_default;
use super::{Director, Error};
use crate::http::{Request, Wait, excerpt};

/// Deploys, errands and uploads take what they take: whoever waits is ended by a signal.
const NO_LIMIT: Duration = Duration::MAX;

/// What a scan found wrong with one VM or disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// Its number.
    pub id: u64,
    /// Of which kind.
    #[serde(rename = "type", deserialize_with = "kind")]
    pub kind: ProblemKind,
    /// In the Director's words; names the VM or disk.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// What may be done about it.
    #[serde(default, deserialize_with = "or_default")]
    pub resolutions: Vec<Offer>,
}

impl Problem {
    /// Whether this may be done about it.
    pub fn offers(&self, resolution: &str) -> bool {
        self.resolutions
            .iter()
            .any(|offer| offer.name == resolution)
    }
}

/// One way to resolve a problem.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Offer {
    /// `delete_vm_reference`, …
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
}

/// What can be wrong with a VM or a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// The agent does not answer, and the IaaS says that the VM is not there.
    MissingVm,
    /// The agent does not answer; the VM is there, or the IaaS cannot tell.
    UnresponsiveAgent,
    /// The IaaS says that the disk is not there.
    MissingDisk,
    /// The disk is there and not in use.
    InactiveDisk,
    /// The disk is there and mounted where it should not be.
    MountInfoMismatch,
    /// Any other, by the Director's name.
    Other(String),
}

impl ProblemKind {
    fn of(name: &str) -> Self {
        match name {
            "missing_vm" => Self::MissingVm,
            "unresponsive_agent" => Self::UnresponsiveAgent,
            "missing_disk" => Self::MissingDisk,
            "inactive_disk" => Self::InactiveDisk,
            "mount_info_mismatch" => Self::MountInfoMismatch,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingVm => "missing_vm",
            Self::UnresponsiveAgent => "unresponsive_agent",
            Self::MissingDisk => "missing_disk",
            Self::InactiveDisk => "inactive_disk",
            Self::MountInfoMismatch => "mount_info_mismatch",
            Self::Other(name) => name,
        })
    }
}

fn kind<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ProblemKind, D::Error> {
    Ok(ProblemKind::of(&String::deserialize(deserializer)?))
}

/// How an errand ended on one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ErrandEnd {
    /// 0 where it succeeded.
    #[serde(default)]
    pub exit_code: i64,
    /// What it printed.
    #[serde(default, deserialize_with = "or_default")]
    pub stdout: String,
    /// What it complained of.
    #[serde(default, deserialize_with = "or_default")]
    pub stderr: String,
}

impl Director {
    /// Looks at every VM and disk of a deployment and returns what is wrong.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], [`Error::Task`], and those of any call.
    pub fn scan(&self, deployment: &str, wait: &Wait) -> Result<Vec<Problem>, Error> {
        let what = format!("the scan of `{deployment}`");
        let url = self.target.url(&["deployments", deployment, "scans"])?;
        // Two scans find the same.
        let request = Request::post(url, "application/json", "").repeatable();
        self.task_within(request, &what, Some(deployment), NO_LIMIT, wait)?;
        let what = format!("the problems of `{deployment}`");
        let url = self.target.url(&["deployments", deployment, "problems"])?;
        let response = self.call(Request::get(url), &what, Some(deployment), wait)?;
        self.json(&response.body, &what)
    }

    /// Does about each problem what is said: its number and one of its resolutions.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], [`Error::Task`], and those of any call.
    pub fn resolve(
        &self,
        deployment: &str,
        resolutions: &BTreeMap<u64, &str>,
        wait: &Wait,
    ) -> Result<(), Error> {
        let what = format!("resolving the problems of `{deployment}`");
        let url = self.target.url(&["deployments", deployment, "problems"])?;
        let body = serde_json::json!({ "resolutions": resolutions }).to_string();
        let request = Request::put(url, "application/json", body);
        self.task_within(request, &what, Some(deployment), NO_LIMIT, wait)?;
        Ok(())
    }

    /// Tells the Director whether to make VMs again that stop answering, in all deployments.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn pause_resurrection(&self, paused: bool, wait: &Wait) -> Result<(), Error> {
        let what = if paused {
            "pausing the resurrection"
        } else {
            "resuming the resurrection"
        };
        let body = serde_json::json!({ "resurrection_paused": paused }).to_string();
        let url = self.target.url(&["resurrection"])?;
        let request = Request::put(url, "application/json", body);
        self.call(request, what, None, wait)?;
        Ok(())
    }

    /// Gives the Director a stemcell, `length` bytes of a tarball, also where it says that it has
    /// it already: what its database knows, the IaaS may not.
    ///
    /// # Errors
    /// [`Error::Task`] when the Director cannot use it, and those of any call.
    pub fn upload_stemcell(
        &self,
        name: &str,
        tarball: &mut (dyn Read + Send),
        length: u64,
        wait: &Wait,
    ) -> Result<(), Error> {
        let what = format!("the upload of stemcell {name}");
        let mut url = self.target.url(&["stemcells"])?;
        url.set_query(Some("fix=true"));
        // A token that has run out is noticed before gigabytes are sent.
        self.stemcells(wait)?;
        let info = self.info(wait)?;
        let ticket = self.auth.ticket(info, &self.client, &self.mask, wait)?;
        let request = Request::post(url, "application/x-compressed", "")
            .with("authorization", ticket.header());
        let response = self.client.upload(&request, tarball, length, wait)?;
        let response = self.judged(&request, response, &what, None)?;
        self.awaited(response, &what, NO_LIMIT, wait)
            .map_err(Error::of_begun)?;
        Ok(())
    }

    /// Stores a config, a YAML map, under a type and a name; a later one takes its place.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn put_config(
        &self,
        kind: &str,
        name: &str,
        content: &str,
        wait: &Wait,
    ) -> Result<(), Error> {
        let what = format!("storing the config {kind}/{name}");
        let body = serde_json::json!({"type": kind, "name": name, "content": content}).to_string();
        // The Director keeps one where the content is what it has already.
        let request =
            Request::post(self.target.url(&["configs"])?, "application/json", body).repeatable();
        self.call(request, &what, None, wait)?;
        Ok(())
    }

    /// Runs an errand and waits for its end, on all of its instances.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], [`Error::Task`], [`Error::Errand`] when it ended otherwise
    /// than with 0, and those of any call.
    pub fn run_errand(&self, deployment: &str, errand: &str, wait: &Wait) -> Result<(), Error> {
        let what = format!("errand {errand} of `{deployment}`");
        let path = ["deployments", deployment, "errands", errand, "runs"];
        let body = r#"{"keep-alive":false,"when-changed":false,"instances":[]}"#;
        let request = Request::post(self.target.url(&path)?, "application/json", body);
        let result = self.task_within(request, &what, Some(deployment), NO_LIMIT, wait)?;
        let ends: Vec<ErrandEnd> = self.lines(&result, &what)?;
        match ends.into_iter().find(|end| end.exit_code != 0) {
            None => Ok(()),
            Some(end) => {
                let said = if end.stderr.trim().is_empty() {
                    end.stdout
                } else {
                    end.stderr
                };
                Err(Error::Errand {
                    what,
                    status: end.exit_code,
                    said: excerpt(&self.mask, tail(&said).as_bytes()),
                })
            }
        }
    }

    /// Deploys a manifest anew, making every VM again and mending what does not answer.
    ///
    /// # Errors
    /// [`Error::Task`], and those of any call.
    pub fn recreate(&self, deployment: &str, manifest: &str, wait: &Wait) -> Result<(), Error> {
        let what = format!("the recreation of `{deployment}`");
        let mut url = self.target.url(&["deployments"])?;
        url.set_query(Some("recreate=true&fix=true"));
        let request = Request::post(url, "text/yaml", manifest);
        self.task_within(request, &what, None, NO_LIMIT, wait)?;
        Ok(())
    }
}

/// The end of what a program said, where the reason stands as a rule.
fn tail(text: &str) -> &str {
    let text = text.trim_end();
    let from = text.char_indices().rev().nth(250).map_or(0, |(at, _)| at);
    &text[from..]
}
