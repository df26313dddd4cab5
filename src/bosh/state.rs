//! What a Director holds and what it is doing. Nothing here changes anything.

use serde::{Deserialize, Deserializer};

use super::types::{NameVersion, or_default};
use super::{Director, Error};
use crate::http::{Request, Wait};

/// A task, as the Director lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct TaskLine {
    /// Its number; later tasks have greater ones.
    pub id: u64,
    /// `queued`, `processing`, `cancelling`, `done`, `error`, …
    #[serde(default, deserialize_with = "or_default")]
    pub state: String,
    /// What it does, in the Director's words.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// The deployment it works on, where it works on one.
    #[serde(default, deserialize_with = "or_default")]
    pub deployment: String,
    /// Who asked for it.
    #[serde(default, deserialize_with = "or_default")]
    pub user: String,
}

/// A lock that a task of the Director holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Lock {
    /// `deployment`, `release`, `compile`, `stemcell`, …
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    /// What is locked.
    #[serde(default, deserialize_with = "or_default")]
    pub resource: Vec<String>,
    /// By which task, as a text.
    #[serde(default, deserialize_with = "text")]
    pub task_id: String,
}

/// An instance, whether it has a VM or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// Its instance group.
    #[serde(rename = "job_name", default, deserialize_with = "or_default")]
    pub group: String,
    /// Its id.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Its index.
    #[serde(default)]
    pub index: Option<u64>,
    /// What the IaaS calls its VM; empty without one.
    #[serde(default, deserialize_with = "or_default")]
    pub vm_cid: String,
    /// What the IaaS calls its persistent disks.
    #[serde(default, deserialize_with = "or_default")]
    pub disk_cids: Vec<String>,
    /// What its agent says: `running`, `failing`, …; `unresponsive agent` when it says nothing.
    #[serde(default, deserialize_with = "or_default")]
    pub job_state: String,
    /// What its operator wants: `started`, `stopped`, `detached`.
    #[serde(default, deserialize_with = "or_default")]
    pub state: String,
    /// Its processes.
    #[serde(default, deserialize_with = "or_default")]
    pub processes: Vec<Process>,
}

/// An instance as the Director's database has it; no agent is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RecordedInstance {
    /// Its instance group.
    #[serde(rename = "job", default, deserialize_with = "or_default")]
    pub group: String,
    /// Its id.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Its index.
    #[serde(default)]
    pub index: Option<u64>,
    /// Its availability zone.
    #[serde(default, deserialize_with = "or_default")]
    pub az: String,
    /// Whether it is to have a VM: an errand has none.
    #[serde(default, deserialize_with = "or_default")]
    pub expects_vm: bool,
}

/// A process of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Process {
    /// Its name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// `running`, or something is wrong.
    #[serde(default, deserialize_with = "or_default")]
    pub state: String,
}

impl Instance {
    /// `group/id`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.group, self.id)
    }

    /// Whether it has a VM whose agent answered the Director.
    pub fn answers(&self) -> bool {
        !self.vm_cid.is_empty() && !["", "unresponsive agent"].contains(&self.job_state.as_str())
    }

    /// Whether its agent and all of its processes say that they run.
    pub fn runs(&self) -> bool {
        let well = |process: &Process| process.state == "running";
        self.job_state == "running" && self.processes.iter().all(well)
    }
}

/// A stemcell that the Director has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Stemcell {
    /// `bosh-vsphere-esxi-ubuntu-jammy-go_agent`.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// `ubuntu-jammy`.
    #[serde(default, deserialize_with = "or_default")]
    pub operating_system: String,
    /// `1.500`.
    #[serde(default, deserialize_with = "text")]
    pub version: String,
    /// What the IaaS calls it.
    #[serde(default, deserialize_with = "or_default")]
    pub cid: String,
    /// Who uses it.
    #[serde(default, deserialize_with = "or_default")]
    pub deployments: Vec<User>,
}

/// A deployment that uses something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Its name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
}

/// A config: cloud, runtime, cpi, resurrection.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// `cloud`, …
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    /// `default`, or another name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// YAML. May hold secrets.
    #[serde(default, deserialize_with = "or_default")]
    pub content: String,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Config({} {})", self.kind, self.name)
    }
}

/// A persistent disk that no instance has any more. The Director deletes it in the IaaS five
/// days after it was orphaned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct OrphanedDisk {
    /// What the IaaS calls it.
    #[serde(default, deserialize_with = "or_default")]
    pub disk_cid: String,
    /// Whose it was.
    #[serde(rename = "deployment_name", default, deserialize_with = "or_default")]
    pub deployment: String,
    /// `group/id`.
    #[serde(rename = "instance_name", default, deserialize_with = "or_default")]
    pub instance: String,
    /// Since when, in the Director's words.
    #[serde(default, deserialize_with = "text")]
    pub orphaned_at: String,
}

/// A text, also where the Director gives a number or null.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

impl Director {
    /// The tasks that run, wait or are being cancelled, those of the Director itself too.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn tasks_under_way(&self, wait: &Wait) -> Result<Vec<TaskLine>, Error> {
        let query = "state=processing,cancelling,queued&verbose=2";
        self.list(&["tasks"], Some(query), "the tasks under way", wait)
    }

    /// The newest tasks, whatever became of them, newest first.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn newest_tasks(&self, count: usize, wait: &Wait) -> Result<Vec<TaskLine>, Error> {
        let query = format!("verbose=2&limit={count}");
        self.list(&["tasks"], Some(&query), "the newest tasks", wait)
    }

    /// The locks that tasks hold.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn locks(&self, wait: &Wait) -> Result<Vec<Lock>, Error> {
        self.list(&["locks"], None, "the locks", wait)
    }

    /// A deployment's instances with or without VMs; every agent is asked.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], [`Error::Task`], and those of any call.
    pub fn instances(&self, deployment: &str, wait: &Wait) -> Result<Vec<Instance>, Error> {
        let mut url = self.target.url(&["deployments", deployment, "instances"])?;
        url.set_query(Some("format=full"));
        let what = format!("the instances of `{deployment}`");
        let result = self.task(Request::get(url), &what, Some(deployment), wait)?;
        self.lines(&result, &what)
    }

    /// A deployment's instances as the Director has recorded them: one answer, no task.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], and those of any call.
    pub fn recorded_instances(
        &self,
        deployment: &str,
        wait: &Wait,
    ) -> Result<Vec<RecordedInstance>, Error> {
        let url = self.target.url(&["deployments", deployment, "instances"])?;
        let what = format!("the instances of `{deployment}`");
        let response = self.call(Request::get(url), &what, Some(deployment), wait)?;
        self.json(&response.body, &what)
    }

    /// The stemcells that the Director has.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn stemcells(&self, wait: &Wait) -> Result<Vec<Stemcell>, Error> {
        self.list(&["stemcells"], None, "the list of stemcells", wait)
    }

    /// The releases that the Director has, each version once.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn releases(&self, wait: &Wait) -> Result<Vec<NameVersion>, Error> {
        #[derive(Deserialize)]
        struct Release {
            name: String,
            #[serde(default, deserialize_with = "or_default")]
            release_versions: Vec<Version>,
        }
        #[derive(Deserialize)]
        struct Version {
            #[serde(default, deserialize_with = "text")]
            version: String,
        }
        let found: Vec<Release> = self.list(&["releases"], None, "the list of releases", wait)?;
        let versions = found.into_iter().flat_map(|release| {
            let name = release.name;
            let versions = release.release_versions.into_iter();
            versions.map(move |version| NameVersion {
                name: name.clone(),
                version: version.version,
            })
        });
        Ok(versions.collect())
    }

    /// The latest configs of every type and name.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn configs(&self, wait: &Wait) -> Result<Vec<Config>, Error> {
        // Not with the body, which may hold secrets, where it cannot be read.
        self.hidden_list(&["configs"], Some("latest=true"), "the configs", wait)
    }

    /// The disks that no instance has any more.
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn orphaned_disks(&self, wait: &Wait) -> Result<Vec<OrphanedDisk>, Error> {
        self.list(&["disks"], None, "the orphaned disks", wait)
    }

    /// The names of a deployment's errands.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], and those of any call.
    pub fn errands(&self, deployment: &str, wait: &Wait) -> Result<Vec<String>, Error> {
        let url = self.target.url(&["deployments", deployment, "errands"])?;
        let what = format!("the errands of `{deployment}`");
        let response = self.call(Request::get(url), &what, Some(deployment), wait)?;
        let found: Vec<User> = self.json(&response.body, &what)?;
        Ok(found.into_iter().map(|errand| errand.name).collect())
    }

    fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        query: Option<&str>,
        what: &str,
        wait: &Wait,
    ) -> Result<Vec<T>, Error> {
        let mut url = self.target.url(path)?;
        url.set_query(query);
        let response = self.call(Request::get(url), what, None, wait)?;
        self.json(&response.body, what)
    }

    fn hidden_list<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        query: Option<&str>,
        what: &str,
        wait: &Wait,
    ) -> Result<Vec<T>, Error> {
        self.list(path, query, what, wait)
            .map_err(|error| match error {
                Error::Garbled {
                    director,
                    what,
                    reason,
                    ..
                } => Error::Garbled {
                    director,
                    what,
                    reason,
                    body: "(not shown, since it may hold secrets)".to_owned(),
                },
                other => other,
            })
    }
}
